"""Every example of README.md runs. The first run fetches the default weights, as a reader's would."""

from pathlib import Path

import pytest

from tests.readme import SHOWN, Block, blocks, run

README = Path(__file__).parent.parent / "README.md"


@pytest.mark.readme
def test_every_example_runs_in_order(tmp_path: Path) -> None:
    for block in blocks(README.read_text(encoding="utf-8")):
        if block.language not in SHOWN and not block.skip:
            run(block, tmp_path)


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
