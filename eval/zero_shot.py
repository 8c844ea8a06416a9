"""How good are the candidates without any training?

Leave-one-out on the last event of every user, full ranking over the catalogue, the user's history left out. Settings are chosen
on validation (the last event but one); the test column takes the settings that ship.

    python eval/zero_shot.py --data shared/data/movies --text-model PATH [--grid]

Writes the figures of one data set into eval/results/zero_shot.json beside those of the others.
"""

import argparse
import hashlib
import itertools
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from record import provenance
from scipy import sparse

from genrec.retrieval.behaviour import behaviour_vectors
from genrec.retrieval.mean_profile import event_weights, user_vector
from genrec.retrieval.modality_fusion import as_history, centred, fuse
from genrec.retrieval.vectors import ModalityVectors, unit_rows
from genrec.settings import RetrievalSettings
from genrec.types import Event

RESULTS = Path(__file__).parent / "results" / "zero_shot.json"
SEED = 0
TEXT_COLUMNS = ("year", "genres", "director", "actors", "plot", "description")


@dataclass(frozen=True)
class Split:
    """`histories[u]` item numbers oldest first, `values[u]` ratings or None, `targets` (U,)."""

    n_items: int
    histories: list[NDArray[np.int64]]
    values: list[NDArray[np.float64] | None]
    targets: NDArray[np.int64]

    def columns(self) -> tuple[NDArray, NDArray, NDArray]:
        users = np.concatenate([np.full(len(h), u) for u, h in enumerate(self.histories)])
        items = np.concatenate(self.histories)
        return users, items, np.arange(len(items), dtype=float)


def read(folder: Path) -> tuple[list[str], list[str], pl.DataFrame]:
    """Item ids, item texts, and the events ordered by user and time."""
    items = pl.read_parquet(folder / "items.parquet")
    events = pl.read_parquet(folder / "interactions.parquet")
    clock = "timestamp" if "timestamp" in events.columns else "position"
    events = events.with_row_index("row").sort(["user_id", clock, "row"])
    texts = []
    for row in items.iter_rows(named=True):
        parts = [str(row["title"])]
        for name in TEXT_COLUMNS:
            value = row.get(name)
            if value:
                parts.append(", ".join(map(str, value)) if isinstance(value, list) else str(value))
        texts.append(". ".join(parts))
    return [str(item) for item in items["item_id"]], texts, events


def split(ids: list[str], events: pl.DataFrame, held_out: int) -> Split:
    """`held_out` 1: the last event is the target (test); 2: the last but one (validation), the last one unseen."""
    number = {item: place for place, item in enumerate(ids)}
    histories, values, targets = [], [], []
    for _, group in events.group_by(["user_id"], maintain_order=True):
        row = np.array([number[str(item)] for item in group["item_id"]])
        if len(row) <= held_out:
            continue
        histories.append(row[:-held_out])
        targets.append(row[-held_out])
        values.append(group["rating"].to_numpy().astype(float)[:-held_out] if "rating" in group.columns else None)
    return Split(len(ids), histories, values, np.array(targets))


def without(data: Split, cold: NDArray[np.bool_]) -> Split:
    """The split with every event on a cold item taken out of the histories; users left without history are dropped."""
    kept = [
        (h[~cold[h]], v if v is None else v[~cold[h]], t)
        for h, v, t in zip(data.histories, data.values, data.targets, strict=True)
    ]
    kept = [row for row in kept if len(row[0])]
    return Split(data.n_items, [row[0] for row in kept], [row[1] for row in kept], np.array([row[2] for row in kept]))


def ranks(scores: NDArray, data: Split) -> NDArray[np.int64]:
    """(U,) place of each target from 0 among the items not in the history, ties by item number; a target seen before is never
    found.
    """
    target = scores[np.arange(len(data.targets)), data.targets]
    scores = scores.copy()
    seen = np.zeros(len(data.targets), bool)
    for user, history in enumerate(data.histories):
        scores[user, history] = -np.inf
        seen[user] = data.targets[user] in history
    earlier = (scores == target[:, None]) & (np.arange(data.n_items)[None] < data.targets[:, None])
    place = (scores > target[:, None]).sum(axis=1) + earlier.sum(axis=1)
    return np.where(seen, data.n_items, place)


def figures(place: NDArray[np.int64]) -> dict[str, float]:
    """NDCG@10 with the half-width of its 95% interval over users, recall at 10 and 50."""
    gain = np.where(place < 10, 1.0 / np.log2(place + 2.0), 0.0)
    half = 1.96 * gain.std() / np.sqrt(len(gain))
    return {
        "ndcg@10": round(float(gain.mean()), 4),
        "ndcg@10_ci": round(float(half), 4),
        "recall@10": round(float((place < 10).mean()), 4),
        "recall@50": round(float((place < 50).mean()), 4),
        "users": len(place),
    }


