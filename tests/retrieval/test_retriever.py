from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from genrec.errors import ConfigError, DataError, UnknownItemError
from genrec.filters import Field, parse
from genrec.index.edge import EdgeIndex
from genrec.index.protocol import IndexSpec, Point
from genrec.retrieval.catalogue import Catalogue
from genrec.retrieval.item_vectors import ModalityVectors, unit_rows
from genrec.retrieval.mean_profile import leave_one_out
from genrec.retrieval.retriever import EXACT_FROM, CandidateRequest, Retriever, mmr
from genrec.retrieval.user_encoders import MeanUserEncoder
from genrec.settings.sections import RetrievalSettings
from genrec.types import AttributeValue, Candidate, Event

N = 60
FIELDS = {"year": Field("number")}


def catalogue(settings: RetrievalSettings) -> Catalogue:
    """Three groups of 20 items by text and behaviour. Items 0-4 are new: no events. Item 59 has neither text nor events."""
    rng = np.random.default_rng(0)
    group = np.arange(N) // 20
    text = unit_rows(np.eye(8)[group] + 0.25 * rng.normal(size=(N, 8)))
    behaviour = unit_rows(np.eye(6)[group] + 0.25 * rng.normal(size=(N, 6)))
    has_text, has_events = np.ones(N, bool), np.ones(N, bool)
    has_text[59] = has_events[59] = False
    has_events[:5] = False
    text[~has_text] = 0
    behaviour[~has_events] = 0
    vectors = ModalityVectors(
        tuple(f"m{place:02}" for place in range(N)),
        {"text": text, "behaviour": behaviour},
        {"text": has_text, "behaviour": has_events},
    )
    popularity = np.where(has_events, 100 - np.arange(N), 0)
    return Catalogue(vectors, popularity, settings)


def mean(subject: Retriever) -> MeanUserEncoder:
    assert isinstance(subject.user_encoder, MeanUserEncoder)
    return subject.user_encoder


def fill(index: EdgeIndex, known: Catalogue) -> None:
    index.recreate(IndexSpec(vectors=known.dims(), fields=FIELDS))
    points = []
    for place, item_id in enumerate(known.vectors.item_ids):
        payload: Mapping[str, AttributeValue] = {
            "item_id": item_id,
            "title": f"film {place}",
            "platform": "",
            "year": 1950 + place,
        }
        words = f"story number{place} of {('love', 'war', 'space')[place // 20]}"
        points.append(Point(item_id=item_id, vectors=known.point(item_id), text=words, payload=payload))
    index.upsert(points)
    index.finish()


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeIndex]:
    with EdgeIndex(tmp_path_factory.mktemp("index"), exact=True) as opened:
        fill(opened, catalogue(RetrievalSettings()))
        yield opened


def retriever(index: EdgeIndex, **changes: object) -> Retriever:
    settings = RetrievalSettings.model_validate(changes)
    return Retriever(index, catalogue(settings), settings)


def past(*places: int, values: tuple[float, ...] = ()) -> list[Event]:
    return [
        Event(user_id="u", item_id=f"m{place:02}", timestamp=float(step), value=values[step] if values else None)
        for step, place in enumerate(places)
    ]


def ids(found: list[Candidate]) -> list[str]:
    return [candidate.item_id for candidate in found]


