"""Each scoring method against its plain computation: the same numbers, and how much faster.

Real profiles of MovieLens-100K people and the retriever's candidates, from a built workspace (`genrec demo`).

    python -m eval.ranking.scoring_methods --workspace genrec-demo
"""

import argparse
import asyncio
import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from eval.provenance import provenance
from eval.ranking.plain_scoring import Plain
from genrec.llm.protocol import ScoreRequest
from genrec.llm.transformers_engine import TransformersLLM
from genrec.models.sources import resolve
from genrec.ranking.prompter import Method, Profile
from genrec.ranking.ranker import Ranker
from genrec.recommender import Recommender
from genrec.retrieval.retriever import CandidateRequest, Retriever

METHODS: tuple[Method, ...] = ("likelihood", "labels", "markers")


def requests(workspace: Path, users: int, candidates: int, method: Method) -> list[ScoreRequest]:
    """What the ranker asks the engine for the first people."""
    with Recommender.open(workspace, settings={"models": {"llm": "fake"}}) as genrec:
        store, settings = genrec.workspace.store, genrec.workspace.settings
        retriever = Retriever(genrec.workspace.index, genrec._asynchronous._pipeline._catalogue, settings.retrieval)
        ids = store.user_ids()[:users]
        histories = store.histories(ids)
        found = retriever.candidates([CandidateRequest(history=histories[user]) for user in ids], candidates)
        items = {item.item_id: item for batch in store.all_items() for item in batch}
        prompter = Ranker(genrec.workspace.llm(None), genrec.workspace.prompts, settings.rank).prompter  # type: ignore[arg-type]
        return [
            prompter.request(
                method,
                Profile(history=tuple(items[event.item_id] for event in histories[user])),
                [items[candidate.item_id] for candidate in row],
            )
            for user, row in zip(ids, found, strict=True)
        ]


def compare(workspace: Path, users: int, dtype: str) -> dict[str, dict[str, float]]:
    """By method: differences of the sums and of the means per token, and seconds of both."""
    llm = TransformersLLM(resolve("HuggingFaceTB/SmolLM2-135M-Instruct", "llm"), dtype=dtype)  # type: ignore[arg-type]
    plain = Plain(llm._forward.model, llm._tokenizer)
    out = {}
    for method in METHODS:
        asked = requests(workspace, users, 50, method)
        asyncio.run(llm.score([asked[0]]))  # warm
        sums, tokens, ours, theirs, spread = [], [], [], [], []
        for request in asked:
            llm._forward.cache = type(llm._forward.cache)()  # nothing left of an earlier request
            start = time.perf_counter()
            scores = asyncio.run(llm.score([request]))[0]
            ours.append(time.perf_counter() - start)
            start = time.perf_counter()
            reference = plain.score(request)
            theirs.append(time.perf_counter() - start)
            difference = np.abs(scores.logp - reference)
            sums += (difference / np.maximum(1.0, np.abs(reference))).tolist()
            tokens += (difference / scores.tokens).tolist()
            spread.append(float(np.corrcoef(scores.logp, reference)[0, 1]))
        out[method] = {
            "largest_relative_difference": float(f"{max(sums):.3g}"),
            "largest_difference_per_token_nats": float(f"{max(tokens):.3g}"),
            "mean_difference_per_token_nats": float(f"{np.mean(tokens):.3g}"),
            "correlation": round(min(spread), 6),
            "seconds": round(statistics.median(ours), 4),
            "seconds_plain": round(statistics.median(theirs), 4),
            "times_faster": round(statistics.median(b / a for a, b in zip(ours, theirs, strict=True)), 2),
        }
        print(dtype, method, json.dumps(out[method]), flush=True)
    llm.close()
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, default=Path("genrec-demo"))
    parser.add_argument("--users", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path("eval/results/methods.json"))
    arguments = parser.parse_args()
    torch.manual_seed(0)
    result = {**provenance(seed=0), "users": arguments.users, "candidates": 50}
    for dtype in ("bfloat16", "float32"):
        result[dtype] = compare(arguments.workspace, arguments.users, dtype)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
