"""What an item has to do with a dialogue, as numbers: the features that the dialogue retriever weighs.

The score of an item is a weighted sum of them, so the chance of an item is a conditional logit (McFadden, 1974) over the
catalogue. Every feature is 0 for an item or a dialogue of which nothing is known; none is about one kind of catalogue:

    told            log of how many known dialogues named the item
    expected        what its content lets expect of that
    people          log of how many people chose it
    person          cosine to the person: mentions and history through the retriever's own people
    together        log of its share in the known dialogues that named what this one names
    echo            log of its share in what was recommended at known moments that sound like this one
    recent, whole   cosine of its text to the latest turns, to all turns
    likeness        cosine of its text to the texts of what was named
    alike:NAME      cosine of its values of an attribute to those of what was named, rare values weighing more
    wanted:NAME     whether it has values that were asked for, rare values weighing more
    near:NAME       nearness of a number (a year, a price) to those of what was named, in spreads of the catalogue
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

from genrec.retrieval.catalogue import Catalogue
from genrec.retrieval.item_vectors import TEXT, unit_rows
from genrec.retrieval.modality_fusion import centred
from genrec.types import AttributeValue, Item, scalars

Attitude = Literal["liked", "disliked", "seen", "neutral"]
FEELING = {"liked": 1.0, "neutral": 1.0, "seen": 1.0, "disliked": -1.0}
"""What a mention counts. What people talk about without a word on it is of the kind they look for (eval/LOG.md)."""
PLAIN = ("told", "expected", "people", "person", "together", "echo", "recent", "whole", "likeness")
MOST_ATTRIBUTES = 12
"""Attributes that are compared: those that most items have."""
FADING = 0.9
"""A value that was asked for counts this much of one that was asked for after it."""
SMOOTH = 2.0
"""Dialogues of nothing in particular beside those that named an item, in `together`."""
FLOOR = 0.003
"""Share in `together` of an item that no dialogue named beside these."""
SHARPNESS = 10.0
"""Of the softmax over known moments, in `echo`: nats a unit of cosine."""
FAINT = 0.0005
"""Share in `echo` of an item that was recommended at none of them."""
RIDGE = 20.0
BLOCK = 8192
"""Items whose content is laid out at a time."""
FREQUENT = 64
"""Values that `expected` knows one by one."""
FAR = 3.0
"""Spreads from which `near` makes no difference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mentioned:
    """An item that somebody named, and what was thought of it."""

    item_id: str
    attitude: Attitude = "neutral"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DialogueInput:
    """What a dialogue said up to a moment.

    turns      texts of both sides, oldest first; the last one is to be answered
    mentions   items named by either side, in the order of their (last) naming
    wanted     (attribute, value) asked for, oldest first
    rows       the texts of `texts_of(turns)` by the text encoder, (2, d) float32; None where there is no encoder
    """

    turns: tuple[str, ...] = ()
    mentions: tuple[Mentioned, ...] = ()
    wanted: tuple[tuple[str, str], ...] = ()
    rows: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Sessions:
    """Which items S known dialogues named: `named` (S, N) of 0 and 1, `counts` (N,) of an item, `pairs` (N, N) of two."""

    named: sparse.csr_array
    counts: NDArray[np.float64] = field(init=False)
    pairs: sparse.csr_array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "counts", np.asarray(self.named.sum(axis=0)).ravel())
        pairs = sparse.csr_array(self.named.T @ self.named)
        object.__setattr__(self, "pairs", sparse.csr_array(pairs - sparse.diags_array(pairs.diagonal())))

    @classmethod
    def of(cls, sessions: Sequence[Sequence[int]], n_items: int) -> "Sessions":
        """`sessions`: rows of the items that each dialogue named."""
        distinct = [sorted(set(one)) for one in sessions]
        offsets = np.concatenate([[0], np.cumsum([len(one) for one in distinct])]).astype(np.int64)
        items = np.array([row for one in distinct for row in one], np.int64)
        return cls(sparse.csr_array((np.ones(len(items)), items, offsets), shape=(len(distinct), n_items)))

    def without(self, session: int | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(N,) counts as if this one were not known, and (N,) what it named."""
        own = np.zeros(len(self.counts))
        if session is not None:
            own[self.named.indices[self.named.indptr[session] : self.named.indptr[session + 1]]] = 1.0
        return self.counts - own, own


@dataclass(frozen=True, slots=True, eq=False)
class Echoes:
    """T known moments: `rows` (T, d) of their whole texts, `wanted` (T, N) of 0 and 1: what was recommended, `sessions` (T,)."""

    rows: NDArray[np.float32]
    wanted: sparse.csr_array
    sessions: NDArray[np.int64]
    mean: NDArray[np.float32] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", self.rows.mean(axis=0) if len(self.rows) else self.rows.sum(axis=0))
        object.__setattr__(self, "rows", unit_rows(self.rows - self.mean))

    def share(self, row: NDArray[np.float32], left_out: int | None) -> NDArray[np.float64]:
        """(N,) by a softmax over the moments, those of the session `left_out` left out."""
        near = self.rows @ unit_rows((row - self.mean)[None])[0]
        near = np.where(self.sessions == left_out, -np.inf, SHARPNESS * near) if left_out is not None else SHARPNESS * near
        if not np.isfinite(near).any():
            return 0.0 * self.wanted.sum(axis=0)
        weight = np.exp(near - near.max())
        return (weight / weight.sum()) @ self.wanted


@dataclass(frozen=True, slots=True)
class _Values:
    """One attribute: (N, V) rows of length 1 weighted by rarity, the same unscaled, and the place of each value."""

    unit: sparse.csr_array
    rare: sparse.csr_array
    place: dict[str, int]


class DialogueSpace:
    """The features of all items of a catalogue. `items` in the order of `catalogue.vectors.item_ids`.

    `sessions`: known dialogues over the same items, `echoes` their moments; None: none.
    """

    def __init__(
        self, catalogue: Catalogue, items: Sequence[Item], sessions: Sessions | None = None, echoes: Echoes | None = None
    ) -> None:
        self.catalogue, self._echoes = catalogue, echoes
        self.sessions = sessions or Sessions.of([], len(items))
        vectors = catalogue.vectors
        has_text = TEXT in vectors.matrices and vectors.matrices[TEXT].shape[1] > 0
        self._text = vectors.matrices[TEXT] if has_text else np.zeros((len(items), 0), np.float32)
        self._apart = centred(vectors.aligned(TEXT), vectors.present[TEXT]) if has_text else self._text
        self._people = np.log1p(catalogue.popularity)
        self._values, self._numbers = _attributes(items)
        self.names = (
            *PLAIN,
            *(f"{kind}:{name}" for kind in ("alike", "wanted") for name in self._values),
            *(f"near:{name}" for name in self._numbers),
        )
        self._expected = self._expectation()

    def row_of(self, item_id: str) -> int | None:
        return self.catalogue.vectors.index_of(item_id) if item_id in self.catalogue.vectors else None

    def named_rows(self, said: DialogueInput) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Rows of the items that were named, the latest first, and what each counts."""
        last = {one.item_id: FEELING[one.attitude] for one in said.mentions}
        order = dict.fromkeys(one.item_id for one in reversed(said.mentions))
        found = [(row, last[item_id]) for item_id in order if (row := self.row_of(item_id)) is not None]
        return np.array([row for row, _ in found], np.int64), np.array([weight for _, weight in found])

    def features(
        self, said: DialogueInput, person: NDArray[np.float32] | None, rows: NDArray[np.int64], *, left_out: int | None = None
    ) -> NDArray[np.float32]:
        """(n, F) of the items at `rows` (n,), columns as `names`. `person`: vector of mentions and history in the catalogue's
        space. `left_out`: a session that counts as unknown, for learning from it.
        """
        found: dict[str, NDArray] = {}
        counts, own = self.sessions.without(left_out)
        found["told"] = np.log(2 * counts[rows] + 1)
        found["expected"] = self._expected[rows]
        found["people"] = self._people[rows]
        if person is not None:
            found["person"] = self.catalogue.fused[rows] @ person
        if said.rows is not None and said.rows.shape[1] == self._text.shape[1]:
            found["recent"], found["whole"] = said.rows @ self._text[rows].T
            if (share := self._echo(said, left_out)) is not None:
                found["echo"] = np.log(1.0 + share[rows] / FAINT)
        named, weights = self.named_rows(said)
        if len(named):
            self._beside(found, named, weights, rows, counts, own)
        for name, values in self._values.items():
            asked = _asked(said.wanted, name, values)
            if asked is not None:
                found[f"wanted:{name}"] = values.rare[rows] @ asked
        made = np.zeros((len(rows), len(self.names)), np.float32)
        for column, name in enumerate(self.names):
            if name in found:
                made[:, column] = found[name]
        return made

    def _beside(
        self,
        found: dict[str, NDArray],
        named: NDArray[np.int64],
        weights: NDArray[np.float64],
        rows: NDArray[np.int64],
        counts: NDArray[np.float64],
        own: NDArray[np.float64],
    ) -> None:
        """The features that compare with what was named."""
        found["likeness"] = self._apart[rows] @ (weights @ self._apart[named] / len(named))
        liked = named[weights > 0]
        if len(liked):
            pairs = np.maximum(self.sessions.pairs[liked][:, rows].toarray() - own[rows] * own[liked][:, None], 0.0)
            share = (pairs / (counts[liked] + SMOOTH)[:, None]).mean(axis=0)
            found["together"] = np.log(1.0 + share / FLOOR)
        for name, values in self._values.items():
            wish = values.unit[named].T @ weights
            length = float(np.linalg.norm(wish))
            if length > 0:
                found[f"alike:{name}"] = values.unit[rows] @ (wish / length)
        for name, numbers in self._numbers.items():
            told = numbers[liked]
            told = told[np.isfinite(told)]
            if len(told):
                away = np.abs(numbers[rows] - told.mean())
                found[f"near:{name}"] = np.where(np.isfinite(away), FAR - np.minimum(away, FAR), 0.0)

    def _echo(self, said: DialogueInput, left_out: int | None) -> NDArray[np.float64] | None:
        """(N,) shares; None where no moment is known or nothing was said."""
        heard = self._echoes
        if heard is None or said.rows is None or not said.rows[1].any() or heard.rows.shape[1] != said.rows.shape[1]:
            return None
        return heard.share(said.rows[1], left_out)

    def neighbours(self, said: DialogueInput, n: int) -> list[str]:
        """At most n items that known dialogues speak for: named beside what is named here, or told like words, or often."""
        counts = self.sessions.counts
        named, weights = self.named_rows(said)
        score = np.log(2 * counts + 1) + 0.2 * self._expected
        liked = named[weights > 0]
        if len(liked):
            pairs = self.sessions.pairs[liked]
            share = np.asarray((sparse.diags_array(1.0 / (counts[liked] + SMOOTH)) @ pairs).sum(axis=0)).ravel() / len(liked)
            score = score + np.log(1.0 + share / FLOOR)
        if (heard := self._echo(said, None)) is not None:
            score = score + 0.3 * np.log(1.0 + heard / FAINT)
        score[named] = -np.inf
        best = np.argsort(-score, kind="stable")[:n]
        ids = self.catalogue.vectors.item_ids
        return [ids[row] for row in best if np.isfinite(score[row])]

    def _expectation(self) -> NDArray[np.float64]:
        """(N,) by ridge from content to `told`; 0 where no dialogue is known."""
        target = np.log(2 * self.sessions.counts + 1)
        if not target.any():
            return target
        often = [
            values.rare[:, np.argsort(-np.bincount(values.rare.indices, minlength=len(values.place)), kind="stable")[:FREQUENT]]
            for values in self._values.values()
        ]
        steps = [(numbers, np.nanquantile(numbers, np.linspace(0.1, 0.9, 9))) for numbers in self._numbers.values()]

        def content(rows: slice) -> NDArray[np.float64]:
            parts: list[NDArray] = [self._apart[rows], *(0.5 * (values[rows].toarray() > 0) for values in often)]
            parts += [0.3 * (np.nan_to_num(numbers[rows], nan=-np.inf)[:, None] >= edges) for numbers, edges in steps]
            return np.concatenate([part.astype(np.float64) for part in parts], axis=1)

        blocks = [slice(start, start + BLOCK) for start in range(0, len(target), BLOCK)]
        wide = content(blocks[0]).shape[1]
        gram, right = RIDGE * np.eye(wide), np.zeros(wide)
        for rows in blocks:
            part = content(rows)
            gram += part.T @ part
            right += part.T @ (target - target.mean())[rows]
        weights = linalg.solve(gram, right, assume_a="pos")
        return np.concatenate([content(rows) @ weights for rows in blocks])


def _asked(wanted: Sequence[tuple[str, str]], name: str, values: _Values) -> NDArray[np.float64] | None:
    """(V,) weights of the values asked for, of length 1; None when none was."""
    order = list(dict.fromkeys(value for attribute, value in reversed(wanted) if attribute == name and value in values.place))
    if not order:
        return None
    made = np.zeros(len(values.place))
    made[[values.place[value] for value in order]] = FADING ** np.arange(len(order))
    return made / np.linalg.norm(made)


def _attributes(items: Sequence[Item]) -> tuple[dict[str, _Values], dict[str, NDArray[np.float64]]]:
    """Texts and numbers of the most frequent attributes; numbers over their spread, NaN where an item has none."""
    held: Counter[str] = Counter()
    for item in items:
        held.update(list(item.attributes))  # the names: of a mapping it would add up the values
    texts: dict[str, _Values] = {}
    numbers: dict[str, NDArray[np.float64]] = {}
    for name, _ in held.most_common(MOST_ATTRIBUTES):
        given = [item.attributes.get(name) for item in items]
        if (values := _texts(given)) is not None:
            texts[name] = values
        elif (column := _numbers(given)) is not None:
            numbers[name] = column
    return texts, numbers


def _texts(given: Sequence[AttributeValue | None]) -> _Values | None:
    """None without a text that two items share."""
    kept = [sorted({one for one in scalars(value) if isinstance(one, str)}) for value in given]
    counts = Counter(one for values in kept for one in values)
    if max(counts.values(), default=0) < 2:
        return None
    place = {value: n for n, value in enumerate(counts)}
    offsets = np.concatenate([[0], np.cumsum([len(values) for values in kept])]).astype(np.int64)
    columns = np.array([place[one] for values in kept for one in values], np.int64)
    rarity = np.log((len(given) + 1) / (np.array(list(counts.values())) + 0.5))
    scale = max(float(rarity.max()), 1e-9)
    rare = sparse.csr_array((rarity[columns] / scale, columns, offsets), shape=(len(given), len(place)))
    length = np.sqrt(np.asarray((rare * rare).sum(axis=1)).ravel())
    unit = sparse.csr_array(sparse.diags_array(np.divide(1.0, length, out=np.zeros_like(length), where=length > 0)) @ rare)
    return _Values(unit, rare, place)


def _numbers(given: Sequence[AttributeValue | None]) -> NDArray[np.float64] | None:
    """None for what is no column of differing numbers."""
    column = np.array([float(v) if isinstance(v, int | float) and not isinstance(v, bool) else np.nan for v in given])
    known = column[np.isfinite(column)]
    spread = float(known.std()) if len(known) else 0.0
    return column / spread if spread > 0 else None
