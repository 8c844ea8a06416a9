"""Ranking through a vLLM server: how fast and how good, beside an LLM that writes its ranking and beside a bare client.

    python -m eval.serving.vllm_server -w W --python PYTHON_WITH_VLLM --adapter NAME=FOLDER [--part methods …]

W is a built workspace; its people are drawn with a seed and asked leave-one-out, 50 zero-shot candidates each. Every timed run
begins with an empty prefix cache.

pairs        for one person after the other: likelihood, labels and a written list of titles, each in turn; seconds, processor
             seconds of all processes, tokens computed: what a busy machine can still tell apart
methods      likelihood, labels, markers; a written ranking (letters at once, letters in RankGPT's windows, titles); pointwise
throughput   prompt tokens a second of the Ranker and of a client that only posts the same prompts to vLLM's own route, in turns
lora         the same prompts: without LoRA in the server, base model beside adapters, with each adapter, in turns
parity       the same lists by the transformers engine; adapters merged and not (eval/serving/engine_parity.py)
faults       the server killed, stopped, and without its adapter while people ask (eval/serving/server_faults.py)

Figures go to eval/results/serving.json, one entry a workspace and part.
"""

import argparse
import asyncio
import contextlib
import functools
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from eval.provenance import RESULTS_FOLDER
from eval.serving import engine_parity as parity
from eval.serving import paired as pairs
from eval.serving import server_faults as faults
from eval.serving.rivals import Rivals, Scores, replay
from eval.serving.sampled_lists import draw, part, quality, spread
from eval.serving.server_bench import Bench, Running, Work
from genrec.llm.openai_engine import RemoteLLM
from genrec.llm.vllm_server import find_vllm
from genrec.models.sources import resolve
from genrec.ranking.prompter import Method
from genrec.workspace.folder import Workspace

PARTS = ("pairs", "methods", "throughput", "lora", "parity", "faults")
METHODS: tuple[Method, ...] = ("likelihood", "labels", "markers")
PREFIXES = "likelihood of unique prefixes"
WRITTEN = ("list of letters", "list of letters in windows", "list of titles")
BARS = {"times_generate_a_list": 25.0, "share_of_bare_client": 0.9, "lora_cost": 0.3}
OUT = RESULTS_FOLDER / "serving.json"


def methods(bench: Bench, running: Running, made: dict[str, Any]) -> None:
    """All ways to rank, base model and rerank adapters: speed with everybody at once and one by one, and quality."""
    told = bench.workspace.settings.rank
    single = bench.asked.first(bench.given.single)
    for adapter in ("", *bench.rerankers):
        ranker = bench.ranker(running.llm, adapter)
        rivals = Rivals(
            running.url,
            bench.weights.name,
            running.llm,
            ranker.prompter,
            history=told.history,
            concurrency=running.settings.concurrency,
        )
        ways: dict[str, Callable[[list[Any]], Coroutine[Any, Any, Scores]]] = {
            method: functools.partial(pairs.ranked, ranker, method) for method in METHODS
        }
        starts = bench.ranker(running.llm, adapter, unique_prefix=True)
        ways[PREFIXES] = functools.partial(pairs.ranked, starts, "likelihood")
        for name, way in zip(WRITTEN, (rivals.letters, rivals.windows, rivals.titles), strict=True):
            ways[name] = functools.partial(way, adapter=adapter)
        ways["pointwise yes/no"] = functools.partial(rivals.pointwise, adapter=adapter)
        figures: dict[str, Any] = {}
        for name, way in ways.items():
            asyncio.run(way(single.requests[:1]))  # warm: kernels compiled, titles tokenised
            scores, counts = running.timed(functools.partial(way, bench.asked.requests))
            named = {"share_of_candidates_named": float(np.mean(rivals.named))} if name in WRITTEN else {}
            _, alone = running.timed(functools.partial(_one_by_one, way, single.requests))
            figures[name] = {
                "people_per_s": len(bench.asked) / counts["seconds"],
                "people_per_s_one_by_one": len(single) / alone["seconds"],
                "processor_s_one_by_one": alone["processor_s"] / len(single),
                **{key: counts[key] / len(bench.asked) for key in ("prompt_tokens", "computed_tokens", "generation_tokens")},
                "prefix_cache_hit_rate": counts["prefix_cache_hit_rate"],
                **named,
                **quality(bench.asked, scores),
            }
            print(adapter or "base", name, figures[name], flush=True)
        made[adapter or "base"] = {"by_method": figures, "times_generate_a_list": _times(figures)}
    made["bar"] = BARS["times_generate_a_list"]


