"""Retrieval from dialogues: ReDial's validation dialogues and OpenDialKG's.

    python -m eval.chat.dialogue_retrieval --redial-items F --redial F --movies FOLDER \\
        --opendialkg-items F --opendialkg-train F --opendialkg F

One workspace a catalogue is built below `--work` (kept, so that a second run encodes nothing anew). ReDial: its 6,583 films with
the events of MovieLens-100K joined by imdb_id. Rankings go over the whole catalogue, by `genrec.evaluation.dialogue_recall`.

`known: none`    no dialogue is known: the weights of the untrained model
`known: other`   all dialogues of OpenDialKG's train part, with its weights, films joined by title and year
`known: own`     cross-fitted: five folds of dialogues, the counts and weights of a fold learned from the other four
"""

import argparse
import hashlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from eval.provenance import RESULTS_FOLDER, provenance
from genrec.chat_retrieval.dialogue_model import DialogueModel
from genrec.chat_retrieval.dialogue_retriever import QueryEncoder
from genrec.chat_retrieval.transcripts import Transcript, learned
from genrec.data.dialogue_files import Moment, read_moments
from genrec.evaluation.dialogue_recall import FOLDS, Bench, Ranker, constraints, effort, linking, recalls, started
from genrec.settings import SETTINGS_FILE
from genrec.workspace.build import build
from genrec.workspace.folder import Workspace
from genrec.workspace.ingest import ingest

RESULTS = RESULTS_FOLDER / "dialogues.json"
SOME = 400
"""Moments that constraints and times are measured on."""
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


def other_moments(path: Path, items: Sequence[Mapping[str, Any]], own: Sequence[Mapping[str, Any]]) -> list[Moment]:
    """Dialogues over another catalogue with its titles as ids of this one, where title and year say that it is the same item."""
    years = {row["title"]: row.get("year") for row in items}
    by_title: dict[str, list[tuple[int | None, str]]] = {}
    for row in own:
        by_title.setdefault(plain(row["title"]), []).append((row.get("year"), row["item_id"]))

    def joined(title: str) -> str:
        year, found = years.get(title), by_title.get(plain(title), [])
        near = [item_id for other, item_id in found if year and other and abs(other - year) <= 1]
        return near[0] if near else found[0][1] if len(found) == 1 and not year else title

    return [
        replace(one, wanted=tuple(map(joined, one.wanted)), named=tuple(map(joined, one.named or ())))
        for one in read_moments(path)
    ]


def plain(title: str) -> str:
    """Letters and figures alone, without a year in brackets."""
    return re.sub(r"[^a-z0-9]", "", re.sub(r"\(\d{4}\)", "", title).lower())


class Kept:
    """Rows of texts in a file, so that a second run encodes nothing anew; otherwise as `QueryEncoder`."""

    def __init__(self, query_encoder: QueryEncoder, path: Path) -> None:
        self._speech, self._path = query_encoder, path
        self._rows: dict[str, np.ndarray] = {}
        if path.exists():
            with np.load(path) as file:
                self._rows = dict(zip(file["digests"].tolist(), file["rows"], strict=True))

    def rows(self, texts: Sequence[str]) -> np.ndarray:
        marks = [hashlib.sha256(text.encode()).hexdigest()[:24] for text in texts]
        new = [n for n, mark in enumerate(marks) if mark not in self._rows]
        if new:
            self._rows |= zip([marks[n] for n in new], self._speech.rows([texts[n] for n in new]), strict=True)
            np.savez(self._path, digests=np.array(list(self._rows)), rows=np.stack(list(self._rows.values())))
        return np.stack([self._rows[mark] for mark in marks])

    def tokens(self, texts: Sequence[str]) -> int:
        return self._speech.tokens(texts)


def bench_of(opened: Workspace, kept: Path) -> Bench:
    bench = Bench.of(opened)
    if bench.query_encoder is not None:
        bench.query_encoder = cast(QueryEncoder, Kept(bench.query_encoder, kept))
    return bench


def measured(bench: Bench, transcripts: Sequence[Transcript], systems: Mapping[str, Ranker]) -> dict[str, Any]:
    """Recalls of all systems on the same moments, and how often the target lies in the pool that the engine finds."""
    results = started(transcripts)
    for name, rank in systems.items():
        start = time.perf_counter()
        results.systems[name] = recalls(transcripts, rank)
        print(name, results.as_json()["systems"][name], f"{time.perf_counter() - start:.0f} s", flush=True)
    return results.as_json()


