"""Candidates for a dialogue: one call of the vector engine finds a pool, features of the dialogue order it.

The pool is what the engine finds by the person (mentions and history), by the meaning and by the words of the latest turns, what
is popular, and what known dialogues name beside the items of this one. Filters and exclusions hold in the engine for all of it.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from genrec.chat_retrieval.dialogue_features import DialogueInput, DialogueSpace
from genrec.chat_retrieval.dialogue_model import MANIFEST, RETRAIN, DialogueModel
from genrec.errors import ConfigError, WeightsError, WorkspaceError
from genrec.filters import And, Filter, In
from genrec.index.protocol import Dense, Leg, Lexical, Query, VectorIndex
from genrec.progress import SILENT, Progress
from genrec.retrieval.catalogue import FUSED, MOST_POPULAR, POPULAR, Catalogue
from genrec.retrieval.item_vectors import TEXT
from genrec.retrieval.user_encoders import UserEncoder
from genrec.types import Candidate, Event, Item
from genrec.workspace.folder import Workspace
from genrec.workspace.load import same_weights

DIALOGUE = "dialogue"
"""Name of the score in `Candidate.sources`."""
POOL = 600
"""Fewest items that are found before they are ordered; half as many again of each other kind."""
RECENT = 3
"""Latest turns that `recent` reads."""
MOST_CHARS = 1500
"""Of the turns that `whole` reads, the latest."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DialogueAsk:
    """`history`: events, oldest first, mentions of the dialogue last; what is disliked must not be among them. `exclude`: items
    that may not be found; neither history nor mentions are left out of themselves.
    """

    said: DialogueInput
    history: Sequence[Event] = ()
    filter: Filter | None = None
    exclude: frozenset[str] = frozenset()


def texts_of(turns: Sequence[str]) -> tuple[str, str]:
    """What a text encoder is to read: the latest turns, and all of them. Both empty when nothing was said."""
    told = [turn.strip() for turn in turns if turn.strip()]
    return " ".join(told[-RECENT:]), " ".join(told)[-MOST_CHARS:]


