"""A small world to train on: items of three kinds, people who walk through one kind in a fixed order, and items nobody met."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from genrec.retrieval.item_vectors import ModalityVectors, unit_rows
from genrec.retrieval.learned_retriever import LearnedItems, LearnedRetriever
from genrec.retrieval.sequences import Sequences
from genrec.retrieval.systems import Content
from genrec.retrieval.zero_shot import fused_rows
from genrec.settings.sections import RetrievalSettings
from genrec.settings.train_sections import RetrieverTrainSettings
from genrec.training.retriever_training import Trainer
from genrec.types import Item

KINDS, EACH, COLD = 3, 10, 3
ITEMS = KINDS * EACH
"""The last `COLD` items of each kind have no events."""
TINY: dict[str, Any] = {"width": 16, "layers": 1, "epochs": 2, "batch": 16, "seed": 1, "precision": "no"}


def items() -> list[Item]:
    return [
        Item(
            item_id=f"i{n:02d}",
            title=f"Item {n}",
            attributes={
                "genres": (f"kind {n // EACH}", f"shade {n % 2}"),
                "year": 1990 + n % EACH,
                "new": n % 3 == 0,
            },
        )
        for n in range(ITEMS)
    ]


def content(*, text: bool = True, attributes: bool = True, triples: bool = False) -> Content:
    """Texts speak of the kind; pictures, which every other item has, of something else."""
    rng = np.random.default_rng(7)
    kind = np.arange(ITEMS) // EACH
    matrices: dict[str, NDArray[np.float32]] = {}
    present: dict[str, NDArray[np.bool_]] = {}
    if text:
        matrices["text"] = unit_rows(np.eye(8)[kind] + 0.3 * rng.normal(size=(ITEMS, 8)))
        present["text"] = np.ones(ITEMS, bool)
        present["image"] = np.arange(ITEMS) % 2 == 0
        matrices["image"] = unit_rows(rng.normal(size=(ITEMS, 6)) * present["image"][:, None])
    known = items() if attributes else [Item(item_id=item.item_id) for item in items()]
    ids = tuple(item.item_id for item in known)
    facts = tuple((f"i{n:02d}", "made by", f"studio {n % 4}") for n in range(ITEMS)) if triples else ()
    return Content(items=known, vectors=ModalityVectors(ids, matrices, present), triples=facts)


def events(people: int = 36, seed: int = 3, n_items: int = ITEMS) -> Sequences:
    """Each person walks on from some item of one kind, mostly to the next one; what they do has a kind, a value, a platform."""
    rng = np.random.default_rng(seed)
    warm = EACH - COLD
    lengths = rng.integers(4, warm + 1, people)
    chosen: list[int] = []
    for person, n in enumerate(lengths):
        places = (rng.integers(warm) + np.cumsum(rng.choice([1, 1, 1, 2], n))) % warm
        chosen += ((person % KINDS) * EACH + places).tolist()
    total = len(chosen)
    values = np.where(rng.random(total) < 0.2, np.nan, rng.integers(1, 6, total)).astype(np.float32)
    return Sequences(
        user_ids=tuple(f"p{n:02d}" for n in range(people)),
        item_ids=tuple(f"i{n:02d}" for n in range(n_items)),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        items=np.array(chosen, np.int32),
        timestamps=1.6e9 + np.cumsum(rng.exponential(5000, total)),
        values=values,
        kinds=rng.integers(0, 2, total).astype(np.int16),
        platforms=rng.integers(0, 2, total).astype(np.int16),
        kind_names=("view", "buy"),
        platform_names=("web", "app"),
    )


def histories(lists: list[list[int]], n_items: int = ITEMS, times: list[float] | None = None) -> Sequences:
    """Plain events: one a day, no values."""
    n = sum(map(len, lists))
    return Sequences(
        user_ids=tuple(f"p{n:02d}" for n in range(len(lists))),
        item_ids=tuple(f"i{n:02d}" for n in range(n_items)),
        offsets=np.concatenate([[0], np.cumsum([len(one) for one in lists])]).astype(np.int64),
        items=np.array([item for one in lists for item in one], np.int32),
        timestamps=np.asarray(range(0, 86_400 * n, 86_400) if times is None else times, np.float64),
        values=np.full(n, np.nan, np.float32),
        kinds=np.zeros(n, np.int16),
        platforms=np.zeros(n, np.int16),
    )


def trainer(folder: Any = None, tell: Any = None, **changes: Any) -> Trainer:
    settings = RetrieverTrainSettings.model_validate(TINY | changes)
    return Trainer(retrieval=RetrievalSettings(), settings=settings, folder=folder, tell=tell or (lambda _: None))


def weights(trained: Any) -> dict[str, NDArray[np.float32]]:
    return {name: tensor.detach().numpy() for name, tensor in trained.retriever.network.state_dict().items()}


def same(one: dict[str, NDArray[np.float32]], other: dict[str, NDArray[np.float32]]) -> bool:
    """Whether two networks are the same to the last bit."""
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def encoded(retriever: LearnedRetriever, content: Content, train: Sequences | None = None, bonus: float = 0.0) -> LearnedItems:
    """The catalogue as it is served, beside the untrained retriever of these events."""
    _, fused = fused_rows(train or events(), content, RetrievalSettings())
    return retriever.encode(content, fused, new_item_bonus=bonus)


def found(retriever: LearnedRetriever, items: LearnedItems, asked: Sequences) -> NDArray[np.float32]:
    """(U, N) scores."""
    return retriever.people(asked, items) @ items.rows.T
