"""Turns of known dialogues as examples for `genrec train converse --also`: weak labels by the parser, where the file agrees.

    python -m eval.chat.weak_turns --items redial_items.json --dialogues redial_valid.jsonl --out weak.jsonl [--most N] [--seed N]

A turn is the last text that a moment was answered to. It is kept where the linker finds just the titles that the file lists of
it, where the parser left at most `NEED` words over, and where its intent is one that the words decide; at most a third of what
is kept has one intent. Titles lose their years as people leave them out. Some turns at a time share a catalogue of the films
that they and the answers before them name. What is written comes from data that is not genrec's to pass on.
"""

import argparse
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genrec.filters import Compare, Filter, Has, In, Not
from genrec.training.turn_examples import Shop, Turn
from genrec.understanding.filter_text import parts_of
from genrec.understanding.llm_reader import Context
from genrec.understanding.parser import Understood, tidied
from genrec.understanding.turn_schema import ALL, FEELINGS, VALUE_CHARS, line

SHARED, NEED, LONGEST = 20, 0, 160
"""Turns of one catalogue; words of a need; characters of a turn."""
INTENTS = ("recommend", "refine", "more_like", "ask", "something_else")
TABLES = (
    {"genre": "genre", "director": "director", "star": "star", "actor": "star", "year": "year"},
    {"genre": "genres", "director": "directed by", "star": "actors", "actor": "actors", "year": "released"},
    {"genre": "category", "director": "director", "star": "cast", "actor": "cast", "writer": "writer"},
)
"""What the attributes of a catalogue are called, in turn."""
_YEAR = re.compile(r"\s*\(((?:18|19|20)\d\d)\)")


@dataclass(frozen=True)
class LabelledTurn:
    """A turn with the titles that it and the answer before it name, without years."""

    text: str
    titles: tuple[str, ...]
    shown: tuple[str, ...]


def bare(text: str) -> str:
    return tidied(_YEAR.sub("", text))


def said(path: Path, names: Mapping[str, Any]) -> Iterator[LabelledTurn]:
    for row in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
        *before, last = ["", *row["context"]]
        listed = [one for one in dict.fromkeys(row["entity"]) if bare(one) in names]
        text = bare(last)
        if text and len(text) <= LONGEST:
            titles = tuple(dict.fromkeys(bare(one) for one in listed if one in last))
            shown = tuple(dict.fromkeys(bare(one) for one in listed if before and one in before[-1]))
            yield LabelledTurn(text, titles, tuple(one for one in shown if one not in titles)[:3])


def catalogue(name: str, group: Sequence[LabelledTurn], rows: Mapping[str, Mapping[str, Any]], called: Mapping[str, str]) -> Shop:
    titles = dict.fromkeys(title for one in group for title in (*one.titles, *one.shown))
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    years = [int(rows[title]["year"]) for title in titles if str(rows[title].get("year", "")).isdigit()]
    text = " ".join(one.text for one in group).casefold()
    for row in rows.values():
        for key, attribute in called.items():
            values = row.get(key, []) if key != "year" else []
            for value in {str(one).strip() for one in values}:
                if 0 < len(value) <= VALUE_CHARS and not set(value) & set('|;"\\…'):
                    counts[attribute][value] += 1 + 10_000 * (value.casefold() in text)
    attributes: dict[str, Any] = {
        attribute: {"type": "text", "list": True, "values": [value for value, _ in found.most_common(ALL)]}
        for attribute, found in counts.items()
    }
    if "year" in called and len(set(years)) > 1:
        attributes[called["year"]] = {"type": "number", "values": [min(years), max(years)]}
    return Shop(name, attributes, tuple(titles))


