"""OpenAI-shaped messages: checked, and a dialogue made of them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from genrec.errors import ConfigError
from genrec.types import Recommendation, Trace
from genrec.understanding.parser import Understood


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatAnswer:
    """The answer to one turn.

    session_id  under which the dialogue goes on; empty where it is not stored
    text        the whole answer, as it was streamed
    items       what it recommends, rank from 1, each with its reason
    understood  what the turn was taken to say
    filter      what holds for the items after this turn, as a filter expression
    question    the attribute that the answer asks for, empty where it asks for none
    relaxed     constraints that were dropped because nothing fits all of them, as filter expressions
    without     refused words that the texts of the items do not have
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


ROLES: tuple[str, ...] = ("system", "developer", "user", "assistant")
MOST_MESSAGES = 1_000
_SHAPE = 'Messages look like [{"role": "user", "content": "something like Alien"}].'
_NUMBERED = re.compile(r"^\s*(?:\d{1,2}[.)]|[-*•])\s+(?P<line>[^\n]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Message:
    """Messages of the system are not interpreted: items and rules come from the catalogue alone."""

    role: str
    text: str


def messages_of(given: str | Sequence[Mapping[str, Any]]) -> list[Message]:
    """A text is one message of a user. Content is a text, or OpenAI's list of parts, of which the texts are read.

    Raises ConfigError with the place of what is wrong, and when the last message is not a user's.
    """
    if isinstance(given, str):
        return [Message("user", given)]
    if not isinstance(given, Sequence) or isinstance(given, bytes) or not given:
        raise ConfigError(f"messages is {given!r:.80}", hint=f"Give a text or a list. {_SHAPE}")
    if len(given) > MOST_MESSAGES:
        raise ConfigError(f"{len(given)} messages, at most {MOST_MESSAGES} are read", hint="Go on by session_id instead.")
    made = [_message(place, one) for place, one in enumerate(given)]
    if made[-1].role != "user":
        raise ConfigError(f"the last message is of role {made[-1].role!r}", hint="The last one is the user's turn.")
    return made


def _message(place: int, one: object) -> Message:
    where = f"messages[{place}]"
    if not isinstance(one, Mapping):
        raise ConfigError(f"{where} is {one!r:.80}", hint=_SHAPE)
    role, content = one.get("role"), one.get("content")
    if role not in ROLES:
        raise ConfigError(f"{where}.role is {role!r:.80}", hint=f"It is one of {', '.join(ROLES)}.")
    if isinstance(content, Sequence) and not isinstance(content, str | bytes):
        parts = [cast(Mapping[str, Any], part) for part in content if isinstance(part, Mapping) and part.get("type") == "text"]
        content = "\n".join(str(part.get("text", "")) for part in parts)
    if not isinstance(content, str):
        raise ConfigError(f"{where}.content is {content!r:.80}", hint="It is text, or a list of parts of type text.")
    return Message(cast(str, role), content)


def listed_lines(text: str) -> list[str]:
    """What stands before the colon in each line of a list, as answers show their items; empty where there is no list."""
    return [found["line"].split(": ")[0] for found in _NUMBERED.finditer(text)]
