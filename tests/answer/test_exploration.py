"""Exploration through the API and the command line: the option, the setting, the seed, and what the trace says."""

import json
from pathlib import Path
from typing import Any

import pytest

from genrec.errors import ConfigError
from genrec.recommender import Recommender
from genrec.types import Recommendation
from tests.cli.command import genrec as command

QUICK: dict[str, Any] = {"explain": "off", "rank": "off"}
FEW: dict[str, Any] = {"retrieval": {"candidates": 5}}
USER = "u00"


def ids(rows: list[Recommendation]) -> list[str]:
    return [row.item.item_id for row in rows]


def test_the_option_draws_and_the_seed_draws_it_again(same_shop: Path) -> None:
    with Recommender.open(same_shop, settings=FEW) as genrec:
        plain = genrec.recommend(USER, 5, **QUICK)
        assert all(stage.name != "exploration" for stage in plain[0].trace.stages)
        drawn = genrec.recommend(USER, 5, explore=3.0, seed=1, **QUICK)
        assert ids(drawn) != ids(plain)
        assert ids(genrec.recommend(USER, 5, explore=3.0, seed=1, **QUICK)) == ids(drawn)
        lists = {tuple(ids(genrec.recommend(USER, 5, explore=3.0, **QUICK))) for _ in range(6)}
        assert len(lists) > 1  # without a seed others each time
        new = [row for row in drawn if "explored" in row.sources]
        assert {row.item.item_id for row in new} == set(ids(drawn)) - set(ids(plain))
        (stage,) = (stage for stage in drawn[0].trace.stages if stage.name == "exploration")
        assert stage.note == f"seed 1: {len(new)} of 5 candidates"
        seen = {event.item_id for event in genrec.workspace.store.history(USER)}
        assert not seen & {item for one in lists for item in one}
        assert ids(genrec.recommend(USER, 5, explore=0, **QUICK)) == ids(plain)
        some = genrec.recommend(USER, 5, explore=3.0, seed=1, filter='country == "UK"', **QUICK)
        assert {row.item.attributes["country"] for row in some} == {"UK"}


def test_people_draw_alone_whoever_asks_beside_them(same_shop: Path) -> None:
    with Recommender.open(same_shop, settings=FEW) as genrec:
        together = genrec.recommend_many([USER, "u01"], 5, explore=3.0, seed=1, **QUICK)
        alone = genrec.recommend("u01", 5, explore=3.0, seed=1, **QUICK)
        assert ids([row for row in together if row.user_id == "u01"]) == ids(alone)


def test_the_setting_is_the_default_and_the_option_wins(same_shop: Path) -> None:
    with Recommender.open(same_shop, settings={"retrieval": {"candidates": 5, "explore": 3.0}}) as genrec:
        drawn = ids(genrec.recommend(USER, 5, seed=1, **QUICK))
        plain = ids(genrec.recommend(USER, 5, seed=1, explore=0.0, **QUICK))
        assert drawn != plain
    with Recommender.open(same_shop, settings=FEW) as genrec:
        assert ids(genrec.recommend(USER, 5, explore=3.0, seed=1, **QUICK)) == drawn


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf"), "much", True])
def test_what_is_no_strength_is_refused(same_shop: Path, wrong: Any) -> None:
    with Recommender.open(same_shop) as genrec, pytest.raises(ConfigError, match="explore"):
        genrec.recommend(USER, explore=wrong)


def test_the_command(same_shop: Path) -> None:
    quick = ("recommend", "-w", same_shop, "-u", USER, "-k", "50", "--rank", "off", "--explain", "off", "--json")

    def asked(*options: str) -> list[str]:
        return [json.loads(line)["item_id"] for line in command(*quick, *options).out.splitlines()]

    assert asked("--explore", "3", "--seed", "1") == asked("--explore", "3", "--seed", "1") != asked()
