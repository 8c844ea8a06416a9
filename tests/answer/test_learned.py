"""The trained retriever in service: who finds the candidates, new events, new items, damage, retraining."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from genrec.errors import DataError, TrainingError, WorkspaceError
from genrec.recommender import Recommender
from genrec.retrieval.learned_retriever import ITEMS, MANIFEST
from genrec.settings import SETTINGS_FILE
from genrec.training.train_retriever import CHECKPOINTS, train_retriever
from genrec.types import Event, Item, Recommendation, Triple
from genrec.workspace.build import build
from genrec.workspace.folder import Workspace
from genrec.workspace.load import load_content
from tests import shop
from tests.shop import COLD, STATED

TINY: dict[str, Any] = {"width": 16, "layers": 1, "epochs": 3, "precision": "no"}
BARE: dict[str, Any] = {"rank": "off", "explain": "template"}


def train(folder: Path, **changes: Any) -> dict[str, Any]:
    with Workspace.open(folder, settings={"retrieval": {"retriever": "learned", "train": TINY | changes}}) as workspace:
        outcome = train_retriever(workspace)
        assert outcome is not None
        assert outcome.built.retriever.startswith("learned@")
        return outcome.card


@pytest.fixture(scope="module")
def trained_shop(built_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop with a trained retriever in service; nobody may change it."""
    folder = shop.copy(built_shop, tmp_path_factory.mktemp("trained") / "shop")
    train(folder)
    (folder / SETTINGS_FILE).write_text(shop.SETTINGS + '[retrieval]\nretriever = "learned"\n')
    return folder


@pytest.fixture
def own(trained_shop: Path, tmp_path: Path) -> Path:
    return shop.copy(trained_shop, tmp_path / "shop")


@pytest.fixture(scope="module")
def served(trained_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recommender]:
    with Recommender.open(shop.copy(trained_shop, tmp_path_factory.mktemp("served") / "shop")) as opened:
        yield opened


def ids(rows: list[Recommendation]) -> list[str]:
    return [row.item.item_id for row in rows]


def finder(rows: list[Recommendation]) -> str:
    return rows[0].trace.models["retriever"].partition("@")[0]


def test_the_trace_says_who_found_the_candidates(served: Recommender, genrec: Recommender) -> None:
    rows = served.recommend("u03", 10, **BARE)
    manifest = json.loads((served.workspace.retriever / MANIFEST).read_text())
    assert rows[0].trace.models["retriever"] == f"learned@{manifest['sha256'][:16]}"
    assert genrec.recommend("u03", 10, **BARE)[0].trace.models["retriever"] == "fused"
    assert all("fused" in row.sources for row in rows)
    assert [row.score for row in rows] == sorted((row.score for row in rows), reverse=True)


def test_the_engine_gives_the_networks_order(served: Recommender) -> None:
    people = served._asynchronous._pipeline._retriever.user_encoder
    catalogue = served._asynchronous._pipeline._catalogue
    history = served.workspace.store.histories(["u05"])["u05"]
    (vector,) = people.vectors([history])
    assert vector is not None
    scores = catalogue.fused @ vector
    seen = {event.item_id for event in history}
    best = [catalogue.vectors.item_ids[row] for row in (-scores).argsort(kind="stable")]
    found = ids(served.recommend("u05", 10, **BARE))
    assert found == [item_id for item_id in best if item_id not in seen][:10]


def test_people_without_events_get_popular_items_or_their_interests(served: Recommender) -> None:
    rows = served.recommend(COLD, 5, **BARE)
    assert all(row.sources.keys() == {"popular"} for row in rows)
    assert {e.kind for row in rows for e in row.reason.evidence} == {"popularity"}
    stated = served.recommend(STATED, 5, **BARE)
    assert all(item_id.startswith("horror") for item_id in ids(stated))
    assert all(row.sources.keys() == {"interests"} for row in stated)


def test_reasons_cite_what_the_network_leant_on(served: Recommender) -> None:
    rows = served.recommend("u00", 5, **BARE)
    cited = [e for row in rows for e in row.reason.evidence if e.kind == "history"]
    past = {event.item_id for event in served.workspace.store.histories(["u00"])["u00"]}
    assert cited
    assert {e.item_ids[0] for e in cited} <= past
    assert any(0 < e.weight <= 1 for e in cited)
    assert all(row.reason.verified for row in rows)
    assert served.recommend("u00", 3, query="haunted house", explain="template", rank="off")


