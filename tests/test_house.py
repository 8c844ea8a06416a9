"""Rules of the house that no linter checks."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted(path for room in ("genrec", "tests", "eval") for path in (ROOT / room).rglob("*.py"))
MOST_LINES = 600
MOST_LINES_OF_A_FUNCTION = 50


def long_functions(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            lines = node.end_lineno - node.lineno + 1
            if lines > MOST_LINES_OF_A_FUNCTION:
                yield f"{node.name}: {lines} lines"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_short(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= MOST_LINES
    assert list(long_functions(source)) == []


def test_a_long_function_is_noticed() -> None:
    assert list(long_functions("def long():\n" + "    x = 1\n" * 50)) == ["long: 51 lines"]


def test_no_drawer_for_everything() -> None:
    assert [path for path in FILES if path.stem in ("utils", "helpers", "common", "misc")] == []
