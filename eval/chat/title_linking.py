"""How well titles are found in what people write: `genrec.understanding.linking` on the mentions of ReDial's dialogues.

    python -m eval.chat.title_linking --items redial_items.json --dialogues redial_valid.jsonl

What is counted. A dialogue appears once, in its longest stored context. Its gold mentions are the entries of `entity` that
are titles of the catalogue (people, genres and the like are left out), each as often as it is listed; a mention is right
when its title, with the year, is the gold one. A found mention is a true positive while a gold entry of its title is open in
the dialogue, else a false positive; a gold entry that nobody found is a false negative. Of an ambiguous mention the first
candidate counts. `distinct` counts each title once a dialogue, as a set: `entity` lists a title once that a message has
twice. Both punish what people typed without tagging it (`I loved jaws`), though the film is named; so precision is a lower
bound. `without_unlisted` leaves out false positives whose title and year stand in the text letter for letter.

Variants: `given` as the text is (ReDial puts the canonical title, mostly with year); `bare` without the years; `lower`
without years and capitals; `typo` without years, one typing error in every gold title of five letters or more (seeded).
"""

import argparse
import json
import random
import re
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eval.provenance import RESULTS_FOLDER, provenance
from genrec.types import Item
from genrec.understanding.linking import Linker

RESULTS = RESULTS_FOLDER / "linking.json"
BAR = 0.95
_YEAR = re.compile(r"\s*\((?:18|19|20)\d\d\)")
Change = Callable[[str, Sequence[str]], str]


@dataclass
class Tally:
    """Counts over dialogues. `unlisted`: false positives whose title with its year stands in the text."""

    true: int = 0
    false: int = 0
    missed: int = 0
    sets: list[int] = field(default_factory=lambda: [0, 0, 0])
    unlisted: int = 0
    ambiguous: int = 0
    in_candidates: int = 0
    milliseconds: list[float] = field(default_factory=list)
    wrong: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)

    def figures(self) -> dict[str, Any]:
        return {
            "mentions": self.true + self.missed,
            **_scores(self.true, self.false, self.missed),
            "distinct": _scores(*self.sets),
            "without_unlisted": _scores(self.true, self.false - self.unlisted, self.missed),
            "recall_in_candidates": round((self.true + self.in_candidates) / max(1, self.true + self.missed), 4),
            "ambiguous": self.ambiguous,
            "ms_per_turn": {
                "median": round(statistics.median(self.milliseconds), 3),
                "p95": round(sorted(self.milliseconds)[int(0.95 * len(self.milliseconds))], 3),
            },
        }


def _scores(true: int, false: int, missed: int) -> dict[str, float]:
    precision, recall = true / max(1, true + false), true / max(1, true + missed)
    f1 = 2 * true / max(1, 2 * true + false + missed)
    return {"precision": round(precision, 4), "recall": round(recall, 4), "f1": round(f1, 4)}


def as_given(text: str, titles: Sequence[str]) -> str:
    return text


def bare(text: str, titles: Sequence[str]) -> str:
    for title in titles:
        text = text.replace(title, _YEAR.sub("", title))
    return text


def lower(text: str, titles: Sequence[str]) -> str:
    return bare(text, titles).lower()


def with_typo(text: str, titles: Sequence[str]) -> str:
    for title in sorted(set(titles), key=len, reverse=True):
        plain = _YEAR.sub("", title)
        text = text.replace(title, mistyped(plain))
    return text


def mistyped(title: str) -> str:
    """One letter dropped, doubled, swapped with the next or replaced, inside a word of five letters or more if there is one."""
    chance = random.Random(title)
    places = [found.start() + n for found in re.finditer(r"[A-Za-z]{5,}", title) for n in range(1, len(found[0]) - 1)]
    if not places:
        return title
    at = chance.choice(places)
    kind = chance.choice(("drop", "double", "swap", "replace"))
    if kind == "drop":
        return title[:at] + title[at + 1 :]
    if kind == "double":
        return title[:at] + title[at] + title[at:]
    if kind == "swap":
        return title[:at] + title[at + 1] + title[at] + title[at + 2 :]
    return title[:at] + chance.choice("etaoinsr") + title[at + 1 :]


