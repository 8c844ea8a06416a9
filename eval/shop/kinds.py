"""What a thing of the shop can be, and how people say it."""

import itertools
import random
from dataclasses import dataclass

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "object": ("mug", "lamp", "chair", "shirt", "bag", "clock", "vase", "boot", "umbrella", "guitar"),
    "colour": ("red", "orange", "yellow", "green", "blue", "purple", "pink", "black"),
    "pattern": ("plain", "striped", "dotted", "checked", "zigzag"),
    "material": ("wood", "metal", "wool", "glass", "stone"),
    "setting": ("beach", "forest", "kitchen", "snow", "city", "desert"),
    "count": ("one", "two", "three", "four"),
}
SAID: dict[str, tuple[str, ...]] = {
    "mug": ("mug", "cup", "coffee mug"),
    "lamp": ("lamp", "table lamp", "light"),
    "chair": ("chair", "seat"),
    "shirt": ("shirt", "t-shirt", "tee"),
    "bag": ("bag", "handbag", "tote"),
    "clock": ("clock", "alarm clock"),
    "vase": ("vase", "flower vase"),
    "boot": ("boot", "shoe"),
    "umbrella": ("umbrella", "parasol"),
    "guitar": ("guitar", "acoustic guitar"),
    "red": ("red", "scarlet", "crimson"),
    "orange": ("orange",),
    "yellow": ("yellow", "lemon yellow"),
    "green": ("green",),
    "blue": ("blue",),
    "purple": ("purple", "violet"),
    "pink": ("pink", "rose pink"),
    "black": ("black", "jet black"),
    "plain": ("plain", "unpatterned", "solid"),
    "striped": ("striped", "stripy", "with stripes"),
    "dotted": ("dotted", "spotted", "with dots", "polka dot"),
    "checked": ("checked", "chequered", "with a check pattern"),
    "zigzag": ("zigzag", "with a zigzag pattern"),
    "wood": ("wood", "wooden", "made of wood"),
    "metal": ("metal", "made of metal", "metallic"),
    "wool": ("wool", "woollen", "knitted", "made of wool"),
    "glass": ("glass", "made of glass"),
    "stone": ("stone", "made of stone"),
    "beach": ("on the beach", "on a beach", "at the seaside", "beach", "on the sand by the sea"),
    "forest": ("in the forest", "in a forest", "among trees", "forest", "in the woods"),
    "kitchen": ("in the kitchen", "in a kitchen", "kitchen", "on a kitchen counter"),
    "snow": ("in the snow", "snow", "on a snowy mountain", "in winter"),
    "city": ("in the city", "in a city at night", "city", "in town", "in front of city lights"),
    "desert": ("in the desert", "in a desert", "desert", "among sand dunes"),
    "one": ("one", "a single", "1"),
    "two": ("two", "a pair of", "2"),
    "three": ("three", "a trio of", "3"),
    "four": ("four", "4"),
}
"""Ways of saying each value in the captions that the CLIP learns from."""


@dataclass(frozen=True, slots=True)
class Thing:
    """One value of every attribute, in the order of `ATTRIBUTES`."""

    object: str
    colour: str
    pattern: str
    material: str
    setting: str
    count: str

    def values(self) -> tuple[str, ...]:
        return (self.object, self.colour, self.pattern, self.material, self.setting, self.count)


def _drawn(names: tuple[str, str, str], chance: random.Random) -> frozenset[tuple[str, ...]]:
    """One of eight combinations of values of these attributes."""
    every = list(itertools.product(*(ATTRIBUTES[name] for name in names)))
    return frozenset(chance.sample(every, len(every) // 8))


_CHANCE = random.Random(0)
HELD_OUT = {names: _drawn(names, _CHANCE) for names in (("object", "colour", "material"), ("pattern", "material", "setting"))}
"""Combinations that training never shows. Not pairs: a model that never saw wool with dots learns that there is no such thing."""


def unseen(thing: Thing) -> bool:
    """Whether training never shows this combination."""
    return any(tuple(getattr(thing, name) for name in names) in held for names, held in HELD_OUT.items())
