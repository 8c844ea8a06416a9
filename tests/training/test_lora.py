"""LoRA training: what learns, that the loss is what serving scores, the files, going on after a kill."""

import asyncio
import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from genrec.errors import TrainingError
from genrec.llm.adapters import CONFIG, WEIGHTS, check_weights
from genrec.llm.packing import pack
from genrec.llm.protocol import Likelihood, ScoreRequest
from genrec.training import lora
from genrec.training.adapter_training import Base, checkpoint
from genrec.training.checkpoint import STATE, Checkpoint
from genrec.training.lora import Example, Plan, Tuned, Vocabulary, run, tokens_of
from tests.llm import asking, engines
from tests.training import tuning

CHANNELS = 2 * 7  # layers x linear layers
KILLED = """
import sys
from pathlib import Path
from tests.training import test_lora
test_lora.learn(Path(sys.argv[1]), Path(sys.argv[2]), lambda line: print(line, flush=True))
"""
PRIOR = np.log(np.array([0.6, 0.3, 0.1], np.float32))
LISTS: dict[str, ScoreRequest] = {"likelihood": asking.likelihood(), "labels": asking.labels(), "markers": asking.markers()}


def example(made: Base, request: ScoreRequest, target: int = -1, prior: Any = None) -> Example:
    return Example(row=pack(request, made.encode, made.longest), target=target, prior=prior)


def shaken(made: Base, spread: float = 0.05) -> Tuned:
    """An adapter that says something: LoRA starts from zero."""
    tuned = tuning.tuned(made)
    torch.manual_seed(1)
    for master in tuned.masters:
        master.data += spread * torch.randn_like(master)
    tuned.copy_back()
    return tuned


def loss(tuned: Tuned, examples: list[Example], prior_weight: float = 1.0) -> float:
    """Over the whole vocabulary, which is small enough."""
    vocabulary = Vocabulary(tokens_of(examples), len(tuned.head))
    vocabulary.draw(np.random.default_rng(0))
    return float(tuned.loss(examples, vocabulary, prior_weight).detach())


def plan(examples: list[Example], told: list[str] | None = None, **changes: Any) -> Plan:
    values: dict[str, Any] = {"epochs": 30, "learning_rate": 1e-2, "seed": 0, "task": "test"} | changes
    return Plan(steps=lambda epoch: [examples], tell=(told if told is not None else []).append, **values)


def learn(llama: Path, folder: Path, tell: Any) -> Tuned:
    """Forty-two steps, a checkpoint after each twenty."""
    with engines.own_cache(folder / "cache"):
        made = tuning.base(llama)
    tuned = tuning.tuned(made)
    steps = [[example(made, request, 1, PRIOR)] for request in LISTS.values()]
    passes = [steps] * 14
    kept = checkpoint(folder, "lists", tuned, passes, "told")
    run(tuned, Plan(steps=lambda n: passes[n], epochs=14, learning_rate=1e-2, seed=0, task="lists", checkpoint=kept, tell=tell))
    return tuned


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_only_lora_learns_in_the_precision_of_the_base(llama: Path, dtype: Any) -> None:
    model = engines.plain_model(llama, dtype)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    tuned = Tuned(model, rank=4, alpha=8, seed=0)
    assert {tensor.dtype for tensor in tuned.adapted} == {getattr(torch, dtype)}
    assert {master.dtype for master in tuned.masters} == {torch.float32}
    assert len(tuned.adapted) == 2 * CHANNELS
    assert {name for name, p in tuned.model.named_parameters() if p.requires_grad} == {
        name.replace(".weight", ".default.weight") for name in tuned.names
    }
    with torch.no_grad():
        for master in tuned.masters:
            master.add_(0.1)
    tuned.copy_back()
    after = {name.replace(".base_layer", ""): tensor for name, tensor in tuned.model.state_dict().items()}
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_a_small_step_is_not_lost_in_bf16(llama: Path) -> None:
    tuned = Tuned(engines.plain_model(llama, "bfloat16"), rank=4, alpha=8, seed=0)
    start = tuned.adapted[0].detach().clone()
    with torch.no_grad():
        for _ in range(100):
            tuned.masters[0] += 1e-4 * start.float().abs().mean()
            tuned.copy_back()
    assert not torch.equal(tuned.adapted[0], start)


def test_the_files_are_those_of_peft_and_serve(tmp_path: Path, llama: Path, base: Base) -> None:
    tuned = shaken(base)
    folder = tmp_path / "a"
    folder.mkdir()
    tuned.save(folder, "some/base")
    config = check_weights(folder)
    assert (config["r"], config["lora_alpha"], config["base_model_name_or_path"]) == (8, 16, "some/base")
    assert set(config["target_modules"]) == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert sorted(file.name for file in folder.iterdir()) == sorted([CONFIG, WEIGHTS])
    names = set(load_file(folder / WEIGHTS))
    assert "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight" in names
    assert len(names) == 2 * CHANNELS


