"""The learned retriever's network: item vectors on one side, people's on the other, scored by their product.

score(person, item) = ⟨person, item⟩ + bias(item). The bias comes from the item's vector, so that a new item has one, too.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Fusion = Literal["attention", "concat", "graph"]
START = 4.0
"""Length of the id vectors at the start: a softmax over products of such vectors is neither flat nor certain."""
START_GATE = 2.0
ATTRIBUTES, ID, GRAPH = "attributes", "id", "graph"


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemTensors:
    """`genrec.retrieval.item_features.ItemFeatures` as tensors on one device."""

    dense: Mapping[str, Tensor]  # (N, d_m)
    present: Mapping[str, Tensor]  # (N,) bool
    numbers: Tensor  # (N,) int64, -1: unknown
    owners: Tensor  # (L,) int64, the item of each link
    entities: Tensor  # (L,) int64
    relations: Tensor  # (L,) int64

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, rows: Tensor) -> "ItemTensors":
        """Only these items, in this order; each once."""
        place = torch.full((len(self),), -1, dtype=torch.long, device=rows.device)
        place[rows] = torch.arange(len(rows), device=rows.device)
        kept = place[self.owners] >= 0
        return ItemTensors(
            dense={name: matrix[rows] for name, matrix in self.dense.items()},
            present={name: mask[rows] for name, mask in self.present.items()},
            numbers=self.numbers[rows],
            owners=place[self.owners[kept]],
            entities=self.entities[kept],
            relations=self.relations[kept],
        )


class ItemEncoder(nn.Module):
    """`forward` gives (N, width) vectors and (N, parts) gate weights in the order of `parts`; they sum to 1 for an item that has
    any part. With `concat` the weights are each part's share of the norms that enter the hidden layer.
    """

    def __init__(
        self,
        *,
        dims: Mapping[str, int],
        n_items: int,
        n_entities: int,
        n_relations: int,
        n_attributes: int,
        width: int,
        fusion: Fusion,
        ids: bool,
        modality_dropout: float,
        id_dropout: float,
    ) -> None:
        super().__init__()
        self.width, self.fusion, self.n_attributes = width, fusion, n_attributes
        self.modality_dropout, self.id_dropout = modality_dropout, id_dropout
        self.project = nn.ModuleDict({name: nn.Linear(dim, width) for name, dim in sorted(dims.items())})
        self.entities = nn.Embedding(n_entities, width) if n_entities else None
        self.ids = nn.Embedding(n_items, width) if ids else None
        has_attributes = self.entities is not None and n_attributes > 0
        self.parts = [*self.project, *([ATTRIBUTES] if has_attributes else []), *([ID] if ids else [])]
        if fusion == "graph" and self.entities is not None:
            self.relation_weights = nn.Parameter(torch.zeros(n_relations))
            self.hand_back = nn.Linear(width, width, bias=False)
            self.parts.append(GRAPH)
        if fusion == "concat":
            count = len(self.parts)
            self.hidden = nn.Sequential(nn.Linear(count * width + count, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        else:
            self.gate = nn.Parameter(torch.zeros(len(self.parts), width))
            self.gate_bias = nn.Parameter(torch.zeros(len(self.parts)))
        for table in (self.entities, self.ids):
            if table is not None:
                nn.init.normal_(table.weight, std=width**-0.5)

    def start_ids(self, rows: Tensor) -> None:
        """Begin the id table at `rows` (n_items, d), their first columns, and let the gate lean on ids at first."""
        if self.ids is None:
            return
        width = min(self.width, rows.shape[1])
        with torch.no_grad():
            self.ids.weight[:, :width] = START * functional.normalize(rows[:, :width], dim=-1)
            self.ids.weight[:, width:] = 0.0
            if self.fusion != "concat":
                self.gate_bias[self.parts.index(ID)] = START_GATE

    def forward(self, items: ItemTensors) -> tuple[Tensor, Tensor]:
        parts, there = self._own(items)
        if self.training:
            there = self._dropped(there)
        if GRAPH in self.parts:
            message, linked = self._neighbours(items, self._gated(parts, there)[0])
            parts, there = torch.cat([parts, message[:, None]], 1), torch.cat([there, linked[:, None]], 1)
        if self.fusion != "concat":
            return self._gated(parts, there)
        kept = parts * there[..., None]
        norms = kept.norm(dim=-1)
        joined = torch.cat([kept.flatten(1), there.to(kept.dtype)], 1)
        return self.hidden(joined), norms / norms.sum(1, keepdim=True).clamp(min=1e-9)

    def _own(self, items: ItemTensors) -> tuple[Tensor, Tensor]:
        """(N, P, width) parts and (N, P) bool masks, the graph's part left out."""
        parts = [layer(items.dense[name]) for name, layer in self.project.items()]
        there = [items.present[name] for name in self.project]
        if ATTRIBUTES in self.parts and self.entities is not None:
            of_attributes = items.relations < self.n_attributes
            mean, linked = _mean_by(items.owners[of_attributes], self.entities(items.entities[of_attributes]), len(items))
            parts.append(mean)
            there.append(linked)
        if self.ids is not None:
            parts.append(self.ids(items.numbers.clamp(min=0)))
            there.append(items.numbers >= 0)
        return torch.stack(parts, 1), torch.stack(there, 1)

    def _dropped(self, there: Tensor) -> Tensor:
        """The mask with modalities and ids dropped at random; an item that would lose all parts keeps those it had."""
        chance = torch.full((there.shape[1],), self.modality_dropout, device=there.device)
        if self.ids is not None:
            chance[self.parts.index(ID)] = self.id_dropout
        kept = there & (torch.rand(there.shape, device=there.device) >= chance)
        return torch.where(kept.any(1, keepdim=True), kept, there)

    def _gated(self, parts: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        count = parts.shape[1]
        logits = (torch.tanh(parts) * self.gate[:count]).sum(-1) + self.gate_bias[:count]  # (N, P)
        weights = torch.softmax(logits.masked_fill(~there, -1e4), 1) * there  # a bare softmax would weigh an item without parts
        return (weights[..., None] * parts).sum(1), weights

    def _neighbours(self, items: ItemTensors, states: Tensor) -> tuple[Tensor, Tensor]:
        """(N, width) what the entities of each item hand back, and (N,) whether there are any."""
        assert self.entities is not None
        gathered, _ = _mean_by(items.entities, states[items.owners], len(self.entities.weight))
        known = self.entities.weight + self.hand_back(gathered)  # (entities, width)
        weight = functional.softplus(self.relation_weights)[items.relations][:, None]
        return _mean_by(items.owners, weight * known[items.entities], len(items))


def _mean_by(groups: Tensor, rows: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """(n, width) mean of the rows of each group, and (n,) whether it has any."""
    total = torch.zeros(n, rows.shape[1], dtype=rows.dtype, device=rows.device).index_add_(0, groups, rows)
    count = torch.bincount(groups, minlength=n)
    return total / count.clamp(min=1)[:, None].to(rows.dtype), count > 0


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


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """Sizes of the network; saved beside its weights. `dims` are the widths of the modalities."""

    dims: Mapping[str, int]
    n_items: int
    n_entities: int
    n_relations: int
    n_attributes: int
    gaps: int
    kinds: int
    values: int
    platforms: int
    width: int
    layers: int
    heads: int
    fusion: Fusion
    ids: bool
    dropout: float
    modality_dropout: float
    id_dropout: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class TwoTower(nn.Module):
    """Both towers. `items` and `people` are what serving needs; training calls `forward`."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.item_encoder = ItemEncoder(
            dims=config.dims,
            n_items=config.n_items,
            n_entities=config.n_entities,
            n_relations=config.n_relations,
            n_attributes=config.n_attributes,
            width=config.width,
            fusion=config.fusion,
            ids=config.ids,
            modality_dropout=config.modality_dropout,
            id_dropout=config.id_dropout,
        )
        self.sequence_encoder = SequenceEncoder(
            width=config.width,
            layers=config.layers,
            heads=config.heads,
            dropout=config.dropout,
            gaps=config.gaps,
            kinds=config.kinds,
            values=config.values,
            platforms=config.platforms,
        )
        self.shown = nn.Linear(config.width, config.width, bias=False)  # the item as something to find
        self.bias = nn.Linear(config.width, 1, bias=False)
        nn.init.eye_(self.shown.weight)
        nn.init.zeros_(self.bias.weight)

    def items(self, items: ItemTensors) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(N, D) vectors as parts of a history, (N, D) vectors to find, (N,) biases, (N, parts) gate weights."""
        vectors, gates = self.item_encoder(items)
        return vectors, self.shown(vectors), self.bias(vectors)[:, 0], gates

    def people(self, vectors: Tensor, events: EventTensors) -> Tensor:
        """(B, L, D): a person after each event."""
        return self.sequence_encoder(vectors, events)

    def forward(self, items: ItemTensors, events: EventTensors, wanted: Tensor, candidates: Tensor | None = None) -> Tensor:
        """(T, C) scores of the candidates (all items for None) at the positions `wanted` (B, L) bool."""
        if candidates is not None and self.config.fusion != "graph":  # a graph needs all items, the others only these
            needed, place = torch.unique(torch.cat([events.items.flatten(), candidates]), return_inverse=True)
            items, candidates = items.take(needed), place[events.items.numel() :]
            events = replace(events, items=place[: events.items.numel()].view_as(events.items))
        vectors, shown, bias, _ = self.items(items)
        people = self.people(vectors, events)[wanted]  # (T, D)
        if candidates is not None:
            shown, bias = shown[candidates], bias[candidates]
        return torch.addmm(bias, people, shown.T)
