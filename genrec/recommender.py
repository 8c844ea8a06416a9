"""The page to read first: open a workspace, ask for recommendations.

    candidates (retrieval) → LLM ranking (ranking) → leave-one-out evidence → checked reasons (reasons)

`AsyncRecommender` has the logic; `Recommender` runs the same methods on an event loop of its own. Each answer carries a trace
of the stages it went through. A stage that fails is skipped visibly: its status is `degraded`.
"""

import asyncio
import functools
import inspect
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any, Concatenate, Literal, ParamSpec, Self, TypeVar, get_args

from genrec.answer.pipeline import AnswerPipeline
from genrec.answer.request import (
    EvidenceOf,
    Explain,
    Method,
    Rank,
    checked_choice,
    checked_count,
    checked_ids,
    settled_request,
)
from genrec.captions.caption_run import Captioned, CaptionOptions
from genrec.captions.captioner import Captioner
from genrec.chat.messages import ChatAnswer, ChatChunk, messages_of
from genrec.chat.sessions import open_dialogue
from genrec.chat.turn import Conversation
from genrec.errors import WorkspaceError
from genrec.filters import Filter
from genrec.progress import SILENT, Progress
from genrec.store.feedback_events import give, take_back
from genrec.store.records import Forgotten
from genrec.types import Event, Feedback, Recommendation
from genrec.workspace.build import Built, build
from genrec.workspace.folder import Workspace
from genrec.workspace.load import load_catalogue

P = ParamSpec("P")
T = TypeVar("T")


