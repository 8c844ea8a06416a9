"""`genrec train retriever`: learn from a workspace's events, save, and put the result into service."""

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genrec.errors import WorkspaceError
from genrec.progress import SILENT, Progress
from genrec.retrieval.sequences import Sequences
from genrec.retrieval.systems import Content
from genrec.training.retriever_training import Trained, Trainer
from genrec.workspace.build import Built, build
from genrec.workspace.folder import Workspace
from genrec.workspace.load import load_content


def draw(epochs: list[dict[str, float]], refit: list[dict[str, float]], untrained: float, learned: float, path: Path) -> None:
    """Write an SVG. `untrained` and `learned` are the validation figures of the untrained retriever, and of the best epoch with
    its anchor; both are drawn as lines. Raises WorkspaceError.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(range(1, len(epochs) + 1), [row["loss"] for row in epochs], marker="o", label="with validation held out")
    if refit:
        left.plot(range(1, len(refit) + 1), [row["loss"] for row in refit], marker="s", label="all events")
    left.set(xlabel="epoch", ylabel="loss (nats)", title="Training loss")
    right.plot(range(1, len(epochs) + 1), [row["validation"] for row in epochs], marker="o", label="network alone")
    right.axhline(learned, color="tab:green", label="learned, as it serves")
    right.axhline(untrained, linestyle="--", color="grey", label="untrained")
    right.set(xlabel="epoch", ylabel="NDCG@10", title="Validation, full ranking")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend()
        axes.xaxis.get_major_locator().set_params(integer=True)
    try:
        figure.savefig(path, format="svg")
    except OSError as error:
        raise WorkspaceError(f"{path}: {error.strerror or error}", hint="Free some space or mend the rights.") from error


PLOT = "training.svg"
CHECKPOINTS = "checkpoints"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """`card` is what is kept beside the weights; `built` the catalogue that the index holds now."""

    card: dict[str, Any]
    built: Built


def train_retriever(
    workspace: Workspace, progress: Progress = SILENT, tell: Callable[[str], None] = lambda _: None
) -> Outcome | None:
    """Train by `[retrieval.train]` of the settings, compare with the untrained retriever on the same held-out events,
    save, rebuild.

    A run that was killed goes on from its last epoch when data and settings are the same. Of several processes (`accelerate
    launch`) the first one saves; the others get None. Raises WorkspaceError when the workspace is not built, TrainingError when
    its events do not suffice.
    """
    from accelerate import PartialState

    events, content = load_content(workspace)
    trainer = Trainer(
        retrieval=workspace.settings.retrieval,
        settings=workspace.settings.retrieval.train,
        device=device_of(workspace.settings.models.device),
        folder=workspace.retriever / CHECKPOINTS,
        progress=progress,
        tell=tell,
    )
    trained = trainer.train(events, content)
    if not PartialState().is_main_process:
        return None
    card = _card(workspace, trained, events, content)
    trained.retriever.card = card
    trained.retriever.save(workspace.retriever)
    draw(trained.epochs, trained.refit, trained.untrained, trained.validation, workspace.retriever / PLOT)
    return Outcome(card=card, built=build(workspace, progress))


def _card(workspace: Workspace, trained: Trained, events: Sequences, content: Content) -> dict[str, Any]:
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "events": len(events),
        "people": len(events.user_ids),
        "items": len(content.items),
        "models": dict(content.vectors.models),
        "settings": workspace.settings.retrieval.train.model_dump(),
        "validation": {"metric": "ndcg@10", "learned": trained.validation, "untrained": trained.untrained},
        "serves": trained.validation > trained.untrained,
        "anchor": trained.retriever.anchor,
        "gates": dict(trained.gates),
        "epochs": trained.epochs,
        "refit": trained.refit,
    }


def device_of(setting: str) -> str:
    """`auto` is the GPU where there is one."""
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if setting == "auto" else setting
