"""The catalogue's schema: which attributes items have had so far, of which type, and whether as a list."""

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, delete, insert, select

from genrec.store.tables import attributes
from genrec.types import AttributeType, AttributeValue, type_of

Schema = dict[str, tuple[AttributeType, bool]]


def widen(schema: Schema, seen: Mapping[str, AttributeValue]) -> None:
    """Extend `schema` by one item's attributes: types that conflict become text, one list makes it a list.

    An empty list says nothing.
    """
    for name, value in seen.items():
        is_list = isinstance(value, list | tuple)
        for part in value if isinstance(value, list | tuple) else (value,):
            kind, was_list = schema.get(name, (type_of(part), is_list))
            schema[name] = (kind if kind == type_of(part) else "text", was_list or is_list)


def read_schema(conn: Connection) -> Schema:
    rows = conn.execute(select(attributes).order_by(attributes.c.name))
    return {name: (kind, is_list) for name, kind, is_list in rows}


def remember(conn: Connection, seen: Iterable[Mapping[str, AttributeValue]]) -> None:
    """Store what these items add to the schema. The caller holds the writers' lock."""
    before = read_schema(conn)
    after = dict(before)
    for one in seen:
        widen(after, one)
    changed = [
        {"name": name, "type": kind, "is_list": is_list}
        for name, (kind, is_list) in after.items()
        if before.get(name) != (kind, is_list)
    ]
    for row in changed:
        if row["name"] in before:
            conn.execute(delete(attributes).where(attributes.c.name == row["name"]))
    if changed:
        conn.execute(insert(attributes), changed)
