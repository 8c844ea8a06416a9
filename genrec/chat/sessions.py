"""Dialogues in the store: a dialogue survives a restart and belongs to one person."""

import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, get_args

from genrec.errors import FilterError, UnknownSessionError
from genrec.filters import Field, parse
from genrec.store.records import Session
from genrec.store.store import Store
from genrec.understanding.filter_text import expression
from genrec.understanding.intents import Intent
from genrec.understanding.state import Turn, kept


@dataclass(slots=True)
class Dialogue:
    """A dialogue in memory. `version` is that of the stored one, 0 where nothing is stored; without an id it is never stored."""

    session_id: str = ""
    user_id: str = ""
    turns: list[Turn] = field(default_factory=list)
    version: int = 0


def open_dialogue(store: Store, session_id: str, user_id: str, schema: Mapping[str, Field]) -> Dialogue:
    """The stored dialogue of this id, or a new one. An empty id gets one that cannot be guessed.

    Raises UnknownSessionError for a dialogue of somebody else.
    """
    if not session_id:
        return Dialogue(session_id=secrets.token_urlsafe(12), user_id=user_id)
    found = store.session(session_id)
    if found is None:
        return Dialogue(session_id=session_id, user_id=user_id)
    if found.user_id != user_id:
        raise UnknownSessionError(
            f"there is no dialogue {session_id!r:.80} of {user_id!r:.80}"
            if user_id
            else f"there is no dialogue {session_id!r:.80}",
            hint="A dialogue goes on with the person who began it; leave the session id out to begin a new one.",
        )
    return Dialogue(session_id, user_id, [_turn_of(turn, schema) for turn in found.turns], found.version)


def save_dialogue(store: Store, dialogue: Dialogue) -> None:
    """Store the dialogue as it is now. Raises StoreError (retryable) when somebody else has stored a later turn of it."""
    dialogue.turns = list(kept(dialogue.turns))
    dialogue.version += 1
    rows = [_json_of(turn) for turn in dialogue.turns]
    store.save_session(
        Session(
            session_id=dialogue.session_id,
            user_id=dialogue.user_id,
            version=dialogue.version,
            turns=rows,
            updated_at=time.time(),
        )
    )


def _json_of(turn: Turn) -> dict[str, Any]:
    """The fields that differ from an empty turn; filters as expressions."""
    empty = Turn()
    row = {one.name: getattr(turn, one.name) for one in fields(Turn) if getattr(turn, one.name) != getattr(empty, one.name)}
    if turn.constraints:
        row["constraints"] = [expression(part) for part in turn.constraints]
    return row


def _turn_of(row: Mapping[str, Any], schema: Mapping[str, Field]) -> Turn:
    """A constraint on an attribute that the catalogue no longer has is left out."""
    known = {name: value for name, value in row.items() if name in asdict(Turn())}
    parts = []
    for text in known.pop("constraints", ()):
        try:
            parts.append(parse(text, schema))
        except FilterError:
            continue
    made = {name: _tuples(value) for name, value in known.items()}
    if made.get("intent") not in get_args(Intent):
        made.pop("intent", None)
    return replace(Turn(**made), constraints=tuple(parts))


def _tuples(value: Any) -> Any:
    return tuple(_tuples(one) for one in value) if isinstance(value, list) else value
