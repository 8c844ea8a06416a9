"""The records that travel between rooms: frozen, slotted, keyword-only.

`Item` and `User` are equal when their ids are; all other fields are content, not identity.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

Scalar = str | int | float | bool
AttributeValue = Scalar | tuple[Scalar, ...]
"""A typed attribute: one scalar, or a tuple of scalars for a list column."""

AttributeType = Literal["text", "number", "boolean"]


def type_of(value: Scalar) -> AttributeType:
    """The attribute type of one scalar."""
    if isinstance(value, bool):
        return "boolean"
    return "text" if isinstance(value, str) else "number"


def scalars(value: AttributeValue | None) -> tuple[Scalar, ...]:
    """The values of an attribute: the one it has, those of its list, none for None."""
    if value is None:
        return ()
    return value if isinstance(value, tuple) else (value,)


NO_ATTRIBUTES: Mapping[str, AttributeValue] = MappingProxyType({})
NO_SOURCES: Mapping[str, float] = MappingProxyType({})
NOTHING: Mapping[str, Any] = MappingProxyType({})
TAGS = "tags"
"""The list attribute that a caption's tags become."""

Feedback = Literal["like", "dislike", "seen", "not-now"]
LIKE: Feedback = "like"
DISLIKE: Feedback = "dislike"
SEEN: Feedback = "seen"
NOT_NOW: Feedback = "not-now"
FEEDBACK: tuple[Feedback, ...] = (LIKE, DISLIKE, SEEN, NOT_NOW)
"""Kinds of events that a person states about an item."""
NOT_TASTE: frozenset[str] = frozenset({DISLIKE, SEEN, NOT_NOW})
"""Kinds of events that do not count in favour of their item: neither co-occurrence nor popularity is learned from them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing that can be recommended. `image` is a path below the workspace's media folder; `audio` and `video`
    are paths or URLs as their table has them.

    `generated`: those of `title`, `text` and `tags` (the attribute of that name) that a model wrote.
    """

    item_id: str
    platform: str = field(default="", compare=False)
    title: str = field(default="", compare=False)
    text: str = field(default="", compare=False)
    attributes: Mapping[str, AttributeValue] = field(default_factory=lambda: NO_ATTRIBUTES, compare=False)
    image: str | None = field(default=None, compare=False)
    audio: str | None = field(default=None, compare=False)
    video: str | None = field(default=None, compare=False)
    generated: tuple[str, ...] = field(default=(), compare=False)


CaptionSource = Literal["llm", "picture", "template", "human"]
HUMAN: CaptionSource = "human"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCaption:
    """What was written about an item that lacks text, and by whom. None: that part was not written.

    source     `llm` (from evidence in words), `picture` (by a vision-language model), `template`, `human`
    model      the LLM's id, `adapter` its LoRA adapter, `prompt` the digest of its template; empty for a human
    evidence   JSON: what it was written from, and where each tag came from
    doubt      0 (sure) to 1; `note` says why
    imported   it came from a file: a later run leaves it alone
    made_at    seconds since 1970 UTC
    """

    item_id: str
    title: str | None = None
    text: str | None = None
    tags: tuple[str, ...] | None = None
    language: str = ""
    source: CaptionSource = "llm"
    model: str = ""
    adapter: str = ""
    prompt: str = ""
    evidence: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    evidence_digest: str = ""
    doubt: float = 0.0
    note: str = ""
    imported: bool = False
    made_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """One person. `interests` are words the person stated (used before there is any history)."""

    user_id: str
    interests: tuple[str, ...] = field(default=(), compare=False)
    attributes: Mapping[str, AttributeValue] = field(default_factory=lambda: NO_ATTRIBUTES, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One action. `timestamp`: seconds since 1970 UTC, or the position in the sequence where the table has no times."""

    user_id: str
    item_id: str
    timestamp: float = 0.0
    kind: str = "interaction"
    value: float | None = None
    platform: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Triple:
    """One fact of a knowledge graph: `head` stands in `relation` to `tail`. Each end is an item id or any other name."""

    head: str
    relation: str
    tail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An item that retrieval found. `sources`: its score in each source that found it (`fused`, `text`, `bm25`, `popular`…)."""

    item_id: str
    score: float
    sources: Mapping[str, float] = field(default_factory=lambda: NO_SOURCES)


EvidenceKind = Literal["history", "attribute", "query", "interest", "popularity", "caption"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A computed fact behind a recommendation; a reason may say nothing else.

    history     `item_ids` = (past item,), `value` = `liked` (valued at or above the person's own mean) or `chosen`,
                `weight` = how much of the score is lost when it is left out: a share in (0, 1], or nats of the
                ranker's score; 0: it is cited only for what it shares
    attribute   the item's `attribute` has `value`; `item_ids` = cited past items that have it too; `weight` = share of the
                catalogue that lacks it
    query       `value` = a word of the query that the item's own text contains
    interest    `value` = a stated interest that the item's own text contains
    popularity  `value` = number of people with an event on it, as text
    caption     `value` = what genrec wrote about the item; it did not move the score
    """

    kind: EvidenceKind
    item_ids: tuple[str, ...] = ()
    attribute: str = ""
    value: str = ""
    weight: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One or two sentences. `verified`: every title, name, number and value in `text` occurs in `evidence`.

    `generated`: ids of the items whose title, text or tags, as `text` or `evidence` has them, a model wrote.
    """

    text: str
    evidence: tuple[Evidence, ...] = ()
    verified: bool = False
    source: Literal["llm", "template", "off"] = "template"
    generated: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A step of the answer. `status` is `ok`, `off` (asked for), or `degraded` (failed or missing; `note` says why)."""

    name: str
    milliseconds: float
    status: Literal["ok", "off", "degraded"] = "ok"
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What an answer did: its stages in order, the models it used by role, the digests of its prompts by name."""

    stages: tuple[Stage, ...] = ()
    models: Mapping[str, str] = field(default_factory=dict)
    prompts: Mapping[str, str] = field(default_factory=dict)

    @property
    def degraded(self) -> bool:
        return any(stage.status == "degraded" for stage in self.stages)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """One row of an answer; `rank` counts from 1."""

    user_id: str
    rank: int
    item: Item
    score: float
    reason: Reason
    trace: Trace
    sources: Mapping[str, float] = field(default_factory=lambda: NO_SOURCES)
