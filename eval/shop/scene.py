"""Draws one thing of the shop: so many objects of a shape, colour, pattern and material before a background.

The same thing and the same random numbers give the same picture.
"""

import random
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from eval.shop.kinds import ATTRIBUTES, Thing

SIZE = 128
"""Width and height of a picture, in pixels."""
Draw = ImageDraw.ImageDraw
Pixels = NDArray[np.floating]
RGB = {
    "red": (205, 25, 30),
    "orange": (250, 130, 15),
    "yellow": (250, 220, 30),
    "green": (30, 150, 55),
    "blue": (30, 75, 215),
    "purple": (115, 35, 165),
    "pink": (250, 130, 190),
    "black": (28, 28, 32),
}
PLACES = {
    "one": ((0.5, 0.5, 0.66),),
    "two": ((0.27, 0.5, 0.46), (0.73, 0.5, 0.46)),
    "three": ((0.27, 0.28, 0.42), (0.73, 0.28, 0.42), (0.5, 0.74, 0.42)),
    "four": ((0.27, 0.27, 0.42), (0.73, 0.27, 0.42), (0.27, 0.74, 0.42), (0.73, 0.74, 0.42)),
}
"""Middle and width of each object, as shares of the picture."""


def draw(thing: Thing, chance: random.Random) -> Image.Image:
    """`SIZE` × `SIZE`, RGB."""
    canvas = Image.new("RGB", (SIZE, SIZE))
    BACKGROUNDS[thing.setting](ImageDraw.Draw(canvas), chance)
    picture = np.asarray(canvas.filter(ImageFilter.GaussianBlur(0.6)), np.float32)
    noise = np.random.default_rng(chance.getrandbits(32))
    grow = chance.uniform(0.88, 1.06)
    turn = chance.uniform(-8, 8)
    for x, y, width in PLACES[thing.count]:
        side = int(width * grow * SIZE)
        left = int(x * SIZE - side / 2 + chance.uniform(-4, 4))
        top = int(y * SIZE - side / 2 + chance.uniform(-4, 4))
        left, top = (min(max(place, 0), SIZE - side) for place in (left, top))
        behind = picture[top : top + side, left : left + side]
        picture[top : top + side, left : left + side] = _object(thing, behind, turn, noise)
    picture = picture * noise.uniform(0.9, 1.08) + noise.normal(0, 3, picture.shape)
    return Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))


def any_thing(chance: random.Random) -> Thing:
    """Every value equally likely."""
    return Thing(*(chance.choice(values) for values in ATTRIBUTES.values()))


def _object(thing: Thing, behind: Pixels, turn: float, noise: np.random.Generator) -> Pixels:
    """`behind` (side, side, 3) with the object before it."""
    side = len(behind)
    shape = Image.new("L", (2 * side, 2 * side))
    SHAPES[thing.object](ImageDraw.Draw(shape), 2 * side)
    shape = shape.rotate(turn, Image.Resampling.BICUBIC).resize((side, side), Image.Resampling.LANCZOS)
    if thing.material == "wool":  # a fluffy edge
        fluff = np.asarray(shape.filter(ImageFilter.GaussianBlur(side / 45)), np.float32)
        shape = Image.fromarray(np.clip(fluff * 1.5 - noise.uniform(0, 150, fluff.shape), 0, 255).astype(np.uint8))
    mask = np.asarray(shape, np.float32)[..., None] / 255
    edge = np.asarray(shape.filter(ImageFilter.FIND_EDGES).filter(ImageFilter.GaussianBlur(0.5)), np.float32)[..., None] / 255
    v, u = np.mgrid[0:side, 0:side].astype(np.float32) / side
    surface = np.broadcast_to(np.array(RGB[thing.colour], np.float32), (side, side, 3)).copy()
    ink = np.array((245, 245, 240) if sum(RGB[thing.colour]) < 400 else (25, 30, 60), np.float32)
    on = PATTERNS[thing.pattern](u + noise.uniform(), v + noise.uniform())[..., None]
    surface += (ink - surface) * on * 0.9
    surface, cover = MATERIALS[thing.material](surface, u, v, noise)
    line = np.array((225, 235, 245) if thing.material in ("glass", "metal") else (20, 18, 16), np.float32)
    if thing.material != "wool":
        surface = surface + (line - surface) * np.clip(edge * 1.4, 0, 1) * 0.8
        cover = np.maximum(cover, np.clip(edge * 1.4, 0, 1))
    return behind + (surface - behind) * mask * cover


