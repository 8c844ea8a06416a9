"""What does the LLM ranker add to the training-free retriever, by method, weight, prior and length normalisation?

Leave-one-out on MovieLens-100K: the event before the last is the target on which defaults are chosen (validation), the last one
the target they are reported on (test). Candidates: the retriever's top 50, history excluded.

    python -m eval.ranking.base_model --users 943 --out eval/results/ranking.json
"""

import argparse
import asyncio
import itertools
import json
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from eval.provenance import provenance
from genrec.data.datasets import load
from genrec.llm.protocol import LLM
from genrec.metrics import gain
from genrec.prompts import Prompts
from genrec.ranking.prompter import Profile
from genrec.ranking.ranker import Ranker, RankRequest
from genrec.ranking.score_fusion import fuse
from genrec.retrieval.retriever import CandidateRequest, Retriever
from genrec.settings.sections import RankSettings
from genrec.workspace.build import build
from genrec.workspace.folder import Workspace
from genrec.workspace.ingest import ingest
from genrec.workspace.load import load_catalogue

K = 50


def split(events: pl.DataFrame, back: int) -> tuple[pl.DataFrame, dict[str, str]]:
    """Events before each person's `back`-th last one, and the item of that one."""
    ordered = events.sort("user_id", "timestamp", maintain_order=True).with_columns(
        (pl.len().over("user_id") - pl.int_range(pl.len()).over("user_id")).alias("from_end")
    )
    target = ordered.filter(pl.col("from_end") == back)
    kept = ordered.filter(pl.col("from_end") > back).drop("from_end")
    return kept, dict(zip(target["user_id"].cast(str), target["item_id"].cast(str), strict=True))


async def score(llm: LLM, folder: Path, back: int, users: int, seed: int) -> dict:
    """Retriever's scores and, by method, the LLM's raw scores for the candidates of `users` people."""
    data = load("movielens-100k")
    kept, targets = split(pl.read_parquet(data.events), back)
    events = folder / f"events-{back}.parquet"
    kept.write_parquet(events)
    with Workspace.create(folder / f"w{back}") as workspace:
        ingest(workspace, items=[data.items], events=[events])
        build(workspace)
        catalogue = load_catalogue(workspace)
        retriever = Retriever(workspace.index, catalogue, workspace.settings.retrieval)
        chosen = sorted(np.random.default_rng(seed).choice(sorted(targets), min(users, len(targets)), replace=False).tolist())
        histories = workspace.store.histories(chosen)
        found = retriever.candidates([CandidateRequest(history=histories[user]) for user in chosen], K)
        items = {item.item_id: item for batch in workspace.store.all_items() for item in batch}
    requests = [
        RankRequest(
            profile=Profile(history=tuple(items[e.item_id] for e in histories[user])),
            candidates=tuple(items[c.item_id] for c in candidates),
            scores=tuple(c.score for c in candidates),
        )
        for user, candidates in zip(chosen, found, strict=True)
    ]
    place = [
        next((n for n, c in enumerate(candidates) if c.item_id == targets[user]), K)
        for user, candidates in zip(chosen, found, strict=True)
    ]
    out = {"place": place, "retriever": [list(r.scores) for r in requests], "llm": {}}
    raw = Ranker(llm, Prompts(), RankSettings(prior=0.0, per_token=False))
    sums = [ranking.llm for ranking in await raw.rank(requests)]
    only_prior = Ranker(llm, Prompts(), RankSettings(prior=1.0, per_token=False))
    bare = [Profile()] * len(requests)
    priors = await only_prior._prior_of([(p, r.candidates) for p, r in zip(bare, requests, strict=True)], "likelihood")
    titles = [[raw.prompter.title(item) for item in r.candidates] for r in requests]
    for prior, per_token in itertools.product([0.0, 0.5, 1.0], [True, False]):
        scores = []
        for values, names in zip(sums, titles, strict=True):
            score = values - prior * np.array([priors[name] for name in names])
            tokens = np.array([llm.count_tokens(f" {name}\n") for name in names])
            scores.append((score / tokens if per_token else score).tolist())
        out["llm"][f"likelihood prior={prior} {'per token' if per_token else 'sum'}"] = scores
    for method in ("labels", "markers"):
        ranker = Ranker(llm, Prompts(), RankSettings(method=method))
        out["llm"][method] = [ranking.llm.tolist() for ranking in await ranker.rank(requests)]
    return out


def table(scored: dict, weights: list[float]) -> dict[str, dict[str, float]]:
    """NDCG@10 of the fused list by method and weight."""
    rows = {}
    for name, scores in scored["llm"].items():
        row = {}
        for weight in weights:
            ranks = []
            for place, retriever, llm in zip(scored["place"], scored["retriever"], scores, strict=True):
                fused = fuse(np.asarray(llm), np.asarray(retriever), weight)
                ranks.append(K if place == K else int((np.lexsort((np.arange(len(fused)), -fused)) == place).argmax()))
            row[f"{weight:g}"] = round(float(gain(ranks).mean()), 5)
        rows[name] = row
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=943)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("eval/results/ranking.json"))
    arguments = parser.parse_args()
    weights = [0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0]
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace.create(Path(folder) / "models")
        from genrec.progress import SILENT

        llm = workspace.llm(SILENT)
        result = {**provenance(seed=arguments.seed), "users": arguments.users, "candidates": K, "llm": llm.id}
        for name, back in (("validation", 2), ("test", 1)):
            scored = asyncio.run(score(llm, Path(folder), back, arguments.users, arguments.seed))
            result[name] = {
                "retriever_recall_at_50": round(float((np.asarray(scored["place"]) < K).mean()), 4),
                "ndcg_at_10_by_method_and_weight": table(scored, weights),
            }
            print(json.dumps(result[name], indent=1))
        llm.close()
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
