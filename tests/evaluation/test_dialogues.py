"""Recall at the moments of dialogues, counted by hand."""

from collections.abc import Sequence

import pytest

from genrec.chat_retrieval.dialogue_features import DialogueInput
from genrec.chat_retrieval.transcripts import Transcript
from genrec.data.dialogue_files import Moment
from genrec.errors import EvaluationError
from genrec.evaluation.dialogue_recall import Ranker, linking, recalls, satisfied, started
from genrec.filters import Compare
from genrec.types import Item


def moment(dialogue: str, wanted: str, named: str | None, found: str = "", context: int = 1) -> Transcript:
    """Items are single letters."""
    made = Moment(dialogue_id=dialogue, turn_id="1", context=("x",) * context, wanted=tuple(wanted), named=None, row=1)
    return Transcript(
        moment=made, said=DialogueInput(), wanted=tuple(wanted), named=None if named is None else tuple(named), found=tuple(found)
    )


def always(listed: str) -> Ranker:
    def rank(transcripts: Sequence[Transcript], k: int) -> list[list[str]]:
        return [list(listed)[:k] for _ in transcripts]

    return rank


def test_what_was_named_is_left_out_of_list_and_count() -> None:
    cases = [moment("1", "ab", "a"), moment("2", "c", "")]
    found = recalls(cases, always("abc"), ks=(1, 2))
    assert found.at[1].mean == 0.5  # b is first once a is left out; c is third
    assert found.at[1].n == 2
    assert found.at[2].mean == 0.5
    assert found.repeats[1].mean == pytest.approx(1 / 3)  # a itself
    assert found.repeats[2].mean == pytest.approx(2 / 3)
    assert found.repeats[1].n == 3


def test_lists_are_long_enough_for_what_is_left_out() -> None:
    asked: list[int] = []

    def rank(transcripts: Sequence[Transcript], k: int) -> list[list[str]]:
        asked.append(k)
        return [list("abcdef")[:k] for _ in transcripts]

    assert recalls([moment("1", "f", "abcde")], rank, ks=(1,)).at[1].mean == 1.0
    assert asked == [6]


def test_intervals_draw_dialogues_not_moments() -> None:
    one_dialogue = [moment("1", "a", ""), moment("1", "z", "")]
    found = recalls(one_dialogue, always("a"), ks=(1,)).at[1]
    assert (found.mean, found.low, found.high) == (0.5, 0.5, 0.5)
    two = recalls([moment("1", "a", ""), moment("2", "z", "")], always("a"), ks=(1,)).at[1]
    assert (two.low, two.high) == (0.0, 1.0)


def test_counts() -> None:
    counted = started([moment("1", "ab", "a"), moment("1", "c", None, "c"), moment("2", "d", None)])
    assert (counted.dialogues, counted.moments, counted.cases, counted.repeated) == (2, 3, 2, 2)
    with pytest.raises(EvaluationError, match="no moment recommends"):
        started([moment("1", "a", "a")])


def test_linking_takes_each_dialogue_at_its_longest() -> None:
    cases = [moment("1", "", "ab", "b", context=1), moment("1", "", "aab", "aac", context=2), moment("2", "", "d", "d")]
    found = linking(cases)
    assert found is not None
    assert found.precision == pytest.approx(3 / 4)  # a, a, d of a, a, c, d
    assert found.recall == pytest.approx(3 / 4)  # of a, a, b, d
    assert found.distinct_precision == pytest.approx(2 / 3)
    assert found.distinct_recall == pytest.approx(2 / 3)
    assert linking([moment("1", "a", None, "a")]) is None


def test_constraints_on_what_is_shown() -> None:
    items = {one: Item(item_id=one, attributes={"year": n}) for n, one in enumerate("abcdefghijkl")}
    made = Compare("year", "<", 5)
    assert satisfied(made, list("abcdefghijkl"), items) == 0.5  # of the first ten
    assert satisfied(made, [], items) == 1.0


def test_json_is_plain() -> None:
    counted = started([moment("1", "a", "")])
    counted.systems["x"] = recalls([moment("1", "a", "")], always("a"), ks=(1,))
    found = counted.as_json()
    assert found["systems"] == {"x": {"recall@1": [1.0, 1.0, 1.0], "repeats@1": [1.0, 1.0, 1.0]}}
    assert found["linking"] is None
