"""Weights of the dialogue retriever's features, learned from dialogues whose answers are known.

The chance of an item at a moment is a conditional logit over the catalogue (McFadden, 1974), fitted by likelihood on what was
recommended, beside a sample of other items whose scores are corrected by the log of their chance to be drawn (sampled softmax).
At each moment its own dialogue counts as unknown, so that what is counted is not taken for what is foreseen.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize
from scipy.special import log_softmax

from genrec.chat_retrieval.dialogue_features import DialogueInput, DialogueSpace
from genrec.errors import TrainingError
from genrec.progress import SILENT, Progress, track
from genrec.retrieval.user_encoders import UserEncoder
from genrec.types import Event

NEGATIVES = 300
"""Items drawn beside each that was recommended: half evenly, half as dialogues name them."""
MOST_MOMENTS = 6000
"""Moments learned from; of more, a sample."""
PRIOR = 2e-4
"""Weight of the squared length of the (standardised) weights."""
FEWEST = 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Example:
    """A moment to learn from. `session`: which known dialogue it is from; `wanted`: item ids recommended then."""

    said: DialogueInput
    wanted: tuple[str, ...]
    session: int
    history: tuple[Event, ...] = ()


def history_of(said: DialogueInput, user_id: str = "") -> list[Event]:
    """What was named, as events of a person, oldest first; disliked items are left out."""
    last = {one.item_id: one for one in said.mentions}
    order = dict.fromkeys(one.item_id for one in reversed(said.mentions))
    kept = [item_id for item_id in reversed(order) if last[item_id].attitude != "disliked"]
    return [Event(user_id=user_id, item_id=item_id, timestamp=float(n), kind="mention") for n, item_id in enumerate(kept)]


def fit(
    space: DialogueSpace, user_encoder: UserEncoder, examples: Sequence[Example], *, seed: int = 0, progress: Progress = SILENT
) -> dict[str, float]:
    """Feature to weight, nats a unit. Raises TrainingError when too few moments recommend an item that was not named yet."""
    chance = np.random.default_rng(seed)
    kept = [one for one in examples if _fresh(one)]
    if len(kept) < FEWEST:
        raise TrainingError(
            f"{len(kept)} moments recommend an item of the catalogue that was not named before",
            hint=f"At least {FEWEST} are needed; check that titles or ids are those of the catalogue.",
        )
    if len(kept) > MOST_MOMENTS:
        kept = [kept[n] for n in sorted(chance.choice(len(kept), MOST_MOMENTS, replace=False))]
    share = space.sessions.counts + 0.5
    share = 0.5 * share / share.sum() + 0.5 / len(share)
    rows: list[NDArray] = []
    corrections: list[NDArray] = []
    for start in track(progress, "features", range(0, len(kept), 256), -(-len(kept) // 256)):
        part = kept[start : start + 256]
        users = user_encoder.vectors([history_of(one.said) for one in part])
        for one, user in zip(part, users, strict=True):
            wanted = [row for item_id in _fresh(one) if (row := space.row_of(item_id)) is not None]
            drawn = _drawn(space, one, share, chance, wanted)
            found = space.features(one.said, user, np.array([*wanted, *drawn], np.int64), left_out=one.session)
            off = np.log(share * NEGATIVES)
            for place, row in enumerate(wanted):
                rows.append(np.concatenate([found[place : place + 1], found[len(wanted) :]]))
                corrections.append(np.concatenate([[off[row]], off[drawn]]))
    return _weights(space.names, rows, corrections)


def _fresh(one: Example) -> list[str]:
    named = {mention.item_id for mention in one.said.mentions}
    return [item_id for item_id in one.wanted if item_id not in named]


def _drawn(
    space: DialogueSpace, one: Example, share: NDArray[np.float64], chance: np.random.Generator, wanted: Sequence[int]
) -> NDArray[np.int64]:
    """(NEGATIVES,) other items, neither named nor wanted; a place that fell on such a one holds another draw."""
    gone = {*wanted, *space.named_rows(one.said)[0].tolist()}
    drawn = chance.choice(len(share), 2 * NEGATIVES, p=share)
    kept = [row for row in drawn.tolist() if row not in gone][:NEGATIVES]
    if len(kept) < NEGATIVES:  # a tiny catalogue: the rest of it, again and again
        rest = [row for row in range(len(share)) if row not in gone] or [0]
        kept += [rest[n % len(rest)] for n in range(NEGATIVES - len(kept))]
    return np.array(kept, np.int64)


def _weights(names: Sequence[str], rows: Sequence[NDArray], corrections: Sequence[NDArray]) -> dict[str, float]:
    features, off = np.stack(rows).astype(np.float32), np.stack(corrections)
    flat = features.reshape(-1, len(names))
    mean, spread = flat.mean(axis=0), flat.std(axis=0)
    used = spread > 1e-6
    scaled = (features[:, :, used] - mean[used]) / spread[used]

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logp = log_softmax((scaled @ weights.astype(np.float32)) - off, axis=1)
        error = np.exp(logp)
        error[:, 0] -= 1.0
        slope = np.einsum("nc,ncf->f", error.astype(np.float32), scaled) / len(scaled)
        return float(-logp[:, 0].mean() + PRIOR * weights @ weights), slope + 2 * PRIOR * weights

    found = optimize.minimize(loss, np.zeros(int(used.sum())), jac=True, method="L-BFGS-B", options={"maxiter": 100})
    made = np.zeros(len(names))
    made[used] = found.x / spread[used]
    return dict(zip(names, made.tolist(), strict=True))


def recall(
    space: DialogueSpace,
    user_encoder: UserEncoder,
    weights: NDArray[np.float64],
    moments: Sequence[tuple[DialogueInput, Sequence[str]]],
    k: int,
) -> float:
    """Mean over moments of the share of (wanted) items not named before that are among the k best of the whole catalogue."""
    every = np.arange(len(space.sessions.counts))
    users = user_encoder.vectors([history_of(said) for said, _ in moments])
    shares: list[float] = []
    for (said, wanted), user in zip(moments, users, strict=True):
        score = space.features(said, user, every).astype(np.float64) @ weights
        named = {mention.item_id for mention in said.mentions}
        rows = [row for item_id in wanted if item_id not in named and (row := space.row_of(item_id)) is not None]
        score[space.named_rows(said)[0]] = -np.inf
        best = set(np.argsort(-score, kind="stable")[:k].tolist())
        if rows:
            shares.append(len(best.intersection(rows)) / len(rows))
    return float(np.mean(shares)) if shares else 0.0
