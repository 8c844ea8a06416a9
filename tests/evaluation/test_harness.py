"""The whole evaluation on small histories: tuning, seeds, comparison, options, and what it refuses."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from genrec.errors import EvaluationError
from genrec.evaluation.harness import evaluate
from genrec.evaluation.ranks import rank
from genrec.evaluation.results import Results
from genrec.evaluation.splits import Split, cold_items, cold_users, leave_one_out
from tests.evaluation.events import Broken, Noise, Popular, content, random_sequences

EVENTS = random_sequences(4)
CONTENT = content(30)
LOO = leave_one_out(EVENTS)


def measured(*systems: Any, split: Split = LOO, **options: Any) -> Results:
    chosen: dict[str, Any] = {"resamples": 200, **options}
    return evaluate(list(systems), split, CONTENT, **chosen)


def test_settings_are_chosen_on_validation_only() -> None:
    system = Popular()
    result = measured(system).system("popular")
    assert result.settings == {"power": 1.0}
    assert [trial.settings["power"] for trial in result.trials] == [-1.0, 1.0, 0.0]
    assert max(result.trials, key=lambda trial: trial.score).settings == {"power": 1.0}
    assert all(trial.seconds > 0 for trial in result.trials)
    twin = LOO.validation()
    assert [len(train) for train in system.fits] == [len(twin.train)] * 3 + [len(LOO.train)]
    untuned = measured(Popular(power=-1.0), tune=False).system("popular")
    assert (untuned.settings, untuned.trials) == ({"power": -1.0}, ())
    assert untuned.metrics["ndcg@10"].mean < result.metrics["ndcg@10"].mean


def test_figures_equal_a_direct_computation() -> None:
    result = measured(Popular()).system("popular")
    counts = LOO.train.popularity().astype(np.float32)
    top = rank(np.tile(counts, (len(LOO.targets), 1)), LOO.histories, LOO.targets, LOO.candidates, 10).top
    places = [np.flatnonzero(row == target[0]) for row, target in zip(top, LOO.targets, strict=True)]
    expected = [1 / np.log2(place[0] + 2) if len(place) else 0.0 for place in places]
    assert result.people["ndcg@10"] == pytest.approx(expected, abs=1e-6)
    estimate = result.metrics["ndcg@10"]
    assert estimate.mean == pytest.approx(np.mean(expected))
    assert estimate.low < estimate.mean < estimate.high
    assert (estimate.n, estimate.sd_over_seeds) == (60, None)
    whole = [part for part in result.slices if part.by == "target popularity"]
    weighted = sum(part.n * part.metrics["ndcg@10"].mean for part in whole) / sum(part.n for part in whole)
    cold = sum(part.n for part in result.slices if (part.by, part.value) == ("target", "cold"))
    assert weighted * (60 - cold) / 60 == pytest.approx(np.mean(expected))  # cold items are never found by popularity
    assert {"coverage@10", "gini@10"} <= result.catalogue.keys()
    assert dict(result.coverage)[10.0] == result.catalogue["coverage@10"]
    assert result.exposure[-1] == (1, 1)
    assert {"auc", "arp@10", "novelty@10", "diversity@10", "calibration@10", "f1@5", "hit@1"} <= result.metrics.keys()


def test_seeds_are_averaged_and_spread() -> None:
    results = measured(Noise(), Popular(), seeds=(1, 2, 3))
    noise = results.system("noise")
    singles = [measured(Noise(), seeds=(seed,)).system("noise") for seed in (1, 2, 3)]
    people = np.array([single.people["recall@10"] for single in singles])
    assert noise.seeds == (1, 2, 3)
    assert noise.people["recall@10"] == pytest.approx(people.mean(axis=0), abs=1e-6)
    spread = noise.metrics["recall@10"].sd_over_seeds
    assert spread == pytest.approx(np.std(people.mean(axis=1), ddof=1))
    assert results.system("popular").seeds == (1,)
    assert noise.gates == {"text": 0.5, "id": 0.5}
    assert results.system("popular").gates is None
    assert noise.ceiling is noise.order_flip_rate is noise.flips is noise.candidates is None
    assert results.environment.seeds == (1, 2, 3)


def test_systems_are_compared_with_a_reference_and_in_pairs() -> None:
    systems = (Popular("a"), Noise("b"), Noise("c"))
    results = measured(*systems)
    assert results.reference == "a"
    assert {(one.system, one.other) for one in results.differences} == {("b", "a"), ("c", "a")}
    assert {one.metric for one in results.differences} == {"ndcg@10", "recall@10", "recall@50", "mrr@10"}
    assert [(one.system, one.other) for one in results.pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    apart, _, same = results.pairs
    people = results.system("a").people["ndcg@10"], results.system("b").people["ndcg@10"]
    assert apart.mean == pytest.approx(np.mean(np.subtract(*people)), abs=1e-6)
    assert apart.low > 0
    assert apart.p_holm == pytest.approx(3 * apart.p)
    assert (same.mean, same.p, same.p_holm) == (0, 1, 1)
    named = measured(*systems, reference="c")
    assert {one.other for one in named.differences} == {"c"}


def test_a_system_that_cannot_run_is_shown_and_the_others_go_on() -> None:
    results = measured(Broken(), Popular(), reference="broken")
    broken = results.system("broken")
    assert (broken.status, broken.note, broken.hint) == ("missing", "the package nowhere is not installed", "pip install nowhere")
    assert broken.metrics == {}
    assert results.system("popular").status == "ok"
    assert results.reference == "popular"
    nobody = measured(Broken())
    assert (nobody.reference, nobody.differences, nobody.pairs) == ("", (), ())


def test_cold_items_are_measured_with_and_without_their_events() -> None:
    split = cold_items(EVENTS, 0.3)
    system = Popular()
    result = measured(system, split=split, tune=False).system("popular")
    assert result.metrics["ndcg@10"].n == split.focus.sum() == len(result.people["ndcg@10"])
    assert result.warm["ndcg@10"].n == split.focus.sum()
    assert result.warm["ndcg@10"].mean > result.metrics["ndcg@10"].mean
    assert len(system.fits[-1]) == len(split.warm_twin().train) > len(split.train)
    warm = [part for part in result.slices if (part.by, part.value) == ("target", "warm")]
    assert warm[0].n + split.focus.sum() <= len(split.focus)
    assert measured(Popular(), split=split, warm_twin=False).system("popular").warm == {}


def test_settings_are_chosen_by_all_cases_or_by_those_in_focus() -> None:
    split = cold_items(EVENTS, 0.3)
    served, special = (measured(Popular(), split=split, tune_on=rows).system("popular") for rows in ("all", "focus"))
    assert served.settings == {"power": 1.0}
    assert special.settings == {"power": -1.0}  # what nobody had comes first: good for cold items only
    assert special.metrics["ndcg@10"].mean > served.metrics["ndcg@10"].mean


def test_rows_of_one_person_widen_the_interval() -> None:
    split = cold_users(EVENTS, 0.5, shown=(0, 1))
    names = tuple(f"{user_id}/{row}" for row, user_id in enumerate(split.histories.user_ids))
    apart = replace(split, name="apart", histories=replace(split.histories, user_ids=names))
    whole = measured(Popular(), split=split, tune=False).system("popular").metrics["arp@10"]
    loose = measured(Popular(), split=apart, tune=False).system("popular").metrics["arp@10"]
    assert whole.mean == loose.mean
    assert (whole.low, whole.high) != (loose.low, loose.high)


def test_options_matter() -> None:
    usual = measured(Popular())
    assert usual.attribute == "genres"
    few = measured(Popular(), ks=(3,), attribute="maker", keep_people=False, lengths="quarters")
    assert few.ks == (3, 10)
    assert "ndcg@3" in few.system("popular").metrics
    assert "ndcg@5" not in few.system("popular").metrics
    assert few.attribute == "maker"
    assert few.system("popular").metrics["calibration@10"] != usual.system("popular").metrics["calibration@10"]
    assert few.system("popular").people == {}
    lengths = [[part.value for part in result.system("popular").slices if part.by == "history length"] for result in (usual, few)]
    assert lengths[0] == ["1-5", "6-20"]
    assert len(lengths[1]) == 4
    wide, narrow = (measured(Popular(), resamples=n).system("popular").metrics["ndcg@10"] for n in (200, 1000))
    assert wide.low != narrow.low


class TurnReading:
    def __init__(self) -> None:
        self.tasks: list[str] = []

    def start(self, task: str, total: int | None) -> None:
        self.tasks.append(task)

    def advance(self, n: int = 1) -> None: ...

    def finish(self) -> None: ...


def test_progress_says_whose_task_it_is() -> None:
    heard = TurnReading()
    measured(Popular(), Noise(), progress=heard, seeds=(7,))
    assert heard.tasks[0] == "popular, setting 1 of 3: ranking"
    assert heard.tasks[-2:] == ["noise, seed 7: learning", "noise, seed 7: ranking"]


def test_what_is_refused() -> None:
    with pytest.raises(EvaluationError, match="leaks: target in train"):
        measured(Popular(), split=replace(LOO, train=EVENTS))
    leaking_twin = replace(LOO, protocol=lambda part: leave_one_out(EVENTS))
    with pytest.raises(EvaluationError, match="in the tuning split"):
        measured(Popular(), split=leaking_twin)
    measured(Popular(), split=leaking_twin, tune=False)
    with pytest.raises(EvaluationError, match="name of its own"):
        measured(Popular(), Popular())
    with pytest.raises(EvaluationError, match="name of its own"):
        measured()
    with pytest.raises(EvaluationError, match="other items"):
        evaluate([Popular()], LOO, content(31))
    with pytest.raises(EvaluationError, match="reference 'z'"):
        measured(Popular(), reference="z")
    with pytest.raises(EvaluationError, match="seeds"):
        measured(Popular(), seeds=())
    with pytest.raises(EvaluationError, match="K \\[0\\]"):
        measured(Popular(), ks=(0, 10))


def test_many_scores_are_asked_for_in_batches() -> None:
    asked: list[int] = []

    class Counting(Popular):
        def with_settings(self, settings: Any, seed: int) -> "Counting":
            return Counting(self.name, settings["power"])

        def scores(self, histories: Any) -> Any:
            asked.append(len(histories.user_ids))
            return super().scores(histories)

    measured(Counting(), tune=False, batch_bytes=25 * 30 * 4)
    assert asked == [25, 25, 10]


def test_a_system_that_lacks_a_member_is_refused() -> None:
    class Misspelt:
        name, settings, gates, candidates = "misspelt", dict[str, Any](), None, 0
        seedde = True  # not taken for a system without seeds

        def grid(self) -> list[Any]:
            return []

        def with_settings(self, settings: Any, seed: int) -> "Misspelt":
            return self

        def fit(self, *_: Any) -> None: ...

        def scores(self, histories: Any) -> Any: ...

    with pytest.raises(EvaluationError, match="Misspelt is no System: it lacks seeded") as caught:
        measured(Misspelt())
    assert "SystemDefaults" in caught.value.hint
