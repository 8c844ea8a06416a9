"""The independent check of reasons (eval/explanations/verify_reasons.py) finds every kind of falsehood."""

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

ROOT = Path(__file__).parent.parent
ITEMS = pl.DataFrame(
    {
        "item_id": ["1", "2", "3", "4"],
        "title": ["Alien", "Heat", "Fargo", 'The "Best"'],
        "genres": [["Sci-Fi", "Horror"], ["Crime"], ["Crime", "Drama"], ["Drama"]],
    }
)
EVENTS = pl.DataFrame({"user_id": [7, 7], "item_id": [1, 2], "rating": [2.0, 5.0], "timestamp": [1, 2]})
TRUE: dict[str, Any] = {
    "user_id": "7",
    "item_id": "3",
    "reason": {
        "text": 'Since you liked "Heat", you may enjoy another Crime.',
        "source": "llm",
        "evidence": [
            {"kind": "history", "item_ids": ["2"], "attribute": "", "value": "liked"},
            {"kind": "attribute", "item_ids": ["2"], "attribute": "genres", "value": "Crime"},
        ],
    },
}


def verify(rows: list[dict[str, Any]], folder: Path) -> tuple[int, dict[str, Any]]:
    ITEMS.write_parquet(folder / "items.parquet")
    EVENTS.write_parquet(folder / "events.parquet")
    (folder / "answer.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [sys.executable, "-m", "eval.explanations.verify_reasons"]
    for name, file in (("answer", "answer.jsonl"), ("items", "items.parquet"), ("events", "events.parquet")):
        command += [f"--{name}", str(folder / file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout)


def text(words: str) -> Callable[[dict[str, Any]], None]:
    return lambda row: row["reason"].update(text=words)


FALSE: dict[str, Callable[[dict[str, Any]], None]] = {
    "a seen item": lambda row: row.update(item_id="2"),
    "no text": text(""),
    "a title that was not chosen": text('Since you liked "Fargo", you may enjoy another Crime.'),
    "a title that is not cited": text('Since you liked "Alien", you may enjoy another Crime.'),
    "a value that the item has not": text('Since you liked "Heat", you may enjoy another Horror.'),
    "a number": text('Since you liked "Heat", 12 people may enjoy it.'),
    "evidence outside the history": lambda row: row["reason"]["evidence"][0].update(item_ids=["4"]),
    "evidence of a value not shared": lambda row: row["reason"]["evidence"][1].update(value="Drama"),
    "liked what was rated low": lambda row: row["reason"].update(
        text='Since you liked "Alien", you may enjoy it.',
        evidence=[{"kind": "history", "item_ids": ["1"], "attribute": "", "value": "liked"}],
    ),
}


def test_a_true_reason_passes(tmp_path: Path) -> None:
    code, result = verify([TRUE], tmp_path)
    assert (code, result["true"], result["reasons"]) == (0, 1, 1)


@pytest.mark.parametrize("kind", FALSE)
def test_a_false_one_is_found(kind: str, tmp_path: Path) -> None:
    row = copy.deepcopy(TRUE)
    FALSE[kind](row)
    code, result = verify([TRUE, row], tmp_path)
    assert (code, result["true"], len(result["wrong"])) == (1, 1, 1)