def profiles(data: Split, rows: NDArray[np.float32], settings: RetrievalSettings) -> NDArray[np.float32]:
    """(U, D) user vectors, computed by the product's own functions."""
    users = np.zeros((len(data.histories), rows.shape[1]), np.float32)
    for place, (history, values) in enumerate(zip(data.histories, data.values, strict=True)):
        latest = history[-settings.history :]
        given = [None] * len(latest) if values is None else values[-settings.history :].tolist()
        events = [Event(user_id="", item_id=str(item), value=value) for item, value in zip(latest, given, strict=True)]
        weights = event_weights(events, half_life=settings.half_life, negative_value=settings.negative_value)
        user = user_vector([event.item_id for event in events], rows[latest], weights)
        if user is not None:
            users[place] = user.vector
    return users


def behaviour(data: Split, settings: RetrievalSettings) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.int64]]:
    users, items, clock = data.columns()
    made = behaviour_vectors(
        users, items, clock, n_items=data.n_items, dim=settings.behaviour_dim, half_life=settings.behaviour_half_life, seed=SEED
    )
    return made.vectors, made.present, made.popularity


def fused_scores(data: Split, text: NDArray[np.float32], made: tuple, settings: RetrievalSettings) -> NDArray[np.float32]:
    ids = tuple(map(str, range(data.n_items)))
    matrices = {"text": text, "behaviour": made[0]}
    vectors = ModalityVectors(ids, matrices, {"text": np.ones(data.n_items, bool), "behaviour": made[1]})
    fused = fuse(vectors, settings.weights, made[2], trust=settings.trust)
    return profiles(data, as_history(fused), settings) @ fused.T


def binary(data: Split) -> sparse.csr_array:
    users, items, _ = data.columns()
    matrix = sparse.csr_array((np.ones(len(items)), (users, items)), shape=(len(data.histories), data.n_items))
    matrix.data[:] = 1.0
    return matrix


def decayed(data: Split, half_life: float) -> sparse.csr_array:
    users, items, _ = data.columns()
    weight = np.concatenate([0.5 ** (np.arange(len(h))[::-1] / half_life) for h in data.histories])
    return sparse.csr_array((weight, (users, items)), shape=(len(data.histories), data.n_items))


def ease(data: Split, strength: float, half_life: float) -> NDArray[np.float64]:
    """EASE (Steck, WWW 2019), scored from the recency-weighted history."""
    matrix = binary(data)
    gram = (matrix.T @ matrix).toarray() + strength * np.eye(data.n_items)
    inverse = np.linalg.inv(gram)
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return decayed(data, half_life) @ weights


def pure_svd(data: Split, dim: int, half_life: float) -> NDArray[np.float64]:
    """PureSVD (Cremonesi et al., RecSys 2010), scored from the recency-weighted history."""
    _, _, right = sparse.linalg.svds(binary(data), k=dim, rng=np.random.default_rng(SEED))
    return decayed(data, half_life) @ right.T @ right


def baselines(valid: Split, test: Split, text: NDArray[np.float32]) -> dict[str, dict]:
    """Each baseline with its own settings chosen on validation."""
    matrix = centred(text, np.ones(len(text), bool)).astype(float)
    methods = {
        "most popular": (lambda s: np.tile(binary(s).sum(axis=0), (len(s.histories), 1)), [()]),
        "text only": (lambda s, h: decayed(s, h) @ matrix @ matrix.T, [(h,) for h in (1.0, 3.0, 10.0, 1e9)]),
        "text only, not centred": (lambda s, h: decayed(s, h) @ text @ text.T, [(h,) for h in (1.0, 3.0, 10.0, 1e9)]),
        "PureSVD, recency": (pure_svd, list(itertools.product((32, 64, 256), (2.0, 4.0, 1e9)))),
        "EASE": (lambda s, r: ease(s, r, 1e9), [(r,) for r in (5.0, 50.0, 200.0, 1000.0)]),
        "EASE, recency": (ease, list(itertools.product((50.0, 200.0, 1000.0, 3000.0), (2.0, 4.0, 8.0)))),
    }
    table = {}
    for name, (score, options) in methods.items():
        tried = [(figures(ranks(score(valid, *option), valid)), option) for option in options]
        best, option = max(tried, key=lambda pair: pair[0]["ndcg@10"])
        table[name] = {"settings": option, "validation": best, "test": figures(ranks(score(test, *option), test))}
        print(name, table[name], flush=True)
    return table


