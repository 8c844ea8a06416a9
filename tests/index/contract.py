"""What every `VectorIndex` must do. A test class of an engine inherits `Contract` and gives the fixtures `index` (empty, for
one test) and `shared` (for the whole class)."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from genrec.errors import IndexFault
from genrec.filters import Compare, Field, Filter, fields_of, matches, parse
from genrec.index.protocol import Dense, Hit, IndexSpec, Lexical, Point, Query, VectorIndex
from genrec.types import AttributeValue, Item
from tests.index.hostile import HOSTILE, NAMES, catalogue

AXES = np.eye(4, dtype=np.float32)
FIELDS = {
    "year": Field("number"),
    "genres": Field("text", is_list=True),
    "rated": Field("boolean"),
    "sizes": Field("number", is_list=True),
}
SPEC = IndexSpec(vectors={"fused": 4, "image": 3}, fields=FIELDS)


def point(item_id: str, vector: Sequence[float] | np.ndarray | None, text: str = "", **attributes: AttributeValue) -> Point:
    vectors = {} if vector is None else {"fused": np.asarray(vector, dtype=np.float32)}
    item = Item(item_id=item_id, platform="film", title=text, attributes=attributes)
    return Point(item_id=item_id, vectors=vectors, text=text, payload=fields_of(item))


FILMS = [
    point("heat", [1, 0, 0, 0], "Heat: a thief and a detective", year=1995, genres=("Crime", "Drama"), rated=True),
    point(
        "alien",
        [0.9, 0.1, 0, 0],
        "Alien hunts a crew in space",
        year=1979,
        genres=("Horror", "Sci-Fi"),
        rated=True,
        sizes=(35, 70.5),
    ),
    point("stars", [0, 1, 0, 0], "War in space among the stars", year=1977, genres="Sci-Fi", rated=False),
    point("it", [0, 0.9, 0.1, 0], "It", year=1990),
    point("mute", None, "Stumm: 東京物語, the spaceship's crew"),
    point("still", [0, 0, 0, 1]),
]


def ids(hits: Sequence[Hit]) -> list[str]:
    return [hit.item_id for hit in hits]


def fused(vector: Sequence[float] | np.ndarray) -> Dense:
    return Dense("fused", np.asarray(vector, dtype=np.float32))


CHECKS = [
    HealthCheck.function_scoped_fixture,
    HealthCheck.too_slow,
    HealthCheck.differing_executors,  # one test, inherited by the class of each engine
]


def filled(index: VectorIndex) -> VectorIndex:
    index.recreate(SPEC)
    index.upsert(FILMS)
    index.finish()
    return index


class Contract:
    @pytest.fixture(scope="class")
    @classmethod
    def films(cls, shared: VectorIndex) -> VectorIndex:
        """FILMS, for tests that only read."""
        return filled(shared)

    @pytest.fixture
    def own(self, index: VectorIndex) -> VectorIndex:
        """FILMS, for tests that write."""
        return filled(index)

    def test_an_index_that_was_not_made_says_so(self, index: VectorIndex) -> None:
        assert index.spec() is None
        for use in (
            index.count,
            lambda: index.search([]),
            lambda: index.upsert([]),
            lambda: index.delete([]),
            index.finish,
        ):
            with pytest.raises(IndexFault) as caught:
                use()
            assert "genrec build" in caught.value.hint

    def test_the_spec_is_kept(self, index: VectorIndex) -> None:
        spec = IndexSpec(vectors={"fused": 4}, fields=dict.fromkeys(NAMES, Field("text", is_list=True)), mean_tokens=7.5)
        index.recreate(spec)
        assert index.spec() == spec
        assert index.count() == 0
        assert index.search([Query(legs=[fused(AXES[0])], limit=3)]) == [[]]

    @pytest.mark.parametrize(
        "spec",
        [
            IndexSpec(vectors={"bm25": 4}),
            IndexSpec(vectors={"": 4}),
            IndexSpec(vectors={"fused": 0}),
            IndexSpec(vectors={"fused": 4}, mean_tokens=0),
        ],
    )
    def test_an_impossible_spec_leaves_the_index_as_it_was(self, films: VectorIndex, spec: IndexSpec) -> None:
        with pytest.raises(IndexFault):
            films.recreate(spec)
        assert films.count() == len(FILMS)

    def test_recreate_empties(self, own: VectorIndex) -> None:
        own.recreate(IndexSpec(vectors={"fused": 2}))
        assert own.count() == 0
        own.upsert([Point(item_id="x", vectors={"fused": np.array([0.6, 0.8], dtype=np.float32)})])
        assert own.count() == 1

    def test_dense_scores_are_cosines(self, films: VectorIndex) -> None:
        [hits] = films.search([Query(legs=[fused([5, 0, 0, 0])], limit=3)])
        assert ids(hits)[:2] == ["heat", "alien"]
        assert [hit.score for hit in hits[:2]] == pytest.approx([1.0, 0.9 / np.hypot(0.9, 0.1)], abs=1e-5)
        assert hits[0].sources == {"fused": pytest.approx(1.0, abs=1e-5)}
        assert len(hits) == 3

    def test_answers_come_in_the_order_of_the_queries(self, films: VectorIndex) -> None:
        queries = [Query(legs=[fused(AXES[n % 4])], limit=n % 3 + 1) for n in range(150)]
        answers = films.search(queries)
        assert [len(answer) for answer in answers] == [query.limit for query in queries]
        first = {0: "heat", 1: "stars", 3: "still"}
        assert all(answer[0].item_id == first[n % 4] for n, answer in enumerate(answers) if n % 4 in first)
        assert films.search([]) == []

    def test_ties_are_ordered_by_item_id(self, index: VectorIndex) -> None:
        index.recreate(SPEC)
        index.upsert([point(name, AXES[0]) for name in "dbca"])
        assert ids(index.search([Query(legs=[fused(AXES[0])], limit=10)])[0]) == list("abcd")

    def test_lexical_finds_words_rare_words_first(self, films: VectorIndex) -> None:
        [space, crew, rare, none] = films.search(
            [Query(legs=[Lexical(text)], limit=10) for text in ("SPACE", "crews", "thief or space", "zebra")]
        )
        assert sorted(ids(space)) == ["alien", "stars"]
        assert sorted(ids(crew)) == ["alien", "mute"]  # stemmed
        assert ids(rare)[0] == "heat"
        assert none == []
        assert all(hit.sources == {"bm25": pytest.approx(hit.score)} for hit in space + crew)

    @pytest.mark.parametrize(
        ("text", "found"), [("it", "it"), ("IT!", "it"), ("京", "mute"), ("物語", "mute"), ("stümm", "mute")]
    )
    def test_lexical_knows_small_words_accents_and_unspaced_scripts(self, films: VectorIndex, text: str, found: str) -> None:
        assert ids(films.search([Query(legs=[Lexical(text)], limit=1)])[0]) == [found]

    @pytest.mark.parametrize("text", ["", "  ", "!?…", "\ud800"])
    def test_text_without_a_word_finds_nothing(self, films: VectorIndex, text: str) -> None:
        assert films.search([Query(legs=[Lexical(text)], limit=5)]) == [[]]
        [hits] = films.search([Query(legs=[fused(AXES[0]), Lexical(text)], limit=1)])
        assert ids(hits) == ["heat"]
        assert set(hits[0].sources) == {"fused"}

    def test_mean_tokens_weighs_the_length_of_texts(self, index: VectorIndex) -> None:
        long = "whale " + "sea " * 60
        ratios = []
        for mean_tokens in (2.0, 1_000.0):
            index.recreate(IndexSpec(vectors={"fused": 4}, mean_tokens=mean_tokens))
            index.upsert([point("short", None, "whale"), point("long", None, long), point("other", None, "bird")])
            [hits] = index.search([Query(legs=[Lexical("whale")], limit=2)])
            scores = {hit.item_id: hit.score for hit in hits}
            ratios.append(scores["short"] / scores["long"])
        assert ratios[0] > 3 * ratios[1] > 3

    def test_several_legs_are_fused_by_reciprocal_rank(self, films: VectorIndex) -> None:
        [hits] = films.search([Query(legs=[fused([1, 0, 0, 0]), Lexical("alien in space")], limit=4)])
        assert ids(hits)[0] == "alien"  # second in one leg, first in the other
        assert hits[0].score == pytest.approx(1 / 61 + 1 / 60, rel=1e-4)
        assert set(hits[0].sources) == {"fused", "bm25"}
        assert {hit.item_id: set(hit.sources) for hit in hits}["heat"] == {"fused"}
        cosine = 0.9 / float(np.hypot(0.9, 0.1))
        assert hits[0].sources["fused"] == pytest.approx(cosine, abs=1e-5)

    def test_an_item_low_in_two_legs_beats_the_best_of_one(self, index: VectorIndex) -> None:
        index.recreate(IndexSpec(vectors={"a": 2, "b": 2}))
        near = [np.array([1, n / 100], dtype=np.float32) for n in range(40)]
        middle = Point(item_id="both", vectors={"a": near[20], "b": near[20]})
        others = [
            Point(item_id=f"{name}{n}", vectors={name: near[n]}) for name, n in itertools.product("ab", range(40)) if n != 20
        ]
        index.upsert([middle, *others])
        [hits] = index.search([Query(legs=[Dense("a", near[0]), Dense("b", near[0])], limit=1)])
        assert ids(hits) == ["both"]

    def test_items_without_the_vector_are_not_found_by_it(self, films: VectorIndex) -> None:
        [hits] = films.search([Query(legs=[fused([1, 1, 1, 1])], limit=10)])
        assert sorted(ids(hits)) == ["alien", "heat", "it", "stars", "still"]
        assert films.search([Query(legs=[Dense("image", np.ones(3, dtype=np.float32))], limit=10)]) == [[]]

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("year >= 1979", {"heat", "alien", "it"}),
            ("year > 1979 and not genres has 'Crime'", {"it"}),
            ("year == 1979.0 or year in [1977, 1990]", {"alien", "stars", "it"}),
            ("genres has 'Sci-Fi'", {"alien", "stars"}),
            ("genres has 'sci-fi'", set()),
            ("genres in ['Crime', 'Horror']", {"heat", "alien"}),
            ("genres != 'Sci-Fi'", {"heat", "it", "mute", "still"}),
            ("rated == true", {"heat", "alien"}),
            ("rated == false", {"stars"}),
            ("rated in [true, false]", {"heat", "alien", "stars"}),
            ("rated in []", set()),
            ("sizes > 40 and sizes < 40", {"alien"}),
            ("item_id in ['it', 'mute', 'nobody']", {"it", "mute"}),
            ("title == 'It'", {"it"}),
            ("platform == 'film'", {film.item_id for film in FILMS}),
        ],
    )
    def test_filters(self, films: VectorIndex, text: str, found: set[str]) -> None:
        tree = parse(text, FIELDS)
        assert films.count(tree) == len(found)
        reachable = found - {"mute"}
        [dense, both] = films.search(
            [
                Query(legs=legs, limit=10, filter=tree)
                for legs in ([fused([1, 1, 1, 1])], [fused([1, 1, 1, 1]), Lexical("crew space")])
            ]
        )
        assert set(ids(dense)) == reachable
        assert reachable <= set(ids(both)) <= found

    @pytest.fixture
    def hostile(self, index: VectorIndex) -> VectorIndex:
        index.recreate(IndexSpec(vectors={"fused": 1}, fields=HOSTILE))
        return index

    @settings(deadline=None, max_examples=60, suppress_health_check=CHECKS)
    @given(catalogue())
    def test_filters_mean_the_same_as_matches(self, hostile: VectorIndex, case: tuple[list[Item], list[Filter]]) -> None:
        items, trees = case
        hostile.delete([f"i{n}" for n in range(5)])
        one = np.ones(1, dtype=np.float32)
        hostile.upsert([Point(item_id=item.item_id, vectors={"fused": one}, payload=fields_of(item)) for item in items])
        answers = hostile.search([Query(legs=[Dense("fused", one)], limit=10, filter=tree) for tree in trees])
        for tree, answer in zip(trees, answers, strict=True):
            expected = {item.item_id for item in items if matches(tree, item)}
            assert set(ids(answer)) == expected, tree
            assert hostile.count(tree) == len(expected)

    def test_excluded_items_are_passed_over(self, films: VectorIndex) -> None:
        legs = [fused([1, 0.5, 0, 0]), Lexical("space crew")]
        out = frozenset({"heat", "stars", "nobody"})
        [dense, both] = films.search([Query(legs=legs[:1], limit=3, exclude=out), Query(legs=legs, limit=10, exclude=out)])
        assert sorted(ids(dense)) == ["alien", "it", "still"]  # still three: seen items do not use up the limit
        assert not out & set(ids(both))
        assert not out & {item_id for hit in both for item_id in hit.sources}

    def test_two_thousand_seen_items_are_excluded_in_the_engine(self, index: VectorIndex) -> None:
        index.recreate(IndexSpec(vectors={"fused": 8}))
        rows = np.random.default_rng(0).normal(size=(2_050, 8)).astype(np.float32)
        index.upsert([Point(item_id=f"i{n}", vectors={"fused": row}) for n, row in enumerate(rows)])
        seen = frozenset(f"i{n}" for n in range(2_000))
        [hits] = index.search([Query(legs=[Dense("fused", rows[0])], limit=100, exclude=seen, exact=True)])
        assert sorted(ids(hits)) == sorted(f"i{n}" for n in range(2_000, 2_050))

    def test_upsert_replaces_wholly(self, own: VectorIndex) -> None:
        own.upsert([point("heat", [0, 0, 0, 1], "a new text", rated=False)])
        assert own.count() == len(FILMS)
        assert ids(own.search([Query(legs=[Lexical("thief")], limit=5)])[0]) == []
        assert own.count(parse("year == 1995", FIELDS)) == 0
        assert sorted(ids(own.search([Query(legs=[fused(AXES[3])], limit=2)])[0])) == ["heat", "still"]

    def test_delete(self, own: VectorIndex) -> None:
        own.delete(["heat", "nobody"])
        own.delete([])
        assert own.count() == len(FILMS) - 1
        assert ids(own.search([Query(legs=[fused(AXES[0])], limit=1)])[0]) == ["alien"]

    def test_vectors_are_unit_rows_of_those_that_have_one(self, films: VectorIndex) -> None:
        found = films.vectors("fused", ["alien", "mute", "nobody", "heat"])
        assert set(found) == {"alien", "heat"}
        expected = np.array([0.9, 0.1, 0, 0]) / np.hypot(0.9, 0.1)
        np.testing.assert_allclose(found["alien"], expected, atol=1e-6)
        assert found["alien"].dtype == np.float32
        assert films.vectors("image", ["heat"]) == {}
        assert films.vectors("fused", []) == {}

    @pytest.mark.parametrize(
        ("vectors", "message"),
        [
            ({"fused": np.ones(3)}, r"item 'x': vector 'fused' has shape \(3,\), the index was made for \(4,\)"),
            ({"fused": np.ones((1, 4))}, r"shape \(1, 4\)"),
            ({"fused": np.array([1, np.nan, 0, 0])}, "holds nan at position 1"),
            ({"fused": np.array([1, 0, 0, np.inf])}, "holds inf at position 3"),
            ({"sound": np.ones(4)}, "no vector 'sound'"),
        ],
    )
    def test_bad_vectors_are_refused_and_nothing_is_written(
        self, films: VectorIndex, vectors: Mapping[str, np.ndarray], message: str
    ) -> None:
        with pytest.raises(IndexFault, match=message) as caught:
            films.upsert([point("fine", AXES[0]), Point(item_id="x", vectors=vectors)])
        assert caught.value.hint
        assert films.count() == len(FILMS)
        [(name, vector)] = vectors.items()
        with pytest.raises(IndexFault, match="a search"):
            films.search([Query(legs=[Dense(name, vector)], limit=1)])

    def test_bad_fields_are_refused(self, films: VectorIndex) -> None:
        with pytest.raises(IndexFault, match="no field `colour`"):
            films.upsert([point("x", AXES[0], colour="red")])
        with pytest.raises(IndexFault, match="Unicode"):
            films.upsert([point("x", AXES[0], genres="\ud800")])
        with pytest.raises(IndexFault, match="Unicode"):
            films.upsert([point("\ud800", AXES[0])])
        with pytest.raises(IndexFault, match="no field `colour`"):
            films.count(Compare("colour", "==", "red"))
        with pytest.raises(IndexFault, match="holds `year` as number, the filter compares it with '1995'"):
            films.count(Compare("year", "==", "1995"))
        with pytest.raises(IndexFault, match="no vector 'sound'"):
            films.vectors("sound", ["heat"])

    def test_bad_queries_are_refused(self, films: VectorIndex) -> None:
        with pytest.raises(IndexFault, match="asks for 0 items"):
            films.search([Query(legs=[fused(AXES[0])], limit=0)])
        with pytest.raises(IndexFault, match="without a leg"):
            films.search([Query(legs=[], limit=1)])

    def test_hostile_names_and_ids_do_not_collide(self, index: VectorIndex) -> None:
        index.recreate(IndexSpec(vectors={"fused": 4}, fields=dict.fromkeys(NAMES, Field("text"))))
        for n, name in enumerate(NAMES):
            item = Item(item_id=f"{name}/../{n}", attributes={name: f"value {n}"})
            index.upsert([Point(item_id=item.item_id, vectors={"fused": AXES[0]}, payload=fields_of(item))])
        for n, name in enumerate(NAMES):
            query = Query(legs=[fused(AXES[0])], limit=50, filter=Compare(name, "==", f"value {n}"))
            assert ids(index.search([query])[0]) == [f"{name}/../{n}"]

    def test_ten_thousand_fields(self, index: VectorIndex) -> None:
        fields = {f"field {n}": Field("number") for n in range(10_000)}
        index.recreate(IndexSpec(vectors={"fused": 4}, fields=fields))
        index.upsert([Point(item_id=f"i{n}", vectors={"fused": AXES[0]}, payload={f"field {n}": n}) for n in (0, 7, 9_999)])
        assert index.count(Compare("field 9999", ">=", 9_999)) == 1
        assert index.count(Compare("field 7", "==", 7)) == 1
        spec = index.spec()
        assert spec is not None
        assert dict(spec.fields) == fields

    def test_closed(self, own: VectorIndex) -> None:
        own.close()
        own.close()
        for use in (own.spec, own.count, lambda: own.recreate(SPEC)):
            with pytest.raises(IndexFault, match="closed"):
                use()
