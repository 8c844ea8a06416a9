"""The small CLIP is real: open_clip loads it without a network, and it sees combinations that training never showed."""

import random
from pathlib import Path

import numpy as np
import pytest

from eval.shop.kinds import ATTRIBUTES, SAID, Thing, unseen
from eval.shop.scene import any_thing, draw
from genrec.models.encoders import ImageEncoder
from genrec.models.sources import resolve

CLIP = Path(__file__).parent.parent / "clip"
PICTURES = 300
LEAST = {"object": 0.97, "colour": 0.97, "pattern": 0.97, "material": 0.97, "setting": 0.98, "count": 0.98}
"""Zero-shot accuracy that must be reached."""


@pytest.fixture(scope="module")
def encoder() -> ImageEncoder:
    return ImageEncoder(resolve(str(CLIP), "image", hub=False), device="cpu", batch=64)


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory, encoder: ImageEncoder) -> tuple[list[Thing], np.ndarray]:
    """Things of combinations held out from training, and the vectors of their pictures."""
    folder, chance = tmp_path_factory.mktemp("new"), random.Random(20_000)
    things = [thing for thing in (any_thing(chance) for _ in range(20 * PICTURES)) if unseen(thing)][:PICTURES]
    paths = [folder / f"{row}.png" for row in range(PICTURES)]
    for thing, path in zip(things, paths, strict=True):
        draw(thing, chance).save(path)
    rows, ok = encoder.encode_images(paths)
    assert ok.all()
    return things, rows


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_zero_shot_on_unseen_combinations(name: str, encoder: ImageEncoder, new: tuple[list[Thing], np.ndarray]) -> None:
    things, rows = new
    values = ATTRIBUTES[name]
    said = encoder.encode_texts([f"a picture of {SAID[value][0]}" for value in values])
    chosen = [values[place] for place in (rows @ said.T).argmax(axis=1)]
    right = np.mean([choice == getattr(thing, name) for choice, thing in zip(chosen, things, strict=True)])
    assert right >= LEAST[name]


def test_it_reads_other_words(encoder: ImageEncoder, new: tuple[list[Thing], np.ndarray]) -> None:
    """A whole sentence finds its picture among those of other things."""
    things, rows = new
    say = {name: index for index, name in enumerate(ATTRIBUTES)}
    words = [
        f"a photo of {SAID[t.count][0]} {SAID[t.colour][-1]} {t.material} {SAID[t.object][0]}s {SAID[t.setting][0]}"
        for t in things
    ]
    best = (encoder.encode_texts(words) @ rows.T).argmax(axis=1)
    asked = ("count", "colour", "material", "object", "setting")
    same = [all(things[found].values()[say[n]] == thing.values()[say[n]] for n in asked)
            for found, thing in zip(best, things, strict=True)]  # fmt: skip
    assert np.mean(same) >= 0.8


def test_pictures_are_the_same_each_time() -> None:
    thing = any_thing(random.Random(3))
    first, again, other = (draw(thing, random.Random(seed)) for seed in (1, 1, 2))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


def test_it_is_small() -> None:
    assert sum(file.stat().st_size for file in CLIP.iterdir()) < 6_000_000
