"""What quantised weights cost and gain in vLLM on this machine: log-probabilities, rankings and speed beside bf16.

The requests are made where genrec is installed, the engines run where vLLM is (`make venv-vllm`):

    .venv/bin/python eval/quantised.py ask --workspace genrec-demo --to asked.json
    PYTHONPATH=. .venv-vllm/bin/python eval/quantised.py measure asked.json --weights FOLDER
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

from genrec.errors import EngineError
from genrec.models.llm import Likelihood
from genrec.models.sources import Weights
from genrec.models.vllm_engine import VLLMEngine
from genrec.settings import LlmSettings

VARIANTS = ("float32", "bfloat16", "w8a8", "w8a16", "w4a16", "fp8_per_channel", "int8_per_channel_weight_only")
"""bf16 and float32 as they are; w…: checkpoints rounded here (compressed-tensors); the rest: rounded by vLLM while it loads."""

OUT = Path(__file__).parent / "results" / "quantised.json"


def ask(workspace: Path, users: int, to: Path) -> None:
    """Write the ranker's likelihood requests for the first people of a workspace."""
    from methods import requests
    from record import provenance

    asked = [one for one in requests(workspace, users, 50, "likelihood") if isinstance(one, Likelihood)]
    rows = [{"prefix": one.prefix, "context": one.context, "continuations": one.continuations} for one in asked]
    to.write_text(json.dumps({"provenance": provenance(), "requests": rows}, ensure_ascii=False), encoding="utf-8")


def rounded(folder: Path, to: Path, bits: int, activations: bool) -> None:
    """A copy of a checkpoint whose linear layers hold whole numbers, one scale per row (int8) or per 32 columns (int4).

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
    group |= {"strategy": "channel"} if bits == 8 else {"strategy": "group", "group_size": 32}
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
    grouped = weight.float().view(rows, -1, columns if bits == 8 else 32)
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


def measure(asked: Path, weights: Path, variants: list[str]) -> dict[str, Any]:
    """Every variant beside float32 weights of the same engine."""
    told = json.loads(asked.read_text(encoding="utf-8"))
    rows = told["requests"]
    found: dict[str, Any] = {}
    for variant in variants:
        with tempfile.TemporaryDirectory() as scratch:
            folder, dtype, quantization = weights, "bfloat16", ""
            if variant in ("float32", "bfloat16"):
                dtype = variant
            elif variant.startswith("w"):
                folder, bits = Path(scratch) / "weights", int(variant[1])
                rounded(weights, folder, bits, variant.endswith("a8"))
                if not variant.endswith("a8"):
                    pack(folder, bits)
            else:
                quantization = variant
            try:
                found[variant] = run(rows, folder, dtype, quantization)
            except EngineError as error:  # a variant that this machine cannot run is a finding
                found[variant] = {"refused": str(error)}
        print(variant, {key: value for key, value in found[variant].items() if key != "logp"}, flush=True)
    exact = found[variants[0]].get("logp", [])
    for one in found.values():
        pairs = list(zip(map(np.asarray, one.pop("logp", [])), exact, strict=False))
        if pairs:
            one["delta_per_token"] = float(np.mean([np.abs(a - b).mean() for a, b in pairs]))
            one["top1"] = float(np.mean([np.argmax(a) == np.argmax(b) for a, b in pairs]))
            ranks = [(np.argsort(np.argsort(a)), np.argsort(np.argsort(b))) for a, b in pairs]
            one["spearman"] = float(np.mean([np.corrcoef(a, b)[0, 1] for a, b in ranks]))
    return {
        "provenance": told["provenance"],
        "reference": variants[0],
        "people": len(rows) - 1,
        "candidates": 50,
        "variants": found,
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
    second.add_argument("--variants", nargs="+", default=list(VARIANTS))
    second.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    if given.step == "ask":
        ask(given.workspace, given.users, given.to)
        return
    found = measure(given.asked, given.weights, given.variants)
    given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
