"""One vector an item out of all its modalities, learned.

Each modality is projected to the same width. Three ways to fuse them, by name:

attention   a gate: softmax over the modalities an item has, from what each of them says (masked where missing)
concat      all projections side by side, zero where missing, with the mask, through one hidden layer
graph       as attention, with one part more: what the item's neighbours in the graph of entities say. Entities (attribute values,
            heads and tails of triples) gather the vectors of their items and hand them back, relation by relation, as in
            LightGCN (He et al., SIGIR 2020) with relation weights (KGAT, Wang et al., KDD 2019, without its attention)

In training, modalities and ids are dropped at random: a dropped id makes a known item look new (DropoutNet, Volkovs et al., NIPS
2017), which is how the encoder learns to place new items among old ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

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
    """`genrec.retrieval.features.ItemFeatures` as tensors on one device."""

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
