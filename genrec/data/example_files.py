"""Files of examples to learn from: JSON lines, each fault with its file and line."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from genrec.errors import RowError, TableError

T = TypeVar("T")


def read_lines(paths: Sequence[Path], take: Callable[[Any], T]) -> list[T]:
    """What `take` makes of each line that is not empty, in order.

    Raises TableError for a file that cannot be read, RowError with file and line where `take` raises ValueError.
    """
    found: list[T] = []
    for path in paths:
        try:
            lines = path.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise TableError(f"{path}: {error}", hint="The file must be readable UTF-8 text.") from error
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                found.append(take(json.loads(line)))
            except (ValueError, RecursionError) as error:
                raise RowError(f"{path}, line {number}: {error}", hint="Mend the line, see docs/training.md.") from error
    return found


def an_object(value: Any, name: str) -> dict[str, Any]:
    """Raises ValueError, as all of these do: another type, a key that is missing, a text that is not Unicode."""
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {value!r:.60}, it must be an object")
    return value


def get(row: dict[str, Any], name: str, kind: type[T]) -> T:
    if name not in row:
        raise ValueError(f"{name} is missing")
    value = row[name]
    if not isinstance(value, kind):
        raise ValueError(f"{name} is {value!r:.60}, it must be of type {kind.__name__}")
    if isinstance(value, str):
        value.encode()
    return value


def texts(row: dict[str, Any], name: str) -> tuple[str, ...]:
    values = get(row, name, list)
    return tuple(get({name: value}, name, str) for value in values)
