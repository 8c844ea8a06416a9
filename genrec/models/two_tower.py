"""The learned retriever's network: item vectors on one side, people's on the other, scored by their product.

score(person, item) = ⟨person, item⟩ + bias(item). The bias comes from the item's vector, so that a new item has one, too.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from genrec.models.item_encoder import Fusion, ItemEncoder, ItemTensors
from genrec.models.sequence_encoder import EventTensors, SequenceEncoder


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
