"""A workspace that lives: new events, tables read again, builds, weights that go away, people who leave."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from genrec.errors import DataError, StoreError, WorkspaceError
from genrec.models.sources import resolve
from genrec.recommender import Recommender
from genrec.types import Event, Item, Recommendation
from genrec.workspace.build import build
from genrec.workspace.folder import Workspace
from genrec.workspace.ingest import ingest
from tests import shop
from tests.shop import COLD, MAPPING, STATED

QUICK: dict[str, Any] = {"explain": "template"}


def told(rows: list[Recommendation]) -> list[tuple[object, ...]]:
    return [(row.rank, row.item.item_id, round(row.score, 6), row.reason) for row in rows]


def ids(rows: list[Recommendation]) -> list[str]:
    return [row.item.item_id for row in rows]


def test_closed_and_opened_again_it_says_the_same(own_shop: Path, genrec: Recommender) -> None:
    with Recommender.open(own_shop) as first:
        before = told(first.recommend("u04", 10, query="bridge"))
    with Recommender.open(own_shop) as second:
        assert told(second.recommend("u04", 10, query="bridge")) == before
    assert told(genrec.recommend("u04", 10, query="bridge")) == before


def test_new_events_change_the_next_answer(own_shop: Path) -> None:
    with Recommender.open(own_shop) as genrec:
        before = genrec.recommend(COLD, 5, **QUICK)
        genrec.add_events([Event(user_id=COLD, item_id="horror-1", timestamp=1e9), Event(user_id=COLD, item_id="horror-2")])
        after = genrec.recommend(COLD, 5, **QUICK)
        assert ids(after) != ids(before)
        assert sum(item.startswith("horror") for item in ids(after)) >= 3
        assert not {"horror-1", "horror-2"} & set(ids(after))
        assert {e.kind for e in after[0].reason.evidence} >= {"history"}
        assert {e.value for e in after[0].reason.evidence if e.kind == "history"} == {"chosen"}  # no value, no liking
        genrec.add_events([Event(user_id="newcomer", item_id="war-1")])
        assert sum(item.startswith("war") for item in ids(genrec.recommend("newcomer", 5, **QUICK))) >= 3


def test_events_of_items_that_are_not_built_yet_do_no_harm(own_shop: Path) -> None:
    with Recommender.open(own_shop) as genrec:
        genrec.add_events([Event(user_id=STATED, item_id="not-there")])
        rows = genrec.recommend(STATED, 5, **QUICK)
        assert all(item.startswith("horror") for item in ids(rows))  # the interests still speak
        assert {e.kind for row in rows for e in row.reason.evidence} == {"interest"}
        genrec.workspace.store.put_items([Item(item_id="new", title="A New One", attributes={"colour": "red"})])
        assert "new" not in ids(genrec.recommend(COLD, 100, rank="off", explain="off"))
        genrec.build()
        assert "new" in ids(genrec.recommend(COLD, 100, rank="off", explain="off"))
        assert ids(genrec.recommend("u00", 5, filter='colour == "red"', rank="off", explain="off")) == ["new"]


def test_after_a_build_titles_are_scored_as_far_as_they_are_unique_now(own_shop: Path) -> None:
    """New titles begin like old ones, which are then told apart by a longer start."""

    def scores(rows: list[Recommendation]) -> dict[str, float]:
        return {row.item.item_id: row.score for row in rows}

    settings = {"rank": {"method": "likelihood", "unique_prefix": True}}
    with Recommender.open(own_shop, settings=settings) as genrec:
        before = scores(genrec.recommend("u00", 60, explain="off"))
        old = genrec.workspace.store.items(sorted(before))
        titles = sorted({item.title for item in old.values()})
        genrec.workspace.store.put_items([Item(item_id=f"new-{n}", title=f"{one} Again") for n, one in enumerate(titles)])
        genrec.build()
        after = scores(genrec.recommend("u00", 60, explain="off"))
    with Recommender.open(own_shop, settings=settings) as genrec:
        assert scores(genrec.recommend("u00", 60, explain="off")) == after
    assert {one: before[one] for one in before.keys() & after.keys()} != {one: after[one] for one in before.keys() & after.keys()}


def test_a_build_after_a_second_ingest_encodes_what_changed_only(own_shop: Path, tmp_path: Path) -> None:
    rows = shop.item_rows()[:20]
    rows[3]["title"] = "The Comet Changed Its Name"
    rows[7]["plot"] = "Something else altogether: a cookery contest."
    rows.append({**rows[0], "item_id": "space-10", "title": "The Tenth"})
    shop.write_lines(tmp_path / "items.jsonl", [{k: v for k, v in row.items() if k != "image"} for row in rows])
    with Workspace.open(own_shop) as workspace:
        report = ingest(workspace, items=[tmp_path / "items.jsonl"], mapping=MAPPING)
        assert report.tables["items"].kept == 21
        built = build(workspace)
        again = build(workspace)
    assert (built.items, built.encoded["text"]) == (61, 3)
    assert (again.items, again.encoded["text"]) == (61, 0)
    assert built.vectors == again.vectors
    with Recommender.open(own_shop) as genrec:
        found = genrec.recommend(COLD, 3, query="cookery contest", rank="off", explain="off")
        assert ids(found)[0] == "space-7"


def test_other_weights_encode_everything_anew(own_shop: Path, tmp_path: Path) -> None:
    from tests.llm.tiny import save_text_model

    model = save_text_model(tmp_path / "model")
    with Workspace.open(own_shop, settings={"models": {"text": str(model)}}) as workspace:
        built = build(workspace)
        assert built.encoded["text"] == 60
        assert built.vectors["text"] == 16
        assert build(workspace).encoded["text"] == 0
    with Recommender.open(own_shop) as genrec:  # the settings' own encoder does not fit these vectors
        rows = genrec.recommend("u00", 3, query="starship", explain="off")
    (stage,) = [stage for stage in rows[0].trace.stages if stage.status == "degraded"]
    assert stage.name == "query text"
    assert "the query would be by" in stage.note
    assert any("bm25" in row.sources for row in rows)


def test_the_same_weights_by_another_name_encode_nothing_anew(own_shop: Path, tmp_path: Path) -> None:
    weights = resolve("sentence-transformers/all-MiniLM-L6-v2", "text")
    moved = shutil.copytree(weights.path, tmp_path / "mini")
    with Workspace.open(own_shop, settings={"models": {"text": str(moved)}}) as workspace:
        assert build(workspace).encoded["text"] == 0
    with Recommender.open(own_shop) as genrec:
        assert not genrec.recommend("u00", 3, query="starship", explain="off")[0].trace.degraded


GONE: dict[str, Any] = {"hub": False}


def test_without_the_llm_the_list_still_comes_and_says_so(own_shop: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with Recommender.open(own_shop, settings={"models": GONE | {"llm": str(tmp_path / "empty")}}) as genrec:
        for first in (True, False):  # the second call does not look for weights again
            rows = genrec.recommend("u00", 5)
            assert len(rows) == 5
            trace = rows[0].trace
            assert trace.degraded
            degraded = {stage.name: stage.note for stage in trace.stages if stage.status == "degraded"}
            assert set(degraded) == {"ranking", "reasons model"} | ({"loading llm"} if first else set())
            assert all("WeightsError" in note and "empty" in note for note in degraded.values())
            assert {row.reason.source for row in rows} == {"template"}
            assert all(row.reason.verified and row.reason.text for row in rows)
        rows = genrec.recommend("u00", 5)
        assert ids(rows) == ids(genrec.recommend("u00", 5, rank="off", explain="template"))
        assert not genrec.recommend("u00", 5, rank="off", explain="template")[0].trace.degraded
        by_ranker = genrec.recommend("u00", 2, rank="off", explain="template", evidence="ranker")
        assert by_ranker[0].trace.degraded
        assert by_ranker[0].reason.evidence == rows[0].reason.evidence  # the retriever's, in its place


def test_missing_text_weights_at_the_first_build_are_named(tmp_path: Path) -> None:
    tables = tmp_path / "tables"
    shop.write_tables(tables)
    settings = GONE | {"text": str(tmp_path / "none"), "image": "", "llm": "fake"}
    with Workspace.create(tmp_path / "w"):
        pass
    with Workspace.open(tmp_path / "w", settings={"models": settings}) as workspace:
        ingest(workspace, items=[tables / "items.csv"], events=[tables / "events.jsonl"], mapping=MAPPING)
        built = build(workspace)
    assert str(tmp_path / "none") in built.missing["text"]
    assert built.missing["image"] == "models.image is empty"
    assert "text" not in built.vectors
    assert built.encoded == {}
    with Recommender.open(tmp_path / "w", settings={"models": settings}) as genrec:
        rows = genrec.recommend("u00", 5, **QUICK)
        assert sum(item.startswith("space") for item in ids(rows)) >= 3
        assert not rows[0].trace.degraded
        assert genrec.recommend("u00", 5, query="starship", explain="off")


def test_weights_that_go_away_cost_no_vectors(own_shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENREC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with Workspace.open(own_shop) as workspace:
        workspace.store.put_items([Item(item_id="new", title="A New One")])
        built = build(workspace)
    assert built.encoded["text"] == 0
    assert built.missing["text"].startswith("1 new or changed items: no weights for the text model")
    assert built.vectors["text"] == 384
    monkeypatch.undo()
    with Workspace.open(own_shop) as workspace:
        built = build(workspace)
    assert built.encoded["text"] == 1
    assert "text" not in built.missing


def test_a_broken_prompt_of_ones_own_degrades_its_stage_only(own_shop: Path) -> None:
    (own_shop / "prompts").mkdir()
    (own_shop / "prompts" / "reason.j2").write_text("{{ nosuch }}")
    (own_shop / "prompts" / "rerank.j2").write_text("{% if %}")
    with Recommender.open(own_shop) as genrec:
        rows = genrec.recommend("u00", 3)
    degraded = {stage.name: stage.note for stage in rows[0].trace.stages if stage.status == "degraded"}
    assert set(degraded) == {"ranking", "reasons"}
    assert "rerank.j2" in degraded["ranking"]
    assert {row.reason.source for row in rows} == {"template"}


def test_forgetting_leaves_no_trace_of_the_person(own_shop: Path) -> None:
    from genrec.errors import UnknownUserError

    with Recommender.open(own_shop) as genrec:
        others = genrec.workspace.store.counts().events
        gone = genrec.forget("u00")
        assert (gone.events, gone.profile) == (6, True)
        with pytest.raises(UnknownUserError):
            genrec.recommend("u00")
        assert genrec.workspace.store.counts().events == others - 6
        assert genrec.forget("u00").events == 0
        assert genrec.recommend("u01", 3)
    assert not [file for file in own_shop.rglob("store.sqlite*") if b"u00" in file.read_bytes()]


def test_nothing_to_build_from(tmp_path: Path) -> None:
    with Workspace.create(tmp_path / "w") as workspace:
        with pytest.raises(DataError, match="no items"):
            build(workspace)
        workspace.store.put_items([Item(item_id="1")])
        with pytest.raises(DataError, match="no item got a vector"):
            build(workspace)
    with pytest.raises(WorkspaceError) as caught:
        Recommender.open(tmp_path / "w")
    assert caught.value.hint == "Run `genrec build`."


def test_records_that_the_store_refuses_are_faults_of_their_own(own_shop: Path, tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"item_id": f"n{n}", "title": "x", "platform": "p"} for n in range(10)]
    rows[6]["platform"] = "p" * 65
    shop.write_lines(tmp_path / "items.jsonl", rows)
    with Workspace.open(own_shop) as workspace:
        report = ingest(workspace, items=[tmp_path / "items.jsonl"])
        there = set(workspace.store.item_ids())
    assert {f"n{n}" for n in range(10)} - there == {"n6"}
    (fault,) = report.faults
    assert fault.kind == "refused by the store"
    assert str(fault).startswith(f"{tmp_path / 'items.jsonl'}: item 'n6': platform is")
    counts = report.tables["items"]
    assert (counts.read, counts.kept, counts.faulty) == (10, 9, 1)


def test_a_store_that_is_gone_is_not_replaced_by_an_empty_one(own_shop: Path) -> None:
    for file in own_shop.glob("store.sqlite*"):
        file.unlink()
    for _ in range(2):
        with Recommender.open(own_shop) as genrec, pytest.raises(StoreError, match="is missing") as caught:
            genrec.recommend("u00")
        assert "backup" in caught.value.hint
    assert not (own_shop / "store.sqlite").exists()


def test_items_that_only_the_index_has(own_shop: Path, tmp_path: Path) -> None:
    with Workspace.create(tmp_path / "other") as other:
        other.store.add_events([Event(user_id="u00", item_id="space-1")])
    for file in own_shop.glob("store.sqlite*"):
        file.unlink()
    shutil.copy(tmp_path / "other" / "store.sqlite", own_shop / "store.sqlite")
    with Recommender.open(own_shop) as genrec, pytest.raises(WorkspaceError, match="items that the store has not"):
        genrec.recommend("u00")


def test_a_build_that_ends_before_its_end_is_noticed(own_shop: Path) -> None:
    with Workspace.open(own_shop) as workspace:
        workspace.store.put_items([Item(item_id="space-0", title="Changed")])
        old = workspace.build_file.read_bytes()
        build(workspace)
        workspace.build_file.write_bytes(old)  # as if killed between the vectors and the index
    with pytest.raises(WorkspaceError, match="not whole") as caught:
        Recommender.open(own_shop)
    assert "genrec build" in caught.value.hint
    with Workspace.open(own_shop) as workspace:
        assert build(workspace).encoded["text"] == 0
    with Recommender.open(own_shop) as genrec:
        assert genrec.recommend("u00", 3)
