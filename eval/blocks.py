"""Does a history that fills whole blocks of a prefix cache rank as well as the plain last items?

    python eval/blocks.py --workspace W --name movies --adapter FOLDER [--people 325] [--cache DIR] [--scores FILE.jsonl]

Validation events (each person's last but one), lists of 50 by the learned retriever (eval/rerank.py's, kept in `--cache`), people
drawn with seed 0. Lists whose target was handed over are scored twice by the engine `transformers`: with the last 32 titles, and
with the titles of `genrec/ranking/prompter.py` for blocks of 32 tokens. Beside NDCG@10 of both over these lists stands the paired
difference with its 95% interval, for the LLM alone and fused by several weights. `--scores` keeps what was scored, to go on from.
Figures go to eval/results/blocks.json.
"""

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from record import provenance
from rerank import HANDED, HISTORY, LLM, TITLE_CHARS, found

from genrec.evaluation.splits import leave_one_out
from genrec.llm.transformers_engine import TransformersLLM
from genrec.models.sources import resolve
from genrec.prompts import Prompts
from genrec.ranking.prompter import Prompter
from genrec.ranking.score_fusion import fuse
from genrec.training.candidate_lists import profile_of
from genrec.workspace.folder import Workspace
from genrec.workspace.load import load_content

RESULTS = Path(__file__).parent / "results" / "blocks.json"
BLOCK = 32
WEIGHTS = (0.2, 0.3, 0.5, 1.0)
RESAMPLES = 4_000
WAYS = ("plain", "fit")

Row = dict[str, Any]


def scored(given: argparse.Namespace, file: Path) -> list[Row]:
    """A row for each list that has its target; `seen`: people looked at so far."""
    rows: list[Row] = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    known = rows[-1]["seen"] if rows else 0
    with Workspace.open(given.workspace) as workspace:
        events, content = load_content(workspace)
    split = leave_one_out(events, held_out=2)
    lists = found(split, content, given.cache / f"{given.name}-2-0.npz")
    order = np.random.default_rng(0).permutation(len(split.targets))[: given.people].tolist()
    if known >= len(order):
        return [row for row in rows if row["seen"] <= given.people]
    adapter = given.adapter.name
    llm = TransformersLLM(resolve(LLM, "llm"), {adapter: given.adapter}, dtype="bfloat16")
    prompter = Prompter(Prompts(), history=HISTORY, title_chars=TITLE_CHARS)
    with file.open("a") as out:
        for seen, row in enumerate(order[known:], known + 1):
            handed = lists["learned_items"][row][:HANDED]
            place = np.flatnonzero(handed == lists["targets"][row])
            if not len(place):
                continue
            profile = profile_of(split.histories, row, content.items)
            shown = [prompter.shown(profile, llm.count_tokens, block) for block in (1, BLOCK)]
            one: Row = {"row": row, "seen": seen, "same": shown[0] == shown[1]}
            if not one["same"]:
                candidates = [content.items[item] for item in handed]
                asked = [prompter.request("likelihood", profile, candidates, adapter, past) for past in shown]
                answers = asyncio.run(llm.score(asked))
                one |= {way: answer.logp.tolist() for way, answer in zip(WAYS, answers, strict=True)}
                one |= {"n": answers[0].tokens.tolist(), "scores": lists["learned_scores"][row][:HANDED].tolist()}
                one |= {"items": [len(past) for past in shown], "place": int(place[0])}
                one["tokens"] = [llm.count_tokens(told.prefix) + llm.count_tokens(told.context) for told in asked]
            rows.append(one)
            print(json.dumps(one), file=out, flush=True)
    llm.close()
    return rows


def ndcg(score: NDArray[np.float64], place: int) -> float:
    rank = int((score > score[place]).sum() + (score == score[place]).sum()) - 1
    return float(1 / np.log2(rank + 2)) if rank < 10 else 0.0


def beside(rows: list[Row], weight: float, per_token: bool) -> Row:
    """NDCG@10 over the changed lists, and the paired difference."""
    made = np.zeros((len(rows), 2))
    for number, row in enumerate(rows):
        for column, way in enumerate(WAYS):
            logp = np.asarray(row[way], np.float64) / (np.asarray(row["n"]) if per_token else 1.0)
            score = logp if weight == 1.0 else fuse(logp, np.asarray(row["scores"]), weight)
            made[number, column] = ndcg(score, row["place"])
    gain = made[:, 1] - made[:, 0]
    drawn = np.random.default_rng(0).integers(0, len(gain), (RESAMPLES, len(gain)))
    low, high = np.percentile(gain[drawn].mean(axis=1), [2.5, 97.5])
    plain, fit = made.mean(axis=0)
    return {"last 32": plain, "whole blocks": fit, "difference": [float(gain.mean()), float(low), float(high)]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--adapter", type=Path, required=True)
    parser.add_argument("--people", type=int, default=325)
    parser.add_argument("--cache", type=Path, default=Path("build/candidates"))
    parser.add_argument("--scores", type=Path, default=Path("build/blocks.jsonl"))
    given = parser.parse_args()
    given.scores.parent.mkdir(parents=True, exist_ok=True)
    rows = scored(given, given.scores)
    changed = [row for row in rows if not row["same"]]
    tokens = np.array([row["tokens"] for row in changed])
    apart = [np.abs(np.subtract(row["plain"], row["fit"])) / row["n"] for row in changed]
    made = {
        "people": given.people,
        "lists with their target": len(rows),
        "of these changed": len(changed),
        "of these whole blocks": int((tokens[:, 1] % BLOCK == 0).sum()),
        "tokens shared": dict(zip(("last 32", "whole blocks"), tokens.mean(axis=0).tolist(), strict=True)),
        "mean_delta_per_token": float(np.concatenate(apart).mean()),
        "ndcg@10 of the changed": {
            form: {f"weight {weight}": beside(changed, weight, form == "per token") for weight in WEIGHTS}
            for form in ("sum", "per token")
        },
    }
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    known[given.name] = {**provenance(seed=0), "adapter": given.adapter.name, "block": BLOCK, **made}
    RESULTS.write_text(json.dumps(known, indent=1) + "\n")
    print(json.dumps(made, indent=1))


if __name__ == "__main__":
    main()
