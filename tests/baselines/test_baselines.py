"""What every baseline must do: learn, fold in new people, say what is wrong, and have no option that does nothing."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from genrec.baselines import NAMES, baselines
from genrec.baselines.base import Baseline, needed
from genrec.errors import ConfigError, EvaluationError
from genrec.evaluation.splits import leave_one_out
from genrec.progress import SILENT
from genrec.retrieval.systems import System
from tests.baselines.baseline_world import N_ITEMS, content, sequences, world

CONTENT = content()
SPLIT = leave_one_out(world())
QUICK: dict[str, dict[str, Any]] = {
    "popularity": {},
    "item-knn": {"neighbours": 20},
    "ease": {"strength": 20.0},
    "als": {"factors": 16, "regularization": 1.0},
    "bpr": {"factors": 16, "iterations": 100},
    "sasrec": {"width": 16, "layers": 1, "epochs": 12, "learning_rate": 0.01, "length": 12, "patience": 12},
    "boosted": {"candidates": 30, "trees": 30, "folds": 2, "least": 5},
}
LEARNERS = [name for name in NAMES if name != "popularity"]
OTHER: list[tuple[str, str, Any]] = [
    ("popularity", "window", 0.05),
    ("item-knn", "neighbours", 2),
    ("item-knn", "shrinkage", 0.0),
    ("item-knn", "power", 0.9),
    ("item-knn", "half_life", None),
    ("ease", "strength", 300.0),
    ("ease", "half_life", None),
    ("als", "factors", 8),
    ("als", "regularization", 30.0),
    ("als", "alpha", 1.0),
    ("als", "iterations", 2),
    ("als", "half_life", None),
    ("bpr", "factors", 8),
    ("bpr", "learning_rate", 0.01),
    ("bpr", "regularization", 0.1),
    ("bpr", "iterations", 20),
    ("bpr", "half_life", None),
    ("sasrec", "width", 8),
    ("sasrec", "layers", 2),
    ("sasrec", "heads", 1),
    ("sasrec", "dropout", 0.0),
    ("sasrec", "length", 3),
    ("sasrec", "learning_rate", 0.001),
    ("sasrec", "weight_decay", 5.0),
    ("sasrec", "batch", 8),
    ("sasrec", "epochs", 2),
    ("sasrec", "patience", 1),
    ("boosted", "candidates", 10),
    ("boosted", "folds", 1),
    ("boosted", "trees", 5),
    ("boosted", "learning_rate", 0.3),
    ("boosted", "leaves", 3),
    ("boosted", "least", 100),
    ("boosted", "kept_features", 0.1),
]


def unfitted(name: str, seed: int = 0, **settings: Any) -> Baseline:
    (system,) = baselines([name])
    made = system.with_settings({**QUICK[name], **settings}, seed)
    assert isinstance(made, Baseline)
    return made


@pytest.fixture(scope="module")
def fitted() -> dict[str, Baseline]:
    """Every baseline with quick settings, fitted on the small world."""
    made = {name: unfitted(name) for name in NAMES}
    for system in made.values():
        system.fit(SPLIT.train, CONTENT, SILENT)
    return made


def hits(scores: np.ndarray, k: int = 5) -> float:
    scores = scores.copy()
    scores[SPLIT.histories.users, SPLIT.histories.items] = -np.inf
    top = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return float(np.mean([target[0] in row for target, row in zip(SPLIT.targets, top, strict=True)]))


def test_names_make_systems_in_order() -> None:
    chosen: list[System] = baselines(["ease", "popularity"])
    assert [system.name for system in chosen] == ["ease", "popularity"]
    assert tuple(system.name for system in baselines()) == NAMES


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="'svd'") as caught:
        baselines(["ease", "svd"])
    assert "item-knn" in caught.value.hint


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_one_row_a_person(name: str, fitted: dict[str, Baseline]) -> None:
    scores = fitted[name].scores(SPLIT.histories)
    assert scores.shape == (len(SPLIT.histories.user_ids), N_ITEMS)
    assert scores.dtype == np.float32
    assert np.isfinite(np.delete(scores.ravel(), np.flatnonzero(scores.ravel() == -np.inf))).all()


@pytest.mark.parametrize("name", LEARNERS)
def test_it_learns_more_than_what_is_popular(name: str, fitted: dict[str, Baseline]) -> None:
    assert hits(fitted[name].scores(SPLIT.histories)) > 1.5 * hits(fitted["popularity"].scores(SPLIT.histories))


@pytest.mark.parametrize("name", NAMES)
def test_scores_depend_on_the_history_alone(name: str, fitted: dict[str, Baseline]) -> None:
    """New people with the history of known ones, asked in another company, get the same scores."""
    some = np.array([7, 3, 90])
    expected = fitted[name].scores(SPLIT.histories)[some]
    alone = np.concatenate([fitted[name].scores(SPLIT.histories.take(some[row : row + 1])) for row in range(3)])
    assert np.array_equal(np.argsort(-alone, axis=1)[:, :5], np.argsort(-expected, axis=1)[:, :5])


@pytest.mark.parametrize("name", NAMES)
def test_people_without_events_get_what_is_popular(name: str, fitted: dict[str, Baseline]) -> None:
    scores = fitted[name].scores(sequences([[], [1, 2, 3]]))
    popularity = SPLIT.train.popularity()
    assert np.array_equal(np.argsort(-scores[0], kind="stable"), np.argsort(-popularity, kind="stable"))


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_of_the_grid_is_accepted_and_different(name: str) -> None:
    (system,) = baselines([name])
    made = [
        tuple(sorted(system.with_settings(settings, 1).settings.items(), key=lambda pair: pair[0])) for settings in system.grid()
    ]
    assert len(made) == len(set(made)) > 0


@pytest.mark.parametrize(("name", "setting", "value"), OTHER, ids=str)
def test_no_setting_is_inert(name: str, setting: str, value: Any, fitted: dict[str, Baseline]) -> None:
    changed = unfitted(name, **{setting: value})
    changed.fit(SPLIT.train, CONTENT, SILENT)
    assert changed.settings[setting] == value != fitted[name].settings[setting]
    assert not np.allclose(changed.scores(SPLIT.histories), fitted[name].scores(SPLIT.histories))


def test_no_setting_was_forgotten() -> None:
    for name in NAMES:
        assert {setting for other, setting, _ in OTHER if other == name} == set(unfitted(name).settings)


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_gives_the_same_model_again_and_another_seed_another(name: str, fitted: dict[str, Baseline]) -> None:
    again, other = unfitted(name), unfitted(name, seed=5)
    for system in (again, other):
        system.fit(SPLIT.train, CONTENT, SILENT)
    expected = fitted[name].scores(SPLIT.histories)
    assert np.allclose(again.scores(SPLIT.histories), expected, atol=1e-5)
    assert np.allclose(other.scores(SPLIT.histories), expected, atol=1e-5) == (not again.seeded)


def test_with_settings_keeps_the_other_settings() -> None:
    assert unfitted("ease", strength=7.0).with_settings({"half_life": 3.0}, 0).settings == {"strength": 7.0, "half_life": 3.0}


@pytest.mark.parametrize(("settings", "message"), [({"strenght": 1}, "strenght"), ({"strength": -1.0}, "greater than 0")])
def test_a_wrong_setting_is_refused(settings: dict[str, Any], message: str) -> None:
    (system,) = baselines(["ease"])
    with pytest.raises(ConfigError, match=message) as caught:
        system.with_settings(settings, 0)
    assert "half_life" in caught.value.hint


def test_a_width_that_heads_do_not_share_is_refused() -> None:
    with pytest.raises(ConfigError, match="width 10 is no multiple of 4 heads"):
        unfitted("sasrec", width=10, heads=4)


@pytest.mark.parametrize("name", NAMES)
def test_scores_before_fit_and_without_events_are_refused(name: str) -> None:
    with pytest.raises(EvaluationError, match="before it was fitted"):
        unfitted(name).scores(SPLIT.histories)
    with pytest.raises(EvaluationError, match="no events to learn from"):
        unfitted(name).fit(sequences([[], []]), CONTENT, SILENT)


def test_another_catalogue_is_refused(fitted: dict[str, Baseline]) -> None:
    with pytest.raises(EvaluationError, match=rf"fitted on {N_ITEMS} items, asked about 9"):
        fitted["ease"].scores(sequences([[1, 2]], n_items=9))


@pytest.mark.parametrize(("name", "package"), [("als", "implicit"), ("bpr", "implicit"), ("boosted", "lightgbm")])
def test_a_missing_package_says_what_to_install(name: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [module for module in sys.modules if module.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(EvaluationError, match=package) as caught:
        unfitted(name).fit(SPLIT.train, CONTENT, SILENT)
    assert caught.value.hint == "pip install 'genrec[eval]'"


def test_a_package_that_lacks_something_itself_says_so(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_package.py").write_text("import something_that_is_nowhere\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="something_that_is_nowhere"):
        needed("broken_package")


def test_the_names_load_nothing_heavy() -> None:
    heavy = "{'torch', 'scipy', 'implicit', 'lightgbm', 'numpy', 'pydantic'}"
    code = f"import sys, genrec.baselines; sys.exit(str({heavy} & set(sys.modules)) if {heavy} & set(sys.modules) else 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
