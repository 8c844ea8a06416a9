"""What the write adapter writes: how much of it the checker accepts at the first try, beside the base model and its examples.

    python -m eval.explanations.first_tries -w MOVIES -w OFFICE [-w …] --adapter NAME=FOLDER [--people 100] [--shown 10]

The people are drawn with a seed and dealt over the workspaces. Their facts are those of `Recommender`, with ranking off so that
only the writing is timed. A reason's first try is `ReasonWriter`'s: the adapter's with a temperature, the base model's
greedy, behind the opening that it is given. Then what people see: whole lists by `ReasonWriter`, further tries and the template
included. Also written: the tenth of the training examples that the adapter did not learn from.

Figures go to eval/results/written.json, drawn reasons as they came to eval/results/written_50.md.
"""

import argparse
import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from eval.provenance import RESULTS_FOLDER, provenance
from eval.serving.sampled_lists import rounded, spread
from genrec.answer.request import settled_request
from genrec.llm.adapters import CARD
from genrec.llm.protocol import LLM, WriteRequest
from genrec.llm.transformers_engine import TransformersLLM
from genrec.models.sources import resolve
from genrec.prompts import Prompts
from genrec.reasons.facts import Facts, insert_titles, template_sentence
from genrec.reasons.reason_checker import fault
from genrec.reasons.reason_writer import TUNED_TRIES, UNTUNED_TRIES, ReasonWriter, _opening, reason_prompt
from genrec.recommender import Recommender
from genrec.settings.sections import ReasonSettings
from genrec.training.train_write import Accepted
from genrec.training.writing_examples import halves, read_examples, shipped_examples, summary

