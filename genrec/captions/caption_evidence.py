"""What is known of items that lack text: their own attributes, tags from vectors, items with similar pictures, items that
the same people chose. All of it is computed from what people gave; nothing that a model wrote is evidence.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from genrec.captions.caption_prompt import EVIDENCE_TAGS, TITLES, CaptionFacts, caption_facts
from genrec.captions.informative_attributes import (
    attributes_named_in_titles,
    code_attributes,
    put_first,
    with_units,
    without_volatile,
)
from genrec.captions.tag_evidence import MIN_KNOWN, neighbours
from genrec.captions.tag_terms import Vocabulary, catalogue_vocabulary, general_vocabulary, phrases_of, values_of
from genrec.captions.tagging import Encode, Tag, Tagger
from genrec.errors import ModelError, WorkspaceError
from genrec.files import read_json
from genrec.progress import SILENT, Progress
from genrec.retrieval.item_vectors import ModalityVectors
from genrec.types import TAGS, AttributeValue, Item, scalars
from genrec.workspace.folder import Workspace
from genrec.workspace.load import BEHAVIOUR, POPULARITY, same_weights
from genrec.workspace.manifest import REBUILD

IMAGE = "image"
LOOKED_AT = 24
"""Neighbours looked at for those that may be named."""
MIN_PEOPLE_TOGETHER = 2
"""Two items are chosen together when at least this many people chose both."""
CLOSER_THAN = 0.99
"""A picture is close when it is closer than this share of random pairs."""
RANDOM_PAIRS = 20_000
COMMON = 0.5
"""A value that a larger share of the items have says nothing about one of them (as in `reasons/evidence.py`)."""
OWN_PHRASES, OWN_TEXT = 6, "text"
"""At most this many phrases of an item's own text are evidence for its title, in a group of their own; they are no tags."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemEvidence:
    """What is known of one item. `row`: its row among the vectors, -1 where it came after the build. `record`: what is stored."""

    item: Item
    facts: CaptionFacts
    tags: tuple[Tag, ...] = ()
    row: int = -1
    record: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Changes when what may be said changes, not with a probability or a score."""
        said = asdict(self.facts) | {"given": self.tag_texts, "image": self.item.image}
        return hashlib.sha256(json.dumps(said, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:16]

    @property
    def tag_texts(self) -> tuple[str, ...]:
        """The tags that the item gets, whatever is written."""
        return tuple({tag.text.lower(): tag.text for tag in self.tags if tag.group != OWN_TEXT}.values())


class EvidenceCollector:
    """Collects what is known of items of a built workspace.

    items    all items of the store as people gave them, by id
    notes    what could not be used, and why
    """

    def __init__(self, workspace: Workspace, progress: Progress = SILENT) -> None:
        """Raises WorkspaceError when there is no build, PromptError for a damaged vocabulary."""
        self.notes: list[str] = []
        self._workspace = workspace
        self._progress = progress
        self._vectors = ModalityVectors.load(workspace.vectors)
        self.items: Mapping[str, Item] = {item.item_id: item for batch in workspace.store.all_items(given=True) for item in batch}
        if lost := [item_id for item_id in self._vectors.item_ids if item_id not in self.items]:
            raise WorkspaceError(f"the build holds {len(lost)} items that the store has not, {lost[0]!r} first", hint=REBUILD)
        self._built = [self.items[item_id] for item_id in self._vectors.item_ids]  # by row
        self._codes = code_attributes(self.items.values())
        self._named_in_titles = attributes_named_in_titles(self.items.values())
        self._common = _common_values(self._built) if len(self._built) >= MIN_KNOWN else set()
        self._people = np.asarray(read_json(workspace.vectors / POPULARITY, hint=REBUILD), np.int64)
        pictures = sum(bool(item.image) for item in self._built)
        if pictures and IMAGE not in self._vectors.matrices and workspace.settings.models.image:
            self.notes.append(f"the pictures of {pictures} items tell nothing: the build has no vectors of them")

    def collect(self, which: Sequence[str]) -> list[ItemEvidence]:
        """What is known of each of these items of the store, in order."""
        if not which:
            return []
        row_of = {item_id: self._vectors.index_of(item_id) for item_id in which if item_id in self._vectors}
        rows = np.array(sorted(row_of.values()), np.int64)
        tags = dict(zip(rows.tolist(), self.tagger.tags(rows, self._progress), strict=True)) if len(rows) else {}
        tags = {row: [tag for tag in own if (tag.group, tag.text.lower()) not in self._common] for row, own in tags.items()}
        near, together = self._near(rows), self._together(rows)
        vocabulary = self.tagger.vocabulary if len(self._built) else Vocabulary(terms=())
        phrases = {term.text for term in vocabulary.terms if term.kind == "phrase"}
        found = []
        for item_id in which:
            item, row = self.items[item_id], row_of.get(item_id, -1)
            own = (*tags.get(row, ()), *_own_phrases(item, phrases))
            found.append(self._item_evidence(item, row, own, near.get(row, []), together.get(row, [])))
        return found

    @cached_property
    def tagger(self) -> Tagger:
        return Tagger.fit(
            self._built,
            self._vectors.matrices,
            self._vectors.present,
            catalogue_vocabulary(self._built, general_vocabulary(self._workspace.folder / "prompts")),
            encoders=self._encoders(),
            people=self._people,
            precision=self._workspace.settings.caption.precision,
            progress=self._progress,
        )

    def _encoders(self) -> dict[str, Encode]:
        """By modality, what encodes words into its space: that of pictures; a note where it cannot be had."""
        made_by = self._vectors.models.get(IMAGE, "")
        if IMAGE not in self._vectors.matrices:
            return {}
        try:
            encoder = self._workspace.image_encoder(self._progress)
        except ModelError as error:
            self.notes.append(f"pictures are not compared with words: {error}")
            return {}
        if not same_weights(encoder.id, made_by):
            self.notes.append(
                f"pictures are not compared with words: their vectors are by {made_by}, models.image is {encoder.id}"
            )
            return {}
        return {IMAGE: encoder.encode_texts}

    def _item_evidence(
        self, item: Item, row: int, tags: Sequence[Tag], near: list[tuple[int, float]], together: list[tuple[int, int]]
    ) -> ItemEvidence:
        attributes = {
            name: informative
            for name, value in without_volatile(item.attributes).items()
            if name not in self._codes and name != TAGS and (informative := self._without_common(name, value)) != ()
        }
        shown = list(scalars(item.attributes.get(TAGS, ())))
        for tag in tags:
            if tag.kind == "attribute" and tag.group != TAGS:
                attributes[tag.group] = (*scalars(attributes.get(tag.group, ())), tag.text)
            elif len(shown) < EVIDENCE_TAGS:
                shown.append(tag.text)
        facts = caption_facts(
            with_units(put_first(attributes, self._named_in_titles)),
            tags=map(str, shown),
            near=[self._built[place].title for place, _ in near],
            together=[self._built[place].title for place, _ in together],
            title=item.title,
        )
        record: dict[str, Any] = {
            "facts": asdict(facts),
            "tags": [asdict(tag) | {"probability": round(tag.probability, 4)} for tag in tags],
            "near": [{"item_id": self._built[place].item_id, "cosine": round(cosine, 4)} for place, cosine in near],
            "together": [{"item_id": self._built[place].item_id, "people": people} for place, people in together],
        }
        return ItemEvidence(item=item, facts=facts, tags=tuple(tags), row=row, record=record)

    def _without_common(self, name: str, value: AttributeValue) -> AttributeValue:
        """`value` without the texts that most of the catalogue has."""
        values = scalars(value)
        left = tuple(one for one in values if not (isinstance(one, str) and (name, one.lower()) in self._common))
        return value if len(left) == len(values) else left

    def _near(self, rows: NDArray[np.int64]) -> dict[int, list[tuple[int, float]]]:
        """By row: items of similar pictures that have a title of their own, with their cosine; only close ones."""
        if IMAGE not in self._vectors.matrices:
            return {}
        floor = background_cosine(self._vectors.matrices[IMAGE][self._vectors.present[IMAGE]])
        return {row: _distinct(found, self._built) for row, found in self._nearest(IMAGE, rows, floor).items()}

    def _together(self, rows: NDArray[np.int64]) -> dict[int, list[tuple[int, int]]]:
        """By row: items with a title of their own that the same people chose, with how many did; nearest by behaviour first."""
        if BEHAVIOUR not in self._vectors.matrices:
            return {}
        chosen = self._choices()
        found: dict[int, list[tuple[int, int]]] = {}
        for row, close in self._nearest(BEHAVIOUR, rows, 0.0).items():
            places = [place for place, _ in close]
            both = np.asarray((chosen[:, [row]].T @ chosen[:, places]).todense()).ravel() if places else np.zeros(0)
            pairs = [(place, int(people)) for place, people in zip(places, both.tolist(), strict=True)]
            found[row] = _distinct([pair for pair in pairs if pair[1] >= MIN_PEOPLE_TOGETHER], self._built)
        return found

    def _nearest(self, modality: str, rows: NDArray[np.int64], floor: float) -> dict[int, list[tuple[int, float]]]:
        """By row: the nearest items that have a title of their own, with their cosine, which is above `floor`."""
        matrix, present = self._vectors.matrices[modality], self._vectors.present[modality]
        allowed = np.flatnonzero(present & np.array([bool(item.title) for item in self._built], bool))
        found: dict[int, list[tuple[int, float]]] = {}
        for block, near, cosines in neighbours(matrix, rows[present[rows]], allowed, LOOKED_AT):
            for row, ids, sims in zip(block.tolist(), near.tolist(), cosines.tolist(), strict=True):
                found[row] = [(place, sim) for place, sim in zip(ids, sims, strict=True) if place >= 0 and sim > floor]
        return found

    def _choices(self) -> Any:
        """(people, items) sparse: 1 where the person has an event on the item."""
        events = self._workspace.store.interactions()
        place = np.array([self._vectors.index_of(one) if one in self._vectors else -1 for one in events.item_ids], np.int64)
        columns = place[events.items] if len(place) else np.zeros(0, np.int64)
        there = columns >= 0
        pairs = np.unique(np.stack([events.users[there].astype(np.int64), columns[there]]), axis=1)
        ones = np.ones(pairs.shape[1], np.float32)
        shape = (len(events.user_ids), len(self._built))
        return sparse.csc_array((ones, (pairs[0], pairs[1])), shape=shape)


def background_cosine(rows: NDArray[np.float32]) -> float:
    """The cosine that `CLOSER_THAN` of random pairs of these unit rows (N, d) stay below; 1 for fewer than two rows."""
    if len(rows) < 2:
        return 1.0
    rng = np.random.default_rng(0)
    one, shift = rng.integers(len(rows), size=RANDOM_PAIRS), rng.integers(1, len(rows), size=RANDOM_PAIRS)
    return float(np.quantile((rows[one] * rows[(one + shift) % len(rows)]).sum(axis=1), CLOSER_THAN))


def _common_values(items: Sequence[Item]) -> set[tuple[str, str]]:
    """(attribute, value in lower case) of more than `COMMON` of the catalogue."""
    values: Counter[tuple[str, str]] = Counter()
    for item in items:
        values.update((name, text.lower()) for name, value in item.attributes.items() for text in set(values_of(value)))
    return {pair for pair, count in values.items() if count > COMMON * len(items)}


def _own_phrases(item: Item, phrases: set[str]) -> Iterator[Tag]:
    """Phrases of the catalogue that occur in the item's own text, longest first: what a title may be made of."""
    if item.title or not item.text:
        return
    own = sorted(phrases_of(item.text) & phrases, key=lambda phrase: (-len(phrase.split()), item.text.lower().find(phrase)))
    for phrase in own[:OWN_PHRASES]:
        yield Tag(kind="phrase", group=OWN_TEXT, text=phrase, probability=1.0, sources=("text",))


def _distinct(close: list[tuple[int, Any]], items: Sequence[Item]) -> list[tuple[int, Any]]:
    """The first few with different titles."""
    titles: dict[str, tuple[int, Any]] = {}
    for place, figure in close:
        titles.setdefault(items[place].title.lower(), (place, figure))
    return list(titles.values())[:TITLES]
