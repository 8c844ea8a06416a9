from collections.abc import Callable
from pathlib import Path

import pytest

from genrec.data.dialogue_files import read_moments
from genrec.errors import RowError, TableError

ROW = {"dialog_id": 7, "turn_id": 3, "context": ["Hi", "like Alien?"], "rec": ["The Thing"], "entity": ["Alien", "horror"]}


def test_the_layout_of_context_and_rec(write_rows: Callable[..., Path]) -> None:
    (moment,) = read_moments(write_rows(ROW))
    assert (moment.dialogue_id, moment.turn_id, moment.row) == ("7", "3", 1)
    assert moment.context == ("Hi", "like Alien?")
    assert moment.wanted == ("The Thing",)
    assert moment.named == ("Alien", "horror")


def test_the_layout_of_messages(write_rows: Callable[..., Path]) -> None:
    messages = [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Yes?"},
    ]
    first, second = read_moments(write_rows({"messages": messages, "recommended": ["a"]}, {"context": ["Hi"], "rec": []}))
    assert first.context == ("Hi", "Yes?")  # what no side said is left out
    assert first.wanted == ("a",)
    assert first.named is None
    assert first.dialogue_id != second.dialogue_id


def test_empty_lines_are_passed_over_and_rows_counted_without_them(write: Callable[[str, str], Path]) -> None:
    path = write("d.jsonl", '\n{"context": ["a"], "rec": ["b"]}\n\n{"context": 5, "rec": ["b"]}\n')
    with pytest.raises(RowError, match=r"d\.jsonl, row 2 \(line 4\), column context: it is 5, it must be a list of texts"):
        read_moments(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON: Expecting property name"),
        ("[1]", "a row is an object, not list"),
        ('{"rec": ["b"]}', "there is no context or messages"),
        ('{"context": ["a"]}', "there is no rec or recommended"),
        ('{"context": ["a"], "rec": "b"}', "column rec: it is 'b', it must be a list of texts"),
        ('{"context": ["a"], "rec": ["b"], "entity": [1]}', "column entity"),
        ('{"messages": 3, "rec": ["b"]}', "column messages: it must be a list"),
        ('{"messages": [{"role": "user"}], "rec": ["b"]}', "column messages: message 1 is"),
    ],
)
def test_a_fault_names_row_and_column(write: Callable[[str, str], Path], line: str, message: str) -> None:
    with pytest.raises(RowError, match=r"row 1 \(line 1\)") as raised:
        read_moments(write("d.jsonl", line + "\n"))
    assert message in str(raised.value)
    assert raised.value.hint


def test_a_file_without_rows(write: Callable[[str, str], Path]) -> None:
    with pytest.raises(TableError, match="is empty"):
        read_moments(write("d.jsonl", "\n\n"))


def test_the_digest_is_of_what_was_said_and_recommended(write_rows: Callable[..., Path]) -> None:
    one, same, other = read_moments(write_rows(ROW, {**ROW, "dialog_id": 8}, {**ROW, "rec": ["Jaws"]}))
    assert one.digest == same.digest != other.digest