def _mug(d: Draw, s: int) -> None:
    d.ellipse((0.52 * s, 0.28 * s, 0.97 * s, 0.76 * s), fill=255)
    d.ellipse((0.62 * s, 0.38 * s, 0.87 * s, 0.66 * s), fill=0)
    d.rounded_rectangle((0.08 * s, 0.12 * s, 0.72 * s, 0.92 * s), 0.08 * s, fill=255)


def _lamp(d: Draw, s: int) -> None:
    d.polygon([(0.3 * s, 0.04 * s), (0.7 * s, 0.04 * s), (0.95 * s, 0.52 * s), (0.05 * s, 0.52 * s)], fill=255)
    d.rectangle((0.45 * s, 0.5 * s, 0.55 * s, 0.88 * s), fill=255)
    d.ellipse((0.22 * s, 0.82 * s, 0.78 * s, 0.98 * s), fill=255)


def _chair(d: Draw, s: int) -> None:
    d.rectangle((0.12 * s, 0.02 * s, 0.34 * s, 0.98 * s), fill=255)
    d.rectangle((0.12 * s, 0.48 * s, 0.92 * s, 0.66 * s), fill=255)
    d.rectangle((0.76 * s, 0.6 * s, 0.92 * s, 0.98 * s), fill=255)


def _shirt(d: Draw, s: int) -> None:
    half = [(0.4, 0.08), (0.26, 0.08), (0.0, 0.3), (0.12, 0.48), (0.25, 0.38), (0.25, 0.95)]
    points = [(x, y) for x, y in half] + [(1 - x, y) for x, y in reversed(half)]
    d.polygon([(x * s, y * s) for x, y in points], fill=255)
    d.ellipse((0.38 * s, 0.0, 0.62 * s, 0.18 * s), fill=0)


def _bag(d: Draw, s: int) -> None:
    d.arc((0.27 * s, 0.03 * s, 0.73 * s, 0.66 * s), 180, 360, fill=255, width=int(0.08 * s))
    d.polygon([(0.14 * s, 0.34 * s), (0.86 * s, 0.34 * s), (0.98 * s, 0.95 * s), (0.02 * s, 0.95 * s)], fill=255)


def _clock(d: Draw, s: int) -> None:
    d.ellipse((0.08 * s, 0.02 * s, 0.4 * s, 0.3 * s), fill=255)
    d.ellipse((0.6 * s, 0.02 * s, 0.92 * s, 0.3 * s), fill=255)
    d.ellipse((0.06 * s, 0.1 * s, 0.94 * s, 0.98 * s), fill=255)
    d.line((0.5 * s, 0.54 * s, 0.5 * s, 0.22 * s), fill=0, width=int(0.07 * s))
    d.line((0.5 * s, 0.54 * s, 0.74 * s, 0.62 * s), fill=0, width=int(0.07 * s))


def _vase(d: Draw, s: int) -> None:
    half = [(0.36, 0.02), (0.3, 0.05), (0.4, 0.28), (0.12, 0.56), (0.2, 0.82), (0.34, 0.97)]
    points = [(x, y) for x, y in half] + [(1 - x, y) for x, y in reversed(half)]
    d.polygon([(x * s, y * s) for x, y in points], fill=255)


def _boot(d: Draw, s: int) -> None:
    points = [(0.12, 0.04), (0.56, 0.04), (0.56, 0.52), (0.9, 0.66), (0.97, 0.95), (0.12, 0.95)]
    d.polygon([(x * s, y * s) for x, y in points], fill=255)


def _umbrella(d: Draw, s: int) -> None:
    d.pieslice((0.02 * s, 0.05 * s, 0.98 * s, 1.0 * s), 180, 360, fill=255)
    for left in (0.02, 0.34, 0.66):
        d.ellipse((left * s, 0.45 * s, (left + 0.32) * s, 0.62 * s), fill=0)
    d.rectangle((0.46 * s, 0.4 * s, 0.54 * s, 0.92 * s), fill=255)
    d.arc((0.3 * s, 0.8 * s, 0.54 * s, 0.99 * s), 0, 180, fill=255, width=int(0.07 * s))


