"""Do the engines say the same? The same likelihood lists by transformers and by a vLLM server, and by adapters merged and not."""

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from eval.serving.sampled_lists import Asked, first_places
from eval.serving.server_bench import Bench, Running
from genrec.llm.protocol import LLM, ScoreRequest, Scores
from genrec.llm.transformers_engine import TransformersLLM
from genrec.models.sources import Weights

Dtype = Literal["bfloat16", "float32"]
DTYPES: tuple[Dtype, ...] = ("bfloat16", "float32")
BARS = {"mean_delta_per_token": 0.05, "top1_agreement": 0.98}


def run(bench: Bench, running: Running, made: dict[str, Any]) -> None:
    """Into `made`: for the base and for each adapter the server beside transformers, and merged beside unmerged weights.

    bf16 beside float32 within transformers is what rounding alone does: the scale that the other differences are to be seen on.
    """
    weight = bench.workspace.settings.rank.weight
    names = ("", *bench.adapters)
    requests = {name: _requests(bench, running, name) for name in names}
    served = {name: _score(running.llm, requests[name]) for name in names}
    local: dict[Dtype, dict[str, list[Scores]]] = {}
    for dtype in DTYPES:
        with _transformers(bench.weights, bench.adapters, dtype) as llm:
            local[dtype] = {name: _score(llm, requests[name]) for name in names}
    for name in names:
        found = {
            "vLLM beside transformers, both bfloat16": (served[name], local["bfloat16"][name]),
            "vLLM in bfloat16 beside transformers in float32": (served[name], local["float32"][name]),
            "transformers, bfloat16 beside float32": (local["bfloat16"][name], local["float32"][name]),
        }
        if name:
            for dtype in DTYPES:
                with tempfile.TemporaryDirectory() as folder:
                    _merge(bench.weights.path, bench.adapters[name], dtype, Path(folder))
                    merged = Weights(name=f"{name}-merged", kind="llm", path=Path(folder), source="path")
                    with _transformers(merged, {}, dtype) as llm:
                        scores = _score(llm, requests[""])
                found[f"merged beside unmerged, {dtype}"] = (scores, local[dtype][name])
        made[name or "base"] = {what: _beside(one, other, bench.asked, weight) for what, (one, other) in found.items()}
        print(name or "base", made[name or "base"], flush=True)
    made["titles"] = int(sum(len(one.logp) for one in served[""]))
    made["bars"] = BARS


def _beside(one: Sequence[Scores], other: Sequence[Scores], asked: Asked, weight: float) -> dict[str, float]:
    """Differences in nats, and whether the same candidate wins: by the score per token, fused, and by the sum."""
    titles = np.concatenate([np.abs(np.subtract(a.logp, b.logp, dtype=np.float64)) for a, b in zip(one, other, strict=True)])
    tokens = np.concatenate([a.tokens for a in one])
    per_token = [[s.logp.astype(np.float64) / s.tokens for s in scores] for scores in (one, other)]
    sums = [[s.logp.astype(np.float64) for s in scores] for scores in (one, other)]

    def agreement(pair: Sequence[Sequence[np.ndarray]], share: float) -> float:
        winners = [first_places(asked, scores, share) for scores in pair]
        return float(np.mean([a == b for a, b in zip(*winners, strict=True)]))

    return {
        "mean_delta_per_token": float((titles / tokens).mean()),
        "largest_delta_per_token": float((titles / tokens).max()),
        "mean_delta_per_title": float(titles.mean()),
        "largest_delta_per_title": float(titles.max()),
        "top1_agreement": agreement(per_token, 1.0),
        "top1_agreement_fused": agreement(per_token, weight),
        "top1_agreement_by_sum": agreement(sums, 1.0),
    }


def _requests(bench: Bench, running: Running, adapter: str) -> list[ScoreRequest]:
    prompter = bench.ranker(running.llm).prompter
    return [prompter.request("likelihood", one.profile, one.candidates, adapter) for one in bench.asked.requests]


def _score(llm: LLM, requests: Sequence[ScoreRequest]) -> list[Scores]:
    async def score() -> list[Scores]:
        return await llm.score(requests)

    return asyncio.run(score())


@contextmanager
def _transformers(weights: Weights, adapters: dict[str, Path], dtype: Dtype) -> Iterator[TransformersLLM]:
    llm = TransformersLLM(weights, adapters, dtype=dtype)
    try:
        yield llm
    finally:
        llm.close()


def _merge(base: Path, adapter: Path, dtype: Dtype, to: Path) -> None:
    """Save the base with the adapter's matrices added to its own, added in `dtype`."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(str(base), dtype=getattr(torch, dtype), local_files_only=True)
    tuned = PeftModel.from_pretrained(model, str(adapter), autocast_adapter_dtype=False)
    tuned.merge_and_unload().save_pretrained(str(to))
    AutoTokenizer.from_pretrained(str(base), local_files_only=True).save_pretrained(str(to))
