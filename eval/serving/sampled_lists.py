"""What the serving benchmarks ask for: drawn people of a workspace with their candidates, and what ranking them is worth."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.provenance import provenance
from genrec.evaluation.splits import leave_one_out
from genrec.llm.adapters import CARD
from genrec.progress import SILENT
from genrec.ranking.fusion_weights import TOP, Choice, Measured, fit, gains
from genrec.ranking.ranker import RankRequest
from genrec.ranking.score_fusion import fuse
from genrec.retrieval.zero_shot import ZeroShot
from genrec.training.candidate_lists import candidates, profile_of
from genrec.workspace.folder import Workspace
from genrec.workspace.load import load_content


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """P lists by the zero-shot retriever under leave-one-out. `places`: of what was chosen in each list, -1 where it is not."""

    requests: list[RankRequest]
    places: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.requests)

    def first(self, n: int) -> "Asked":
        return Asked(requests=self.requests[:n], places=self.places[:n])


def draw(workspace: Workspace, people: int, k: int, seed: int) -> Asked:
    """The lists of `people` persons drawn with `seed`, of `k` candidates each; nothing of the targets is in the retriever."""
    sequences, content = load_content(workspace)
    split = leave_one_out(sequences).sampled(people, seed)
    system = ZeroShot(workspace.settings.retrieval)
    system.fit(split.train, content, SILENT)
    targets = np.array([int(one[0]) for one in split.targets], np.int64)
    lists = candidates(system, split.histories, targets, k)
    requests = []
    for row in range(len(lists)):
        there = lists.items[row] >= 0
        requests.append(
            RankRequest(
                profile=profile_of(lists.histories, row, content.items),
                candidates=tuple(content.items[n] for n in lists.items[row][there]),
                scores=tuple(lists.scores[row][there].tolist()),
            )
        )
    return Asked(requests=requests, places=lists.places)


def quality(asked: Asked, scores: Sequence[NDArray[np.float64]]) -> dict[str, Any]:
    """NDCG@10 and recall@10 by the LLM's `scores` alone, fused with the retriever, and of the retriever alone.

    The weight of the fusion is cross-fitted: each half of the lists is ranked with the weight that was best on the other half.
    """
    measured = [
        Measured(
            logp=np.asarray(one, np.float64),
            tokens=np.ones(len(one), np.int64),
            prior=np.zeros(len(one)),
            scores=np.asarray(request.scores, np.float64),
            target=place,
        )
        for one, request, place in zip(scores, asked.requests, asked.places.tolist(), strict=True)
    ]
    alone, retriever = gains(measured, Choice(weight=1.0)), gains(measured, Choice(weight=0.0))
    fitted = fit(measured, likelihood=False)
    gain, low, high = fitted.gain()
    return {
        "llm_alone": {f"ndcg@{TOP}": float(alone.mean()), f"recall@{TOP}": float((alone > 0).mean())},
        "fused": {
            f"ndcg@{TOP}": float(fitted.fused.mean()),
            f"recall@{TOP}": float((fitted.fused > 0).mean()),
            "weight": fitted.choice.weight,
            "gain_over_retriever": [gain, low, high],
        },
        "retriever": {f"ndcg@{TOP}": float(retriever.mean()), f"recall@{TOP}": float((retriever > 0).mean())},
    }


def first_places(asked: Asked, scores: Sequence[NDArray[np.float64]], weight: float) -> list[int]:
    """The winner of each list, fused with the retriever by `weight` (1: by `scores` alone)."""
    return [
        int(fuse(one, np.asarray(request.scores), weight).argmax()) for one, request in zip(scores, asked.requests, strict=True)
    ]


def task_of(adapter: Path) -> str:
    """`rerank` or `write`, as its card says; an adapter without a card is taken for one that ranks."""
    card = adapter / CARD
    return str(json.loads(card.read_text(encoding="utf-8"))["task"]) if card.exists() else "rerank"


@contextmanager
def part(out: Path, name: str, key: str, about: dict[str, Any], seed: int) -> Iterator[dict[str, Any]]:
    """Collects the figures of one part and puts them into `out` at `name` → `key`, with how busy the machine was."""
    before = os.getloadavg()[0]
    made: dict[str, Any] = {}
    yield made
    load = {"load_1min_before": round(before, 2), "load_1min_after": round(os.getloadavg()[0], 2)}
    entry = rounded({**provenance(seed=seed), "load": load, **about, **made})
    results = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    results.setdefault(name, {})[key] = entry
    out.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps({key: made}, indent=1, ensure_ascii=False, default=str), flush=True)


def rounded(value: Any) -> Any:
    """Floats to 5 significant digits, everywhere below."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(one) for one in value]
    return float(f"{value:.5g}") if isinstance(value, float | np.floating) else value


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and range."""
    return {"median": float(np.median(values)), "lowest": float(min(values)), "highest": float(max(values))}
