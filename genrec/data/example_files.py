"""Files of training examples: JSON lines, each fault with its file and line."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from genrec.errors import RowError, TableError

T = TypeVar("T")


def read_lines(paths: Sequence[Path], convert: Callable[[Any], T]) -> list[T]:
    """What `convert` makes of each line that is not blank, in order.

    Raises TableError for a file that cannot be read, RowError with file and line where `convert` raises ValueError.
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
                found.append(convert(json.loads(line)))
            except (ValueError, RecursionError) as error:
                raise RowError(f"{path}, line {number}: {error}", hint="Mend the line, see docs/training.md.") from error
    return found


def checked_object(value: Any, name: str) -> dict[str, Any]:
    """`value`, if it is an object. Raises ValueError, as `checked` and `checked_texts` do."""
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {value!r:.60}, it must be an object")
    return value


def checked(row: dict[str, Any], name: str, kind: type[T]) -> T:
    """The value of a key. Raises ValueError where it is missing, of another type, or a text that is not Unicode."""
    if name not in row:
        raise ValueError(f"{name} is missing")
    value = row[name]
    if not isinstance(value, kind):
        raise ValueError(f"{name} is {value!r:.60}, it must be of type {kind.__name__}")
    if isinstance(value, str):
        value.encode()
    return value


def checked_texts(row: dict[str, Any], name: str) -> tuple[str, ...]:
    """The texts of a list."""
    return tuple(checked({name: value}, name, str) for value in checked(row, name, list))
