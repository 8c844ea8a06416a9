"""Adapters with cards, for the tests of the registry and of the command line."""

from pathlib import Path
from typing import Any

from genrec.llm.adapters import Card, write_card
from genrec.models.sources import digest
from genrec.prompts import Prompts
from tests.llm import engines


def card(name: str, model: Path, /, **changes: Any) -> dict[str, Any]:
    """What `write_card` takes for a rerank adapter of the model in that folder and the shipped prompts."""
    return {
        "schema": 1,
        "name": name,
        "task": "rerank",
        "base": {"id": str(model), "sha256": digest(model)},
        "prompts": {"rerank": Prompts().digest("rerank")},
        "method": "likelihood",
        "ranking": {"weight": 0.4, "history": 12},
        "why": "Likelihood won on validation.",
        "limits": "English titles only.",
        "data": {"films": {"people": 600, "events": 9000}},
        "split": "the last event of each person is the test",
        "metrics": {
            "NDCG@10": {"value": 0.0818, "low": 0.07, "high": 0.09, "without": 0.0727},
            "R@10 | films": {"value": 0.164},
        },
        "command": "genrec train rerank -w films",
        "date": "2026-11-22",
        "machine": "2 cores",
        "seed": 3,
        "lora": {"r": 4, "alpha": 8, "targets": ["q_proj", "v_proj"]},
        "training": {"epochs": 2},
        "genrec": "0.1.0",
    } | changes


def make(parent: Path, name: str, model: Path, /, seed: int = 1, **changes: Any) -> Card:
    """An adapter `name` below `parent`, with its card."""
    folder = engines.save_adapter(parent / name, model, rank=4, targets=("q_proj", "v_proj"), seed=seed)
    return write_card(folder, card(name, model, **changes))
