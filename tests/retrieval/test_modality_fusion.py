import numpy as np
import pytest

from genrec.errors import ConfigError
from genrec.retrieval.item_vectors import ModalityVectors, unit_rows
from genrec.retrieval.modality_fusion import as_history, centred, expected_behaviour, fuse

WEIGHTS = {"text": 0.6, "image": 0.4, "behaviour": 1.0}


def make(n: int = 60, seed: int = 0) -> tuple[ModalityVectors, np.ndarray]:
    """Behaviour follows the text, images follow nothing; items 0-9 have no image, 10-19 no events, 20 nothing at all."""
    rng = np.random.default_rng(seed)
    text = unit_rows(rng.normal(size=(n, 5)) + 1.0)
    turn = rng.normal(size=(5, 4))
    parts = {"text": text, "image": unit_rows(rng.normal(size=(n, 3))), "behaviour": unit_rows((text - text.mean(axis=0)) @ turn)}
    present = {name: np.ones(n, bool) for name in parts}
    present["image"][:10] = present["behaviour"][10:20] = False
    for name in parts:
        present[name][20] = False
        parts[name] = parts[name] * present[name][:, None].astype(np.float32)
    popularity = rng.integers(1, 200, size=n) * present["behaviour"]
    return ModalityVectors(tuple(map(str, range(n))), parts, present), popularity


def test_rows_have_length_one_and_an_empty_item_is_zero() -> None:
    vectors, popularity = make()
    fused = fuse(vectors, WEIGHTS, popularity)
    assert fused.shape == (60, 5 + 3 + 4 + 1)
    assert fused.dtype == np.float32
    lengths = np.linalg.norm(fused, axis=1)
    assert lengths[20] == 0
    np.testing.assert_allclose(np.delete(lengths, 20), 1.0, atol=1e-5)
    assert fused.tobytes() == fuse(vectors, WEIGHTS, popularity).tobytes()


def test_the_product_is_the_weighted_mean_of_cosines() -> None:
    vectors, _ = make()
    fused = fuse(vectors, WEIGHTS)  # without popularity: behaviour in full, no doubt where all is present
    content = {name: centred(vectors.matrices[name], vectors.present[name]) for name in ("text", "image")}
    a, b = 30, 41
    expected = 0.3 * content["text"][a] @ content["text"][b] + 0.2 * content["image"][a] @ content["image"][b]
    expected += 0.5 * vectors.matrices["behaviour"][a] @ vectors.matrices["behaviour"][b]
    assert fused[a] @ fused[b] == pytest.approx(expected, abs=1e-5)
    assert fused[a, -1] == pytest.approx(0.0, abs=1e-3)


def test_each_weight_moves_the_vectors_and_zero_takes_the_modality_out() -> None:
    vectors, popularity = make()
    base = fuse(vectors, WEIGHTS, popularity)
    for name in WEIGHTS:
        assert np.abs(fuse(vectors, WEIGHTS | {name: 3.0}, popularity) - base).max() > 0.05
        assert fuse(vectors, WEIGHTS | {name: 0.0}, popularity).shape[1] == base.shape[1] - vectors.matrices[name].shape[1]


def test_other_content_carries_the_share_of_a_missing_picture() -> None:
    vectors, popularity = make()
    fused = fuse(vectors, WEIGHTS, popularity)
    assert np.linalg.norm(fused[3, :8]) == pytest.approx(np.linalg.norm(fused[40, :8]), abs=1e-5)
    assert not fused[3, :3].any()  # image comes first by name


def test_doubt_falls_with_the_number_of_people() -> None:
    vectors, popularity = make()
    behaviour_only = ModalityVectors(
        vectors.item_ids, {"behaviour": vectors.matrices["behaviour"]}, {"behaviour": vectors.present["behaviour"]}
    )
    doubt = fuse(behaviour_only, {"behaviour": 1.0}, popularity, trust=5.0)[:, -1]
    there = np.flatnonzero(popularity)
    order = there[np.argsort(popularity[there])]
    assert (np.diff(doubt[order]) <= 1e-6).all()
    assert doubt[order[0]] > doubt[order[-1]] + 0.1
    one = popularity[order[0]]
    assert doubt[order[0]] == pytest.approx(np.sqrt(1 - (one / (one + 5)) ** 2), abs=1e-5)


def test_a_new_item_is_placed_where_its_content_belongs() -> None:
    vectors, popularity = make()
    full, _ = make()
    truth = unit_rows(
        (full.matrices["text"] - full.matrices["text"].mean(axis=0)) @ np.random.default_rng(0).normal(size=(5, 4))
    )  # only its width matters here
    content = centred(vectors.matrices["text"], vectors.present["text"])
    expected = expected_behaviour(content, vectors.matrices["behaviour"], popularity.astype(float))
    known = popularity > 0
    assert truth.shape == expected.shape
    assert np.linalg.norm(expected, axis=1).max() <= 1 + 1e-6
    fit = (unit_rows(expected) * vectors.matrices["behaviour"]).sum(axis=1)[known]
    assert np.median(fit) > 0.9
    fused = fuse(vectors, {"text": 0.2, "behaviour": 1.0}, popularity)
    assert np.linalg.norm(fused[10:20, 5:9], axis=1).min() > 0.1


def test_trust_moves_the_vectors_and_zero_trusts_all() -> None:
    vectors, popularity = make()
    assert np.abs(fuse(vectors, WEIGHTS, popularity, trust=50.0) - fuse(vectors, WEIGHTS, popularity, trust=1.0)).max() > 0.05
    np.testing.assert_allclose(fuse(vectors, WEIGHTS, popularity, trust=0.0)[30], fuse(vectors, WEIGHTS)[30], atol=0.15)


def test_centring_takes_the_common_part_off() -> None:
    rng = np.random.default_rng(3)
    matrix = unit_rows(rng.normal(size=(50, 6)) + 4.0)
    off = np.ones(50, bool)
    assert (matrix @ matrix.T).mean() > 0.8
    assert abs((centred(matrix, off) @ centred(matrix, off).T).mean()) < 0.05
    same = np.repeat(matrix[:1], 4, axis=0)
    assert np.array_equal(centred(same, np.ones(4, bool)), same)
    assert np.array_equal(centred(matrix[:1], np.ones(1, bool)), matrix[:1])


def test_a_history_row_has_no_doubt() -> None:
    vectors, popularity = make()
    fused = fuse(vectors, WEIGHTS, popularity)
    rows = as_history(fused)
    assert not rows[:, -1].any()
    assert fused[:, -1].any()
    assert np.array_equal(rows[:, :-1], fused[:, :-1])


@pytest.mark.parametrize(
    "weights", [{}, {"text": 0.0}, {"sound": 1.0}, {"text": -1.0}, {"text": float("nan")}, {"text": float("inf")}]
)
def test_weights_that_leave_nothing_are_refused(weights: dict[str, float]) -> None:
    vectors, popularity = make()
    with pytest.raises(ConfigError, match="retrieval"):
        fuse(vectors, weights, popularity)
