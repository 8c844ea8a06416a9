"""`Recommender` and `AsyncRecommender` are called alike, and every call spells out its options."""

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from genrec import AsyncRecommender, Recommender
from genrec.chat.messages import ChatChunk
from genrec.errors import ConfigError, WorkspaceError
from genrec.types import Event, Recommendation

NAMES = ["add_events", "build", "caption", "chat", "chat_stream", "close", "feedback", "forget", "open", "recommend"]
NAMES += ["recommend_many", "recommend_stream", "take_back", "warm_up", "workspace"]
CALLS = [name for name in NAMES if name != "workspace"]
STREAMS = ("chat_stream", "recommend_stream")


def parameters(call: Callable[..., Any]) -> list[tuple[str, object, object, object]]:
    found = inspect.signature(call).parameters.values()
    return [(one.name, one.kind, one.default, one.annotation) for one in found]


def said(rows: list[Recommendation]) -> list[tuple[int, str, float, str]]:
    return [(row.rank, row.item.item_id, row.score, row.reason.text) for row in rows]


@pytest.mark.parametrize("face", [AsyncRecommender, Recommender])
def test_public_methods_are_pinned(face: type) -> None:
    assert sorted(name for name in dir(face) if not name.startswith("_")) == NAMES


@pytest.mark.parametrize("name", CALLS)
def test_twins_are_called_alike(name: str) -> None:
    blocking, asynchronous = getattr(Recommender, name), getattr(AsyncRecommender, name)
    assert parameters(blocking) == parameters(asynchronous)
    assert blocking.__doc__ == asynchronous.__doc__
    assert len(blocking.__doc__.strip()) > 20
    assert not inspect.iscoroutinefunction(blocking)
    assert inspect.isasyncgenfunction(asynchronous) == (name in STREAMS) == inspect.isgeneratorfunction(blocking)


@pytest.mark.parametrize("name", CALLS)
def test_options_have_names_and_types(name: str) -> None:
    for one in list(inspect.signature(getattr(AsyncRecommender, name)).parameters.values())[name != "open" :]:
        assert one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)
        assert one.annotation not in (inspect.Parameter.empty, Any)


def test_blocking_streams_are_plain_generators() -> None:
    assert inspect.signature(Recommender.recommend_stream).return_annotation == Generator[Recommendation, None, None]
    assert inspect.signature(Recommender.chat_stream).return_annotation == Generator[ChatChunk, None, None]


def test_both_answer_alike(own_shop: Path) -> None:
    """The same calls in the same order, blocking and awaited, of two openings of one workspace."""

    async def all_of(stream: AsyncIterator[Any]) -> list[Any]:
        return [one async for one in stream]

    async def asked() -> list[Any]:
        async with AsyncRecommender.open(own_shop) as genrec:
            await genrec.warm_up()
            return [
                said(await genrec.recommend("u00", 4)),
                said(await genrec.recommend_many(["u00", "u01"], 2, rank="off")),
                said(await all_of(genrec.recommend_stream("u00", 3))),
                (await genrec.chat([{"role": "user", "content": "a comedy"}])).text,
                "".join(one.text for one in await all_of(genrec.chat_stream([{"role": "user", "content": "a comedy"}]))),
            ]

    answers = asyncio.run(asked())
    with Recommender.open(own_shop) as genrec:
        genrec.warm_up()
        assert answers == [
            said(genrec.recommend("u00", 4)),
            said(genrec.recommend_many(["u00", "u01"], 2, rank="off")),
            said(list(genrec.recommend_stream("u00", 3))),
            genrec.chat([{"role": "user", "content": "a comedy"}]).text,
            "".join(one.text for one in genrec.chat_stream([{"role": "user", "content": "a comedy"}])),
        ]


async def test_what_changes_the_store_is_awaited_too(own_shop: Path) -> None:
    async with AsyncRecommender.open(own_shop) as genrec:
        first, second = (row.item.item_id for row in await genrec.recommend("u00", 2, explain="off"))
        assert [event.kind for event in await genrec.feedback("u00", first, "like")] == ["like"]
        await genrec.add_events([Event(user_id="u00", item_id=second, timestamp=2e9)])
        assert not {first, second} & {row.item.item_id for row in await genrec.recommend("u00", 20, explain="off")}
        undone = await genrec.take_back("u00", first)
        assert undone is not None
        assert undone.item_id == first
        assert first in {row.item.item_id for row in await genrec.recommend("u00", 60, explain="off")}
        assert (await genrec.forget("u00")).events > 0
        assert (await genrec.build()).items == 60
    with pytest.raises(WorkspaceError, match="closed"):
        await genrec.recommend("u01")
    with pytest.raises(WorkspaceError, match="closed"):
        await genrec.warm_up()
    with pytest.raises(WorkspaceError, match="closed"):
        await anext(genrec.chat_stream("a comedy"))
    await genrec.close()


def test_a_stream_that_is_left_ends(genrec: Recommender, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = []

    async def respond(*_: Any, k: int) -> AsyncGenerator[ChatChunk, None]:
        try:
            for place in range(k):
                yield ChatChunk(text=str(place))
        finally:
            ended.append(True)

    monkeypatch.setattr(genrec._asynchronous._conversation, "respond", respond)
    stream = genrec.chat_stream([{"role": "user", "content": "a comedy"}], k=3)
    assert next(stream).text == "0"
    assert not ended
    stream.close()
    assert ended


def test_options_are_checked_by_both_kinds_of_call(genrec: Recommender) -> None:
    with pytest.raises(ConfigError, match="k is 0"):
        next(genrec.chat_stream("a comedy", k=0))
    with pytest.raises(ConfigError, match="k is 0"):
        next(genrec.recommend_stream("u00", 0))
    with pytest.raises(ConfigError, match="explain is 'loud'"):
        next(genrec.recommend_stream("u00", explain="loud"))  # pyright: ignore[reportArgumentType]
