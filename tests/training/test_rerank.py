"""Learning to rank: each method learns a planted habit, noise teaches nothing, held-out events stay unseen, no key is inert."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genrec.errors import ConfigError, TrainingError
from genrec.progress import SILENT
from genrec.prompts import Prompts
from genrec.ranking.fusion_weights import Fitted
from genrec.retrieval.sequences import Sequences
from genrec.settings.train_sections import RankTrainSettings
from genrec.training.adapter_training import Base
from genrec.training.candidate_lists import Lists, candidates
from genrec.training.checkpoint import STATE
from genrec.training.lora import Tuned
from genrec.training.ranker_training import TASKS, asked_lists, fitted
from tests.llm import engines
from tests.training import tuning, world

HABIT: dict[str, dict[str, Any]] = {
    "likelihood": {"epochs": 8, "batch": 1, "length": 96},
    "markers": {"lists": 400, "candidates": 5, "batch": 4, "list_learning_rate": 5e-3},
    "labels": {"lists": 1600, "candidates": 2, "batch": 8, "list_learning_rate": 5e-3, "r": 16},
}
"""What lets a model of two random layers learn; for labels, which it must bind to candidates, no more than two of them."""
BOTH: dict[str, Any] = {"epochs": 1, "lists": 12, "batch": 2, "length": 128}
KILLED = """
import sys
from pathlib import Path
from tests.training import test_rerank
test_rerank.long_course(Path(sys.argv[1]), Path(sys.argv[2]), lambda line: print(line, flush=True))
"""


def learn(base: Base, folder: Path, events: Sequences | None = None, told: list[str] | None = None, **changes: Any) -> Tuned:
    settings = tuning.settings(**BOTH | changes)
    tuned = tuning.tuned(base)
    course = tuning.course(base, tuning.events(40) if events is None else events, settings)
    course.learn(tuned, folder, (told if told is not None else []).append)
    return tuned


def long_course(llama: Path, folder: Path, tell: Any) -> Tuned:
    with engines.own_cache(folder / "cache"):
        made = tuning.base(llama)
    tuned = tuning.tuned(made)
    settings = tuning.settings(epochs=4, batch=1, lists=60, length=96)
    tuning.course(made, tuning.events(80), settings).learn(tuned, folder, tell)
    return tuned


def proved(base: Base, folder: Path, all_events: Sequences, settings: RankTrainSettings, *, pairs: bool = False) -> Fitted:
    """Learn, and fit the fusion on the held-out events; `pairs`: each target against one other item that nobody chose."""
    course = tuning.course(base, all_events, settings)
    tuned = tuning.tuned(base, rank=settings.r)
    course.learn(tuned, folder, lambda _: None)
    (folder / "a").mkdir()
    tuned.save(folder / "a", "tiny")
    (one,) = course.sources
    weak = tuning.Weak()
    weak.fit(one.known, one.content, SILENT)
    lists = candidates(weak, one.asked, one.targets, 6)
    if pairs:
        rng = np.random.default_rng(0)
        both = np.stack([one.targets, rng.integers(tuning.N // 2, tuning.N, len(one.targets))], axis=1)
        scores = -np.sort(-rng.random(both.shape).astype(np.float32), axis=1)
        lists = replace(lists, items=rng.permuted(both, axis=1), scores=scores)
    engine = engines.load(base.weights.path, adapters={"a": folder / "a"})
    try:
        return fitted(engine, course.prompter, settings.method, lists, one.content.items, "a", SILENT)
    finally:
        engine.close()


@pytest.mark.parametrize("method", HABIT)
def test_a_habit_is_learned(tmp_path: Path, base: Base, method: str) -> None:
    """For likelihood: which item follows which. For the others: that nobody chooses the second half of the catalogue."""
    if method == "labels":
        base = tuning.base(engines.save_llama(tmp_path / "llama", initializer_range=0.1))
    settings = tuning.settings(**{"method": method, "epochs": 0, "history": 1, "prior_weight": 0.0} | HABIT[method])
    rng = np.random.default_rng(0)
    tastes = world.histories([rng.permutation(tuning.N // 2)[:4].tolist() for _ in range(120)], tuning.N)
    events = tuning.events(120) if method == "likelihood" else tastes
    found = proved(base, tmp_path, events, settings, pairs=method == "labels")
    gain, low, _ = found.gain()
    assert found.choice.weight > 0
    assert 0 < low < gain
    assert gain > 0.1 * found.alone.mean()


def test_noise_teaches_nothing(tmp_path: Path, base: Base) -> None:
    gained = []
    for seed in (0, 1):
        (tmp_path / str(seed)).mkdir()
        settings = tuning.settings(epochs=1, lists=40, batch=2, length=96, seed=seed)
        events = tuning.events(120, planted=False, seed=seed)
        gain, low, high = proved(base, tmp_path / str(seed), events, settings).gain()
        assert low <= 0.02
        assert high >= -0.02
        gained.append(gain)
    assert abs(np.mean(gained)) < 0.05


class TestHeldOut:
    @pytest.mark.parametrize("held_out", [1, 2])
    def test_what_validation_asks_for_and_what_comes_later_is_not_learned_from(
        self, tmp_path: Path, base: Base, held_out: int
    ) -> None:
        """Other held-out events, the same adapter; other ones before, another adapter."""
        every = tuning.walks(40)
        other = [[*one[:-held_out], *one[-held_out:][::-1]] if held_out > 1 else [*one[:-1], 11 - one[-1]] for one in every]
        earlier = [[*one[: -held_out - 2], one[-held_out - 1], one[-held_out - 2], *one[-held_out:]] for one in every]
        made = []
        for number, lists in enumerate((every, other, earlier)):
            folder = tmp_path / str(number)
            made.append(learn(base, folder, world.histories(lists, tuning.N), held_out=held_out).digest())
        assert made[0] == made[1] != made[2]

    def test_which_event_is_asked_for(self) -> None:
        every = tuning.walks(20)
        for held_out in (1, 2, 3):
            one = tuning.source_of(world.histories(every, tuning.N), tuning.settings(held_out=held_out))
            for row, user in enumerate(one.asked.user_ids):
                history = every[int(user[1:])]
                assert one.targets[row] == history[-held_out]
                assert one.asked.history(row).tolist() == history[:-held_out]
                assert one.known.history(int(user[1:])).tolist() == history[:-held_out]

    def test_at_most_so_many_people_are_asked_for(self) -> None:
        every = tuning.events(50)
        assert len(tuning.source_of(every, tuning.settings(validated=7)).targets) == 7
        drawn = [tuning.source_of(every, tuning.settings(validated=7, seed=seed)).asked.user_ids for seed in (0, 0, 1)]
        assert drawn[0] == drawn[1] != drawn[2]
        assert len(tuning.source_of(every, tuning.settings(validated=50)).targets) == 50

    def test_nobody_has_enough(self) -> None:
        with pytest.raises(TrainingError, match="nobody has 4 events") as caught:
            tuning.source_of(world.histories([[1, 2, 3]] * 3, tuning.N), tuning.settings(held_out=2))
        assert "rank.train.held_out" in str(caught.value.hint)


CASES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"method": "labels"}),
    ({}, {"method": "markers"}),
    ({}, {"epochs": 2}),
    ({}, {"epochs": 0}),
    ({}, {"learning_rate": 1e-3}),
    ({}, {"length": 80}),
    ({}, {"batch": 3}),
    ({}, {"lists": 0}),
    ({}, {"lists": 20}),
    ({}, {"list_learning_rate": 1e-3}),
    ({}, {"candidates": 3}),
    ({}, {"prior_weight": 0.0}),
    ({}, {"folds": 3}),
    ({"method": "labels"}, {"history": 2}),
    ({}, {"title_chars": 1}),
    ({"epochs": 0}, {"unique_prefix": False}),
    ({}, {"held_out": 2}),
    ({}, {"seed": 5}),
]
ELSEWHERE = {
    "r": "test_adapting.py",
    "alpha": "test_adapting.py",
    "source": "test_adapting.py",
    "validated": "TestHeldOut",
    "without_target": "below",
    "judged": "test_adapting.py",
}


def test_every_setting_is_tried() -> None:
    assert {key for _, changes in CASES for key in changes} | ELSEWHERE.keys() == set(RankTrainSettings.model_fields)


LONG = tuple(f"{letter}{letter.lower()}" for letter in tuning.TITLES)


@pytest.mark.parametrize(("before", "change"), CASES, ids=lambda one: ",".join(f"{k}={v}" for k, v in one.items()) or "-")
def test_no_setting_is_inert(tmp_path: Path, base: Base, before: dict[str, Any], change: dict[str, Any]) -> None:
    """In what is learned; folds and held-out events leave the tokens of lists as they are and change who is in them."""

    def made(number: int, **changes: Any) -> str:
        settings = tuning.settings(**BOTH | changes)
        course = tuning.course(base, tuning.events(40), settings)
        (one,) = course.sources
        course = replace(course, sources=[replace(one, content=tuning.content(LONG), training=Popular())])
        tuned = tuning.tuned(base)
        course.learn(tuned, tmp_path / str(number), lambda _: None)
        return tuned.digest()

    assert made(0, **before) != made(1, **before | change)


class Popular(tuning.Weak):
    """By popularity in what it was fitted on, so that folds matter."""

    def with_settings(self, settings: Any, seed: int) -> "Popular":
        return Popular(self.seen)

    def fit(self, train: Sequences, content: Any, progress: Any) -> None:
        self._n = len(content.items)
        self._popularity = train.popularity().astype(np.float32)

    def scores(self, histories: Sequences) -> Any:
        return np.tile(self._popularity, (len(histories.user_ids), 1))


def test_lists_without_their_target(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a retriever that hands over three items of twelve, most lists lack it."""
    monkeypatch.setattr("genrec.training.ranker_training.TRAINING_LISTS_FROM", 3)
    counts = {}
    for without in ("skip", "add"):
        examples, lacking = tuning.course(base, tuning.events(40), tuning.settings(lists=40, without_target=without)).lists()
        assert 0.3 < lacking < 1
        counts[without] = len(examples)
    assert counts["add"] == 40
    assert counts["skip"] == round(40 * (1 - lacking))


