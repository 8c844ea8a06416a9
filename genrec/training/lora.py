"""LoRA (Hu et al., 2022) training of a causal LM on packed rows: one loss for each way of scoring, and the loop.

The adapter is computed in the base's precision; AdamW keeps float32 copies, because a bf16 weight would swallow small steps.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from genrec.errors import TrainingError
from genrec.llm.adapters import WEIGHTS, check_weights
from genrec.llm.packing import Row
from genrec.llm.protocol import Labels, Likelihood
from genrec.progress import SILENT, Progress
from genrec.training.checkpoint import Checkpoint, Progressed

OTHERS = 2048
"""Tokens drawn at each step to stand for all those that no example contains."""
CLIP = 1.0
"""Largest norm of a step's gradient."""
LEG = 20
"""Steps between two checkpoints."""
RISE = 0.06
"""Share of the steps in which the learning rate rises."""
_INNER = "default"  # the adapter's name inside the model
_OUTER = "base_model.model."  # before every name in PEFT's files


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A packed row with what is right about it.

    target  the entry that was chosen; -1: every token of every entry is a target (language modelling)
    prior   (n,) what is added to the entries' scores in a listwise loss: log-probabilities of the retriever; or None
    scale   what the entries' scores are multiplied by before (`genrec.training.score_scales`)
    """

    row: Row
    target: int = -1
    prior: NDArray[np.float32] | None = None
    scale: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`steps(epoch)` deals the examples of one pass into steps, the same way whenever it is asked.

    learning_rate  highest; it rises over the first steps and falls to zero along a cosine
    prior_weight   how much the retriever's log-probability counts beside the LLM's in a listwise loss
    judge          a figure of the weights as they are, asked before the first pass and after each: those of the highest, and of
                   equals the latest, are kept. None: the last ones
    """

    steps: Callable[[int], Sequence[Sequence[Example]]]
    epochs: int
    learning_rate: float
    seed: int
    task: str
    prior_weight: float = 1.0
    judge: Callable[[], float] | None = None
    checkpoint: Checkpoint | None = None
    progress: Progress = SILENT
    tell: Callable[[str], None] = field(default=lambda _: None)


class Tuned:
    """A base model with one LoRA adapter that learns. Raises TrainingError when the base has no layers to adapt."""

    def __init__(self, model: Any, *, rank: int, alpha: int, seed: int) -> None:
        from peft import LoraConfig
        from peft.functional import inject_adapter_in_model

        torch.manual_seed(seed)
        self.config = LoraConfig(r=rank, lora_alpha=alpha, target_modules="all-linear", task_type="CAUSAL_LM", lora_dropout=0.0)
        try:
            inject_adapter_in_model(self.config, model, adapter_name=_INNER)
        except ValueError as error:
            raise TrainingError(f"the base takes no LoRA adapter: {error}", hint="Take a causal LM of linear layers.") from error
        self.model: Any = model
        self.core: Any = model.base_model  # the layers, without the output head
        self.head: Tensor = model.get_output_embeddings().weight.detach()  # (V, d)
        learning = {name: p for name, p in model.named_parameters() if p.requires_grad}  # PEFT has frozen all the others
        self.names = tuple(name.replace(f".{_INNER}.weight", ".weight") for name in learning)
        self.adapted = list(learning.values())
        self.masters = nn.ParameterList([p.detach().float().clone() for p in self.adapted])

    def hidden(self, rows: Sequence[Row]) -> Tensor:
        """(B, L, d) hidden states of packed rows: a branch sees the shared part and itself."""
        length = max(len(row.tokens) for row in rows)
        tokens = np.zeros((len(rows), length), dtype=np.int64)
        positions, branches = np.zeros_like(tokens), np.full_like(tokens, -1)
        for b, row in enumerate(rows):
            n = len(row.tokens)
            tokens[b, :n], positions[b, :n], branches[b, :n] = row.tokens, row.positions, row.branches
        same = branches[:, :, None] == branches[:, None, :]
        visible = np.tril(np.ones((length, length), dtype=bool)) & (same | (branches[:, None, :] == 0))
        where = self.head.device
        return self.core(
            input_ids=torch.from_numpy(tokens).to(where),
            position_ids=torch.from_numpy(positions).to(where),
            attention_mask=torch.from_numpy(visible)[:, None].to(where),
            use_cache=False,
        ).last_hidden_state

    def loss(self, examples: Sequence[Example], vocabulary: "Vocabulary", prior_weight: float) -> Tensor:
        """Mean loss of a step: cross-entropy per token for language modelling, per list for everything else."""
        hidden = self.hidden([example.row for example in examples])
        head = vocabulary.head(self.head)
        losses = [
            (_token_loss if example.target < 0 else _list_loss)(example, states, head, vocabulary, prior_weight)
            for example, states in zip(examples, hidden, strict=True)
        ]
        total = torch.stack([loss for loss, _ in losses]).sum()
        return total / sum(count for _, count in losses)

    def copy_back(self) -> None:
        """The float32 weights into the model's precision."""
        with torch.no_grad():
            for own, master in zip(self.adapted, self.masters, strict=True):
                own.copy_(master)

    def digest(self) -> str:
        """Of the adapter's weights as they are."""
        return hashlib.sha256(b"".join(master.detach().cpu().numpy().tobytes() for master in self.masters)).hexdigest()

    def load(self, folder: Path) -> None:
        """Go on from a saved adapter. Raises TrainingError when its shape or its scale is another, AdapterError (damaged)."""
        from safetensors.torch import load_file

        told = check_weights(folder)
        state = {name.removeprefix(_OUTER): tensor for name, tensor in load_file(folder / WEIGHTS).items()}
        mine = {name: tuple(p.shape) for name, p in zip(self.names, self.adapted, strict=True)}
        if {name: tuple(tensor.shape) for name, tensor in state.items()} != mine or told["lora_alpha"] != self.config.lora_alpha:
            raise TrainingError(
                f"{folder}: an adapter of rank {told['r']} and alpha {told['lora_alpha']:g}, or of other layers than all",
                hint=f"The settings say rank {self.config.r} and alpha {self.config.lora_alpha:g}: set them to the adapter's.",
            )
        with torch.no_grad():
            for name, master in zip(self.names, self.masters, strict=True):
                master.copy_(state[name])
        self.copy_back()

    @property
    def targets(self) -> list[str]:
        """The adapted layers by the last part of their names: every engine knows those."""
        return sorted({name.rsplit(".", 3)[-3] for name in self.names})

    def save(self, folder: Path, base: str) -> None:
        """In PEFT's layout. `base`: the base model's name."""
        from safetensors.torch import save_file

        config = replace(self.config, base_model_name_or_path=base, target_modules=set(self.targets), inference_mode=True)
        config.save_pretrained(str(folder))
        weights = {_OUTER + name: p.detach().cpu() for name, p in zip(self.names, self.adapted, strict=True)}
        save_file(weights, folder / WEIGHTS, {"format": "pt"})


