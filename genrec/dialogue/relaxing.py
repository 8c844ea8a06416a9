"""Nothing fits: constraints are dropped one by one, as few as can be, the oldest first, refusals last."""

from collections.abc import Callable, Sequence

from genrec.filters import Filter, Not


def relaxed(parts: Sequence[Filter], fits: Callable[[Sequence[Filter]], int]) -> tuple[tuple[Filter, ...], tuple[Filter, ...]]:
    """(what is left, what was dropped), each in the order of `parts`, the oldest first; `fits` counts items.

    One part that alone stands in the way goes first, the oldest of such; where none does, the one without which most items
    fit, until something does. A refusal goes only when without refusals still nothing fits.
    """
    left, dropped = list(parts), []
    while left and not fits(left):
        wishes = [part for part in left if not isinstance(part, Not)] or left
        counts = [fits([other for other in left if other is not part]) for part in wishes]
        alone = [part for part, count in zip(wishes, counts, strict=True) if count]
        gone = alone[0] if alone else wishes[max(range(len(wishes)), key=lambda place: _found(wishes[place], fits))]
        left.remove(gone)
        dropped.append(gone)
    return tuple(left), tuple(part for part in parts if part in dropped)


def _found(part: Filter, fits: Callable[[Sequence[Filter]], int]) -> int:
    """How much a part asks for alone, the rarest first."""
    return -fits([part])
