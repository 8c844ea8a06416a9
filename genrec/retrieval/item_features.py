"""Items as numbers for the learned retriever: vectors by modality, and links to what an item shares with others.

A `FeatureSpace` is fitted once on a catalogue and saved with the model. It also encodes items that come later: a value that no
item had before is left out, never guessed.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genrec.errors import ConfigError, DataError
from genrec.retrieval.item_vectors import unit_rows
from genrec.retrieval.systems import Content
from genrec.types import Item, scalars

BUCKETS = 10
"""A numeric attribute becomes the position of its decile among these."""
FORWARD, INVERSE = "→", "⁻¹"
"""Suffixes of a triple's relation, read from its head or from its tail; they keep it apart from an attribute of that name."""
ITSELF = "="
"""The relation of an item that other items name in triples to its own entity."""
ENTITIES_SHARED = 2
"""An entity is kept when at least this many items have it: one that only one item has connects nothing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ItemFeatures:
    """Features of N items in one `FeatureSpace`.

    dense, present   by modality: (N, d_m) float32 and (N,) bool
    numbers          (N,) int64 of each item's row in the id table, -1 where the model has never seen it
    offsets          (N + 1,) int64: item i has the links `offsets[i]:offsets[i + 1]`
    entities         (L,) int64, positions in the space's entities; `relations` (L,) int64 likewise
    """

    dense: Mapping[str, NDArray[np.float32]]
    present: Mapping[str, NDArray[np.bool_]]
    numbers: NDArray[np.int64]
    offsets: NDArray[np.int64]
    entities: NDArray[np.int64]
    relations: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.numbers)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FeatureSpace:
    """What the features of a model mean.

    item_ids    items with a row in the id table
    means       by modality, (d_m,) float32: subtracted before the rows are scaled to length 1
    entities    attribute values and heads or tails of triples
    relations   attribute names and relations; the first `n_attributes` of them are attributes
    edges       by numeric attribute: the inner bounds of its deciles, ascending
    """

    item_ids: tuple[str, ...]
    means: Mapping[str, NDArray[np.float32]]
    entities: tuple[str, ...]
    relations: tuple[str, ...]
    n_attributes: int
    edges: Mapping[str, tuple[float, ...]]

    @classmethod
    def fit(cls, content: Content, warm: NDArray[np.bool_], modalities: Sequence[str] = ()) -> "FeatureSpace":
        """`warm` (N,): items that get a row in the id table, because training has events on them. `modalities` limits which
        vectors are used; empty: all. Raises ConfigError for one that the content lacks.
        """
        known = content.vectors.matrices
        names = list(modalities) or sorted(known)
        if lacking := [name for name in names if name not in known]:
            raise ConfigError(f"retrieval.train.modalities: no vectors of {lacking}", hint=f"There are {sorted(known)}.")
        means = {}
        for name in names:
            matrix, there = content.vectors.aligned(name), content.vectors.present[name]
            if matrix.shape[1] and there.any():
                means[name] = matrix[there].mean(axis=0, dtype=np.float64).astype(np.float32)
        edges = deciles(content.items)
        shared: Counter[str] = Counter()  # items of each entity
        attributes = {name for item in content.items for name, _ in attribute_links(item, edges)}
        pairs: set[tuple[str, str]] = set()
        for links in _links(content, edges):
            pairs.update(links)
            shared.update({entity for _, entity in links})
        kept = [(relation, entity) for relation, entity in pairs if shared[entity] >= ENTITIES_SHARED]
        first = sorted({relation for relation, _ in kept if relation in attributes})
        rest = sorted({relation for relation, _ in kept} - set(first))
        return cls(
            item_ids=tuple(item.item_id for item, known in zip(content.items, warm, strict=True) if known),
            means=means,
            entities=tuple(sorted({entity for _, entity in kept})),
            relations=(*first, *rest),
            n_attributes=len(first),
            edges=edges,
        )

    def encode(self, content: Content) -> ItemFeatures:
        """Features of any items. Raises DataError when a modality's width is not the one that the space was fitted on."""
        dense, present = {}, {}
        for name, mean in self.means.items():
            has = name in content.vectors.matrices
            matrix = content.vectors.aligned(name) if has else np.zeros((len(content.items), len(mean)), np.float32)
            there = content.vectors.present.get(name, np.zeros(len(content.items), bool))
            if matrix.shape[1] != len(mean):
                raise DataError(
                    f"{name} vectors have {matrix.shape[1]} columns, the retriever was trained on {len(mean)}",
                    hint="Run `genrec train retriever` again: the encoder has changed.",
                )
            dense[name], present[name] = unit_rows(np.where(there[:, None], matrix - mean, 0.0)), there
        row = {item_id: n for n, item_id in enumerate(self.item_ids)}
        entity = {name: n for n, name in enumerate(self.entities)}
        relation = {name: n for n, name in enumerate(self.relations)}
        found = [
            sorted({(relation[r], entity[e]) for r, e in links if r in relation and e in entity})
            for links in _links(content, self.edges)
        ]
        flat = np.array([pair for links in found for pair in links], np.int64).reshape(-1, 2)
        return ItemFeatures(
            dense=dense,
            present=present,
            numbers=np.array([row.get(item.item_id, -1) for item in content.items], np.int64),
            offsets=np.concatenate([[0], np.cumsum([len(links) for links in found])]).astype(np.int64),
            entities=flat[:, 1],
            relations=flat[:, 0],
        )

    def to_json(self) -> dict[str, Any]:
        """All but `means`, which are tensors."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name != "means"}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], means: Mapping[str, NDArray[np.float32]]) -> "FeatureSpace":
        names = {name: tuple(data[name]) for name in ("item_ids", "entities", "relations")}
        edges = {name: tuple(bounds) for name, bounds in data["edges"].items()}
        return cls(**names, means=dict(means), n_attributes=int(data["n_attributes"]), edges=edges)


def deciles(items: Sequence[Item]) -> dict[str, tuple[float, ...]]:
    """By numeric attribute, the inner bounds of its deciles, ascending."""
    values: dict[str, list[float]] = {}
    for item in items:
        for name, value in item.attributes.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                values.setdefault(name, []).append(float(value))
    inner = np.linspace(0.0, 1.0, BUCKETS + 1)[1:-1]
    return {name: tuple(np.unique(np.quantile(found, inner)).tolist()) for name, found in values.items() if len(found) > 1}


def attribute_links(item: Item, edges: Mapping[str, tuple[float, ...]]) -> Iterator[tuple[str, str]]:
    """(attribute, value) of an item; a number as its decile by `edges`, left out where there are none."""
    for name, value in item.attributes.items():
        for part in scalars(value):
            if isinstance(part, bool):
                yield name, f"{name}#{part}"  # a yes to one question is no yes to another
            elif isinstance(part, int | float):
                if name in edges:
                    yield name, f"{name}#{int(np.searchsorted(edges[name], float(part), side='right'))}"
            else:
                yield name, str(part)


def _links(content: Content, edges: Mapping[str, tuple[float, ...]]) -> Iterable[list[tuple[str, str]]]:
    """(relation, entity) of each item: its attributes, then the triples that name it."""
    named: dict[str, list[tuple[str, str]]] = {item.item_id: [] for item in content.items}
    for head, relation, tail in content.triples:
        if head in named:
            named[head].append((relation + FORWARD, tail))
        if tail in named:
            named[tail].append((relation + INVERSE, head))
        if head in named and tail in named:  # the entity of one gathers both
            named[head].append((ITSELF, head))
            named[tail].append((ITSELF, tail))
    for item in content.items:
        yield [*attribute_links(item, edges), *named[item.item_id]]
