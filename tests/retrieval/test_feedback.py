"""What people said, out of their histories, and what it does to both retrievers' people."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec.retrieval.behaviour import behaviour_vectors
from genrec.retrieval.catalogue import Catalogue
from genrec.retrieval.event_features import EventSpace, sequences_of
from genrec.retrieval.feedback import DAY, in_force, preferences_of
from genrec.retrieval.item_vectors import ModalityVectors
from genrec.retrieval.mean_profile import leave_one_out
from genrec.retrieval.user_encoders import LearnedUserEncoder, MeanUserEncoder, UserEncoder
from genrec.settings.sections import FeedbackSettings, RetrievalSettings
from genrec.types import DISLIKE, FEEDBACK, LIKE, NOT_NOW, NOT_TASTE, SEEN, Event
from tests.training import world

IDS = tuple(f"i{n:02d}" for n in range(world.ITEMS))
KINDS = st.sampled_from(["interaction", "buy", *FEEDBACK])
HISTORIES = st.lists(st.tuples(st.sampled_from(IDS), KINDS, st.one_of(st.none(), st.integers(1, 5))), max_size=12)

Make = Callable[[FeedbackSettings], UserEncoder]


def events(*said: tuple[int | str, str] | tuple[int | str, str, float | None]) -> list[Event]:
    """(item, kind) or (item, kind, value), one after another."""
    return [
        Event(
            user_id="u",
            item_id=one[0] if isinstance(one[0], str) else IDS[one[0]],
            kind=one[1],
            value=one[2] if len(one) > 2 else None,
            timestamp=100.0 * n,
        )
        for n, one in enumerate(said)
    ]


@pytest.fixture(scope="module")
def makers() -> dict[str, tuple[Make, np.ndarray]]:
    """By name of the retriever: people with these settings, and the rows of the items that they look for."""
    train, content = world.events(people=60), world.content(text=False, attributes=False)
    made = behaviour_vectors(train.users, train.items, train.timestamps, n_items=world.ITEMS, dim=512, half_life=32.0)
    vectors = ModalityVectors(IDS, {"behaviour": made.vectors}, {"behaviour": made.present})
    retriever = world.trainer(epochs=5).train(train, content).retriever
    retriever.anchor = 2.0
    items = world.encoded(retriever, content, train)
    plain = Catalogue(vectors, train.popularity(), RetrievalSettings())
    learned = Catalogue(vectors, train.popularity(), RetrievalSettings(), items)
    return {
        "fused": (lambda how: MeanUserEncoder(plain, RetrievalSettings(), how), plain.fused),
        "learned": (lambda how: LearnedUserEncoder(learned, retriever, items, how), items.rows),
    }


def row(people: UserEncoder, history: list[Event]) -> np.ndarray:
    (found,) = people.vectors([history])
    assert found is not None
    assert np.linalg.norm(found) == pytest.approx(1.0, abs=1e-5)
    return found


@given(HISTORIES)
@settings(max_examples=200, deadline=None)
def test_the_last_word_counts_and_nothing_is_in_two_places(said: list[tuple[str, str, float | None]]) -> None:
    history = events(*said)
    found = preferences_of(history)
    assert not set(found.liked) & set(found.disliked)
    words = {e.item_id: e.kind for e in history if e.kind in (LIKE, DISLIKE)}
    assert set(found.liked) == {item for item, kind in words.items() if kind == LIKE}
    assert set(found.disliked) == {item for item, kind in words.items() if kind == DISLIKE}
    assert not {e.item_id for e in found.positive} & set(found.disliked)
    assert not {e.kind for e in found.positive} & NOT_TASTE
    assert len([e for e in found.positive if e.kind == LIKE]) == len(found.liked)
    places = [history.index(e) for e in found.positive]
    assert places == sorted(places)
    kept = {e.item_id for e in history if e.kind not in NOT_TASTE and e.kind != LIKE} - set(found.disliked)
    assert kept <= {e.item_id for e in found.positive}
    assert preferences_of(found.positive).positive == found.positive


def test_not_now_runs_out_and_nothing_else_does() -> None:
    history = events((1, NOT_NOW), (2, SEEN), (3, DISLIKE), (4, "buy"), (5, LIKE))
    assert in_force(history, now=DAY * 29, not_now_days=30.0) == history
    assert in_force(history, now=DAY * 30, not_now_days=30.0) == history[1:]
    assert in_force(history, now=1.0, not_now_days=0.0) == history[1:]


@pytest.mark.parametrize("name", ["fused", "learned"])
class TestPeople:
    """The world's items are of kinds of ten; people keep to their kinds."""

    def test_a_dislike_pushes_away_what_is_like_it(self, makers: dict[str, tuple[Make, np.ndarray]], name: str) -> None:
        make, rows = makers[name]
        before, after = events((0, "buy"), (11, "buy")), events((0, "buy"), (11, "buy"), (12, DISLIKE))
        people = make(FeedbackSettings(dislike=0.5))
        scores = rows @ np.stack([row(people, before), row(people, after)]).T
        gap = scores[1:10].mean(axis=0) - scores[[10, 13, 14, 15, 16, 17, 18, 19]].mean(axis=0)
        assert gap[1] > gap[0]  # the kind of the disliked item falls behind the other kind
        unheard = make(FeedbackSettings(dislike=0.0))
        assert row(unheard, after) == pytest.approx(row(unheard, before), abs=1e-6)
        stronger = rows @ row(make(FeedbackSettings(dislike=1.0)), after)
        assert stronger[1:10].mean() - stronger[[10, *range(13, 20)]].mean() > gap[1]

    def test_a_disliked_item_says_nothing_for_itself(self, makers: dict[str, tuple[Make, np.ndarray]], name: str) -> None:
        people = makers[name][0](FeedbackSettings(dislike=0.0))
        bought = events((0, "buy"), (11, "buy", 5.0), (11, DISLIKE))
        assert row(people, bought) == pytest.approx(row(people, bought[:1]), abs=1e-6)
        assert people.shares(bought, [IDS[1]])[0] == (IDS[0],)
        assert not people.known(events((11, DISLIKE)))
        assert people.vectors([events((11, DISLIKE), (12, "buy"), (12, DISLIKE))]) == [None]

    def test_a_like_counts_more_than_a_choice(self, makers: dict[str, tuple[Make, np.ndarray]], name: str) -> None:
        make, rows = makers[name]
        liked = events((11, LIKE), (0, "buy"), (1, "buy"))
        weak, strong = (rows @ row(make(FeedbackSettings(like=like)), liked) for like in (1.0, 5.0))
        gap = [s[12:20].mean() - s[2:10].mean() for s in (weak, strong)]
        assert gap[1] > gap[0]

    def test_where_all_is_liked_nothing_is_moved(self, makers: dict[str, tuple[Make, np.ndarray]], name: str) -> None:
        make = makers[name][0]
        history = events((0, LIKE), (1, LIKE), (11, LIKE))
        weak, strong = (row(make(FeedbackSettings(like=like)), history) for like in (1.0, 5.0))
        assert weak == pytest.approx(strong, abs=1e-5)

    @pytest.mark.parametrize("kind", [SEEN, NOT_NOW])
    def test_seen_and_not_now_say_nothing(self, makers: dict[str, tuple[Make, np.ndarray]], name: str, kind: str) -> None:
        people = makers[name][0](FeedbackSettings())
        before, after = events((0, "buy"), (1, "buy")), events((0, "buy"), (1, "buy"), (11, kind))
        assert row(people, before) == pytest.approx(row(people, after), abs=1e-6)
        assert people.shares(after, [IDS[2]])[0] == people.shares(before, [IDS[2]])[0]

    def test_a_batch_is_as_one_by_one(self, makers: dict[str, tuple[Make, np.ndarray]], name: str) -> None:
        people = makers[name][0](FeedbackSettings())
        histories = [
            events((0, "buy"), (11, DISLIKE)),
            events((0, "buy")),
            [],
            events((3, LIKE), (4, "buy"), (12, DISLIKE), (13, DISLIKE)),
            events(("gone", DISLIKE), (5, "buy")),
        ]
        for history, found in zip(histories, people.vectors(histories), strict=True):
            (alone,) = people.vectors([history])
            assert (alone is None) is (found is None)
            if alone is not None and found is not None:
                assert alone == pytest.approx(found, abs=1e-5)

    def test_taken_back_it_is_as_before(self, makers: dict[str, tuple[Make, np.ndarray]], name: str) -> None:
        people = makers[name][0](FeedbackSettings())
        again = events((0, "buy"), (11, DISLIKE), (11, LIKE))
        without = [again[0], again[2]]
        assert row(people, again) == pytest.approx(row(people, without), abs=1e-6)


