"""Is every call answered in its time, and is what went wrong told? Recommendations while the LLM server is killed, stopped for a
while, or loses the adapter that ranks.

Each case: so many people at once, each a `Recommender.recommend` of its own, and soon after the start the fault. An answer is
`hidden` when its order is the retriever's, or not the adapter's, though no stage says `degraded`: there must be none.
"""

import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from eval.serving.sampled_lists import task_of
from eval.serving.server_bench import Bench, Running
from genrec.errors import GenrecError
from genrec.files import read_json
from genrec.llm.adapters import CARD, CONFIG, write_card
from genrec.recommender import Recommender
from genrec.types import Recommendation
from genrec.workspace.folder import Workspace

K = 10
STALL_S = 5.0
GENEROUS_S = 300.0
FEW = 2
CALLS = 3
"""Calls of the engine one after the other in one answer: the ranking, and two tries of a reason."""
SLACK_S = 3.0
"""For everything else in an answer, on a busy machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One call: what it gave, or the error that it must not raise."""

    user: str
    seconds: float
    rows: list[Recommendation]
    error: str = ""

    @property
    def ranking_s(self) -> float:
        stages = self.rows[0].trace.stages if self.rows else ()
        return sum(stage.milliseconds for stage in stages if stage.name == "ranking") / 1000

    @property
    def adapter(self) -> str:
        """The one that ranked."""
        return self.rows[0].trace.models.get("rerank adapter", "") if self.rows else ""

    @property
    def degraded(self) -> list[str]:
        return (
            [f"{stage.name}: {stage.note}" for stage in self.rows[0].trace.stages if stage.status == "degraded"]
            if self.rows
            else []
        )


def run(bench: Bench, made: dict[str, Any]) -> None:
    """All cases, each from an empty prefix cache; a killed server is not used again.

    The limits follow from what the same people take when nothing is wrong, so that it is the fault that ends a call.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "workspace"
        shutil.copytree(bench.workspace.folder, folder, ignore=shutil.ignore_patterns("media"))
        adapter = _put_in_use(bench, folder)
        people = bench.workspace.store.user_ids()
        drawn = np.random.default_rng(bench.given.seed).choice(people, bench.given.callers, replace=False).tolist()
        with Recommender.open(folder) as genrec, Workspace.open(folder) as workspace:
            plain = {user: _list(genrec.recommend(user, K, rank="off", explain="off")) for user in drawn}
            adapters = workspace.registry.fitting()

        def case(name: str, running: Running, fault: Callable[[], None], limit_s: float, users: list[str] = drawn) -> float:
            """Put its figures into `made`; the seconds of the slowest ranking during it."""
            running.empty_cache()
            llm = {"engine": "openai", "url": running.url, "timeout_s": limit_s, "read_timeout_s": limit_s, "retries": 2}
            with Recommender.open(folder, settings={"llm": llm}) as genrec:
                genrec.recommend(people[0], 1)  # loaded, and found the server
                during = _at_once(genrec, users, fault, min(1.0, limit_s / 9))
                after = _at_once(genrec, users[:4], lambda: None)
            limit = CALLS * limit_s + SLACK_S
            told = {when: _told(one, plain, adapter, limit) for when, one in (("during", during), ("after", after))}
            made[name] = {"call_limit_s": limit_s, "answer_limit_s": limit, **told}
            print(name, made[name], flush=True)
            return max(one.ranking_s for one in during)

        with bench.serving(adapters) as running:
            wide = 3 * case("no fault", running, lambda: None, GENEROUS_S)
            few = drawn[:FEW]
            tight = 1.5 * case("no fault, few people", running, lambda: None, GENEROUS_S, few) + 1.0
            case("no fault, few people, tight limit", running, lambda: None, tight, few)
            case("stopped for 5 s", running, lambda: _stall(running), wide + STALL_S)
            case("stopped for 5 s, few people, tight limit", running, lambda: _stall(running), tight, few)
            case("adapter taken from the server", running, lambda: _unload(running, adapter), wide)
            case("adapter asked for that the server has not", running, lambda: None, wide)
        with bench.serving(adapters) as running:
            case("adapter's folder deleted", running, lambda: shutil.rmtree(folder / "adapters" / adapter), wide)
            case("adapter's folder gone at the start", running, lambda: None, wide)
            _put_in_use(bench, folder)
            case("server killed in mid-batch", running, lambda: _signal(running, signal.SIGKILL), wide)
        cases = list(made.items())
        made["every_call_answered_in_time_and_flagged"] = all(
            told["answered"] == told["calls"] and not (told["raised"] or told["late"] or told["hidden"])
            for _, one in cases
            for told in (one["during"], one["after"])
        )
        made["degraded_without_a_fault"] = sum(one["during"]["degraded"] for name, one in cases if name.startswith("no fault"))


def _put_in_use(bench: Bench, folder: Path) -> str:
    """Copy an adapter that ranks into the workspace, with a card if it has none, and make it active."""
    name = next(name for name, path in bench.adapters.items() if task_of(path) == "rerank")
    to = folder / "adapters" / name
    if not to.exists():
        shutil.copytree(bench.adapters[name], to)
    with Workspace.open(folder) as workspace:
        if not (to / CARD).exists():
            base, sha256 = workspace.registry.base()
            config = read_json(to / CONFIG, hint="")
            lora = {"r": config["r"], "alpha": config["lora_alpha"], "targets": sorted(config["target_modules"])}
            prompts = {"rerank": workspace.prompts.digest("rerank")}
            card = {"name": name, "task": "rerank", "base": {"id": base, "sha256": sha256}, "prompts": prompts, "lora": lora}
            write_card(to, {"schema": 1, "method": "likelihood", "ranking": {"weight": 0.5}, **card})
        workspace.registry.activate(name)
    return name


def _at_once(genrec: Recommender, users: list[str], fault: Callable[[], None], delay_s: float = 0.0) -> list[Answered]:
    """Every user's list by a thread of its own, and the fault after `delay_s`."""

    def ask(user: str) -> Answered:
        start = time.perf_counter()
        try:
            rows, error = genrec.recommend(user, K, explain="llm"), ""
        except GenrecError as raised:
            rows, error = [], f"{type(raised).__name__}: {raised}"
        return Answered(user=user, seconds=time.perf_counter() - start, rows=rows, error=error)

    with ThreadPoolExecutor(len(users)) as pool, _later(fault, delay_s):
        return list(pool.map(ask, users))


