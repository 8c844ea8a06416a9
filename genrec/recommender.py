"""The page to read first: open a workspace, ask for recommendations.

    candidates (retrieval) → LLM ranking (ranking) → leave-one-out evidence → checked reasons (writing)

Each answer carries a trace of the stages it went through. A stage that fails is skipped visibly: its status is `degraded`.
"""

import asyncio
import math
import secrets
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from genrec.answer.pipeline import Answer, Answering
from genrec.answer.request import Request
from genrec.captions.caption_run import Captioned, Options
from genrec.captions.captioner import Captioner
from genrec.chat.messages import ChatAnswer, ChatChunk, messages_of
from genrec.chat.sessions import begun
from genrec.chat.turn import Conversation
from genrec.data.cleaning import clean_text
from genrec.errors import ConfigError, WorkspaceError
from genrec.filters import Filter, parse
from genrec.progress import SILENT, Progress
from genrec.store.feedback_events import give, take_back
from genrec.store.records import Forgotten
from genrec.types import Event, Feedback, Recommendation
from genrec.workspace.build import Built, build
from genrec.workspace.folder import Workspace
from genrec.workspace.load import load_catalogue

T = TypeVar("T")


class Recommender:
    """Explained recommendations from one workspace. Safe to call from several threads and tasks; close it after use.

        with Recommender.open("my-shop") as genrec:
            for recommendation in genrec.recommend("user-1", k=5, filter="year >= 1990"):
                print(recommendation.rank, recommendation.item.title, recommendation.reason.text)

    Every method has an async twin with an `a` in front; `stream` is async only.
    """

    def __init__(self, workspace: Workspace, progress: Progress = SILENT) -> None:
        self.workspace = workspace
        self._answering = Answering(workspace, load_catalogue(workspace), progress)
        self._conversation = Conversation(workspace, self._answering)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="genrec", daemon=True)
        self._thread.start()

    @classmethod
    def open(
        cls, path: Path | str, *, settings: Mapping[str, Mapping[str, Any]] | None = None, progress: Progress = SILENT
    ) -> Self:
        """Open a built workspace. `settings` override its file by section: `rank={"method": "labels"}`.

        Models are loaded when a call first needs them. Raises WorkspaceError, ConfigError, StoreError, IndexFault.
        """
        workspace = Workspace.open(path, settings=settings)
        try:
            return cls(workspace, progress)
        except BaseException:
            workspace.close()
            raise

    def recommend(self, user_id: str, k: int = 10, **options: Any) -> list[Recommendation]:
        """The k best items for a person, best first, rank from 1; fewer when the filter or the catalogue leave fewer.

        `options` as in `stream`. Raises UnknownUserError, ConfigError, FilterError, StoreError, IndexFault.
        """
        return self._wait(self.arecommend(user_id, k, **options))

    async def arecommend(self, user_id: str, k: int = 10, **options: Any) -> list[Recommendation]:
        """`recommend` for async callers."""
        return await self.arecommend_many([user_id], k, **options)

    def recommend_many(self, user_ids: Sequence[str], k: int = 10, **options: Any) -> list[Recommendation]:
        """One long table for many people, in their order: user_id, rank, item, score, reason. One batch for every model."""
        return self._wait(self.arecommend_many(user_ids, k, **options))

    async def arecommend_many(self, user_ids: Sequence[str], k: int = 10, **options: Any) -> list[Recommendation]:
        """`recommend_many` for async callers. All rows of one call share its trace."""
        answer = await self._answer(user_ids, k, **options)
        async for number, reason in answer.reasons():
            answer.rows[number] = replace(answer.rows[number], reason=reason)
        return [replace(row, trace=answer.trace()) for row in answer.rows]

    async def stream(self, user_id: str, k: int = 10, **options: Any) -> AsyncIterator[Recommendation]:
        """The list at once, its reasons empty; then each row again, with its reason, as soon as that is written.

        query      words of the moment: searched by meaning, by word and by picture, and shown to the ranker
        filter     an expression over attributes, `year >= 1990 and genres has "Comedy"`, or a parsed Filter
        exclude    item ids that may not come back (seen items never do)
        rank       "llm" | "off"; explain "llm" | "template" | "off"; evidence "retriever" | "ranker";
                   method "likelihood" | "labels" | "markers": each instead of the workspace's setting
        explore    how boldly items are tried that few people chose, instead of `retrieval.explore`; `seed` of the draws, which
                   are others each time without; the trace names it
        """
        answer = await self._answer([user_id], k, **options)
        for row in answer.rows:
            yield replace(row, trace=answer.trace())
        if not answer.explains:
            return
        async for number, reason in answer.reasons():
            yield replace(answer.rows[number], reason=reason, trace=answer.trace())

    def chat(self, messages: str | Sequence[Mapping[str, Any]], **options: Any) -> ChatAnswer:
        """The answer to the last message of a dialogue: text, items with reasons, what was understood.

        messages    a text, the next turn of a dialogue that is kept; or all of it, `[{"role": "user", "content": "…"}, …]`
        session_id  of a dialogue that was begun before: the last message is its next turn. Without, a text begins one (the
                    answer has its id) and a list of messages is answered for itself; nothing is kept of it
        user_id     whose history counts, and of whom likes, dislikes and choices are recorded; it need not be known before
        k           how many items; by default `chat.items`

        Raises ConfigError, UnknownSessionError, StoreError, IndexFault: the dialogue is then as it was.
        """
        return self._wait(self.achat(messages, **options))

    async def achat(self, messages: str | Sequence[Mapping[str, Any]], **options: Any) -> ChatAnswer:
        """`chat` for async callers."""
        async for chunk in self.astream_chat(messages, **options):
            if chunk.answer is not None:
                return chunk.answer
        raise WorkspaceError("the answer has no end", hint="This is a fault of genrec: report it.")

    def chat_stream(self, messages: str | Sequence[Mapping[str, Any]], **options: Any) -> Iterator[ChatChunk]:
        """The answer as it is made: pieces of text, items once their reasons are written, the whole answer last."""
        chunks = self.astream_chat(messages, **options)

        async def following() -> ChatChunk | None:
            return await anext(chunks, None)

        async def end() -> None:
            await chunks.aclose()

        try:
            while (chunk := self._wait(following())) is not None:
                yield chunk
        finally:
            self._wait(end())

    async def astream_chat(
        self,
        messages: str | Sequence[Mapping[str, Any]],
        *,
        user_id: str = "",
        session_id: str = "",
        k: int | None = None,
    ) -> AsyncGenerator[ChatChunk, None]:
        """`chat_stream` for async callers; options as in `chat`."""
        if self._loop.is_closed():
            raise WorkspaceError("the recommender is closed", hint="Open it again with Recommender.open.")
        said = messages_of(messages)
        places = self.workspace.settings.chat.items if k is None else _positive("k", k)
        if session_id or isinstance(messages, str):
            schema = await asyncio.to_thread(self._answering.schema)
            dialogue = await asyncio.to_thread(begun, self.workspace.store, session_id, user_id, schema)
        else:
            dialogue = await self._conversation.replayed(said[:-1], user_id=user_id)
        async for chunk in self._conversation.respond(dialogue, said[-1].text, k=places):
            yield chunk

    def warm_up(self) -> None:
        """Load what answers need now, so that the first one need not wait. What cannot be had is told by the answers."""
        self._wait(self._warm_up())

    async def _warm_up(self) -> None:
        await self._conversation.lexicon()
        await self._answering.load()

    def build(self, progress: Progress = SILENT) -> Built:
        """Encode new items and make the index again; the next call sees it."""
        built = build(self.workspace, progress)
        self._answering.catalogue_changed(load_catalogue(self.workspace))
        self._conversation.catalogue_changed()
        return built

    def caption(self, **options: Any) -> Captioned:
        """Write titles, texts and tags of items that lack them, as `genrec caption` does.

        `options` as in `acaption`. Raises UnknownItemError, ConfigError, ModelError, StoreError; what was written is kept.
        """
        return self._wait(self.acaption(**options))

    async def acaption(
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
        """Lists show new captions at once; searches and the retriever know them after `build`, which the option calls.

        only      "title" or "text": that part alone
        items     ids: these items alone, also where their caption is from a file
        new       leave captions alone whose evidence or writer has changed; rewrite: write also those again that hold
        limit     at most so many items
        """
        if self._loop.is_closed():
            raise WorkspaceError("the recommender is closed", hint="Open it again with Recommender.open.")
        asked = Options(
            only=None if only is None else _choice("only", only, "", ("title", "text")),
            items=_ids("items", items),
            new=new,
            rewrite=rewrite,
            limit=limit,
        )
        llm = None if self.workspace.settings.caption.write == "template" else await self._answering.llm()
        captioner = await asyncio.to_thread(Captioner, self.workspace, llm, progress)
        outcome = await captioner.write(await asyncio.to_thread(captioner.plan, asked))
        if build:  # also where an earlier call wrote without
            await asyncio.to_thread(self.build, progress)
        return outcome

    def add_events(self, events: Sequence[Event]) -> None:
        """Record what people did; the next call for them takes it into account. Raises StoreError."""
        self.workspace.store.add_events(events)

    def feedback(self, user_id: str, item_ids: str | Sequence[str], kind: Feedback) -> list[Event]:
        """What a person says of items: "like", "dislike", "seen" or "not-now"; returns it as the events it is kept as.

        All four keep the items away, "not-now" for `feedback.not_now_days`. A like counts more than another past item, a dislike
        pushes away what is like it, and no reason cites it. The last word on an item counts.
        Raises ConfigError, UnknownItemError, DataError, StoreError; nothing is kept then.
        """
        return give(self.workspace.store, user_id, [item_ids] if isinstance(item_ids, str) else _ids("item_ids", item_ids), kind)

    def take_back(self, user_id: str, item_id: str = "") -> Event | None:
        """Delete the last thing that a person said of this item, or of any; returns it. Raises StoreError."""
        return take_back(self.workspace.store, user_id, item_id)

    def forget(self, user_id: str) -> Forgotten:
        """Delete all traces of a person. Raises StoreError."""
        return self.workspace.store.forget(user_id)

    def close(self) -> None:
        """Free the models and close the workspace; a second call does nothing, other calls raise WorkspaceError."""
        if self._loop.is_closed():
            return
        self._answering.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self.workspace.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _answer(
        self,
        user_ids: Sequence[str],
        k: int,
        *,
        query: str = "",
        filter: str | Filter = "",
        exclude: Sequence[str] = (),
        rank: Literal["llm", "off"] | None = None,
        explain: Literal["llm", "template", "off"] | None = None,
        evidence: Literal["retriever", "ranker"] | None = None,
        method: Literal["likelihood", "labels", "markers"] | None = None,
        explore: float | None = None,
        seed: int | None = None,
    ) -> Answer:
        if self._loop.is_closed():
            raise WorkspaceError("the recommender is closed", hint="Open it again with Recommender.open.")
        _positive("k", k)
        if not isinstance(query, str):
            raise ConfigError(f"query is {query!r:.80}", hint="It is text.")
        settings = self.workspace.settings
        request = Request(
            user_ids=_ids("user_ids", user_ids),
            k=k,
            query=clean_text(query),
            filter=await self._filter(filter),
            exclude=frozenset(_ids("exclude", exclude)),
            rank=_choice("rank", rank, settings.rank.mode, ("llm", "off")),
            explain=_choice("explain", explain, settings.reasons.explain, ("llm", "template", "off")),
            evidence=_choice("evidence", evidence, settings.reasons.evidence, ("retriever", "ranker")),
            method=None if method is None else _choice("method", method, "", ("likelihood", "labels", "markers")),
            explore=_at_least_0("explore", settings.retrieval.explore if explore is None else explore),
            seed=secrets.randbits(32) if seed is None else int(_at_least_0("seed", seed)),
        )
        return await self._answering.answer(request)

    async def _filter(self, filter: str | Filter) -> Filter | None:
        if not isinstance(filter, str):
            return filter
        return parse(filter, await asyncio.to_thread(self._answering.schema)) if filter.strip() else None

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if self._loop.is_closed():
            coroutine.close()
            raise WorkspaceError("the recommender is closed", hint="Open it again with Recommender.open.")
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


def _ids(name: str, given: Iterable[str]) -> tuple[str, ...]:
    """Raises ConfigError for one text where several ids belong, and for ids that are not text."""
    ids = () if isinstance(given, str) else tuple(given)
    if isinstance(given, str) or not all(isinstance(one, str) for one in ids):
        raise ConfigError(f"{name} is {given!r:.80}", hint="It is a list of ids, each of them text.")
    return ids


def _positive(name: str, given: int) -> int:
    if not isinstance(given, int) or isinstance(given, bool) or given < 1:
        raise ConfigError(f"{name} is {given!r:.80}", hint="Ask for at least 1 item.")
    return given


def _at_least_0(name: str, given: float) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given < math.inf:
        raise ConfigError(f"{name} is {given!r:.80}", hint="It is a number that is not negative.")
    return given


def _choice(name: str, given: str | None, default: str, allowed: tuple[str, ...]) -> Any:
    value = default if given is None else given
    if value not in allowed:
        raise ConfigError(f"{name} is {value!r}", hint=f"It is one of {', '.join(allowed)}.")
    return value
