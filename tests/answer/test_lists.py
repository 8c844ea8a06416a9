"""Which items come back, in which order: options, filters, people without a history."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec.errors import ConfigError, FilterError, UnknownUserError
from genrec.filters import Compare, matches, parse
from genrec.recommender import Recommender
from genrec.types import Recommendation
from tests.shop import COLD, COLD_ITEM, KINDS, PEOPLE, STATED

QUICK: dict[str, Any] = {"rank": "off", "explain": "off"}
FILTERS = ["", "year >= 1990", 'genres has "Horror"', 'country in ["UK", "France"] and not year < 1970', 'title == "no such"']


def ids(rows: list[Recommendation]) -> list[str]:
    return [row.item.item_id for row in rows]


def seen(genrec: Recommender, user: str) -> set[str]:
    return {event.item_id for event in genrec.workspace.store.history(user)}


def test_rows_are_ranked_from_1_best_first(genrec: Recommender) -> None:
    rows = genrec.recommend("u00", 7)
    assert [row.rank for row in rows] == [1, 2, 3, 4, 5, 6, 7]
    assert {row.user_id for row in rows} == {"u00"}
    assert [row.score for row in rows] == sorted((row.score for row in rows), reverse=True)
    assert len(set(ids(rows))) == 7
    assert all(row.item.title and row.sources for row in rows)
    assert len(genrec.recommend("u00")) == 10
    assert sum(item.startswith("space") for item in ids(rows)) >= 4  # what this person likes, of the five that are left


@settings(deadline=None, max_examples=40)
@given(
    user=st.sampled_from([*PEOPLE, STATED, COLD]),
    text=st.sampled_from(FILTERS),
    k=st.integers(1, 80),
    query=st.sampled_from(["", "starship", "haunted house"]),
    data=st.data(),
)
def test_neither_seen_nor_excluded_nor_filtered_items_come_back(
    genrec: Recommender, user: str, text: str, k: int, query: str, data: st.DataObject
) -> None:
    everything = genrec.workspace.store.item_ids()
    exclude = data.draw(st.lists(st.sampled_from(everything), max_size=10))
    rows = genrec.recommend(user, k, filter=text, exclude=exclude, query=query, **QUICK)
    found = set(ids(rows))
    assert len(found) == len(rows) <= k
    assert not found & seen(genrec, user)
    assert not found & set(exclude)
    wanted = parse(text, genrec._asynchronous._pipeline.schema()) if text else None
    items = genrec.workspace.store.items(everything)
    allowed = {one for one, item in items.items() if wanted is None or matches(wanted, item)} - seen(genrec, user) - set(exclude)
    assert found <= allowed
    if not query and user not in (STATED,):
        assert len(found) == min(k, len(allowed))


def test_more_than_there_is_gives_all_that_is_left(genrec: Recommender) -> None:
    rows = genrec.recommend("u00", 1000, **QUICK)
    assert len(rows) == 60 - len(seen(genrec, "u00"))


@pytest.mark.parametrize("k", [0, -1, 1001, 2.5, "5", True, None])
def test_a_k_that_cannot_be(genrec: Recommender, k: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        genrec.recommend("u00", k)
    assert caught.value.hint


def test_a_filter_may_be_parsed_already(genrec: Recommender) -> None:
    rows = genrec.recommend("u00", 5, filter=Compare("year", ">=", 2000), **QUICK)
    assert rows
    assert all(int(row.item.attributes["year"]) >= 2000 for row in rows)  # pyright: ignore[reportArgumentType]
    assert ids(rows) == ids(genrec.recommend("u00", 5, filter="year >= 2000", **QUICK))


@pytest.mark.parametrize("text", ["year >=", "nosuch == 1", "year has", "year >= 'x'", "(" * 50 + "year == 1" + ")" * 50])
def test_a_bad_filter(genrec: Recommender, text: str) -> None:
    with pytest.raises(FilterError) as caught:
        genrec.recommend("u00", filter=text)
    assert caught.value.hint


def test_a_query_brings_what_it_names(genrec: Recommender) -> None:
    plain = genrec.recommend("u02", 10, **QUICK)
    asked = genrec.recommend("u02", 10, query="astronauts in a starship", **QUICK)
    assert sum(item.startswith("space") for item in ids(asked)) > sum(item.startswith("space") for item in ids(plain))
    assert {"text", "bm25"} <= {source for row in asked for source in row.sources}
    stages = [stage.name for stage in asked[0].trace.stages]
    assert "query text" in stages
    assert "query text" not in [stage.name for stage in plain[0].trace.stages]


def test_unknown_people(genrec: Recommender) -> None:
    for user in ("nobody", "", "x" * 10_000, "u00\x00", "\udc80"):
        with pytest.raises(UnknownUserError) as caught:
            genrec.recommend(user)
        assert caught.value.hint
    with pytest.raises(UnknownUserError):
        genrec.recommend_many(["u00", "nobody"])


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("rank", "maybe"),
        ("explain", "loud"),
        ("evidence", "none"),
        ("method", "magic"),
        ("exclude", "space-1"),
        ("exclude", [1]),
        ("query", 7),
    ],
)
def test_an_option_that_cannot_be(genrec: Recommender, option: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        genrec.recommend("u00", **{option: value})
    assert option in str(caught.value)
    assert caught.value.hint


def test_many_people_in_one_table(genrec: Recommender) -> None:
    people = ["u03", "u00", STATED, "u07", COLD]
    rows = genrec.recommend_many(people, 4)
    assert [row.user_id for row in rows] == [user for user in people for _ in range(4)]
    for user in people:
        of_user = [row for row in rows if row.user_id == user]
        single = genrec.recommend(user, 4)
        assert [(r.rank, r.item.item_id, r.reason.text) for r in of_user] == [
            (r.rank, r.item.item_id, r.reason.text) for r in single
        ]
        assert [r.score for r in of_user] == pytest.approx([r.score for r in single], abs=1e-5)
    assert genrec.recommend_many([], 4) == []
    with pytest.raises(ConfigError):
        genrec.recommend_many("u00", 4)


def test_a_person_of_whom_nothing_is_known_gets_popular_films_of_several_kinds(genrec: Recommender) -> None:
    rows = genrec.recommend(COLD, 8)
    assert all(set(row.sources) == {"popular"} for row in rows)
    assert all(evidence.kind == "popularity" for row in rows for evidence in row.reason.evidence)
    assert "popular" in rows[0].reason.text
    kinds = {item.partition("-")[0] for item in ids(rows)}
    assert len(kinds) >= 3
    ranking = next(stage for stage in rows[0].trace.stages if stage.name == "ranking")
    assert ranking.status == "off"


def test_stated_interests_speak_where_there_is_no_history(genrec: Recommender) -> None:
    rows = genrec.recommend(STATED, 5, rank="off", explain="template")
    assert all(item.startswith("horror") for item in ids(rows))
    assert all("interests" in row.sources for row in rows)
    assert all(evidence.kind == "interest" for row in rows for evidence in row.reason.evidence)
    assert rows[0].reason.text.startswith("It fits your interest in ")


def test_a_film_that_nobody_saw_is_found_by_its_content(genrec: Recommender) -> None:
    assert COLD_ITEM not in {item for item, _ in genrec.workspace.store.popularity()}
    assert COLD_ITEM in ids(genrec.recommend("u00", 12, **QUICK))
    assert COLD_ITEM in ids(genrec.recommend(COLD, 10, query="a starship, part 9", **QUICK))


def test_every_kind_of_film_is_recommended_to_those_who_like_it(genrec: Recommender) -> None:
    for place, kind in enumerate(KINDS):
        rows = genrec.recommend(f"u{place:02d}", 3, **QUICK)
        assert sum(item.startswith(kind) for item in ids(rows)) >= 2
