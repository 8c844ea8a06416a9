"""What each part of the learned retriever is worth, and what a bonus for new items buys and costs.

    python -m eval.retrieval.learned_retriever --workspace W --name movies --part ablation [--seeds 0,1,2]

W is a built workspace of the data. Parts: `ablation` (validation alone, one part of the network changed at a time) and `bonus`
(`retrieval.new_item_bonus` on a tenth of the items without events). Comparisons with other systems are `genrec eval`'s.
Figures go to eval/results/learned.json, one entry a name and part.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from eval.provenance import RESULTS_FOLDER, provenance
from genrec.evaluation.ranks import rank
from genrec.evaluation.splits import Split, cold_items, leave_one_out
from genrec.metrics import accuracy
from genrec.progress import SILENT
from genrec.retrieval.item_vectors import ModalityVectors
from genrec.retrieval.systems import Content
from genrec.retrieval.zero_shot import fused_rows
from genrec.settings.sections import RetrievalSettings
from genrec.settings.train_sections import RetrieverTrainSettings
from genrec.training.learned_system import Learned
from genrec.training.retriever_training import Trainer
from genrec.workspace.folder import Workspace
from genrec.workspace.load import load_content

FOLDER = RESULTS_FOLDER
BONUSES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
KEPT = ("ndcg@10", "recall@10", "recall@20", "recall@50", "mrr@10", "coverage@10", "novelty@10", "diversity@10", "calibration@10")
ABLATIONS: dict[str, dict[str, Any]] = {
    "all": {},
    "without text": {},
    "without attributes": {},
    "without ids": {"ids": False},
    "concat": {"fusion": "concat"},
    "graph": {"fusion": "graph"},
    "without a teacher": {"teacher": 0.0},
    "without the transformer": {"layers": 0},
    "without modality and id dropout": {"modality_dropout": 0.0, "id_dropout": 0.0},
}


def learned(name: str = "learned", **settings: Any) -> Learned:
    chosen = RetrieverTrainSettings(**settings)

    def tell(line: str) -> None:
        print(f"    {name}: {line}", flush=True)

    return Learned(Trainer(retrieval=RetrievalSettings(), settings=chosen, tell=tell), name)


def ablation(split: Split, content: Content, seeds: Sequence[int], names: Sequence[str]) -> dict[str, Any]:
    """Validation NDCG@10 of the network with its anchor and alone, by seed, each part left out or exchanged."""
    rows = {}
    for name in names:
        given, changed = _without(content, name), ABLATIONS[name]
        found = []
        for seed in seeds:
            start = time.perf_counter()
            trainer = Trainer(retrieval=RetrievalSettings(), settings=RetrieverTrainSettings(refit=False, seed=seed, **changed))
            trained = trainer.train(split.train, given)
            row = {"seed": seed, "ndcg@10": round(trained.validation, 4), "anchor": trained.retriever.anchor}
            row["network alone"] = round(max(epoch["validation"] for epoch in trained.epochs), 4)
            found.append(row | {"gates": trained.gates, "seconds": round(time.perf_counter() - start, 1)})
            print(name, found[-1], flush=True)
        rows[name] = found
    return rows


def bonus(split: Split, content: Content, seed: int) -> list[dict[str, Any]]:
    """NDCG@10 of cold and of warm targets by `new_item_bonus`, from one training, and of cold ones among the cold items alone."""
    system = learned(seed=seed)
    system.fit(split.train, content, SILENT)
    assert system.made is not None
    retriever = system.made[0]
    _, fused = fused_rows(split.train, content, RetrievalSettings())
    rows = []
    for nats in BONUSES:
        items = retriever.encode(content, fused, new_item_bonus=nats)
        scores = retriever.people(split.histories, items) @ items.rows.T
        row: dict[str, Any] = {"bonus": nats, "anchor": retriever.anchor}
        for name, candidates in (("all", split.candidates), ("cold", split.cold)):
            top = rank(scores, split.histories, split.targets, candidates, 50).top
            gains = accuracy(top, split.targets, (10, 50))
            for metric in ("ndcg@10", "recall@10", "recall@50"):
                row[f"cold targets among {name}: {metric}"] = round(float(gains[metric][split.focus].mean()), 4)
                if name == "all":
                    row[f"warm targets: {metric}"] = round(float(gains[metric][~split.focus].mean()), 4)
        rows.append(row)
        print(row, flush=True)
    return rows


def _without(content: Content, name: str) -> Content:
    """The content with one modality taken away."""
    if name == "without text":
        return replace(content, vectors=ModalityVectors(content.vectors.item_ids, {}, {}))
    if name == "without attributes":
        return replace(content, items=[replace(item, attributes={}) for item in content.items])
    return content


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--part", choices=("bonus", "ablation"), required=True)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--only", default="", help="of the ablation: names with commas between; empty: all")
    options = parser.parse_args()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    with Workspace.open(options.workspace) as workspace:
        events, content = load_content(workspace)
    start = time.perf_counter()
    if options.part == "bonus":
        found: dict[str, Any] = {"curve": bonus(cold_items(events), content, seeds[0])}
    else:
        names = options.only.split(",") if options.only else list(ABLATIONS)
        found = {"validation": ablation(leave_one_out(events), content, seeds, names)}
    save(options.name, options.part, found | {"seconds": round(time.perf_counter() - start, 1), "seeds": seeds})


def save(name: str, part: str, found: dict[str, Any]) -> None:
    path = FOLDER / "learned.json"
    everything = json.loads(path.read_text()) if path.exists() else {}
    everything.setdefault(name, {})[part] = provenance() | found
    path.write_text(json.dumps(everything, indent=1) + "\n")


if __name__ == "__main__":
    main()