def _times(figures: Mapping[str, Any]) -> dict[str, Any]:
    """How many times as many people a second each method ranks, beside each way to write a list."""
    return {
        method: {
            rival: {
                speed: figures[method][speed] / figures[rival][speed] for speed in ("people_per_s", "people_per_s_one_by_one")
            }
            for rival in (*WRITTEN, "pointwise yes/no")
        }
        for method in (*METHODS, PREFIXES)
    }


async def _one_by_one(way: Callable[[list[Any]], Coroutine[Any, Any, Scores]], requests: list[Any]) -> None:
    for request in requests:
        await way([request])


def throughput(bench: Bench, running: Running, made: dict[str, Any]) -> None:
    """The Ranker, and a client that posts the same prompts to vLLM's own route in the same order with the same concurrency, in
    turns.
    """
    for method in METHODS:
        ranker = bench.ranker(running.llm)
        asyncio.run(ranker.rank(bench.asked.requests[:1], method))
        with pairs.without_lists(running.llm), _recorded(running.llm) as sent:
            _, first = running.timed(functools.partial(ranker.rank, bench.asked.requests, method))
        refused: list[int] = []
        ways = {
            "genrec": functools.partial(ranker.rank, bench.asked.requests, method),
            "bare client": functools.partial(replay, running.url, sent, running.settings.concurrency, refused),
        }
        rates, hits = _in_turns({name: (running, way) for name, way in ways.items()}, bench.given.repeats)
        ratios = [ours / bare for ours, bare in zip(rates["genrec"], rates["bare client"], strict=True)]
        made[method] = {
            "prompts": len(sent),
            "refused_to_bare_client": refused,
            "prompt_tokens_per_s": {name: spread(values) for name, values in rates.items()},
            "genrec_while_titles_are_new": first["prompt_tokens"] / first["seconds"],
            "share_of_bare_client": spread(ratios),
            "prefix_cache_hit_rate": {name: float(np.mean(values)) for name, values in hits.items()},
        }
        print(method, made[method], flush=True)
    made |= {"repeats": bench.given.repeats, "concurrency": running.settings.concurrency, "bar": BARS["share_of_bare_client"]}


@contextlib.contextmanager
def _recorded(llm: RemoteLLM) -> Iterator[list[tuple[str, bytes]]]:
    """The route and body of all that is posted meanwhile."""
    sent: list[tuple[str, bytes]] = []

    async def record(request: httpx.Request) -> None:
        if request.method == "POST":
            sent.append((request.url.path, request.content))

    client = llm._wire._client
    client.event_hooks = {"request": [record]}
    try:
        yield sent
    finally:
        client.event_hooks = {}


