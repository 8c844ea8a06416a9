"""The training loop of the retriever: one phase from the first step to the best epoch."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from torch.nn import functional

from genrec.errors import TrainingError
from genrec.models.two_tower import ItemTensors, TwoTower
from genrec.progress import Progress
from genrec.settings.train_sections import RetrieverTrainSettings
from genrec.training.checkpoint import Checkpoint, Progressed
from genrec.training.retriever_batches import Batch, Batches
from genrec.training.retriever_teacher import Teacher

Validate = Callable[[], float]
"""The validation figure of the network as it is, higher is better."""
HIDDEN = -1e4
CLIP = 1.0
"""Largest norm of a step's gradient."""


@dataclass(slots=True, kw_only=True)
class Phase:
    """One training of one network. `epochs` is the length of the schedule, `stop_after` where it ends at the latest (a refit ends
    where validation said); without `validate` the last epoch is the best.
    """

    network: TwoTower
    items: ItemTensors
    batches: Batches
    teacher: Teacher | None
    settings: RetrieverTrainSettings
    validate: Validate | None
    stop_after: int
    checkpoint: Checkpoint | None
    seed: int
    task: str


def accelerator(settings: RetrieverTrainSettings, device: str) -> Accelerator:
    """`accelerate launch` gives several processes; alone it is one."""
    cpu = device == "cpu" or not torch.cuda.is_available()
    precision = settings.precision
    if precision == "auto":
        able = torch.cpu.get_capabilities()
        precision = "bf16" if not cpu or able.get("avx512_bf16") or able.get("amx_bf16") else "no"
    AcceleratorState._reset_state()  # else a process could train in one precision only
    return Accelerator(cpu=cpu, mixed_precision=precision)


def run(phase: Phase, accelerate: Accelerator, progress: Progress, tell: Callable[[str], None]) -> list[dict[str, float]]:
    """Train; the network ends with the weights of the best epoch. Returns loss, validation figure and seconds of each epoch.

    Raises TrainingError when the loss stops being a number.
    """
    settings, batches = phase.settings, phase.batches
    optimizer = torch.optim.AdamW(_groups(phase.network, settings.weight_decay), lr=settings.learning_rate)
    steps = -(-len(batches) // accelerate.num_processes)
    total = settings.epochs * steps + 1
    rise = max(0.1, 1.5 / total)  # OneCycleLR divides by its length: it must not end at the first step
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, total_steps=total, pct_start=rise)
    network, prepared = accelerate.prepare(phase.network, optimizer)
    rng = np.random.default_rng(phase.seed)
    at = Progressed(epochs=[], best={}, rng={})
    if phase.checkpoint is not None and (saved := phase.checkpoint.restore(phase.network, optimizer, schedule)):
        at = saved
        rng.bit_generator.state = at.rng
    progress.start(phase.task, phase.stop_after)
    progress.advance(len(at.epochs))
    while len(at.epochs) < phase.stop_after and not _spent(at.epochs, settings.patience, phase.validate):
        start = time.perf_counter()
        network.train()
        losses = []
        for batch in batches.epoch(rng, accelerate.process_index, accelerate.num_processes):
            with accelerate.autocast():
                loss = objective(network, phase.items, batch, phase.teacher, settings.teacher)
            prepared.zero_grad()
            accelerate.backward(loss)
            accelerate.clip_grad_norm_(network.parameters(), CLIP)
            prepared.step()
            schedule.step()
            losses.append(float(loss.detach()))
        row = {"loss": _mean(losses, accelerate), "seconds": 0.0}
        if phase.validate is not None:
            row["validation"] = phase.validate()
        row["seconds"] = time.perf_counter() - start
        at.epochs.append(row)
        if _is_best(at.epochs, phase.validate):
            at.best = {name: value.detach().cpu().clone() for name, value in phase.network.state_dict().items()}
        at.rng = _plain(rng.bit_generator.state)
        if phase.checkpoint is not None and accelerate.is_main_process:
            phase.checkpoint.save(phase.network, optimizer, schedule, at)
        progress.advance()
        tell(_in_words(phase.task, at.epochs))
    progress.finish()
    phase.network.load_state_dict(at.best)
    return at.epochs


def objective(network: nn.Module, items: ItemTensors, batch: Batch, teacher: Teacher | None, weight: float) -> Tensor:
    """(1 - weight) · cross-entropy of the next event + weight · KL(teacher ‖ network), over the candidates not yet chosen.

    Scores of a sampled candidate set are corrected by the log of their chance to be in it (Bengio and Senécal, 2008).
    """
    logits = network(items, batch.events, batch.wanted, batch.candidates).float()
    logits = (logits - batch.correction).masked_fill(batch.seen, HIDDEN)
    loss = (1.0 - weight) * functional.cross_entropy(logits, batch.targets)
    if teacher is not None and weight > 0:
        with torch.no_grad():
            taught = torch.log_softmax((teacher.logits(batch).float() - batch.correction).masked_fill(batch.seen, HIDDEN), dim=-1)
        learned = torch.log_softmax(logits, dim=-1)
        loss = loss + weight * functional.kl_div(learned, taught, log_target=True, reduction="batchmean")
    return loss


def best_epoch(epochs: list[dict[str, float]]) -> int:
    """Number of passes of the best validation figure, the first of equal ones."""
    return max(range(len(epochs)), key=lambda n: (epochs[n]["validation"], -n)) + 1


def _groups(network: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Weight decay on matrices, not on biases, norms and single numbers."""
    wide = [p for p in network.parameters() if p.ndim > 1]
    return [
        {"params": wide, "weight_decay": decay},
        {"params": [p for p in network.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]


def _spent(epochs: list[dict[str, float]], patience: int, validate: Validate | None) -> bool:
    return validate is not None and bool(epochs) and len(epochs) - best_epoch(epochs) >= patience


def _is_best(epochs: list[dict[str, float]], validate: Validate | None) -> bool:
    return validate is None or best_epoch(epochs) == len(epochs)


def _mean(losses: list[float], accelerate: Accelerator) -> float:
    mine = torch.tensor(float(np.mean(losses)), device=accelerate.device)
    mean = float(accelerate.reduce(mine, reduction="mean"))  # pyright: ignore[reportArgumentType]
    if not np.isfinite(mean):
        raise TrainingError(
            "the loss is no longer a number", hint='Lower retrieval.train.learning_rate, or set retrieval.train.precision = "no".'
        )
    return mean


def _plain(state: Any) -> dict[str, Any]:
    """numpy's generator state holds plain numbers already; a copy, so that going on does not change what was kept."""
    return {key: _plain(value) if isinstance(value, dict) else value for key, value in state.items()}


def _in_words(task: str, epochs: list[dict[str, float]]) -> str:
    row = epochs[-1]
    figure = f", validation NDCG@10 {row['validation']:.4f}" if "validation" in row else ""
    return f"{task} {len(epochs)}: loss {row['loss']:.4f}{figure}, {row['seconds']:.1f} s"
