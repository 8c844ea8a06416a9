"""What quantised weights cost and gain in vLLM on this machine: log-probabilities, rankings and speed beside bf16.

The requests are made where genrec is installed, the engines run where vLLM is (`make venv-vllm`):

    python -m eval.serving.quantised ask --workspace genrec-demo --to asked.json
    PYTHONPATH=. .venv-vllm/bin/python -m eval.serving.quantised measure asked.json --weights FOLDER
"""

import argparse
import asyncio
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from eval.provenance import RESULTS_FOLDER
from genrec.errors import EngineError
from genrec.llm.protocol import Likelihood
from genrec.llm.vllm_engine import VLLMEngine
from genrec.models.sources import Weights
from genrec.settings.sections import LlmSettings

VARIANTS = ("float32", "bfloat16", "w8a8", "w8a16", "w4a16", "awq", "fp8_per_channel", "fp8_per_block", "mxfp8")
"""bf16 and float32 as they are; w…: checkpoints rounded here (compressed-tensors), awq: scaled by activations, too; the rest:
rounded by vLLM while it loads.
"""
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
"""In which eight int4 columns lie in a word."""
GROUP = 32
"""Columns that share a scale of int4."""
SCALED = {"input_layernorm": ("q_proj", "k_proj", "v_proj"), "post_attention_layernorm": ("gate_proj", "up_proj")}
"""Norms that can carry the inverse of what the columns of these layers are scaled by."""

OUT = RESULTS_FOLDER / "quantised.json"


def ask(workspace: Path, users: int, to: Path) -> None:
    """Write the ranker's likelihood requests for the first people of a workspace."""
    from eval.provenance import provenance
    from eval.ranking.scoring_methods import requests

    asked = [one for one in requests(workspace, users, 50, "likelihood") if isinstance(one, Likelihood)]
    rows = [{"prefix": one.prefix, "context": one.context, "continuations": one.continuations} for one in asked]
    to.write_text(json.dumps({"provenance": provenance(), "requests": rows}, ensure_ascii=False), encoding="utf-8")


def rounded(folder: Path, to: Path, bits: int, activations: bool) -> None:
    """A copy of a checkpoint whose linear layers hold whole numbers, one scale per row (int8) or per group of columns (int4).

    Plain rounding to nearest. The output head and the embedding stay as they are. Layout: compressed-tensors.
    """
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, to, dirs_exist_ok=True)
    weights: dict[str, Any] = {}
    for file in sorted(to.glob("*.safetensors")):
        weights |= load_file(file)
        file.unlink()
    for name in [key for key in weights if key.endswith("_proj.weight")]:
        weights |= _round(name.removesuffix(".weight"), weights.pop(name), bits)
    save_file(weights, to / "model.safetensors", {"format": "pt"})
    config = json.loads((to / "config.json").read_text(encoding="utf-8"))
    group = {"num_bits": bits, "type": "int", "symmetric": True, "dynamic": False}
    group |= {"strategy": "channel"} if bits == 8 else {"strategy": "group", "group_size": GROUP}
    inputs = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "token", "dynamic": True} if activations else None
    config["quantization_config"] = {
        "quant_method": "compressed-tensors",
        "format": "int-quantized" if activations else "pack-quantized",
        "quantization_status": "compressed",
        "ignore": ["lm_head"],
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": group, "input_activations": inputs}},
    }
    (to / "config.json").write_text(json.dumps(config), encoding="utf-8")


def _round(name: str, weight: Any, bits: int) -> dict[str, Any]:
    import torch

    most = 2 ** (bits - 1) - 1
    rows, columns = weight.shape
    grouped = weight.float().view(rows, -1, columns if bits == 8 else GROUP)
    scale = (grouped.abs().amax(-1, keepdim=True) / most).clamp_min(1e-8).to(weight.dtype)
    whole = (grouped / scale.float()).round().clamp(-most - 1, most).to(torch.int32).view(rows, columns)
    found = {f"{name}.weight_scale": scale.squeeze(-1).contiguous()}
    return found | {f"{name}.weight": whole.to(torch.int8)}