def test_a_new_event_changes_the_next_answer_at_once(own: Path) -> None:
    with Recommender.open(own) as genrec:
        before = genrec.recommend("u03", 5, **BARE)
        genrec.add_events(
            [Event(user_id="u03", item_id="horror-1", timestamp=2e9), Event(user_id="u03", item_id="horror-2", timestamp=2e9 + 1)]
        )
        after = genrec.recommend("u03", 5, **BARE)
        assert ids(after) != ids(before)
        assert finder(after) == "learned"
        genrec.add_events([Event(user_id="newcomer", item_id="war-1", timestamp=2e9)])
        assert "fused" in genrec.recommend("newcomer", 5, **BARE)[0].sources


def test_a_new_item_is_found_without_a_training(own: Path) -> None:
    with Recommender.open(own) as genrec:
        old = genrec.recommend("u00", 60, **BARE)[0].trace.models["retriever"]
        like = genrec.workspace.store.items(["space-1"])["space-1"]
        fresh = Item(item_id="fresh", title="The Star Ends", text=like.text, attributes=like.attributes)
        odd = Item(item_id="odd", attributes={"weight": 3.5})
        genrec.workspace.store.put_items([fresh, odd])
        genrec.build()
        rows = genrec.recommend("u00", 70, **BARE)  # space is what u00 likes
        assert rows[0].trace.models["retriever"] == old
        found = ids(rows)
        assert "fresh" in found
        other = ids(genrec.recommend("u01", 70, **BARE))
        assert found.index("fresh") < other.index("fresh")
        genrec.add_events([Event(user_id="u00", item_id="fresh", timestamp=2e9)])
        assert "fresh" not in ids(genrec.recommend("u00", 70, **BARE))
        assert genrec.recommend("u00", 70, query="star", explain="template", rank="off")


def test_which_retriever_serves(own: Path) -> None:
    def first(**settings: Any) -> str:
        with Recommender.open(own, settings=settings) as genrec:
            return finder(genrec.recommend("u00", 3, **BARE))

    def mark(serves: bool) -> None:
        manifest = json.loads((own / "retriever" / MANIFEST).read_text())
        manifest["card"]["serves"] = serves
        (own / "retriever" / MANIFEST).write_text(json.dumps(manifest))

    assert first() == "learned"
    for wanted, serves, expected in (
        ("fused", True, "fused"),
        ("auto", False, "fused"),
        ("learned", False, "learned"),
    ):
        mark(serves)
        settings = {"retrieval": {"retriever": wanted}}
        with Workspace.open(own, settings=settings) as workspace:
            assert build(workspace).retriever.startswith(expected)
        assert first(**settings) == expected
    with pytest.raises(WorkspaceError, match="another retriever") as error:
        first(retrieval={"retriever": "fused"})
    assert "genrec build" in error.value.hint


def test_after_a_training_elsewhere_it_asks_for_a_build(own: Path, tmp_path: Path) -> None:
    twin = shop.copy(own, tmp_path / "twin")
    train(twin, seed=5)
    shutil.rmtree(own / "retriever")
    shutil.copytree(twin / "retriever", own / "retriever")
    with pytest.raises(WorkspaceError, match="another retriever") as error:
        Recommender.open(own)
    assert "genrec build" in error.value.hint
    with Workspace.open(own) as workspace:
        build(workspace)
    with Recommender.open(own) as genrec, Recommender.open(twin) as other:
        assert ids(genrec.recommend("u07", 10, **BARE)) == ids(other.recommend("u07", 10, **BARE))


def test_settings_of_serving(own: Path) -> None:
    with pytest.raises(WorkspaceError, match="retrieval settings") as error:
        Recommender.open(own, settings={"retrieval": {"new_item_bonus": 3.0}})
    assert "Nothing is encoded anew" in error.value.hint
    lifted: dict[str, Any] = {"retrieval": {"new_item_bonus": 9.0}}
    with Recommender.open(own) as genrec:
        before = ids(genrec.recommend("u03", 60, **BARE)).index(shop.COLD_ITEM)
    with Workspace.open(own, settings=lifted) as workspace:
        build(workspace)
    with Recommender.open(own, settings=lifted) as genrec:
        assert ids(genrec.recommend("u03", 60, **BARE)).index(shop.COLD_ITEM) < before


