"""The shop's tables: items with pictures and texts, part of them stripped of all text, and what shoppers chose.

Everything follows from the seed. Shoppers have tastes over attributes; they know nothing of texts.
"""

import csv
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eval.shop.kinds import ATTRIBUTES, SAID, Thing
from eval.shop.scene import any_thing, draw

START = 1_700_000_000
COLUMNS = {
    "object": "category",
    "colour": "colour",
    "pattern": "pattern",
    "material": "material",
    "setting": "setting",
    "count": "count",
}
"""Attribute to column."""
PLACES = {
    "beach": ("on the beach", "at the seaside", "on the sand"),
    "forest": ("in the forest", "in the woods", "among trees"),
    "kitchen": ("in the kitchen", "on a kitchen counter", "in a bright kitchen"),
    "snow": ("in the snow", "on a snowy mountain", "in winter"),
    "city": ("in the city", "in front of city lights", "in a city at night"),
    "desert": ("in the desert", "among sand dunes", "in the hot desert"),
}
STUFF = {
    "wood": ("made of wood", "wooden"),
    "metal": ("made of metal", "metallic"),
    "wool": ("made of wool", "knitted of wool"),
    "glass": ("made of glass", "blown glass"),
    "stone": ("carved of stone", "made of stone"),
}
PLENTY = {"one": "One piece", "two": "A set of two", "three": "A set of three", "four": "A set of four"}


@dataclass(frozen=True, slots=True)
class Shop:
    """`things[i]` is item `ids[i]`; `stripped` (N,) bool: it has lost all text; `chosen[u]`: rows that shopper u chose, in
    order, a stripped one last wherever there is one."""

    ids: tuple[str, ...]
    things: tuple[Thing, ...]
    stripped: np.ndarray
    chosen: tuple[tuple[int, ...], ...]
    titles: tuple[str, ...]
    texts: tuple[str, ...]


def make(items: int = 2400, shoppers: int = 800, *, stripped: float = 0.3, seed: int = 0) -> Shop:
    chance = random.Random(seed)
    things = tuple(any_thing(chance) for _ in range(items))
    titles, texts = zip(*(write(thing, chance) for thing in things), strict=True)
    mask = np.zeros(items, bool)
    mask[chance.sample(range(items), round(stripped * items))] = True
    chosen = tuple(_last(rows, mask) for rows in _shopping(things, shoppers, np.random.default_rng(seed)))
    ids = tuple(f"thing-{number:05d}" for number in range(items))
    return Shop(ids=ids, things=things, stripped=mask, chosen=chosen, titles=titles, texts=texts)


def write(thing: Thing, chance: random.Random) -> tuple[str, str]:
    """Title and description in the words of a shop."""
    look = "" if thing.pattern == "plain" else f"{thing.pattern} "
    noun = thing.object if chance.random() < 0.7 else SAID[thing.object][-1]
    title = chance.choice([f"{thing.colour} {look}{thing.material} {noun}", f"{look}{noun} in {thing.colour} {thing.material}"])
    stuff, place = chance.choice(STUFF[thing.material]), chance.choice(PLACES[thing.setting])
    surface = "without any pattern" if thing.pattern == "plain" else f"with a {thing.pattern} pattern"
    first = chance.choice(
        [f"A {thing.colour} {thing.object}, {stuff}, {surface}.", f"This {thing.object} is {stuff}, {surface}."]
    )
    second = chance.choice([f"{PLENTY[thing.count]}, seen {place}.", f"{PLENTY[thing.count]}. Photographed {place}."])
    return title[0].upper() + title[1:], f"{first} {second}"


def query(thing: Thing, chance: random.Random) -> str:
    """What somebody types who looks for this thing."""
    words = [thing.colour, thing.pattern, thing.material]
    chance.shuffle(words)
    many = thing.object if thing.count == "one" else f"{thing.object}s"
    return f"{thing.count} {' '.join(words)} {many} {PLACES[thing.setting][0]}"


def tables(shop: Shop, folder: Path, *, strip: bool, pictures: Path, held_out: int = 0) -> tuple[Path, Path]:
    """items.csv and events.jsonl in `folder`; pictures are drawn into `pictures` (the media root) unless they are there.

    `strip`: stripped items keep only id and picture. `held_out`: events of each shopper that are left out, from the last.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures.mkdir(parents=True, exist_ok=True)
    items, events = folder / "items.csv", folder / "events.jsonl"
    with items.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["item_id", "title", "text", *COLUMNS.values(), "image"])
        for row, (item_id, thing) in enumerate(zip(shop.ids, shop.things, strict=True)):
            picture = pictures / f"{item_id}.png"
            if not picture.exists():
                draw(thing, random.Random(item_id)).save(picture)
            told = [shop.titles[row], shop.texts[row], *thing.values()]
            table.writerow([item_id, *([""] * len(told) if strip and shop.stripped[row] else told), picture.name])
    lines = _events(shop, held_out)
    events.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return items, events


def _events(shop: Shop, held_out: int) -> Iterator[dict[str, object]]:
    for shopper, rows in enumerate(shop.chosen):
        for place, row in enumerate(rows[: len(rows) - held_out]):
            yield {"user_id": f"shopper-{shopper:04d}", "item_id": shop.ids[row], "timestamp": START + 100 * place}


def _shopping(things: Sequence[Thing], shoppers: int, rng: np.random.Generator) -> Iterator[list[int]]:
    """Each shopper likes some values of each attribute and chooses 12 things by taste and chance."""
    widths = [len(values) for values in ATTRIBUTES.values()]
    starts = np.cumsum([0, *widths])
    hot = np.zeros((len(things), starts[-1]))
    for row, thing in enumerate(things):
        for place, (values, value) in enumerate(zip(ATTRIBUTES.values(), thing.values(), strict=True)):
            hot[row, starts[place] + values.index(value)] = 1.0
    strength = (2.5, 2.0, 1.0, 1.0, 1.5, 0.3)
    liked = (2, 2, 2, 2, 2, 1)
    for _ in range(shoppers):
        taste = np.zeros(starts[-1])
        for place, width in enumerate(widths):
            taste[starts[place] + rng.choice(width, liked[place], replace=False)] = strength[place]
        wish = hot @ taste + rng.gumbel(scale=0.6, size=len(things))
        yield [int(row) for row in rng.permutation(np.argsort(-wish)[:12])]


def _last(rows: list[int], stripped: np.ndarray) -> tuple[int, ...]:
    """The same rows with a stripped one at the end, so that leave-one-out asks for it."""
    found = [row for row in rows if stripped[row]]
    return (*(row for row in rows if row not in found[:1]), *found[:1])
