"""What does an adapter that ranks add to its retriever?

    python -m eval.ranking.adapter --workspace W --name movies --adapter FOLDER [--adapter FOLDER …] [--people 1000] [--cache DIR]
        [--scores DIR]

Leave-one-out with full ranking: the retriever hands over its best 50 of all unseen items, the LLM scores them (log p(title |
history), less b · log p(title)), both are fused. `a`, `b` and the form of the score are fitted on the validation events alone
(each person's last but one); the adapter must not have learned from those or from the last ones (`--held-out 2` of `genrec train
rerank`). The table holds the test events: retriever alone, fused, the paired difference with its 95% interval, and what the LLM
ranks alone. Both retrievers are fitted without the event asked for; lists that lack their target count as zero, unread.
Several adapters are one recipe with several seeds: beside theirs stand the figures of the mean over them, person by person.
`--cache` keeps the candidates that were found, `--scores` what the LLM said of them.
Figures go to eval/results/rerank.json, one entry a data set, adapter and retriever (and one for all adapters together).
"""

import argparse
import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.provenance import RESULTS_FOLDER, provenance
from genrec.evaluation.splits import Split, leave_one_out
from genrec.llm.transformers_engine import TransformersLLM
from genrec.models.sources import resolve
from genrec.progress import SILENT
from genrec.prompts import Prompts
from genrec.ranking.fusion_weights import LACKING, Choice, Measured, fit, gains, measure
from genrec.ranking.prompter import Prompter
from genrec.ranking.ranker import RankRequest
from genrec.retrieval.sequences import Sequences
from genrec.retrieval.systems import Content, System
from genrec.retrieval.zero_shot import ZeroShot
from genrec.settings.sections import RetrievalSettings
from genrec.settings.train_sections import RetrieverTrainSettings
from genrec.training.candidate_lists import profile_of
from genrec.training.learned_system import Learned
from genrec.training.retriever_training import Trainer, held_out
from genrec.workspace.folder import Workspace
from genrec.workspace.load import load_content

RESULTS = RESULTS_FOLDER / "rerank.json"
HANDED = 50
RETRIEVERS = ("zero", "learned")
PARTS = {"validation": 2, "test": 1}
"""Which event from the last is asked for."""
RESAMPLES = 10_000
LLM = "HuggingFaceTB/SmolLM2-135M-Instruct"
HISTORY, TITLE_CHARS = 32, 48


def found(split: Split, content: Content, cache: Path) -> dict[str, NDArray[Any]]:
    """The best 100 unseen items of both retrievers for each case, with scores; kept in `cache`."""
    if cache.exists():
        return dict(np.load(cache))
    systems: dict[str, System] = {
        "zero": ZeroShot(RetrievalSettings()),
        "learned": Learned(Trainer(retrieval=RetrievalSettings(), settings=RetrieverTrainSettings())),
    }
    out: dict[str, NDArray[Any]] = {"targets": np.array([target[0] for target in split.targets])}
    for name, system in systems.items():
        system.fit(split.train, content, SILENT)
        scores = np.array(system.scores(split.histories), np.float32)
        scores[split.histories.users, split.histories.items] = -np.inf
        top = np.argsort(-scores, axis=1, kind="stable")[:, :100]
        out |= {f"{name}_items": top, f"{name}_scores": np.take_along_axis(scores, top, axis=1)}
    cache.parent.mkdir(parents=True, exist_ok=True)
    np.savez(cache, **out)  # pyright: ignore[reportArgumentType]
    return out


def unseen(split: Split, learned: Sequences) -> NDArray[np.bool_]:
    """(U,) cases whose target the training did not see: where people come back, the last new item is not the last event."""
    row = {user_id: number for number, user_id in enumerate(learned.user_ids)}
    pairs = zip(split.histories.user_ids, split.targets, strict=True)
    return np.array([int(target[0]) not in learned.history(row[user_id]) for user_id, target in pairs])


