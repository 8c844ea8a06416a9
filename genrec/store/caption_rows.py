"""Captions in the store: beside the rows of their items, laid over them when items are read.

Of each part (title, text, tags) what a person wrote wins over the item's own, which wins over what a model wrote.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, get_args

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, delete, func, select

from genrec.errors import DataError
from genrec.store.records import CaptionCounts, Changes
from genrec.store.rows import Row, check_key, check_text, refuse, to_json, with_digest
from genrec.store.tables import captions, items
from genrec.store.transactions import write_rows
from genrec.types import HUMAN, TAGS, AttributeValue, CaptionSource, Item, StoredCaption

KEY = ("item_id", "human")
_TEXTS = ("language", "model", "adapter", "prompt", "evidence_digest", "note")
_LAID_OVER = [captions.c[name] for name in ("item_id", "human", "title", "text", "tags")]


def caption_row(caption: StoredCaption) -> Row:
    """Raises DataError naming the item and the field."""
    what = f"caption of item {caption.item_id!r:.80}"
    check_key(what, "item_id", caption.item_id)
    for field in ("title", "text"):
        if (text := getattr(caption, field)) is not None:
            check_text(what, field, text)
    for tag in caption.tags or ():
        check_text(what, "a tag", tag)
    for field in _TEXTS:
        check_text(what, field, getattr(caption, field))
    if caption.source not in get_args(CaptionSource):
        raise refuse(what, "source", caption.source, f"one of {', '.join(get_args(CaptionSource))}")
    if not 0.0 <= caption.doubt <= 1.0:  # also refuses NaN
        raise refuse(what, "doubt", caption.doubt, "a number from 0 to 1")
    if not math.isfinite(caption.made_at):
        raise refuse(what, "made_at", caption.made_at, "a finite number")
    row = {
        "item_id": caption.item_id,
        "human": caption.source == HUMAN,
        "title": caption.title,
        "text": caption.text,
        "tags": None if caption.tags is None else list(dict.fromkeys(caption.tags)),
        "source": caption.source,
        "evidence": _json(what, dict(caption.evidence)),
        "doubt": float(caption.doubt),
        "imported": bool(caption.imported),
        **{field: getattr(caption, field) for field in _TEXTS},
    }
    return with_digest(row) | {"made_at": float(caption.made_at)}  # the same words at another time are no change


def _json(what: str, evidence: dict[str, Any]) -> dict[str, Any]:
    try:
        to_json(evidence).encode("utf-8")
    except (TypeError, ValueError) as error:
        raise DataError(f"{what}: evidence is no JSON: {error}", hint="Give texts, numbers, lists and dicts.") from error
    return evidence


def to_caption(row: RowMapping) -> StoredCaption:
    tags = row["tags"]
    return StoredCaption(
        item_id=row["item_id"],
        title=row["title"],
        text=row["text"],
        tags=None if tags is None else tuple(tags),
        source=row["source"],
        evidence=row["evidence"],
        doubt=row["doubt"],
        imported=bool(row["imported"]),
        made_at=row["made_at"],
        **{field: row[field] for field in _TEXTS},
    )


def write_captions(conn: Connection, rows: Sequence[Row]) -> Changes:
    return write_rows(conn, captions, rows, key=KEY, compared="digest")


def tags_written(records: Iterable[StoredCaption]) -> list[dict[str, AttributeValue]]:
    """What these captions add to the catalogue's schema."""
    return [{TAGS: caption.tags} for caption in records if caption.tags]


def delete_captions(conn: Connection, ids: Sequence[str], *, human: bool) -> int:
    return conn.execute(delete(captions).where(captions.c.item_id.in_(ids), captions.c.human == human)).rowcount


def read_captions(conn: Connection, ids: Sequence[str]) -> list[StoredCaption]:
    """Of these items, by id, a model's before a person's."""
    query = select(captions).where(captions.c.item_id.in_(ids)).order_by(captions.c.item_id, captions.c.human)
    return [to_caption(row) for row in conn.execute(query).mappings()]


def captions_after(conn: Connection, item_id: str, human: bool, limit: int) -> list[StoredCaption]:
    """The next `limit` captions in the order of `read_captions`."""
    key = captions.c.item_id
    later = key > item_id if human else (key > item_id) | and_(key == item_id, captions.c.human)
    query = select(captions).where(later).order_by(key, captions.c.human).limit(limit)
    return [to_caption(row) for row in conn.execute(query).mappings()]


def lay_over(conn: Connection, found: Sequence[Item], where: ColumnElement[bool], *, given: bool) -> list[Item]:
    """`found` with what was written about them; `where` selects their captions. `given`: without what models wrote."""
    query = select(*_LAID_OVER).where(where)
    if given:
        query = query.where(captions.c.human)
    written: dict[str, dict[bool, RowMapping]] = {}
    for row in conn.execute(query).mappings():
        written.setdefault(row["item_id"], {})[row["human"]] = row
    return [_laid(item, written[item.item_id]) if item.item_id in written else item for item in found]


def _laid(item: Item, written: dict[bool, RowMapping]) -> Item:
    model, person = written.get(False), written.get(True)
    changed: dict[str, Any] = {}
    generated: list[str] = []
    for part in ("title", "text"):
        if person is not None and person[part] is not None:
            changed[part] = person[part]
        elif not getattr(item, part) and model is not None and model[part]:
            changed[part] = model[part]
            generated.append(part)
    if person is not None and person["tags"] is not None:
        changed["attributes"] = _tagged(item, person["tags"])
    elif TAGS not in item.attributes and model is not None and model["tags"]:
        changed["attributes"] = _tagged(item, model["tags"])
        generated.append(TAGS)
    return replace(item, **changed, generated=tuple(generated)) if changed else item


def _tagged(item: Item, tags: list[str]) -> dict[str, AttributeValue]:
    own: dict[str, AttributeValue] = {name: value for name, value in item.attributes.items() if name != TAGS}
    return own | {TAGS: tuple(tags)} if tags else own


def read_caption_writers(conn: Connection) -> dict[tuple[str, str, str, str], int]:
    columns = [captions.c[name] for name in ("language", "model", "adapter", "prompt")]
    made_here = ~captions.c.human & ~captions.c.imported
    query = select(*columns, func.count()).where(made_here).group_by(*columns)
    rows = [tuple(row) for row in conn.execute(query)]
    return {(language, model, adapter, prompt): count for language, model, adapter, prompt, count in rows}


def read_caption_counts(conn: Connection) -> CaptionCounts:
    people = select(captions).where(captions.c.human).subquery()
    both = items.outerjoin(people, people.c.item_id == items.c.item_id)
    empty = [func.coalesce(people.c[part], items.c[part]) == "" for part in ("title", "text")]
    no_title, no_text = (conn.execute(select(func.count()).select_from(both).where(one)).scalar_one() for one in empty)
    by_model, by_person = (
        conn.execute(select(func.count()).select_from(captions).where(captions.c.human == human)).scalar_one()
        for human in (False, True)
    )
    return CaptionCounts(no_title=no_title, no_text=no_text, captioned=by_model, human=by_person)