def test_the_loss_is_what_the_engine_scores(tmp_path: Path, llama: Path, base: Base) -> None:
    tuned = shaken(base)
    folder = tmp_path / "a"
    folder.mkdir()
    tuned.save(folder, "tiny")
    engine = engines.load(llama, adapters={"a": folder})
    asked = [dataclasses.replace(one, adapter="a") for one in LISTS.values()]
    scores = dict(zip(LISTS, asyncio.run(engine.score(asked)), strict=True))
    plain = dict(zip(LISTS, asyncio.run(engine.score(list(LISTS.values()))), strict=True))
    engine.close()
    for name, request in LISTS.items():
        logp = scores[name].logp.astype(np.float64)
        assert np.abs(logp - plain[name].logp).max() > 0.01  # the adapter matters
        for weight in (0.0, 1.0, 0.5):
            fused = logp + weight * PRIOR
            wanted = np.log(np.exp(fused).sum()) - fused[1]
            assert loss(tuned, [example(base, request, 1, PRIOR)], weight) == pytest.approx(wanted, abs=2e-4), name
    got = scores["likelihood"]
    wanted = -got.logp.sum() / got.tokens.sum()
    assert loss(tuned, [example(base, LISTS["likelihood"])]) == pytest.approx(wanted, abs=2e-4)


def test_a_step_of_several_examples_is_their_mean(base: Base) -> None:
    """Padding and neighbours change nothing."""
    tuned = shaken(base)
    each = [example(base, request, n, PRIOR) for n, request in enumerate(LISTS.values())]
    alone = [loss(tuned, [one]) for one in each]
    assert loss(tuned, each) == pytest.approx(np.mean(alone), abs=1e-4)


def test_continuations_are_blind_to_each_other(base: Base) -> None:
    tuned = shaken(base)
    texts = (" A\n B\n C\n", " D\n E\n", " Alien\n")
    rows = [example(base, Likelihood(prefix="Things:\n", context="", continuations=(text,))) for text in texts]
    together = example(base, Likelihood(prefix="Things:\n", context="", continuations=texts))
    counts = [len(one.row.targets) for one in rows]
    wanted = sum(loss(tuned, [one]) * n for one, n in zip(rows, counts, strict=True)) / sum(counts)
    assert loss(tuned, [together]) == pytest.approx(wanted, abs=1e-4)


def test_drawn_tokens_stand_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """The softmax's sum is right on average, and exact for the examples' own tokens."""
    monkeypatch.setattr(lora, "OTHERS", 40)
    rng = np.random.default_rng(0)
    own, size = np.array([3, 7, 250]), 300
    values = torch.from_numpy(rng.normal(size=(size, 1))).float()
    vocabulary, sums = Vocabulary(own, size), []
    for _ in range(400):
        vocabulary.draw(rng)
        head = vocabulary.head(values)
        assert len(head) == 43
        assert torch.equal(head[torch.from_numpy(vocabulary.places([250, 3]))], values[[250, 3]])
        sums.append(float(vocabulary.correct(head.T).exp().sum()))
    assert np.mean(sums) == pytest.approx(float(values.exp().sum()), rel=0.02)


def test_training_lowers_the_loss_and_tells(base: Base) -> None:
    tuned, told = tuning.tuned(base), []
    examples = [example(base, request, 2, PRIOR) for request in LISTS.values()]
    before = loss(tuned, examples)
    legs = run(tuned, plan(examples, told))
    assert [leg["steps"] for leg in legs] == [20, 10]
    assert legs[-1]["loss"] < legs[0]["loss"] < before
    assert loss(tuned, examples) < 0.5 * before
    assert [line.split(",")[0] for line in told] == ["test: step 20 of 30", "test: step 30 of 30"]


class TestBestKept:
    def train(self, base: Base, judged: list[float], **changes: Any) -> tuple[Tuned, list[str], list[str]]:
        """The adapter, its digest whenever it was judged, and what was told."""
        tuned, asked, told = tuning.tuned(base), [], []

        def judge() -> float:
            asked.append(tuned.digest())
            return judged[len(asked) - 1]

        examples = [example(base, request, 2, PRIOR) for request in LISTS.values()]
        run(tuned, dataclasses.replace(plan(examples, told, epochs=3), judge=judge, **changes))
        return tuned, asked, told

    @pytest.mark.parametrize(
        ("judged", "best"), [([0.1, 0.3, 0.2, 0.1], 1), ([0.1, 0.3, 0.3, 0.2], 2), ([0.5, 0.1, 0.2, 0.4], 0), ([0.0] * 4, 3)]
    )
    def test_the_best_pass_is_kept_the_latest_of_equals(self, base: Base, judged: list[float], best: int) -> None:
        tuned, asked, told = self.train(base, judged)
        assert len(set(asked)) == 4  # before the first pass and after each
        assert tuned.digest() == asked[best]
        shown = torch.cat([p.detach().float().flatten() for p in tuned.adapted])
        assert torch.equal(shown, torch.cat([p.detach().flatten() for p in tuned.masters]))
        assert [line.split(",")[0] for line in told] == [f"test: step {n} of 3" for n in (1, 2, 3)]

    def test_after_a_kill(self, base: Base, tmp_path: Path) -> None:
        judged = [0.1, 0.3, 0.2, 0.25]
        whole, _, _ = self.train(base, judged)

        class KilledError(Exception):
            pass

        def kill(line: str) -> None:
            if "step 2 " in line:
                raise KilledError

        checkpoint = Checkpoint(tmp_path, "same")
        with pytest.raises(KilledError):
            self.train(base, judged, checkpoint=checkpoint, tell=kill)
        tuned, asked, _ = self.train(base, judged[3:], checkpoint=checkpoint)
        assert len(asked) == 1
        assert tuned.digest() == whole.digest()