def pack(folder: Path, bits: int) -> None:
    """Put the whole numbers of a weight-only checkpoint into int32 words, lowest bits first, each offset to be positive."""
    import torch
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    for name in [key for key in weights if weights[key].dtype == torch.int8]:
        whole = weights.pop(name).to(torch.int64) + 2 ** (bits - 1)
        per = 32 // bits
        words = (whole.view(whole.shape[0], -1, per) << (torch.arange(per) * bits)).sum(-1)
        words = torch.where(words >= 2**31, words - 2**32, words).to(torch.int32)
        base = name.removesuffix("weight")
        weights |= {f"{base}weight_packed": words, f"{base}weight_shape": torch.tensor(whole.shape)}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def awq(folder: Path, to: Path, text: str) -> None:
    """A copy with int4 weights by AWQ (Lin et al., 2023): columns that meet large activations are made larger before they are
    rounded, by a power of the mean activation over `text` that errs least; the norm before them is divided by as much.
    """
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    shutil.copytree(folder, to, dirs_exist_ok=True)
    for file in to.glob("*.safetensors"):
        file.unlink()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    seen: dict[str, Any] = {}
    first = {f"{name}.": module for name, module in model.named_modules() if name.endswith(("q_proj", "gate_proj"))}
    for name, module in first.items():
        module.register_forward_pre_hook(lambda _, given, name=name: seen.update({name: given[0][0].detach()}))
    with torch.no_grad():
        model(**AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt"))
    weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items() if name != "lm_head.weight"}
    for norm, layers in SCALED.items():
        for name in [key for key in seen if key.endswith(f"{layers[0]}.")]:
            block = name.removesuffix(f"{layers[0]}.")
            scale = _least_error(seen[name], torch.cat([weights[f"{block}{layer}.weight"] for layer in layers]))
            weights[f"{block.rsplit('.', 2)[0]}.{norm}.weight"] /= scale
            for layer in layers:
                weights[f"{block}{layer}.weight"] *= scale
    for name in [key for key in weights if key.endswith("_proj.weight")]:
        whole, zero, scale = _int4(weights.pop(name))
        base = name.removesuffix("weight")
        packed = {"qweight": _awq_words(whole.T), "qzeros": _awq_words(zero.T), "scales": scale.T.to(torch.bfloat16).contiguous()}
        weights |= {base + part: tensor for part, tensor in packed.items()}
    kept = {name: tensor.to(torch.bfloat16) if tensor.is_floating_point() else tensor for name, tensor in weights.items()}
    save_file(kept, to / "model.safetensors", {"format": "pt"})
    config = json.loads((to / "config.json").read_text(encoding="utf-8"))
    config["quantization_config"] = {"quant_method": "awq", "bits": 4, "group_size": GROUP, "zero_point": True, "version": "gemm"}
    (to / "config.json").write_text(json.dumps(config), encoding="utf-8")


def _least_error(inputs: Any, weight: Any) -> Any:
    """(columns,) by what to scale."""
    import torch

    mean = inputs.abs().mean(0).clamp_min(1e-4)
    found = []
    for power in range(10):
        scale = mean ** (power / 10)
        scale = scale / (scale.max() * scale.min()).sqrt()
        whole, zero, step = (one.repeat_interleave(GROUP, 1) if n else one for n, one in enumerate(_int4(weight * scale)))
        error = ((inputs @ (weight - (whole - zero) * step / scale).T) ** 2).sum()
        found.append((float(error), power, scale))
    return torch.as_tensor(min(found, key=lambda one: one[:2])[2])


def _int4(weight: Any) -> tuple[Any, Any, Any]:
    """(rows, columns) in whole numbers of 0 to 15; of each group the one that stands for zero, and the step."""
    rows, columns = weight.shape
    grouped = weight.view(rows, -1, GROUP)
    low, high = grouped.amin(-1).clamp_max(0), grouped.amax(-1).clamp_min(0)
    step = ((high - low) / 15).clamp_min(1e-8)
    zero = (-low / step).round().clamp(0, 15)
    whole = (grouped / step[..., None] + zero[..., None]).round().clamp(0, 15)
    return whole.view(rows, columns), zero, step


