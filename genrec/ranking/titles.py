"""How far a title must be read to be told from all others of its catalogue.

What follows the shortest unique prefix of a title is certain to a model that knows the catalogue, as it is to constrained
decoding over a trie of titles (De Cao et al., GENRE, ICLR 2021): it costs most of a title's tokens and tells next to nothing.
"""

from bisect import bisect_left
from collections.abc import Iterable

from genrec.models.packing import alike


class Titles:
    """The lines that stand for the items of a catalogue."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = sorted(set(lines))

    def distinct(self, line: str) -> str:
        """The shortest start of `line`, up to a word's end, with which no other line begins; all of it where there is none.

        The line itself may be one of the catalogue's or a new one.
        """
        place = bisect_left(self._lines, line)
        after = place + (place < len(self._lines) and self._lines[place] == line)
        neighbours = [*self._lines[max(0, place - 1) : place], *self._lines[after : after + 1]]
        shared = max((alike(line, other) for other in neighbours), default=0)
        end = next((at for at in range(shared + 1, len(line)) if line[at].isspace() and not line[at - 1].isspace()), len(line))
        return line[:end]
