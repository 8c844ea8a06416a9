from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from genrec.chat_retrieval.dialogue_features import Mentioned
from genrec.chat_retrieval.transcripts import TranscriptReader, encoded, folds_of, session_items
from genrec.data.dialogue_files import read_moments
from genrec.filters import Field, parse
from genrec.types import Item
from genrec.understanding.filter_text import wanted_pairs

SCHEMA = {"genre": Field("text", is_list=True), "year": Field("number")}
ITEMS = [
    Item(item_id="1", title="Alien (1979)", text="a crew meets a creature", attributes={"genre": ("horror",), "year": 1979}),
    Item(item_id="2", title="Aliens (1986)", text="marines meet creatures", attributes={"genre": ("action",), "year": 1986}),
    Item(item_id="3", title="The Thing (1982)", text="ice", attributes={"genre": ("horror",), "year": 1982}),
    Item(item_id="4", title="Grease (1978)", text="songs at school", attributes={"genre": ("musical",), "year": 1978}),
]


@pytest.fixture(scope="module")
def transcript_reader() -> TranscriptReader:
    return TranscriptReader(ITEMS, SCHEMA)


def test_titles_ids_and_other_spellings_are_items(transcript_reader: TranscriptReader) -> None:
    assert [transcript_reader.item_of(name) for name in ("Alien (1979)", "alien (1979)", "3", "Grease", "The Thing")] == list(
        "11343"
    )
    assert transcript_reader.item_of("Nothing of the kind") is None
    assert transcript_reader.item_of("Alien and Grease") is None  # two titles are no name of one item


def test_a_moment_with_what_was_said(transcript_reader: TranscriptReader, write_moments: Callable[..., Path]) -> None:
    row = {
        "context": ["Hi", "I loved Alien (1979) but I hated Grease (1978). A horror film please"],
        "rec": ["The Thing (1982)", "Lost Film (1901)"],
        "entity": ["Alien (1979)", "horror", "Grease (1978)"],
    }
    (one,) = transcript_reader.read(read_moments(write_moments(row)))
    assert one.wanted == ("3",)
    assert one.unresolved == ("Lost Film (1901)",)
    assert one.named == one.found == ("1", "4")
    assert one.said.mentions == (Mentioned(item_id="1", attitude="liked"), Mentioned(item_id="4", attitude="disliked"))
    assert one.said.wanted == (("genre", "horror"),)
    assert one.filter is not None
    assert one.as_named().said.mentions == one.said.mentions


def test_the_file_s_mentions_instead_of_those_found(
    transcript_reader: TranscriptReader, write_moments: Callable[..., Path]
) -> None:
    rows = [
        {"context": ["I loved Alien (1979)"], "rec": ["3"], "entity": ["Aliens (1986)"]},
        {"context": ["Alien (1979)"], "rec": ["3"]},
    ]
    named, unnamed = transcript_reader.read(read_moments(write_moments(*rows)))
    assert [one.item_id for one in named.as_named().said.mentions] == ["2"]
    assert unnamed.as_named() is unnamed
    assert unnamed.named is None


def test_each_distinct_text_is_encoded_once(transcript_reader: TranscriptReader, write_moments: Callable[..., Path]) -> None:
    asked: list[str] = []

    def encode(texts: Sequence[str]) -> np.ndarray:
        asked.extend(texts)
        return np.eye(4, dtype=np.float32)[[len(text) % 4 for text in texts]]

    rows = [{"context": ["one", "two"], "rec": []}, {"context": ["one", "two"], "rec": []}, {"context": [""], "rec": []}]
    first, second, empty = encoded(transcript_reader.read(read_moments(write_moments(*rows))), encode)
    assert asked == ["one two"]
    assert first.said.rows is not None
    assert first.said.rows.shape == (2, 4)
    assert np.array_equal(first.said.rows, second.said.rows) if second.said.rows is not None else False
    assert empty.said.rows is not None
    assert not empty.said.rows.any()


def test_sessions_and_folds_go_by_dialogue(transcript_reader: TranscriptReader, write_moments: Callable[..., Path]) -> None:
    rows = [{"dialog_id": n // 2, "turn_id": n, "context": ["Alien (1979)"], "rec": [str(2 + n % 2)]} for n in range(20)]
    transcripts = transcript_reader.read(read_moments(write_moments(*rows)))
    assert session_items(transcripts) == {str(n): ["1", "2", "3"] for n in range(10)}
    folds = folds_of(transcripts, 3, 0)
    assert sorted(place for _, held in folds for place in held) == list(range(20))
    for known, held in folds:
        own = {transcripts[n].moment.dialogue_id for n in held}
        assert own.isdisjoint(one.moment.dialogue_id for one in known)
        assert len(known) + len(held) == 20


def test_what_a_filter_asks_for() -> None:
    made = parse(
        'genre has "a" and (maker == "b" or maker in ["c"]) and year > 1 and not genre has "d"',
        {**SCHEMA, "maker": Field("text")},
    )
    assert wanted_pairs(made) == [("genre", "a"), ("maker", "b"), ("maker", "c")]


@pytest.fixture
def write_moments(tmp_path: Path) -> Callable[..., Path]:
    import json

    def write(*rows: object) -> Path:
        path = tmp_path / "dialogues.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write