def measured(
    llm: TransformersLLM,
    adapter: str,
    retrievers: Sequence[str],
    histories: Sequences,
    lists: dict[str, NDArray[Any]],
    rows: NDArray[Any],
    content: Content,
    *,
    unique_prefix: bool,
) -> dict[str, list[Measured]]:
    """Each retriever's lists as the LLM scores them; an item that both hand over is scored once."""
    items, targets = content.items, lists["targets"]
    handed = {name: lists[f"{name}_items"][:, :HANDED] for name in retrievers}
    asked: list[tuple[RankRequest, int]] = []
    places: list[tuple[int, int, dict[int, int]]] = []  # row, list, item → place in it
    for row in rows.tolist():
        union = list(dict.fromkeys(item for name in retrievers for item in handed[name][row].tolist()))
        if int(targets[row]) not in union:
            continue
        for start in range(0, len(union), HANDED):
            part = union[start : start + HANDED]
            places.append((row, len(asked), {item: place for place, item in enumerate(part)}))
            request = RankRequest(
                profile=profile_of(histories, row, items),
                candidates=tuple(items[item] for item in part),
                scores=tuple(0.0 for _ in part),
            )
            asked.append((request, 0))
    prompter = Prompter(Prompts(), history=HISTORY, title_chars=TITLE_CHARS, catalogue=items if unique_prefix else ())
    answers = asyncio.run(measure(llm, prompter, "likelihood", asked, SILENT, adapter))
    by_row: dict[int, dict[int, tuple[float, int, float]]] = {}
    for row, number, where in places:
        one = answers[number]
        scored = {item: (one.logp[place], one.tokens[place], one.prior[place]) for item, place in where.items()}
        by_row[row] = by_row.get(row, {}) | scored
    return {
        name: [
            _one(by_row.get(row), handed[name][row], lists[f"{name}_scores"][row][:HANDED], int(targets[row]))
            for row in rows.tolist()
        ]
        for name in retrievers
    }


def _one(scored: dict[int, Any] | None, items: NDArray[Any], scores: NDArray[Any], target: int) -> Measured:
    place = np.flatnonzero(items == target)
    if scored is None or not len(place):
        return LACKING
    logp, tokens, prior = (np.array([scored[item][n] for item in items.tolist()]) for n in range(3))
    return Measured(
        logp=logp, tokens=tokens.astype(np.int64), prior=prior, scores=scores.astype(np.float64), target=int(place[0])
    )


def kept(path: Path, rows: NDArray[Any], made: list[Measured]) -> None:
    """Lists that lack their target are not kept."""
    there = [(row, one) for row, one in zip(rows.tolist(), made, strict=True) if one.target >= 0]
    columns = {name: np.stack([getattr(one, name) for _, one in there]) for name in ("logp", "tokens", "prior", "scores")}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, rows=np.array([row for row, _ in there]), target=np.array([one.target for _, one in there]), **columns)  # pyright: ignore[reportArgumentType]


def read_again(path: Path, rows: NDArray[Any]) -> list[Measured]:
    """What `kept` wrote for the same people."""
    there = np.load(path)
    place = {row: number for number, row in enumerate(there["rows"].tolist())}
    columns = {name: there[name] for name in ("logp", "tokens", "prior", "scores")}
    return [
        Measured(target=int(there["target"][place[row]]), **{name: column[place[row]] for name, column in columns.items()})
        if row in place
        else LACKING
        for row in rows.tolist()
    ]


def through(
    files: dict[str, Path], rows: NDArray[Any], make: Callable[[], dict[str, list[Measured]]]
) -> dict[str, list[Measured]]:
    """What `make` gives, or gave when `files` (retriever → file) were written."""
    if files and all(path.exists() for path in files.values()):
        return {name: read_again(path, rows) for name, path in files.items()}
    made = make()
    for name, path in files.items():
        kept(path, rows, made[name])
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Gains:
    """NDCG@10 of each test person, (n,) each: by the retriever alone, fused, by the LLM alone."""

    retriever: NDArray[np.float64]
    fused: NDArray[np.float64]
    llm: NDArray[np.float64]

    @classmethod
    def mean(cls, several: Sequence["Gains"]) -> "Gains":
        """Person by person."""
        names = ("retriever", "fused", "llm")
        return cls(**{name: np.mean([getattr(one, name) for one in several], axis=0) for name in names})

    def figures(self) -> dict[str, Any]:
        gain = self.fused - self.retriever
        rng = np.random.default_rng(0)
        drawn = [float(gain[rng.integers(len(gain), size=len(gain))].mean()) for _ in range(RESAMPLES)]
        return {
            "retriever": round(float(self.retriever.mean()), 4),
            "fused": round(float(self.fused.mean()), 4),
            "llm alone": round(float(self.llm.mean()), 4),
            "gain": round(float(gain.mean()), 4),
            "gain, 95%": [round(float(value), 4) for value in np.quantile(drawn, [0.025, 0.975])],
            "gain, share": round(float(self.fused.mean() / max(self.retriever.mean(), 1e-9) - 1), 4),
        }


