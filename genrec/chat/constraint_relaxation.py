"""Which constraints of a dialogue can hold together, and which are given up so that something can be offered."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from genrec.filters import Filter, Has, In, Not
from genrec.index.protocol import Lexical, Query, VectorIndex
from genrec.understanding.filter_text import all_of, attributes_of, parts_of


@dataclass(frozen=True, slots=True)
class Satisfiable:
    """`parts` hold for `count` items outside `exclude`; `dropped` were given up for that. `again`: items shown before come back.

    without     refused words that items were left out for
    everywhere  refused words that all items that fit have in their text
    nowhere     refused words that no text has
    """

    parts: tuple[Filter, ...]
    dropped: tuple[Filter, ...]
    count: int
    exclude: frozenset[str]
    again: bool = False
    without: tuple[str, ...] = ()
    everywhere: tuple[str, ...] = ()
    nowhere: tuple[str, ...] = ()


def satisfiable_without(
    index: VectorIndex,
    refused: Sequence[str],
    parts: Sequence[Filter],
    standing: Sequence[Filter],
    *,
    k: int,
    exclude: frozenset[str],
    fewer: frozenset[str] | None = None,
) -> Satisfiable:
    """`satisfiable`, of items whose text has nothing that is `refused`, as far as there are any. Raises IndexFault."""
    having = items_mentioning(index, refused)
    everywhere: list[str] = []
    out: frozenset[str] = frozenset()
    for one in reversed(refused):  # the latest word counts most
        more = out | having.get(one, frozenset())
        if more != out and not _count(index, parts, exclude | more) and _count(index, parts, exclude | out):
            everywhere.append(one)
        else:
            out = more
    fewer = None if fewer is None else fewer | out
    found = satisfiable(index, parts, standing, k=k, exclude=exclude | out, fewer=fewer)
    left_out = tuple(one for one in refused if one in having and one not in everywhere)
    nowhere = tuple(one for one in refused if one not in having)
    return replace(found, without=left_out, everywhere=tuple(everywhere), nowhere=nowhere)


def satisfiable(
    index: VectorIndex,
    parts: Sequence[Filter],
    standing: Sequence[Filter],
    *,
    k: int,
    exclude: frozenset[str],
    fewer: frozenset[str] | None = None,
) -> Satisfiable:
    """What can be offered under these constraints; as few of them are dropped as can be.

    `standing`: those that held before the turn. Where fewer than `k` items have both what the turn asks of a list attribute and
    what was asked of it before (`a comedy` after `horror`), the turn's word takes the place of the older.
    `exclude`: items that are not offered; where nothing else fits, only those in `fewer` are not, if given.
    Raises IndexFault.
    """
    # older wishes for an attribute of which the turn wishes for something, too
    new = {name for part in parts if part not in standing and not isinstance(part, Not) for name in attributes_of(part)}
    older = [part for part in parts if part in standing and isinstance(part, Has | In) and attributes_of(part) & new]
    if older and _count(index, parts, exclude) < k:
        parts = [part for part in parts if part not in older]
    if count := _count(index, parts, exclude):
        return Satisfiable(tuple(parts), (), count, exclude)
    if parts and fewer is not None and (count := _count(index, parts, fewer)):
        return Satisfiable(tuple(parts), (), count, fewer, again=True)
    left, dropped = relaxed(parts, lambda some: _count(index, some, exclude))
    return Satisfiable(left, dropped, _count(index, left, exclude), exclude)


def relaxed(parts: Sequence[Filter], count: Callable[[Sequence[Filter]], int]) -> tuple[tuple[Filter, ...], tuple[Filter, ...]]:
    """(what is left, what was dropped), each in the order of `parts`, the oldest first; `count`: how many items fit.

    One part that alone stands in the way goes first, the oldest of such; where none does, the one that fewest items fit, until
    something does. A refusal goes only when without refusals still nothing fits.
    """
    left, dropped = list(parts), []
    while left and not count(left):
        wishes = [part for part in left if not isinstance(part, Not)] or left
        alone = next((part for part in wishes if count([other for other in left if other is not part])), None)
        gone = min(wishes, key=lambda part: count([part])) if alone is None else alone
        left.remove(gone)
        dropped.append(gone)
    return tuple(left), tuple(part for part in parts if part in dropped)


def items_mentioning(index: VectorIndex, refused: Sequence[str]) -> dict[str, frozenset[str]]:
    """The items whose text has every word of a refusal, in any form; refusals that no item falls under are left out.

    Raises IndexFault.
    """
    words = sorted({word for one in refused for word in one.split()})
    if not words:
        return {}
    most = max(1, index.count())
    found = index.search([Query(legs=[Lexical(word)], limit=most) for word in words])
    having = {word: frozenset(hit.item_id for hit in hits) for word, hits in zip(words, found, strict=True)}
    every = {one: frozenset.intersection(*(having[word] for word in one.split())) for one in refused}
    return {one: ids for one, ids in every.items() if ids}


def _count(index: VectorIndex, parts: Sequence[Filter], exclude: frozenset[str]) -> int:
    """How many items fit all parts and are not among `exclude`."""
    without = [Not(In("item_id", tuple(sorted(exclude))))] if exclude else []
    return index.count(all_of([*(one for part in parts for one in parts_of(part)), *without]))
