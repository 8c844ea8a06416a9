"""A history as one vector: the recency-weighted mean of its items, corrected by a causal transformer.

The mean alone, with a learned half-life, is what the untrained retriever does; the transformer adds to it. Attention is biased by
distance with one learned slope a head (ALiBi, Press et al., ICLR 2022), because what was done last weighs most. Each event adds
what is known of it besides its item: the gap in time since the one before, its kind, its value and its platform.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, slots=True, kw_only=True)
class EventTensors:
    """Histories of B people, filled up on the right to L events.

    `items` (B, L) int64, positions in the item vectors; `gaps`, `kinds`, `values`, `platforms` (B, L) int64 buckets; `lengths`
    (B,) int64, each at least 1.
    """

    items: Tensor
    gaps: Tensor
    kinds: Tensor
    values: Tensor
    platforms: Tensor
    lengths: Tensor


class Block(nn.Module):
    """Pre-norm attention with a bias by distance, then a feed-forward layer, each added to its input."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.before_attention, self.before_forward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention, self.joined = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.slopes = nn.Parameter(torch.linspace(-1.0, -5.0, heads))  # log of the nats lost per place

    def forward(self, states: Tensor, distance: Tensor) -> Tensor:
        """(B, L, D) states and (L, L) places between them, negative towards what comes later -> (B, L, D)."""
        batch, length, width = states.shape
        parts = self.attention(self.before_attention(states)).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        bias = -self.slopes.exp()[:, None, None] * distance.clamp(min=0)
        bias = bias.masked_fill(distance < 0, float("-inf")).to(query.dtype)
        dropped = self.dropout if self.training else 0.0
        seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias, dropout_p=dropped)
        seen = self.joined(seen.transpose(1, 2).reshape(batch, length, width))
        states = states + functional.dropout(seen, self.dropout, self.training)
        forward = self.narrow(functional.gelu(self.wide(self.before_forward(states))))
        return states + functional.dropout(forward, self.dropout, self.training)


class SequenceEncoder(nn.Module):
    """`forward`: a state after every event, each from the events up to it."""

    def __init__(
        self, *, width: int, layers: int, heads: int, dropout: float, gaps: int, kinds: int, values: int, platforms: int
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.gaps, self.values = nn.Embedding(gaps, width), nn.Embedding(values, width)
        self.kinds, self.platforms = nn.Embedding(kinds, width), nn.Embedding(platforms, width)
        for table in (self.gaps, self.values, self.kinds, self.platforms):
            nn.init.zeros_(table.weight)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.enter, self.last_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.correct = nn.Linear(width, width)
        nn.init.normal_(self.correct.weight, std=0.1 * width**-0.5)
        self.log_decay = nn.Parameter(torch.tensor(-1.06))  # exp: nats a place; half-life 2 places
        self.mean_scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, vectors: Tensor, events: EventTensors) -> Tensor:
        """(N, D) item vectors -> (B, L, D) states; those behind a history's end mean nothing."""
        rows = vectors[events.items]
        places = torch.arange(rows.shape[1], device=rows.device)
        distance = (places[:, None] - places[None]).to(rows.dtype)  # (L, L)
        extra = self.gaps(events.gaps) + self.kinds(events.kinds) + self.values(events.values) + self.platforms(events.platforms)
        states = functional.dropout(self.enter(rows) + extra, self.dropout, self.training)
        for block in self.blocks:
            states = block(states, distance)
        decay = torch.exp(-self.log_decay.exp() * distance.clamp(min=0)) * (distance >= 0)
        mean = (decay / decay.sum(1, keepdim=True)).to(rows.dtype) @ rows  # (B, L, D)
        return self.mean_scale * mean + self.correct(self.last_norm(states))