def conditions(made: Filter | None) -> list[str] | None:
    """The filter as an example writes it, None where it cannot."""
    found: list[str] = []
    for part in parts_of(made):
        refused, inner = isinstance(part, Not), part.part if isinstance(part, Not) else part
        match inner:
            case In(field, values):
                found.append(f"{'not ' * refused}{field} = {' | '.join(map(str, values))}")
            case Has(field, value) | Compare(field, "==", value) if isinstance(value, str):
                found.append(f"{'not ' * refused}{field} = {value}")
            case Compare(field, op, value) if not refused and op in ("<", "<=", ">", ">="):
                found.append(f"{field} {op} {value}")
            case _:
                return None
    return found


def labelled(one: LabelledTurn, shop: Shop) -> Turn | None:
    """The turn with what the parser reads in it; None where that is not sure."""
    turn = Turn(shop, one.text, Context(shown=one.shown), {})
    read: Understood = turn.parsed
    where = conditions(read.filter)
    if where is None or read.intent not in INTENTS or len(read.need.split()) > NEED or read.unknown:
        return None
    if sorted(shop.titles[int(mention.item_ids[0])] for mention in read.mentions) != sorted(one.titles):
        return None
    feelings = {name: [mention.text for mention in getattr(read, name)] for name in FEELINGS if name != "named"}
    told = {title for found in feelings.values() for title in found}
    named = [mention.text for mention in read.mentions if mention.text not in told]
    if not (where or named or told or read.steers or read.intent in ("why", "something_else")):
        return None
    steers = [f"{one.attribute} {'less' if one.direction == '<' else 'more'}" for one in read.steers]
    out = {"intent": read.intent, "where": [*where, *steers], **feelings, "named": named, "need": read.need}
    if read.intent == "ask" and read.question_about:
        out["about"] = read.question_about
    made = Turn(shop, one.text, turn.context, json.loads(line(out)))
    try:
        return made if made.heard else None
    except ValueError:  # more titles than a line takes, a value that the view leaves out
        return None


def balanced(turns: Iterable[Turn], most: int, rng: np.random.Generator) -> list[Turn]:
    found = list(turns)
    kept: list[Turn] = []
    counts: Counter[str] = Counter()
    for place in rng.permutation(len(found)):
        intent = found[place].heard.intent
        if counts[intent] < most // 3 and len(kept) < most:
            counts[intent] += 1
            kept.append(found[place])
    return sorted(kept, key=lambda one: one.shop.name)


def main() -> None:
    told = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    told.add_argument("--items", type=Path, required=True)
    told.add_argument("--dialogues", type=Path, required=True)
    told.add_argument("--out", type=Path, required=True)
    told.add_argument("--most", type=int, default=300)
    told.add_argument("--seed", type=int, default=0)
    given = told.parse_args()
    rng = np.random.default_rng(given.seed)
    rows = {bare(row["name"]): row for row in json.loads(given.items.read_text(encoding="utf-8")).values() if bare(row["name"])}
    every = list({one.text: one for one in said(given.dialogues, rows)}.values())
    some = [every[place] for place in rng.permutation(len(every))]
    made: list[Turn] = []
    for number, start in enumerate(range(0, len(some), SHARED)):
        group = some[start : start + SHARED]
        name = f"{given.dialogues.stem} {number}"
        shop = catalogue(name, group, rows, TABLES[number % len(TABLES)])
        made += [turn for one in group if (turn := labelled(one, shop))]
    kept = balanced(made, given.most, rng)
    shops = {turn.shop.name: turn.shop for turn in kept}
    with given.out.open("w", encoding="utf-8") as file:
        for shop in shops.values():
            head = {"catalogue": shop.name, "attributes": shop.attributes, "titles": shop.titles}
            file.write(json.dumps(head, ensure_ascii=False) + "\n")
        for turn in kept:
            shown = {"shown": turn.context.shown} if turn.context.shown else {}
            file.write(
                json.dumps({"catalogue": turn.shop.name, "turn": turn.text, **shown, "out": turn.out}, ensure_ascii=False) + "\n"
            )
    print(f"{len(kept)} of {len(every)} turns ({len(made)} sure): {dict(Counter(turn.heard.intent for turn in kept))}")


if __name__ == "__main__":
    main()
