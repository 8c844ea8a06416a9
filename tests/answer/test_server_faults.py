"""Recommending through an LLM server that is well, ill, dead and back: a list in time, and the trace says what it lacks."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from genrec.recommender import Recommender
from genrec.types import Recommendation
from tests.llm.vllm_double import NAME, Double, Handler, Json

LIMIT_S = 3.0
SLACK_S = 4.0  # a busy machine, and the stages that need no LLM


@pytest.fixture
def double() -> Iterator[Double]:
    server = Double("v1")
    yield server
    server.stop()


def open_with(server: Double, folder: Path) -> Recommender:
    llm = {"engine": "openai", "url": server.url, "timeout_s": LIMIT_S, "read_timeout_s": 2.0, "breaker_cooldown_s": 0.3}
    return Recommender.open(folder, settings={"models": {"llm": NAME}, "llm": llm, "retrieval": {"candidates": 8}})


def stalls(handler: Handler, answer: Json) -> bool:
    time.sleep(5)
    return False


def degraded(rows: list[Recommendation]) -> dict[str, str]:
    return {stage.name: stage.note for stage in rows[0].trace.stages if stage.status == "degraded"}


def order(rows: list[Recommendation]) -> list[str]:
    return [row.item.item_id for row in rows]


def test_ranks_and_writes_through_the_server(double: Double, same_shop: Path) -> None:
    with open_with(double, same_shop) as genrec:
        rows = genrec.recommend("u00", 5)
        assert not degraded(rows)
        assert double.url in rows[0].trace.models["llm"]
        unranked = genrec.recommend("u00", 5, rank="off", explain="off")
        assert [row.score for row in rows] != [row.score for row in unranked]  # this server's order may be theirs by chance


@pytest.mark.parametrize("fault", ["dead", "stalls"])
def test_a_server_that_fails_costs_the_ranking_and_is_named(double: Double, same_shop: Path, fault: str) -> None:
    with open_with(double, same_shop) as genrec:
        plain = order(genrec.recommend("u00", 5, rank="off", explain="off"))
        assert not degraded(genrec.recommend("u00", 5))
        if fault == "dead":
            double.stop()
        else:
            double.fault(stalls)
        for _ in range(2):
            start = time.monotonic()
            rows = genrec.recommend("u00", 5)
            assert time.monotonic() - start < 2 * LIMIT_S + SLACK_S  # ranking and writing have their limit each
            assert order(rows) == plain
            assert degraded(rows).keys() >= {"ranking", "reasons"}
            assert all(double.url in note for note in degraded(rows).values())
            assert {row.reason.source for row in rows} == {"template"}
            assert all(row.reason.text for row in rows)


def test_a_server_that_comes_back_is_used_again(double: Double, same_shop: Path) -> None:
    with open_with(double, same_shop) as genrec:
        good = order(genrec.recommend("u00", 5))
        double.stop()
        assert degraded(genrec.recommend("u00", 5))
        fresh = Double("v1", port=double.port)
        fresh._vocabulary = double._vocabulary
        try:
            time.sleep(0.5)  # the breaker's cool-down
            again = genrec.recommend("u00", 5)
            assert not degraded(again)
            assert order(again) == good
        finally:
            fresh.stop()
