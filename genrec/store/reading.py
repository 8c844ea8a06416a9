"""The queries, each inside one reading transaction."""

import difflib
from array import array
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
from sqlalchemy import Connection, Select, func, or_, select, union

from genrec.store.results import Counts, Interactions
from genrec.store.rows import EVENT_FIELDS, to_event, to_item
from genrec.store.tables import events, items, users
from genrec.types import Event, Item

IDS_A_QUERY = 5_000
"""Below SQLite's 32,766 and PostgreSQL's 65,535 parameters."""
ROWS_A_FETCH = 50_000
NEAR_IDS = 500

_EVENT_COLUMNS = [events.c[name] for name in EVENT_FIELDS]


def _chunks(ids: Sequence[str]) -> Iterator[list[str]]:
    unique = iter(dict.fromkeys(ids))
    while chunk := list(islice(unique, IDS_A_QUERY)):
        yield chunk


def read_items(conn: Connection, ids: Sequence[str]) -> dict[str, Item]:
    found: dict[str, Item] = {}
    for chunk in _chunks(ids):
        rows = conn.execute(select(items).where(items.c.item_id.in_(chunk)))
        found.update((row["item_id"], to_item(row)) for row in rows.mappings())
    return {item_id: found[item_id] for item_id in dict.fromkeys(ids) if item_id in found}


def items_after(conn: Connection, item_id: str, limit: int) -> list[Item]:
    query = select(items).where(items.c.item_id > item_id).order_by(items.c.item_id).limit(limit)
    return [to_item(row) for row in conn.execute(query).mappings()]


def near_item_ids(conn: Connection, item_id: str) -> list[str]:
    """Up to three ids spelled almost like `item_id`.

    A single slip leaves one half of the id whole: the database looks for that.
    """
    middle = len(item_id) // 2
    column = items.c.item_id
    halves = or_(column.istartswith(item_id[:middle], autoescape=True), column.iendswith(item_id[middle:], autoescape=True))
    near = conn.execute(select(column).where(halves).order_by(column).limit(NEAR_IDS)).scalars().all()
    return difflib.get_close_matches(item_id, near, n=3, cutoff=0.6)


def read_user_ids(conn: Connection) -> list[str]:
    both = union(select(users.c.user_id), select(events.c.user_id)).subquery()
    return list(conn.execute(select(both.c.user_id).order_by(both.c.user_id)).scalars())


def _history_query(ids: Sequence[str], limit: int | None) -> Select:
    """Events of these users in order; with `limit`, only the latest of each."""
    wanted = events.c.user_id.in_(ids)
    if limit is None:
        return select(*_EVENT_COLUMNS).where(wanted).order_by(events.c.user_id, events.c.timestamp, events.c.event_id)
    latest = (
        func.row_number()
        .over(partition_by=events.c.user_id, order_by=(events.c.timestamp.desc(), events.c.event_id.desc()))
        .label("place")
    )
    ranked = select(*_EVENT_COLUMNS, latest).where(wanted).subquery()
    columns = [ranked.c[name] for name in EVENT_FIELDS]
    return select(*columns).where(ranked.c.place <= limit).order_by(ranked.c.user_id, ranked.c.place.desc())


def read_histories(conn: Connection, user_ids: Sequence[str], limit: int | None) -> dict[str, list[Event]]:
    found: dict[str, list[Event]] = {user_id: [] for user_id in user_ids}
    for chunk in _chunks(user_ids):
        for row in conn.execute(_history_query(chunk, limit)):
            found[row[0]].append(to_event(row))
    return found


def read_popularity(conn: Connection, limit: int | None) -> list[tuple[str, int]]:
    people = func.count(events.c.user_id.distinct()).label("people")
    query = select(events.c.item_id, people).group_by(events.c.item_id).order_by(people.desc(), events.c.item_id).limit(limit)
    return [(item_id, count) for item_id, count in conn.execute(query)]


def read_counts(conn: Connection) -> Counts:
    people = union(select(users.c.user_id), select(events.c.user_id)).subquery()
    platforms = union(select(items.c.platform), select(events.c.platform)).subquery()

    def count(query: Select) -> int:
        return conn.execute(query).scalar_one()

    return Counts(
        items=count(select(func.count()).select_from(items)),
        users=count(select(func.count()).select_from(people)),
        events=count(select(func.count()).select_from(events)),
        platforms=count(select(func.count()).select_from(platforms).where(platforms.c.platform != "")),
    )


def _numbering() -> defaultdict[str, int]:
    """Gives each new id the next number."""
    numbers: defaultdict[str, int] = defaultdict()
    numbers.default_factory = numbers.__len__
    return numbers


def _in_order(numbers: dict[str, int]) -> tuple[list[str], np.ndarray]:
    """The ids sorted, and for each old number its place among them."""
    ids = sorted(numbers)
    places = np.empty(len(ids), dtype=np.int32)
    places[[numbers[one] for one in ids]] = np.arange(len(ids), dtype=np.int32)
    return ids, places


def read_interactions(conn: Connection) -> Interactions:
    """Events go from the cursor into arrays batch by batch: 24 bytes each, never all of them as Python objects."""
    query = select(events.c.user_id, events.c.item_id, events.c.value, events.c.timestamp).order_by(events.c.event_id)
    user_numbers, item_numbers = _numbering(), _numbering()
    users_, items_, values, timestamps = array("i"), array("i"), array("f"), array("d")
    for rows in conn.execution_options(yield_per=ROWS_A_FETCH).execute(query).partitions():
        user_column, item_column, value_column, time_column = zip(*rows, strict=True)
        users_.extend(map(user_numbers.__getitem__, user_column))
        items_.extend(map(item_numbers.__getitem__, item_column))
        values.extend([np.nan if value is None else value for value in value_column])
        timestamps.extend(time_column)
    user_ids, user_places = _in_order(user_numbers)
    item_ids, item_places = _in_order(item_numbers)
    users_now = user_places[np.frombuffer(users_, dtype=np.int32)]
    times = np.frombuffer(timestamps, dtype=np.float64)
    order = np.lexsort((times, users_now))  # stable: ties stay in order of insertion
    return Interactions(
        user_ids=user_ids,
        item_ids=item_ids,
        users=users_now[order],
        items=item_places[np.frombuffer(items_, dtype=np.int32)][order],
        values=np.frombuffer(values, dtype=np.float32)[order],
        timestamps=times[order],
    )
