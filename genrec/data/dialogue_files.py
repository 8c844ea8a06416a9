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
from genrec.errors import RowError, TableError

_EXAMPLE = '{"context": ["A film like Alien?"], "rec": ["The Thing (1982)"]}'
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
    moments: list[Moment] = []
    for line, text in source.lines():
        if text.strip():
            moments.append(_moment(text, len(moments) + 1, f"{source.path}, row {len(moments) + 1} (line {line})"))
    if not moments:
        raise TableError(f"{source.path} has no row", hint=f"One moment of a dialogue a line: {_EXAMPLE}")
    return moments


def _moment(text: str, row: int, place: str) -> Moment:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RowError(f"{place}: not JSON that can be read: {error}", hint=f"A row is an object: {_EXAMPLE}") from error
    if not isinstance(value, dict):
        raise RowError(f"{place}: a row is an object, not {type(value).__name__}", hint=f"For example {_EXAMPLE}")
    named = _of(value, NAMED)
    return Moment(
        dialogue_id=str(value.get("dialog_id", f"row {row}")),
        turn_id=str(value.get("turn_id", row)),
        context=_turns(value, place),
        wanted=_texts(value, WANTED, place),
        named=None if named is None else _texts(value, NAMED, place),
        row=row,
    )


def _of(value: Mapping[str, Any], names: Sequence[str]) -> str | None:
    return next((name for name in names if value.get(name) is not None), None)


def _texts(value: Mapping[str, Any], names: Sequence[str], place: str) -> tuple[str, ...]:
    name = _of(value, names)
    if name is None:
        raise RowError(f"{place}: there is no {' or '.join(names)}", hint=f"For example {_EXAMPLE}")
    found = value[name]
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise RowError(f"{place}, column {name}: it is {found!r:.60}, it must be a list of texts", hint=f"For example {_EXAMPLE}")
    return tuple(found)


def _turns(value: Mapping[str, Any], place: str) -> tuple[str, ...]:
    if _of(value, TURNS) != "messages":
        return _texts(value, TURNS, place)
    turns = []
    messages = value["messages"]
    if not isinstance(messages, list):
        raise RowError(f"{place}, column messages: it must be a list", hint='Of objects: {"role": "user", "content": "Hi"}')
    for number, message in enumerate(messages, 1):
        content = message.get("content") if isinstance(message, dict) else None
        if not isinstance(content, str):
            raise RowError(
                f"{place}, column messages: message {number} is {message!r:.60}",
                hint='A message is {"role": "user", "content": "Hi"}.',
            )
        if message.get("role") in ("user", "assistant"):
            turns.append(content)
    return tuple(turns)
