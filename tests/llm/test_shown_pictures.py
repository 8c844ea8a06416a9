"""Pictures on their way to a model: their size, the message, who refuses them; the `openai` engine on a double of vLLM."""

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from genrec.errors import EngineError, MediaError
from genrec.llm.fake import FakeLLM
from genrec.llm.openai_engine import RemoteLLM
from genrec.models.pictures import data_url
from tests.llm.asking import PREFIX, pieces_of, writing
from tests.llm.engines import Opened
from tests.llm.seeing import paint
from tests.llm.test_seeing import showing
from tests.llm.vllm_double import CHAT, COMPLETIONS, Double

Open = Callable[..., RemoteLLM]


def shown(url: str) -> Image.Image:
    head, _, data = url.partition(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


@pytest.fixture
def red(tmp_path: Path) -> Path:
    return paint(tmp_path / "red.png", "red", "white")


@pytest.fixture
def seeing(double: Double) -> Double:
    double.sees = True
    return double


@pytest.mark.parametrize(
    ("size", "pixels", "sent"),
    [
        ((1000, 500), 20_000, (200, 100)),
        ((100, 100), 10_000, (100, 100)),  # as it is
        ((30, 30), 10_000, (30, 30)),  # never enlarged
        ((5000, 1), 1024, (50, 1)),  # a strip is cut to its middle
        ((1, 1), 1024, (1, 1)),
    ],
)
def test_the_size_is_bounded(size: tuple[int, int], pixels: int, sent: tuple[int, int], tmp_path: Path) -> None:
    Image.new("RGB", size, "teal").save(tmp_path / "a.png")
    picture = shown(data_url(tmp_path / "a.png", pixels))
    assert (picture.format, picture.mode) == ("JPEG", "RGB")
    assert picture.width * picture.height <= pixels
    assert picture.size == sent
    np.testing.assert_allclose(np.asarray(picture).mean(axis=(0, 1)), (0, 128, 128), atol=4)


def test_a_turned_picture_is_shown_upright(tmp_path: Path, red: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(red) as picture:
        picture.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    assert data_url(tmp_path / "turned.png", 10_000) == data_url(red, 10_000)


async def test_engines_of_text_refuse(engine: Opened, red: Path) -> None:
    assert not engine.llm.sees
    with pytest.raises(EngineError, match="takes no pictures") as caught:
        await engine.llm.write([writing(4), showing(red)])
    assert caught.value.hint
    with pytest.raises(EngineError, match="takes no pictures"):
        await pieces_of(engine.llm, showing(red))


async def test_the_fake_sees_if_it_is_told_to(red: Path) -> None:
    assert (await FakeLLM(sees=True).write([showing(red)]))[0].startswith("32x32 The picture")


class TestRemote:
    async def test_the_message(self, seeing: Double, remote: Open, red: Path, tmp_path: Path) -> None:
        wide = paint(tmp_path / "wide.png", "blue")
        Image.open(wide).resize((400, 100)).save(wide)
        llm = remote(seeing, image_pixels=10_000)
        (text,) = await llm.write([showing(red, wide, temperature=0.5, seed=3, salt="mine", stop=("zz",), adapter="one")])
        assert text.startswith("32x32 200x50 w0 w1")
        path, body, _ = seeing.seen[-1]
        assert path == CHAT
        content = body["messages"][0]["content"]
        assert [part["type"] for part in content] == ["text", "image_url", "image_url", "text"]  # what is constant stands first
        assert (content[0]["text"], content[-1]["text"]) == (PREFIX, "\nThe picture shows")
        given = {
            "model": "one",
            "max_tokens": 16,
            "temperature": 0.5,
            "seed": 3,
            "cache_salt": "mine",
            "stop": ["zz"],
            "top_p": 1.0,
        }
        assert given.items() <= body.items()

    async def test_what_has_no_picture_goes_its_usual_way(self, seeing: Double, remote: Open, red: Path) -> None:
        llm = remote(seeing)
        await llm.write([writing(4)])
        assert (seeing.paths()[COMPLETIONS] > 0, seeing.paths()[CHAT]) == (True, 0)  # and nobody asks whether it sees
        texts = await llm.write([writing(4), showing(red), writing(2)])
        assert [text.split()[0] for text in texts] == ["w0", "32x32", "w0"]

    def test_whether_it_sees_is_asked_once(self, seeing: Double, remote: Open) -> None:
        llm = remote(seeing)
        assert [llm.sees, llm.sees] == [True, True]
        assert seeing.paths()[CHAT] == 1

    async def test_a_server_of_text(self, double: Double, remote: Open, red: Path) -> None:
        llm = remote(double)
        with pytest.raises(EngineError, match=r"takes no pictures: .*not a multimodal model"):
            await llm.write([writing(4), showing(red)])
        assert double.paths()[CHAT] == 1
        assert await llm.write([writing(4)])

    def test_a_server_that_comes_back_is_asked_anew(self, double: Double, remote: Open) -> None:
        llm = remote(double, retries=0, timeout_s=2)
        assert not llm.sees
        double.sees = True
        double.fault(lambda handler, answer: handler.reply({}, 500) or True)
        with pytest.raises(EngineError):
            llm._background.wait(llm._write([writing(4)]))
        double.fault(None)
        assert llm.sees

    def test_a_server_that_is_not_there(self, remote: Open) -> None:
        with pytest.raises(EngineError) as caught:
            _ = remote("http://127.0.0.1:9", retries=0).sees
        assert caught.value.retryable

    async def test_stream_and_schema(self, seeing: Double, remote: Open, red: Path) -> None:
        llm = remote(seeing)
        pieces = await pieces_of(llm, showing(red))
        assert len(pieces) == 17
        assert "".join(pieces) == (await llm.write([showing(red)]))[0]
        request: dict[str, Any] = {"schema": json.dumps({"type": "object"})}
        assert json.loads((await llm.write([showing(red, **request)]))[0]) == {"a": 1}
        with pytest.raises(EngineError, match="not whole"):
            await llm.write([showing(red, max_tokens=3, **request)])

    async def test_a_bad_picture_is_named_before_anything_is_written(self, seeing: Double, remote: Open, red: Path) -> None:
        llm = remote(seeing)
        cut = red.with_name("cut.png")
        with pytest.raises(MediaError, match=r"cut\.png") as caught:
            await llm.write([showing(red), writing(4), showing(cut)])
        assert caught.value.hint
        assert not [body for _, body, _ in seeing.seen if body.get("max_tokens", 1) > 1]

    async def test_what_does_not_fit_is_not_sent(self, seeing: Double, remote: Open, red: Path) -> None:
        with pytest.raises(EngineError, match="fit"):
            await remote(seeing).write([showing(red, prefix="word " * 700)])
        assert seeing.paths()[CHAT] == 0