def _awq_words(whole: Any) -> Any:
    import torch

    rows, columns = whole.shape
    grouped = whole.to(torch.int64).view(rows, columns // 8, 8)[..., list(AWQ_ORDER)]
    words = (grouped << (torch.arange(8) * 4)).sum(-1)
    return torch.where(words >= 2**31, words - 2**32, words).to(torch.int32).contiguous()


def run(asked: list[dict[str, Any]], folder: Path, dtype: str, quantization: str) -> dict[str, Any]:
    """Scores and seconds of one engine."""
    settings = LlmSettings(quantization=quantization, eager=True, kv_cache_gb=1, max_model_len=4096, timeout_s=600)
    started = time.perf_counter()
    weights = Weights(name="measured", kind="llm", path=folder, source="path")
    llm = VLLMEngine(weights, settings=settings, dtype=dtype)  # type: ignore[arg-type]
    ready = time.perf_counter() - started
    requests = [
        Likelihood(prefix=one["prefix"], context=one["context"], continuations=tuple(one["continuations"])) for one in asked
    ]
    try:
        asyncio.run(llm.score(requests[:1]))  # warm
        started, busy = time.perf_counter(), _busy()
        scores = asyncio.run(llm.score(requests[1:]))
        seconds, busy = time.perf_counter() - started, _busy() - busy
    finally:
        llm.close()
    computed = sum(one.prompt_tokens for one in scores)
    return {
        "ready_s": ready,
        "users_per_s": len(scores) / seconds,
        "tokens_per_s": computed / seconds,
        "tokens_per_processor_s": computed / busy,
        "logp": [(one.logp / one.tokens).tolist() for one in scores],
    }


def _busy() -> float:
    """Processor seconds of vLLM's processes so far: a measure of cost that other load on the machine disturbs less."""
    return sum(sum(child.cpu_times()[:2]) for child in psutil.Process().children(recursive=True))


def _prepared(variant: str, weights: Path, scratch: Path, warm: dict[str, Any]) -> tuple[Path, str, str]:
    """(checkpoint, precision, vLLM's name of a quantisation). `warm`: a request that is not measured."""
    if variant in ("float32", "bfloat16"):
        return weights, variant, ""
    if variant == "awq":
        awq(weights, scratch, warm["prefix"] + warm["context"] + "".join(warm["continuations"]))
    elif variant.startswith("w"):
        bits, whole = int(variant[1]), variant == "w8a8"
        rounded(weights, scratch, bits, whole)
        if not whole:
            pack(scratch, bits)
    else:
        return weights, "bfloat16", variant
    return scratch, "bfloat16", ""


def measure(asked: Path, weights: Path, variants: list[str], people: int, out: Path) -> None:
    """Every variant beside the first one, in the same engine; written after each."""
    told = json.loads(asked.read_text(encoding="utf-8"))
    rows = told["requests"][: people + 1]
    exact: list[list[float]] = []
    result: dict[str, Any] = {"provenance": told["provenance"], "reference": variants[0], "people": len(rows) - 1}
    result |= {"candidates": 50, "variants": {}}
    for variant in variants:
        with tempfile.TemporaryDirectory() as scratch:
            found: dict[str, Any]
            folder, dtype, quantization = _prepared(variant, weights, Path(scratch) / "weights", rows[0])
            try:
                found = run(rows, folder, dtype, quantization)
            except EngineError as error:  # a variant that this machine cannot run is a finding
                found = {"refused": str(error)}
        logp = found.pop("logp", [])
        exact = exact or logp
        result["variants"][variant] = found | (_beside(logp, exact) if logp else {})
        print(variant, result["variants"][variant], flush=True)
        out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _beside(logp: list[list[float]], exact: list[list[float]]) -> dict[str, float]:
    pairs = list(zip(map(np.asarray, logp), map(np.asarray, exact), strict=True))
    ranks = [(np.argsort(np.argsort(a)), np.argsort(np.argsort(b))) for a, b in pairs]
    return {
        "delta_per_token": float(np.mean([np.abs(a - b).mean() for a, b in pairs])),
        "top1": float(np.mean([np.argmax(a) == np.argmax(b) for a, b in pairs])),
        "spearman": float(np.mean([np.corrcoef(a, b)[0, 1] for a, b in ranks])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(dest="step", required=True)
    first = steps.add_parser("ask")
    first.add_argument("--workspace", type=Path, default=Path("genrec-demo"))
    first.add_argument("--users", type=int, default=41)
    first.add_argument("--to", type=Path, required=True)
    second = steps.add_parser("measure")
    second.add_argument("asked", type=Path)
    second.add_argument("--weights", type=Path, required=True)
    second.add_argument("--people", type=int, default=40)
    second.add_argument("--variants", nargs="+", default=list(VARIANTS))
    second.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    if given.step == "ask":
        ask(given.workspace, given.users, given.to)
        return
    measure(given.asked, given.weights, given.variants, given.people, given.out)


if __name__ == "__main__":
    main()