class AsyncRecommender:
    """Explained recommendations from one workspace, for async callers. Close it after use.

        async with AsyncRecommender.open("my-shop") as genrec:
            async for row in genrec.recommend_stream("user-1", k=5):
                print(row.rank, row.item.title, row.reason.text)

    Several tasks, and tasks of several event loops, may call it at once.
    """

    def __init__(self, workspace: Workspace, progress: Progress = SILENT) -> None:
        self._workspace: Workspace | None = workspace
        self._pipeline = AnswerPipeline(workspace, load_catalogue(workspace), progress)
        self._conversation = Conversation(workspace, self._pipeline)

    @classmethod
    def open(
        cls, path: Path | str, *, settings: Mapping[str, Mapping[str, Any]] | None = None, progress: Progress = SILENT
    ) -> Self:
        """Open a built workspace. The catalogue is read before it returns, models when a call first needs them.

        settings    section → key → value, instead of what the workspace's file says: `{"rank": {"method": "labels"}}`
        progress    hears of work that takes long; `progress.Progress` says how

        Raises WorkspaceError, ConfigError, StoreError, IndexFault.
        """
        workspace = Workspace.open(path, settings=settings)
        try:
            return cls(workspace, progress)
        except BaseException:
            workspace.close()
            raise

    @property
    def workspace(self) -> Workspace:
        """Raises WorkspaceError when the recommender is closed."""
        if self._workspace is None:
            raise _closed()
        return self._workspace

    async def recommend(
        self,
        user_id: str,
        k: int = 10,
        *,
        query: str = "",
        filter: str | Filter = "",
        exclude: Sequence[str] = (),
        rank: Rank | None = None,
        explain: Explain | None = None,
        evidence: EvidenceOf | None = None,
        method: Method | None = None,
        explore: float | None = None,
        seed: int | None = None,
    ) -> list[Recommendation]:
        """The k best items for a person, best first, rank from 1; fewer when the filter or the catalogue leave fewer.

        query      words of the moment: searched by meaning, by word and by picture, and shown to the ranker
        filter     an expression over attributes, `year >= 1990 and genres has "Comedy"`, or a parsed Filter
        exclude    item ids that may not come back (seen items never do)
        rank       who ranks, "llm" or "off"; None, here and below: as the workspace's settings say
        explain    who writes the reasons, "llm", "template" or "off"
        evidence   whose score the evidence explains, "retriever" or "ranker"
        method     how the LLM scores, "likelihood", "labels" or "markers"
        explore    how boldly items that few people chose are tried; 0: not at all
        seed       of the draws of `explore`; None: a new one each time, which the trace names

        Raises UnknownUserError, ConfigError, FilterError, StoreError, IndexFault.
        """
        return await self.recommend_many(
            [user_id],
            k,
            query=query,
            filter=filter,
            exclude=exclude,
            rank=rank,
            explain=explain,
            evidence=evidence,
            method=method,
            explore=explore,
            seed=seed,
        )

    async def recommend_many(
        self,
        user_ids: Sequence[str],
        k: int = 10,
        *,
        query: str = "",
        filter: str | Filter = "",
        exclude: Sequence[str] = (),
        rank: Rank | None = None,
        explain: Explain | None = None,
        evidence: EvidenceOf | None = None,
        method: Method | None = None,
        explore: float | None = None,
        seed: int | None = None,
    ) -> list[Recommendation]:
        """`recommend` for many people: one long table in their order, one batch for every model. All rows share its trace."""
        request = await asyncio.to_thread(
            settled_request,
            self.workspace.settings,
            user_ids,
            k,
            schema=self._pipeline.schema,
            query=query,
            filter=filter,
            exclude=exclude,
            rank=rank,
            explain=explain,
            evidence=evidence,
            method=method,
            explore=explore,
            seed=seed,
        )
        answer = await self._pipeline.answer(request)
        async for number, reason in answer.reasons():
            answer.rows[number] = replace(answer.rows[number], reason=reason)
        return [replace(row, trace=answer.trace()) for row in answer.rows]

    async def recommend_stream(
        self,
        user_id: str,
        k: int = 10,
        *,
        query: str = "",
        filter: str | Filter = "",
        exclude: Sequence[str] = (),
        rank: Rank | None = None,
        explain: Explain | None = None,
        evidence: EvidenceOf | None = None,
        method: Method | None = None,
        explore: float | None = None,
        seed: int | None = None,
    ) -> AsyncGenerator[Recommendation, None]:
        """`recommend`, with the list at once, its reasons empty; then each row again as soon as its reason is written."""
        request = await asyncio.to_thread(
            settled_request,
            self.workspace.settings,
            [user_id],
            k,
            schema=self._pipeline.schema,
            query=query,
            filter=filter,
            exclude=exclude,
            rank=rank,
            explain=explain,
            evidence=evidence,
            method=method,
            explore=explore,
            seed=seed,
        )
        answer = await self._pipeline.answer(request)
        for row in answer.rows:
            yield replace(row, trace=answer.trace())
        async for number, reason in answer.reasons():
            yield replace(answer.rows[number], reason=reason, trace=answer.trace())

    async def chat(
        self,
        messages: str | Sequence[Mapping[str, Any]],
        *,
        user_id: str = "",
        session_id: str = "",
        k: int | None = None,
    ) -> ChatAnswer:
        """The answer to the last message of a dialogue: text, items with reasons, what was understood.

        messages    a text, the next turn of a stored dialogue; or the whole of one, `[{"role": "user", "content": "…"}, …]`
        session_id  of a stored dialogue: the last message is its next turn. Without it, a text begins a dialogue (the answer
                    has its id), and a list of messages is answered by itself and not stored
        user_id     whose history counts, and for whom likes, dislikes and choices are recorded; it need not be known before
        k           how many items; None: `chat.items`

        Raises ConfigError, UnknownSessionError, StoreError, IndexFault: the dialogue is then as it was.
        """
        answer = None
        async for chunk in self.chat_stream(messages, user_id=user_id, session_id=session_id, k=k):
            answer = chunk.answer
        if answer is None:
            raise WorkspaceError("the answer has no end", hint="This is a fault of genrec: report it.")
        return answer

    async def chat_stream(
        self,
        messages: str | Sequence[Mapping[str, Any]],
        *,
        user_id: str = "",
        session_id: str = "",
        k: int | None = None,
    ) -> AsyncGenerator[ChatChunk, None]:
        """`chat`, as the answer is made: pieces of text, items once their reasons are written, the whole answer last."""
        workspace = self.workspace
        turns = messages_of(messages)
        shown = workspace.settings.chat.items if k is None else checked_count("k", k)
        if session_id or isinstance(messages, str):
            schema = await asyncio.to_thread(self._pipeline.schema)
            dialogue = await asyncio.to_thread(open_dialogue, workspace.store, session_id, user_id, schema)
        else:
            dialogue = await self._conversation.replayed(turns[:-1], user_id=user_id)
        async with aclosing(self._conversation.respond(dialogue, turns[-1].text, k=shown)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def caption(
        self,
        *,
        only: Literal["title", "text"] | None = None,
        items: Sequence[str] = (),
        new: bool = False,
        rewrite: bool = False,
        limit: int | None = None,
        build: bool = False,
        progress: Progress = SILENT,
    ) -> Captioned:
        """Write titles, texts and tags of items that lack them, as `genrec caption` does.

        only      "title" or "text": that part alone
        items     ids: these items alone, also where their caption is from a file
        new       leave captions alone whose evidence or writer has changed
        rewrite   write also those again that still hold
        limit     at most so many items
        build     call `build` afterwards: lists show new captions at once, searches and the retriever know them after a build

        Raises UnknownItemError, ConfigError, ModelError, StoreError; what was written by then is kept.
        """
        workspace = self.workspace
        if only is not None:
            checked_choice("only", only, ("title", "text"))
        options = CaptionOptions(only=only, items=checked_ids("items", items), new=new, rewrite=rewrite, limit=limit)
        llm = None if workspace.settings.caption.write == "template" else await self._pipeline.llm()
        captioner = await asyncio.to_thread(Captioner, workspace, llm, progress)
        outcome = await captioner.write(await asyncio.to_thread(captioner.plan, options))
        if build:  # also where an earlier call wrote without
            await self.build(progress)
        return outcome

    async def build(self, progress: Progress = SILENT) -> Built:
        """Encode what is new and make the index again; the next call sees it."""
        built = await asyncio.to_thread(build, self.workspace, progress)
        catalogue = await asyncio.to_thread(load_catalogue, self.workspace)
        await asyncio.to_thread(self._pipeline.catalogue_changed, catalogue)
        self._conversation.catalogue_changed()
        return built

    async def add_events(self, events: Sequence[Event]) -> None:
        """Record what people did; the next call for them takes it into account. Raises StoreError."""
        await asyncio.to_thread(self.workspace.store.add_events, events)

    async def feedback(self, user_id: str, item_ids: str | Sequence[str], kind: Feedback) -> list[Event]:
        """Record what a person says of items, "like", "dislike", "seen" or "not-now"; returns the recorded events.

        All four keep the items away, "not-now" for `feedback.not_now_days`. A like counts more than another past item, a dislike
        pushes away what is like it, and no reason cites it. The last word on an item counts.
        Raises ConfigError, UnknownItemError, DataError, StoreError; nothing is recorded then.
        """
        ids = [item_ids] if isinstance(item_ids, str) else checked_ids("item_ids", item_ids)
        return await asyncio.to_thread(give, self.workspace.store, user_id, ids, kind)

    async def take_back(self, user_id: str, item_id: str = "") -> Event | None:
        """Delete the last thing that a person said of this item, or of any; returns it. Raises StoreError."""
        return await asyncio.to_thread(take_back, self.workspace.store, user_id, item_id)

    async def forget(self, user_id: str) -> Forgotten:
        """Delete all traces of a person. Raises StoreError."""
        return await asyncio.to_thread(self.workspace.store.forget, user_id)

    async def warm_up(self) -> None:
        """Load what answers need now, so that the first one need not wait. Models that cannot be loaded are left out: the traces
        of the answers say so. Raises StoreError.
        """
        _ = self.workspace  # raises when closed
        await self._conversation.lexicon()
        await self._pipeline.load()

    async def close(self) -> None:
        """Free the models and close the workspace; a second call does nothing, other calls raise WorkspaceError."""
        workspace, self._workspace = self._workspace, None
        if workspace is not None:
            await asyncio.to_thread(self._pipeline.close)
            await asyncio.to_thread(workspace.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _closed() -> WorkspaceError:
    return WorkspaceError("the recommender is closed", hint="Open it again with Recommender.open.")


def _blocking(
    method: Callable[Concatenate[AsyncRecommender, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate["Recommender", P], T]:
    """The method for callers that wait for its result."""

    @functools.wraps(method)
    def call(self: "Recommender", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._wait(lambda: method(self._asynchronous, *args, **kwargs))

    return call


def _blocking_stream(
    method: Callable[Concatenate[AsyncRecommender, P], AsyncGenerator[T, None]],
) -> Callable[Concatenate["Recommender", P], Generator[T, None, None]]:
    """The method as a plain generator; closing it ends the stream."""

    @functools.wraps(method)
    def call(self: "Recommender", /, *args: P.args, **kwargs: P.kwargs) -> Generator[T, None, None]:
        stream = method(self._asynchronous, *args, **kwargs)
        try:
            while (one := self._wait(lambda: anext(stream, None))) is not None:
                yield one
        finally:
            if not self._loop.is_closed():
                self._wait(stream.aclose)

    signature = inspect.signature(method)
    plain = Generator[get_args(signature.return_annotation)[0], None, None]
    call.__dict__["__signature__"] = signature.replace(return_annotation=plain)  # what `help` shows
    return call


def _documented_as(twin: Callable[..., Any]) -> Callable[[Callable[P, T]], Callable[P, T]]:
    def documented(method: Callable[P, T]) -> Callable[P, T]:
        method.__doc__ = twin.__doc__
        return method

    return documented


class Recommender:
    """Explained recommendations from one workspace. Several threads may call it at once; close it after use.

        with Recommender.open("my-shop") as genrec:
            for row in genrec.recommend("user-1", k=5, filter="year >= 1990"):
                print(row.rank, row.item.title, row.reason.text)

    Its methods are those of `AsyncRecommender`, run on an event loop in a thread of its own.
    """

    def __init__(self, asynchronous: AsyncRecommender) -> None:
        self._asynchronous = asynchronous
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="genrec", daemon=True)
        self._thread.start()

    @classmethod
    @_documented_as(AsyncRecommender.open)
    def open(
        cls, path: Path | str, *, settings: Mapping[str, Mapping[str, Any]] | None = None, progress: Progress = SILENT
    ) -> Self:
        return cls(AsyncRecommender.open(path, settings=settings, progress=progress))

    @property
    def workspace(self) -> Workspace:
        """Raises WorkspaceError when the recommender is closed."""
        return self._asynchronous.workspace

    recommend = _blocking(AsyncRecommender.recommend)
    recommend_many = _blocking(AsyncRecommender.recommend_many)
    recommend_stream = _blocking_stream(AsyncRecommender.recommend_stream)
    chat = _blocking(AsyncRecommender.chat)
    chat_stream = _blocking_stream(AsyncRecommender.chat_stream)
    caption = _blocking(AsyncRecommender.caption)
    build = _blocking(AsyncRecommender.build)
    add_events = _blocking(AsyncRecommender.add_events)
    feedback = _blocking(AsyncRecommender.feedback)
    take_back = _blocking(AsyncRecommender.take_back)
    forget = _blocking(AsyncRecommender.forget)
    warm_up = _blocking(AsyncRecommender.warm_up)

    @_documented_as(AsyncRecommender.close)
    def close(self) -> None:
        if self._loop.is_closed():
            return
        self._wait(self._asynchronous.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wait(self, start: Callable[[], Awaitable[T]]) -> T:
        """The result of what `start` begins on the event loop."""
        if self._loop.is_closed():
            raise _closed()

        async def run() -> T:
            return await start()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()
