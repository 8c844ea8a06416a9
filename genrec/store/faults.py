"""Turns the faults of a database into `StoreError`s that say what happened to the data and what to do."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from genrec.errors import StoreError

UNDONE = "Nothing of this call was kept, and everything stored before is safe."


class _Fault(NamedTuple):
    says: str
    hint: str
    retryable: bool = False


_DAMAGED = _Fault(
    "the file is damaged or is not a genrec store",
    "Restore the file from a backup, or move it away and ingest again; `sqlite3 FILE .recover` can save what is readable.",
)
_FULL = _Fault("the disk is full", f"{UNDONE} Free some space and repeat.", retryable=True)
_READ_ONLY = _Fault("the store may not be written to", "Give this user write access to the store (for SQLite: file and folder).")
_NO_CONNECTION = _Fault(
    "no connection to the database server",
    "See that the server runs and that `store.url` has the right host, database, user and password.",
    retryable=True,
)
_NO_ACCESS = _Fault("the database server refuses the login", "Check user and password in `store.url`.")

_SQLITE = {
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_PERM: _READ_ONLY,
    sqlite3.SQLITE_BUSY: _Fault(
        "another process kept the store locked for too long", f"{UNDONE} Wait for it to end, then repeat.", retryable=True
    ),
    sqlite3.SQLITE_IOERR: _Fault(
        "the disk cannot be read or written",
        f"{UNDONE} Check free space, quota, file size limit and the health of the disk.",
        True,
    ),
    sqlite3.SQLITE_CANTOPEN: _Fault(
        "the file cannot be opened", "See that its folder exists and that this user may write there."
    ),
}
# by SQLSTATE, or by its class (the first two characters)
_POSTGRES = {
    "53100": _FULL,
    "53300": _Fault("the database server has no free connection", "Raise its max_connections, or use fewer processes.", True),
    "40P01": _Fault("other writers are in the way (deadlock)", f"{UNDONE} Repeat the call.", retryable=True),
    "40001": _Fault("other writers are in the way", f"{UNDONE} Repeat the call.", retryable=True),
    "3D000": _Fault("the database does not exist", "Create it first: `createdb NAME`."),
    "42501": _Fault("this database user lacks a right", "Grant it CREATE on the schema and all rights on the genrec_ tables."),
    "25006": _Fault("the database is read-only", "Use the URL of the primary server, not of a standby."),
    "28": _NO_ACCESS,
    "08": _NO_CONNECTION,
    "57P01": _NO_CONNECTION,
    "57P02": _NO_CONNECTION,
    "57P03": _NO_CONNECTION,
    "58": _Fault("the database server cannot read or write its disk", "See the server's log.", retryable=True),
    "XX": _Fault("the database is damaged", "See the server's log; restore from a backup."),
}


def sqlstate(error: DBAPIError) -> str:
    """The five-character code of PostgreSQL; empty where there is none."""
    return getattr(error.orig, "sqlstate", None) or ""


def is_conflict(error: DBAPIError) -> bool:
    """Whether another writer was in the way and the same transaction can simply be run again."""
    return sqlstate(error) in ("40P01", "40001")


def _known(error: SQLAlchemyError) -> _Fault | None:
    if isinstance(error, PoolTimeout):
        return _Fault("all connections are in use", "Use fewer threads, or repeat later.", retryable=True)
    if not isinstance(error, DBAPIError):
        return None
    if isinstance(error.orig, sqlite3.Error):
        code = getattr(error.orig, "sqlite_errorcode", None)  # sqlite3's own faults carry no code
        return None if code is None else _SQLITE.get(code & 0xFF)
    state = sqlstate(error)
    if not state and isinstance(error, OperationalError):  # never reached a server, or lost it
        return _NO_CONNECTION
    return _POSTGRES.get(state) or _POSTGRES.get(state[:2])


@contextmanager
def named(url: str) -> Iterator[None]:
    """Raise what the database raises inside as StoreError, with the store's name (`url` without password)."""
    try:
        yield
    except json.JSONDecodeError as error:
        raise StoreError(f"{url}: {_DAMAGED.says} (JSON: {error})", hint=_DAMAGED.hint) from error
    except SQLAlchemyError as error:
        fault = _known(error)
        orig = getattr(error, "orig", None) or error
        detail = " ".join(str(orig).split())[:300]
        if fault is None:
            raise StoreError(f"{url}: {detail}", hint=UNDONE) from error
        raise StoreError(f"{url}: {fault.says} ({detail})", hint=fault.hint, retryable=fault.retryable) from error