def row_of(validation: list[Measured], test: list[Measured]) -> tuple[dict[str, Any], Gains]:
    """One retriever's figures."""
    chosen = fit(validation, likelihood=True)
    found = Gains(
        retriever=gains(test, Choice(weight=0.0)),
        fused=gains(test, chosen.choice),
        llm=gains(test, Choice(weight=1.0, prior=chosen.choice.prior, per_token=chosen.choice.per_token)),
    )
    row = {
        "people": len(test),
        "ceiling": round(float(np.mean([one.target >= 0 for one in test])), 4),
        "choice": {"weight": chosen.choice.weight, "prior": chosen.choice.prior, "per_token": chosen.choice.per_token}
        | {"spread": round(chosen.choice.spread, 5)},
        "validation": {
            "people": len(validation),
            "retriever": round(float(chosen.alone.mean()), 4),
            "fused, cross-fitted": round(float(chosen.fused.mean()), 4),
            "gain": [round(value, 4) for value in chosen.gain()],
        },
        "ndcg@10": found.figures(),
    }
    return row, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--adapter", type=Path, action="append", help="folder of an adapter; none: the base model")
    parser.add_argument("--retriever", choices=RETRIEVERS, action="append", help="both, where none is named")
    parser.add_argument("--people", type=int, default=1000)
    parser.add_argument("--cache", type=Path, default=Path("build/candidates"))
    parser.add_argument("--scores", type=Path)
    parser.add_argument("--whole", action="store_true", help="whole titles, not their shortest unique prefixes")
    told = parser.parse_args()
    folders = {folder.name: folder for folder in told.adapter or ()}
    retrievers = tuple(told.retriever or RETRIEVERS)
    with Workspace.open(told.workspace) as workspace:
        events, content = load_content(workspace)
    llm = TransformersLLM(resolve(LLM, "llm"), folders)
    learned = held_out(held_out(events)[0])[0]  # what `genrec train rerank --held-out 2` learned from
    asked = []
    for part, latest in PARTS.items():
        split = leave_one_out(events, held_out=latest)
        lists = found(split, content, told.cache / f"{told.name}-{latest}-0.npz")
        rows = np.random.default_rng(0).permutation(len(split.targets))
        asked.append((part, split.histories, lists, np.sort(rows[unseen(split, learned)[rows]][: told.people])))
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    every: dict[str, list[Gains]] = {name: [] for name in retrievers}
    for name in folders or ("",):
        parts = {}
        for part, who, lists, rows in asked:
            stem = f"{told.name}-{name or 'base'}{'-whole' if told.whole else ''}-{part}"
            files = {one: told.scores / f"{stem}-{one}-{len(rows)}.npz" for one in retrievers if told.scores}
            make = partial(measured, llm, name, retrievers, who, lists, rows, content, unique_prefix=not told.whole)
            parts[part] = through(files, rows, make)
        made = {one: row_of(parts["validation"][one], parts["test"][one]) for one in retrievers}
        figures = {one: row for one, (row, _) in made.items()}
        for one, (_, gain) in made.items():
            every[one].append(gain)
        told_of = {"candidates": HANDED, "titles": "whole" if told.whole else "unique prefixes", **provenance(seed=0)}
        rows_of = known.setdefault(told.name, {}).setdefault(name or "base", {})
        rows_of |= {one: row | told_of for one, row in figures.items()}
        print(json.dumps({told.name: {name or "base": figures}}, indent=1), flush=True)
    llm.close()
    if len(folders) > 1:
        together = {one: {"people": len(some[0].fused), "ndcg@10": Gains.mean(some).figures()} for one, some in every.items()}
        known[told.name]["mean of the seeds"] = {"adapters": [*folders], **together, **provenance(seed=0)}
        print(json.dumps(together, indent=1))
    RESULTS.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main()
