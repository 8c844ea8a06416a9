"""Opens the database: connections set up for durability, and the schema migrated to what this version reads."""

import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from genrec.errors import StoreError
from genrec.store.rows import to_json
from genrec.store.tables import REVISION, VERSION_TABLE

LOCK_WAIT_S = 30.0
"""How long a writer waits for another one on SQLite."""
CONNECT_TIMEOUT_S = 10
"""How long to wait for a PostgreSQL server, unless the URL says otherwise."""
WRITERS_LOCK = 0x67656E726563
"""Number of PostgreSQL's advisory lock: "genrec"."""
MIGRATIONS = Path(__file__).parent / "migrations"
_one_at_a_time = threading.Lock()  # alembic keeps the migration that runs in globals of its modules
_EXAMPLES = "Use sqlite:////path/to/store.sqlite or postgresql+psycopg://user:password@host/database."


def parse_url(url: str) -> URL:
    """Raises StoreError for a URL that is none, or that names a database the store does not run on."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise StoreError("store.url is not a database URL", hint=_EXAMPLES) from error  # not shown: it may hold a password
    shown = parsed.render_as_string(hide_password=True)
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql", "postgresql+psycopg"):
        raise StoreError(f"{shown}: the store does not run on {parsed.drivername!r}", hint=_EXAMPLES)
    if is_sqlite(parsed) and (not parsed.database or parsed.database.startswith((":memory:", "file:"))):
        raise StoreError(f"{shown}: the store needs a plain file path", hint=_EXAMPLES)
    return parsed


def is_sqlite(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


def make_engine(url: URL) -> Engine:
    """An engine whose every connection is durable; it connects on first use. Raises StoreError without the driver."""
    connect: dict[str, Any] = {}
    if is_sqlite(url):
        connect["timeout"] = LOCK_WAIT_S
    elif "connect_timeout" not in url.query:
        connect["connect_timeout"] = CONNECT_TIMEOUT_S
    try:
        engine = create_engine(url, connect_args=connect, json_serializer=to_json, pool_pre_ping=not is_sqlite(url))
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        shown = url.render_as_string(hide_password=True)
        raise StoreError(f"{shown}: the driver is not installed ({error})", hint='pip install "genrec[postgres]"') from error
    if is_sqlite(url):
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        event.listen(engine, "connect", _set_up_postgres)
    return engine


def _set_up_sqlite(raw: sqlite3.Connection, _record: object) -> None:
    raw.isolation_level = None  # no BEGIN behind our back: `_begin_sqlite` says which one
    try:
        _use_log(raw)
        for pragma in ("synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
            raw.execute(f"PRAGMA {pragma}").close()
    except sqlite3.Error:
        raw.close()  # the pool does not know it yet
        raise


def _use_log(raw: sqlite3.Connection) -> None:
    """Switch a new file to WAL. SQLite does not itself wait for another process that does the same at this moment."""
    give_up = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            raw.execute("PRAGMA journal_mode = WAL").close()
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
        time.sleep(0.01)


def _begin_sqlite(conn: Connection) -> None:
    # A writer takes the lock at once: one that starts as a reader cannot wait for it, it would just fail.
    writes = conn.get_execution_options().get("genrec_writes", False)
    conn.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _set_up_postgres(raw: Any, _record: object) -> None:
    # "on" is the default; a server that turns it off would acknowledge writes that a crash loses.
    with raw.cursor() as cursor:
        cursor.execute("SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'")
    raw.commit()


def lock_writers(conn: Connection) -> None:
    """Wait until no other writer is at work; held to the end of the transaction. On SQLite, BEGIN IMMEDIATE did it."""
    if conn.dialect.name == "postgresql":
        conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": WRITERS_LOCK})


def _revision(conn: Connection) -> str | None:
    """The schema's version, None where there is no store yet."""
    if not inspect(conn).has_table(VERSION_TABLE):
        return None
    return conn.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()


def migrate(engine: Engine, shown: str, *, create: bool) -> None:
    """Bring the schema to `REVISION`, in one transaction. Raises StoreError if it is newer, or absent with `create=False`."""
    with engine.connect() as conn:
        found = _revision(conn)
    if found == REVISION:
        return
    if found is None and not create:
        raise StoreError(f"{shown}: there is no genrec store", hint="Ingest data first, or correct `store.url`.")
    with engine.connect().execution_options(genrec_writes=True) as conn, conn.begin():
        lock_writers(conn)
        _upgrade(conn, shown)


def _upgrade(conn: Connection, shown: str) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = conn
    found = _revision(conn)  # again: another process may have migrated before we had the lock
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise StoreError(
            f"{shown}: the store has version {found}, this genrec knows versions up to {REVISION}",
            hint="A newer genrec wrote it: upgrade genrec (pip install -U genrec). Nothing was changed.",
        )
    with _one_at_a_time:
        command.upgrade(config, "head")
