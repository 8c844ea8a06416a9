"""Records to rows and back. What cannot be stored the same way on every database is refused here, before anything is written."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any

from sqlalchemy import RowMapping

from genrec.errors import DataError
from genrec.types import TAGS, AttributeValue, Event, Item, Triple, User

MAX_KEY_CHARS = 256
"""Longest id and attribute name. With `MAX_NAME_CHARS` it keeps every index entry below PostgreSQL's 2,704 bytes."""
MAX_NAME_CHARS = 64
"""Longest platform, and kind of event."""
MAX_RELATION_CHARS = 128
"""Longest relation of a triple."""

Row = dict[str, Any]


def is_text(value: object) -> bool:
    """Whether every database takes the value as text: a string without NUL and without half a surrogate pair."""
    if not isinstance(value, str) or "\x00" in value:
        return False
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def is_key(value: object) -> bool:
    """Whether the value can be an id at all."""
    return is_text(value) and 0 < len(str(value)) <= MAX_KEY_CHARS


def to_json(value: object) -> str:
    """Compact JSON. Raises ValueError for NaN and infinity, TypeError for what JSON has no form for."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def refuse(what: str, field: str, value: object, need: str) -> DataError:
    shown = repr(value)
    shown = shown if len(shown) <= 60 else shown[:60] + "…"
    return DataError(f"{what}: {field} is {shown}, not {need}", hint="Mend the record; nothing of this call was kept.")


def check_key(what: str, field: str, value: object) -> None:
    if not is_key(value):
        raise refuse(what, field, value, f"text of 1 to {MAX_KEY_CHARS} characters without NUL or half surrogates")


def _name(what: str, field: str, value: object) -> None:
    if not is_text(value) or len(str(value)) > MAX_NAME_CHARS:
        raise refuse(what, field, value, f"text of at most {MAX_NAME_CHARS} characters without NUL or half surrogates")


def check_text(what: str, field: str, value: object) -> None:
    if not is_text(value):
        raise refuse(what, field, value, "text without NUL or half surrogates")


def _scalar(what: str, field: str, value: object) -> None:
    if isinstance(value, str):
        check_text(what, field, value)
    elif isinstance(value, float) and not math.isfinite(value):
        raise refuse(what, field, value, "a finite number")
    elif not isinstance(value, int | float):  # bool is an int
        raise refuse(what, field, value, "text, a number, true or false, or a list of these")


def _attributes(what: str, attributes: Mapping[str, AttributeValue]) -> dict[str, AttributeValue]:
    for name, value in attributes.items():
        check_key(what, "name of an attribute", name)
        field = f"attribute {name!r}"
        for part in value if isinstance(value, list | tuple) else (value,):
            _scalar(what, field, part)
    return dict(attributes)


def with_digest(row: Row) -> Row:
    """Add the checksum of the content; the order of the attributes does not count, 1, 1.0 and true are three values."""
    content = json.dumps(row, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return {**row, "digest": blake2b(content.encode("utf-8"), digest_size=16).hexdigest()}


def item_row(item: Item) -> Row:
    """The item's own row, without its `generated` parts: a caption never becomes an item's own text.

    Raises DataError naming the item and the field.
    """
    item = without_generated(item)
    what = f"item {item.item_id!r:.80}"
    check_key(what, "item_id", item.item_id)
    _name(what, "platform", item.platform)
    check_text(what, "title", item.title)
    check_text(what, "text", item.text)
    for field in ("image", "audio", "video"):
        if (path := getattr(item, field)) is not None:
            check_text(what, field, path)
    return with_digest(
        {
            "item_id": item.item_id,
            "platform": item.platform,
            "title": item.title,
            "text": item.text,
            "attributes": _attributes(what, item.attributes),
            "image": item.image,
            "audio": item.audio,
            "video": item.video,
        }
    )


def without_generated(item: Item) -> Item:
    if not item.generated:
        return item
    parts: Row = {name: "" for name in ("title", "text") if name in item.generated}
    if TAGS in item.generated:
        parts["attributes"] = {name: value for name, value in item.attributes.items() if name != TAGS}
    return replace(item, **parts, generated=())


def user_row(user: User) -> Row:
    """Raises DataError naming the user and the field."""
    what = f"user {user.user_id!r:.80}"
    check_key(what, "user_id", user.user_id)
    for interest in user.interests:
        check_text(what, "an interest", interest)
    return with_digest(
        {"user_id": user.user_id, "interests": list(user.interests), "attributes": _attributes(what, user.attributes)}
    )


def event_row(event: Event) -> Row:
    """Raises DataError naming the user, the item and the field."""
    what = f"event of user {event.user_id!r:.80} on item {event.item_id!r:.80}"
    check_key(what, "user_id", event.user_id)
    check_key(what, "item_id", event.item_id)
    _name(what, "kind", event.kind)
    _name(what, "platform", event.platform)
    for field, number in (("timestamp", event.timestamp), ("value", event.value)):
        if number is None and field == "value":
            continue
        if not isinstance(number, int | float) or not math.isfinite(number):
            raise refuse(what, field, number, "a finite number")
    return {
        "user_id": event.user_id,
        "timestamp": float(event.timestamp),
        "item_id": event.item_id,
        "kind": event.kind,
        "platform": event.platform,
        "value": None if event.value is None else float(event.value),
    }


def triple_row(triple: Triple) -> Row:
    """Raises DataError naming the triple and the field."""
    what = f"triple {triple.head!r:.80} {triple.relation!r:.80} {triple.tail!r:.80}"
    check_key(what, "head", triple.head)
    check_key(what, "relation", triple.relation)
    if len(triple.relation) > MAX_RELATION_CHARS:
        raise refuse(what, "relation", triple.relation, f"text of at most {MAX_RELATION_CHARS} characters")
    check_key(what, "tail", triple.tail)
    return {"head": triple.head, "relation": triple.relation, "tail": triple.tail}


def _frozen(attributes: Mapping[str, Any]) -> dict[str, AttributeValue]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in attributes.items()}


def to_item(row: RowMapping) -> Item:
    return Item(
        item_id=row["item_id"],
        platform=row["platform"],
        title=row["title"],
        text=row["text"],
        attributes=_frozen(row["attributes"]),
        image=row["image"],
        audio=row["audio"],
        video=row["video"],
    )


def to_user(row: RowMapping) -> User:
    return User(user_id=row["user_id"], interests=tuple(row["interests"]), attributes=_frozen(row["attributes"]))


def to_event(row: Sequence[Any]) -> Event:
    """`row` holds the columns of `EVENT_FIELDS`, in that order."""
    user_id, item_id, timestamp, kind, value, platform = row
    return Event(user_id=user_id, item_id=item_id, timestamp=timestamp, kind=kind, value=value, platform=platform)


EVENT_FIELDS = ("user_id", "item_id", "timestamp", "kind", "value", "platform")
