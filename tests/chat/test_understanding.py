"""Who reads a turn: the setting decides, and a model that fails is told and does no harm."""

from pathlib import Path

import pytest

from genrec.chat.messages import ChatAnswer
from genrec.recommender import Recommender

TURN = "a horror film from before 1990"


def stages(answer: ChatAnswer) -> dict[str, str]:
    return {stage.name: stage.status for stage in answer.trace.stages}


@pytest.mark.parametrize(("told", "reads"), [("auto", False), ("parser", False), ("llm", True)])
def test_the_setting_says_who_reads(same_shop: Path, told: str, reads: bool) -> None:
    with Recommender.open(same_shop, settings={"chat": {"understand": told}}) as genrec:
        answer = genrec.chat([{"role": "user", "content": "something with ghosts"}])
    assert ("reading" in stages(answer)) == reads
    assert ("converse" in answer.trace.prompts) == reads
    assert answer.items


def test_a_model_that_fails_is_told_and_the_parsers_reading_stands(own_shop: Path) -> None:
    (own_shop / "prompts").mkdir()
    (own_shop / "prompts" / "converse.j2").write_text("{{ nothing_like_this }}")
    with Recommender.open(own_shop, settings={"chat": {"understand": "llm"}}) as genrec:
        answer = genrec.chat([{"role": "user", "content": "something with ghosts"}])
    assert stages(answer)["reading"] == "degraded"
    assert answer.trace.degraded
    assert answer.items


def test_a_turn_that_the_parser_settles_alone_is_not_sent_to_the_model(same_shop: Path) -> None:
    with Recommender.open(same_shop, settings={"chat": {"understand": "llm"}}) as genrec:
        answer = genrec.chat([{"role": "user", "content": TURN}])
    assert "reading" not in stages(answer)
    assert sorted(answer.filter.split(" and ")) == ['genres has "Horror"', "year < 1990"]
