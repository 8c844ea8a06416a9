"""Each setting and option that passes through an answer changes it, and the trace says what was done."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from genrec.errors import ConfigError, WorkspaceError
from genrec.prompts import Prompts
from genrec.reasons.facts import facts_of
from genrec.reasons.reason_checker import fault
from genrec.recommender import AsyncRecommender, Recommender
from genrec.retrieval.mean_profile import leave_one_out
from genrec.retrieval.retriever import Retriever
from genrec.retrieval.user_encoders import MeanUserEncoder
from genrec.types import Recommendation
from tests.shop import COLD, PEOPLE, STATED

DialogueInput = list[tuple[str, float]]


def said(rows: list[Recommendation]) -> DialogueInput:
    return [(row.item.item_id, round(row.score, 9)) for row in rows]


def stages(rows: list[Recommendation]) -> dict[str, str]:
    return {stage.name: stage.status for stage in rows[0].trace.stages}


def opened(folder: Path, **settings: Any) -> list[Recommendation]:
    with Recommender.open(folder, settings=settings) as genrec:
        return genrec.recommend("u00", 10)


def test_the_trace_says_what_was_done(genrec: Recommender) -> None:
    genrec.recommend("u00", 1, query="galaxy")  # loads what is needed: loading is a stage of its own
    rows = genrec.recommend("u00", 3, query="starship")
    trace = rows[0].trace
    names = [stage.name for stage in trace.stages]
    assert names == ["people", "query text", "candidates", "ranking", "evidence", "reasons model", "reasons"]
    assert all(stage.status == "ok" and stage.milliseconds >= 0 for stage in trace.stages)
    assert not trace.degraded
    assert trace.models["llm"] == "fake"
    assert trace.models["text"].startswith("sentence-transformers/all-MiniLM-L6-v2@")
    assert trace.prompts == {name: Prompts().digest(name) for name in ("rerank", "reason")}
    assert all(row.trace == trace for row in rows)


def test_ranking_off_is_the_order_of_the_retriever(genrec: Recommender) -> None:
    rows = genrec.recommend("u00", 10, rank="off")
    assert stages(rows)["ranking"] == "off"
    assert "rerank" not in rows[0].trace.prompts
    assert [row.score for row in rows] == pytest.approx([row.sources["fused"] for row in rows])
    assert said(rows) != said(genrec.recommend("u00", 10))


def test_the_methods_score_differently(genrec: Recommender) -> None:
    by_method = [said(genrec.recommend("u00", 10, method=method)) for method in ("likelihood", "labels", "markers")]
    assert len({str(one) for one in by_method}) == 3


def test_reasons_off_template_and_llm(genrec: Recommender) -> None:
    off, template, llm = (genrec.recommend("u00", 4, explain=one) for one in ("off", "template", "llm"))
    assert said(off) == said(template) == said(llm)
    assert {(row.reason.text, row.reason.source, row.reason.evidence) for row in off} == {("", "off", ())}
    assert stages(off)["reasons"] == "off"
    assert "evidence" not in stages(off)
    assert {row.reason.source for row in template} == {"template"}
    assert "reasons model" not in stages(template)
    assert stages(llm)["reasons model"] == "ok"
    for row in [*template, *llm]:
        assert row.reason.verified
        assert row.reason.evidence


def test_every_reason_is_true(genrec: Recommender) -> None:
    """Re-checked from the store: cited items are in the history, values are those of both items."""
    store = genrec.workspace.store
    for row in genrec.recommend_many([*PEOPLE, STATED, COLD], 5):
        history = {event.item_id: event.value for event in store.history(row.user_id)}
        values = [value for value in history.values() if value is not None]
        cited = store.items([one for evidence in row.reason.evidence for one in evidence.item_ids])
        for evidence in row.reason.evidence:
            assert set(evidence.item_ids) <= history.keys()
            if evidence.kind == "history":
                value = history[evidence.item_ids[0]]
                assert value is not None
                assert evidence.value == ("liked" if value >= sum(values) / len(values) else "chosen")
                assert 0 < evidence.weight <= 1
            if evidence.kind == "attribute":
                for item in (row.item, *(cited[one] for one in evidence.item_ids)):
                    found = item.attributes[evidence.attribute]
                    assert evidence.value in (found if isinstance(found, tuple) else (found,))
        assert fault(row.reason.text, facts_of(row.reason.evidence, cited)) == ""


def means(retriever: Retriever) -> MeanUserEncoder:
    assert isinstance(retriever.user_encoder, MeanUserEncoder)
    return retriever.user_encoder


def test_disliked_films_are_not_cited_while_another_carries(genrec: Recommender) -> None:
    retriever = genrec._asynchronous._pipeline._retriever
    liked = 0
    for row in genrec.recommend_many(PEOPLE, 5, explain="template"):
        cited = [evidence for evidence in row.reason.evidence if evidence.kind == "history"]
        liked += any(evidence.value == "liked" for evidence in cited)
        if any(evidence.value == "chosen" for evidence in cited):
            assert len(cited) == 1  # each person dislikes one film
            user = means(retriever).user(genrec.workspace.store.history(row.user_id))
            assert user is not None
            falls = leave_one_out(user, retriever._catalogue.rows([row.item.item_id]))[0]
            assert (falls > 1e-6).sum() == 1
    assert liked > 100


def test_evidence_of_the_ranker(genrec: Recommender) -> None:
    retriever = genrec.recommend("u00", 3, explain="template")
    ranker = genrec.recommend("u00", 3, explain="template", evidence="ranker")
    assert said(retriever) == said(ranker)
    assert "evidence by ranker" in stages(ranker)
    assert "evidence by ranker" not in stages(retriever)
    assert [row.reason.evidence for row in ranker] != [row.reason.evidence for row in retriever]
    assert genrec.recommend(COLD, 3, evidence="ranker")[0].reason.evidence[0].kind == "popularity"


def test_without_the_most_cited_film_the_score_falls(genrec: Recommender) -> None:
    """The counterfactual behind the evidence, through a retriever that never heard of the film."""
    retriever = genrec._asynchronous._pipeline._retriever
    for user in PEOPLE[:12]:
        row = genrec.recommend(user, 1, rank="off", explain="template")[0]
        first = next(evidence for evidence in row.reason.evidence if evidence.kind == "history")
        events = genrec.workspace.store.history(user)
        whole = means(retriever).user(events)
        assert whole is not None
        shown = retriever._catalogue.rows([row.item.item_id])
        falls = dict(zip(whole.item_ids, leave_one_out(whole, shown)[0].tolist(), strict=True))
        assert first.weight == pytest.approx(falls[first.item_ids[0]], abs=1e-6)
        kept = [n for n, item_id in enumerate(whole.item_ids) if item_id != first.item_ids[0]]
        rest = (whole.weights[kept, None] * whole.rows[kept]).sum(axis=0)
        before, after = float(shown[0] @ whole.vector), float(shown[0] @ rest / (rest @ rest) ** 0.5)
        assert after < before
        assert (before - after) / before == pytest.approx(first.weight, abs=1e-4)


SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("rank", {"mode": "off"}),
    ("rank", {"method": "markers"}),
    ("rank", {"method": "labels"}),
    ("rank", {"weight": 0.9}),
    ("rank", {"prior": 1.0}),
    ("rank", {"per_token": False}),
    ("rank", {"history": 1}),
    ("rank", {"method": "labels", "window": 2}),
    ("rank", {"title_chars": 5}),
    ("retrieval", {"candidates": 11}),
    ("retrieval", {"history": 1}),
    ("retrieval", {"half_life": 0.2}),
    ("retrieval", {"negative_value": 0.0}),
    ("retrieval", {"popular_share": 1.0}),
]


@pytest.mark.parametrize(("section", "keys"), SETTINGS, ids=str)
def test_a_setting_of_the_list_is_read(genrec: Recommender, same_shop: Path, section: str, keys: dict[str, Any]) -> None:
    rows = opened(same_shop, **{section: keys})
    assert said(rows) != said(genrec.recommend("u00", 10))


def test_the_window_is_what_is_compared(same_shop: Path) -> None:
    small = opened(same_shop, rank={"method": "labels", "window": 2})
    assert said(small) != said(opened(same_shop, rank={"method": "labels"}))


def test_settings_of_the_reasons_are_read(same_shop: Path) -> None:
    def cited(rows: list[Recommendation]) -> int:
        return max(sum(e.kind == "history" for e in row.reason.evidence) for row in rows)

    assert cited(opened(same_shop, reasons={"cited": 1})) == 1
    assert cited(opened(same_shop, reasons={"cited": 4})) == 4
    assert stages(opened(same_shop, reasons={"explain": "off"}))["reasons"] == "off"
    assert "evidence by ranker" in stages(opened(same_shop, reasons={"evidence": "ranker"}))


def test_the_real_model_writes_within_its_tokens(same_shop: Path) -> None:
    real: dict[str, Any] = {"models": {"llm": "HuggingFaceTB/SmolLM2-135M-Instruct"}, "retrieval": {"candidates": 5}}
    with Recommender.open(same_shop, settings=real) as genrec:
        rows = genrec.recommend("u00", 4)
    assert not rows[0].trace.degraded
    assert rows[0].trace.models["llm"].startswith("HuggingFaceTB/SmolLM2-135M-Instruct@")
    assert "llm" in {row.reason.source for row in rows}
    assert all(row.reason.verified for row in rows)
    with Recommender.open(same_shop, settings={"reasons": {"max_tokens": 1}, **real}) as genrec:
        assert {row.reason.source for row in genrec.recommend("u00", 2)} == {"template"}


def test_settings_of_the_index_ask_for_a_build(same_shop: Path) -> None:
    for keys in ({"weights": {"text": 1.0}}, {"trust": 1.0}):
        with pytest.raises(WorkspaceError, match="the index was built with") as caught:
            opened(same_shop, retrieval=keys)
        assert "genrec build" in caught.value.hint


def test_diversity_is_read(same_shop: Path) -> None:
    lists = []
    for diversity in (0.0, 0.9):
        with Recommender.open(same_shop, settings={"retrieval": {"diversity": diversity}}) as genrec:
            lists.append([row.item.item_id for row in genrec.recommend(COLD, 8, explain="off")])
    assert lists[0] != lists[1]


@pytest.mark.parametrize("settings", [{"nosuch": {"a": 1}}, {"rank": {"nosuch": 1}}, {"rank": {"weight": 7}}, {"rank": 5}])
def test_settings_that_cannot_be(same_shop: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        Recommender.open(same_shop, settings=settings)
    assert caught.value.hint


def test_a_stream_gives_the_list_and_then_its_reasons(genrec: Recommender) -> None:
    rows = list(genrec.recommend_stream("u00", 5))
    first, then = rows[:5], rows[5:]
    assert [row.rank for row in first] == [1, 2, 3, 4, 5]
    assert {(row.reason.text, row.reason.source) for row in first} == {("", "off")}
    assert sorted(row.rank for row in then) == [1, 2, 3, 4, 5]
    whole = genrec.recommend("u00", 5)
    assert [(r.item, r.score, r.reason) for r in sorted(then, key=lambda r: r.rank)] == [
        (r.item, r.score, r.reason) for r in whole
    ]
    assert "reasons" not in {stage.name for stage in first[0].trace.stages}
    off = list(genrec.recommend_stream("u00", 5, explain="off"))
    assert len(off) == 5
    assert {stage.name: stage.status for stage in off[0].trace.stages}["reasons"] == "off"


def test_calls_from_threads_and_from_other_loops_meet(same_shop: Path) -> None:
    """The first calls load the models: callers of several threads and loops wait for one load."""
    quick: dict[str, Any] = {"query": "starship", "explain": "off", "rank": "off"}
    with Recommender.open(same_shop) as genrec:
        expected = {user: said(genrec.recommend(user, 3, **quick)) for user in PEOPLE[:6]}
    with Recommender.open(same_shop) as blocking, ThreadPoolExecutor(6) as pool:
        answers = dict(
            zip(PEOPLE[:6], pool.map(lambda user: said(blocking.recommend(user, 3, **quick)), PEOPLE[:6]), strict=True)
        )
    assert answers == expected
    with ThreadPoolExecutor(6) as pool:
        genrec = AsyncRecommender.open(same_shop)
        loops = pool.map(lambda user: said(asyncio.run(genrec.recommend(user, 3, **quick))), PEOPLE[:6])
        assert dict(zip(PEOPLE[:6], loops, strict=True)) == expected
        asyncio.run(genrec.close())


def test_a_closed_recommender_says_so(same_shop: Path) -> None:
    genrec = Recommender.open(same_shop)
    begun = genrec.recommend_stream("u00", 3)
    next(begun)
    genrec.close()
    genrec.close()
    with pytest.raises(WorkspaceError, match="closed"):
        genrec.recommend("u00")
    with pytest.raises(WorkspaceError, match="closed"):
        next(begun)
    with pytest.raises(WorkspaceError, match="closed"):
        genrec.workspace  # noqa: B018 - the access is the test
