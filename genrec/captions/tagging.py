"""Tags for items that lack text: terms of a vocabulary, each with a probability and the evidence it comes from.

Attribute values and phrases are learned from the items that have them (`tag_evidence`) and given where the known items say that
the wished share of such tags is right (`tag_calibration`). General terms have no examples: they are given only where the picture
stands out for them from the whole catalogue. Everything is computed from vectors; any modality with rows takes part, any may be
missing.

Text vectors take no part: those of known items contain the very words that are to be found.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, special

from genrec.captions.tag_calibration import Calibration, LogisticWeights, calibrate, concatenated, fit_logistic
from genrec.captions.tag_evidence import LEAST_KNOWN, Floats, GroupEvidence, Labels, Modality, Neighbours, Pattern, neighbours
from genrec.captions.tag_terms import PHRASES, TermKind, Vocabulary, phrases_of, text_of, values_of
from genrec.errors import DataError
from genrec.progress import SILENT, Progress
from genrec.types import Item

Encode = Callable[[Sequence[str]], Floats]
IGNORED = "text"
"""The modality that takes no part."""
BLOCK = 2048
MOST_PAIRS = 150_000
"""Pairs of item and term that a group's calibration sees, at most; whole items are drawn."""
MOST_POOLED = 20_000
SINGLE_SHARE = 0.02
"""An attribute of which no more of the items have several values has one value at most."""
TRUST = 5.0
"""With this many people behind an item, its behaviour counts half."""
GENERAL_PRIOR, PROPOSED_PRIOR = 0.002, 0.5
"""How likely a general term is before anything is seen; and one that a model which saw the picture proposes."""
GENERAL_Z = 4.0
"""A general term must stand out by this many standard deviations, whatever its probability."""
UNLEARNED = LogisticWeights(scale=np.ones(1), slope=np.array([2.0]), base=-2.0)
"""Log-likelihood ratio of standing out, in nats, where no attribute of the catalogue shows what it is worth."""
SOURCE_SHARE = 0.2


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
    kind: TermKind
    name: str
    evidence: GroupEvidence
    single: bool


