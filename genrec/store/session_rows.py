"""Dialogues as rows: who talks, and the turns as JSON that `genrec.chat` writes and reads."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from genrec.errors import StoreError
from genrec.store.records import Session
from genrec.store.rows import check_key, refuse, to_json
from genrec.store.tables import sessions


def check_session(session: Session) -> None:
    """Raises DataError for what cannot be stored."""
    check_key("session", "session_id", session.session_id)
    if session.user_id:
        check_key("session", "user_id", session.user_id)
    try:
        to_json(session.turns).encode("utf-8")
    except (TypeError, ValueError) as error:
        raise refuse("session", "turns", session.turns, "JSON") from error


def read_session(conn: Connection, session_id: str) -> Session | None:
    row = conn.execute(select(sessions).where(sessions.c.session_id == session_id)).mappings().first()
    return None if row is None else Session(**row)


def list_sessions(conn: Connection, user_id: str) -> Sequence[str]:
    wanted = select(sessions.c.session_id).where(sessions.c.user_id == user_id)
    return list(conn.execute(wanted.order_by(sessions.c.updated_at.desc(), sessions.c.session_id)).scalars())


def write_session(conn: Connection, session: Session) -> None:
    """Version 1 is new; a later one takes the place of the version before. Raises StoreError when that is not what is there."""
    values: dict[str, Any] = {
        "user_id": session.user_id,
        "version": session.version,
        "turns": session.turns,
        "updated_at": session.updated_at,
    }
    if session.version > 1:
        same = (sessions.c.session_id == session.session_id) & (sessions.c.version == session.version - 1)
        written = conn.execute(update(sessions).where(same).values(values)).rowcount
    else:
        written = 0 if read_session(conn, session.session_id) else 1
        if written:
            conn.execute(insert(sessions), {"session_id": session.session_id, **values})
    if not written:
        raise StoreError(
            f"the dialogue {session.session_id!r:.80} went on elsewhere while this turn was answered",
            hint="Send one turn at a time, and send this one again.",
            retryable=True,
        )


def delete_session(conn: Connection, session_id: str) -> bool:
    return bool(conn.execute(delete(sessions).where(sessions.c.session_id == session_id)).rowcount)


def delete_sessions_of(conn: Connection, user_id: str) -> int:
    return conn.execute(delete(sessions).where(sessions.c.user_id == user_id)).rowcount
