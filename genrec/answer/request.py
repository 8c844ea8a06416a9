"""What one answer is asked for, every option settled."""

from dataclasses import dataclass
from typing import Literal

from genrec.chat_retrieval.dialogue_features import Said
from genrec.filters import Filter
from genrec.types import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What a dialogue says of one person, beside what the store has.

    past     the person's history, where it was read already; None: it is read from the store
    events   likes and dislikes of the dialogue, after the person's history
    alone    these events alone say what is wanted (`more like this`); the history still is not offered again
    new      the store need not know the person
    words    the wish in words for the ranker and for reasons; the request's query is what is searched
    said     all that was said, for a retriever that learned from dialogues; None: it is not asked
    """

    past: tuple[Event, ...] | None = None
    events: tuple[Event, ...] = ()
    alone: bool = False
    new: bool = False
    words: str = ""
    said: Said | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked. `method` None: the way that the adapter in use was trained for, or that the settings name.

    `moment`: what a dialogue adds, for a request of one person. `explore`: how boldly little-known items are tried, with draws by
    `seed`.
    """

    user_ids: tuple[str, ...]
    k: int
    query: str
    filter: Filter | None
    exclude: frozenset[str]
    rank: Literal["llm", "off"]
    explain: Literal["llm", "template", "off"]
    evidence: Literal["retriever", "ranker"]
    method: Literal["likelihood", "labels", "markers"] | None
    moment: Moment = Moment()
    explore: float = 0.0
    seed: int = 0

    @property
    def words(self) -> str:
        """The wish in words, as the ranker and reasons see it."""
        return self.moment.words or self.query
