"""`genrec train write`: a LoRA adapter that writes reasons and captions, from examples that the checkers accept."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from genrec.captions import caption_checker as caption_check
from genrec.captions import caption_grammar
from genrec.captions import caption_prompt as captions
from genrec.captions.caption_prompt import Caption, CaptionFacts
from genrec.data.example_files import checked, checked_object, checked_texts, read_lines
from genrec.errors import DataError
from genrec.llm.protocol import WriteRequest
from genrec.prompts import Prompts, shipped_folder
from genrec.reasons import reason_checker as check
from genrec.reasons.facts import Facts, insert_titles, mark_titles
from genrec.reasons.reason_writer import reason_prompt

HELD_OUT = 10
"""One example of this many is not learned from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Evidence and what a person wrote from it: a reason's text, or a caption's line of JSON, with marks for titles."""

    facts: Facts | CaptionFacts
    text: str
    domain: str = ""

    @property
    def task(self) -> str:
        return "reason" if isinstance(self.facts, Facts) else "caption"

    def prompt(self, prompts: Prompts) -> tuple[str, str]:
        """(prefix, rest) as serving asks an adapter. Raises PromptError."""
        if isinstance(self.facts, Facts):
            return reason_prompt(prompts, self.facts, tuned=True)
        return captions.render_prompt(prompts, self.facts, tuned=True)

    def target(self) -> str:
        """What is to be written after the prompt."""
        if isinstance(self.facts, Facts):
            return f" {mark_titles(self.text, self.facts.past)}\n"
        return f"{self.text}\n"

    def fault(self, written: str) -> str:
        """Why the checker refuses `written`, empty when it accepts it."""
        if isinstance(self.facts, Facts):
            return check.fault(insert_titles(written.strip(), self.facts.past), self.facts)
        try:
            return caption_check.fault(captions.parse_caption(written, self.facts), self.facts)
        except ValueError as error:
            return str(error)

    def request(self, prompts: Prompts, adapter: str, max_tokens: int) -> WriteRequest:
        prefix, rest = self.prompt(prompts)
        schema = "" if isinstance(self.facts, Facts) else caption_grammar.schema(self.facts)
        return WriteRequest(prefix=prefix, prompt=rest, max_tokens=max_tokens, stop=("\n",), adapter=adapter, schema=schema)


def shipped_examples() -> list[Path]:
    """The examples of reasons and captions that come with genrec."""
    folder = shipped_folder() / "examples"
    return sorted(path for name in ("reasons*.jsonl", "captions*.jsonl") for path in folder.glob(name))


def read_examples(paths: Sequence[Path]) -> list[Written]:
    """Read JSON lines of reasons and captions (docs/training.md). Raises TableError or RowError with file and line, also for an
    example that its checker refuses: an adapter learns what it is shown.
    """
    found = read_lines(paths, _accepted)
    if not found:
        raise DataError("there are no examples", hint="Give --examples files of JSON lines.")
    return found


def _accepted(row: Any) -> Written:
    one = _written(row)
    if fault := one.fault(one.text):
        raise ValueError(fault)
    return one


def _written(row: Any) -> Written:
    if "out" in checked_object(row, "the line"):
        out = checked_object(row["out"], "out")
        caption = Caption(title=checked(out, "title", str), caption=checked(out, "caption", str), tags=checked_texts(out, "tags"))
        facts = _caption_facts(row)
        if facts.title and caption.title != facts.title:
            raise ValueError(f"out: title is {caption.title!r:.60}, the item has one of its own")
        return Written(facts=facts, text=captions.to_json(caption, facts), domain=_domain(row))
    facts = Facts(
        past=checked_texts(row, "past"),
        liked=checked(row, "liked", bool),
        shared=_pairs(checked(row, "shared", list), "shared"),
        words=checked_texts(row, "words"),
        interests=checked_texts(row, "interests"),
    )
    return Written(facts=facts, text=checked(row, "text", str), domain=_domain(row))


def _caption_facts(row: dict[str, Any]) -> CaptionFacts:
    return CaptionFacts(
        attributes=_pairs([[name, values] for name, values in checked(row, "attributes", dict).items()], "attributes"),
        tags=checked_texts(row, "tags"),
        near=checked_texts(row, "near"),
        together=checked_texts(row, "together"),
        title=checked(row, "title", str),
    )


def _domain(row: dict[str, Any]) -> str:
    return checked(row, "domain", str) if "domain" in row else ""


def _pairs(pairs: list[Any], name: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    made = []
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2:
            raise ValueError(f"{name} has {pair!r:.60}, it must be a name and its values")
        made.append((checked({name: pair[0]}, name, str), checked_texts({name: pair[1]}, name)))
    return tuple(made)


def halves(examples: Sequence[Written], seed: int) -> tuple[list[Written], list[Written]]:
    """(learned from, held out), of both tasks alike."""
    learned: list[Written] = []
    held: list[Written] = []
    rng = np.random.default_rng(seed)
    for task in ("reason", "caption"):
        mine = [one for one in examples if one.task == task]
        for place, number in enumerate(rng.permutation(len(mine)).tolist()):
            (held if place % HELD_OUT == HELD_OUT - 1 else learned).append(mine[number])
    return learned, held


def varied(examples: Sequence[Written], share: float, rng: np.random.Generator) -> list[Written]:
    """The examples, with the shared values of about `share` of the reasons swapped for others of the same attribute: it is
    the form of a sentence that is learned, not its values. What the checker then refuses stays as it was.
    """
    pool: dict[str, list[str]] = {}
    for one in examples:
        for name, values in one.facts.shared if isinstance(one.facts, Facts) else ():
            pool.setdefault(name.removesuffix("s"), []).extend(values)
    return [_swapped(one, pool, rng) if rng.random() < share else one for one in examples]


def _swapped(one: Written, pool: Mapping[str, Sequence[str]], rng: np.random.Generator) -> Written:
    facts, text = one.facts, one.text
    if not isinstance(facts, Facts) or not facts.shared:
        return one
    text = mark_titles(text, facts.past)
    shared: list[tuple[str, tuple[str, ...]]] = []
    for name, values in facts.shared:
        others = pool[name.removesuffix("s")]
        new = [others[int(rng.integers(len(others)))] for _ in values]
        if len({*map(str.lower, new)}) < len(new) or any(map(_unlike, values, new)):
            return one
        for old, value in zip(values, new, strict=True):
            text = re.sub(rf"(?<![^\W_]){re.escape(old)}(?![^\W_])", lambda _, value=value: value, text)
        shared.append((name, tuple(new)))
    facts = replace(facts, shared=tuple(shared))
    made = replace(one, facts=facts, text=insert_titles(text, facts.past))
    return one if made.fault(made.text) else made


def _unlike(old: str, new: str) -> bool:
    """Whether `a` before the one would be `an` before the other, or one may be a plural."""
    return (old[0].lower() in "aeiou") != (new[0].lower() in "aeiou") or old.endswith("s") != new.endswith("s")


def summary(examples: Sequence[Written]) -> dict[str, Any]:
    """For the card."""
    return {
        "reasons": sum(one.task == "reason" for one in examples),
        "captions": sum(one.task == "caption" for one in examples),
        "domains": len({one.domain for one in examples if one.domain}),
    }
