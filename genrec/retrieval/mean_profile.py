"""The user as the weighted mean of the fused vectors of past items, and what each past item contributes to a score."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genrec.errors import DataError
from genrec.retrieval.item_vectors import unit_rows
from genrec.retrieval.sequences import Sequences
from genrec.types import LIKE, Event


@dataclass(frozen=True, slots=True)
class UserVector:
    """`vector` (D,) float32 of length 1 (zero when the items cancel out): `weights` @ `rows` + `away`, normalised.

    `item_ids` are the distinct past items with a positive weight, the most recent last; `weights` (H,) sum to 1; `rows` (H, D).
    `away` (D,) leads away from disliked items.
    """

    vector: NDArray[np.float32]
    item_ids: tuple[str, ...]
    weights: NDArray[np.float32]
    rows: NDArray[np.float32]
    away: NDArray[np.float32]


def event_weights(events: Sequence[Event], *, half_life: float, negative_value: float, like: float = 1.0) -> NDArray[np.float64]:
    """(n,) weights of events that are ordered oldest first: 0.5^(places from the end / half_life).

    The weight of an event valued below the mean of the user's valued events is multiplied by `negative_value`, that of a `like`
    by `like`. A like needs no value, so that two scales are never mixed.
    """
    weights = 0.5 ** (np.arange(len(events))[::-1] / half_life)
    values = np.array([np.nan if event.value is None else event.value for event in events], float)
    valued = np.isfinite(values)
    if valued.any():
        weights[valued & (values < values[valued].mean() - 1e-9)] *= negative_value
    weights[np.array([event.kind == LIKE for event in events], bool)] *= like
    return weights


def user_vector(
    item_ids: Sequence[str],
    rows: NDArray[np.float32],
    weights: NDArray[np.floating],
    push: NDArray[np.floating] | None = None,
) -> UserVector | None:
    """`rows` (n, D) and `weights` (n,) belong to events oldest first; a repeated item is one entry with its weights added.

    `push` (D,): added to the mean in units of the mean's length (Rocchio's negative feedback, 1971, with the opposite sign).
    None when no weight is positive. Raises DataError when the lengths differ.
    """
    if not len(item_ids) == len(rows) == len(weights):
        raise DataError(f"profile: {len(item_ids)} items, {len(rows)} vectors and {len(weights)} weights")
    summed: dict[str, float] = {}
    row_of: dict[str, int] = {}
    for place, (item_id, weight) in enumerate(zip(item_ids, weights, strict=True)):
        if weight > 0:
            summed[item_id] = summed.pop(item_id, 0.0) + float(weight)  # popped first, so that the latest event gives the place
            row_of[item_id] = place
    if not summed:
        return None
    share = np.array(list(summed.values()))
    share = (share / share.sum()).astype(np.float32)
    kept = np.ascontiguousarray(rows[[row_of[item_id] for item_id in summed]], dtype=np.float32)
    mean = share @ kept
    away = np.zeros_like(mean) if push is None else (float(np.linalg.norm(mean)) * push).astype(np.float32)
    return UserVector(_unit(mean + away), tuple(summed), share, kept, away)


def leave_one_out(user: UserVector, shown: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n_shown, H) float32: the share by which each shown item's score falls when a history item is left out.

    The score s is the product of the user vector with the item's vector `shown` (n_shown, D). The vector without history item h
    is computed exactly, its length included and with `away` unchanged: (s - s₋ₕ) / s, limited to [-1, 1]; a negative share means
    that the score rises. The only item of a history has share 1; an item whose score is not positive has share 0.
    """
    rows = user.rows.astype(np.float64)  # (H, D)
    weights = user.weights.astype(np.float64)
    parts = weights[:, None] * rows  # what each item adds
    total = parts.sum(axis=0) + user.away
    products = shown.astype(np.float64) @ parts.T  # (n_shown, H)
    whole = shown.astype(np.float64) @ total  # (n_shown,)
    score = whole / max(float(np.linalg.norm(total)), 1e-12)
    rest = total - parts if len(parts) > 1 else np.zeros_like(parts)  # without any past item there is no score
    lengths = np.linalg.norm(rest, axis=1)  # (H,) of the mean without h
    without = np.divide(
        whole[:, None] - products,
        lengths,
        out=np.zeros_like(products),
        where=np.broadcast_to(lengths > 1e-9, products.shape),
    )
    positive = score > 1e-9
    fall = np.divide(score[:, None] - without, score[:, None], out=np.zeros_like(products), where=positive[:, None])
    return np.clip(fall, -1.0, 1.0).astype(np.float32)


def recency_means(rows: NDArray[np.float32], histories: Sequences, half_life: float, latest: int) -> NDArray[np.float32]:
    """(U, D) of length 1: mean of the rows of each person's latest events, weights halved every `half_life`; zero without any."""
    from_end = np.repeat(histories.lengths, histories.lengths) - 1 - histories.places
    weight = np.where((from_end < latest) & np.any(rows != 0, axis=1)[histories.items], 0.5 ** (from_end / half_life), 0.0)
    people = np.zeros((len(histories.user_ids), rows.shape[1]), np.float32)
    for user in np.flatnonzero(histories.lengths):
        events = slice(histories.offsets[user], histories.offsets[user + 1])
        people[user] = weight[events].astype(np.float32) @ rows[histories.items[events]]
    return unit_rows(people)


def _unit(vector: NDArray) -> NDArray[np.float32]:
    length = float(np.linalg.norm(vector))
    return (vector / length if length > 1e-12 else np.zeros_like(vector)).astype(np.float32)
