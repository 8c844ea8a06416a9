"""`genrec feedback`: what a person says of items, one by one or from a table, and taking it back."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from genrec.types import Event
    from genrec.workspace.folder import Workspace


def feedback(
    workspace: Annotated[Path, typer.Option("-w", "--workspace", help="The workspace folder.")],
    user: Annotated[str, typer.Option("-u", "--user", help="The person's id.")] = "",
    item: Annotated[list[str] | None, typer.Option("-i", "--item", help="An item's id; several times for several items.")] = None,
    kind: Annotated[
        Literal["like", "dislike", "seen", "not-now"] | None,
        typer.Option(help="All keep the items away, not-now for a while; a dislike pushes away what is like it."),
    ] = None,
    table: Annotated[Path | None, typer.Option("--from", help="A table of user_id, item_id, kind and perhaps timestamp.")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take back the last word, of --item or of any.")] = False,
) -> None:
    """Keep what a person says of items: the next answer goes by it."""
    from genrec.cli.printing import say
    from genrec.workspace.folder import Workspace

    _check(user, item or [], kind, table, undo=undo)
    with Workspace.open(workspace) as opened:
        if table is not None:
            say(f"{_from_table(opened, table)} words on items kept")
        elif undo:
            for one in item or [""]:
                say(_taken_back(opened, user, one))
        else:
            _give(opened, user, item or [], kind or "")


def _check(user: str, items: list[str], kind: str | None, table: Path | None, *, undo: bool) -> None:
    from genrec.errors import ConfigError

    if table is not None:
        if user or items or kind or undo:
            raise ConfigError("--from stands alone", hint="The table says who, of which item and what.")
    elif not user:
        raise ConfigError("nobody is named", hint="Give --user, or a table with --from.")
    elif undo and kind:
        raise ConfigError("--undo and --kind do not go together", hint="--undo takes back the last word, whatever it was.")
    elif not undo and not (items and kind):
        raise ConfigError("what is said of which item?", hint="Give --item and --kind, or --undo.")


def _give(workspace: "Workspace", user: str, items: list[str], kind: str) -> None:
    from genrec.cli.printing import say
    from genrec.errors import UnknownUserError
    from genrec.store.feedback_events import give

    try:
        workspace.store.user(user)
    except UnknownUserError:
        say(f"{user!r} was not known before")
    for event in give(workspace.store, user, items, kind):
        say(_told(workspace, event))


def _taken_back(workspace: "Workspace", user: str, item: str) -> str:
    from genrec.store.feedback_events import take_back

    workspace.store.user(user)  # raises when nobody is called so
    event = take_back(workspace.store, user, item)
    return f"taken back: {_told(workspace, event)}" if event else f"{user!r} said nothing{f' of {item!r}' if item else ''}"


def _told(workspace: "Workspace", event: "Event") -> str:
    item = workspace.store.items([event.item_id]).get(event.item_id)
    return f"{event.kind}: {item.title if item and item.title else event.item_id}"


def _from_table(workspace: "Workspace", path: Path) -> int:
    """Events of the table, kept. Raises RowError at the first row that is no feedback, and nothing of the table is kept then."""
    import time
    from dataclasses import replace

    from genrec.cli.printing import Bars
    from genrec.data.columns import resolve
    from genrec.data.formats import open_table
    from genrec.data.ingest_report import Report
    from genrec.data.table_readers import read_events
    from genrec.errors import RowError
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