def _guitar(d: Draw, s: int) -> None:
    d.rectangle((0.44 * s, 0.0, 0.56 * s, 0.5 * s), fill=255)
    d.rectangle((0.38 * s, 0.0, 0.62 * s, 0.12 * s), fill=255)
    d.ellipse((0.26 * s, 0.34 * s, 0.74 * s, 0.72 * s), fill=255)
    d.ellipse((0.16 * s, 0.54 * s, 0.84 * s, 1.0 * s), fill=255)
    d.ellipse((0.41 * s, 0.52 * s, 0.59 * s, 0.68 * s), fill=0)


SHAPES: dict[str, Callable[[Draw, int], None]] = {
    "mug": _mug,
    "lamp": _lamp,
    "chair": _chair,
    "shirt": _shirt,
    "bag": _bag,
    "clock": _clock,
    "vase": _vase,
    "boot": _boot,
    "umbrella": _umbrella,
    "guitar": _guitar,
}


def _dots(u: Pixels, v: Pixels) -> Pixels:
    return np.asarray(((u * 4.5) % 1 - 0.5) ** 2 + ((v * 4.5) % 1 - 0.5) ** 2 < 0.09, np.float32)


def _checks(u: Pixels, v: Pixels) -> Pixels:
    return np.asarray(((u * 5) % 1 < 0.5) ^ ((v * 5) % 1 < 0.5), np.float32)


def _zigzag(u: Pixels, v: Pixels) -> Pixels:
    return np.asarray((v * 4 + np.abs((u * 3) % 1 - 0.5) * 1.6) % 1 < 0.42, np.float32)


PATTERNS: dict[str, Callable[[Pixels, Pixels], Pixels]] = {
    "plain": lambda u, v: np.zeros_like(u),
    "striped": lambda u, v: np.asarray((u * 5) % 1 < 0.42, np.float32),
    "dotted": _dots,
    "checked": _checks,
    "zigzag": _zigzag,
}


def _blotches(side: int, cells: int, noise: np.random.Generator) -> Pixels:
    """(side, side, 1) smooth noise in [0, 1]."""
    grain = Image.fromarray(noise.integers(0, 256, (cells, cells)).astype(np.uint8))
    return np.asarray(grain.resize((side, side), Image.Resampling.BICUBIC), np.float32)[..., None] / 255


def _wood(surface: Pixels, u: Pixels, v: Pixels, noise: np.random.Generator) -> tuple[Pixels, Pixels]:
    wave = np.sin(2 * np.pi * (v * 8 + 0.9 * np.sin(2 * np.pi * (u * 0.9 + noise.uniform()))))[..., None]
    grain = np.clip(wave, 0, 1) ** 2 * 0.62 + 0.08
    return surface + (np.array((105, 62, 25), np.float32) - surface) * grain, np.ones_like(grain)


def _metal(surface: Pixels, u: Pixels, v: Pixels, noise: np.random.Generator) -> tuple[Pixels, Pixels]:
    place = 0.75 + noise.uniform(-0.12, 0.12)
    sheen = sum(np.exp(-(((u + v - at) / width) ** 2)) for at, width in ((place, 0.09), (place + 0.42, 0.05)))
    shade = (0.62 + 0.5 * np.abs(np.sin(np.pi * (u + v))))[..., None]
    shiny = np.clip(sheen, 0, 1)[..., None] * 0.9
    return surface * shade + (255 - surface * shade) * shiny, np.ones_like(shiny)


def _wool(surface: Pixels, u: Pixels, v: Pixels, noise: np.random.Generator) -> tuple[Pixels, Pixels]:
    side = len(u)
    loops = (np.abs(np.sin(np.pi * (u * 14 + np.abs((v * 14) % 1 - 0.5)))) * 0.5 + 0.5)[..., None]
    fuzz = noise.normal(1, 0.22, (side, side, 1))
    return surface * (0.5 + 0.5 * loops) * fuzz + 14, np.ones_like(loops)


def _glass(surface: Pixels, u: Pixels, v: Pixels, noise: np.random.Generator) -> tuple[Pixels, Pixels]:
    place = noise.uniform(0.22, 0.32)
    streak = (np.exp(-(((u - place) / 0.04) ** 2)) * (v > 0.15) * (v < 0.85))[..., None]
    return surface + (255 - surface) * (0.14 + 0.8 * streak), np.clip(0.64 + streak, 0, 1)


def _stone(surface: Pixels, u: Pixels, v: Pixels, noise: np.random.Generator) -> tuple[Pixels, Pixels]:
    side = len(u)
    grey = surface * 0.72 + 118 * 0.28
    speck = (_blotches(side, 13, noise) - 0.5) * 120
    cracks = (_blotches(side, 22, noise) < 0.2) * -70.0
    return grey + speck + cracks, np.ones((side, side, 1), np.float32)


