"""The dialogue retriever over a small catalogue: what is found, what each feature says, what is learned, what is saved."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from genrec.chat_retrieval.dialogue_features import DialogueInput, DialogueSpace, Mentioned, Sessions
from genrec.chat_retrieval.dialogue_model import MANIFEST, DialogueModel, MomentVectors
from genrec.chat_retrieval.dialogue_retriever import DIALOGUE, DialogueAsk, DialogueRetriever, texts_of
from genrec.chat_retrieval.feature_weights import Example, fit, history_of, recall
from genrec.errors import ConfigError, TrainingError, WorkspaceError
from genrec.filters import Field, fields_of, matches, parse
from genrec.index.edge import EdgeIndex
from genrec.index.protocol import IndexSpec, Point
from genrec.retrieval.catalogue import Catalogue
from genrec.retrieval.item_vectors import ModalityVectors, unit_rows
from genrec.retrieval.user_encoders import MeanUserEncoder
from genrec.settings.sections import RetrievalSettings
from genrec.types import Item

N = 60
GENRES = ("love", "war", "space")
FIELDS = {"genre": Field("text", is_list=True), "year": Field("number"), "maker": Field("text")}
SETTINGS = RetrievalSettings(weights={"text": 1.0})


def item(place: int) -> Item:
    made = {"genre": (GENRES[place // 20],), "year": 1960 + place, "maker": f"maker {place % 12}"}
    return Item(item_id=f"m{place:02}", title=f"film {place}", text=f"a story of {GENRES[place // 20]}", attributes=made)


ITEMS = [item(place) for place in range(N)]


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    """Three groups of 20 items by text; no behaviour, popularity falls with the number."""
    text = unit_rows(np.eye(8)[np.arange(N) // 20] + 0.25 * np.random.default_rng(0).normal(size=(N, 8)))
    vectors = ModalityVectors(tuple(one.item_id for one in ITEMS), {"text": text}, {"text": np.ones(N, bool)})
    return Catalogue(vectors, np.arange(N, 0, -1), SETTINGS)


@pytest.fixture(scope="module")
def index(catalogue: Catalogue, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeIndex]:
    with EdgeIndex(tmp_path_factory.mktemp("index"), exact=True) as made:
        made.recreate(IndexSpec(vectors=catalogue.dims(), fields=FIELDS))
        points = [
            Point(
                item_id=one.item_id, vectors=catalogue.point(one.item_id), text=f"{one.title} {one.text}", payload=fields_of(one)
            )
            for one in ITEMS
        ]
        made.upsert(points)
        yield made


@pytest.fixture
def people(catalogue: Catalogue) -> MeanUserEncoder:
    return MeanUserEncoder(catalogue, SETTINGS)


def said(*named: str, **more: object) -> DialogueInput:
    return replace(DialogueInput(mentions=tuple(Mentioned(item_id=one) for one in named)), **more)


def space_of(catalogue: Catalogue, *sessions: list[int]) -> DialogueSpace:
    return DialogueSpace(catalogue, ITEMS, Sessions.of(sessions, N))


def retriever(index: EdgeIndex, catalogue: Catalogue, people: MeanUserEncoder, model: DialogueModel) -> DialogueRetriever:
    space = DialogueSpace(catalogue, ITEMS, model.sessions_over(catalogue.vectors.item_ids))
    return DialogueRetriever(index, space, people, model)


def column(space: DialogueSpace, what: DialogueInput, name: str, *, left_out: int | None = None) -> np.ndarray:
    found = space.features(what, None, np.arange(N), left_out=left_out)
    return found[:, space.names.index(name)]


def test_names_cover_texts_and_numbers(catalogue: Catalogue) -> None:
    names = space_of(catalogue).names
    assert {"alike:genre", "wanted:genre", "alike:maker", "near:year"} <= set(names)
    assert len(set(names)) == len(names)
    assert "near:genre" not in names
    assert "alike:year" not in names


def test_nothing_said_is_nothing_known(catalogue: Catalogue) -> None:
    space = space_of(catalogue)
    found = space.features(DialogueInput(), None, np.arange(N))
    assert found.shape == (N, len(space.names))
    used = {name for place, name in enumerate(space.names) if found[:, place].any()}
    assert used == {"people"}


def test_likeness_and_values_of_what_was_named(catalogue: Catalogue) -> None:
    space = space_of(catalogue)
    for name in ("likeness", "alike:genre"):
        found = column(space, said("m00", "m01"), name)
        assert found[:20].min() > found[20:].max(), name
    assert column(space, said("m00"), "alike:maker")[[12, 24]].min() > 0.9
    disliked = DialogueInput(mentions=(Mentioned(item_id="m00", attitude="disliked"),))
    assert column(space, disliked, "likeness")[:20].max() < 0
    assert column(space, disliked, "alike:genre")[:20].max() < 0


def test_values_that_were_asked_for(catalogue: Catalogue) -> None:
    space = space_of(catalogue)
    found = column(space, DialogueInput(wanted=(("genre", "war"), ("genre", "space"), ("genre", "nonsense"))), "wanted:genre")
    assert found[40] > found[20] > 0 == found[0]  # the later wish counts more


def test_near_years(catalogue: Catalogue) -> None:
    found = column(space_of(catalogue), said("m30"), "near:year")
    assert found[30] == found.max()
    assert found[0] < found[20] < found[29]


def test_counts_of_known_dialogues_leave_out_their_own(catalogue: Catalogue) -> None:
    space = space_of(catalogue, [0, 50, 7], [0, 50], [3, 4])
    with_all, without = column(space, said("m00"), "together"), column(space, said("m00"), "together", left_out=1)
    assert with_all[50] > with_all[7] > with_all[3] == 0
    assert with_all[50] > without[50] > 0
    assert without[50] == without[7]
    told = column(space, said("m00"), "told", left_out=0)
    assert told[50] == pytest.approx(np.log(3))
    assert told[7] == 0
    assert with_all[0] == 0  # a film is not named beside itself


def test_items_outside_the_catalogue_are_passed_over(catalogue: Catalogue) -> None:
    space = space_of(catalogue)
    assert np.array_equal(
        space.features(said("m00", "gone"), None, np.arange(N)), space.features(said("m00"), None, np.arange(N))
    )


def test_the_engine_filters_and_excludes(index: EdgeIndex, catalogue: Catalogue, people: MeanUserEncoder) -> None:
    subject = retriever(index, catalogue, people, DialogueModel.untrained())
    what = said("m00", "m01", turns=("a story of love, please",))
    made = parse('genre has "love" and year >= 1970', FIELDS)
    asks = [
        DialogueAsk(said=what, history=history_of(what)),
        DialogueAsk(said=what, history=history_of(what), filter=made, exclude=frozenset({"m12"})),
    ]
    free, held = subject.candidates(asks, 15)
    assert all(int(one.item_id[1:]) < 20 for one in free)
    assert {one.item_id for one in held} == {f"m{n}" for n in range(10, 20) if n != 12}
    assert all(matches(made, ITEMS[int(one.item_id[1:])]) for one in held)
    assert [one.score for one in held] == sorted((one.score for one in held), reverse=True)
    assert np.exp([one.score for one in held]).sum() == pytest.approx(1.0)  # over the pool, which the filter leaves whole here
    assert all(one.sources[DIALOGUE] == one.score for one in held)
    assert len({one.item_id for one in free}) == 15


def test_a_learned_model_brings_in_what_it_knows_through_the_filter(
    index: EdgeIndex, catalogue: Catalogue, people: MeanUserEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genrec.chat_retrieval.dialogue_retriever.POOL", 4)
    model = DialogueModel(weights={"together": 1.0}, sessions=[["m00", "m55"], ["m00", "m55"], ["m00", "m44"]])
    subject = retriever(index, catalogue, people, model)
    ask = DialogueAsk(said=said("m00"), exclude=frozenset({"m00"}))
    assert [one.item_id for one in subject.candidates([ask], 2)[0]] == ["m55", "m44"]
    assert subject.candidates([replace(ask, filter=parse("year < 2010", FIELDS))], 2)[0][0].item_id == "m44"
    plain = retriever(index, catalogue, people, DialogueModel.untrained())
    assert "m55" not in {one.item_id for one in plain.candidates([ask], 4)[0]}


def test_nothing_said_is_answered_with_what_is_popular(index: EdgeIndex, catalogue: Catalogue, people: MeanUserEncoder) -> None:
    subject = retriever(index, catalogue, people, DialogueModel.untrained())
    assert [one.item_id for one in subject.candidates([DialogueAsk(said=DialogueInput())], 5)[0]] == [f"m0{n}" for n in range(5)]
    with pytest.raises(ConfigError, match="0 candidates"):
        subject.candidates([DialogueAsk(said=DialogueInput())], 0)
    nothing = DialogueAsk(said=DialogueInput(), filter=parse("year < 1900", FIELDS))
    assert subject.candidates([nothing], 5) == [[]]


def test_texts_are_the_latest_turns_and_all() -> None:
    recent, whole = texts_of(["one", " ", "two", "three", "four"])
    assert recent == "two three four"
    assert whole == "one two three four"
    assert texts_of(["", " "]) == ("", "")
    assert len(texts_of(["word"] * 5000)[1]) <= 1500


def test_events_of_what_was_named() -> None:
    mentions = [("a", "liked"), ("b", "disliked"), ("c", "neutral"), ("a", "neutral")]
    what = DialogueInput(mentions=tuple(Mentioned(item_id=one, attitude=how) for one, how in mentions))  # type: ignore[arg-type]
    assert [event.item_id for event in history_of(what, "u")] == ["c", "a"]


def pairs(count: int = 200) -> tuple[list[Example], list[list[int]]]:
    """Dialogues that name a film and are recommended the one 20 places on, which no other feature knows."""
    chance = np.random.default_rng(1)
    firsts = chance.integers(0, N, count).tolist()
    sessions = [[first, (first + 20) % N] for first in firsts]
    examples = [Example(said=said(f"m{a:02}"), wanted=(f"m{b:02}",), session=n) for n, (a, b) in enumerate(sessions)]
    return examples, sessions


def test_fitting_learns_what_counts(catalogue: Catalogue, people: MeanUserEncoder) -> None:
    examples, sessions = pairs()
    space = space_of(catalogue, *sessions)
    weights = fit(space, people, examples, seed=0)
    assert weights["together"] > 0.5
    assert weights == fit(space, people, examples, seed=0)
    model = DialogueModel(weights=weights)
    asked = [(said(f"m{n:02}"), (f"m{(n + 20) % N:02}",)) for n in range(N)]
    learned = recall(space, people, model.weights_of(space.names), asked, 2)  # each film was named beside two
    plain = recall(space, people, DialogueModel.untrained().weights_of(space.names), asked, 2)
    assert learned > 0.9 > 0.2 > plain


def test_fitting_needs_enough_moments(catalogue: Catalogue, people: MeanUserEncoder) -> None:
    examples, sessions = pairs(10)
    with pytest.raises(TrainingError, match="10 moments"):
        fit(space_of(catalogue, *sessions), people, examples)


def test_weights_fall_back_to_their_kind() -> None:
    model = DialogueModel(weights={"alike": 1.0, "alike:genre": 3.0})
    assert model.weights_of(["alike:genre", "alike:maker", "near:year"]).tolist() == [3.0, 1.0, 0.0]


def test_saved_and_loaded(tmp_path: Path) -> None:
    made = DialogueModel(
        weights={"told": 0.5}, sessions=[["a", "b"], [], ["b", "é"]], seen=frozenset({"0f"}), card={"serves": True}
    )
    digest = made.save(tmp_path)
    loaded = DialogueModel.load(tmp_path)
    assert [list(one) for one in loaded.sessions] == [["a", "b"], [], ["b", "é"]]
    assert (loaded.weights, loaded.seen, loaded.card, loaded.digest) == (
        {"told": 0.5},
        frozenset({"0f"}),
        {"serves": True},
        digest,
    )
    assert loaded.sessions_over(["b", "x"]).counts.tolist() == [2.0, 0.0]


def test_damaged_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="missing"):
        DialogueModel.load(tmp_path)
    DialogueModel(weights={}, sessions=[["a", "b"]]).save(tmp_path)
    (tensors,) = tmp_path.glob("*.safetensors")
    tensors.write_bytes(tensors.read_bytes()[:-1])
    with pytest.raises(WorkspaceError, match="damaged"):
        DialogueModel.load(tmp_path)
    path = tmp_path / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 99}))
    with pytest.raises(WorkspaceError, match="schema 99"):
        DialogueModel.load(tmp_path)
    path.write_text("[]")
    with pytest.raises(WorkspaceError, match="cannot be read"):
        DialogueModel.load(tmp_path)


def heard_three() -> MomentVectors:
    """Two moments of dialogue 0 that sound alike, one of dialogue 1 that does not."""
    rows = unit_rows(np.array([[1.0, 0, 0, 0, 0, 0, 0, 0], [0.9, 0.1, 0, 0, 0, 0, 0, 0], [0, 0, 1.0, 0, 0, 0, 0, 0]]))
    return MomentVectors(rows=rows, wanted=[["m40"], ["m41", "gone"], ["m59"]], sessions=np.array([0, 0, 1]))


def test_words_like_those_of_known_moments(catalogue: Catalogue) -> None:
    model = DialogueModel(weights={"echo": 1.0}, sessions=[["m40", "m41"], ["m59"]], heard=heard_three())
    ids = catalogue.vectors.item_ids
    space = DialogueSpace(catalogue, ITEMS, model.sessions_over(ids), model.echoes_over(ids))
    what = DialogueInput(turns=("x",), rows=np.eye(8, dtype=np.float32)[[0, 0]])
    found = column(space, what, "echo")
    assert found[40] > found[59] > found[0] == 0
    alone = column(space, what, "echo", left_out=0)
    assert alone[59] > 0 == alone[40] == alone[41]
    assert not column(space, DialogueInput(turns=("x",)), "echo").any()
    assert not column(space, DialogueInput(rows=np.ones((2, 3), np.float32)), "echo").any()  # an encoder of another width
    assert space.neighbours(what, 2)[0] in ("m40", "m41")


def test_moments_are_saved(tmp_path: Path) -> None:
    DialogueModel(weights={}, sessions=[["m40"]], heard=heard_three()).save(tmp_path)
    heard = DialogueModel.load(tmp_path).heard
    assert heard is not None
    assert [list(one) for one in heard.wanted] == [["m40"], ["m41", "gone"], ["m59"]]
    assert heard.sessions.tolist() == [0, 0, 1]
    assert np.allclose(heard.rows, heard_three().rows, atol=1e-3)


def test_content_speaks_for_items_that_no_dialogue_names(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = [[place, place + 1] for place in range(20, 38)]
    found = column(space_of(catalogue, *sessions), DialogueInput(), "expected")
    assert found[39] > 0.3 > 0 > found[[0, 59]].max()  # of the kind that is talked about, but not named itself
    monkeypatch.setattr("genrec.chat_retrieval.dialogue_features.BLOCK", 7)
    assert np.allclose(found, column(space_of(catalogue, *sessions), DialogueInput(), "expected"), atol=1e-5)
    assert not column(space_of(catalogue), DialogueInput(), "expected").any()
