"""How strong are the baselines, each tuned on validation?

Leave-one-out, full ranking over the catalogue, the history left out, by the product's own harness (`genrec.evaluation`). Every
system is tuned on the validation twin and asked once for the test targets, with three seeds where a seed matters.

    python eval/baselines.py --data shared/data/movies --text-model PATH [--systems ease,als] [--seeds 0,1,2]

Writes each system into eval/results/baselines.json as soon as it is done, beside those of earlier runs.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from record import provenance
from zero_shot import encode, read

from genrec.baselines import NAMES, baselines
from genrec.evaluation.harness import evaluate
from genrec.evaluation.results import SystemResult
from genrec.evaluation.splits import leave_one_out
from genrec.retrieval.sequences import Sequences
from genrec.retrieval.systems import Content
from genrec.retrieval.vectors import ModalityVectors
from genrec.types import AttributeValue, Item

RESULTS = Path(__file__).parent / "results" / "baselines.json"
KEPT = ("ndcg@10", "recall@10", "recall@20", "recall@50", "mrr@10", "auc")
ATTRIBUTES = ("year", "genres", "director", "actors", "runtime_min", "country", "language", "rated")


def sequences(ids: list[str], events: pl.DataFrame) -> Sequences:
    """From events ordered by user and time."""
    number = {item: place for place, item in enumerate(ids)}
    users, first = np.unique(events["user_id"].cast(pl.String).to_numpy(), return_index=True)
    order = np.argsort(first)
    n = len(events)
    clock = "timestamp" if "timestamp" in events.columns else "position"
    values = events["rating"].to_numpy().astype(np.float32) if "rating" in events.columns else np.full(n, np.nan, np.float32)
    return Sequences(
        user_ids=tuple(users[order].tolist()),
        item_ids=tuple(ids),
        offsets=np.append(first[order], n).astype(np.int64),
        items=np.array([number[str(item)] for item in events["item_id"]], np.int32),
        timestamps=events[clock].to_numpy().astype(np.float64),
        values=values,
        kinds=np.zeros(n, np.int16),
        platforms=np.zeros(n, np.int16),
    )


def content(folder: Path, ids: list[str], text: NDArray[np.float32]) -> Content:
    rows = pl.read_parquet(folder / "items.parquet").iter_rows(named=True)
    items = [
        Item(item_id=item_id, title=row["title"] or "", attributes=attributes(row))
        for item_id, row in zip(ids, rows, strict=True)
    ]
    return Content(items=items, vectors=ModalityVectors(tuple(ids), {"text": text}, {"text": np.ones(len(ids), bool)}))


def attributes(row: Mapping[str, Any]) -> dict[str, AttributeValue]:
    given = {name: row[name] for name in ATTRIBUTES if row.get(name)}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}


def summary(result: SystemResult) -> dict[str, Any]:
    if result.status == "missing":
        return {"status": result.status, "note": result.note, "hint": result.hint}
    return {
        "settings": dict(result.settings),
        "seeds": result.seeds,
        "test": {name: rounded(asdict(result.metrics[name])) for name in KEPT if name in result.metrics},
        "validation": [{"settings": dict(trial.settings), "ndcg@10": round(trial.score, 4)} for trial in result.trials],
        "fit_seconds": round(result.fit_seconds, 1),
        "tune_seconds": round(result.tune_seconds, 1),
    }


def rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in values.items()}


def save(data: str, result: SystemResult) -> None:
    everything = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    everything.setdefault(data, {})[result.name] = {"measured": provenance()} | summary(result)
    RESULTS.write_text(json.dumps(everything, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--text-model", required=True)
    parser.add_argument("--cache", type=Path, help="folder that keeps the text vectors between runs")
    parser.add_argument("--systems", default=",".join(NAMES))
    parser.add_argument("--seeds", default="0,1,2")
    options = parser.parse_args()
    ids, texts, events = read(options.data)
    split = leave_one_out(sequences(ids, events))
    known = content(options.data, ids, encode(texts, options.text_model, options.cache))
    for system in baselines(options.systems.split(",")):
        results = evaluate([system], split, known, seeds=[int(seed) for seed in options.seeds.split(",")], keep_people=False)
        result = results.system(system.name)
        save(options.data.name, result)
        print(json.dumps({system.name: summary(result) | {"validation": len(result.trials)}}), flush=True)


if __name__ == "__main__":
    main()