def redial(bench: Bench, given: argparse.Namespace, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    heard = bench.rows(bench.transcript_reader().read(read_moments(given.redial)))
    table = json.loads(given.opendialkg_items.read_text(encoding="utf-8"))
    others = bench.transcript_reader().read(other_moments(given.opendialkg_train, item_rows(table), rows))
    joined = [one.as_named() for one in others if one.wanted]
    other = learned(bench.rows(joined), bench.catalogue, bench.items, bench.user_encoder)
    systems = {
        "popularity (MovieLens)": bench.chosen(),
        "popularity, cross-fitted": bench.popularity(FOLDS, 0),
        "text search": bench.search(),
        "known: none": bench.ranker(DialogueModel.untrained()),
        "known: other": bench.ranker(other),
        "known: own": bench.cross_fitted(FOLDS, 0),
    }
    named = {"mentions named by the file": measured(bench, [one.as_named() for one in heard], systems)}
    return {**named, **understood(bench, heard), "moments of other dialogues": len(joined)}


def understood(bench: Bench, heard: Sequence[Transcript]) -> dict[str, Any]:
    """What the text alone says: the linker finds the titles, the parser the constraints."""
    untrained, some = DialogueModel.untrained(), heard[:: max(1, len(heard) // SOME)]
    return {
        "mentions found in the text": measured(bench, heard, {"known: own": bench.cross_fitted(FOLDS, 0)}),
        "linking": {name: round(value, 4) for name, value in asdict(linking(heard)).items()},  # type: ignore[arg-type]
        "constraints": constraints(bench, some, untrained),
        "effort": effort(bench, some, untrained),
    }


def opendialkg(bench: Bench, given: argparse.Namespace) -> dict[str, Any]:
    known = bench.rows(bench.transcript_reader().read(read_moments(given.opendialkg_train)))
    heard = bench.rows(bench.transcript_reader().read(read_moments(given.opendialkg)))
    results = {}
    for name, train, asked in (
        ("mentions named by the file", [one.as_named() for one in known], [one.as_named() for one in heard]),
        ("mentions found in the text", known, heard),
    ):
        model = learned(train, bench.catalogue, bench.items, bench.user_encoder)
        systems = {
            "popularity (train dialogues)": bench.named_most(train),
            "text search": bench.search(),
            "known: none": bench.ranker(DialogueModel.untrained()),
            "known: train": bench.ranker(model),
        }
        if asked is heard:
            systems = {"known: train": systems["known: train"]}
        results[name] = measured(bench, asked, systems)
    return results


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name in ("redial-items", "redial", "movies", "opendialkg-items", "opendialkg-train", "opendialkg", "work"):
        options.add_argument(f"--{name}", type=Path, required=True)
    options.add_argument("--only", choices=("redial", "understood", "opendialkg"), help="the rest stays as it is")
    given = options.parse_args()
    table = json.loads(given.redial_items.read_text(encoding="utf-8"))
    other = json.loads(given.opendialkg_items.read_text(encoding="utf-8"))
    before = json.loads(RESULTS.read_text(encoding="utf-8")) if given.only and RESULTS.exists() else {}
    result: dict[str, Any] = {}
    if given.only != "opendialkg":
        rows = item_rows(table)
        with workspace_of(given.work / "redial", rows, movielens(given.movies, table)) as opened:
            bench = bench_of(opened, given.work / "redial.npz")
            if given.only == "understood":
                heard = bench.rows(bench.transcript_reader().read(read_moments(given.redial)))
                result["redial"] = before["redial"] | understood(bench, heard) | {"understood": provenance(seed=0)}
            else:
                result["redial"] = redial(bench, given, rows)
    if given.only in (None, "opendialkg"):
        with workspace_of(given.work / "opendialkg", item_rows(other), []) as opened:
            result["opendialkg"] = opendialkg(bench_of(opened, given.work / "opendialkg.npz"), given)
    if given.only != "understood":
        result |= provenance(seed=0) | {"bars": {"recall@1": 0.04, "recall@10": 0.18, "recall@50": 0.38}}
    RESULTS.write_text(json.dumps(before | result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