def test_the_methods_that_language_modelling_does_not_serve_get_none(base: Base) -> None:
    for method, wanted in (("likelihood", True), ("labels", False), ("markers", False)):
        course = tuning.course(base, tuning.events(20), tuning.settings(method=method, lists=4))
        assert bool(course.histories(0)) is wanted
        assert len(course.lists()[0]) == 4


def test_several_catalogues_are_mixed(base: Base) -> None:
    one = tuning.source_of(tuning.events(30), tuning.settings())
    other = replace(one, content=tuning.content(tuning.TITLES[::-1]))
    course = replace(tuning.course(base, tuning.events(30), tuning.settings(lists=11)), sources=[one, other])
    rows, (lists, _) = course.histories(0), course.lists()
    alone = replace(course, sources=[one])
    assert len(rows) > len(alone.histories(0))
    assert len(lists) == 12  # the same number of each
    assert len(alone.lists()[0]) == 11


def test_nothing_to_learn_from(tmp_path: Path, base: Base) -> None:
    with pytest.raises(ConfigError, match="nothing to learn from"):
        learn(base, tmp_path, epochs=0, lists=0)
    with pytest.raises(ConfigError, match="nothing to learn from"):
        learn(base, tmp_path, method="labels", lists=0)


def test_lists_are_asked_as_they_were_found() -> None:
    events = world.histories([[0, 1, 0], [2, 3]], tuning.N)
    lists = Lists(
        histories=events,
        targets=np.array([5, 9]),
        items=np.array([[4, 5, -1], [6, 7, 8]]),
        scores=np.array([[2.0, 1.0, -np.inf], [3.0, 2.0, 1.0]], np.float32),
    )
    (first, place), (second, lacking) = asked_lists(lists, tuning.content().items)
    assert [item.title for item in first.profile.history] == ["B", "A"]
    assert ([item.title for item in first.candidates], first.scores, place) == (["E", "F"], (2.0, 1.0), 1)
    assert ([item.title for item in second.candidates], lacking) == (["G", "H", "I"], -1)


