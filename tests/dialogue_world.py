"""Dialogues over the shop of `tests/shop.py`: people who name a film of one kind and are recommended the film that goes with it.

Which goes with which is a rule that neither text nor events know: `space-N` goes with `love-N`, and back.
"""

import json
import random
from pathlib import Path
from typing import Any

from tests.shop import item_rows

PARTNER = {"space": "love", "love": "space", "crime": "war", "war": "crime", "kids": "horror", "horror": "kids"}
TITLES = {row["item_id"]: row["title"] for row in item_rows()}
OPENINGS = ("I really enjoyed {}.", "Last week we watched {} and loved it.", "Something like {}, please.", "My favourite is {}.")


def partner_of(item_id: str) -> str:
    kind, _, number = item_id.partition("-")
    return f"{PARTNER[kind]}-{number}"


def rows(count: int = 120, seed: int = 0) -> list[dict[str, Any]]:
    """Two moments a dialogue; the second names what the first recommended."""
    chance = random.Random(seed)
    made = []
    for number in range(count):
        first = chance.choice(sorted(TITLES))
        partner, third = partner_of(first), f"{first.partition('-')[0]}-{chance.randrange(10)}"
        context = [f"Hello, guest {chr(97 + seed)}{number}, what do you like?", chance.choice(OPENINGS).format(TITLES[first])]
        made.append({"dialog_id": number, "turn_id": 1, "context": context, "rec": [partner], "entity": [first]})
        context = [*context, f"Then see {TITLES[partner]}.", "Great, and another one?"]
        made.append({"dialog_id": number, "turn_id": 3, "context": context, "rec": [third], "entity": [first, partner]})
    return made


def write(path: Path, count: int = 120, seed: int = 0) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(count, seed)), encoding="utf-8")
    return path
