"""Ten thousand captions: what a killed run costs, what a second run costs, and `genrec caption` beside the bare engine.

    python -m eval.captions.scale [--items 10000] [--work DIR] [--rounds 3] [--each 48]

The catalogue has the attributes of the drawn shop (eval/shop) and no pictures; `items` lack title and text, a fifth as many more
have both, shoppers chose from all.

killed   An engine that answers at once by the schema (`FakeLLM`) notes each request in a file. A process that writes captions is
         killed when half of the items have been asked for, another one goes on, a third one finds nothing to do. Counted:
         requests, those that were asked twice, and the processor time of a caption besides the engine's.
engine   The model of the workspace writes captions of `each` items, and the bare engine is handed the first tries in one call, in
         turns that change places, `rounds` times: what a request takes of both, in seconds and in seconds of the processor.

Writes eval/results/captions_scale.json.
"""

import argparse
import asyncio
import csv
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eval.provenance import RESULTS_FOLDER, provenance
from eval.shop import catalogue
from eval.shop.kinds import Thing
from eval.shop.scene import any_thing
from genrec.captions.caption_run import CaptionOptions
from genrec.captions.captioner import Captioner, load_llm
from genrec.data.ingest_report import Report
from genrec.llm.fake import FakeLLM
from genrec.llm.protocol import LLM, WriteRequest
from genrec.settings import SETTINGS_FILE
from genrec.workspace.build import build
from genrec.workspace.folder import Workspace
from genrec.workspace.ingest import ingest

RESULTS = RESULTS_FOLDER / "captions_scale.json"
WITH_TEXT = 0.2
SHOPPERS, CHOSEN = 3000, 12
REQUESTS = "requests.txt"


class Noting(FakeLLM):
    """Notes the digest of each prompt in a file before it answers."""

    def __init__(self, file: Path, adapters: Sequence[str]) -> None:
        super().__init__(adapters)
        self._file = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self.seconds = 0.0

    def _write(self, request: WriteRequest) -> str:
        start = time.process_time()
        os.write(self._file, f"{hash_of(request.prompt)} {request.temperature}\n".encode())
        text = super()._write(request)
        self.seconds += time.process_time() - start
        return text


class Recording:
    """The engine, and what was asked of it."""

    def __init__(self, llm: LLM) -> None:
        self._llm = llm
        self.asked: list[WriteRequest] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._llm, name)

    async def write(self, requests: Sequence[WriteRequest]) -> list[str]:
        self.asked += requests
        return await self._llm.write(requests)