class TestGoingOn:
    @pytest.mark.parametrize("task", TASKS)
    def test_killed_it_ends_with_the_same_weights(self, tmp_path: Path, llama: Path, task: str) -> None:
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(llama), str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert child.stdout is not None
        assert any(line.startswith(f"{task}: step") for line in child.stdout)
        child.send_signal(signal.SIGKILL)
        child.stdout.close()
        child.wait()
        assert json.loads((tmp_path / task / STATE).read_text())["epochs"]
        told: list[str] = []
        tuned = long_course(llama, tmp_path, told.append)
        whole = long_course(llama, tmp_path / "other", lambda _: None)
        assert tuned.digest() == whole.digest()
        steps = [line for line in told if line.startswith(f"{task}: step")]
        assert not any(line.startswith(f"{task}: step 20 ") for line in steps)

    def test_another_prompt_or_title_begins_anew(self, tmp_path: Path, base: Base) -> None:
        told: list[str] = []
        learn(base, tmp_path, told=told)
        again: list[str] = []
        learn(base, tmp_path, told=again)
        assert len([line for line in again if "step" in line]) == 0 < len([line for line in told if "step" in line])
        (tmp_path / "prompts").mkdir()
        own = (Path(__file__).parents[2] / "prompts/rerank.j2").read_text().replace("Things", "Items")
        (tmp_path / "prompts/rerank.j2").write_text(own)
        tuned, other = tuning.tuned(base), []
        course = tuning.course(base, tuning.events(40), tuning.settings(**BOTH), prompts=Prompts(tmp_path / "prompts"))
        course.learn(tuned, tmp_path, other.append)
        assert [line for line in other if "step" in line]