def groups(found: list[Candidate]) -> list[int]:
    return [int(candidate.item_id[1:]) // 20 for candidate in found]


def test_a_history_finds_its_own_group_and_not_itself(index: EdgeIndex) -> None:
    (found,) = retriever(index).candidates([CandidateRequest(history=past(25, 30, 35))], 10)
    assert groups(found) == [1] * 10
    assert not {"m25", "m30", "m35"} & set(ids(found))
    assert [candidate.score for candidate in found] == sorted((candidate.score for candidate in found), reverse=True)
    assert all(candidate.sources.keys() == {"fused"} for candidate in found)


def test_the_engine_agrees_with_plain_products(index: EdgeIndex) -> None:
    subject, known = retriever(index), catalogue(RetrievalSettings())
    user = mean(subject).user(past(25, 30, 35))
    assert user is not None
    scores = known.fused @ user.vector
    scores[[25, 30, 35]] = -np.inf
    (found,) = subject.candidates([CandidateRequest(history=past(25, 30, 35))], 15)
    assert ids(found) == [f"m{place:02}" for place in np.argsort(-scores)[:15]]
    assert [candidate.score for candidate in found] == pytest.approx(np.sort(scores)[::-1][:15].tolist(), abs=1e-4)


def test_a_batch_gives_the_same_as_one_by_one(index: EdgeIndex) -> None:
    subject = retriever(index, popular_share=0.3)
    requests = [
        CandidateRequest(history=past(25)),
        CandidateRequest(),
        CandidateRequest(query="space", history=past(3)),
        CandidateRequest(interests="war", interest_vectors={"text": np.eye(8, dtype=np.float32)[1]}),
    ]
    together = subject.candidates(requests, 6)
    assert together == [subject.candidates([ask], 6)[0] for ask in requests]
    assert [c.sources for c in together[0]] == [c.sources for c in subject.candidates([requests[0]], 6)[0]]
    assert subject.candidates([], 6) == []


def test_recency_and_values_and_length_of_history_change_the_answer(index: EdgeIndex) -> None:
    last_in_group_2 = past(25, 26, 27, 28, 45)
    assert groups(retriever(index, half_life=0.3).candidates([CandidateRequest(history=last_in_group_2)], 5)[0]) == [2] * 5
    assert groups(retriever(index, half_life=100.0).candidates([CandidateRequest(history=last_in_group_2)], 5)[0]) == [1] * 5
    assert (
        groups(retriever(index, half_life=100.0, history=1).candidates([CandidateRequest(history=last_in_group_2)], 5)[0])
        == [2] * 5
    )
    disliked = past(5, 45, values=(5.0, 1.0))
    assert (
        groups(retriever(index, half_life=1.0, negative_value=0.0).candidates([CandidateRequest(history=disliked)], 5)[0])
        == [0] * 5
    )
    assert (
        groups(retriever(index, half_life=1.0, negative_value=1.0).candidates([CandidateRequest(history=disliked)], 5)[0])
        == [2] * 5
    )


def test_new_items_are_found_by_their_content(index: EdgeIndex) -> None:
    (found,) = retriever(index).candidates([CandidateRequest(history=past(8, 12, 16))], 17)
    assert {"m00", "m01", "m02", "m03", "m04"} <= set(ids(found))
    user = mean(retriever(index)).user(past(0))  # a person whose only item is new
    assert user is not None
    assert groups(retriever(index).candidates([CandidateRequest(history=past(0))], 5)[0]) == [0] * 5


def test_filters_and_exclusions_hold_and_fewer_are_returned_as_they_are(index: EdgeIndex) -> None:
    late = parse("year >= 1990 and year < 1995", FIELDS)
    subject = retriever(index)
    (found,) = subject.candidates([CandidateRequest(history=past(25), filter=late, exclude=frozenset({"m41"}))], 10)
    assert sorted(ids(found)) == ["m40", "m42", "m43", "m44"]
    (cold,) = subject.candidates([CandidateRequest(filter=late, exclude=frozenset({"m41"}))], 10)
    assert sorted(ids(cold)) == ["m40", "m42", "m43", "m44"]
    assert subject.candidates([CandidateRequest(history=past(25), filter=parse("year > 3000", FIELDS))], 10) == [[]]


def test_repeats_may_be_asked_for(index: EdgeIndex) -> None:
    (found,) = retriever(index).candidates([CandidateRequest(history=past(25), repeats=True)], 3)
    assert ids(found)[0] == "m25"


def test_without_history_popular_items_come_in_order_when_diversity_is_off(index: EdgeIndex) -> None:
    popularity = catalogue(RetrievalSettings()).popularity
    (found,) = retriever(index, diversity=0.0).candidates([CandidateRequest()], 8)
    assert [popularity[int(item[1:])] for item in ids(found)] == sorted(popularity, reverse=True)[:8]
    assert all(candidate.sources.keys() == {"popular"} for candidate in found)
    assert found[0].score == pytest.approx(1.0, abs=1e-5)


def test_diversity_spreads_the_cold_list(index: EdgeIndex) -> None:
    def spread(diversity: float) -> int:
        subject = retriever(index, diversity=diversity)
        (found,) = subject.candidates([CandidateRequest()], 9)
        assert len(set(ids(found))) == 9
        assert groups(found)[0] == 0
        assert [candidate.score for candidate in found] == sorted((candidate.score for candidate in found), reverse=True)
        return max(groups(found).count(group) for group in range(3))

    assert spread(0.0) == 9
    assert spread(0.5) <= 5


def test_events_on_unknown_items_count_as_no_history(index: EdgeIndex) -> None:
    stranger = [Event(user_id="u", item_id="gone")]
    assert mean(retriever(index)).user(stranger) is None
    (found,) = retriever(index).candidates([CandidateRequest(history=stranger)], 3)
    assert all("popular" in candidate.sources for candidate in found)
    assert mean(retriever(index)).user(past(59)) is None  # an item without any vector


def test_interests_serve_before_there_is_history(index: EdgeIndex) -> None:
    subject = retriever(index)
    space = {"text": np.eye(8, dtype=np.float32)[2]}
    (by_vector,) = subject.candidates([CandidateRequest(interest_vectors=space)], 5)
    assert groups(by_vector) == [2] * 5
    assert all(candidate.sources.keys() == {"interests"} for candidate in by_vector)
    (by_words,) = subject.candidates([CandidateRequest(interests="war")], 5)
    assert groups(by_words) == [1] * 5
    (with_history,) = subject.candidates([CandidateRequest(interests="war", interest_vectors=space, history=past(8))], 5)
    assert groups(with_history) == [0] * 5


def test_a_query_is_searched_by_words_and_vectors_and_says_which_found(index: EdgeIndex) -> None:
    (found,) = retriever(index).candidates([CandidateRequest(query="number47")], 5)
    assert ids(found) == ["m47"]
    assert found[0].sources.keys() == {"bm25"}
    legs = {"text": np.eye(8, dtype=np.float32)[2]}
    (both,) = retriever(index).candidates([CandidateRequest(query="space", query_vectors=legs, history=past(45))], 5)
    assert groups(both) == [2] * 5
    assert any(candidate.sources.keys() == {"bm25", "text", "fused"} for candidate in both)


def test_a_share_of_the_list_is_kept_for_popular_items(index: EdgeIndex) -> None:
    plain = retriever(index).candidates([CandidateRequest(history=past(25))], 10)[0]
    (mixed,) = retriever(index, popular_share=0.4).candidates([CandidateRequest(history=past(25))], 10)
    assert ids(mixed)[:6] == ids(plain)[:6]
    assert len(set(ids(mixed))) == 10
    assert [set(candidate.sources) for candidate in mixed[6:]] == [{"popular"}] * 4
    user = mean(retriever(index)).user(past(25))
    assert user is not None
    rows = retriever(index)._catalogue.rows(ids(mixed))
    assert [candidate.score for candidate in mixed] == pytest.approx((rows @ user.vector).tolist(), abs=1e-4)
    (searched,) = retriever(index, popular_share=0.4).candidates([CandidateRequest(history=past(25), query="war")], 10)
    assert not any("popular" in candidate.sources for candidate in searched)


def test_leave_one_out_on_the_retriever_names_the_like_item(index: EdgeIndex) -> None:
    subject = retriever(index, half_life=100.0)
    history = past(25, 45)
    user = mean(subject).user(history)
    assert user is not None
    falls = leave_one_out(user, subject._catalogue.rows(["m26", "m46", "m27"]))
    assert [user.item_ids[place] for place in falls.argmax(axis=1)] == ["m25", "m45", "m25"]


def test_more_than_the_catalogue_and_less_than_one(index: EdgeIndex) -> None:
    (everything,) = retriever(index).candidates([CandidateRequest(history=past(25))], 500)
    assert len(everything) == N - 2  # not the seen item, not the one without any vector
    for k in (0, -3):
        with pytest.raises(ConfigError, match="candidates"):
            retriever(index).candidates([CandidateRequest()], k)
    with pytest.raises(UnknownItemError):
        retriever(index)._catalogue.rows(["gone"])


def test_catalogue_points_leave_out_what_is_missing() -> None:
    known = catalogue(RetrievalSettings())
    assert known.dims() == {"text": 8, "fused": 8 + 6 + 1, "popular": 2}
    assert known.point("m30").keys() == {"text", "fused", "popular"}
    assert known.point("m59").keys() == {"popular"}
    assert all(np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5) for vector in known.point("m30").values())
    with pytest.raises(DataError, match="popularity"):
        Catalogue(known.vectors, known.popularity[:5], RetrievalSettings())