def _in_turns(ways: Mapping[str, tuple[Running, Work]], repeats: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Prompt tokens a second and prefix-cache hit rates of each way; every other time in the opposite order."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    hits: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats):
        for name in list(ways)[:: 1 if turn % 2 == 0 else -1]:
            running, work = ways[name]
            _, counts = running.timed(work)
            rates[name].append(counts["prompt_tokens"] / counts["seconds"])
            hits[name].append(counts["prefix_cache_hit_rate"])
    return rates, hits


def lora(bench: Bench, running: Running, made: dict[str, Any]) -> None:
    """What LoRA costs: the same lists on a server without it, and on one with all adapters by the base model and by each."""
    with bench.serving({}) as plain:
        ways: dict[str, tuple[Running, Work]] = {}
        for name, server, adapter in [
            ("server without LoRA", plain, ""),
            ("base beside adapters", running, ""),
            *((name, running, name) for name in bench.adapters),
        ]:
            ranker = bench.ranker(server.llm, adapter)
            asyncio.run(ranker.rank(bench.asked.requests, "likelihood"))  # warm
            ways[name] = server, functools.partial(ranker.rank, bench.asked.requests, "likelihood")
        rates, hits = _in_turns(ways, bench.given.repeats)
    base = {name: rates[name] for name in ("server without LoRA", "base beside adapters")}
    made |= {
        "prompt_tokens_per_s": {name: spread(values) for name, values in rates.items()},
        "cost": {
            name: {
                f"beside {other}": spread([1 - mine / theirs for mine, theirs in zip(values, base[other], strict=True)])
                for other in base
                if other != name
            }
            for name, values in rates.items()
            if name != "server without LoRA"
        },
        "prefix_cache_hit_rate": {name: float(np.mean(values)) for name, values in hits.items()},
        "repeats": bench.given.repeats,
        "bar": BARS["lora_cost"],
    }


def run(bench: Bench) -> None:
    """The parts asked for; all but `faults` on one server."""
    given = bench.given
    on_one: dict[str, Callable[[Bench, Running, dict[str, Any]], None]] = {
        "pairs": pairs.run,
        "methods": methods,
        "throughput": throughput,
        "lora": lora,
        "parity": parity.run,
    }
    name = given.name or bench.workspace.folder.name
    if wanted := [key for key in on_one if key in given.part]:
        with bench.serving(bench.adapters) as running:
            for key in wanted:
                with part(given.out, name, key, bench.about, given.seed) as made:
                    on_one[key](bench, running, made)
    if "faults" in given.part:
        with part(given.out, name, "faults", bench.about, given.seed) as made:
            faults.run(bench, made)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-w", "--workspace", type=Path, required=True)
    parser.add_argument("--name", default="", help="of the results; default: the workspace's folder")
    parser.add_argument("--python", default=os.environ.get("GENREC_VLLM_PYTHON", ""), help="interpreter that has vLLM")
    parser.add_argument("--adapter", action="append", default=[], metavar="NAME=FOLDER", help="default: the workspace's")
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--people", type=int, default=50)
    parser.add_argument("--single", type=int, default=10, help="people asked one by one")
    parser.add_argument("--callers", type=int, default=8, help="people who ask at once while something is wrong")
    parser.add_argument("--candidates", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--eager", action="store_true", help="llm.eager: starts sooner, runs slower")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # leaves the blocks that end the servers
    # for this benchmark's own server, which listens on the loopback alone
    os.environ |= {"VLLM_SERVER_DEV_MODE": "1", "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"}
    with Workspace.open(given.workspace) as workspace:
        models = workspace.settings.models
        pairs = (one.partition("=") for one in given.adapter)
        bench = Bench(
            given=given,
            workspace=workspace,
            vllm=find_vllm(given.python),
            weights=resolve(models.llm, "llm", hub=models.hub),
            adapters={name: Path(path) for name, _, path in pairs} or workspace.registry.fitting(),
            asked=draw(workspace, given.people, given.candidates, given.seed),
        )
        bench.about = {
            "model": models.llm,
            "vllm": bench.vllm.version,
            "dtype": models.dtype,
            "eager": given.eager,
            "adapters": sorted(bench.adapters),
            "people": len(bench.asked),
            "candidates": given.candidates,
            "ceiling": float((bench.asked.places >= 0).mean()),
        }
        run(bench)


if __name__ == "__main__":
    main()
