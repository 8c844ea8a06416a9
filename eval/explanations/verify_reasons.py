"""Is every reason true? Reads the answer and the source tables only; imports nothing of genrec.

For each row: the item is not in the person's history; every quoted title is the title of an item of that history, and of one that
the evidence cites; "liked" and "enjoyed" are said only of items rated at or above the person's mean; every value of the
catalogue's attributes that stands in the sentence outside quotes is the item's own, and a value given as shared is also the cited
item's; every number in the sentence is one of the evidence.

    python -m eval.explanations.verify_reasons --answer /tmp/reasons.jsonl --items items.parquet --events events.parquet
"""

import argparse
import collections
import json
import re
from pathlib import Path
from typing import Any

import polars as pl

QUOTED = re.compile(r'"([^"]*)"')


class Tables:
    """What is true, straight from the tables."""

    def __init__(self, items: Path, events: Path) -> None:
        rows = pl.read_parquet(items).to_dicts()
        self.attributes = {
            str(row["item_id"]): {
                name: [str(v) for v in (value if isinstance(value, list) else [value])]
                for name, value in row.items()
                if value is not None and name not in ("item_id", "title", "image", "plot", "text", "description")
            }
            for row in rows
        }
        self.titles = {str(row["item_id"]): " ".join(str(row["title"]).replace('"', "'").split()) for row in rows}
        table = pl.read_parquet(events).with_columns(pl.col("user_id").cast(str), pl.col("item_id").cast(str))
        self.history: dict[str, dict[str, float]] = collections.defaultdict(dict)
        for user, item, rating in table.sort("timestamp").select("user_id", "item_id", "rating").iter_rows():
            self.history[user][item] = rating
        self.mean = dict(table.group_by("user_id").agg(pl.col("rating").mean()).iter_rows())
        texts = {v for values in self.attributes.values() for vs in values.values() for v in vs if not v.isdigit() and len(v) > 2}
        self.values = {value: re.compile(rf"(?<!\w){re.escape(value)}(?!\w)", re.IGNORECASE) for value in texts}


def faults(row: dict[str, Any], tables: Tables) -> list[str]:
    """What is wrong with one row; nothing when it is true."""
    user, item, text = row["user_id"], row["item_id"], row["reason"]["text"]
    history, evidence = tables.history[user], row["reason"]["evidence"]
    found = []
    if item in history:
        found.append("the item was seen")
    if not text:
        found.append("there is no reason")
    cited = [item_id for e in evidence if e["kind"] == "history" for item_id in e["item_ids"]]
    found += [f"{item_id} is not in the history" for item_id in cited if item_id not in history]
    by_title = {tables.titles[item_id]: item_id for item_id in cited if item_id in tables.titles}
    quoted = QUOTED.findall(text)
    for title in quoted:
        if title not in by_title:
            found.append(f"quotes {title!r}, which the evidence does not cite")
        elif re.search(r"\b(liked|enjoyed)\b", text) and history[by_title[title]] < tables.mean[user] - 1e-9:
            found.append(f"says that {title!r} was liked, it was rated {history[by_title[title]]}")
    own = {v.lower() for values in tables.attributes[item].values() for v in values}
    rest = QUOTED.sub("", text)
    for value, pattern in tables.values.items():
        if pattern.search(rest) and value.lower() not in own:
            found.append(f"names {value!r}, which the item has not")
    for e in evidence:
        if e["kind"] == "attribute":
            for item_id in (item, *e["item_ids"]):
                if e["value"] not in tables.attributes[item_id].get(e["attribute"], []):
                    found.append(f"{item_id} has no {e['attribute']} {e['value']!r}")
    numbers = {number for e in evidence for number in re.findall(r"\d+", e["value"])}
    found += [f"the number {n} is not in the evidence" for n in re.findall(r"\d+", rest) if n not in numbers]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answer", type=Path, required=True)
    parser.add_argument("--items", type=Path, required=True)
    parser.add_argument("--events", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    tables = Tables(arguments.items, arguments.events)
    rows = [json.loads(line) for line in arguments.answer.open(encoding="utf-8")]
    wrong = [(row, found) for row in rows if (found := faults(row, tables))]
    result = {
        "people": len({row["user_id"] for row in rows}),
        "reasons": len(rows),
        "true": len(rows) - len(wrong),
        "by_source": dict(collections.Counter(row["reason"]["source"] for row in rows)),
        "distinct_sentence_forms": len({QUOTED.sub('""', row["reason"]["text"]) for row in rows}),
        "wrong": [
            {"user_id": r["user_id"], "item_id": r["item_id"], "text": r["reason"]["text"], "faults": f} for r, f in wrong[:20]
        ],
    }
    print(json.dumps(result, indent=1, ensure_ascii=False))
    if arguments.out:
        from eval.provenance import provenance

        arguments.out.write_text(json.dumps({**provenance(), **result}, indent=1, ensure_ascii=False) + "\n")
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
