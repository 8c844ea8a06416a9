"""One contract for every engine that takes pictures; the real ones run it in test_vllm_engine.py and test_seeing_server.py."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from genrec.errors import EngineError, MediaError
from genrec.llm.fake import FakeLLM
from genrec.llm.protocol import LLM, WriteRequest
from tests.llm.asking import pieces_of, writing
from tests.llm.seeing import paint


@pytest.fixture
def seer() -> Iterator[LLM]:
    llm = FakeLLM(sees=True)
    yield llm
    llm.close()


@pytest.fixture
def red(tmp_path: Path) -> Path:
    return paint(tmp_path / "red.png", "red", "white")


@pytest.fixture
def blue(tmp_path: Path) -> Path:
    return paint(tmp_path / "blue.png", "blue", "black", "green")


@pytest.fixture
def cut(red: Path) -> Path:
    """The first bytes of a picture."""
    path = red.with_name("cut.png")
    path.write_bytes(red.read_bytes()[:60])
    return path


def showing(*paths: Path, max_tokens: int = 16, **changes: object) -> WriteRequest:
    return writing(max_tokens, images=paths, prompt="\nThe picture shows", **changes)


class TestSeen:
    async def test_what_is_shown_changes_what_is_written(self, seer: LLM, red: Path, blue: Path, tmp_path: Path) -> None:
        assert seer.sees
        same = paint(tmp_path / "same.webp", "red", "white", lossless=True)
        requests = [showing(red), showing(blue), showing(same), showing(red, blue), showing()]
        first, second, third, both, none = await seer.write(requests)
        assert first == third
        if not isinstance(seer, FakeLLM):
            assert len({first, second, both, none}) == 4

    async def test_many_at_once_are_one_by_one(self, seer: LLM, red: Path, blue: Path) -> None:
        requests = [showing(red), writing(6), showing(blue), showing(blue, red), writing(8)] * 2
        single = [(await seer.write([request]))[0] for request in requests]
        assert await seer.write(requests) == single
        gathered = await asyncio.gather(*(seer.write([request]) for request in requests))
        assert [text for (text,) in gathered] == single

    async def test_stream(self, seer: LLM, red: Path) -> None:
        assert "".join(await pieces_of(seer, showing(red))) == (await seer.write([showing(red)]))[0]

    async def test_schema(self, seer: LLM, red: Path) -> None:
        kinds = {"kind": {"enum": ["film", "book"]}}
        schema = {"type": "object", "properties": kinds, "required": ["kind"], "additionalProperties": False}
        (text,) = await seer.write([showing(red, max_tokens=80, schema=json.dumps(schema))])
        assert json.loads(text)["kind"] in ("film", "book")

    async def test_salt_and_stop(self, seer: LLM, red: Path) -> None:
        (whole,), (salted,) = await seer.write([showing(red)]), await seer.write([showing(red, salt="mine")])
        assert salted == whole
        (cut,) = await seer.write([showing(red, stop=(whole[3:5],))])
        assert cut == whole[: whole.index(whole[3:5])]

    async def test_a_bad_picture_is_named(self, seer: LLM, red: Path, cut: Path) -> None:
        for path in (cut, cut.with_name("absent.png")):
            with pytest.raises(MediaError, match=path.name):
                await seer.write([showing(red), showing(path)])
        assert await seer.write([showing(red)])

    async def test_a_prompt_that_does_not_fit(self, seer: LLM, red: Path) -> None:
        with pytest.raises(EngineError):
            await seer.write([showing(red, prefix="word " * (seer.max_tokens + 1))])
        with pytest.raises(EngineError):
            await seer.write([writing(images=(red,), prompt="")])
