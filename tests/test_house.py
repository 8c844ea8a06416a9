"""Rules of the house that no linter checks."""

import ast
import inspect
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from genrec.workspace import folder

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


PACKAGE = ROOT / "genrec"
CONTRACT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"][0]
LAYERS = [[name.strip() for name in layer.split("|")] for layer in CONTRACT["layers"]]
MEANS_THE_SAME = {"protocol.py", "__init__.py"}
"""`protocol.py` is what every engine of its room promises."""


def test_a_file_name_occurs_once() -> None:
    ours = [path for path in PACKAGE.rglob("*.py") if "migrations" not in path.parts]
    counts = Counter(path.name for path in ours)
    assert {name for name, count in counts.items() if count > 1} == MEANS_THE_SAME


def test_rooms_say_what_lives_there() -> None:
    for room in PACKAGE.iterdir():
        if room.is_dir() and room.name != "__pycache__":
            assert ast.get_docstring(ast.parse((room / "__init__.py").read_text(encoding="utf-8"))), room


def test_rooms_have_two_levels() -> None:
    deep = [path for path in PACKAGE.rglob("*.py") if len(path.relative_to(PACKAGE).parts) > 2]
    assert {path.relative_to(PACKAGE).parts[1] for path in deep} == {"migrations", "vllm_plugin"}  # alembic's and vLLM's own


def test_the_page_of_the_house_names_every_room_in_the_order_of_the_layers() -> None:
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    table = page.split("## Rooms")[1].split("\n## ")[0]
    named = re.findall(r"^\| `([a-z_]+)(?:/|\.py)` \|", table, re.MULTILINE)
    assert named == [name for layer in LAYERS for name in layer]


def test_files_that_the_page_of_the_house_names_are_there() -> None:
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    paths = set(re.findall(r"`((?:genrec/|prompts/|eval/|docs/|tests/)?[\w/]+\.(?:py|md|j2))`", page))
    lost = {one for one in paths if not any((base / one).exists() for base in (ROOT, PACKAGE))}
    assert lost == set()


def test_the_listing_of_a_workspace_is_what_is_there(built_shop: Path) -> None:
    listing = set(re.findall(r"^(\S+?)/?\s{2,}\S", ast.get_docstring(ast.parse(inspect.getsource(folder))) or "", re.MULTILINE))
    found = {path.name for path in built_shop.iterdir()} - {"store.sqlite-wal", "store.sqlite-shm"}
    assert found <= listing
    assert found >= {"genrec.toml", "workspace.json", "store.sqlite", "vectors", "index", "build.json"}
    source = "".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    assert [name for name in listing if f'"{name}"' not in source and f'"{name}/' not in source] == []


def test_no_drawer_for_everything() -> None:
    assert [path for path in FILES if path.stem in ("utils", "helpers", "common", "misc")] == []