DAMAGE = {
    "half": lambda folder: (folder / "retriever" / MANIFEST).write_text("{"),
    "list": lambda folder: (folder / "retriever" / MANIFEST).write_text("[]"),
    "bare": lambda folder: (folder / "retriever" / MANIFEST).write_text('{"card": {}}'),
    "gone": lambda folder: (folder / "retriever" / MANIFEST).unlink(),
    "weights": lambda folder: next((folder / "retriever").glob("*.safetensors")).write_bytes(b"x"),
    "rows": lambda folder: (folder / "vectors" / ITEMS).write_bytes(b"x"),
    "no rows": lambda folder: (folder / "vectors" / ITEMS).unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_told_and_can_be_mended(own: Path, damage: str) -> None:
    DAMAGE[damage](own)
    with pytest.raises(WorkspaceError) as error:
        Recommender.open(own)
    assert "genrec" in error.value.hint
    if damage == "no rows":
        with Workspace.open(own) as workspace:
            build(workspace)
    elif damage == "half":
        train(own, epochs=1)
    else:
        return
    with Recommender.open(own) as genrec:
        assert finder(genrec.recommend("u00", 3, **BARE)) == "learned"


def test_rows_of_other_items_are_told(own: Path) -> None:
    from safetensors.numpy import load_file, save_file

    rows = load_file(own / "vectors" / ITEMS)
    save_file({name: matrix[:-1].copy() for name, matrix in rows.items()}, own / "vectors" / ITEMS)
    with pytest.raises(WorkspaceError, match="other items"):
        Recommender.open(own)


def test_vectors_by_another_model_are_refused(own: Path) -> None:
    """The same width is not the same space."""
    path = own / "retriever" / MANIFEST
    manifest = json.loads(path.read_text())
    assert manifest["card"]["models"]["text"]
    manifest["card"]["models"]["text"] = "another@0123"
    path.write_text(json.dumps(manifest))
    with Workspace.open(own) as workspace, pytest.raises(DataError, match="another@0123") as error:
        build(workspace)
    assert "genrec train retriever" in error.value.hint
    train(own, epochs=1)
    with Recommender.open(own) as genrec:
        assert finder(genrec.recommend("u00", 3, **BARE)) == "learned"


def test_the_card_and_the_files(trained_shop: Path) -> None:
    card = json.loads((trained_shop / "retriever" / MANIFEST).read_text())["card"]
    assert (card["events"], card["items"]) == (240, 60)
    assert card["settings"]["width"] == 16
    assert card["validation"]["metric"] == "ndcg@10"
    assert card["serves"] is (card["validation"]["learned"] > card["validation"]["untrained"])
    assert len(card["epochs"]) == 3
    assert {"loss", "seconds", "validation"} == card["epochs"][0].keys()
    assert sum(card["gates"].values()) == pytest.approx(1.0, abs=1e-4)
    assert set(card["gates"]) == {"text", "attributes", "id"}
    assert (trained_shop / "retriever" / "training.svg").read_text().lstrip().startswith("<?xml")
    assert not list((trained_shop / "retriever" / CHECKPOINTS).rglob("checkpoint*"))


def test_what_learning_needs(own_shop: Path, tmp_path: Path) -> None:
    with Workspace.open(own_shop, settings={"retrieval": {"train": TINY}}) as workspace:
        events, content = load_content(workspace)
        assert (len(events), len(content.items)) == (240, 60)
        assert "behaviour" not in content.vectors.matrices
        workspace.store.put_items([Item(item_id="new", title="New")])
        with pytest.raises(WorkspaceError, match="since the last build"):
            train_retriever(workspace)
        for person in shop.PEOPLE:
            workspace.store.forget(person)
        build(workspace)
        with pytest.raises(TrainingError, match="nobody"):
            train_retriever(workspace)
    assert not (own_shop / "retriever" / MANIFEST).exists()


def test_triples_of_the_store_reach_the_graph(own_shop: Path) -> None:
    with Workspace.open(own_shop) as workspace:
        workspace.store.put_triples(
            [Triple(head=f"{kind}-{n}", relation="shot in", tail=f"town {n % 3}") for kind in shop.KINDS for n in range(10)]
        )
        assert len(load_content(workspace)[1].triples) == 60
    card = train(own_shop, fusion="graph", epochs=1)
    assert "graph" in card["gates"]
    manifest = json.loads((own_shop / "retriever" / MANIFEST).read_text())
    assert "shot in→" in manifest["features"]["relations"]