MATERIALS: dict[str, Callable[[Pixels, Pixels, Pixels, np.random.Generator], tuple[Pixels, Pixels]]] = {
    "wood": _wood,
    "metal": _metal,
    "wool": _wool,
    "glass": _glass,
    "stone": _stone,
}


def _beach(d: Draw, c: random.Random) -> None:
    sky, sand = int(SIZE * c.uniform(0.25, 0.4)), int(SIZE * c.uniform(0.55, 0.68))
    d.rectangle((0, 0, SIZE, sky), fill=(150, 205, 245))
    d.rectangle((0, sky, SIZE, sand), fill=(35, 145, 185))
    for _ in range(5):
        x, y = c.uniform(0, SIZE), c.uniform(sky, sand)
        d.line((x, y, x + 22, y), fill=(225, 245, 250), width=2)
    d.rectangle((0, sand, SIZE, SIZE), fill=(238, 216, 165))


def _forest(d: Draw, c: random.Random) -> None:
    d.rectangle((0, 0, SIZE, SIZE), fill=(150, 190, 140))
    for _ in range(12):
        x, y, w = c.uniform(0, SIZE), c.uniform(0.3, 1.0) * SIZE, c.uniform(14, 24)
        d.rectangle((x - 2, y - 8, x + 2, y + 8), fill=(90, 60, 35))
        d.polygon([(x - w, y), (x + w, y), (x, y - 46)], fill=(15, c.randint(70, 105), 40))


def _kitchen(d: Draw, c: random.Random) -> None:
    d.rectangle((0, 0, SIZE, SIZE), fill=(228, 224, 210))
    step, shift = c.randint(17, 22), c.randint(0, 12)
    for place in range(-shift, SIZE, step):
        d.line((place, 0, place, SIZE), fill=(170, 168, 160), width=2)
        d.line((0, place, SIZE, place), fill=(170, 168, 160), width=2)
    d.rectangle((0, c.uniform(0.72, 0.82) * SIZE, SIZE, SIZE), fill=(150, 110, 80))


def _snow(d: Draw, c: random.Random) -> None:
    d.rectangle((0, 0, SIZE, SIZE), fill=(165, 185, 210))
    for _ in range(3):
        x, w = c.uniform(0, SIZE), c.uniform(40, 70)
        d.polygon([(x - w, SIZE), (x + w, SIZE), (x, c.uniform(0.1, 0.4) * SIZE)], fill=(225, 232, 242))
    d.rectangle((0, 0.75 * SIZE, SIZE, SIZE), fill=(248, 250, 252))
    for _ in range(40):
        x, y = c.uniform(0, SIZE), c.uniform(0, SIZE)
        d.ellipse((x - 2, y - 2, x + 2, y + 2), fill=(255, 255, 255))


def _city(d: Draw, c: random.Random) -> None:
    d.rectangle((0, 0, SIZE, SIZE), fill=(20, 22, 50))
    x = -c.randint(0, 10)
    while x < SIZE:
        w, top = c.randint(18, 28), int(c.uniform(0.05, 0.4) * SIZE)
        d.rectangle((x, top, x + w - 2, SIZE), fill=(52, 54, 76))
        for wx in range(x + 3, x + w - 6, 7):
            for wy in range(top + 4, SIZE, 9):
                if c.random() < 0.6:
                    d.rectangle((wx, wy, wx + 3, wy + 4), fill=(250, 225, 120))
        x += w


def _desert(d: Draw, c: random.Random) -> None:
    d.rectangle((0, 0, SIZE, SIZE), fill=(248, 205, 130))
    x, y = c.uniform(15, SIZE - 15), c.uniform(8, 28)
    d.ellipse((x - 13, y - 13, x + 13, y + 13), fill=(255, 245, 190))
    for level, shade in ((0.4, (222, 155, 80)), (0.6, (205, 130, 60)), (0.82, (182, 108, 48))):
        x, w = c.uniform(0, SIZE), c.uniform(90, 140)
        d.ellipse((x - w, level * SIZE, x + w, (level + 1.2) * SIZE), fill=shade)


BACKGROUNDS: dict[str, Callable[[Draw, random.Random], None]] = {
    "beach": _beach,
    "forest": _forest,
    "kitchen": _kitchen,
    "snow": _snow,
    "city": _city,
    "desert": _desert,
}
