"""Examples for a further pass of the write adapter: what it writes itself over made-up facts, where the checker accepts it.

    python -m eval.explanations.own_sentences --adapter NAME=FOLDER --to own.jsonl [--facts 1056]
    genrec train write -w DIR --examples own.jsonl --from NAME --epochs 1

Facts are drawn from the titles and values of the examples that ship, without those that a training holds out: titles get what
shops put into theirs (sizes, counts, part numbers), attributes are mixed. A sentence that is refused is written once more,
warmer; no form of a sentence is kept more than five times, and
none that names a value twice. Some hand-written reasons, most with other titles in place of theirs, and captions are added, so
that nothing is forgotten.
"""

import argparse
import asyncio
import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from genrec.captions import caption_prompt as captions
from genrec.captions.caption_prompt import CaptionFacts
from genrec.llm.transformers_engine import TransformersLLM
from genrec.models.sources import resolve
from genrec.prompts import Prompts
from genrec.reasons.facts import TITLE_CHARS, Facts, insert_titles, mark_titles, one_line
from genrec.reasons.reason_checker import fault
from genrec.reasons.reason_writer import SEEDS, ReasonWriter
from genrec.settings.sections import ReasonSettings
from genrec.training.writing_examples import Written, halves, read_examples, shipped_examples

T = TypeVar("T")
LLM = "HuggingFaceTB/SmolLM2-135M-Instruct"
TEMPERATURES = (0.5, 0.8)
AT_ONCE = 96
MOST_OF_A_FORM = 5
LEAST_TITLES = 4
SHARED, OTHER, HAND, CAPTIONS = 450, 120, 250, 110
"""Examples of each kind at the most: own sentences that name shared values and others, hand-written reasons, captions."""
MORE = (
    "Letter Size|Heavy Duty|Medium Point|Non-Slip|Size M|Extra Large|Wide Ruled|Refillable & Retractable|with Lid|100% Recycled|"
    "Self-Adhesive|Dishwasher-Safe|Assorted|Black|Walnut|Clear|Multi-Colour|{a} Count|{b}-Pack|{c}.{b} x {a} Inches|{a} oz|"
    "(BX-{a}{b})|Pack of {b}|{c}/{b}'"
).split("|")
"""What shops put into titles."""


@dataclass(frozen=True, slots=True)
class Pool:
    """What facts are drawn from: by domain titles, values of attributes, words asked for."""

    titles: Mapping[str, list[str]]
    values: Mapping[str, Mapping[str, list[str]]]
    words: Mapping[str, list[str]]

    @classmethod
    def of(cls, examples: Sequence[Written]) -> "Pool":
        titles, words = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
        values: dict[str, dict[str, dict[str, None]]] = defaultdict(lambda: defaultdict(dict))
        for one in examples:
            titles[one.domain] += one.facts.past if isinstance(one.facts, Facts) else one.facts.cited
            for name, own in one.facts.attributes if isinstance(one.facts, CaptionFacts) else one.facts.shared:
                values[one.domain][name].update(dict.fromkeys(own))
            words[one.domain] += (*one.facts.words, *one.facts.interests) if isinstance(one.facts, Facts) else ()
        known = {domain: own for domain, own in titles.items() if len({*own}) >= LEAST_TITLES}
        return cls(known, {domain: {name: [*own] for name, own in values[domain].items()} for domain in known}, words)


