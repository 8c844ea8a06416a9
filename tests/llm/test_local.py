"""The `transformers` engine on models of other shapes: used where its sums are right, refused where they are not."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from genrec.errors import EngineError, WeightsError
from genrec.llm.protocol import Likelihood, WriteRequest
from tests.llm import engines

FULL: dict[str, dict[str, Any]] = {
    "Qwen2": {"sliding_window": 64},  # not used unless use_sliding_window
    "Qwen3": {"head_dim": 8},
    "Phi3": {"sliding_window": None},
    "GPTNeoX": {},
    "SmolLM3": {},
}
WINDOWED: dict[str, dict[str, Any]] = {
    "Mistral": {"sliding_window": 96},
    "Qwen2": {"use_sliding_window": True, "sliding_window": 96, "max_window_layers": 1},
    "Gemma3": {"head_dim": 8, "sliding_window": 96},
}
REFUSED: dict[str, dict[str, Any]] = {
    "Mamba": {},  # a state, no positions
    "Bloom": {},  # positions by distance in the row
    "Granite": {"logits_scaling": 8.0},
    "Cohere": {},  # scaled logits
}


def save(folder: Path, name: str, changes: dict[str, Any]) -> Path:
    config = getattr(transformers, f"{name}TextConfig", None) or getattr(transformers, f"{name}Config")
    return engines.save_model(folder / "model", getattr(transformers, f"{name}ForCausalLM"), config, **changes)


def score(engine: Any, context: str, *titles: str) -> np.ndarray:
    request = Likelihood(prefix="Films:\n", context=context, continuations=titles)
    return asyncio.run(engine.score([request]))[0].logp


def assert_plain(engine: Any, folder: Path, context: str) -> None:
    """The engine's sums are those of the model as transformers loads it."""
    titles = (" Aliens\n", " The Matrix Reloaded\n")
    model, own = engines.plain_model(folder, "float32"), []
    for title in titles:
        shared, target = (engine._encode("Films:\n") + engine._encode(context), engine._encode(title))
        ids = transformers.BatchEncoding({"input_ids": [shared + target]}, tensor_type="pt")["input_ids"]
        logp = model(input_ids=ids).logits[0].detach().log_softmax(-1)
        own.append(float(logp[range(len(shared) - 1, len(shared) + len(target) - 1), target].sum()))
    np.testing.assert_allclose(score(engine, context, *titles), own, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", FULL)
def test_full_attention_at_any_length(tmp_path: Path, name: str) -> None:
    folder = save(tmp_path, name, FULL[name])
    engine = engines.load(folder)
    assert engine.max_tokens == engines.POSITIONS
    for context in ("- Alien\n-", "- Alien\n" * 60 + "-"):
        assert_plain(engine, folder, context)
    engine.close()


@pytest.mark.parametrize("name", WINDOWED)
def test_a_windowed_model_is_used_within_its_window(tmp_path: Path, name: str) -> None:
    folder = save(tmp_path, name, WINDOWED[name])
    engine = engines.load(folder)
    assert engine.max_tokens == 96
    line = "- Alien\n"
    fitting = line * ((80 - engine.count_tokens("Films:\n- The Matrix Reloaded\n")) // engine.count_tokens(line)) + "-"
    assert_plain(engine, folder, fitting)
    with pytest.raises(EngineError, match="does not fit the model's 96"):
        score(engine, line * 60, " Aliens\n")
    with pytest.raises(EngineError, match="does not fit the model's 96"):
        asyncio.run(engine.write([WriteRequest(prefix="", prompt="Alien", max_tokens=96)]))
    engine.close()


@pytest.mark.parametrize("name", REFUSED)
def test_a_model_whose_packed_sums_are_wrong_is_refused(tmp_path: Path, name: str) -> None:
    folder = save(tmp_path, name, REFUSED[name])
    with pytest.raises(EngineError, match=re.compile("cannot score packed rows|not a plain full-attention")) as caught:
        engines.load(folder)
    assert "Llama" in caught.value.hint


def test_not_a_model(tmp_path: Path) -> None:
    folder = engines.save_llama(tmp_path / "model")
    (folder / "config.json").write_text('{"model_type": "no such type"}', encoding="utf-8")
    with pytest.raises(WeightsError, match="no such type"):
        engines.load(folder)


def test_a_model_that_gives_no_numbers(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = engines.save_llama(tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"].fill_(float("nan"))
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(EngineError, match="not numbers"):
        engines.load(folder)


def test_a_loop_that_ended_before_its_stream_harms_nobody(llama: Path) -> None:
    """`asyncio.run` for each call: the pieces of an abandoned text have nowhere to go any more."""
    engine = engines.load(llama)

    async def first_piece() -> str:
        request = WriteRequest(prefix="", prompt="Alien", max_tokens=400)
        return await anext(aiter(engine.stream(request)))

    for _ in range(3):
        assert asyncio.run(first_piece())
        assert np.isfinite(score(engine, "- Alien\n-", " Aliens\n")).all()
    engine.close()


def test_texts_asked_for_at_the_same_time_are_decoded_together(tmp_path: Path) -> None:
    """Though each has a grammar of its own, which takes longer to make than a batch waits."""
    engine = engines.load(save(tmp_path, "Qwen3", FULL["Qwen3"]))
    rows: list[int] = []

    def noted(module: Any, args: Any, given: Any) -> None:
        if given["past_key_values"] is None:
            rows.append(len(given["input_ids"]))

    engine._forward.model.base_model.register_forward_pre_hook(noted, with_kwargs=True)

    def asked(number: int) -> WriteRequest:
        words = [f"word {number} {other}" for other in range(200)]
        return WriteRequest(prefix="", prompt="Alien", max_tokens=30, schema=json.dumps({"enum": words}))

    async def written(start: int) -> None:
        await asyncio.gather(*(engine.write([asked(start + number)]) for number in range(24)))

    for tried in range(3):  # a busy machine may leave the calls apart
        rows.clear()
        asyncio.run(written(100 * tried))
        if rows == [24]:
            break
    assert rows == [24]
    engine.close()


def test_what_a_grammar_forces_goes_through_the_model_at_once(tmp_path: Path) -> None:
    """Of a text alone: keys and quotes cost no pass of their own, and what is chosen is what the whole text would choose."""
    engine = engines.load(save(tmp_path, "Qwen3", FULL["Qwen3"]))
    model, passes = engine._forward.model, list[torch.Tensor]()
    noted = model.base_model.register_forward_pre_hook(
        lambda module, args, given: passes.append(given["input_ids"][0]), with_kwargs=True
    )
    kinds = {"enum": ["red", "green", "blue"]}
    keys = {"what_colour_it_has": kinds, "what_colour_it_had": kinds}
    schema = json.dumps({"type": "object", "properties": keys, "required": list(keys), "additionalProperties": False})
    (text,) = asyncio.run(engine.write([WriteRequest(prefix="", prompt="Alien", max_tokens=200, schema=schema)]))
    noted.remove()
    assert set(json.loads(text)) == set(keys)
    written = torch.cat(passes[1:])
    assert len(passes) < len(written) / 2
    assert text.startswith(engine._tokenizer.decode(written.tolist()))
    ids, constraint = torch.cat(passes)[None], engine._grammars.constraint(schema)
    with torch.inference_mode():
        logits = model(input_ids=ids).logits[0].float()
    at = len(passes[0])
    for following in passes[1:]:  # each begins with the token that was chosen
        allowed = torch.from_numpy(constraint.allowed(logits.shape[1]))
        assert int(logits[at - 1].masked_fill(~allowed, -torch.inf).argmax()) == int(following[0])
        for token in following.tolist():
            constraint.take(token)
        at += len(following)
    engine.close()
