"""The network of SASRec: a causal transformer over item ids."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Module):
    """Pre-norm attention and feed-forward, each added to its input."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention = nn.LayerNorm(width)
        self.attention = nn.Linear(width, 3 * width)
        self.joined = nn.Linear(width, width)
        self.before_forward = nn.LayerNorm(width)
        self.wide = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor) -> Tensor:  # (B, L, D)
        batch, length, width = states.shape
        parts = self.attention(self.before_attention(states)).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        dropped = self.dropout.p if self.training else 0.0
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=True, dropout_p=dropped)
        states = states + self.dropout(self.joined(seen.transpose(1, 2).reshape(batch, length, width)))
        return states + self.dropout(self.narrow(functional.gelu(self.wide(self.before_forward(states)))))


class CausalIds(nn.Module):
    """Item ids in, a state after each of them out; states times `items` are the scores of the next item."""

    def __init__(self, n_items: int, *, width: int, layers: int, heads: int, dropout: float, length: int) -> None:
        super().__init__()
        self.items = nn.Embedding(n_items, width)
        self.places = nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.last_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.length = length
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def forward(self, items: Tensor, lengths: Tensor) -> Tensor:
        """(B, L) item numbers, filled up on the right, (B,) numbers of real ones -> (B, L, D).

        Places count back from the newest event, as with filling up on the left; but here no real event can see a filler, so
        that the attention needs no mask.
        """
        count = torch.arange(items.shape[1], device=items.device)
        places = (count[None] + self.length - lengths[:, None]).clamp(max=self.length - 1)
        states = self.items(items) * self.items.embedding_dim**0.5 + self.places(places)
        states = self.dropout(states)
        for block in self.blocks:
            states = block(states)
        return self.last_norm(states)
