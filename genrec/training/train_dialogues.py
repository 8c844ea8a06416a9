"""`genrec train dialogues`: learn from dialogues in which something was recommended, prove it, save it."""

import datetime
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from genrec.chat_retrieval.dialogue_features import DialogueSpace
from genrec.chat_retrieval.dialogue_model import DialogueModel
from genrec.chat_retrieval.dialogue_retriever import FOLDER, query_encoder_of, space_of
from genrec.chat_retrieval.feature_weights import recall
from genrec.chat_retrieval.transcripts import Transcript, TranscriptReader, folds_of, learned
from genrec.data.dialogue_files import read_moments
from genrec.errors import TrainingError
from genrec.progress import SILENT, Progress
from genrec.retrieval.catalogue import Catalogue
from genrec.retrieval.user_encoders import UserEncoder
from genrec.types import Item
from genrec.workspace.folder import Workspace
from genrec.workspace.load import built_items, load_catalogue, load_user_encoder, schema_of

FOLDS = 5
PROVED = 500
"""Most moments that the proof ranks the whole catalogue for."""
AT = 10


def train_dialogues(
    workspace: Workspace,
    paths: Sequence[Path],
    *,
    seed: int = 0,
    progress: Progress = SILENT,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """The card of what was learned, which the chat serves if it found more than the untrained model, each dialogue held out.

    Raises WorkspaceError when the workspace is not built, TableError, RowError, TrainingError when the dialogues do not suffice.
    """
    catalogue = load_catalogue(workspace)
    items = built_items(workspace, catalogue.vectors)
    user_encoder, query_encoder = load_user_encoder(workspace, catalogue), query_encoder_of(workspace, catalogue, progress)
    moments = [
        replace(one, dialogue_id=f"{number} {one.dialogue_id}")  # files number their dialogues each for itself
        for number, path in enumerate(paths)
        for one in read_moments(path)
    ]
    transcripts = TranscriptReader(items, schema_of(workspace)).read(
        moments, None if query_encoder is None else query_encoder.rows
    )
    lost = sum(len(one.unresolved) for one in transcripts)
    if lost:
        tell(f"{lost} of {sum(len(one.moment.wanted) for one in transcripts)} recommended titles are not in the catalogue")
    trained, untrained, proved = _proof(transcripts, catalogue, items, user_encoder, seed, progress)
    model = learned(transcripts, catalogue, items, user_encoder, seed=seed, progress=progress)
    card = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "files": [path.name for path in paths],
        "dialogues": len(model.sessions),
        "moments": len(transcripts),
        "items": len(items),
        "models": dict(catalogue.vectors.models),
        "seed": seed,
        "validation": {"metric": f"recall@{AT}", "learned": trained, "untrained": untrained, "moments": proved},
        "serves": trained > untrained,
    }
    digest = replace(model, card=card).save(workspace.folder / FOLDER)
    return card | {"digest": digest}


def _proof(
    transcripts: Sequence[Transcript],
    catalogue: Catalogue,
    items: Sequence[Item],
    user_encoder: UserEncoder,
    seed: int,
    progress: Progress,
) -> tuple[float, float, int]:
    """Recall of what the other folds teach and of the untrained model, and how many moments were asked."""
    chance = np.random.default_rng(seed)
    plain = DialogueModel.untrained()
    bare = DialogueSpace(catalogue, items)
    sums, asked = np.zeros(2), 0
    for known, held in folds_of(transcripts, FOLDS, seed):
        fresh = [n for n in held if not set(transcripts[n].wanted).issubset(transcripts[n].found)]
        if not fresh:
            continue
        drawn = sorted(chance.choice(fresh, min(len(fresh), PROVED // FOLDS), replace=False).tolist())
        part = [(transcripts[n].said, transcripts[n].wanted) for n in drawn]
        model = learned(known, catalogue, items, user_encoder, seed=seed, progress=progress)
        space = space_of(catalogue, items, model)
        sums[0] += len(part) * recall(space, user_encoder, model.weights_of(space.names), part, AT)
        sums[1] += len(part) * recall(bare, user_encoder, plain.weights_of(bare.names), part, AT)
        asked += len(part)
    if not asked:
        raise TrainingError("no dialogue recommends an item that it did not name before", hint="Check ids and titles.")
    trained, untrained = (sums / asked).tolist()
    return round(trained, 4), round(untrained, 4), asked
