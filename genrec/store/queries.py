"""The queries, each inside one reading transaction."""

import difflib
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Literal

import numpy as np
from sqlalchemy import Connection, Select, func, or_, select, union

from genrec.errors import StoreError
from genrec.store.caption_rows import lay_over
from genrec.store.records import Counts, Interactions
from genrec.store.rows import EVENT_FIELDS, to_event, to_item, to_user
from genrec.store.tables import captions, events, items, triples, users
from genrec.types import NOT_TASTE, Event, Item, User

IDS_A_QUERY = 5_000
"""Below SQLite's 32,766 and PostgreSQL's 65,535 parameters."""
ROWS_A_FETCH = 50_000
NEAR_IDS = 500
MANY_KINDS = 32_768
"""Numbers that an int16 holds."""

_CHOSEN = events.c.kind.not_in(sorted(NOT_TASTE))
_EVENT_COLUMNS = [events.c[name] for name in EVENT_FIELDS]


def chunks(ids: Sequence[str]) -> Iterator[list[str]]:
    unique = iter(dict.fromkeys(ids))
    while chunk := list(islice(unique, IDS_A_QUERY)):
        yield chunk


def read_items(conn: Connection, ids: Sequence[str], *, given: bool) -> dict[str, Item]:
    """With their captions; `given`: without what models wrote."""
    found: dict[str, Item] = {}
    for chunk in chunks(ids):
        rows = conn.execute(select(items).where(items.c.item_id.in_(chunk)))
        own = [to_item(row) for row in rows.mappings()]
        found.update((item.item_id, item) for item in lay_over(conn, own, captions.c.item_id.in_(chunk), given=given))
    return {item_id: found[item_id] for item_id in dict.fromkeys(ids) if item_id in found}


def items_after(conn: Connection, item_id: str, limit: int, *, given: bool) -> list[Item]:
    """The next `limit` items by id, with their captions; `given`: without what models wrote."""
    query = select(items).where(items.c.item_id > item_id).order_by(items.c.item_id).limit(limit)
    own = [to_item(row) for row in conn.execute(query).mappings()]
    key = captions.c.item_id
    return lay_over(conn, own, (key > item_id) & (key <= own[-1].item_id), given=given) if own else []


def near_item_ids(conn: Connection, item_id: str) -> list[str]:
    """Up to three ids spelled almost like `item_id`.

    A single slip leaves one half of the id whole: the database looks for that.
    """
    middle = len(item_id) // 2
    column = items.c.item_id
    halves = or_(column.istartswith(item_id[:middle], autoescape=True), column.iendswith(item_id[middle:], autoescape=True))
    near = conn.execute(select(column).where(halves).order_by(column).limit(NEAR_IDS)).scalars().all()
    return difflib.get_close_matches(item_id, near, n=3, cutoff=0.6)


def read_users(conn: Connection, ids: Sequence[str]) -> dict[str, User]:
    """The profiles of these ids, empty ones for people known by events alone; without those who are not known at all."""
    found: dict[str, User] = {}
    for chunk in chunks(ids):
        rows = conn.execute(select(users).where(users.c.user_id.in_(chunk)))
        profiles = {row["user_id"]: to_user(row) for row in rows.mappings()}
        if others := [user_id for user_id in chunk if user_id not in profiles]:
            seen = conn.execute(select(events.c.user_id).where(events.c.user_id.in_(others)).distinct())
            profiles |= {user_id: User(user_id=user_id) for user_id in seen.scalars()}
        found |= profiles
    return found


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
    for chunk in chunks(user_ids):
        for row in conn.execute(_history_query(chunk, limit)):
            found[row[0]].append(to_event(row))
    return found


def read_popularity(conn: Connection, limit: int | None) -> list[tuple[str, int]]:
    people = func.count(events.c.user_id.distinct()).label("people")
    query = (
        select(events.c.item_id, people)
        .where(_CHOSEN)
        .group_by(events.c.item_id)
        .order_by(people.desc(), events.c.item_id)
        .limit(limit)
    )
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
        triples=count(select(func.count()).select_from(triples)),
    )


def read_triples(conn: Connection) -> list[tuple[str, str, str]]:
    """Equal texts are one object in memory: a graph has few entities and relations beside its triples."""
    query = select(triples.c.head, triples.c.relation, triples.c.tail).order_by(*triples.primary_key.columns)
    one: dict[str, str] = {}
    found: list[tuple[str, str, str]] = []
    for rows in conn.execution_options(yield_per=ROWS_A_FETCH).execute(query).partitions():
        found.extend((one.setdefault(h, h), one.setdefault(r, r), one.setdefault(t, t)) for h, r, t in rows)
    return found


class _Column:
    """A column of text as numbers: each new text gets the next one."""

    def __init__(self, typecode: Literal["i", "h"]) -> None:
        self.numbers: defaultdict[str, int] = defaultdict()
        self.numbers.default_factory = self.numbers.__len__
        self.values = array(typecode)

    def extend(self, texts: Iterable[str]) -> None:
        self.values.extend(map(self.numbers.__getitem__, texts))

    def in_order(self) -> tuple[list[str], np.ndarray]:
        """The distinct texts sorted, and for each row the place of its text among them."""
        texts = sorted(self.numbers)
        values = np.frombuffer(self.values, dtype=self.values.typecode)
        places = np.empty(len(texts), dtype=values.dtype)
        places[[self.numbers[text] for text in texts]] = np.arange(len(texts), dtype=values.dtype)
        return texts, places[values]


def read_interactions(conn: Connection) -> Interactions:
    """Events go from the cursor into arrays batch by batch: 28 bytes each, never all of them as Python objects."""
    wanted = (events.c.user_id, events.c.item_id, events.c.kind, events.c.platform, events.c.value, events.c.timestamp)
    query = select(*wanted).where(_CHOSEN).order_by(events.c.event_id)
    texts = (_Column("i"), _Column("i"), _Column("h"), _Column("h"))
    values, timestamps = array("f"), array("d")
    for rows in conn.execution_options(yield_per=ROWS_A_FETCH).execute(query).partitions():
        *text_columns, value_column, time_column = zip(*rows, strict=True)
        try:
            for column, new in zip(texts, text_columns, strict=True):
                column.extend(new)
        except OverflowError as error:
            raise StoreError(
                f"the events have more than {MANY_KINDS:,} distinct kinds or platforms",
                hint="`kind` and `platform` are categories (view, buy; shop, app): map columns with few distinct values to them.",
            ) from error
        values.extend([np.nan if value is None else value for value in value_column])
        timestamps.extend(time_column)
    (user_ids, users_), (item_ids, items_), (kind_names, kinds), (platform_names, platforms) = (c.in_order() for c in texts)
    times = np.frombuffer(timestamps, dtype=np.float64)
    order = np.lexsort((times, users_))  # stable: ties stay in order of insertion
    return Interactions(
        user_ids=user_ids,
        item_ids=item_ids,
        users=users_[order],
        items=items_[order],
        values=np.frombuffer(values, dtype=np.float32)[order],
        timestamps=times[order],
        kinds=kinds[order],
        kind_names=kind_names,
        platforms=platforms[order],
        platform_names=platform_names,
    )