class Draw:
    """Made-up facts."""

    def __init__(self, pool: Pool, seed: int) -> None:
        self._pool, self._rng, self._domains = pool, np.random.default_rng(seed), [*pool.titles]

    def facts(self) -> tuple[str, Facts]:
        """(domain, facts)."""
        domain, kind, liked = self._one(self._domains), self._rng.random(), bool(self._rng.random() < 0.55)
        past = tuple(dict.fromkeys(self._title(domain) for _ in range(1 + (self._rng.random() > 0.62))))
        if kind < 0.42:
            return domain, Facts(past=past, liked=liked)
        if kind < 0.9:
            return domain, Facts(past=past, liked=liked, shared=self._shared(domain))
        words = tuple(self._some([*dict.fromkeys(self._pool.words[domain])] or ["gift"], self._one([1, 1, 2])))
        if kind < 0.95:
            return domain, Facts(words=words) if self._rng.random() < 0.5 else Facts(interests=words)
        return domain, Facts(words=words, past=past, liked=liked)

    def _title(self, domain: str) -> str:
        title = self._one(self._pool.titles[domain]).rstrip("…")
        if self._rng.random() < 0.45:
            return one_line(title, TITLE_CHARS)
        a, b, c = (int(self._rng.integers(2, most)) for most in (200, 40, 10))
        more = [part.format(a=a, b=b, c=c) for part in self._some(MORE, int(self._rng.integers(1, 5)))]
        return one_line(title + self._one([", ", ", ", " - ", " "]) + ", ".join(more), TITLE_CHARS)

    def _shared(self, domain: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
        domains = [domain] if self._rng.random() < 0.8 else self._domains
        known = [(name, values) for one in domains for name, values in self._pool.values[one].items()]
        found: dict[str, tuple[str, ...]] = {}
        for name, values in self._some(known, self._one([1, 1, 1, 2, 2, 3])):
            named = tuple(self._some(values, self._one([1, 1, 1, 2, 2, 3])))
            single = len(named) == 1 and name.endswith("s") and not name.endswith(("ss", "us", "is", "ies"))
            found.setdefault(name[:-1] if single else name, named)
        return tuple(found.items())

    def _one(self, some: Sequence[T]) -> T:
        return some[int(self._rng.integers(len(some)))]

    def _some(self, some: Sequence[T], n: int) -> list[T]:
        return [some[place] for place in self._rng.permutation(len(some))[:n]]


def written(llm: TransformersLLM, adapter: str, asked: Sequence[tuple[str, Facts]]) -> list[tuple[Written, int]]:
    """What is accepted, with the number of tries that failed before."""
    writer = ReasonWriter(llm, Prompts(), ReasonSettings(), adapter)
    found: dict[str, tuple[Written, int]] = {}
    forms: Counter[str] = Counter()
    for start in range(0, len(asked), AT_ONCE):
        left = list(range(start, min(start + AT_ONCE, len(asked))))
        for attempt, temperature in enumerate(TEMPERATURES):
            requests = [writer._request(asked[n][1], "", temperature, n + attempt * SEEDS) for n in left]
            texts = asyncio.run(_write(llm, requests)) if requests else []
            refused = []
            for n, answer in zip(left, texts, strict=True):
                domain, facts = asked[n]
                text = insert_titles(answer.strip(), facts.past)
                if fault(text, facts):
                    refused.append(n)
                elif not _says_twice(text, facts) and text not in found and forms[form := _form(text, facts)] < MOST_OF_A_FORM:
                    forms[form] += 1
                    found[text] = Written(facts=facts, text=text, domain=domain), attempt
            left = refused
        print(f"{min(start + AT_ONCE, len(asked))} facts, {len(found)} sentences", flush=True)
    return [*found.values()]


def _says_twice(text: str, facts: Facts) -> bool:
    said = text.lower()
    return any(said.count(value.lower()) > 1 for _, values in facts.shared for value in values)


async def _write(llm: TransformersLLM, requests: Sequence[Any]) -> list[str]:
    return await llm.write(requests)


def _form(text: str, facts: Facts) -> str:
    """The sentence without titles and values."""
    form = re.sub(r'"[^"]*"', '""', text)
    for value in (value for _, values in facts.shared for value in values):
        form = form.replace(value, "_")
    return form


def mixed(own: Sequence[tuple[Written, int]], learned: Sequence[Written], seed: int) -> list[Written]:
    """All that took two tries, of the rest more with shared values than without, and hand-written examples."""
    rng = np.random.default_rng(seed)

    def some(examples: Sequence[Written], n: int) -> list[Written]:
        return [examples[place] for place in rng.permutation(len(examples))[:n]]

    def titled(one: Written) -> Written:
        """With other titles, where the sentence bears it."""
        facts = one.facts
        if not isinstance(facts, Facts) or rng.random() > 0.6:
            return one
        past = tuple(dict.fromkeys(titles[int(rng.integers(len(titles)))] for _ in facts.past))
        if len(past) < len(facts.past):
            return one
        made = replace(one, facts=replace(facts, past=past), text=insert_titles(mark_titles(one.text, facts.past), past))
        return one if made.fault(made.text) else made

    facts = [one.facts for one, _ in own if isinstance(one.facts, Facts)]
    titles = [title for one in facts for title in one.past]
    hard = [one for one, failed in own if failed]
    easy = [(one, one.facts) for one, failed in own if not failed]
    parts = [
        hard,
        some([one for one, facts in easy if isinstance(facts, Facts) and facts.shared], SHARED),
        some([one for one, facts in easy if isinstance(facts, Facts) and not facts.shared], OTHER),
    ]
    reasons, captions = ([one for one in learned if one.task == task] for task in ("reason", "caption"))
    return [*(one for part in parts for one in part), *map(titled, some(reasons, HAND)), *some(captions, CAPTIONS)]


def line(one: Written) -> str:
    """As `genrec train write --examples` reads it (docs/training.md)."""
    if isinstance(one.facts, Facts):
        names = ("past", "liked", "shared", "words", "interests")
        row: dict[str, Any] = {name: getattr(one.facts, name) for name in names} | {"text": one.text}
    else:
        row = {name: getattr(one.facts, name) for name in ("tags", "near", "together", "title")}
        row |= {"attributes": dict(one.facts.attributes), "out": asdict(captions.parse_caption(one.text, one.facts))}
    return json.dumps({"domain": one.domain, **row}, ensure_ascii=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapter", required=True, metavar="NAME=FOLDER")
    parser.add_argument("--facts", type=int, default=1056)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--to", type=Path, required=True)
    given = parser.parse_args()
    name, _, folder = given.adapter.partition("=")
    learned, _ = halves(read_examples(shipped_examples()), seed=0)
    draw = Draw(Pool.of(learned), given.seed)
    llm = TransformersLLM(resolve(LLM, "llm"), {name: Path(folder)})
    try:
        own = written(llm, name, [draw.facts() for _ in range(given.facts)])
    finally:
        llm.close()
    given.to.write_text("".join(line(one) + "\n" for one in mixed(own, learned, given.seed)), encoding="utf-8")


if __name__ == "__main__":
    main()
