"""Tags for items that lack text: terms of a vocabulary, each with a probability and the evidence it comes from.

Attribute values and phrases are learned from the items that have them (`tag_evidence`) and given where the known items say that
the wished share of such tags is right (`tag_calibration`). General terms have no examples: they are given only where the picture
stands out for them from the whole catalogue. Everything is computed from vectors; any modality with rows takes part, any may be
missing.

Text vectors take no part: those of known items contain the very words that are to be found.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, special

from genrec.captions.tag_calibration import SEED, Calibration, LogisticWeights, calibrate, fit_pooled
from genrec.captions.tag_evidence import (
    MIN_KNOWN,
    Floats,
    GroupEvidence,
    Labels,
    Modality,
    Neighbours,
    Pattern,
    centred,
    neighbours,
)
from genrec.captions.tag_terms import PHRASES, TermKind, Vocabulary, phrases_of, text_of, values_of
from genrec.errors import DataError
from genrec.progress import SILENT, Progress
from genrec.types import Item

Encode = Callable[[Sequence[str]], Floats]
IGNORED = "text"
"""The modality that takes no part."""
BLOCK = 2048
MAX_PAIRS = 150_000
"""Pairs of item and term that a group's calibration sees, at most; whole items are drawn."""
MIN_ITEMS_DRAWN = 300
"""However many terms the group has."""
MAX_POOLED = 20_000
SINGLE_SHARE = 0.02
"""An attribute counts as single-valued where no more of the items than this share have several values."""
TRUST = 5.0
"""With this many people behind an item, its behaviour counts half."""
GENERAL_PRIOR, PROPOSED_PRIOR = 0.002, 0.5
"""How likely a general term is before anything is seen; and one that a model which saw the picture proposes."""
GENERAL_Z = 4.0
"""A general term must stand out by this many standard deviations, whatever its probability."""
UNLEARNED = LogisticWeights(scale=np.ones(1), slope=np.array([2.0]), base=-2.0)
"""Log-likelihood ratio of standing out, in nats, where no attribute of the catalogue shows what it is worth."""
SOURCE_SHARE = 0.2
"""A kind of evidence is a source of a tag when it carries this share of all that speaks for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """`text` with the `probability` that it is true. `group`: the attribute that it is a value of (`kind` "attribute"),
    "phrases", or a group of the general vocabulary.

    `sources`, strongest first: `image:terms` (the picture looks like the term), `image:near` (items of such pictures have it),
    `behaviour:near` (items that the same people chose have it), and so for any other modality.
    """

    kind: TermKind
    group: str
    text: str
    probability: float
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """An attribute, or the phrases. `single`: an item has at most one value of it."""

    kind: TermKind
    name: str
    evidence: GroupEvidence
    single: bool

    def part(self, pattern: Pattern) -> Pattern:
        """The modalities of `pattern` that say something about this group."""
        return tuple(name for name in pattern if name in self.evidence.names)


class Tagger:
    """Made by `fit`. Items are named by row: the place in the sequence that `fit` was given."""

    def __init__(
        self,
        modalities: Sequence[Modality],
        vocabulary: Vocabulary,
        groups: Sequence[_Group],
        encoders: Mapping[str, Encode],
        precision: float,
    ) -> None:
        self.vocabulary = vocabulary
        self._modalities = {m.name: m for m in modalities}
        self._groups, self._encoders, self._precision = list(groups), encoders, precision
        known = [group.evidence.labels.known for group in groups]
        self._pools = {m.name: np.flatnonzero(m.present & np.logical_or.reduce([*known, False & m.present])) for m in modalities}
        self._calibrations: dict[tuple[int, Pattern], Calibration] = {}
        self._calibrated: set[Pattern] = set()
        self._z_weights: dict[str, LogisticWeights] = {}

    @classmethod
    def fit(
        cls,
        items: Sequence[Item],
        rows: Mapping[str, Floats],
        present: Mapping[str, NDArray[np.bool_]],
        vocabulary: Vocabulary,
        *,
        encoders: Mapping[str, Encode],
        people: NDArray[np.integer] | None = None,
        precision: float = 0.9,
        progress: Progress = SILENT,
    ) -> "Tagger":
        """Learn what the known items teach.

        items       (N) as their tables gave them: what was generated is no truth
        rows        by modality, (N, d_m) unit rows; `present` (N,) says which are there (`ModalityVectors` has both)
        encoders    by modality, what brings texts into its space (`{"image": encoder.encode_texts}`); may be empty
        people      (N,) distinct people behind each item's behaviour vector; None: all are trusted in full
        precision   the wished share of right ones among the tags given, in (0, 1)

        Raises DataError when lengths do not fit, and what the encoders raise.
        """
        names = [name for name in rows if name != IGNORED and rows[name].shape[1] and present[name].any()]
        if wrong := [name for name in names if len(rows[name]) != len(items)]:
            raise DataError(f"tags: vectors of {wrong} are not for {len(items)} items", hint="Run `genrec build` again.")
        trust = None if people is None else (people / (people + TRUST)).astype(np.float32)
        modalities = []
        for name in names:
            terms = _encode(encoders[name], vocabulary, progress) if name in encoders else None
            own = trust if name == "behaviour" else None
            modalities.append(Modality(name=name, rows=rows[name], present=present[name], terms=terms, trust=own))
        groups = []
        for (kind, name), terms in vocabulary.groups().items():
            if kind == "general":
                continue
            labels = _labels(items, vocabulary, kind, name, terms)
            if labels.known.sum() >= MIN_KNOWN:
                several = (np.asarray(labels.truth.sum(axis=1)).ravel() > 1).sum()
                single = kind == "attribute" and several <= SINGLE_SHARE * labels.known.sum()
                groups.append(_Group(kind=kind, name=name, evidence=GroupEvidence(modalities, labels, terms), single=single))
        return cls(modalities, vocabulary, groups, encoders, precision)

    def tags(self, which: Sequence[int] | NDArray[np.int64], progress: Progress = SILENT) -> list[tuple[Tag, ...]]:
        """Tags of each item, most probable first; none of a group that the item itself tells, none where nothing is known."""
        wanted = np.asarray(which, np.int64)
        found: dict[int, list[Tag]] = {int(row): [] for row in wanted}
        progress.start("tagging", len(wanted))
        try:
            for pattern, rows in self._by_pattern(wanted).items():
                self._calibrate(pattern)
                for start in range(0, len(rows), BLOCK):
                    block = rows[start : start + BLOCK]
                    near = {name: self._neighbours(name, block) for name in pattern}
                    learned = (self._learned_tags(number, block, pattern, near) for number in range(len(self._groups)))
                    for row, tag in chain(*learned, self._general_tags(block, pattern)):
                        found[row].append(tag)
                    progress.advance(len(block))
        finally:
            progress.finish()
        ordered = {row: _ordered(tags) for row, tags in found.items()}
        return [ordered[int(row)] for row in wanted]

    def picture_supports(self, row: int, term: str) -> bool:
        """Whether what the item looks (or sounds) like supports `term`, any text: it stands out from the catalogue so far that
        a proposed term is true with the wished precision. False for an item without such a modality.
        """
        for name, encode in self._encoders.items():
            m = self._modalities.get(name)
            if m is None or m.terms is None or not m.present[row] or m.present.sum() < MIN_KNOWN:
                continue
            vector = _unit(np.asarray(encode([term, f"a picture of {term}"])).mean(axis=0, keepdims=True))
            z = m.z_scores(np.array([row]), vector - m.terms.mean(axis=0))
            odds = self._weights_of_z(name).log_odds(z[..., None]) + special.logit(PROPOSED_PRIOR)
            if special.expit(odds).item() >= self._precision:
                return True
        return False

    def _by_pattern(self, wanted: NDArray[np.int64]) -> dict[Pattern, NDArray[np.int64]]:
        names = sorted(self._modalities)
        code = sum((self._modalities[name].present[wanted] << bit for bit, name in enumerate(names)), np.zeros(len(wanted), int))
        return {
            tuple(name for bit, name in enumerate(names) if value >> bit & 1): np.unique(wanted[code == value])
            for value in np.unique(code)
            if value
        }

    def _neighbours(self, name: str, rows: NDArray[np.int64]) -> Neighbours:
        found = list(neighbours(self._modalities[name].rows, rows, self._pools[name]))
        if not found:
            return np.full((len(rows), 1), -1), np.full((len(rows), 1), -1.0, np.float32)
        return np.concatenate([near for _, near, _ in found]), np.concatenate([cosines for _, _, cosines in found])

    def _calibrate(self, pattern: Pattern) -> None:
        """Calibrate every group for items of these modalities, from known items that are looked at through them alone."""
        for part in {group.part(pattern) for group in self._groups} - {()} - self._calibrated:
            samples = self._samples(part)
            by_kinds: dict[tuple[str, ...], list[tuple[Floats, NDArray, NDArray]]] = {}
            for number, features, truth in samples:
                evidence = self._groups[number].evidence
                few = features[: max(1, MAX_POOLED // features.shape[1])]
                prior = np.tile(evidence.prior, len(few))
                flat = few.reshape(-1, features.shape[2])
                by_kinds.setdefault(evidence.kinds(part), []).append((flat, truth[: len(few)].ravel(), prior))
            pooled = {kinds: fit_pooled(rows) for kinds, rows in by_kinds.items()}
            for number, features, truth in samples:
                group = self._groups[number]
                self._calibrations[number, part] = calibrate(
                    features,
                    truth,
                    group.evidence.prior,
                    pooled=pooled[group.evidence.kinds(part)],
                    single=group.single,
                    precision=self._precision,
                    novelty_features=group.evidence.probe_features(part),
                )
            self._calibrated.add(part)

    def _samples(self, pattern: Pattern) -> list[tuple[int, Floats, NDArray[np.bool_]]]:
        """(group, features, truth) of known items that have all modalities of `pattern`."""
        having = np.logical_and.reduce([self._modalities[name].present for name in pattern])
        order = np.random.default_rng(SEED).permutation(len(having))
        chosen: dict[int, NDArray[np.int64]] = {}
        for number, group in enumerate(self._groups):
            rows = order[(having & group.evidence.labels.known)[order]]
            if len(rows) >= MIN_KNOWN and set(pattern) <= group.evidence.names:
                chosen[number] = np.sort(rows[: max(MIN_ITEMS_DRAWN, MAX_PAIRS // len(group.evidence.terms))])
        if not chosen:
            return []
        union = np.unique(np.concatenate(list(chosen.values())))
        near = {name: self._neighbours(name, union) for name in pattern}
        found = []
        for number, rows in chosen.items():
            evidence = self._groups[number].evidence
            features = evidence.features(rows, pattern, _taken(near, pattern, np.searchsorted(union, rows)))
            found.append((number, features, evidence.labels.rows(rows)))
        return found

    def _learned_tags(
        self, number: int, rows: NDArray[np.int64], pattern: Pattern, near: Mapping[str, Neighbours]
    ) -> Iterator[tuple[int, Tag]]:
        """(row, tag) from one group, for those of `rows` that do not tell it themselves."""
        group, evidence = self._groups[number], self._groups[number].evidence
        part = group.part(pattern)
        calibration = self._calibrations.get((number, part))
        here = np.flatnonzero(~evidence.labels.known[rows])
        if calibration is None or calibration.threshold > 1 or not len(here):
            return
        features = evidence.features(rows[here], part, _taken(near, part, here))
        chances = calibration.probabilities(features, evidence.prior)
        weights, kinds = calibration.weights, evidence.kinds(part)
        for place, term in np.argwhere(chances >= calibration.threshold):
            yield (
                int(rows[here[place]]),
                Tag(
                    kind=group.kind,
                    group=group.name,
                    text=self.vocabulary.terms[evidence.terms[term]].text,
                    probability=float(chances[place, term]),
                    sources=_sources(kinds, weights.slope / weights.scale * features[place, term]),
                ),
            )

    def _general_tags(self, rows: NDArray[np.int64], pattern: Pattern) -> Iterator[tuple[int, Tag]]:
        """(row, tag): of each general group, the term that stands out most, where it stands out enough."""
        for name in pattern:
            m = self._modalities[name]
            if m.terms is None or m.present.sum() < MIN_KNOWN:
                continue
            for (kind, group), terms in self.vocabulary.groups().items():
                if kind != "general" or len(terms) < 2:
                    continue
                z = m.z_scores(rows, centred(m.terms[terms.start : terms.stop]))
                best, top = z.argmax(axis=1), z.max(axis=1)
                chance = special.expit(self._weights_of_z(name).log_odds(top[:, None]) + special.logit(GENERAL_PRIOR))
                for place in np.flatnonzero((top >= GENERAL_Z) & (chance >= self._precision)):
                    text = self.vocabulary.terms[terms[int(best[place])]].text
                    sources = (f"{name}:terms",)
                    yield (
                        int(rows[place]),
                        Tag(kind="general", group=group, text=text, probability=float(chance[place]), sources=sources),
                    )

    def _weights_of_z(self, name: str) -> LogisticWeights:
        """What standing out is worth in this modality: log-likelihood ratio, learned on the attributes."""
        if name not in self._z_weights:
            m, parts = self._modalities[name], []
            order = np.random.default_rng(SEED).permutation(len(m.present))
            for group in self._groups:
                labels, terms = group.evidence.labels, group.evidence.terms
                rows = order[(m.present & labels.known)[order]][: max(1, MAX_POOLED // len(terms))]
                if group.kind != "attribute" or len(terms) < 2 or len(rows) < MIN_KNOWN or m.terms is None:
                    continue
                z = m.z_scores(rows, centred(m.terms[terms.start : terms.stop])).reshape(-1, 1)
                parts.append((z, labels.rows(rows).ravel(), np.tile(group.evidence.prior, len(rows))))
            self._z_weights[name] = fit_pooled(parts) if parts else UNLEARNED
        return self._z_weights[name]


def _taken(near: Mapping[str, Neighbours], pattern: Pattern, places: NDArray[np.int64]) -> dict[str, Neighbours]:
    """By modality of `pattern`, the neighbours of the items at these places."""
    return {name: (near[name][0][places], near[name][1][places]) for name in pattern}


def _encode(encode: Encode, vocabulary: Vocabulary, progress: Progress) -> Floats:
    """(T, d) unit rows: the mean over each term's prompts."""
    prompts = [prompt for term in vocabulary.terms for prompt in term.prompts]
    counts = np.array([len(term.prompts) for term in vocabulary.terms])
    rows = []
    progress.start("encoding terms", len(prompts))
    try:
        for start in range(0, len(prompts), BLOCK):
            part = prompts[start : start + BLOCK]
            rows.append(np.asarray(encode(part), np.float32))
            progress.advance(len(part))
    finally:
        progress.finish()
    if not rows:
        return np.zeros((0, 1), np.float32)
    return _unit(np.add.reduceat(np.concatenate(rows), np.concatenate([[0], np.cumsum(counts)[:-1]]), axis=0))


