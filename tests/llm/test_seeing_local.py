"""The engine `transformers` with a model that sees: real layers, small and random."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from genrec.errors import EngineError, WeightsError
from genrec.llm.protocol import Likelihood, WriteRequest
from genrec.llm.transformers_engine import Shower, TransformersLLM
from genrec.models.pictures import shown
from genrec.models.sources import Weights
from genrec.progress import SILENT
from genrec.workspace.folder import Workspace
from tests.llm import engines, seeing
from tests.llm.asking import writing
from tests.llm.test_seeing import TestSeen as TestSeen  # the contract of engines that see, run on the `seer` below
from tests.llm.test_seeing import blue as blue
from tests.llm.test_seeing import cut as cut
from tests.llm.test_seeing import red as red
from tests.llm.test_seeing import showing

PIXELS = 2**18


@pytest.fixture(scope="module")
def idefics(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return seeing.save_idefics(tmp_path_factory.mktemp("idefics") / "model")


@pytest.fixture(scope="module")
def seer(idefics: Path) -> Iterator[TransformersLLM]:
    llm = TransformersLLM(weights(idefics), device="cpu", dtype="float32")
    yield llm
    llm.close()


def weights(folder: Path) -> Weights:
    return Weights(name="tiny", kind="llm", path=folder, source="path")


def own_text(folder: Path, request: WriteRequest) -> str:
    """What transformers writes greedily, nothing of ours between."""
    from transformers import Idefics3ForConditionalGeneration, Idefics3Processor

    processor: Any = Idefics3Processor.from_pretrained(str(folder))
    model: Any = Idefics3ForConditionalGeneration.from_pretrained(str(folder)).eval()
    pictures = [shown(path, PIXELS) for path in request.images]
    parts = [{"type": "text", "text": request.prefix}] if request.prefix else []
    parts += [*({"type": "image"} for _ in pictures), {"type": "text", "text": request.prompt}]
    text = processor.apply_chat_template([{"role": "user", "content": parts}], add_generation_prompt=True)
    given = processor(text=text, images=[pictures], return_tensors="pt", add_special_tokens=False)
    out = model.generate(**given, max_new_tokens=request.max_tokens, do_sample=False)
    return processor.tokenizer.decode(out[0][given["input_ids"].shape[1] :], skip_special_tokens=True)


async def test_texts_are_those_of_transformers(seer: TransformersLLM, idefics: Path, red: Path, blue: Path) -> None:
    for request in (showing(red), showing(blue, red), showing(blue, prefix="Look.\n")):
        assert await seer.write([request]) == [own_text(idefics, request)]


async def test_a_temperature_draws_by_the_seed(seer: TransformersLLM, red: Path) -> None:
    drawn = [(await seer.write([showing(red, temperature=1.0, seed=seed)]))[0] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


async def test_it_scores_as_any_other(seer: TransformersLLM) -> None:
    request = Likelihood(prefix="Films:\n", context="- Alien\n- ", continuations=("Aliens\n", "The Thing\n"))
    (scores,) = await seer.score([request])
    shared = seer._encode(request.prefix) + seer._encode(request.context)
    with torch.inference_mode():
        plain = [seer._plain(shared, seer._encode(text)) for text in request.continuations]
    assert scores.logp == pytest.approx(plain, abs=1e-3)


async def test_large_pictures_are_scaled_down(idefics: Path, tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.effect_noise((256, 256), 90).convert("RGB").save(path)
    request = showing(path)
    few, many = (Shower(idefics, pixels).inputs(request, 500) for pixels in (1024, 2**20))
    assert not (few["pixel_values"] == many["pixel_values"]).all()
    assert shown(path, 1024).size == (32, 32)


def test_the_setting_reaches_the_engine(idefics: Path, tmp_path: Path) -> None:
    Workspace.create(tmp_path / "w").close()
    with Workspace.open(
        tmp_path / "w", settings={"models": {"llm": str(idefics), "hub": False}, "llm": {"image_pixels": 2048}}
    ) as workspace:
        llm: Any = workspace.llm(SILENT)
        assert llm.sees
        assert llm._shower._pixels == 2048
        llm.close()


def test_without_a_chat_template_it_says_so(idefics: Path, tmp_path: Path) -> None:
    import shutil

    folder = Path(shutil.copytree(idefics, tmp_path / "model"))
    for file in ("chat_template.jinja", "chat_template.json"):
        (folder / file).unlink(missing_ok=True)
    with pytest.raises(WeightsError, match="chat template"):
        TransformersLLM(weights(folder), device="cpu", dtype="float32")


def test_a_model_that_decodes_otherwise_is_refused(idefics: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from genrec.llm import decoding

    def forgetful(forward: Any, given: Any) -> Any:
        """Decodes without what it has seen."""
        while True:
            yield 0 * forward.head[:, 0]

    monkeypatch.setattr(decoding, "_following", forgetful)
    with pytest.raises(EngineError, match="nats off"):
        TransformersLLM(weights(idefics), device="cpu", dtype="float32")


async def test_a_model_that_does_not_see_says_so(tmp_path: Path, red: Path) -> None:
    llm = TransformersLLM(weights(engines.save_llama(tmp_path / "llama")), device="cpu", dtype="float32")
    assert not llm.sees
    with pytest.raises(EngineError, match="picture"):
        await llm.write([showing(red)])
    assert await llm.write([writing(4)])
    llm.close()