VARIANTS: dict[str, Change] = {"given": as_given, "bare": bare, "lower": lower, "typo": with_typo}


def dialogues(path: Path) -> list[dict[str, Any]]:
    """Each dialogue once, with the longest context."""
    last: dict[Any, dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["dialog_id"] not in last or row["turn_id"] > last[row["dialog_id"]]["turn_id"]:
            last[row["dialog_id"]] = row
    return list(last.values())


def measure(linker: Linker, names: dict[str, str], rows: Iterable[dict[str, Any]], change: Change) -> Tally:
    tally = Tally()
    known = set(names.values())
    for row in rows:
        gold = Counter(title for title in row["entity"] if title in known)
        found: list[tuple[str, ...]] = []
        for turn in row["context"]:
            text = change(turn, sorted(gold, key=len, reverse=True))
            start = time.perf_counter()
            mentions = linker.link(text)
            tally.milliseconds.append((time.perf_counter() - start) * 1000)
            found += [tuple(dict.fromkeys(names[item_id] for item_id in mention.item_ids)) for mention in mentions]
        _count(tally, gold, found, " ".join(row["context"]))
    return tally


def _count(tally: Tally, gold: Counter[str], found: Sequence[tuple[str, ...]], text: str) -> None:
    unsure: list[tuple[str, ...]] = []
    named, wanted = {titles[0] for titles in found}, set(gold)
    for place, count in enumerate((len(named & wanted), len(named - wanted), len(wanted - named))):
        tally.sets[place] += count
    for titles in found:
        tally.ambiguous += len(titles) > 1
        if gold[titles[0]] > 0:
            gold[titles[0]] -= 1
            tally.true += 1
        else:
            tally.false += 1
            tally.unlisted += bool(_YEAR.search(titles[0])) and titles[0] in text
            tally.wrong[titles[0]] += 1
            unsure.append(titles)
    tally.missed += gold.total()
    for titles in unsure:
        other = next((title for title in titles[1:] if gold[title] > 0), None)
        if other:
            gold[other] -= 1
            tally.in_candidates += 1
    tally.lost.update(+gold)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--items", type=Path, required=True, help="JSON: id to name, genre, plot, director, star…")
    options.add_argument("--dialogues", type=Path, required=True, help="JSON lines: dialog_id, turn_id, context, entity")
    options.add_argument("--show", action="store_true", help="the most frequent errors, nothing written")
    given = options.parse_args()
    table = json.loads(given.items.read_text(encoding="utf-8"))
    items = [
        Item(
            item_id=item_id,
            title=row["name"],
            text=row.get("plot") or "",
            attributes={name: tuple(row[name]) for name in ("genre", "director", "star", "writer") if row.get(name)},
        )
        for item_id, row in table.items()
    ]
    start = time.perf_counter()
    linker = Linker(items)
    built = time.perf_counter() - start
    names = {item.item_id: item.title for item in items}
    rows = dialogues(given.dialogues)
    tallies = {name: measure(linker, names, rows, change) for name, change in VARIANTS.items()}
    figures = {name: tally.figures() for name, tally in tallies.items()}
    print(json.dumps(figures, indent=2))
    if given.show:
        for name, tally in tallies.items():
            print(name, "\n  wrong", tally.wrong.most_common(40), "\n  lost", tally.lost.most_common(40))
        return
    result = {
        **provenance(seed=0),
        "dataset": given.dialogues.stem,
        "dialogues": len(rows),
        "titles": len(items),
        "build_seconds": round(built, 2),
        "bar": {"f1 of given": BAR},
        "variants": figures,
    }
    RESULTS.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
