"""What do likes and dislikes do to the candidates?

The last fifth of every person's events is held out. Of the rest, ratings of 2 and less become dislikes (and leave training), or
those of 5 among the last ten likes. Asked is the full ranking without the history: recall of held-out items rated 4 or 5 in the
first 50, and how many held-out items rated 1 or 2 stand there. Settings are chosen on one half of the people, the other is told.

    python -m eval.retrieval.feedback -w WORKSPACE [--learned]

Reads the store and the text vectors of a built workspace whose events have values from 1 to 5; writes eval/results/feedback.json.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.provenance import RESULTS_FOLDER, provenance
from genrec.retrieval.catalogue import Catalogue
from genrec.retrieval.item_vectors import ModalityVectors
from genrec.retrieval.sequences import Sequences
from genrec.retrieval.systems import Content
from genrec.retrieval.user_encoders import LearnedUserEncoder, MeanUserEncoder, UserEncoder
from genrec.retrieval.zero_shot import behaviour_of
from genrec.settings.sections import FeedbackSettings, RetrievalSettings
from genrec.settings.train_sections import RetrieverTrainSettings
from genrec.training.learned_system import Learned
from genrec.types import DISLIKE, LIKE, Event
from genrec.workspace.folder import Workspace
from genrec.workspace.load import load_content

RESULTS = RESULTS_FOLDER / "feedback.json"
HELD_OUT = 0.2
GOOD, BAD = 4.0, 2.0
TOP = 50
DISLIKES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
LIKES = (1.0, 1.5, 2.0, 3.0, 5.0)

Make = Callable[[FeedbackSettings], UserEncoder]


def split(events: Sequences) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(n,) events of the history, and the held-out last fifth of each person."""
    later = events.places >= np.ceil((1 - HELD_OUT) * np.repeat(events.lengths, events.lengths))
    return ~later, later


def histories(events: Sequences, kept: NDArray[np.bool_], say: str) -> list[list[Event]]:
    """Histories as the store has them, with ratings turned into likes or dislikes where `say` asks for it."""
    found: list[list[Event]] = [[] for _ in events.user_ids]
    from_end = np.repeat(events.lengths, events.lengths) - events.places
    for n in np.flatnonzero(kept):
        value: float | None = float(events.values[n])
        kind = "interaction"
        if say == DISLIKE and value is not None and value <= BAD:
            kind, value = DISLIKE, None
        elif say == LIKE and value == 5.0 and from_end[n] <= 10 / (1 - HELD_OUT):
            kind, value = LIKE, None
        user = int(events.users[n])
        item = events.item_ids[int(events.items[n])]
        found[user].append(Event(user_id=events.user_ids[user], item_id=item, timestamp=float(n), kind=kind, value=value))
    return found


def fitted(train: Sequences, content: Content, *, learned: bool) -> tuple[Make, NDArray[np.float32]]:
    """People with these settings of feedback, and the rows that they look for."""
    made, retrieval = behaviour_of(train, RetrievalSettings()), RetrievalSettings()
    matrices = {**content.vectors.matrices, "behaviour": made.vectors}
    present = {**content.vectors.present, "behaviour": made.present}
    vectors = ModalityVectors(content.vectors.item_ids, matrices, present, written=content.vectors.written)
    if not learned:
        catalogue = Catalogue(vectors, made.popularity, retrieval)
        return (lambda how: MeanUserEncoder(catalogue, retrieval, how)), catalogue.fused
    from genrec.training.retriever_training import Trainer

    system = Learned(Trainer(retrieval=retrieval, settings=RetrieverTrainSettings(), tell=print), "learned")
    system.fit(train, content, _silent())
    assert system.made is not None
    retriever, items = system.made
    catalogue = Catalogue(vectors, made.popularity, retrieval, items)
    return (lambda how: LearnedUserEncoder(catalogue, retriever, items, how)), items.rows


def _silent() -> Any:
    from genrec.progress import SILENT

    return SILENT


def figures(
    people: UserEncoder, rows: NDArray[np.float32], asked: list[list[Event]], events: Sequences, later: NDArray[np.bool_]
) -> dict[str, NDArray[np.float64]]:
    """Of each person: recall of good items in the first 50, and bad items there; NaN where there is none to find."""
    good = [set(events.items[o][later[o] & (events.values[o] >= GOOD)].tolist()) for o in _people(events)]
    bad = [set(events.items[o][later[o] & (events.values[o] <= BAD)].tolist()) for o in _people(events)]
    place = {item_id: n for n, item_id in enumerate(events.item_ids)}
    recall, worse = np.full(len(asked), np.nan), np.full(len(asked), np.nan)
    for user, row in enumerate(people.vectors(asked)):
        if row is None:
            continue
        scores = rows @ row
        scores[[place[event.item_id] for event in asked[user]]] = -np.inf
        top = set(np.argpartition(-scores, TOP)[:TOP].tolist())
        if good[user]:
            recall[user] = len(top & good[user]) / min(TOP, len(good[user]))
        if bad[user]:
            worse[user] = len(top & bad[user])
    return {"good": recall, "bad": worse}


def _people(events: Sequences) -> list[slice]:
    return [slice(int(a), int(b)) for a, b in zip(events.offsets, events.offsets[1:], strict=False)]


def table(make: Make, rows: NDArray[np.float32], events: Sequences) -> dict[str, Any]:
    """Every setting, by half of the people: the first chooses, the second is told."""
    kept, later = split(events)
    halves = np.arange(len(events.user_ids)) % 2 == 0
    found: dict[str, Any] = {}
    for say, grid in ((DISLIKE, DISLIKES), (LIKE, LIKES)):
        asked = histories(events, kept, say)
        said = np.array([any(event.kind == say for event in one) for one in asked])
        for strength in grid:
            got = figures(make(FeedbackSettings(**{say: strength})), rows, asked, events, later)
            found[f"{say} {strength:g}"] = {
                half: {name: round(float(np.nanmean(values[said & part])), 4) for name, values in got.items()}
                for half, part in (("chosen on", halves), ("told", ~halves))
            }
            print(f"{say} {strength:g}", found[f"{say} {strength:g}"], flush=True)
        got = figures(make(FeedbackSettings()), rows, histories(events, kept, ""), events, later)
        found[f"no word on it ({say})"] = {
            half: {name: round(float(np.nanmean(values[said & part])), 4) for name, values in got.items()}
            for half, part in (("chosen on", halves), ("told", ~halves))
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-w", "--workspace", type=Path, required=True)
    parser.add_argument("--learned", action="store_true", help="train the retriever, too")
    parser.add_argument("--name", default="movies")
    asked = parser.parse_args()
    with Workspace.open(asked.workspace) as workspace:
        events, content = load_content(workspace)
    kept, _ = split(events)
    train = events.where(kept & (events.values > BAD))
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    for name in ["fused", *(["learned"] if asked.learned else [])]:
        start = time.perf_counter()
        make, rows = fitted(train, content, learned=name == "learned")
        found = table(make, rows, events)
        results.setdefault(asked.name, {})[name] = {**provenance(seed=0), "seconds": round(time.perf_counter() - start), **found}
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