FOLDER = RESULTS_FOLDER
AT_ONCE = 100
"""Reasons handed to the engine in one call."""
DRAWN = 50
MAX_TOKENS = {"reason": ReasonSettings().max_tokens, "caption": 200}
QUOTED = re.compile(r'"[^"]*"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One recommendation. `number`: its place in its list, which chooses the opening and seeds the draw as in serving."""

    catalogue: str
    user: str
    number: int
    title: str
    facts: Facts


def recommended(workspace: Path, people: int, shown: int, seed: int) -> list[Asked]:
    """What is recommended to drawn people, with the facts that genrec computes."""

    async def facts(genrec: Recommender, user: str) -> list[Asked]:
        request = settled_request(genrec.workspace.settings, [user], shown, rank="off", explain="template")
        answer = await genrec._asynchronous._pipeline.answer(request)
        told = zip(answer.rows, answer.facts, strict=True)
        return [
            Asked(catalogue=workspace.name, user=user, number=n, title=row.item.title, facts=one)
            for n, (row, one) in enumerate(told)
        ]

    with Recommender.open(workspace) as genrec:
        users = genrec.workspace.store.user_ids()
        drawn = np.random.default_rng(seed).choice(users, min(people, len(users)), replace=False).tolist()
        return [one for user in drawn for one in genrec._wait(partial(facts, genrec, user))]


def first_tries(
    llm: LLM, prompts: Prompts, asked: Sequence[Asked], adapter: str, temperature: float
) -> tuple[list[str], list[float]]:
    """The texts, opening included, and the seconds of each call of the engine divided by its texts."""
    requests, openings = [], []
    for one in asked:
        opening = "" if adapter else _opening(one.number, one.facts)
        writer = ReasonWriter(llm, prompts, ReasonSettings(), adapter)
        requests.append(writer._request(one.facts, opening, temperature, seed=one.number))
        openings.append(opening)
    texts: list[str] = []
    seconds: list[float] = []
    for start in range(0, len(requests), AT_ONCE):
        part = requests[start : start + AT_ONCE]
        began = time.perf_counter()
        texts += asyncio.run(_write(llm, part))
        seconds.append((time.perf_counter() - began) / len(part))
        print(f"{adapter or 'base'} at {temperature}: {len(texts)} of {len(requests)}", flush=True)
    whole = zip(openings, texts, asked, strict=True)
    return [insert_titles((opening + text).strip(), one.facts.past) for opening, text, one in whole], seconds


async def _write(llm: LLM, requests: Sequence[WriteRequest]) -> list[str]:
    return await llm.write(requests)


def figures(asked: Sequence[Asked], texts: Sequence[str], seconds: Sequence[float]) -> dict[str, Any]:
    """Of the first tries, and of what people see: the template's sentence where the checker refuses."""
    faults = [fault(text, one.facts) for text, one in zip(texts, asked, strict=True)]
    accepted = Accepted(task="reason", n=len(texts), accepted=sum(not one for one in faults), samples=())
    shown = [text if not wrong else template_sentence(one.facts) for text, wrong, one in zip(texts, faults, asked, strict=True)]
    words = [len(text.split()) for text in shown]
    forms = Counter(QUOTED.sub('""', text) for text in shown)
    return {
        "reasons": len(texts),
        "accepted_at_first_try": accepted.share,
        "interval_95": accepted.interval(),
        "accepted_by_kind": _by_kind(asked, faults),
        "accepted_by_catalogue": {
            name: float(np.mean([not wrong for wrong, one in zip(faults, asked, strict=True) if one.catalogue == name]))
            for name in dict.fromkeys(one.catalogue for one in asked)
        },
        "why_refused": dict(Counter(re.sub(r"`[^`]*`", "`…`", wrong) for wrong in faults if wrong).most_common(8)),
        "unique_of_written": len(set(texts)) / len(texts),
        "unique_of_shown": len(set(shown)) / len(shown),
        "unique_within_lists": _unique_within_lists(asked, shown),
        "forms_without_titles": len(forms) / len(shown),
        "most_frequent_form": forms.most_common(1)[0],
        "words_per_sentence": spread(words) | {"mean": float(np.mean(words))},
        "seconds_per_reason": spread(seconds),
    }


def _by_kind(asked: Sequence[Asked], faults: Sequence[str]) -> dict[str, dict[str, float]]:
    kinds = dict.fromkeys(one.facts.kind for one in asked)
    found = {kind: [not wrong for wrong, one in zip(faults, asked, strict=True) if one.facts.kind == kind] for kind in kinds}
    return {kind: {"n": len(one), "accepted": float(np.mean(one))} for kind, one in found.items()}


def _unique_within_lists(asked: Sequence[Asked], shown: Sequence[str]) -> float:
    """Of one person's reasons, the share that no other of them repeats word for word."""
    lists: dict[tuple[str, str], list[str]] = {}
    for one, text in zip(asked, shown, strict=True):
        lists.setdefault((one.catalogue, one.user), []).append(text)
    return float(np.mean([len(set(texts)) / len(texts) for texts in lists.values()]))


def whole_lists(llm: LLM, prompts: Prompts, asked: Sequence[Asked], adapter: str) -> dict[str, Any]:
    """What people see, list by list."""
    lists: dict[tuple[str, str], list[Asked]] = {}
    for one in asked:
        lists.setdefault((one.catalogue, one.user), []).append(one)
    writer = ReasonWriter(llm, prompts, ReasonSettings(), adapter)
    seconds, reasons = [], []
    for one in lists.values():
        began = time.perf_counter()
        reasons.append(asyncio.run(writer.write([row.facts for row in one])))
        seconds.append(time.perf_counter() - began)
    texts = [reason.text for one in reasons for reason in one]
    return {
        "by_the_llm": float(np.mean([reason.source == "llm" for one in reasons for reason in one])),
        "unique": len(set(texts)) / len(texts),
        "unique_within_lists": float(np.mean([len({reason.text for reason in one}) / len(one) for one in reasons])),
        "seconds_per_list": spread(seconds),
    }


def held_out(llm: LLM, prompts: Prompts, adapter: str, card: Mapping[str, Any]) -> dict[str, Any]:
    """Acceptance on the examples that were not learned from: the adapter's as trained, the base model by its few-shot prompt."""
    learned, held = halves(read_examples(shipped_examples()), int(card["seed"]))
    # other examples are dealt otherwise, and some held out here were then learned from
    found: dict[str, Any] = {"examples_are_those_of_the_card": summary(learned) == card["data"]}
    for task in ("reason", "caption"):
        mine = [one for one in held if one.task == task]
        texts = asyncio.run(_write(llm, [one.request(prompts, adapter, MAX_TOKENS[task]) for one in mine]))
        right = [not one.fault(text) for one, text in zip(mine, texts, strict=True)]
        made = Accepted(task=task, n=len(mine), accepted=sum(right), samples=())
        found[f"{task}s by the adapter, greedy"] = {"n": made.n, "accepted": made.share, "interval_95": made.interval()}
    reasons = [one.facts for one in held if isinstance(one.facts, Facts)]
    asked = [Asked(catalogue="", user="", number=n, title="", facts=facts) for n, facts in enumerate(reasons)]
    texts, _ = first_tries(llm, prompts, asked, "", UNTUNED_TRIES[0])
    right = [not fault(text, facts) for text, facts in zip(texts, reasons, strict=True)]
    made = Accepted(task="reason", n=len(right), accepted=sum(right), samples=())
    found["reasons by the base model, greedy"] = {"n": made.n, "accepted": made.share, "interval_95": made.interval()}
    return found


def page(asked: Sequence[Asked], texts: Sequence[str], seed: int, about: str) -> str:
    """Drawn reasons, unedited, with the facts that they were written from and the checker's word."""
    rows = np.sort(np.random.default_rng(seed).choice(len(asked), min(DRAWN, len(asked)), replace=False))
    lines = [f"# {len(rows)} reasons as they were written", "", about, ""]
    for place, row in enumerate(map(int, rows), 1):
        one, text = asked[row], texts[row]
        _, given = reason_prompt(Prompts(), one.facts, tuned=True)
        told = [line for line in given.splitlines() if line.strip() and line.strip() != "Note:"]
        verdict = fault(text, one.facts)
        lines += [f"## {place}. {one.title} ({one.catalogue})", "", *(f"- {line}" for line in told), ""]
        lines += [
            f"> {text or '(nothing)'}",
            "",
            f"Refused: {verdict}. Shown instead: {template_sentence(one.facts)}\n" if verdict else "",
        ]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-w", "--workspace", type=Path, action="append", required=True)
    parser.add_argument("--adapter", required=True, metavar="NAME=FOLDER")
    parser.add_argument("--people", type=int, default=100, help="over all workspaces")
    parser.add_argument("--shown", type=int, default=10, help="recommendations a person")
    parser.add_argument("--model", default="HuggingFaceTB/SmolLM2-135M-Instruct")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=FOLDER / "written.json")
    parser.add_argument("--page", type=Path, default=FOLDER / "written_50.md")
    given = parser.parse_args()
    name, _, folder = given.adapter.partition("=")
    card = json.loads((Path(folder) / CARD).read_text(encoding="utf-8"))
    count = len(given.workspace)
    shares = [given.people // count + (n < given.people % count) for n in range(count)]
    asked = [
        one
        for workspace, people in zip(given.workspace, shares, strict=True)
        for one in recommended(workspace, people, given.shown, given.seed)
    ]
    prompts = Prompts()
    llm = TransformersLLM(resolve(given.model, "llm"), {name: Path(folder)})
    ways = {f"{name} at {TUNED_TRIES[0]}": (name, TUNED_TRIES[0]), "base model, its examples": ("", UNTUNED_TRIES[0])}
    result: dict[str, Any] = {
        **provenance(seed=given.seed),
        "adapter": name,
        "llm": llm.id,
        "people": given.people,
        "catalogues": [workspace.name for workspace in given.workspace],
        "facts": dict(Counter(one.facts.kind or "nothing to say" for one in asked)),
        "note": "nothing to say: the template alone answers, not counted below",
    }
    asked = [one for one in asked if one.facts.kind]
    try:
        for way, (adapter, temperature) in ways.items():
            texts, seconds = first_tries(llm, prompts, asked, adapter, temperature)
            result[way] = figures(asked, texts, seconds)
            if (adapter, temperature) == (name, TUNED_TRIES[0]):
                about = f"By `{name}`, first try, temperature {temperature}, drawn with seed {given.seed} from {len(asked)}."
                given.page.write_text(page(asked, texts, given.seed, about), encoding="utf-8")
        result["shown"] = whole_lists(llm, prompts, asked, name)
        result["held_out_examples"] = held_out(llm, prompts, name, card)
    finally:
        llm.close()
    given.out.write_text(json.dumps(rounded(result), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(rounded(result), indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
