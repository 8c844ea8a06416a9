"""The writing transactions. Each function runs inside one; what it returns is true once that is committed."""

from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import TypeVar

from sqlalchemy import Column, Connection, CursorResult, Insert, Table, Update, and_, bindparam, delete, update
from sqlalchemy.dialects import postgresql, sqlite

from genrec.store.records import Changes, Forgotten
from genrec.store.rows import Row
from genrec.store.session_rows import delete_sessions_of
from genrec.store.tables import events, items, triples, users

CHUNK = 5_000
"""Rows sent to the database at a time."""
EVENT_KEY = ("user_id", "timestamp", "item_id", "kind", "platform")
TRIPLE_KEY = ("head", "relation", "tail")

K = TypeVar("K")


def write_items(conn: Connection, rows: Sequence[Row]) -> Changes:
    return write_rows(conn, items, rows, key=("item_id",), compared="digest")


def write_users(conn: Connection, rows: Sequence[Row]) -> Changes:
    return write_rows(conn, users, rows, key=("user_id",), compared="digest")


def write_events(conn: Connection, rows: Sequence[Row]) -> Changes:
    # In the order of the index: faster, and writers that meet wait for each other instead of deadlocking. Equal times stay
    # in the order given, which is what histories promise; so a deadlock is still possible there, and `Store` repeats.
    in_order = sorted(rows, key=itemgetter("user_id", "timestamp"))
    return write_rows(conn, events, in_order, key=EVENT_KEY, compared="value")


def delete_events(conn: Connection, rows: Sequence[Row]) -> int:
    same = [and_(*(events.c[name] == row[name] for name in EVENT_KEY)) for row in rows]
    return sum(conn.execute(delete(events).where(one)).rowcount for one in same)


def write_triples(conn: Connection, rows: Sequence[Row]) -> Changes:
    """A triple is its own key: it is there or it is not. Sorted, so that writers that meet wait instead of deadlocking."""
    unique = sorted({(row["head"], row["relation"], row["tail"]) for row in rows})
    new, added = _insert(conn, triples), 0
    for start in range(0, len(unique), CHUNK):
        chunk = unique[start : start + CHUNK]
        added += _count(conn, new, [dict(zip(TRIPLE_KEY, triple, strict=True)) for triple in chunk])
    return Changes(added=added, unchanged=len(rows) - added)


def delete_user(conn: Connection, user_id: str) -> Forgotten:
    gone = conn.execute(delete(events).where(events.c.user_id == user_id)).rowcount
    profile = conn.execute(delete(users).where(users.c.user_id == user_id)).rowcount
    return Forgotten(events=gone, profile=profile > 0, sessions=delete_sessions_of(conn, user_id))


def write_rows(conn: Connection, table: Table, rows: Sequence[Row], *, key: tuple[str, ...], compared: str) -> Changes:
    """Insert what is new, then update what differs in `compared`. The database counts both, so other writers cannot skew it."""
    latest, repeats = _last_of_each(rows, lambda row: tuple(row[name] for name in key), compared)
    added = updated = 0
    new, differs = _insert(conn, table), _update(table, key, compared)
    for start in range(0, len(latest), CHUNK):
        chunk = latest[start : start + CHUNK]
        fresh = _count(conn, new, chunk)
        added += fresh
        if fresh < len(chunk):
            updated += _count(conn, differs, [{f"_{name}": value for name, value in row.items()} for row in chunk])
    return Changes(added=added, updated=updated, unchanged=len(latest) - added - updated) + repeats


def _last_of_each(rows: Iterable[Row], key: Callable[[Row], K], compared: str) -> tuple[list[Row], Changes]:
    """The last row of each key, at the place of its first.

    The others count as updates, or as unchanged where they say the same as the one before.
    """
    latest: dict[K, Row] = {}
    updated = unchanged = 0
    for row in rows:
        before = latest.get(key(row))
        if before is not None:
            same = before[compared] == row[compared]
            unchanged, updated = unchanged + same, updated + (not same)
        latest[key(row)] = row
    return list(latest.values()), Changes(updated=updated, unchanged=unchanged)


def _count(conn: Connection, statement: Insert | Update, rows: list[Row]) -> int:
    result: CursorResult = conn.execute(statement, rows, execution_options={"preserve_rowcount": True})
    return result.rowcount


def _insert(conn: Connection, table: Table) -> Insert:
    make = postgresql.insert if conn.dialect.name == "postgresql" else sqlite.insert
    return make(table).on_conflict_do_nothing()


def _update(table: Table, key: tuple[str, ...], compared: str) -> Update:
    """Parameters are the columns' names with a leading underscore."""

    def given(column: Column) -> bindparam:  # type: ignore[valid-type]
        return bindparam(f"_{column.name}", type_=column.type)

    columns = [column for column in table.c if not column.primary_key or column.name in key]
    same = [column == given(column) for column in columns if column.name in key]
    values = {column.name: given(column) for column in columns if column.name not in key}
    return update(table).where(and_(*same, table.c[compared].is_distinct_from(given(table.c[compared])))).values(values)