def hash_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def make(folder: Path, items: int, seed: int) -> None:
    """A built workspace in which `items` items lack title and text."""
    chance, rng = random.Random(seed), np.random.default_rng(seed)
    known = round(WITH_TEXT * items)
    things: list[Thing] = [any_thing(chance) for _ in range(items + known)]
    tables = folder.with_name(f"{folder.name}-tables")
    tables.mkdir(parents=True, exist_ok=True)
    with (tables / "items.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["item_id", "title", "text", *catalogue.COLUMNS.values()])
        for row, thing in enumerate(things):
            told = catalogue.write(thing, chance) if row < known else ("", "")
            table.writerow([f"thing-{row:06d}", *told, *thing.values()])
    with (tables / "events.jsonl").open("w", encoding="utf-8") as file:
        for shopper in range(SHOPPERS):
            for place, row in enumerate(rng.choice(len(things), CHOSEN, replace=False)):
                event = {"user_id": f"shopper-{shopper}", "item_id": f"thing-{row:06d}", "timestamp": catalogue.START + place}
                file.write(json.dumps(event) + "\n")
    with Workspace.create(folder):
        (folder / SETTINGS_FILE).write_text('[models]\nimage = ""\ntext = ""\n', encoding="utf-8")
    with Workspace.open(folder) as workspace:
        ingest(workspace, items=[tables / "items.csv"], events=[tables / "events.jsonl"], report=Report(strict=True))
        build(workspace)


def write_all(folder: Path) -> None:
    """What the processes do that are killed or not; prints what it cost as JSON."""
    with Workspace.open(folder) as workspace:
        used = workspace.registry.in_use("write").adapter
        llm = Noting(folder / REQUESTS, [used.name] if used else [])
        start, processor = time.perf_counter(), time.process_time()
        captioner = Captioner(workspace, llm)
        planned = captioner.plan(CaptionOptions())
        seconds, own = time.perf_counter() - start, time.process_time() - processor
        processor = time.process_time()
        made = asyncio.run(captioner.write(planned))
        spent = time.process_time() - processor
        print(
            json.dumps(
                {
                    "planned": len(planned.targets),
                    "unchanged": planned.unchanged,
                    "written": made.written,
                    "by": dict(made.sources),
                    "requests": made.usage.requests,
                    "plan seconds": round(seconds, 1),
                    "plan processor seconds": round(own, 1),
                    "write seconds": round(made.seconds, 1),
                    "write processor seconds": round(spent, 1),
                    "of them the engine's": round(llm.seconds, 1),
                }
            )
        )


def asked_for(folder: Path) -> list[str]:
    file = folder / REQUESTS
    return file.read_text(encoding="utf-8").split("\n")[:-1] if file.exists() else []


def killed(folder: Path, items: int) -> dict[str, Any]:
    def process() -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "eval.captions.scale", "--write-all", str(folder)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    first = process()
    while len(asked_for(folder)) < items // 2 and first.poll() is None:
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait()
    before = asked_for(folder)
    with Workspace.open(folder) as workspace:
        kept = sum(len(list(batch)) for batch in workspace.store.all_captions())
    figures = []
    for _ in range(2):
        begun = process()
        told, _ = begun.communicate()
        figures.append(json.loads(told.splitlines()[-1]))
        print(figures[-1], flush=True)
    resumed, second = figures
    asked = asked_for(folder)
    first_tries = sum(line.endswith(" 0.0") for line in asked)
    own = resumed["write processor seconds"] - resumed["of them the engine's"]
    return {
        "items": items,
        "asked before the kill": len(before),
        "kept before the kill": kept,
        "resumed": resumed,
        "second run": second,
        "requests": len(asked),
        "paid twice": first_tries - items,
        "milliseconds of processor for a caption besides the engine": round(1000 * own / max(1, resumed["written"]), 2),
    }


async def beside(folder: Path, rounds: int, each: int) -> dict[str, Any]:
    """Requests a second of `genrec caption` and of the bare engine, which gets the same first tries in one call."""
    figures: list[dict[str, float]] = []
    with Workspace.open(folder) as workspace:
        llm = load_llm(workspace)
        assert llm is not None
        used = workspace.registry.in_use("write").adapter
        lacking = [item.item_id for batch in workspace.store.all_items(given=True) for item in batch if not item.title]
        for number in range(rounds + 1):  # the first one warms up
            ids = tuple(lacking[number * each : number * each + (each if number else 4)])
            _, first_tries = await _captions(workspace, FakeLLM([used.name] if used else []), ids)
            if number % 2:
                genrec, asked = await _captions(workspace, llm, ids)
                bare = await _bare(llm, first_tries)
            else:
                bare = await _bare(llm, first_tries)
                genrec, asked = await _captions(workspace, llm, ids)
            if number:
                row = {"captions": len(ids), "requests": len(asked), "tokens": sum(map(_tokens(llm), asked))}
                row |= {f"genrec, {name}": value for name, value in genrec.items()}
                row |= {f"bare, {name}": value for name, value in bare.items()}
                figures.append({name: round(value, 2) for name, value in row.items()})
                print(figures[-1], flush=True)
        model = llm.id
        llm.close()
    shares = {}
    for name in ("seconds", "processor seconds"):
        per = [(row[f"genrec, {name}"] / row["requests"], row[f"bare, {name}"] / row["captions"]) for row in figures]
        shares[f"genrec of bare, by {name}"] = round(sum(bare for _, bare in per) / sum(own for own, _ in per), 4)
    return {"model": model, "rounds": figures, **shares}


def _tokens(llm: LLM) -> Callable[[WriteRequest], int]:
    return lambda request: llm.count_tokens(request.prefix) + llm.count_tokens(request.prompt)


async def _captions(workspace: Workspace, llm: LLM, ids: tuple[str, ...]) -> tuple[dict[str, float], list[WriteRequest]]:
    """What writing captions of these items takes, and what was asked of the engine."""
    recording: Any = Recording(llm)
    captioner = Captioner(workspace, recording)
    planned = captioner.plan(CaptionOptions(items=ids, rewrite=True))
    processor = time.process_time()
    made = await captioner.write(planned)
    return {"seconds": made.seconds, "processor seconds": time.process_time() - processor}, recording.asked


async def _bare(llm: LLM, requests: Sequence[WriteRequest]) -> dict[str, float]:
    start, processor = time.perf_counter(), time.process_time()
    await llm.write(list(requests))
    return {"seconds": time.perf_counter() - start, "processor seconds": time.process_time() - processor}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--items", type=int, default=10_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--each", type=int, default=48)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--work", type=Path, help="folder of the workspace, kept and used again; default: a temporary one")
    options.add_argument("--write-all", type=Path, help=argparse.SUPPRESS)
    options.add_argument("--out", type=Path, default=RESULTS)
    asked = options.parse_args()
    if asked.write_all:
        write_all(asked.write_all)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = (asked.work or Path(temporary)).resolve() / "shop"
        if not folder.exists():
            start = time.perf_counter()
            make(folder, asked.items, asked.seed)
            print(f"built in {time.perf_counter() - start:.0f} s", flush=True)
            _save(asked, {"killed": killed(folder, asked.items)})
        if asked.rounds:
            _save(asked, {"engine": asyncio.run(beside(folder, asked.rounds, asked.each))})


def _save(asked: argparse.Namespace, found: dict[str, Any]) -> None:
    print(json.dumps(found, indent=1), flush=True)
    known = json.loads(asked.out.read_text(encoding="utf-8")) if asked.out.exists() else {}
    told = known | {name: {**provenance(seed=asked.seed), **part} for name, part in found.items()}
    asked.out.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
