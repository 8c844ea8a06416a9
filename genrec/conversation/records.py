"""What a turn of a dialogue is answered with."""

from dataclasses import dataclass

from genrec.dialogue.parsing import Understood
from genrec.types import Recommendation, Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatAnswer:
    """The answer to one turn.

    session_id  under which the dialogue goes on; empty where none is kept
    text        the whole answer, as it was streamed
    items       what it recommends, rank from 1, each with its reason
    understood  what the turn was taken to say
    filter      what holds for the items after this turn, as a filter expression
    question    the attribute that the answer asks for, empty where it asks for none
    relaxed     constraints that were dropped because nothing fits all of them, as filter expressions
    without     refused words that the text of none of them says
    trace       stages with their times
    """

    session_id: str
    text: str
    items: tuple[Recommendation, ...]
    understood: Understood
    trace: Trace
    filter: str = ""
    question: str = ""
    relaxed: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatChunk:
    """A piece of an answer: some more text, an item (again once its reason is there), or, at last, the whole answer."""

    text: str = ""
    item: Recommendation | None = None
    answer: ChatAnswer | None = None
