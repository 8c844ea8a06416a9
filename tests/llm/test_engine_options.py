"""The contract of engines, further on: adapters, salts and schemas."""

import asyncio
import json
import re
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from genrec.errors import AdapterError, EngineError
from genrec.llm.protocol import ScoreRequest, WriteRequest
from tests.llm.asking import assert_same, labels, likelihood, markers, mixed, one_by_one, pieces_of, writing
from tests.llm.engines import ADAPTERS, Opened

ONE, TWO = ADAPTERS


class TestAdapters:
    def test_they_are_named(self, engine: Opened) -> None:
        assert sorted(engine.llm.adapters) == sorted(ADAPTERS)

    @pytest.mark.parametrize("request_", [likelihood(), labels(), markers()], ids=["likelihood", "labels", "markers"])
    async def test_each_gives_scores_of_its_own(self, engine: Opened, request_: ScoreRequest) -> None:
        base, one, two = await engine.llm.score([replace(request_, adapter=name) for name in ("", ONE, TWO)])
        least = engine.tolerance / 5 + 1e-3
        for a, b in ((base, one), (base, two), (one, two)):
            assert np.abs(a.logp - b.logp).max() > least
            np.testing.assert_array_equal(a.tokens, b.tokens)

    async def test_all_in_one_batch_are_one_by_one(self, engine: Opened) -> None:
        base = await one_by_one(engine.llm, mixed())
        requests = [replace(request, adapter=name) for request in mixed() for name in (ONE, "", TWO, ONE)]
        together = await engine.llm.score(requests)
        assert_same(together, await one_by_one(engine.llm, requests), engine.tolerance)
        assert_same(together[1::4], base, engine.tolerance)
        assert_same(together[0::4], together[3::4], engine.tolerance)

    def test_threads_that_ask_for_different_ones(self, engine: Opened) -> None:
        lists = [[replace(request, adapter=name) for request in mixed()] for name in ("", *ADAPTERS)]
        expected = [asyncio.run(one_by_one(engine.llm, requests)) for requests in lists]
        with ThreadPoolExecutor(3) as pool:
            for got, wanted in zip(pool.map(lambda r: asyncio.run(engine.llm.score(r)), lists * 2), expected * 2, strict=True):
                assert_same(got, wanted, engine.tolerance)

    async def test_texts(self, engine: Opened) -> None:
        requests = [writing(8, adapter=name) for name in ("", *ADAPTERS, "")]
        texts = await engine.llm.write(requests)
        assert texts[0] == texts[3]
        assert ["".join(await pieces_of(engine.llm, request)) for request in requests] == texts
        if engine.name != "fake":
            assert len(set(texts)) == 3

    async def test_one_that_is_not_there(self, engine: Opened) -> None:
        calls: list[Callable[[], Coroutine[Any, Any, object]]] = [
            lambda: engine.llm.score([likelihood(), replace(labels(), adapter="none such")]),
            lambda: engine.llm.write([writing(4), writing(4, adapter="none such")]),
            lambda: pieces_of(engine.llm, writing(4, adapter="none such")),
        ]
        good, *bad = await asyncio.gather(
            engine.llm.score([replace(likelihood(), adapter=ONE)]), *(call() for call in calls), return_exceptions=True
        )
        assert isinstance(good, list)
        for error in bad:
            assert isinstance(error, AdapterError), error
            assert "none such" in str(error)
            assert all(name in error.hint for name in ADAPTERS)


class TestSalt:
    async def test_changes_no_score(self, engine: Opened) -> None:
        plain = await one_by_one(engine.llm, mixed())
        for salts in (("tenant 1", "tenant 2", ""), ("tenant 2", "", "tenant 1")):
            salted = [replace(request, salt=salts[n % 3]) for n, request in enumerate(mixed())]
            assert_same(await engine.llm.score(salted), plain, engine.tolerance)

    async def test_texts(self, engine: Opened) -> None:
        texts = await engine.llm.write([writing(8, salt=salt) for salt in ("", "tenant 1", "tenant 2")])
        if engine.tolerance < 1e-3:
            assert len(set(texts)) == 1
        assert all(texts)


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["film", "book"]},
        "seen": {"type": "boolean"},
        "tags": {"type": "array", "items": {"enum": ["old", "new", "loud"]}, "minItems": 1, "maxItems": 2},
        "year": {"type": "integer", "minimum": 1900, "maximum": 2030},
    },
    "required": ["kind", "seen", "tags", "year"],
    "additionalProperties": False,
}


def by_schema(schema: object = SCHEMA, **changes: object) -> WriteRequest:
    return writing(**({"max_tokens": 120, "schema": json.dumps(schema)} | changes))  # pyright: ignore[reportArgumentType]


def assert_fits(text: str) -> None:
    value = json.loads(text)
    assert list(value) == SCHEMA["required"]
    assert value["kind"] in ("film", "book")
    assert isinstance(value["seen"], bool)
    assert 1 <= len(value["tags"]) <= 2
    assert set(value["tags"]) <= {"old", "new", "loud"}
    assert 1900 <= value["year"] <= 2030


class TestSchema:
    async def test_what_is_written_fits(self, engine: Opened) -> None:
        small = {"type": "object", "properties": {"n": {"enum": ["a", "b"]}}, "required": ["n"], "additionalProperties": False}
        requests = [by_schema(), by_schema(temperature=1.2, seed=1), by_schema(temperature=1.2, seed=2, adapter=ONE)]
        *texts, other, free = await engine.llm.write([*requests, by_schema(small), writing(8)])
        for text in texts:
            assert_fits(text)
        assert json.loads(other) in ({"n": "a"}, {"n": "b"})
        assert not free.startswith("{")

    async def test_patterns_of_strings_hold(self, engine: Opened) -> None:
        """As `caption_grammar` makes them: many words, bounded repetition, the example always allowed."""
        words = "|".join(f"[{letter.upper()}{letter}]{rest}" for letter in "abcdefgh" for rest in ("at", "it", "ore", "een"))
        text = {"type": "string", "pattern": f"^(?:(?:{words})(?: (?:{words})){{0,5}}[.!]|It is\\.)$", "examples": ["It is."]}
        schema = {"type": "object", "properties": {"text": text}, "required": ["text"], "additionalProperties": False}
        asked = [writing(90, schema=json.dumps(schema), temperature=1.5 * seed, seed=seed) for seed in (0, 1)]
        for written in await engine.llm.write(asked):
            assert re.fullmatch(text["pattern"], json.loads(written)["text"])

    async def test_streamed(self, engine: Opened) -> None:
        pieces = await pieces_of(engine.llm, by_schema())
        assert len(pieces) > 1
        assert_fits("".join(pieces))

    async def test_no_room_for_the_value(self, engine: Opened) -> None:
        cut, whole = await asyncio.gather(
            engine.llm.write([by_schema(max_tokens=6)]), engine.llm.write([by_schema()]), return_exceptions=True
        )
        assert isinstance(cut, EngineError), cut
        assert cut.hint
        assert isinstance(whole, list)
        assert_fits(whole[0])
        with pytest.raises(EngineError):
            await pieces_of(engine.llm, by_schema(max_tokens=6))

    @pytest.mark.parametrize("schema", ["not JSON", "[1]", '{"type": "no such type"}'])
    async def test_no_schema(self, engine: Opened, schema: str) -> None:
        with pytest.raises(EngineError) as caught:
            await engine.llm.write([writing(schema=schema)])
        assert caught.value.hint