def _labels(items: Sequence[Item], vocabulary: Vocabulary, kind: TermKind, name: str, terms: range) -> Labels:
    place = {vocabulary.terms[term].text.lower(): term - terms.start for term in terms}
    indices, offsets, known = [], [0], np.zeros(len(items), bool)
    texts = sum(bool(item.text) for item in items) >= 0.2 * sum(bool(item.title) for item in items)
    for row, item in enumerate(items):
        if kind == "attribute":
            own = {value.lower() for value in values_of(item.attributes.get(name, ()))}
            known[row] = bool(own)
        else:
            known[row] = bool(item.text if texts else item.title)
            own = phrases_of(text_of(item)) if known[row] else set()
        indices.extend(sorted(place[word] for word in own if word in place))
        offsets.append(len(indices))
    data = np.ones(len(indices), np.float32)
    truth = sparse.csr_array((data, np.array(indices, np.int64), np.array(offsets, np.int64)), shape=(len(items), len(terms)))
    return Labels(truth=truth, known=known)


def _sources(kinds: Sequence[str], contributions: NDArray) -> tuple[str, ...]:
    """Kinds of evidence that carry at least `SOURCE_SHARE` of what speaks for the term, strongest first."""
    total: dict[str, float] = {}
    for kind, part in zip(kinds, contributions, strict=True):
        total[kind] = total.get(kind, 0.0) + float(part)
    whole = sum(max(part, 0.0) for part in total.values())
    ordered = sorted(total.items(), key=lambda pair: -pair[1])
    return tuple(kind for kind, part in ordered if part > 0 and part >= SOURCE_SHARE * whole) or (ordered[0][0],)


def _ordered(tags: list[Tag]) -> tuple[Tag, ...]:
    """Attributes first, then by probability; without phrases whose words other tags already say."""
    kept: list[Tag] = []
    said: set[str] = set()
    for tag in sorted(tags, key=lambda tag: (tag.group == PHRASES, -tag.probability, tag.text)):
        words = set(tag.text.lower().split())
        if tag.group != PHRASES or not words <= said:
            kept.append(tag)
            said |= words
    return tuple(sorted(kept, key=lambda tag: (tag.kind != "attribute", -tag.probability, tag.text)))


def _unit(rows: Floats) -> Floats:
    return (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)).astype(np.float32)
