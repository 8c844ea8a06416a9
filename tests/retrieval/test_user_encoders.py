"""Histories as vectors, and what each past item carries of a score: by mean and by network, against plain recomputation."""

import numpy as np
import pytest

from genrec.retrieval.behaviour import behaviour_vectors
from genrec.retrieval.catalogue import Catalogue
from genrec.retrieval.event_features import sequences_of
from genrec.retrieval.item_vectors import ModalityVectors
from genrec.retrieval.learned_retriever import LearnedItems, LearnedRetriever
from genrec.retrieval.user_encoders import EXPLAINED, LearnedUserEncoder, MeanUserEncoder
from genrec.settings.sections import RetrievalSettings
from genrec.types import Event
from tests.training import world

IDS = tuple(f"i{n:02d}" for n in range(world.ITEMS))
COLD = "i09"
"""Nothing is known of it: no events, no content."""


def past(*items: int | str) -> list[Event]:
    ids = [item if isinstance(item, str) else IDS[item] for item in items]
    return [Event(user_id="u", item_id=item_id, timestamp=100.0 * n, value=float(3 + n % 3)) for n, item_id in enumerate(ids)]


@pytest.fixture(scope="module")
def trained() -> tuple[LearnedRetriever, LearnedItems, Catalogue]:
    """Of items behind which nothing stands but events, so that cold ones are unknown."""
    train, content = world.events(people=60), world.content(text=False, attributes=False)
    made = behaviour_vectors(train.users, train.items, train.timestamps, n_items=world.ITEMS, dim=512, half_life=32.0)
    vectors = ModalityVectors(IDS, {"behaviour": made.vectors}, {"behaviour": made.present})
    retriever = world.trainer(epochs=5).train(train, content).retriever
    retriever.anchor = 2.0
    items = world.encoded(retriever, content, train)
    return retriever, items, Catalogue(vectors, train.popularity(), RetrievalSettings(), items)


@pytest.fixture(scope="module")
def people(trained: tuple[LearnedRetriever, LearnedItems, Catalogue]) -> LearnedUserEncoder:
    retriever, items, catalogue = trained
    return LearnedUserEncoder(catalogue, retriever, items)


def test_a_history_that_says_nothing(people: LearnedUserEncoder) -> None:
    for history in ([], past(COLD), past("gone"), past("gone", COLD)):
        assert not people.known(history)
        assert people.vectors([history]) == [None]
        shares = people.shares(history, ["i01"])
        assert (shares[0], shares[1].shape) == ((), (1, 0))
    assert people.known(past("gone", 3))
    one, other = people.vectors([past("gone", 3), past(3)])
    assert one is not None
    assert other is not None
    assert people.shares(past(3), [])[1].shape == (0, 1)


def test_many_are_as_one_by_one(people: LearnedUserEncoder) -> None:
    histories = [past(0, 1), [], past(11, 12, 13), past(COLD), past(5)]
    for history, row in zip(histories, people.vectors(histories), strict=True):
        (alone,) = people.vectors([history])
        assert (alone is None) is (row is None)
        if row is not None and alone is not None:
            assert alone == pytest.approx(row, abs=1e-5)


@pytest.mark.parametrize("history", [past(0, 1, 2, 12), past(0, 1, 0, 3), past("gone", 4, COLD, 5), past(3)])
def test_shares_are_the_fall_without_an_item(
    trained: tuple[LearnedRetriever, LearnedItems, Catalogue], people: LearnedUserEncoder, history: list[Event]
) -> None:
    retriever, items, _ = trained
    row_of = {IDS[row]: int(row) for row in np.flatnonzero(items.rows.any(1))}
    mean = items.rows[items.rows.any(1)].mean(0)

    def score(events: list[Event], item_id: str) -> float:
        """The network's score over the average item's, in the network's own scale; 0 for a history that says nothing."""
        person = retriever.people(sequences_of([events], IDS, row_of), items)[0].astype(np.float64)
        return float((items.rows[row_of[item_id]] - mean) @ person / person[-2]) if person.any() else 0.0

    shown = ["i02", "i06", "i13", "i20", "i05"]
    ids, shares = people.shares(history, shown)
    latest = list(dict.fromkeys(event.item_id for event in reversed(history) if event.item_id in row_of))
    assert list(ids) == latest[::-1]
    assert shares.shape == (5, len(ids))
    for row, item_id in enumerate(shown):
        whole = score(history, item_id)
        for column, left in enumerate(ids):
            fall = whole - score([event for event in history if event.item_id != left], item_id)
            expected = float(np.clip(fall / whole, -1, 1)) if whole > 1e-9 else 0.0
            assert shares[row, column] == pytest.approx(expected, abs=2e-3)
    assert shares.any()


def test_only_the_latest_items_are_left_out(people: LearnedUserEncoder) -> None:
    warm = [n for n in range(world.ITEMS) if n % world.EACH < world.EACH - world.COLD]
    ids, shares = people.shares(past(*warm), ["i02"])
    assert len(ids) == shares.shape[1] == EXPLAINED
    assert ids == tuple(IDS[n] for n in warm[-EXPLAINED:])


def test_an_item_of_which_nothing_is_known_has_no_shares(people: LearnedUserEncoder) -> None:
    """It can be shown all the same: a word of the query found it."""
    ids, shares = people.shares(past(0, 1), ["i02", COLD, "unheard of"])
    assert ids == ("i00", "i01")
    assert shares[0].any()
    assert not shares[1:].any()


def test_who_makes_the_vectors(trained: tuple[LearnedRetriever, LearnedItems, Catalogue], people: LearnedUserEncoder) -> None:
    assert people.learned is trained[0]
    assert MeanUserEncoder(trained[2], RetrievalSettings()).learned is None