def test_trust_and_weights_reach_the_fused_vectors() -> None:
    base = catalogue(RetrievalSettings()).fused
    assert np.abs(catalogue(RetrievalSettings(trust=50.0)).fused - base).max() > 0.05
    assert np.abs(catalogue(RetrievalSettings(weights={"text": 5.0, "behaviour": 1.0})).fused - base).max() > 0.05


def test_a_catalogue_without_events_lives_by_content(tmp_path: Path) -> None:
    text = unit_rows(np.eye(4)[np.arange(8) // 2] + 0.1)
    none = np.zeros(8, bool)
    vectors = ModalityVectors(
        tuple(map(str, range(8))), {"text": text, "behaviour": np.zeros((8, 0), np.float32)}, {"text": ~none, "behaviour": none}
    )
    known = Catalogue(vectors, np.zeros(8, int), RetrievalSettings())
    with EdgeIndex(tmp_path, exact=True) as index:
        index.recreate(IndexSpec(vectors=known.dims()))
        index.upsert([Point(item_id=item, vectors=known.point(item)) for item in vectors.item_ids])
        subject = Retriever(index, known, RetrievalSettings())
        assert ids(subject.candidates([CandidateRequest(history=[Event(user_id="u", item_id="4")])], 1)[0]) == ["5"]
        assert len(subject.candidates([CandidateRequest()], 3)[0]) == 3


def test_mmr_takes_the_most_relevant_then_the_unlike() -> None:
    rows = unit_rows(np.array([[1.0, 0.0], [1.0, 0.05], [0.0, 1.0]]))
    relevance = np.array([1.0, 0.9, 0.5])
    assert mmr(relevance, rows, 3, 0.0) == [0, 1, 2]
    assert mmr(relevance, rows, 3, 0.5) == [0, 2, 1]
    assert mmr(relevance, rows, 2, 0.5) == [0, 2]
    assert mmr(relevance[:0], rows[:0], 2, 0.5) == []


def test_many_histories_are_scored_exactly_and_as_one_by_one(index: EdgeIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = retriever(index)
    requests = [
        CandidateRequest(history=past(n % 50, (n * 7 + 3) % 50), exclude=frozenset({"m8", "gone"})) for n in range(EXACT_FROM)
    ]
    one_by_one = [subject.candidates([ask], 12)[0] for ask in requests]
    searched = []
    search = index.search
    monkeypatch.setattr(index, "search", lambda queries: searched.extend(queries) or search(queries))
    together = subject.candidates(requests, 12)
    assert not searched  # the engine was not asked
    for many, one in zip(together, one_by_one, strict=True):
        assert [c.score for c in many] == pytest.approx([c.score for c in one], abs=1e-5)
        assert {c.item_id for c in many[:-2]} <= {c.item_id for c in one}
        assert [set(c.sources) for c in many] == [set(c.sources) for c in one]
    mixed = [
        *requests,
        CandidateRequest(history=past(25), filter=parse("year > 3000", FIELDS)),
        CandidateRequest(history=past(25), query="war"),
        CandidateRequest(),
    ]
    answers = subject.candidates(mixed, 12)
    assert answers[: len(requests)] == together
    assert answers[-3] == []
    assert len(searched) == 3
