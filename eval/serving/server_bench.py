"""A vLLM server under measurement: started as `genrec llm serve` starts it, timed from an empty prefix cache, counted."""

import argparse
import asyncio
import contextlib
import re
import socket
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from eval.serving.sampled_lists import Asked, task_of
from genrec.llm.openai_engine import RemoteLLM
from genrec.llm.vllm_server import Server, Vllm
from genrec.models.sources import Weights
from genrec.ranking.ranker import Ranker
from genrec.settings.sections import LlmSettings
from genrec.workspace.folder import Workspace

COUNTERS = ("prompt_tokens", "generation_tokens", "prefix_cache_queries", "prefix_cache_hits")
Work = Callable[[], Coroutine[Any, Any, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server that answers."""

    server: Server
    llm: RemoteLLM
    settings: LlmSettings
    adapters: Mapping[str, Path]

    @property
    def url(self) -> str:
        return self.server.url

    def empty_cache(self) -> None:
        httpx.post(f"{self.url}/reset_prefix_cache", timeout=60).raise_for_status()

    def counters(self) -> dict[str, float]:
        """The server's own counts so far."""
        text = httpx.get(f"{self.url}/metrics", timeout=60).text
        return {
            name: sum(float(value) for value in re.findall(rf"^vllm:{name}_total\{{.*\}} (\S+)$", text, re.MULTILINE))
            for name in COUNTERS
        }

    def timed(self, work: Work) -> tuple[Any, dict[str, float]]:
        """What `work` gives, with its seconds and the server's counts, from an empty prefix cache."""
        self.empty_cache()
        before, worked = self.counters(), self.processor_s()
        start = time.perf_counter()
        made = asyncio.run(_run(work))
        seconds, worked = time.perf_counter() - start, self.processor_s() - worked
        counts = {name: value - before[name] for name, value in self.counters().items()}
        hits = counts["prefix_cache_hits"] / max(1.0, counts["prefix_cache_queries"])
        counts["computed_tokens"] = counts["prompt_tokens"] - counts["prefix_cache_hits"]
        return made, {"seconds": seconds, "processor_s": worked, **counts, "prefix_cache_hit_rate": hits}

    def processor_s(self) -> float:
        """Processor time so far of the server with its processes and of this one, in seconds."""
        first = psutil.Process(self.server._process.pid)
        times = [one.cpu_times() for one in (first, *first.children(recursive=True))]
        return sum(one.user + one.system for one in times) + time.process_time()


async def _run(work: Work) -> Any:
    return await work()


@dataclass(slots=True)
class Bench:
    """Everything that the parts share."""

    given: argparse.Namespace
    workspace: Workspace
    vllm: Vllm
    weights: Weights
    adapters: dict[str, Path]
    asked: Asked
    about: dict[str, Any] = field(default_factory=dict)

    @contextlib.contextmanager
    def serving(self, adapters: Mapping[str, Path], **changes: Any) -> Iterator[Running]:
        """`genrec llm serve`'s server, with the route that empties the prefix cache."""
        port = _free_port()
        told = {"port": port, "url": f"http://127.0.0.1:{port}", "timeout_s": 900.0, "read_timeout_s": 900.0}
        settings = self.workspace.settings.llm.model_copy(update=told | {"eager": self.given.eager} | changes)
        dtype = self.workspace.settings.models.dtype
        with Server(self.vllm, self.weights, settings, dtype=dtype, adapters=adapters) as server:
            llm = server.wait_ready()
            try:
                yield Running(server=server, llm=llm, settings=settings, adapters=adapters)
            finally:
                llm.close()

    def ranker(self, llm: RemoteLLM, adapter: str = "", *, unique_prefix: bool = False) -> Ranker:
        told = self.workspace.settings.rank.model_copy(update={"unique_prefix": unique_prefix})
        store = self.workspace.store
        return Ranker(llm, self.workspace.prompts, told, adapter, lambda: (item for batch in store.all_items() for item in batch))

    @property
    def rerankers(self) -> list[str]:
        return [name for name, path in self.adapters.items() if task_of(path) == "rerank"]


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