class DialogueRetriever:
    """Finds candidates in `index`, which holds the catalogue of `space`. `model` weighs the features."""

    def __init__(self, index: VectorIndex, space: DialogueSpace, user_encoder: UserEncoder, model: DialogueModel) -> None:
        self._index, self._space, self._user_encoder, self._model = index, space, user_encoder, model
        self._weights = model.weights_of(space.names)

    def candidates(self, asks: Sequence[DialogueAsk], k: int) -> list[list[Candidate]]:
        """At most k candidates each, best first, ties by item id. `score` is log p(item) over the pool, nats; fewer than k when
        filters and exclusions leave fewer. Raises ConfigError for k < 1, IndexFault from the engine.
        """
        if k < 1:
            raise ConfigError(f"{k} candidates were asked for", hint="Ask for at least 1.")
        users = self._user_encoder.vectors([ask.history for ask in asks])
        plans = [self._queries(ask, user, max(k, POOL)) for ask, user in zip(asks, users, strict=True)]
        found = iter(self._index.search([query for plan in plans for query in plan]))
        answers = []
        for ask, user, plan in zip(asks, users, plans, strict=True):
            pool: dict[str, dict[str, float]] = {}
            for _ in plan:
                for hit in next(found):
                    pool.setdefault(hit.item_id, {}).update(hit.sources)
            answers.append(self._ordered(ask, user, pool, k))
        return answers

    def _queries(self, ask: DialogueAsk, user: NDArray[np.float32] | None, pool: int) -> list[Query]:
        legs: list[Leg] = [] if user is None else [Dense(FUSED, user)]
        if ask.said.rows is not None:
            legs += [Dense(TEXT, row) for row in ask.said.rows if row.any()]
        recent, _ = texts_of(ask.said.turns)
        wanted = " ".join(value for _, value in ask.said.wanted)
        legs += [Lexical(f"{recent} {wanted}")] if recent or wanted else []
        # each by itself: what one way finds may be far down in all others
        queries = [Query(legs=[leg], limit=pool // 2, filter=ask.filter, exclude=ask.exclude) for leg in legs]
        popular = [Dense(POPULAR, MOST_POPULAR)]
        queries.append(Query(legs=popular, limit=pool // 2, filter=ask.filter, exclude=ask.exclude))
        beside = self._space.neighbours(ask.said, pool)
        if beside and self._model.learned:
            among = In("item_id", tuple(beside))
            both = among if ask.filter is None else And((ask.filter, among))
            queries.append(Query(legs=popular, limit=pool, filter=both, exclude=ask.exclude))
        return queries

    def _ordered(
        self, ask: DialogueAsk, user: NDArray[np.float32] | None, pool: dict[str, dict[str, float]], k: int
    ) -> list[Candidate]:
        ids = sorted(pool)
        if not ids:
            return []
        rows = np.array([self._space.catalogue.vectors.index_of(item_id) for item_id in ids], np.int64)
        score = log_softmax(self._space.features(ask.said, user, rows).astype(np.float64) @ self._weights)
        return [
            Candidate(item_id=ids[place], score=float(score[place]), sources={**pool[ids[place]], DIALOGUE: float(score[place])})
            for place in np.argsort(-score, kind="stable")[:k]
        ]


if TYPE_CHECKING:
    from genrec.models.encoders import TextEncoder

FOLDER = "dialogues"


def load_dialogue_model(workspace: Workspace) -> DialogueModel | None:
    """What was learned from dialogues; None where nothing was. Raises WorkspaceError when it is damaged."""
    folder = workspace.folder / FOLDER
    return DialogueModel.load(folder) if (folder / MANIFEST).exists() else None


def serving_model(workspace: Workspace) -> DialogueModel:
    """The learned one where it won on its own dialogues, cross-fitted; else the untrained one. Raises WorkspaceError."""
    model = load_dialogue_model(workspace)
    return model if model is not None and model.card.get("serves", True) else DialogueModel.untrained()


def dialogue_retriever(
    workspace: Workspace,
    catalogue: Catalogue,
    user_encoder: UserEncoder,
    items: Sequence[Item],
    model: DialogueModel | None = None,
) -> DialogueRetriever:
    """`items` in the order of the catalogue; without `model` the serving one. Raises WorkspaceError."""
    weighs = serving_model(workspace) if model is None else model
    return DialogueRetriever(workspace.index, space_of(catalogue, items, weighs), user_encoder, weighs)


def space_of(catalogue: Catalogue, items: Sequence[Item], model: DialogueModel) -> DialogueSpace:
    """The features of the catalogue with what the model knows. Raises WorkspaceError when it learned from another encoder."""
    trained, served = dict(model.card.get("models", {})).get(TEXT, ""), catalogue.vectors.models.get(TEXT, "")
    if trained and not same_weights(trained, served):
        raise WorkspaceError(f"what dialogues taught was read by {trained}, the catalogue's texts are by {served}", hint=RETRAIN)
    ids = catalogue.vectors.item_ids
    return DialogueSpace(catalogue, items, model.sessions_over(ids), model.echoes_over(ids))


@dataclass(frozen=True, slots=True)
class QueryEncoder:
    """The text encoder that made the catalogue's vectors, for what people say."""

    encoder: "TextEncoder"
    progress: Progress = SILENT

    def rows(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n, d) unit rows."""
        return self.encoder.encode(texts, role="query", progress=self.progress)

    def tokens(self, texts: Sequence[str]) -> int:
        """How many the encoder reads."""
        return self.encoder.tokens(texts)


def query_encoder_of(workspace: Workspace, catalogue: Catalogue, progress: Progress = SILENT) -> QueryEncoder | None:
    """None where the catalogue has no text vectors. Raises WeightsError when they were made by another encoder."""
    if TEXT not in catalogue.dims():
        return None
    encoder, made_by = workspace.text_encoder(progress), catalogue.vectors.models.get(TEXT, "")
    if not same_weights(encoder.id, made_by):
        hint = "Run `genrec build`, or set models.text back."
        raise WeightsError(f"the text vectors were made by {made_by}, the dialogue would be by {encoder.id}", hint=hint)
    return QueryEncoder(encoder, progress)


class DialogueRetrieverLoader:
    """The dialogue retriever that serves a workspace, loaded when first needed. Safe to share among threads."""

    def __init__(self, workspace: Workspace, catalogue: Catalogue, user_encoder: UserEncoder) -> None:
        self._workspace, self._catalogue, self._user_encoder = workspace, catalogue, user_encoder
        self._loading = threading.Lock()
        self._loaded: DialogueRetriever | None = None
        self._looked = False
        self.digest = ""
        """Of what was learned; empty before it is loaded, and where nothing serves."""

    def retriever(self) -> DialogueRetriever | None:
        """None where nothing was learned from dialogues, or what was lost to its baseline. Raises WorkspaceError, StoreError."""
        with self._loading:
            if not self._looked:
                model = load_dialogue_model(self._workspace)
                if model is not None and model.card.get("serves", True):
                    items = [item for batch in self._workspace.store.all_items() for item in batch]
                    known = {item.item_id: item for item in items}
                    ordered = [known.get(one, Item(item_id=one)) for one in self._catalogue.vectors.item_ids]
                    self._loaded = dialogue_retriever(self._workspace, self._catalogue, self._user_encoder, ordered, model)
                    self.digest = model.digest
                self._looked = True
            return self._loaded
