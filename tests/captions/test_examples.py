"""The examples that the adapters learn from: each says only what its own evidence says."""

import json
from collections import Counter
from typing import Any

import pytest

from genrec.captions import caption_checker as caption_check
from genrec.captions.caption_prompt import MAX_TAGS, Caption, CaptionFacts, caption_facts
from genrec.prompts import shipped_folder
from genrec.reasons import reason_checker as check
from genrec.reasons.facts import MAX_WORDS, NAME_CHARS, TITLE_CHARS, VALUE_CHARS, Facts, one_line

FOLDER = shipped_folder() / "examples"
Line = tuple[str, dict[str, Any]]


def _lines(kind: str) -> list[Line]:
    """(place, line) of every example of a kind."""
    files = sorted(FOLDER.glob(f"{kind}*.jsonl"))
    rows = [(f"{file.name}:{number}", text) for file in files for number, text in enumerate(file.read_text().splitlines(), 1)]
    return [(place, json.loads(text)) for place, text in rows]


REASONS, CAPTIONS = _lines("reasons"), _lines("captions")


def _shared(line: dict[str, Any]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple((name, tuple(values)) for name, values in line["shared"])


def _caption_facts(line: dict[str, Any]) -> CaptionFacts:
    return CaptionFacts(
        attributes=tuple((name, tuple(values)) for name, values in line["attributes"].items()),
        tags=tuple(line["tags"]),
        near=tuple(line["near"]),
        together=tuple(line["together"]),
        title=line["title"],
    )


def _caption(line: dict[str, Any]) -> Caption:
    return Caption(title=line["out"]["title"], caption=line["out"]["caption"], tags=tuple(line["out"]["tags"]))


def test_every_file_is_of_a_known_kind() -> None:
    names = {file.name for file in FOLDER.iterdir() if not file.name.startswith("converse-")}  # of turns: tests/dialogue
    assert names == {place.split(":")[0] for place, _ in REASONS + CAPTIONS}


def test_there_are_enough() -> None:
    assert len(REASONS) >= 800
    assert len(CAPTIONS) >= 400


@pytest.mark.parametrize("lines", [REASONS, CAPTIONS], ids=["reasons", "captions"])
def test_they_are_of_many_domains(lines: list[Line]) -> None:
    assert len({line["domain"] for _, line in lines}) >= 25


def test_no_text_stands_twice() -> None:
    texts = Counter([line["text"] for _, line in REASONS] + [line["out"]["caption"] for _, line in CAPTIONS])
    assert [text for text, count in texts.items() if count > 1] == []


def test_every_reason_says_only_its_facts() -> None:
    faults = {}
    for place, line in REASONS:
        facts = Facts(
            past=tuple(line["past"]),
            liked=line["liked"],
            shared=_shared(line),
            words=tuple(line["words"]),
            interests=tuple(line["interests"]),
        )
        if found := check.fault(line["text"], facts):
            faults[place] = found
    assert faults == {}


def test_the_facts_of_every_reason_are_as_the_code_makes_them() -> None:
    wrong = []
    for place, line in REASONS:
        shared, words, interests = _shared(line), line["words"], line["interests"]
        asked = max(len(words), len(interests)) <= MAX_WORDS and not (words and interests)
        stated = all(one_line(one, TITLE_CHARS) == one for one in line["past"]) and all(
            one_line(name, NAME_CHARS) == name and all(one_line(value, VALUE_CHARS) == value for value in values)
            for name, values in shared
        )
        if not (asked and stated and (line["past"] or not (shared or line["liked"])) and (line["past"] or words or interests)):
            wrong.append(place)
    assert wrong == []


def test_every_caption_says_only_its_evidence() -> None:
    faults = {place: found for place, line in CAPTIONS if (found := caption_check.fault(_caption(line), _caption_facts(line)))}
    assert faults == {}


def test_the_evidence_of_every_caption_is_as_the_code_makes_it() -> None:
    wrong = []
    for place, line in CAPTIONS:
        attributes = {name: tuple(values) for name, values in line["attributes"].items()}
        if caption_facts(attributes, line["tags"], line["near"], line["together"], line["title"]) != _caption_facts(line):
            wrong.append(place)
    assert wrong == []


def test_captions_are_written_from_evidence_of_every_kind() -> None:
    kinds = Counter(
        tuple(name for name in ("attributes", "tags", "near", "together", "title") if line[name]) for _, line in CAPTIONS
    )
    for kind in [("attributes",), ("tags",), ("attributes", "tags"), ("together",), ("near",), ("near", "together")]:
        assert kinds[kind] >= 4, kind
    assert sum(count for kind, count in kinds.items() if "title" in kind) >= 40
    assert sum(line["domain"] == "rendered shapes" for _, line in CAPTIONS) >= 60


def test_tags_are_copied_in_one_way() -> None:
    """Tags, then values, then flags, each once; bare numbers are left out, `yes` too."""
    wrong = {}
    for place, line in CAPTIONS:
        values = [
            value
            for own in line["attributes"].values()
            for value in own
            if not value.replace(".", "").isdecimal() and value != "yes"
        ]
        flags = [name for name, own in line["attributes"].items() if own == ["yes"]]
        wanted = list({tag.lower(): tag for tag in reversed([*line["tags"], *values, *flags])}.values())[::-1]
        if [tag.lower() for tag in line["out"]["tags"]] != [tag.lower() for tag in wanted][:MAX_TAGS]:
            wrong[place] = wanted
    assert wrong == {}
