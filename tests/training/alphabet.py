"""A workspace of twelve things named A to L, people who follow a habit through them, and a tiny LLM."""

import json
from pathlib import Path
from typing import Any

from genrec.settings import SETTINGS_FILE
from genrec.workspace.build import build
from genrec.workspace.folder import Workspace
from genrec.workspace.ingest import ingest
from tests.training import tuning

Sections = dict[str, dict[str, Any]]
SMALL: Sections = {
    "models": {"text": "", "image": "", "device": "cpu", "dtype": "float32"},
    "retrieval": {"candidates": 8, "behaviour_dim": 1},  # a retriever that leaves something to learn
    "rank.train": {
        "r": 4,
        "alpha": 8,
        "length": 96,
        "batch": 2,
        "lists": 8,
        "candidates": 3,
        "folds": 2,
        "history": 3,
        "learning_rate": 1e-2,
        "list_learning_rate": 1e-2,
    },
    "write.train": {"r": 4, "alpha": 8, "epochs": 1, "batch": 4},
}


def make(folder: Path, llama: Path, *, people: int = 40, planted: bool = True) -> Path:
    """A built workspace in `folder`."""
    tables = folder.parent / f"{folder.name}-tables"
    tables.mkdir(parents=True)
    items = [{"item_id": f"i{n:02d}", "title": title} for n, title in enumerate(tuning.TITLES)]
    (tables / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in items))
    rows = [
        {"user_id": f"p{person:02d}", "item_id": f"i{item:02d}", "timestamp": 1_600_000_000 + 100 * person + place}
        for person, walk in enumerate(tuning.walks(people, planted=planted))
        for place, item in enumerate(walk)
    ]
    (tables / "events.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Workspace.create(folder).close()
    settle(folder, llama)
    with Workspace.open(folder) as workspace:
        ingest(workspace, items=[tables / "items.jsonl"], events=[tables / "events.jsonl"])
        build(workspace)
    return folder


def settle(folder: Path, llama: Path, **changes: dict[str, Any]) -> Path:
    """Write the settings: those of `SMALL` with changes by section."""
    told = {name: SMALL.get(name, {}) | changes.get(name, {}) for name in SMALL | changes}
    told["models"] = {"llm": str(llama)} | told["models"]
    lines = [
        line for name, values in told.items() for line in (f"[{name}]", *(f"{k} = {json.dumps(v)}" for k, v in values.items()))
    ]
    (folder / SETTINGS_FILE).write_text("\n".join(lines) + "\n")
    return folder
