"""Rows of histories: what serving would ask, every event once, nothing longer than a row."""

import re
from pathlib import Path

import numpy as np
import pytest

from genrec.errors import ConfigError
from genrec.llm.protocol import Likelihood
from genrec.prompts import Prompts
from genrec.ranking.prompter import Profile, Prompter
from genrec.training.adapter_training import Base
from genrec.training.ranking_examples import Histories, dealt
from genrec.types import Item
from tests.training import tuning, world

ITEMS = tuning.content().items
PROMPTER = Prompter(Prompts(), history=4, title_chars=48)


def rows(base: Base, lists: list[list[int]], length: int = 256, seed: int = 0) -> list[list[str]]:
    """The texts that share a row, row by row."""
    made = Histories(world.histories(lists, tuning.N), ITEMS, PROMPTER, base.encode, length=length)
    examples = made.rows(np.random.default_rng(seed))
    assert all(one.target == -1 and len(one.row.tokens) <= length for one in examples)
    return [list(one.row.request.continuations) for one in examples]  # pyright: ignore[reportAttributeAccessIssue]


def text(history: list[int]) -> str:
    return "".join(f" {tuning.TITLES[item]}\n" for item in history)


@pytest.mark.parametrize(
    "titles", [tuning.TITLES, ("12 Angry Men", "(500) Days", "¿Qué?", "Alien 3", "'night", "...And", "千と千尋")]
)
def test_a_history_is_tokenised_as_serving_asks(base: Base, titles: tuple[str, ...]) -> None:
    items = tuning.content(titles).items
    made = Histories(world.histories([[0, 3, 1, 2]], len(items)), items, PROMPTER, base.encode, length=256)
    (one,) = made.rows(np.random.default_rng(0))
    asked = PROMPTER.request("likelihood", Profile(history=(items[0], items[3], items[1])), [items[2]])
    assert isinstance(asked, Likelihood)
    served = [token for part in (asked.prefix, asked.context, asked.continuations[0]) for token in base.encode(part)]
    assert [*one.row.tokens, one.row.targets[-1]] == served
    assert one.row.targets == served[len(base.encode(asked.prefix)) :]


def test_a_line_is_tokenised_alone() -> None:
    """As candidates are; some tokenizers join a line break with the blank behind it."""
    known: dict[str, int] = {}

    def joining(part: str) -> list[int]:
        return [known.setdefault(token, len(known)) for token in re.findall(r"\n |.|\n", part)]

    (one,) = Histories(world.histories([[0, 1]], tuning.N), ITEMS, PROMPTER, joining, length=256).rows(np.random.default_rng(0))
    assert one.row.targets == [*joining(" A\n"), *joining(" B\n")]
    assert one.row.targets != joining(" A\n B\n")


def test_every_event_is_a_target_once(base: Base) -> None:
    lists = [*tuning.walks(30, length=7), [3, 3, 3], [5], []]
    for length in (64, 256):
        found = [line for row in rows(base, lists, length) for one in row for line in one.splitlines()]
        wanted = [f" {tuning.TITLES[item]}" for history in lists if len(history) > 1 for item in history]
        assert sorted(found) == sorted(wanted)


def test_rows_are_well_filled_and_shuffled(base: Base) -> None:
    lists = tuning.walks(60)
    packed = rows(base, lists)
    assert len(packed) < len(lists) / 4
    assert sum(len(row) for row in packed) == 60
    assert rows(base, lists) == packed
    assert rows(base, lists, seed=1) != packed


def test_a_long_history_is_cut_elsewhere_in_every_epoch(base: Base) -> None:
    history = [n % tuning.N for n in range(60)]
    starts = set()
    for seed in range(5):
        stretches = [one for row in rows(base, [history], 64, seed) for one in row]
        assert all(one in text(history) for one in stretches)
        assert sum(one.count("\n") for one in stretches) == 60
        starts.add(tuple(sorted(len(one) for one in stretches)))
    assert len(starts) > 2


def test_a_line_longer_than_a_row_is_left_out(base: Base) -> None:
    items = [Item(item_id="i0", title="x" * 40), *ITEMS[1:]]
    made = Histories(world.histories([[1, 0, 2]], tuning.N), items, PROMPTER, base.encode, length=64)
    found = [one for row in made.rows(np.random.default_rng(0)) for one in row.row.request.continuations]  # pyright: ignore[reportAttributeAccessIssue]
    assert sorted("".join(found).split()) == ["B", "C"]


def test_a_row_without_room_is_refused(base: Base) -> None:
    with pytest.raises(ConfigError, match="a row of 30 tokens") as caught:
        rows(base, [[0, 1]], length=30)
    assert "rank.train.length" in str(caught.value.hint)


def test_a_row_longer_than_the_model_reads_is_refused(base: Base, tmp_path: Path) -> None:
    course = tuning.course(base, tuning.events(9), tuning.settings(length=base.longest + 1))
    with pytest.raises(ConfigError, match=r"rank\.train\.length is 1025"):
        course.histories(0)


def test_steps_are_dealt_in_order(base: Base) -> None:
    made = Histories(tuning.events(40), ITEMS, PROMPTER, base.encode, length=64).rows(np.random.default_rng(0))
    steps = dealt(made, 3)
    assert [len(step) for step in steps[:-1]] == [3] * (len(steps) - 1)
    assert [one for step in steps for one in step] == made
