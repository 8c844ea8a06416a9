"""What people's texts about captioned items would be like, from attributes alone."""

import numpy as np
import pytest

from genrec.retrieval.expected_text import expected_text
from genrec.retrieval.item_vectors import ModalityVectors, unit_rows
from genrec.types import Item

COLOURS, KINDS = ("red", "green", "blue", "black"), ("mug", "lamp", "chair")
N, WIDTH = 400, 24


@pytest.fixture
def shop() -> tuple[list[Item], np.ndarray, np.ndarray]:
    """Items, what people's texts about them are like (a part for each value, and chance), and a quarter that a model words."""
    rng = np.random.default_rng(0)
    parts = {value: rng.normal(size=WIDTH) for value in (*COLOURS, *KINDS)}
    items, rows = [], []
    for number in range(N):
        colour, kind = COLOURS[rng.integers(4)], KINDS[rng.integers(3)]
        price = float(rng.integers(1, 100))
        items.append(Item(item_id=f"i{number}", platform="", attributes={"colour": colour, "kind": (kind,), "price": price}))
        rows.append(parts[colour] + parts[kind] + 0.02 * price + 0.3 * rng.normal(size=WIDTH))
    return items, unit_rows(np.array(rows)), np.arange(N) % 4 == 0


def test_it_lies_where_people_would_write(shop: tuple[list[Item], np.ndarray, np.ndarray]) -> None:
    items, rows, written = shop
    found = expected_text(items, rows, ~written, written)
    length = np.linalg.norm(found, axis=1)
    np.testing.assert_allclose(length, length[0], atol=1e-5)
    assert 0.8 < length[0] < 1.0
    centre = rows.mean(axis=0)
    true, guess = unit_rows(rows[written] - centre), unit_rows(found / length[0] - centre)
    assert float((true * guess).sum(axis=1).mean()) > 0.9


def test_what_a_model_leaves_out_comes_back(shop: tuple[list[Item], np.ndarray, np.ndarray]) -> None:
    items, rows, written = shop
    rng = np.random.default_rng(1)
    style = rng.normal(size=WIDTH)
    told = rows.copy()
    told[written] = unit_rows(rows[written] + 0.5 * style + 0.2 * rng.normal(size=(int(written.sum()), WIDTH)))
    ids, everywhere = tuple(item.item_id for item in items), {"text": np.ones(N, bool)}
    plain = ModalityVectors(ids, {"text": told}, everywhere, {}, written)
    drawn = ModalityVectors(ids, {"text": told}, everywhere, {}, written, expected_text(items, told, ~written, written))

    def near(vectors: ModalityVectors) -> float:
        return float((vectors.aligned("text")[written] * rows[written]).sum(axis=1).mean())

    assert near(drawn) > near(plain) + 0.02
    np.testing.assert_array_equal(drawn.aligned("text")[~written], told[~written])
    np.testing.assert_allclose(np.linalg.norm(drawn.aligned("text"), axis=1), 1.0, atol=1e-5)


def test_attributes_that_tell_nothing_move_nothing(shop: tuple[list[Item], np.ndarray, np.ndarray]) -> None:
    items, _, written = shop
    rows = unit_rows(np.random.default_rng(2).normal(size=(N, WIDTH)))
    assert np.linalg.norm(expected_text(items, rows, ~written, written), axis=1).max() < 0.02
    bare = [Item(item_id=item.item_id, platform="") for item in items]
    assert not expected_text(bare, rows, ~written, written).any()


def test_few_known_items_teach_nothing(shop: tuple[list[Item], np.ndarray, np.ndarray]) -> None:
    items, rows, written = shop
    known = np.arange(N) < 29
    assert not expected_text(items, rows, known & ~written, written).any()
    assert expected_text(items, rows, ~written, np.zeros(N, bool)).shape == (0, WIDTH)