class Vocabulary:
    """The rows of the output head that a step needs: the examples' own tokens, and a draw of the others weighted so that the
    softmax's sum is right in expectation (sampled softmax; Bengio and Senécal, 2008). The whole head costs a third of a step.
    """

    def __init__(self, tokens: NDArray[np.int64], size: int) -> None:
        self.tokens = np.unique(tokens)
        self._rest = np.setdiff1d(np.arange(size), self.tokens)
        self._drawn = np.zeros(0, np.int64)

    def draw(self, rng: np.random.Generator) -> None:
        """Choose the others of the next step."""
        self._drawn = rng.choice(self._rest, min(OTHERS, len(self._rest)), replace=False)

    def head(self, head: Tensor) -> Tensor:
        """(C, d)"""
        return head[torch.from_numpy(np.concatenate([self.tokens, self._drawn])).to(head.device)]

    def places(self, tokens: Sequence[int]) -> NDArray[np.int64]:
        """Where tokens of examples stand in `head`."""
        return np.searchsorted(self.tokens, np.asarray(tokens, np.int64))

    def correct(self, logits: Tensor) -> Tensor:
        """Logits (R, C) with the drawn ones raised by the logarithm of how many tokens each stands for."""
        if not len(self._drawn):
            return logits
        own = len(self.tokens)
        more = float(np.log(len(self._rest) / len(self._drawn)))
        return torch.cat([logits[:, :own], logits[:, own:] + more], dim=1)


def _token_logp(row: Row, states: Tensor, head: Tensor, vocabulary: Vocabulary) -> Tensor:
    """(R,) log p of each target token of a likelihood row."""
    at = torch.as_tensor(row.read_at, device=states.device)
    logits = vocabulary.correct((states[at] @ head.T).float())
    targets = torch.from_numpy(vocabulary.places(row.targets)).to(states.device)
    return -functional.cross_entropy(logits, targets, reduction="none")


def _token_loss(
    example: Example, states: Tensor, head: Tensor, vocabulary: Vocabulary, prior_weight: float
) -> tuple[Tensor, int]:
    """Sum over tokens, and their number."""
    logp = _token_logp(example.row, states, head, vocabulary)
    return -logp.sum(), len(logp)


def _list_loss(example: Example, states: Tensor, head: Tensor, vocabulary: Vocabulary, prior_weight: float) -> tuple[Tensor, int]:
    """Cross-entropy of the chosen entry, over scores as serving computes them plus the retriever's log-probabilities."""
    row = example.row
    request = row.request
    if isinstance(request, Likelihood):
        logp = _token_logp(row, states, head, vocabulary)
        scores = torch.zeros(row.entries, device=logp.device).index_add(
            0, torch.as_tensor(row.read_for, device=logp.device), logp
        )
    else:
        at = torch.as_tensor(row.read_at, device=states.device)
        logits = (states[at] @ head[torch.from_numpy(vocabulary.places(row.choices)).to(head.device)].T).float()
        scores = logits[0] if isinstance(request, Labels) else logits[:, 0] - logits[:, 1]
    scores = example.scale * scores
    if example.prior is not None and prior_weight:
        scores = scores + prior_weight * torch.from_numpy(example.prior).to(scores.device)
    return functional.cross_entropy(scores[None], torch.tensor([example.target], device=scores.device)), 1