@contextmanager
def _later(fault: Callable[[], None], seconds: float) -> Iterator[None]:
    timer = threading.Timer(seconds, fault)
    timer.start()
    try:
        yield
    finally:
        timer.join()


def _told(answers: list[Answered], plain: dict[str, list[str]], adapter: str, limit: float) -> dict[str, Any]:
    ranked = [one for one in answers if one.rows and _list(one.rows) != plain[one.user]]
    unranked = [one for one in answers if one.rows and _list(one.rows) == plain[one.user]]
    notes = [note for one in answers for note in one.degraded]
    return {
        "calls": len(answers),
        "answered": sum(len(one.rows) == K for one in answers),
        "raised": [one.error for one in answers if one.error],
        "late": sum(one.seconds > limit for one in answers),
        "slowest_s": max(one.seconds for one in answers),
        "degraded": sum(bool(one.degraded) for one in answers),
        "ranked_by_llm": len(ranked),
        "hidden": sum(not one.degraded for one in answers if one in unranked or one.adapter != adapter),
        "reasons_without_text": sum(not row.reason.text for one in answers for row in one.rows),
        "reasons_by_llm": sum(row.reason.source == "llm" for one in answers for row in one.rows),
        "notes": sorted(set(notes))[:4],
    }


def _list(rows: list[Recommendation]) -> list[str]:
    return [f"{row.item.item_id} {row.score:.9f}" for row in rows]


def _signal(running: Running, number: int) -> None:
    """To the server and all its workers."""
    os.killpg(running.server._process.pid, number)


def _stall(running: Running) -> None:
    _signal(running, signal.SIGSTOP)
    time.sleep(STALL_S)
    _signal(running, signal.SIGCONT)


def _unload(running: Running, adapter: str) -> None:
    httpx.post(f"{running.url}/v1/unload_lora_adapter", json={"lora_name": adapter}, timeout=60).raise_for_status()