@pytest.mark.parametrize("change", [{"learning_rate": 1e-3}, {"epochs": 3}, {"prior_weight": 0.0}], ids=str)
def test_no_part_of_a_plan_is_inert(base: Base, change: dict[str, Any]) -> None:
    examples = [example(base, request, 2, PRIOR) for request in LISTS.values()]
    made = []
    for changes in ({}, {}, change):
        tuned = tuning.tuned(base)
        told: dict[str, Any] = {"epochs": 4} | changes
        run(tuned, plan(examples, **told))
        made.append(tuned.digest())
    assert made[0] == made[1] != made[2]


def test_the_seed_draws_the_other_tokens(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lora, "OTHERS", 16)
    made = []
    for seed in (0, 0, 1):
        tuned = tuning.tuned(base)
        run(tuned, plan([example(base, LISTS["likelihood"])], seed=seed, epochs=2))
        made.append(tuned.digest())
    assert made[0] == made[1] != made[2]


def test_rank_alpha_and_seed_make_another_adapter(llama: Path) -> None:
    model = [Tuned(engines.plain_model(llama, "float32"), rank=r, alpha=8, seed=s) for r, s in ((4, 0), (8, 0), (4, 1))]
    assert [tuned.adapted[0].shape[0] for tuned in model] == [4, 8, 4]
    assert len({tuned.digest() for tuned in model}) == 3


def test_what_cannot_be_learned(base: Base) -> None:
    tuned = tuning.tuned(base)
    with pytest.raises(TrainingError, match="no examples"):
        run(tuned, Plan(steps=lambda _: [], epochs=2, learning_rate=1e-3, seed=0, task="test"))
    with torch.no_grad():
        tuned.masters[0].fill_(float("nan"))
    tuned.copy_back()
    with pytest.raises(TrainingError, match="no longer a number"):
        run(tuned, plan([example(base, LISTS["labels"], 1)]))


class TestGoingOn:
    def test_from_an_adapter(self, tmp_path: Path, base: Base) -> None:
        tuned = shaken(base)
        tuned.save(tmp_path, "tiny")
        fresh = tuning.tuned(base, seed=9)
        fresh.load(tmp_path)
        assert fresh.digest() == tuned.digest()
        examples = [example(base, LISTS["labels"], 1)]
        assert loss(fresh, examples) == loss(tuned, examples)

    def test_only_from_one_of_the_same_shape_and_scale(self, tmp_path: Path, base: Base) -> None:
        shaken(base).save(tmp_path, "tiny")
        with pytest.raises(TrainingError, match="rank 8 and alpha 16") as caught:
            tuning.tuned(base, rank=4).load(tmp_path)
        assert "rank 4 and alpha 8" in str(caught.value.hint)
        told = json.loads((tmp_path / CONFIG).read_text())
        (tmp_path / CONFIG).write_text(json.dumps(told | {"lora_alpha": 64}))
        with pytest.raises(TrainingError, match="alpha 64"):
            tuning.tuned(base).load(tmp_path)

    def test_after_a_kill_with_the_same_weights(self, tmp_path: Path, llama: Path) -> None:
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(llama), str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert child.stdout is not None
        assert any(line.startswith("lists: step 20 of 42") for line in child.stdout)
        child.send_signal(signal.SIGKILL)
        child.stdout.close()
        child.wait()
        assert json.loads((tmp_path / "lists" / STATE).read_text())["epochs"]
        told: list[str] = []
        went_on = learn(llama, tmp_path, told.append)
        assert "lists: step 20 of 42" not in " ".join(told)
        whole = learn(llama, tmp_path / "other", lambda _: None)
        assert went_on.digest() == whole.digest() != tuning.tuned(tuning.base(llama)).digest()

    def test_not_from_a_state_of_other_examples(self, tmp_path: Path, base: Base) -> None:
        def mark(request: ScoreRequest, told: str = "told", seed: int = 0, **changes: Any) -> str:
            passes = [[[example(base, request, **{"target": 1, "prior": PRIOR} | changes)]]]
            return checkpoint(tmp_path, "lists", tuning.tuned(base, seed=seed), passes, told).fingerprint

        marks = [
            mark(LISTS["labels"]),
            mark(LISTS["markers"]),
            mark(LISTS["labels"], told="other"),
            mark(LISTS["labels"], seed=1),
        ]
        marks += [mark(LISTS["labels"], target=2), mark(LISTS["labels"], prior=PRIOR[::-1].copy())]
        assert len(set(marks)) == len(marks)
        assert mark(LISTS["labels"]) == marks[0]