def tokens_of(examples: Sequence[Example]) -> NDArray[np.int64]:
    """Every token that a loss reads."""
    read = [np.asarray(e.row.targets if isinstance(e.row.request, Likelihood) else e.row.choices, np.int64) for e in examples]
    return np.unique(np.concatenate(read)) if read else np.zeros(0, np.int64)


def run(tuned: Tuned, plan: Plan) -> list[dict[str, float]]:
    """Train; returns loss, steps and seconds of each leg of the way.

    A run that was killed goes on from its last leg. Raises TrainingError when the loss stops being a number.
    """
    from accelerate import PartialState

    state = PartialState(cpu=tuned.head.device.type == "cpu")
    epochs = [plan.steps(epoch) for epoch in range(plan.epochs)]
    steps = [step for epoch in epochs for step in epoch]
    if not steps:
        raise TrainingError("there are no examples to learn from", hint="Ingest more events.")
    vocabulary = Vocabulary(tokens_of([example for step in steps for example in step]), len(tuned.head))
    optimizer = torch.optim.AdamW(tuned.masters.parameters(), lr=plan.learning_rate, weight_decay=0.0, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, len(steps)))
    at = Progressed(epochs=[], best={}, rng={})
    if plan.checkpoint is not None and (saved := plan.checkpoint.restore(tuned.masters, optimizer, schedule)):
        at = saved
        tuned.copy_back()
    plan.progress.start(plan.task, len(steps))
    done = int(sum(leg["steps"] for leg in at.epochs))
    plan.progress.advance(done)
    if not done:
        _judge(tuned, plan, at, state)
    ends = np.cumsum([len(epoch) for epoch in epochs]).tolist() if plan.judge else [len(steps)]
    while done < len(steps):
        start, losses = time.perf_counter(), []
        for number in range(done, min(done + LEG, next(end for end in ends if end > done))):
            vocabulary.draw(np.random.default_rng([plan.seed, number]))
            losses.append(_step(tuned, steps[number], vocabulary, optimizer, plan, state))
            schedule.step()
            plan.progress.advance()
        done += len(losses)
        at.epochs.append({"loss": float(np.mean(losses)), "steps": len(losses), "seconds": time.perf_counter() - start})
        if done in ends:
            _judge(tuned, plan, at, state)
        if plan.checkpoint is not None and state.is_main_process:
            plan.checkpoint.save(tuned.masters, optimizer, schedule, at)
        leg = at.epochs[-1]
        plan.tell(f"{plan.task}: step {done} of {len(steps)}, loss {leg['loss']:.4f}, {leg['seconds']:.0f} s")
    plan.progress.finish()
    if at.best:
        tuned.masters.load_state_dict(at.best)
        tuned.copy_back()
    return at.epochs


def _judge(tuned: Tuned, plan: Plan, at: Progressed, state: Any) -> None:
    """Keep the weights if they are the best so far, by the judgement of the first process."""
    if plan.judge is None:
        return
    said = [plan.judge() if state.is_main_process else 0.0]
    if state.num_processes > 1:
        torch.distributed.broadcast_object_list(said)
    if said[0] >= max(at.judged, default=-np.inf):
        at.best = {name: value.detach().clone() for name, value in tuned.masters.state_dict().items()}
    at.judged.append(said[0])


def _step(
    tuned: Tuned, examples: Sequence[Example], vocabulary: Vocabulary, optimizer: torch.optim.Optimizer, plan: Plan, state: Any
) -> float:
    """One step; of several processes each takes its share of the examples, and all make the same step."""
    mine = examples[state.process_index :: state.num_processes] or examples[:1]
    loss = tuned.loss(mine, vocabulary, plan.prior_weight)
    if not torch.isfinite(loss):
        raise TrainingError(f"{plan.task}: the loss is no longer a number", hint="Lower rank.train.learning_rate.")
    loss.backward()
    for own, master in zip(tuned.adapted, tuned.masters, strict=True):
        master.grad = own.grad.float() if own.grad is not None else torch.zeros_like(master)
        own.grad = None
    if state.num_processes > 1:
        for master in tuned.masters:
            torch.distributed.all_reduce(master.grad)  # pyright: ignore[reportArgumentType]
            master.grad /= state.num_processes
    nn.utils.clip_grad_norm_(tuned.masters.parameters(), CLIP)
    optimizer.step()
    tuned.copy_back()
    return float(loss.detach())


def _rate(step: int, steps: int) -> float:
    rise = max(1.0, RISE * steps)
    if step < rise:
        return (step + 1) / (rise + 1)
    return 0.5 * (1.0 + float(np.cos(np.pi * min(1.0, (step - rise) / max(1.0, steps - rise)))))
