"""Dialogues from a file: JSON lines, one moment of a dialogue a line, at which something was recommended.

    {"dialog_id": "16162", "turn_id": 2, "context": ["Hi", "A film like Alien?"], "rec": ["The Thing"], "entity": ["Alien"]}
    {"messages": [{"role": "user", "content": "A film like Alien?"}], "recommended": ["The Thing (1982)"]}

`rec` and `entity` are item ids or titles. `entity` (or `mentions`) may be left out: what the context names is then found in it.
Lines without `dialog_id` are dialogues of their own.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genrec.data.input_file import InputFile
from genrec.data.json_table import json_lines
from genrec.errors import RowError, TableError

_EXAMPLE = '{"context": ["A film like Alien?"], "rec": ["The Thing (1982)"]}'
_MESSAGES = '[{"role": "user", "content": "A film like Alien?"}]'
TURNS, WANTED, NAMED = ("context", "messages"), ("rec", "recommended"), ("entity", "mentions")


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A dialogue up to a moment, and what was recommended then.

    context   texts of both sides, oldest first
    wanted    item ids or titles
    named     items and other things that the context names, in order; None where the file does not say
    row       number of the line among those that are not empty, from 1
    """

    dialogue_id: str
    turn_id: str
    context: tuple[str, ...]
    wanted: tuple[str, ...]
    named: tuple[str, ...] | None
    row: int

    @property
    def digest(self) -> str:
        """Stands for what was said and recommended, 12 hex digits."""
        return hashlib.sha256(json.dumps([self.context, self.wanted]).encode("utf-8", "surrogatepass")).hexdigest()[:12]


def read_moments(path: Path) -> list[Moment]:
    """All lines in order. Raises TableError for a file that cannot be read, RowError for the first line with a fault."""
    source = InputFile.examine(path)
    source.refuse_binary()
    moments = []
    for row, (line, value, wrong, _) in enumerate(json_lines(source), 1):
        place = f"{source.path}, row {row} (line {line})"
        if not isinstance(value, dict):
            raise _fault(f"{place}: {wrong or f'a row is an object, not {type(value).__name__}'}")
        named = _present(value, NAMED)
        moments.append(
            Moment(
                dialogue_id=str(value.get("dialog_id", f"row {row}")),
                turn_id=str(value.get("turn_id", row)),
                context=_turns(value["messages"], place) if _present(value, TURNS) == "messages" else _texts(value, TURNS, place),
                wanted=_texts(value, WANTED, place),
                named=_texts(value, NAMED, place) if named else None,
                row=row,
            )
        )
    if not moments:
        raise TableError(f"{source.path} has no row", hint=f"One moment of a dialogue a line: {_EXAMPLE}")
    return moments


def _fault(message: str, example: str = _EXAMPLE) -> RowError:
    return RowError(message, hint=f"For example {example}")


def _present(value: Mapping[str, Any], names: Sequence[str]) -> str | None:
    return next((name for name in names if value.get(name) is not None), None)


def _texts(value: Mapping[str, Any], names: Sequence[str], place: str) -> tuple[str, ...]:
    name = _present(value, names)
    if name is None:
        raise _fault(f"{place}: there is no {' or '.join(names)}")
    found = value[name]
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise _fault(f"{place}, column {name}: it is {found!r:.60}, it must be a list of texts")
    return tuple(found)


def _turns(messages: Any, place: str) -> tuple[str, ...]:
    """What the two sides said."""
    if not isinstance(messages, list):
        raise _fault(f"{place}, column messages: it must be a list", _MESSAGES)
    for number, message in enumerate(messages, 1):
        if not isinstance(message, dict) or not isinstance(message.get("content"), str):
            raise _fault(f"{place}, column messages: message {number} is {message!r:.60}", _MESSAGES)
    return tuple(message["content"] for message in messages if message.get("role") in ("user", "assistant"))
