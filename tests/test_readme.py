"""Every example of README.md and of docs/ runs, as a reader's would. The first run fetches the default weights."""

import re
from pathlib import Path

import pytest

from tests.readme import SHOWN, Block, blocks, run

ROOT = Path(__file__).parent.parent
IN_ORDER = (
    "README",
    "docs/quickstart",
    "docs/data",
    "docs/captions",
    "docs/training",
    "docs/reasons",
    "docs/serving",
    "docs/evaluation",
)
PAGES = {str(page.relative_to(ROOT).with_suffix("")): page for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))}


def runs(page: Path) -> list[Block]:
    return [block for block in blocks(page.read_text(encoding="utf-8")) if block.language not in SHOWN and not block.skip]


@pytest.mark.readme
def test_every_example_runs_in_order(tmp_path: Path) -> None:
    """In one folder: the pages go on with the shop of the README."""
    for name in IN_ORDER:
        for block in runs(PAGES[name]):
            run(block, tmp_path)


def test_no_page_has_an_example_that_nobody_runs() -> None:
    assert [name for name, page in PAGES.items() if runs(page) and name not in IN_ORDER] == []


def test_links_lead_to_pages_and_headings_that_are_there() -> None:
    lost = []
    for page in PAGES.values():
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            path, _, anchor = link.partition("#")
            target = page if not path else page.parent / path
            if link.startswith("http"):
                continue
            if not target.exists() or (anchor and anchor not in anchors(target)):
                lost.append(f"{page.name}: {link}")
    assert lost == []


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200


PAGE = """# Page
```sh skip=needs the network
pip install genrec
```
text
```sh
echo 1 > file
```
```python
print(int(open("file").read()) + 1)
```
```toml
[rank]
```
"""


def test_blocks_share_a_folder_and_say_what_they_are(tmp_path: Path) -> None:
    found = blocks(PAGE)
    assert [(block.line, block.language, block.skip) for block in found] == [
        (2, "sh", "needs the network"),
        (6, "sh", ""),
        (9, "python", ""),
        (12, "toml", ""),
    ]
    assert [run(block, tmp_path) for block in found[1:3]] == ["", "2\n"]


@pytest.mark.parametrize(
    "page", ["```\nx\n```\n", "```bash\nx\n```\n", "```sh skip=\nx\n```\n", "```sh later\nx\n```\n", "```sh\nx\n"]
)
def test_a_block_that_nobody_would_run_is_an_error(page: str) -> None:
    with pytest.raises(ValueError):
        blocks(page)


@pytest.mark.parametrize(("language", "code"), [("sh", "false\ntrue\n"), ("sh", "echo $unset_name\n"), ("python", "1 / 0\n")])
def test_a_failing_block_fails(tmp_path: Path, language: str, code: str) -> None:
    with pytest.raises(AssertionError, match=f"the {language} block at line 7 ended with"):
        run(Block(line=7, language=language, code=code, skip=""), tmp_path)
