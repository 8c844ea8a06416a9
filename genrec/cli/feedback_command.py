"""`genrec feedback`: what a person says of items, one by one or from a table, and taking it back."""

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from genrec.cli.options import UserOption, WorkspaceOption, open_workspace
from genrec.cli.printing import Bars, say
from genrec.errors import ConfigError, RowError, UnknownUserError

if TYPE_CHECKING:
    from genrec.types import Event
    from genrec.workspace.folder import Workspace


def feedback(
    workspace: WorkspaceOption,
    user: UserOption = "",
    item: Annotated[list[str] | None, typer.Option("-i", "--item", help="An item's id; several times for several items.")] = None,
    kind: Annotated[
        Literal["like", "dislike", "seen", "not-now"] | None,
        typer.Option(help="All keep the items away, not-now for a while; a dislike pushes away what is like it."),
    ] = None,
    table: Annotated[Path | None, typer.Option("--from", help="A table of user_id, item_id, kind and perhaps timestamp.")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take back the last word, of --item or of any.")] = False,
) -> None:
    """Record what a person says of items; the next answer takes it into account."""
    from genrec.store.feedback_events import give, take_back

    _check(user, item or [], kind, table, undo=undo)
    with open_workspace(workspace) as opened:
        if table is not None:
            say(f"{_record_table(opened, table)} words on items kept")
            return
        try:
            opened.store.user(user)
        except UnknownUserError:
            if undo:
                raise
            say(f"{user!r} was not known before")
        if not undo:
            for event in give(opened.store, user, item or [], kind or ""):
                say(_in_words(opened, event))
            return
        for one in item or [""]:
            event = take_back(opened.store, user, one)
            nothing = f"{user!r} said nothing{f' of {one!r}' if one else ''}"
            say(f"taken back: {_in_words(opened, event)}" if event else nothing)


def _check(user: str, items: list[str], kind: str | None, table: Path | None, *, undo: bool) -> None:
    if table is not None:
        if user or items or kind or undo:
            raise ConfigError("--from stands alone", hint="The table says who, of which item and what.")
    elif not user:
        raise ConfigError("nobody is named", hint="Give --user, or a table with --from.")
    elif undo and kind:
        raise ConfigError("--undo and --kind do not go together", hint="--undo takes back the last word, whatever it was.")
    elif not undo and not (items and kind):
        raise ConfigError("what is said of which item?", hint="Give --item and --kind, or --undo.")


def _in_words(workspace: "Workspace", event: "Event") -> str:
    item = workspace.store.items([event.item_id]).get(event.item_id)
    return f"{event.kind}: {item.title if item and item.title else event.item_id}"


def _record_table(workspace: "Workspace", path: Path) -> int:
    """How many events of the table were recorded. Raises RowError at the first row that is no feedback; none is recorded then."""
    from genrec.data.columns import resolve
    from genrec.data.ingest_report import Report
    from genrec.data.table_pass import open_table
    from genrec.data.table_readers import read_events
    from genrec.store.feedback_events import STEP
    from genrec.types import FEEDBACK

    known = frozenset(workspace.store.item_ids())
    report = Report(strict=True)
    with Bars() as bars:
        events = [e for batch in read_events(path, known_items=known, report=report, progress=bars) for e in batch]
    for row, event in enumerate(events, 1):
        if event.kind not in FEEDBACK:
            raise RowError(f"{path}: row {row}: kind is {event.kind!r:.80}", hint=f"It is one of {', '.join(FEEDBACK)}.")
    columns = open_table(path, mapping=None, limits=workspace.settings.ingest).columns
    if "timestamp" not in resolve("events", columns, None, path).fields:  # the order of the rows is the time
        now = time.time()
        events = [replace(event, timestamp=now + STEP * n) for n, event in enumerate(events)]
    workspace.store.add_events(events)
    return len(events)
