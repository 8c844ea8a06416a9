"""Retrieval from dialogues: ReDial's validation dialogues and OpenDialKG's.

    python eval/dialogues.py --redial-items F --redial F --movies FOLDER --opendialkg-items F --opendialkg-train F --opendialkg F

One workspace a catalogue is built below `--work` (kept, so that a second run encodes nothing anew). ReDial: its 6,583 films with
the events of MovieLens-100K joined by imdb_id. Rankings go over the whole catalogue, by `genrec.evaluation.dialogues`.

`known: none`    no dialogue is known: the weights of the untrained model
`known: other`   all dialogues of OpenDialKG's train part, with its weights, films joined by title and year
`known: own`     cross-fitted: five folds of dialogues, the counts and weights of a fold learned from the other four
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genrec.building import build, ingest
from genrec.settings import SETTINGS_FILE
from genrec.workspace import Workspace

RESULTS = Path(__file__).parent / "results" / "dialogues.json"
LISTS = ("genre", "director", "star", "writer", "actor", "language")
SETTINGS = '[models]\nimage = ""\nllm = "fake"\n'


def item_rows(table: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Items as JSON lines: lists without repeats, the year out of the title where it has no column."""
    rows = []
    for item_id, row in table.items():
        year = row.get("year") or next(iter(re.findall(r"\((\d{4})\)", row["name"])), "")
        lists = {name: list(dict.fromkeys(row[name])) for name in LISTS if row.get(name)}
        rows.append({"item_id": item_id, "title": row["name"], "text": row.get("plot") or "", **lists})
        if str(year).isdigit():
            rows[-1]["year"] = int(year)
    return rows


def movielens(folder: Path, table: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The events of the films that both catalogues have."""
    import polars as pl

    of = {row["imdb_id"]: item_id for item_id, row in table.items() if row.get("imdb_id")}
    items = pl.read_parquet(folder / "items.parquet", columns=["item_id", "imdb_id"]).drop_nulls()
    joined = {row["item_id"]: of[row["imdb_id"]] for row in items.iter_rows(named=True) if row["imdb_id"] in of}
    events = pl.read_parquet(folder / "interactions.parquet")
    return [
        {
            "user_id": f"ml{row['user_id']}",
            "item_id": joined[row["item_id"]],
            "rating": row["rating"],
            "timestamp": row["timestamp"].timestamp(),
        }
        for row in events.iter_rows(named=True)
        if row["item_id"] in joined
    ]


def workspace_of(folder: Path, items: Sequence[Mapping[str, Any]], events: Sequence[Mapping[str, Any]]) -> Workspace:
    """A built workspace; one that is there is taken as it is."""
    if (folder / "build.json").exists():
        return Workspace.open(folder)
    Workspace.create(folder).close()
    (folder / SETTINGS_FILE).write_text(SETTINGS, encoding="utf-8")
    tables = {"items": folder / "items.jsonl", "events": folder / "events.jsonl"}
    for path, rows in ((tables["items"], items), (tables["events"], events)):
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    opened = Workspace.open(folder)
    ingest(opened, items=[tables["items"]], events=[tables["events"]] if events else [])
    build(opened)
    return opened