def test_shares_beside_a_dislike_are_the_fall_without_an_item(makers: dict[str, tuple[Make, np.ndarray]]) -> None:
    make, rows = makers["fused"]
    people = make(FeedbackSettings(dislike=0.4))
    assert isinstance(people, MeanUserEncoder)
    history = events((0, "buy"), (1, LIKE), (2, "buy"), (11, DISLIKE))
    user = people.user(history)
    assert user is not None
    assert user.away.any()
    falls = leave_one_out(user, rows[[3, 4, 12]])
    total = user.weights @ user.rows
    for place in range(3):
        rest = total - user.weights[place] * user.rows[place] + user.away
        for shown, item in enumerate((3, 4, 12)):
            whole, without = float(rows[item] @ user.vector), float(rows[item] @ rest / np.linalg.norm(rest))
            expected = np.clip((whole - without) / whole, -1, 1) if whole > 1e-9 else 0.0
            assert falls[shown, place] == pytest.approx(expected, abs=1e-4)


def test_a_like_needs_no_scale(makers: dict[str, tuple[Make, np.ndarray]]) -> None:
    """Ratings of 1 to 5 and of 1 to 100 leave the same mark of a like; what the network makes of it: the next test."""
    people = makers["fused"][0](FeedbackSettings())
    small = events((0, "buy", 1.0), (1, "buy", 5.0), (11, LIKE))
    large = events((0, "buy", 1.0), (1, "buy", 100.0), (11, LIKE))
    assert row(people, small) == pytest.approx(row(people, large), abs=1e-6)


def test_a_like_has_a_bucket_of_its_own() -> None:
    """It is a high value of those seen in training, moves nobody's mean, and is no value where none were seen."""
    rated = events(*((n, "buy", float(1 + n % 5)) for n in range(10)))
    train = sequences_of([rated], IDS, {item: n for n, item in enumerate(IDS)})
    space = EventSpace.fit(train)
    buckets = space.columns(train)["values"]
    assert space.liked >= np.median(buckets)
    assert space.liked <= buckets.max()
    asked = sequences_of([[*rated[:4], *events((11, LIKE)), *rated[4:]]], IDS, {item: n for n, item in enumerate(IDS)})
    columns = space.columns(asked)
    assert columns["values"].tolist() == [*buckets[:4], space.liked, *buckets[4:]]
    assert columns["kinds"].tolist() == [1] * 11  # training saw one kind of events, and a like is one of them
    assert EventSpace.from_json(space.to_json()) == space
    bare = EventSpace.fit(sequences_of([events((0, "buy"), (1, "view"))], IDS, {item: n for n, item in enumerate(IDS)}))
    assert bare.columns(asked)["values"].tolist() == [0] * 11
    assert bare.columns(asked)["kinds"][4] == 0  # of which of the two kinds it is like, nobody knows