class Tagger:
    """Made by `fit`. Items are named by row: the place in the sequence that `fit` was given."""

    def __init__(
        self,
        modalities: Sequence[Modality],
        vocabulary: Vocabulary,
        groups: Sequence[_Group],
        encoders: Mapping[str, Encode],
        precision: float,
        seed: int,
    ) -> None:
        self.vocabulary = vocabulary
        self._modalities = {m.name: m for m in modalities}
        self._groups, self._encoders, self._precision, self._seed = list(groups), encoders, precision, seed
        labelled = [group.evidence.labels.known for group in groups]
        self._pools = {
            m.name: np.flatnonzero(m.present & np.logical_or.reduce([*labelled, False & m.present])) for m in modalities
        }
        self._calibrations: dict[tuple[int, Pattern], Calibration] = {}
        self._calibrated: set[Pattern] = set()
        self._looks: dict[str, LogisticWeights] = {}
        self._places = {(term.kind, term.text.lower()): place for place, term in reversed(list(enumerate(vocabulary.terms)))}

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
        seed: int = 0,
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
            if labels.known.sum() >= LEAST_KNOWN:
                several = (np.asarray(labels.truth.sum(axis=1)).ravel() > 1).sum()
                single = kind == "attribute" and several <= SINGLE_SHARE * labels.known.sum()
                evidence = GroupEvidence(modalities, labels, terms)
                groups.append(_Group(kind=kind, name=name, evidence=evidence, single=single))
        return cls(modalities, vocabulary, groups, encoders, precision, seed)

    def tags(self, which: Sequence[int] | NDArray[np.int64], progress: Progress = SILENT) -> list[tuple[Tag, ...]]:
        """Tags of each item, most probable first; none of a group that the item itself tells, none where nothing is known."""
        wanted = np.asarray(which, np.int64)
        found: dict[int, list[Tag]] = {int(row): [] for row in wanted}
        progress.start("tagging", len(wanted))
        try:
            for pattern, rows in self._by_pattern(wanted).items():
                self._prepare(pattern)
                for start in range(0, len(rows), BLOCK):
                    block = rows[start : start + BLOCK]
                    near = {name: self._near(name, block) for name in pattern}
                    for number in range(len(self._groups)):
                        self._learned(number, block, pattern, near, found)
                    self._general(block, pattern, found)
                    progress.advance(len(block))
        finally:
            progress.finish()
        ordered = {row: _ordered(tags) for row, tags in found.items()}
        return [ordered[int(row)] for row in wanted]

    def picture_supports(self, row: int, term: str) -> bool:
        """Whether what the item looks (or sounds) like bears out `term`, any text: it stands out from the catalogue so far that
        a proposed term is true with the wished precision. False for an item without such a modality.
        """
        for name, encode in self._encoders.items():
            m = self._modalities.get(name)
            if m is None or m.terms is None or not m.present[row] or m.present.sum() < LEAST_KNOWN:
                continue
            vector = _unit(np.asarray(encode([term, f"a picture of {term}"])).mean(axis=0, keepdims=True))
            standing = m.z_scores(np.array([row]), vector - m.terms.mean(axis=0))
            odds = self._look(name).log_odds(standing[..., None]) + special.logit(PROPOSED_PRIOR)
            if special.expit(odds).item() >= self._precision:
                return True
        return False

    def expected(self) -> dict[str, dict[str, tuple[float, float, float]]]:
        """By modalities (`behaviour+image`), by group: (least probability of a tag, precision, recall), as seen on known items;
        for the patterns that were asked for so far.
        """
        found: dict[str, dict[str, tuple[float, float, float]]] = {}
        for (number, pattern), made in self._calibrations.items():
            figures = (made.threshold, made.precision, made.recall)
            found.setdefault("+".join(pattern), {})[self._groups[number].name] = figures
        return found

    def _by_pattern(self, wanted: NDArray[np.int64]) -> dict[Pattern, NDArray[np.int64]]:
        names = sorted(self._modalities)
        code = sum((self._modalities[name].present[wanted] << bit for bit, name in enumerate(names)), np.zeros(len(wanted), int))
        return {
            tuple(name for bit, name in enumerate(names) if value >> bit & 1): np.unique(wanted[code == value])
            for value in np.unique(code)
            if value
        }

    def _near(self, name: str, rows: NDArray[np.int64]) -> Neighbours:
        found = list(neighbours(self._modalities[name].rows, rows, self._pools[name]))
        if not found:
            return np.full((len(rows), 1), -1), np.full((len(rows), 1), -1.0, np.float32)
        return np.concatenate([near for _, near, _ in found]), np.concatenate([cosines for _, _, cosines in found])

    def _prepare(self, pattern: Pattern) -> None:
        """Calibrate every group for items of these modalities, from known items that are looked at through them alone."""
        for part in {tuple(n for n in pattern if n in group.evidence.names) for group in self._groups} - {()}:
            if part in self._calibrated:
                continue
            samples = self._sampled(part)
            by_kinds: dict[tuple[str, ...], list[tuple[Floats, NDArray, NDArray]]] = {}
            for number, features, truth in samples:
                evidence = self._groups[number].evidence
                few = features[: max(1, MOST_POOLED // features.shape[1])]
                prior = np.tile(evidence.prior, len(few))
                flat = few.reshape(-1, features.shape[2])
                by_kinds.setdefault(evidence.kinds(part), []).append((flat, truth[: len(few)].ravel(), prior))
            pooled = {kinds: fit_logistic(*concatenated(rows)) for kinds, rows in by_kinds.items()}
            for number, features, truth in samples:
                group = self._groups[number]
                self._calibrations[number, part] = calibrate(
                    features,
                    truth,
                    group.evidence.prior,
                    pooled=pooled[group.evidence.kinds(part)],
                    single=group.single,
                    precision=self._precision,
                    looks=group.evidence.probes(part),
                    seed=self._seed,
                )
            self._calibrated.add(part)

    def _sampled(self, pattern: Pattern) -> list[tuple[int, Floats, NDArray[np.bool_]]]:
        """(group, features, truth) of known items that have all modalities of `pattern`."""
        having = np.logical_and.reduce([self._modalities[name].present for name in pattern])
        order = np.random.default_rng(self._seed).permutation(len(having))
        chosen: dict[int, NDArray[np.int64]] = {}
        for number, group in enumerate(self._groups):
            rows = order[(having & group.evidence.labels.known)[order]]
            if len(rows) >= LEAST_KNOWN and set(pattern) <= group.evidence.names:
                chosen[number] = np.sort(rows[: max(300, MOST_PAIRS // len(group.evidence.terms))])
        if not chosen:
            return []
        union = np.unique(np.concatenate(list(chosen.values())))
        near = {name: self._near(name, union) for name in pattern}
        found = []
        for number, rows in chosen.items():
            place = np.searchsorted(union, rows)
            evidence = self._groups[number].evidence
            own = {name: (ids[place], cosines[place]) for name, (ids, cosines) in near.items()}
            features = evidence.features(rows, pattern, own)
            found.append((number, features, evidence.labels.rows(rows)))
        return found

    def _learned(
        self, number: int, rows: NDArray[np.int64], pattern: Pattern, near: Mapping[str, Neighbours], found: dict[int, list[Tag]]
    ) -> None:
        group = self._groups[number]
        part = tuple(name for name in pattern if name in group.evidence.names)
        made = self._calibrations.get((number, part))
        here = np.flatnonzero(~group.evidence.labels.known[rows])
        if made is None or made.threshold > 1 or not len(here):
            return
        own = {name: (near[name][0][here], near[name][1][here]) for name in part}
        features = group.evidence.features(rows[here], part, own)
        chances = made.probabilities(features, group.evidence.prior)
        kinds = group.evidence.kinds(part)
        for place, term in np.argwhere(chances >= made.threshold):
            said = made.weights.slope / made.weights.scale * features[place, term]
            found[int(rows[here[place]])].append(
                Tag(
                    kind=group.kind,
                    group=group.name,
                    text=self.vocabulary.terms[group.evidence.terms[term]].text,
                    probability=float(chances[place, term]),
                    sources=_sources(kinds, said),
                )
            )

    def _general(self, rows: NDArray[np.int64], pattern: Pattern, found: dict[int, list[Tag]]) -> None:
        for name in pattern:
            m = self._modalities[name]
            if m.terms is None or m.present.sum() < LEAST_KNOWN:
                continue
            for (kind, group), terms in self.vocabulary.groups().items():
                if kind != "general" or len(terms) < 2:
                    continue
                vectors = m.terms[terms.start : terms.stop]
                standing = m.z_scores(rows, vectors - vectors.mean(axis=0))
                best = standing.argmax(axis=1)
                top = standing[np.arange(len(rows)), best]
                chance = special.expit(self._look(name).log_odds(top[:, None]) + special.logit(GENERAL_PRIOR))
                for place in np.flatnonzero((top >= GENERAL_Z) & (chance >= self._precision)):
                    text = self.vocabulary.terms[terms[int(best[place])]].text
                    tag = Tag(
                        kind="general", group=group, text=text, probability=float(chance[place]), sources=(f"{name}:terms",)
                    )
                    found[int(rows[place])].append(tag)

    def _look(self, name: str) -> LogisticWeights:
        """What standing out is worth in this modality: log-likelihood ratio, learned on the attributes."""
        if name not in self._looks:
            m, parts = self._modalities[name], []
            order = np.random.default_rng(self._seed).permutation(len(m.present))
            for group in self._groups:
                labels, terms = group.evidence.labels, group.evidence.terms
                rows = order[(m.present & labels.known)[order]][: max(1, MOST_POOLED // len(terms))]
                if group.kind != "attribute" or len(terms) < 2 or len(rows) < LEAST_KNOWN or m.terms is None:
                    continue
                vectors = m.terms[terms.start : terms.stop]
                standing = m.z_scores(rows, vectors - vectors.mean(axis=0))
                truth = labels.rows(rows)
                parts.append((standing.reshape(-1, 1), truth.ravel(), np.tile(group.evidence.prior, len(rows))))
            self._looks[name] = fit_logistic(*concatenated(parts)) if parts else UNLEARNED
        return self._looks[name]


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
            said = {value.lower() for value in values_of(item.attributes.get(name, ()))}
            known[row] = bool(said)
        else:
            known[row] = bool(item.text if texts else item.title)
            said = phrases_of(text_of(item)) if known[row] else set()
        indices.extend(sorted(place[word] for word in said if word in place))
        offsets.append(len(indices))
    data = np.ones(len(indices), np.float32)
    truth = sparse.csr_array((data, np.array(indices, np.int64), np.array(offsets, np.int64)), shape=(len(items), len(terms)))
    return Labels(truth=truth, known=known)


def _sources(kinds: Sequence[str], said: NDArray) -> tuple[str, ...]:
    """Kinds of evidence that carry at least a fifth of what speaks for the term, strongest first."""
    total: dict[str, float] = {}
    for kind, part in zip(kinds, said, strict=True):
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
