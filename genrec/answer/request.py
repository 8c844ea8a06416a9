"""What one answer is asked for: every option checked, and settled by the workspace's settings where it was not given."""

import math
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

from genrec.chat_retrieval.dialogue_features import DialogueInput
from genrec.data.cleaning import clean_text
from genrec.errors import ConfigError
from genrec.filters import Field, Filter, parse
from genrec.ranking.prompter import Method
from genrec.settings import Settings
from genrec.types import Event

Rank = Literal["llm", "off"]
Explain = Literal["llm", "template", "off"]
EvidenceOf = Literal["retriever", "ranker"]
MAX_K = 1000
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class DialogueContext:
    """What a dialogue says of one person, beside what the store has.

    history      the person's events, where they were read already; None: they are read from the store
    events       likes and dislikes of the dialogue, after the history
    events_only  these events alone say what is wanted (`more like this`); the history still is not offered again
    words        the wish in words for the ranker and for reasons; the request's query is what is searched
    said         all that was said, for a retriever that learned from dialogues; None: it is not asked

    The store need not know the person of a dialogue.
    """

    history: tuple[Event, ...] | None = None
    events: tuple[Event, ...] = ()
    events_only: bool = False
    words: str = ""
    said: DialogueInput | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked, as `settled_request` makes it. `method` None: the way that the adapter in use was trained for, or that the
    settings name. `explore`: how boldly little-known items are tried, with draws by `seed`. `dialogue`: for one person only.
    """

    user_ids: tuple[str, ...]
    k: int
    query: str
    filter: Filter | None
    exclude: frozenset[str]
    rank: Rank
    explain: Explain
    evidence: EvidenceOf
    method: Method | None
    explore: float
    seed: int
    dialogue: DialogueContext | None

    @property
    def words(self) -> str:
        """The wish in words, as the ranker and reasons see it."""
        return (self.dialogue and self.dialogue.words) or self.query


def settled_request(
    settings: Settings,
    user_ids: Iterable[str],
    k: int,
    *,
    schema: Callable[[], Mapping[str, Field]] = dict,
    query: str = "",
    filter: str | Filter | None = None,
    exclude: Iterable[str] = (),
    rank: Rank | None = None,
    explain: Explain | None = None,
    evidence: EvidenceOf | None = None,
    method: Method | None = None,
    explore: float | None = None,
    seed: int | None = None,
    dialogue: DialogueContext | None = None,
) -> Request:
    """The options of `Recommender.recommend`, checked; None: as `settings` say, and for `seed` a random one.

    `schema`: the attributes that a filter in words may name; called for such a one only.
    Raises ConfigError, FilterError, StoreError.
    """
    if checked_count("k", k) > MAX_K:
        raise ConfigError(f"k is {k}", hint=f"Ask for at most {MAX_K} items at once.")
    if not isinstance(query, str):
        raise ConfigError(f"query is {query!r:.80}", hint="It is text.")
    if isinstance(filter, str):
        filter = parse(filter, schema()) if filter.strip() else None
    return Request(
        user_ids=checked_ids("user_ids", user_ids),
        k=k,
        query=clean_text(query),
        filter=filter,
        exclude=frozenset(checked_ids("exclude", exclude)),
        rank=checked_choice("rank", settings.rank.mode if rank is None else rank, get_args(Rank)),
        explain=checked_choice("explain", settings.reasons.explain if explain is None else explain, get_args(Explain)),
        evidence=checked_choice("evidence", settings.reasons.evidence if evidence is None else evidence, get_args(EvidenceOf)),
        method=None if method is None else checked_choice("method", method, get_args(Method)),
        explore=_not_negative("explore", settings.retrieval.explore if explore is None else explore),
        seed=secrets.randbits(32) if seed is None else int(_not_negative("seed", seed)),
        dialogue=dialogue,
    )


def checked_ids(name: str, given: Iterable[str]) -> tuple[str, ...]:
    """Raises ConfigError for one text where several ids belong, and for ids that are not text."""
    ids = () if isinstance(given, str) else tuple(given)
    if isinstance(given, str) or not all(isinstance(one, str) for one in ids):
        raise ConfigError(f"{name} is {given!r:.80}", hint="It is a list of ids, each of them text.")
    return ids


def checked_count(name: str, given: int) -> int:
    """Raises ConfigError for anything but a whole number of at least 1."""
    if not isinstance(given, int) or isinstance(given, bool) or given < 1:
        raise ConfigError(f"{name} is {given!r:.80}", hint="Ask for at least 1 item.")
    return given


def checked_choice(name: str, given: T, allowed: tuple[T, ...]) -> T:
    """Raises ConfigError for a value that is not among those allowed."""
    if given not in allowed:
        raise ConfigError(f"{name} is {given!r}", hint=f"It is one of {', '.join(map(str, allowed))}.")
    return given


def _not_negative(name: str, given: float) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given < math.inf:
        raise ConfigError(f"{name} is {given!r:.80}", hint="It is a number that is not negative.")
    return given
