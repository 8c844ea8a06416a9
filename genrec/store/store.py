"""`Store`: items, captions, users, events and triples in SQL, the one place that must survive a crash."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from sqlalchemy import URL, Connection, Engine, delete, insert, select
from sqlalchemy.exc import DBAPIError

from genrec.errors import DataError, StoreError, UnknownItemError, UnknownUserError
from genrec.store import caption_rows
from genrec.store import queries as reading
from genrec.store import session_rows as dialogues
from genrec.store import transactions as writing
from genrec.store.attribute_schema import AttributeType, read_schema, remember
from genrec.store.engine import is_sqlite, lock_writers, make_engine, migrate, parse_url
from genrec.store.faults import is_conflict, named
from genrec.store.records import CaptionCounts, Changes, Counts, Forgotten, Interactions, Session
from genrec.store.rows import event_row, is_key, item_row, to_json, triple_row, user_row
from genrec.store.tables import items, meta
from genrec.types import HUMAN, Event, Item, StoredCaption, Triple, User

ATTEMPTS = 5
"""How often a transaction is run that other writers on PostgreSQL get in the way of."""

T = TypeVar("T")


class Store:
    """Items, their captions, users, events and triples on SQLite or PostgreSQL; safe to share among threads.

    Every write is one transaction: when the call returns, the data is on the disk, and when it raises, nothing of it is.
    Faults of the database are `StoreError`, records that cannot be stored `DataError`.
    """

    def __init__(self, engine: Engine, url: URL) -> None:
        """For `Store.open`, which also migrates the schema."""
        self._engine = engine
        self._sqlite = is_sqlite(url)
        self._closed = False
        self.url = url.render_as_string(hide_password=True)
        """Where the store is, without the password."""

    @classmethod
    def open(cls, url: str, *, create: bool = True) -> Self:
        """Open the store at a SQLAlchemy URL and bring its schema up to date.

        `sqlite:///path` is a file, made if missing; `postgresql+psycopg://user:password@host/database` must exist.
        With `create=False` a missing store is an error. Raises StoreError, also for a store that a newer genrec wrote.
        """
        parsed = parse_url(url)
        shown = parsed.render_as_string(hide_password=True)
        if is_sqlite(parsed) and not create and not Path(parsed.database or "").exists():
            raise StoreError(f"{shown}: there is no such file", hint="Ingest data first, or correct `store.url`.")
        engine = make_engine(parsed)
        try:
            with named(shown):
                migrate(engine, shown, create=create)
        except StoreError:
            engine.dispose()
            raise
        return cls(engine, parsed)

    def close(self) -> None:
        """Close all connections; a second call does nothing."""
        self._closed = True
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @contextmanager
    def _connection(self, *, writes: bool) -> Iterator[Connection]:
        if self._closed:
            raise StoreError(f"{self.url}: the store is closed", hint="Open it again with Store.open.")
        with self._engine.connect().execution_options(genrec_writes=writes) as conn, conn.begin():
            yield conn

    def _read(self, query: Callable[[Connection], T]) -> T:
        with named(self.url), self._connection(writes=False) as conn:
            return query(conn)

    def _write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` as one transaction, and again if PostgreSQL gave it up because of another writer."""
        with named(self.url):
            for attempt in range(1, ATTEMPTS):
                try:
                    with self._connection(writes=True) as conn:
                        return work(conn)
                except DBAPIError as error:
                    if not is_conflict(error):
                        raise
                time.sleep(0.02 * attempt)
            with self._connection(writes=True) as conn:
                return work(conn)

    # Writing

    def put_items(self, records: Sequence[Item]) -> Changes:
        """Add items; one that is there gets the new content as a whole. Of equal ids in one call the last wins.

        Parts that a model wrote (`Item.generated`) are not stored as the item's own; captions of the item stay.
        """
        rows = [item_row(item) for item in records]

        def work(conn: Connection) -> Changes:
            lock_writers(conn)
            remember(conn, (item.attributes for item in records))
            return writing.write_items(conn, rows)

        return self._write(work)

    def put_captions(self, records: Sequence[StoredCaption]) -> Changes:
        """Add captions, at most one by a model and one by a person for an item; one that is there is replaced as a whole.

        The item need not be known. `made_at` alone is no change. Raises DataError, StoreError.
        """
        rows = [caption_rows.caption_row(caption) for caption in records]

        def work(conn: Connection) -> Changes:
            lock_writers(conn)
            remember(conn, caption_rows.tags_written(records))
            return caption_rows.write_captions(conn, rows)

        return self._write(work)

    def delete_captions(self, ids: Sequence[str], *, human: bool) -> int:
        """Delete what a person (`human`) or a model wrote about these items; returns how many captions are gone."""
        wanted = [item_id for item_id in ids if is_key(item_id)]

        def work(conn: Connection) -> int:
            lock_writers(conn)
            return sum(caption_rows.delete_captions(conn, chunk, human=human) for chunk in reading.chunks(wanted))

        return self._write(work)

    def put_users(self, records: Sequence[User]) -> Changes:
        """Add profiles; one that is there gets the new content as a whole. Of equal ids in one call the last wins."""
        rows = [user_row(user) for user in records]

        def work(conn: Connection) -> Changes:
            lock_writers(conn)
            return writing.write_users(conn, rows)

        return self._write(work)

    def add_events(self, records: Sequence[Event]) -> Changes:
        """Add events; one with the same user, item, timestamp, kind and platform is the same event and takes the new value.

        Neither the item nor the user need be known.
        """
        rows = [event_row(event) for event in records]
        return self._write(lambda conn: writing.write_events(conn, rows))

    def delete_events(self, records: Sequence[Event]) -> int:
        """Delete the events of the same user, item, timestamp, kind and platform; returns how many there were."""
        rows = [event_row(event) for event in records]
        return self._write(lambda conn: writing.delete_events(conn, rows))

    def put_triples(self, records: Sequence[Triple]) -> Changes:
        """Add facts of the knowledge graph; one that is there, or comes twice, is left as it is (`unchanged`).

        Both ends may be ids of items, in the store or not, or names of anything else.
        """
        rows = [triple_row(triple) for triple in records]
        return self._write(lambda conn: writing.write_triples(conn, rows))

    def forget(self, user_id: str) -> Forgotten:
        """Delete all traces of a person; for one who has none, nothing happens. Triples are facts about items: they stay.

        SQLite: the bytes are overwritten, in the file and in its log. PostgreSQL: the rows are gone at once, their bytes
        when the server next vacuums (and from backups when these are). Raises StoreError if SQLite's log could not be
        emptied because another process was reading all the time: the rows are deleted then, and a repeat empties it.
        """
        if not is_key(user_id):
            return Forgotten(events=0, profile=False)

        def work(conn: Connection) -> Forgotten:
            lock_writers(conn)
            return writing.delete_user(conn, user_id)

        forgotten = self._write(work)
        if self._sqlite:
            self._empty_log()
        return forgotten

    def _empty_log(self) -> None:
        with named(self.url):
            raw = self._engine.raw_connection()
            try:
                busy, _, _ = raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                raw.close()
        if busy:
            raise StoreError(
                f"{self.url}: the rows are deleted, but the write-ahead log keeps a copy while another process reads",
                hint="Call forget again once no other process uses the store.",
                retryable=True,
            )

    # Items

    def item(self, item_id: str, *, given: bool = False) -> Item:
        """One of `items`. Raises UnknownItemError, with ids that look alike in the hint."""
        found = self.items([item_id], given=given)
        if found:
            return found[item_id]
        near = self._read(lambda conn: reading.near_item_ids(conn, item_id)) if is_key(item_id) else []
        hint = (
            f"Did you mean {', '.join(map(repr, near))}?"
            if near
            else "Ids are the ones of the ingested table, letter for letter."
        )
        raise UnknownItemError(f"there is no item {item_id!r:.80}", hint=hint)

    def items(self, ids: Sequence[str], *, given: bool = False) -> dict[str, Item]:
        """The items of these ids, in the order asked; unknown ones are left out.

        What an item lacks comes from its caption, if it has one, and `Item.generated` names it; what a person wrote about it
        wins over its own. `given`: without what models wrote.
        """
        wanted = [item_id for item_id in ids if is_key(item_id)]
        return self._read(lambda conn: reading.read_items(conn, wanted, given=given))

    def all_items(self, batch: int = 1000, *, given: bool = False) -> Iterator[list[Item]]:
        """All items by id as `items` gives them, in lists of at most `batch`; each list is its own transaction, so writers need
        not wait.
        """
        if batch < 1:
            raise ValueError(f"batch is {batch}, must be at least 1")
        last = ""
        while found := self._read(lambda conn: reading.items_after(conn, last, batch, given=given)):  # noqa: B023 - called at once
            yield found
            last = found[-1].item_id

    def item_ids(self) -> list[str]:
        """Ids of all items, sorted."""
        return self._read(lambda conn: list(conn.execute(select(items.c.item_id).order_by(items.c.item_id)).scalars()))

    def captions(self, ids: Sequence[str]) -> list[StoredCaption]:
        """What was written about these items, by id, a model's caption before a person's."""
        wanted = [item_id for item_id in ids if is_key(item_id)]
        chunks = reading.chunks(sorted(wanted))
        return self._read(lambda conn: [one for chunk in chunks for one in caption_rows.read_captions(conn, chunk)])

    def all_captions(self, batch: int = 1000) -> Iterator[list[StoredCaption]]:
        """All captions in the order of `captions`, in lists of at most `batch`, each its own transaction."""
        last, human = "", True
        while found := self._read(lambda conn: caption_rows.captions_after(conn, last, human, batch)):  # noqa: B023
            yield found
            last, human = found[-1].item_id, found[-1].source == HUMAN

    def caption_counts(self) -> CaptionCounts:
        """How many items lack text, and how many were written about."""
        return self._read(caption_rows.read_caption_counts)

    def caption_writers(self) -> dict[tuple[str, str, str, str], int]:
        """(language, model, adapter, digest of the prompt) → captions that were written so, without those from files."""
        return self._read(caption_rows.read_caption_writers)

    def schema(self) -> dict[str, tuple[AttributeType, bool]]:
        """For each attribute that items have had: its type, and whether it is a list. Sorted by name.

        An attribute seen with two types is text; one seen as a list and as a scalar is a list.
        """
        return self._read(read_schema)

    def popularity(self, limit: int | None = None) -> list[tuple[str, int]]:
        """(item id, distinct people who chose it), most popular first, equals by id; also of items not in the store.

        Whoever only disliked an item, had seen it or said "not now" did not choose it.
        """
        return self._read(lambda conn: reading.read_popularity(conn, _checked(limit)))

    # Users and events

    def user(self, user_id: str) -> User:
        """The profile, or an empty one for a person known by events alone. Raises UnknownUserError for neither."""
        return self.users([user_id])[user_id]

    def users(self, user_ids: Sequence[str]) -> dict[str, User]:
        """`user` of many people in few queries, in the order asked. Raises UnknownUserError naming the first unknown one."""
        wanted = [user_id for user_id in user_ids if is_key(user_id)]
        found = self._read(lambda conn: reading.read_users(conn, wanted))
        for user_id in user_ids:
            if user_id not in found:
                raise UnknownUserError(
                    f"there is no user {user_id!r:.80}",
                    hint="Ids are those of the ingested tables, letter for letter; "
                    "a new person needs a profile or an event first.",
                )
        return {user_id: found[user_id] for user_id in user_ids}

    def user_ids(self) -> list[str]:
        """Ids of all people with a profile or an event, sorted."""
        return self._read(reading.read_user_ids)

    def history(self, user_id: str, limit: int | None = None) -> list[Event]:
        """The latest `limit` events of a person (all without limit), oldest first, equal times in order of insertion."""
        return self.histories([user_id], limit)[user_id]

    def histories(self, user_ids: Sequence[str], limit: int | None = None) -> dict[str, list[Event]]:
        """`history` of many people in few queries, in the order asked; the empty list for one without events."""
        wanted = [user_id for user_id in user_ids if is_key(user_id)]
        found = self._read(lambda conn: reading.read_histories(conn, wanted, _checked(limit)))
        return {user_id: found.get(user_id, []) for user_id in user_ids}

    def interactions(self) -> Interactions:
        """All events but `genrec.types.NOT_TASTE` as arrays, from one consistent state of the store."""
        return self._read(reading.read_interactions)

    # Dialogues

    def session(self, session_id: str) -> Session | None:
        """A dialogue as it was last saved, None where there is none."""
        return self._read(lambda conn: dialogues.read_session(conn, session_id)) if is_key(session_id) else None

    def sessions_of(self, user_id: str) -> Sequence[str]:
        """Ids of a person's dialogues, the latest first."""
        return self._read(lambda conn: dialogues.list_sessions(conn, user_id)) if is_key(user_id) else []

    def save_session(self, session: Session) -> None:
        """Keep a dialogue; a `version` above 1 takes the place of the one before.

        Raises DataError, and StoreError (retryable) when another writer was quicker.
        """
        dialogues.check_session(session)
        self._write(lambda conn: dialogues.write_session(conn, session))

    def delete_session(self, session_id: str) -> bool:
        """Whether there was one."""
        return self._write(lambda conn: dialogues.delete_session(conn, session_id)) if is_key(session_id) else False

    # The rest

    def triples(self) -> list[tuple[str, str, str]]:
        """The whole knowledge graph: (head, relation, tail) in the order of their texts, each once."""
        return self._read(reading.read_triples)

    def counts(self) -> Counts:
        """How many items, people, events, platforms and triples there are."""
        return self._read(reading.read_counts)

    def get_meta(self, key: str) -> Any:
        """The JSON value kept under `key`, None if there is none."""
        return (
            self._read(lambda conn: conn.execute(select(meta.c.value).where(meta.c.key == key)).scalar()) if is_key(key) else None
        )

    def set_meta(self, key: str, value: Any) -> None:
        """Keep a JSON value under `key` (at most 256 characters); None removes it. Raises DataError for what is not JSON."""
        try:
            to_json(value).encode("utf-8")
        except (TypeError, ValueError) as error:
            raise DataError(f"meta {key!r:.80}: {error}", hint="Give a JSON value: text, numbers, lists, dicts.") from error
        if not is_key(key):
            raise DataError(f"meta key {key!r:.80} is not text of 1 to 256 characters", hint="Use a short name.")

        def work(conn: Connection) -> None:
            lock_writers(conn)
            conn.execute(delete(meta).where(meta.c.key == key))
            if value is not None:
                conn.execute(insert(meta), {"key": key, "value": value})

        self._write(work)


def _checked(limit: int | None) -> int | None:
    if limit is not None and limit < 0:
        raise ValueError(f"limit is {limit}, must not be negative")
    return limit
