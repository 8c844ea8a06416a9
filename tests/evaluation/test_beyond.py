"""Coverage, popularity, novelty, diversity, calibration: by hand."""

from dataclasses import replace
from math import log, log2

import numpy as np
import pytest

from genrec.errors import EvaluationError
from genrec.evaluation.beyond_accuracy import Background, exposure_curve, gini, list_attribute, of_all, per_person
from genrec.evaluation.splits import leave_one_out
from genrec.retrieval.item_vectors import ModalityVectors
from genrec.retrieval.systems import Content
from genrec.types import Item
from tests.evaluation.events import content, sequences

NONE = -1
IDS = ("i0", "i1", "i2", "i3")


def background(genres: list[tuple[str, ...]] | None = None, attribute: str | None = None) -> Background:
    """Two people whose histories are (i0, i1) and (i0,); i2 and i3 are new."""
    split = leave_one_out(sequences([[0, 1, 2], [0, 3]], 4))
    rows = np.array([[1, 0], [0, 1], [1, 0], [0, 0]], np.float32)
    vectors = ModalityVectors(IDS, {"text": rows}, {"text": np.array([True, True, True, False])})
    attributes = [{"genres": genre} if genre else {} for genre in genres or [()] * 4]
    items = [Item(item_id=item_id, attributes=given) for item_id, given in zip(IDS, attributes, strict=True)]
    return Background.of(split, Content(items=items, vectors=vectors), attribute)


def lists(*rows: list[int]) -> np.ndarray:
    return np.array(rows, np.int32)


def test_popularity_and_novelty() -> None:
    made = per_person(lists([0, 1], [2, NONE], [NONE, NONE]), (1, 2), replace(background(), taste=np.zeros((3, 0))))
    assert made["arp@2"][:2].tolist() == [1.5, 0]
    assert made["arp@1"][:2].tolist() == [2, 0]
    assert made["novelty@2"][:2].tolist() == [0.5 * (0 - log2(1 / 2)), -log2(1 / 2)]
    assert all(np.isnan(values[2]) for values in made.values())


def test_diversity() -> None:
    made = per_person(lists([0, 1, 2], [0, 2, NONE], [0, 3, NONE]), (1, 3), replace(background(), taste=np.zeros((3, 0))))
    assert made["diversity@3"][:2] == pytest.approx([1 - 1 / 3, 0])
    assert np.isnan(made["diversity@3"][2])  # i3 has no vector
    assert "diversity@1" not in made


def test_calibration() -> None:
    known = background([("a", "b"), ("a",), ("b",), ("c",)], "genres")
    made = per_person(lists([2, 3], [3, NONE]), (1, 2), known)
    taste = {"a": 0.75, "b": 0.25}  # of i0 half each, of i1 all on a
    shown = {"a": 0.0, "b": 0.5}
    expected = sum(p * log(p / (0.99 * shown[name] + 0.01 * p)) for name, p in taste.items())
    assert made["calibration@2"][0] == pytest.approx(expected)
    exact = per_person(lists([0, 1], [0, NONE]), (2,), known)["calibration@2"]
    assert exact == pytest.approx([0, 0])
    empty = background([(), (), ("b",), ("c",)], "genres")
    assert np.isnan(per_person(lists([2, 3], [3, NONE]), (2,), empty)["calibration@2"]).all()


def test_the_attribute_of_calibration() -> None:
    items = list(content(60).items)
    assert list_attribute(items) == "genres"
    tagged = [
        replace(item, attributes=dict(item.attributes) | {"cast": (f"actor {n}", f"actor {n + 1}")})
        for n, item in enumerate(items)
    ]
    assert list_attribute(tagged) == "genres"  # names of one or two items say nothing about taste
    assert list_attribute([Item(item_id="i", attributes={"year": 1990})]) == ""
    assert background().attribute == ""
    assert "calibration@2" not in per_person(lists([0, 1], [2, 3]), (2,), background())
    scalar = Background.of(leave_one_out(sequences([[0, 1, 2]], 60)), content(60), "maker")
    assert scalar.attribute == "maker"
    assert scalar.values is not None
    assert scalar.values.shape == (60, 2)
    with pytest.raises(EvaluationError, match="no item has the attribute 'colour'") as caught:
        Background.of(leave_one_out(sequences([[0, 1, 2]], 60)), content(60), "colour")
    assert caught.value.hint == "There are: genres, maker."


def test_coverage_and_exposure() -> None:
    known = background()
    made = of_all(lists([0, 1], [0, NONE]), (1, 2), known)
    assert made["coverage@1"] == 0.25
    assert made["coverage@2"] == 0.5
    assert made["gini@1"] == 0.75
    curve = exposure_curve(lists([0, 1], [0, NONE]), known)
    assert curve == ((0, 0), (0.25, 0.66667), (0.5, 1), (0.75, 1), (1, 1))
    assert exposure_curve(lists([NONE, NONE]), known) == ()
    part = replace(known, candidates=np.array([True, True, False, False]))
    assert of_all(lists([0, 1], [0, NONE]), (2,), part)["coverage@2"] == 1


def test_gini_equals_the_mean_difference() -> None:
    counts = np.random.default_rng(0).integers(0, 20, 50)
    expected = np.abs(counts[:, None] - counts[None]).mean() / (2 * counts.mean())
    assert gini(counts) == pytest.approx(expected)
    assert gini(np.ones(9, int)) == 0
    assert gini(np.zeros(9, int)) == 0
