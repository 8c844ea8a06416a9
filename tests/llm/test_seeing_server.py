"""The `openai` engine and `genrec llm serve` with a real vLLM that serves a model that sees. Run by `make test-vllm`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from genrec.llm.openai_engine import RemoteLLM
from genrec.llm.protocol import LLM
from genrec.settings.sections import LlmSettings
from genrec.workspace.folder import Workspace
from tests.llm import engines, seeing
from tests.llm.asking import writing
from tests.llm.serving import PYTHON, SETTINGS, needs_vllm, serve
from tests.llm.test_seeing import TestSeen as TestSeen  # the contract of engines that see, run on the `seer` below
from tests.llm.test_seeing import blue as blue
from tests.llm.test_seeing import cut as cut
from tests.llm.test_seeing import red as red
from tests.llm.test_seeing import showing

pytestmark = needs_vllm


@pytest.fixture(scope="module")
def idefics(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return seeing.save_idefics(tmp_path_factory.mktemp("idefics") / "model")


@pytest.fixture(scope="module")
def seer(idefics: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LLM]:
    folder = tmp_path_factory.mktemp("serve")
    with engines.own_cache(folder / "cache"):
        Workspace.create(folder / "shop").close()
        (folder / "shop" / "genrec.toml").write_text(SETTINGS.format(model=idefics), encoding="utf-8")
        with serve(folder / "shop", python=PYTHON) as server:
            llm = RemoteLLM(str(idefics), LlmSettings(url=server.url, timeout_s=120, read_timeout_s=60), tokenizer=idefics)
            yield llm
            llm.close()


async def test_texts_are_those_of_transformers(seer: LLM, idefics: Path, red: Path, blue: Path) -> None:
    for request in (showing(red), showing(blue, red)):
        (text,) = await seer.write([request])
        assert text == seeing.plain_text(idefics, request).rstrip("\ufffd")  # vLLM holds back half of a sign


async def test_pictures_and_plain_texts_in_one_batch(seer: LLM, red: Path) -> None:
    shown, plain = await seer.write([showing(red), writing(8)])
    assert shown != plain
    assert [plain] == await seer.write([writing(8)])
