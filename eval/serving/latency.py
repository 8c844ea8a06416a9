"""How long an explained top-10 takes, and how much of the bare engine's scoring rate a batch of everybody keeps.

    python -m eval.serving.latency --workspace genrec-demo

interactive   one person at a time, 50 candidates: seconds until the list, until all reasons
batch         everybody at once, top 10 of 20 candidates, against the same packed prompts through the model alone
startup       `import genrec` and `genrec --help`
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from eval.provenance import provenance
from genrec.llm.forward import Forward
from genrec.llm.packing import Row, batches
from genrec.llm.transformers_engine import TransformersLLM
from genrec.recommender import Recommender


def median(values: list[float]) -> float:
    return round(statistics.median(values), 3)


def interactive(workspace: Path, users: int) -> dict[str, Any]:
    """Medians over people; the engine is warm, every person is new to it."""
    out: dict[str, Any] = {"users": users}
    with Recommender.open(workspace) as genrec:
        ids = genrec.workspace.store.user_ids()
        chosen = np.random.default_rng(0).choice(ids, 2 * users + 1, replace=False).tolist()
        genrec.recommend(chosen[0])
        plans: dict[Literal["llm", "template"], list[str]] = {"llm": chosen[1 : users + 1], "template": chosen[users + 1 :]}
        for explain, people in plans.items():
            first, whole, sources = [], [], []
            for user in people:
                seconds, reasons = _stream(genrec, user, explain)
                first.append(seconds[0])
                whole.append(seconds[1])
                sources += reasons
            out[explain] = {
                "seconds_to_list": median(first),
                "seconds_to_all_reasons": median(whole),
                "slowest": round(max(whole), 3),
                "share_written_by_llm": round(sources.count("llm") / len(sources), 3),
            }
    return out


def _stream(genrec: Recommender, user: str, explain: Literal["llm", "template"]) -> tuple[tuple[float, float], list[str]]:
    start, listed, sources = time.perf_counter(), 0.0, []
    for row in genrec.recommend_stream(user, 10, explain=explain):
        if not row.reason.text:
            listed = time.perf_counter() - start
        else:
            sources.append(row.reason.source)
    return (listed, time.perf_counter() - start), sources


def batch(workspace: Path, users: int) -> dict[str, Any]:
    """Everybody in one call, then the very rows that the engine was given through the model alone."""
    rows: list[Row] = []
    with Recommender.open(workspace, settings={"retrieval": {"candidates": 20}}) as genrec:
        ids = genrec.workspace.store.user_ids()[:users]
        genrec.recommend(ids[0], explain="off")
        llm = genrec._asynchronous._pipeline._models.get("llm")
        assert isinstance(llm, TransformersLLM)
        genrec._asynchronous._pipeline._rankers[None]._priors.clear()
        score = llm._forward.score

        def recording(packed: Any) -> Any:
            rows.extend(packed)
            return score(packed)

        llm._forward.score = recording  # type: ignore[method-assign]
        start = time.perf_counter()
        answer = genrec.recommend_many(ids, 10, explain="off")
        ours = time.perf_counter() - start
        llm._forward.score = score  # type: ignore[method-assign]
        bare = bare_seconds(llm._forward, rows)
        start = time.perf_counter()
        genrec.recommend_many(ids, 10, explain="template")
        with_templates = time.perf_counter() - start
        again = bare_seconds(llm._forward, rows)
        trace = answer[0].trace
    tokens = sum(len(row.tokens) for row in rows)
    return {
        "users": len(ids),
        "rows_of_answer": len(answer),
        "prompt_tokens": tokens,
        "seconds": round(ours, 2),
        "seconds_with_template_reasons": round(with_templates, 2),
        "seconds_bare_engine": [round(bare, 2), round(again, 2)],
        "share_of_bare_rate": round((bare + again) / 2 / ours, 3),
        "prompts_per_second": round(len(ids) / ours, 2),
        "milliseconds_by_stage": {stage.name: stage.milliseconds for stage in trace.stages},
    }


@torch.inference_mode()
def bare_seconds(forward: Forward, rows: list[Row]) -> float:
    """Seconds of the model and its head on the same padded batches, whole prompts; the tensors are made beforehand."""
    prepared = []
    for group in batches([len(row.tokens) for row in rows], forward.batch_tokens):
        chosen = [rows[i] for i in group]
        length = max(len(row.tokens) for row in chosen)
        ids = np.zeros((len(chosen), length), dtype=np.int64)
        positions, branches = np.zeros_like(ids), np.full_like(ids, -1)
        for b, row in enumerate(chosen):
            n = len(row.tokens)
            ids[b, :n], positions[b, :n], branches[b, :n] = row.tokens, row.positions, row.branches
        same = branches[:, :, None] == branches[:, None, :]
        mask = np.tril(np.ones((length, length), dtype=bool)) & (same | (branches[:, None, :] == 0))
        reads = np.concatenate([np.unique(row.read_at) + b * length for b, row in enumerate(chosen)])
        prepared.append([torch.from_numpy(part) for part in (ids, positions, mask[:, None], reads)])
    start = time.perf_counter()
    for ids, positions, mask, reads in prepared:
        hidden = forward.model.base_model(input_ids=ids, position_ids=positions, attention_mask=mask, use_cache=False)
        states = hidden.last_hidden_state.flatten(0, 1)[reads].float()
        for part in states.split(256):
            (part @ forward.head.T).logsumexp(-1)
    return time.perf_counter() - start


def startup(runs: int = 7) -> dict[str, float]:
    """Medians of whole processes, less the interpreter's own start for the import."""

    def seconds(*command: str) -> float:
        times = []
        for _ in range(runs):
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            times.append(time.perf_counter() - start)
        return median(times)

    genrec = str(Path(sys.executable).with_name("genrec"))
    return {
        "python": seconds(sys.executable, "-c", "pass"),
        "python with import genrec": seconds(sys.executable, "-c", "import genrec, sys; assert 'torch' not in sys.modules"),
        "genrec --help": seconds(genrec, "--help"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, default=Path("genrec-demo"))
    parser.add_argument("--users", type=int, default=943, help="people in the batch")
    parser.add_argument("--people", type=int, default=20, help="people asked for one by one")
    parser.add_argument("--out", type=Path, default=Path("eval/results/bench.json"))
    arguments = parser.parse_args()
    result: dict[str, Any] = provenance(seed=0)
    for name, measure in (
        ("startup", startup),
        ("interactive", lambda: interactive(arguments.workspace, arguments.people)),
        ("batch", lambda: batch(arguments.workspace, arguments.users)),
    ):
        result[name] = measure()
        print(name, json.dumps(result[name], indent=1), flush=True)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
