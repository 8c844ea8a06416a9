"""A catalogue whose vectors are made of its attributes: what can be known of an item, and how well, is set by hand."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genrec.captions import tag_terms as vocabulary
from genrec.captions.tagging import Tagger
from genrec.types import Item

COLOURS = ("red", "green", "blue", "amber", "mauve", "ochre")
SHAPES = ("lamp", "chair", "mug", "boat", "drum")
GENRES = ("noir", "farce", "opera", "saga")
DIM = 48


@dataclass(frozen=True)
class World:
    """`truth[i]` maps attribute to values; the first `unknown` items tell nothing of themselves."""

    items: list[Item]
    truth: list[dict[str, tuple[str, ...]]]
    rows: dict[str, NDArray[np.float32]]
    words: dict[str, NDArray[np.float64]]
    unknown: int

    def present(self) -> dict[str, NDArray[np.bool_]]:
        return {name: np.any(rows != 0, axis=1) for name, rows in self.rows.items()}

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Texts near the pictures of what their words name; other words point anywhere, the same word always the same way."""
        found = []
        for text in texts:
            parts = [self.words[word] for word in text.split() if word in self.words]
            seed = np.frombuffer(text.split()[-1].encode().ljust(8, b" ")[:8], np.uint32)
            found.append(sum(parts) * 1.0 + 0.3 * np.random.default_rng(seed).normal(size=DIM))
        return unit(np.array(found))

    def tagger(
        self, *, precision: float = 0.9, words: bool = True, modalities: tuple[str, ...] = ("image", "behaviour")
    ) -> Tagger:
        rows = {name: self.rows[name] for name in modalities}
        present = {name: self.present()[name] for name in modalities}
        terms = vocabulary.catalogue_vocabulary(self.items, vocabulary.general_vocabulary())
        encoders = {"image": self.encode} if words and "image" in rows else {}
        return Tagger.fit(self.items, rows, present, terms, encoders=encoders, precision=precision)


def unit(rows: NDArray) -> NDArray[np.float32]:
    return (rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)).astype(np.float32)


def make(*, items: int = 700, unknown: int = 200, image_noise: float = 2.0, behaviour_noise: float = 4.0, seed: int = 0) -> World:
    """The picture shows colour and shape; behaviour follows shape and genres, of which an item has one or two."""
    rng = np.random.default_rng(seed)
    words = {word: rng.normal(size=DIM) for word in (*COLOURS, *SHAPES, *GENRES)}
    liked = {word: rng.normal(size=DIM) for word in (*SHAPES, *GENRES)}
    truth, made = [], []
    for row in range(items):
        own = {
            "colour": (str(rng.choice(COLOURS)),),
            "shape": (str(rng.choice(SHAPES)),),
            "genres": tuple(map(str, rng.choice(GENRES, rng.integers(1, 3), replace=False))),
        }
        truth.append(own)
        told = {"colour": own["colour"][0], "shape": own["shape"][0], "genres": own["genres"]}
        made.append(Item(item_id=f"i{row}", attributes={} if row < unknown else told))
    look = np.array([words[t["colour"][0]] + words[t["shape"][0]] for t in truth])
    taste = np.array([liked[t["shape"][0]] + sum(liked[genre] for genre in t["genres"]) for t in truth])
    rows = {
        "image": unit(look + image_noise / 2 * rng.normal(size=look.shape)),
        "behaviour": unit(taste + behaviour_noise / 4 * rng.normal(size=taste.shape)),
    }
    return World(made, truth, rows, words, unknown)


def judged(world: World, tags: "list[tuple]", group: str = "") -> tuple[float, float]:
    """(precision, recall) of attribute tags of the unknown items."""
    given = right = there = 0
    for truth, own in zip(world.truth, tags, strict=False):
        there += sum(len(values) for name, values in truth.items() if group in ("", name))
        for tag in own:
            if tag.kind == "attribute" and group in ("", tag.group):
                given += 1
                right += tag.text in truth[tag.group]
    return right / max(1, given), right / there