def grid(valid: Split, text: NDArray[np.float32]) -> list[dict]:
    """The fused vector's settings on validation."""
    rows = []
    for reach, dim in ((32.0, 128), (32.0, 256), (32.0, 512), (16.0, 256)):
        made = behaviour(valid, RetrievalSettings(behaviour_half_life=reach, behaviour_dim=dim))
        for trust, weight, half_life, negative in itertools.product(
            (1.0, 5.0, 10.0), (0.1, 0.2, 0.3), (2.0, 3.0, 4.0), (0.5, 1.0)
        ):
            if negative != 1.0 and (weight != 0.2 or valid.values[0] is None):
                continue
            changed = {
                "half_life": half_life,
                "negative_value": negative,
                "trust": trust,
                "behaviour_half_life": reach,
                "behaviour_dim": dim,
            }
            settings = RetrievalSettings(weights={"text": weight, "behaviour": 1.0}, **changed)
            rows.append({"text": weight, **changed, **figures(ranks(fused_scores(valid, text, made, settings), valid))})
    return sorted(rows, key=lambda row: -row["ndcg@10"])


def cold_items(valid: Split, text: NDArray[np.float32], settings: RetrievalSettings) -> dict[str, dict]:
    """A tenth of the items lose all events; users whose target is one of them, ranked among all items and among the cold ones."""
    cold = np.random.default_rng(SEED).random(valid.n_items) < 0.1
    data = without(valid, cold)
    made = behaviour(data, settings)
    chosen = cold[data.targets]
    table = {}
    for name, trust in (("fused", settings.trust), ("fused, behaviour of new items zero", None)):
        scores = fused_scores(data, text, made, settings) if trust is not None else _content_half(data, text, made, settings)
        place = ranks(scores, data)
        among = np.where(cold[None], scores, -np.inf)
        table[name] = {
            "cold targets, all items": figures(place[chosen]),
            "cold targets, cold items": figures(ranks(among, data)[chosen]),
            "warm targets": figures(place[~chosen]),
        }
    return table


def _content_half(data: Split, text: NDArray, made: tuple, settings: RetrievalSettings) -> NDArray:
    """As fused, but the behaviour of an item without events is zero instead of expected."""
    weight = settings.weights
    counts = made[2][:, None]
    rows = np.concatenate(
        [
            np.sqrt(weight["text"]) * centred(text, np.ones(len(text), bool)),
            np.sqrt(weight["behaviour"]) * made[0] * counts / (counts + settings.trust),
        ],
        axis=1,
    ).astype(np.float32)
    return profiles(data, rows, settings) @ rows.T


def encode(texts: list[str], model: str, cache: Path | None) -> NDArray[np.float32]:
    """(N, d) unit rows; kept in `cache` under the digest of the texts and the model's name."""
    digest = hashlib.sha256("\0".join([Path(model).name, *texts]).encode()).hexdigest()[:16]
    kept = None if cache is None else cache / f"{digest}.npy"
    if kept is not None and kept.exists():
        return np.load(kept)
    from sentence_transformers import SentenceTransformer

    vectors = unit_rows(SentenceTransformer(model, device="cpu").encode(texts, batch_size=32, show_progress_bar=True))
    if kept is not None:
        np.save(kept, vectors)
    return vectors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--text-model", required=True)
    parser.add_argument("--cache", type=Path, help="folder that keeps the text vectors between runs")
    parser.add_argument("--grid", action="store_true", help="also try the settings around the defaults")
    options = parser.parse_args()
    started = time.monotonic()
    ids, texts, events = read(options.data)
    valid, test = split(ids, events, 2), split(ids, events, 1)
    text = encode(texts, options.text_model, options.cache)
    shipped = RetrievalSettings()
    table = baselines(valid, test, text)
    weights = {"behaviour": {"behaviour": 1.0}, "fused": {name: shipped.weights[name] for name in ("text", "behaviour")}}
    for name, chosen in weights.items():
        settings = shipped.model_copy(update={"weights": chosen})
        table[name] = {"settings": settings.model_dump()}
        for part, data in (("validation", valid), ("test", test)):
            table[name][part] = figures(ranks(fused_scores(data, text, behaviour(data, settings), settings), data))
        print(name, table[name], flush=True)
    settings = shipped.model_copy(update={"weights": weights["fused"]})
    results: dict[str, object] = {"methods": table, "cold": cold_items(valid, text, settings)}
    if options.grid:
        results["grid"] = grid(valid, text)[:20]
    save(options.data.name, results | {"seconds": round(time.monotonic() - started, 1)})


def save(name: str, results: dict[str, object]) -> None:
    everything = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    everything[name] = provenance(seed=SEED) | results
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(everything, indent=1) + "\n")
    print(json.dumps(everything[name], indent=1))


if __name__ == "__main__":
    main()
