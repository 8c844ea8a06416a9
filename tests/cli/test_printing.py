"""JSON lines are JSON on every stream, also on one that cannot hold the letters."""

import json
import os
from pathlib import Path

import pytest

from tests.cli.command import process

CAFE = ("recommend", "-u", "u01", "-k", "8", "--rank", "off", "--explain", "off", "--json")


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_json_holds_on_every_stdout(same_shop: Path, encoding: str) -> None:
    done = process(CAFE[0], "-w", same_shop, *CAFE[1:], env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"})
    assert done.code == 0, done.err
    titles = [json.loads(line)["title"] for line in done.out.splitlines()]
    assert any("Café" in title for title in titles)
    assert ("\\u00e9" in done.out) == (encoding == "ascii")  # elsewhere as it is
