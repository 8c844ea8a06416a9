"""Examples that the writer learns from: faults have a place, prompts are those of serving, a tenth is held out."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genrec.captions import caption_prompt as captions
from genrec.errors import DataError, RowError, TableError
from genrec.llm.protocol import Likelihood
from genrec.prompts import Prompts
from genrec.reasons.facts import Facts
from genrec.reasons.reason_writer import reason_prompt
from genrec.settings.sections import ReasonSettings
from genrec.training.adapter_training import Base
from genrec.training.lessons import rows, steps
from genrec.training.writing_examples import Written, halves, read_examples, shipped_examples, summary, varied

REASON: dict[str, Any] = {
    "domain": "films",
    "past": ["Heat (1995)"],
    "liked": True,
    "shared": [["director", ["Michael Mann"]]],
    "words": [],
    "interests": [],
    "text": 'You liked "Heat (1995)", and it has the same director, Michael Mann.',
}
CAPTION: dict[str, Any] = next(
    json.loads(line)
    for path in shipped_examples()
    if path.name.startswith("captions")
    for line in path.read_text(encoding="utf-8").splitlines()
)
GONE = object()


def write(path: Path, *lines: str | dict[str, Any]) -> Path:
    path.write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in lines) + "\n", encoding="utf-8")
    return path


def without(row: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {name: value for name, value in (row | changes).items() if value is not GONE}


FAULTS: list[tuple[Any, str]] = [
    ('{"past": [', "Expecting"),
    ("[1, 2]", "must be an object"),
    ('"text"', "must be an object"),
    ("7", "must be an object"),
    (without(REASON, past=GONE), "past is missing"),
    (without(REASON, text=GONE), "text is missing"),
    (without(REASON, text=5), "text is 5"),
    (without(REASON, liked="false"), "liked is 'false'"),
    (without(REASON, past="Heat (1995)"), "past is 'Heat"),
    (without(REASON, past=[1995]), "past is 1995"),
    (without(REASON, shared=[["director"]]), "shared has"),
    (without(REASON, shared=[["director", "Michael Mann"]]), "shared is 'Michael Mann'"),
    (without(REASON, shared=[[1, ["x"]]]), "shared is 1"),
    (without(REASON, words=None), "words is None"),
    (without(REASON, domain=3), "domain is 3"),
    (without(REASON, text='You liked "Heat (1995)", and it won with Michael Mann.'), "won"),
    (without(REASON, text='You liked "Heat \ud83d".'), "surrogates"),
    (without(CAPTION, out=[]), "out is []"),
    (without(CAPTION, attributes=[["colour", ["Red"]]]), "attributes is"),
    (without(CAPTION, attributes={"colour": "Red"}), "attributes is 'Red'"),
    (without(CAPTION, near=GONE), "near is missing"),
    (without(CAPTION, title=None), "title is None"),
    (without(CAPTION, out=CAPTION["out"] | {"tags": "stripes"}), "tags is 'stripes'"),
    (without(CAPTION, out=CAPTION["out"] | {"caption": "Won an award in Paris."}), ""),
]


@pytest.mark.parametrize(("line", "says"), FAULTS, ids=lambda one: str(one)[:40])
def test_a_fault_has_a_place(tmp_path: Path, line: Any, says: str) -> None:
    path = write(tmp_path / "mine.jsonl", REASON, "", line)
    with pytest.raises(RowError) as caught:
        read_examples([path])
    message = str(caught.value)
    assert message.startswith(f"{path}, line 3: ")
    assert says in message
    assert caught.value.hint


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"none\.jsonl"):
        read_examples([tmp_path / "none.jsonl"])
    (tmp_path / "latin.jsonl").write_bytes(b'{"past": ["caf\xe9"]}')
    with pytest.raises(TableError, match=r"latin\.jsonl"):
        read_examples([tmp_path / "latin.jsonl"])
    with pytest.raises(DataError, match="no examples"):
        read_examples([write(tmp_path / "empty.jsonl", "", " ")])


def test_what_is_read(tmp_path: Path) -> None:
    title = "A line\u2028in two"
    own = without(REASON, past=[title], shared=[], text=f'You liked "{title}", so you may enjoy it too.', domain=GONE)
    path = write(tmp_path / "a.jsonl", REASON, CAPTION)
    odd = tmp_path / "b.jsonl"
    odd.write_text(
        json.dumps(
            without(own, text='You liked "Heat", so you may enjoy it too.', past=["Heat"]) | {"note": title}, ensure_ascii=False
        )
        + "\n"
    )
    reason, caption, other = read_examples([path, odd])  # U+2028 in a text ends no line
    assert reason.facts == Facts(
        past=("Heat (1995)",), liked=True, shared=(("director", ("Michael Mann",)),), words=(), interests=()
    )
    assert (reason.task, reason.text, reason.domain) == ("reason", REASON["text"], "films")
    assert (caption.task, caption.domain) == ("caption", CAPTION["domain"])
    assert json.loads(caption.text)["caption"] == CAPTION["out"]["caption"]
    assert other.domain == ""
    assert summary([reason, caption, other]) == {"reasons": 2, "captions": 1, "domains": len({"films", CAPTION["domain"]})}


def test_those_that_ship_are_read() -> None:
    found = read_examples(shipped_examples())
    said = summary(found)
    assert said["reasons"] >= 800
    assert said["captions"] >= 400
    assert said["domains"] >= 10


class TestVaried:
    def test_values_are_swapped_in_facts_and_text_alike(self) -> None:
        found = read_examples(shipped_examples())
        made = varied(found, 1.0, np.random.default_rng(0))
        changed = [(old, new) for old, new in zip(found, made, strict=True) if old != new]
        assert len(changed) > 60
        for old, new in changed:
            assert isinstance(old.facts, Facts)
            assert isinstance(new.facts, Facts)
            assert new.fault(new.text) == ""
            assert [name for name, _ in new.facts.shared] == [name for name, _ in old.facts.shared]
            assert replace(new.facts, shared=old.facts.shared) == old.facts
            assert new.facts.shared != old.facts.shared

    def test_share_and_seed(self) -> None:
        found = read_examples(shipped_examples())

        def count(share: float) -> int:
            made = varied(found, share, np.random.default_rng(1))
            return sum(old != new for old, new in zip(found, made, strict=True))

        assert count(0.0) == 0 < count(0.3) < count(1.0)
        assert varied(found, 0.5, np.random.default_rng(2)) == varied(found, 0.5, np.random.default_rng(2))
        assert varied(found, 0.5, np.random.default_rng(2)) != varied(found, 0.5, np.random.default_rng(3))


class TestHalves:
    def test_a_tenth_of_both_tasks_is_held_out(self) -> None:
        found = read_examples(shipped_examples())
        learned, held = halves(found, 0)
        assert len(learned) + len(held) == len(found)
        assert not {id(one) for one in learned} & {id(one) for one in held}
        for task in ("reason", "caption"):
            n = sum(one.task == task for one in found)
            assert sum(one.task == task for one in held) == n // 10
        assert [one.text for one in halves(found, 0)[1]] == [one.text for one in held]
        assert [one.text for one in halves(found, 1)[1]] != [one.text for one in held]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[Written]:
    return read_examples([write(tmp_path_factory.mktemp("both") / "a.jsonl", REASON, CAPTION)])


class TestRows:
    def test_the_prompt_is_that_of_serving(self, base: Base, both: list[Written]) -> None:
        prompts = Prompts()
        made = rows(both, prompts, base.encode, base.longest)
        for one, example in zip(both, made, strict=True):
            served = one.request(prompts, "writer", 40)
            assert served.adapter == "writer"
            asked = example.row.request
            assert isinstance(asked, Likelihood)
            assert (asked.prefix, asked.context) == (served.prefix, served.prompt)
            assert example.target == -1
            (target,) = asked.continuations
            assert example.row.targets == base.encode(target)
            assert target.endswith("\n")  # where serving stops
            assert "\n" not in target[:-1]
            assert served.stop == ("\n",)
            assert one.fault(target.removesuffix("\n")) == ""
        reason, caption = both
        assert isinstance(reason.facts, Facts)
        assert not isinstance(caption.facts, Facts)
        assert reason.prompt(prompts) == reason_prompt(prompts, reason.facts, tuned=True)
        assert caption.prompt(prompts) == captions.render_prompt(prompts, caption.facts, tuned=True)

    def test_what_the_checker_says_of_a_text(self, both: list[Written]) -> None:
        reason, caption = both
        assert reason.fault(reason.text) == caption.fault(caption.text) == ""
        assert reason.fault("It won an award.")
        assert caption.fault("no JSON at all")

    def test_reasons_as_long_as_serving_writes(self) -> None:
        """In tokens of a model with a usual tokenizer, a word is at most three."""
        longest = max(len(one.text.split()) for one in read_examples(shipped_examples()) if one.task == "reason")
        assert longest <= ReasonSettings().max_tokens


def test_steps_hold_examples_of_like_length_in_random_order(base: Base) -> None:
    made = rows(read_examples(shipped_examples())[:120], Prompts(), base.encode, base.longest)
    dealt = steps(made, 8, np.random.default_rng(0))
    assert sorted(map(len, dealt)) == [8] * 15
    assert sorted(id(one) for step in dealt for one in step) == sorted(map(id, made))
    lengths = [[len(one.row.tokens) for one in step] for step in dealt]
    within = np.mean([np.ptp(one) for one in lengths])
    assert within < 0.5 * np.ptp([n for one in lengths for n in one])
    middles = [np.mean(one) for one in lengths]
    assert middles != sorted(middles)
    assert [list(map(id, one)) for one in steps(made, 8, np.random.default_rng(1))] != [list(map(id, one)) for one in dealt]
