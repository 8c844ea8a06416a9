"""Parts of the cases, each with a figure of its own: where a system is good and where it is not.

history length     0, 1-5, 6-20, 21-50, >50 events; quarters of the cases on request; the lengths themselves where they are few
target popularity  head, mid, tail: items by people of train, each third of the events; items without events are in none of them
target             cold or warm: without or with events in train
platform           of the target's event, and of the target's item, where there is more than one
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from genrec.evaluation.splits import Split
from genrec.retrieval.systems import Content

Lengths = Literal["fixed", "quarters"]
BINS = ((0, 0, "0"), (1, 5, "1-5"), (6, 20, "6-20"), (21, 50, "21-50"), (51, None, ">50"))
FEW_LENGTHS = 6


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """`rows` (U,) True for the cases of the part; a case with several targets goes by its first."""

    by: str
    value: str
    rows: NDArray[np.bool_]


def parts(split: Split, content: Content, lengths: Lengths = "fixed") -> list[Part]:
    """All parts that have cases, in the order above."""
    every = [*_by_length(split, lengths), *_by_popularity(split), *_by_cold(split), *_by_platform(split, content)]
    return [part for part in every if part.rows.any()]


def _first_targets(split: Split) -> NDArray[np.int64]:
    return np.array([target[0] for target in split.targets], np.int64)


def _by_length(split: Split, how: Lengths) -> Iterator[Part]:
    lengths = split.histories.lengths
    different = np.unique(lengths)
    if len(different) <= FEW_LENGTHS:
        bins = [(int(n), int(n), str(n)) for n in different]
    elif how == "fixed":
        bins = list(BINS)
    else:
        limits = np.unique(np.quantile(lengths, [0.25, 0.5, 0.75, 1.0], method="inverted_cdf").astype(int))
        lows = [int(lengths.min()), *(int(limit) + 1 for limit in limits[:-1])]
        bins = [(low, int(high), f"{low}-{high}") for low, high in zip(lows, limits, strict=True)]
    for low, high, name in bins:
        yield Part("history length", name, (lengths >= low) & (True if high is None else lengths <= high))


def _by_popularity(split: Split) -> Iterator[Part]:
    people = split.train.popularity()
    order = np.argsort(-people, kind="stable")
    before = np.empty(len(people))
    before[order] = np.cumsum(people[order]) - people[order]  # events of the items that are more popular
    third = np.minimum(2, (3 * before / max(1, people.sum())).astype(int))
    targets = _first_targets(split)
    for number, name in enumerate(("head", "mid", "tail")):
        yield Part("target popularity", name, (third[targets] == number) & (people[targets] > 0))


def _by_cold(split: Split) -> Iterator[Part]:
    cold = split.cold[_first_targets(split)]
    yield Part("target", "cold", cold)
    yield Part("target", "warm", ~cold)


def _by_platform(split: Split, content: Content) -> Iterator[Part]:
    names = np.array(split.histories.platform_names, dtype=object)
    of_items = np.array([item.platform for item in content.items], dtype=object)
    for by, values in (("event platform", names[split.platforms]), ("item platform", of_items[_first_targets(split)])):
        different = sorted(set(values))
        if len(different) > 1:
            for value in different:
                yield Part(by, value or "none", values == value)
