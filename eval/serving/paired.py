"""Scores and a written list for the same people, one after the other and in turns: part `pairs` of vllm_server.py."""

import asyncio
import contextlib
import dataclasses
import functools
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, cast

from eval.serving.rivals import Rivals, Scores
from eval.serving.sampled_lists import spread
from eval.serving.server_bench import Bench, Running
from genrec.llm.openai_engine import RemoteLLM
from genrec.ranking.prompter import Method
from genrec.ranking.ranker import Ranker


class Unfitted:
    """The same engine, to which histories are not fitted: the last items are shown, wherever a block ends."""

    def __init__(self, llm: RemoteLLM) -> None:
        self._llm = llm

    async def block(self) -> int:
        return 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._llm, name)


@contextlib.contextmanager
def without_lists(llm: RemoteLLM) -> Iterator[None]:
    """The engine meanwhile posts prompt by prompt to vLLM's own route, as if the server had not got genrec's plugin."""
    served = llm._look()
    assert served is not None
    llm._served = dataclasses.replace(served, lists=False)
    try:
        yield
    finally:
        llm._served = served


async def prompt_by_prompt(ranker: Ranker, llm: RemoteLLM, requests: list[Any]) -> Scores:
    """The LLM's scores of each list, a request for each prompt."""
    with without_lists(llm):
        return await ranked(ranker, "likelihood", requests)


def run(bench: Bench, running: Running, made: dict[str, Any]) -> None:
    """Each person by every way, the ways in turns and every other time in the opposite order, from an empty cache."""
    told, single = bench.workspace.settings.rank, bench.asked.first(bench.given.single)
    for adapter in ("", *bench.rerankers):
        ranker, unfitted = bench.ranker(running.llm, adapter), bench.ranker(cast(RemoteLLM, Unfitted(running.llm)), adapter)
        starts = bench.ranker(running.llm, adapter, unique_prefix=True)
        rivals = Rivals(running.url, bench.weights.name, running.llm, ranker.prompter, history=told.history, concurrency=1)
        ways: dict[str, Callable[[list[Any]], Coroutine[Any, Any, Scores]]] = {
            "likelihood of unique prefixes": functools.partial(ranked, starts, "likelihood"),
            "likelihood": functools.partial(ranked, ranker, "likelihood"),
            "likelihood, prompt by prompt": functools.partial(prompt_by_prompt, ranker, running.llm),
            "likelihood, blocks not filled": functools.partial(ranked, unfitted, "likelihood"),
            "labels": functools.partial(ranked, ranker, "labels"),
            "list of titles": functools.partial(rivals.titles, adapter=adapter),
        }
        for way in list(ways.values())[:-1]:
            asyncio.run(way(single.requests))  # warm: kernels compiled, titles tokenised, their priors known
        found: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
        for turn, request in enumerate(single.requests):
            for name in list(ways)[:: 1 if turn % 2 == 0 else -1]:
                _, counts = running.timed(functools.partial(ways[name], [request]))
                found[name].append(counts)
                print(adapter or "base", turn, name, counts, flush=True)
        kinds = ("seconds", "processor_s", "computed_tokens", "generation_tokens")
        made[adapter or "base"] = {
            name: {kind: spread([one[kind] for one in all_of]) for kind in kinds}
            | {
                f"times_list_of_titles_{kind}": spread(
                    [theirs[kind] / mine[kind] for mine, theirs in zip(all_of, found["list of titles"], strict=True)]
                )
                for kind in kinds[:2]
            }
            for name, all_of in found.items()
        }
    made["bar"] = 25.0


async def ranked(ranker: Ranker, method: Method, requests: list[Any]) -> Scores:
    """The LLM's scores of each list."""
    return [ranking.llm for ranking in await ranker.rank(requests, method)]
