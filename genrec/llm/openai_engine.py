"""The `openai` engine: a vLLM server by URL (`genrec llm serve` starts one), the way to serve on a GPU."""

import asyncio
import contextlib
import dataclasses
import math
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from pathlib import Path

from genrec.errors import AdapterError, EngineError
from genrec.llm import vllm_http
from genrec.llm.background import Background, Send
from genrec.llm.constrained import parse_schema
from genrec.llm.http_client import BusyError, Wire, nonsense
from genrec.llm.packing import Tokens
from genrec.llm.protocol import Labels, Likelihood, ScoreRequest, Scores, WriteRequest, blind, check_whole
from genrec.llm.tokens import Tokenizer
from genrec.llm.vllm_http import Served
from genrec.llm.vllm_prompts import Answer, Call, Plan, conversation, plan, score, together, written
from genrec.settings.sections import LlmSettings

LOOK_S = 5.0
"""Longest that asking for `max_tokens` or `adapters` waits for a server that was not reached yet."""

UNKNOWN_TOKENS = 2048
"""`max_tokens` as long as the server was never reached."""

_LOWER = "Raise llm.timeout_s, or lower rank.window or retrieval.candidates."


class RemoteLLM:
    """`LLM` on a vLLM server. Safe to call from several tasks, threads and event loops.

    Opening it reaches for nothing: a server that starts later is found by the next call, one that comes back with other
    flags or adapters is looked at anew. Every call ends within its time (see `[llm]` in docs/settings.md) with an answer or an
    error, retryable where it may pass. Texts are tokenised here part by part and sent as token ids, so that the server's
    prefix cache finds what requests share. `Scores.prompt_tokens` and `cached_tokens` are the server's own count of what it
    computed and what it took from its cache; without `--enable-prompt-tokens-details` all count as computed.
    """

    def __init__(self, model: str, settings: LlmSettings, *, tokenizer: Path | None = None) -> None:
        """`model`: the name under which the server serves the base model. `tokenizer`: a folder with its tokenizer; None: the
        server tokenises, at one short call for each new text. Raises WeightsError when the folder holds no tokenizer.
        """
        self._model = model
        self._settings = settings
        self._tokens = Tokenizer(tokenizer, self._tokenize)
        self._served: Served | None = None
        self._background = Background("genrec-remote-llm")
        self._wire, self._connecting = self._background.wait(self._open())

    async def _open(self) -> tuple[Wire, asyncio.Lock]:
        return Wire(self._settings), asyncio.Lock()

    @property
    def id(self) -> str:
        """The model and the server. Says so where the server cannot score out of its cache, which is slow."""
        slow = self._served is not None and self._served.route == "uncached"
        return f"{self._model} at {self._wire.url}" + (" (uncached scoring)" if slow else "")

    @property
    def max_tokens(self) -> int:
        served = self._look()
        return served.max_tokens if served else UNKNOWN_TOKENS

    @property
    def adapters(self) -> Sequence[str]:
        """Names of the adapters that the server has; none while it was never reached."""
        served = self._look()
        return served.adapters if served else ()

    @property
    def sees(self) -> bool:
        """Whether the server's model takes pictures: found out once, by showing it a small one."""
        served = self._served
        if served is None or served.blind is None:
            self._background.wait(self._within(self._seeing()))
            served = self._served
        return served is not None and not served.blind

    def count_tokens(self, text: str) -> int:
        """Tokens of `text`. Without a local tokenizer the server is asked: raises EngineError when it is not there."""
        if not self._tokens.known(text):
            self._background.wait(self._within(self._tokens.prepare([text])))
        return len(self._tokens.encode(text))

    async def block(self) -> int:
        """As the server's metrics have it. 1 without a local tokenizer: counting tokens would cost a call for each text."""
        return await self._background.run(self._blocks()) if self._tokens.local else 1

    async def score(self, requests: Sequence[ScoreRequest]) -> list[Scores]:
        return await self._background.run(self._score(requests))

    async def write(self, requests: Sequence[WriteRequest]) -> list[str]:
        return await self._background.run(self._write(requests))

    def stream(self, request: WriteRequest) -> AsyncIterator[str]:
        return self._background.pieces(lambda send: self._stream(request, send))

    def close(self) -> None:
        self._background.close(self._wire.close())

    async def _score(self, requests: Sequence[ScoreRequest]) -> list[Scores]:
        if not requests:
            return []
        began = time.monotonic()
        async with self._limit() as limit:
            served = await self._ready({request.adapter for request in requests})
            plans = [await self._plan(request, served) for request in requests]
            rounds = math.ceil(sum(len(one.prompts) for one in plans) / self._settings.concurrency)
            limit.reschedule(asyncio.get_running_loop().time() + began - time.monotonic() + self._settings.timeout_s * rounds)
            room = asyncio.Semaphore(self._settings.concurrency)  # further lists wait as plans, not as thousands of tasks
            return await together(self._scored(one, served, room) for one in plans)

    async def _blocks(self) -> int:
        async with self._limit():
            served = await self._connected()
        return 1 if served.route == "uncached" else served.block or 1

    async def _scored(self, one: Plan, served: Served, room: asyncio.Semaphore) -> Scores:
        request = one.request

        async def one_by_one(calls: Sequence[Call]) -> list[Answer]:
            return await together(
                vllm_http.told(self._wire, served.name, call, served.route, salt=request.salt, adapter=request.adapter)
                for call in calls
            )

        async def by_lists(calls: Sequence[Call]) -> list[Answer]:
            most = self._settings.concurrency
            lists = await together(
                vllm_http.told_list(
                    self._wire, served.name, calls[at : at + most], served.rows, salt=request.salt, adapter=request.adapter
                )
                for at in range(0, len(calls), most)
            )
            return [answer for one in lists for answer in one]

        async with room:
            return await score(one, by_lists if served.lists else one_by_one, served.rows, served.block)

    async def _plan(self, request: ScoreRequest, served: Served) -> Plan:
        if isinstance(request, Likelihood):
            texts = request.continuations
        elif isinstance(request, Labels):
            texts = request.labels
        else:
            texts = (*request.segments, request.positive, request.negative)
        await self._tokens.prepare((request.prefix, request.context, *texts))
        return plan(request, self._tokens.encode, served.max_tokens)

    async def _write(self, requests: Sequence[WriteRequest]) -> list[str]:
        if not requests:
            return []
        async with self._limit(rounds=math.ceil(len(requests) / self._settings.concurrency)):
            served = await self._ready({request.adapter for request in requests})
            bodies = [await self._body(request, served) for request in requests]  # all fit before the first is written
            ends = await together(
                vllm_http.written(self._wire, body, request.adapter) for request, body in zip(requests, bodies, strict=True)
            )
        for request, (text, reason) in zip(requests, ends, strict=True):
            check_whole(request, text, reason or "no end")
        return [text for text, _ in ends]

    async def _stream(self, request: WriteRequest, send: Send) -> None:
        async with self._limit():
            served = await self._ready({request.adapter})
            body = await self._body(request, served)
            whole, end = "", ""
            async with contextlib.aclosing(vllm_http.pieces(self._wire, body, request.adapter)) as pieces:
                async for piece, reason in pieces:
                    whole, end = whole + piece, reason
                    if piece:
                        send(piece)
            if not end:
                raise nonsense("a text without an end")
        check_whole(request, whole, end)

    async def _body(self, request: WriteRequest, served: Served) -> dict[str, object]:
        if request.schema:
            parse_schema(request.schema)
        await self._tokens.prepare((request.prefix, request.prompt))
        tokens, params = written(request, self._tokens.encode, served.max_tokens)
        if request.images:
            if why := await self._seeing():
                raise blind(self.id, why)
            messages = await asyncio.to_thread(conversation, request, self._settings.image_pixels)
            return vllm_http.body(served.name, request, {"messages": messages}, params)
        return vllm_http.body(served.name, request, {"prompt": tokens}, params)

    async def _tokenize(self, text: str) -> Tokens:
        return await vllm_http.tokenize(self._wire, self._model, text)

    async def _ready(self, adapters: set[str]) -> Served:
        """What the server offers, found out if need be. Raises AdapterError when it has not got one of `adapters`."""
        served = await self._connected()
        if adapters - {"", *served.adapters}:  # perhaps it got one since
            served = self._served = dataclasses.replace(
                served, adapters=(await vllm_http.models(self._wire, self._model)).adapters
            )
        if absent := sorted(adapters - {"", *served.adapters}):
            raise AdapterError(
                f"the server at {self._wire.url} has no adapter {absent[0]!r}",
                hint=f"It has: {', '.join(served.adapters) or 'none'}. `genrec llm serve` serves those there at its start.",
            )
        return served

    async def _seeing(self) -> str:
        """Why the server takes no pictures; empty where it does."""
        served = await self._connected()
        if served.blind is None:
            served = self._served = dataclasses.replace(served, blind=await vllm_http.blindness(self._wire, self._model))
        return served.blind or ""

    async def _connected(self) -> Served:
        async with self._connecting:
            if self._served is None:
                self._served = await self._find_out()
            return self._served

    async def _find_out(self) -> Served:
        served = await vllm_http.models(self._wire, self._model)
        self._tokens.forget()
        theirs = await self._tokenize(vllm_http.PROBE)
        await self._tokens.prepare([vllm_http.PROBE])
        if (ours := self._tokens.encode(vllm_http.PROBE)) != theirs:
            raise EngineError(
                f"the server at {self._wire.url} tokenises as {theirs[:8]}… what {self._model} here has as {ours[:8]}…",
                hint="It serves another model under this name, or models.llm names another one here.",
            )
        route, lists = await vllm_http.prove(self._wire, self._model, theirs)
        return dataclasses.replace(served, route=route, lists=lists, block=await vllm_http.block_size(self._wire))

    def _look(self) -> Served | None:
        """What is known of the server; one that was never reached is given a moment to answer."""
        if self._served is None:
            with contextlib.suppress(EngineError):
                self._background.wait(self._within(self._connected(), LOOK_S))
        return self._served

    async def _within(self, work: Awaitable[object], seconds: float = math.inf) -> None:
        async with self._limit(seconds):
            await work

    @contextlib.asynccontextmanager
    async def _limit(self, seconds: float = math.inf, *, rounds: int = 1) -> AsyncIterator[asyncio.Timeout]:
        """Bounds a call. Whatever fails in a way that may pass lets the next call look at the server anew."""
        seconds = min(seconds, self._settings.timeout_s * rounds)
        began = time.monotonic()
        try:
            async with asyncio.timeout(seconds) as limit:
                yield limit
        except TimeoutError as error:
            self._wire.breaker.timed_out(began)
            self._served = None
            waited = time.monotonic() - began
            raise EngineError(
                f"no answer from the LLM server at {self._wire.url} within {waited:.1f} s", hint=_LOWER, retryable=True
            ) from error
        except EngineError as error:
            if error.retryable and not isinstance(error, BusyError):
                self._served = None
            raise
