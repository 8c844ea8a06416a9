"""Tables into the store: what `genrec ingest` calls."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from genrec.data.images import MediaFolder
from genrec.data.ingest_report import Report, TableKind
from genrec.data.table_readers import read_events, read_items, read_triples, read_users
from genrec.errors import DataError
from genrec.progress import SILENT, Progress
from genrec.types import NOT_TASTE
from genrec.workspace.folder import Workspace

R = TypeVar("R")


def ingest(
    workspace: Workspace,
    *,
    items: Sequence[Path] = (),
    events: Sequence[Path] = (),
    users: Sequence[Path] = (),
    triples: Sequence[Path] = (),
    mapping: Mapping[str, Mapping[str, str]] | None = None,
    media_roots: Sequence[Path] = (),
    report: Report | None = None,
    progress: Progress = SILENT,
) -> Report:
    """Read tables into the store, items first. `mapping` maps fields to columns by table kind (`items`, `users`,
    `events`, `triples`).

    Batches are committed as they are read: what was acknowledged stays when a later row stops a strict ingest; a `report`
    that the caller gives says also then what was read. Raises TableError, ConfigError, RowError (strict), StoreError.
    """
    report = report or Report()
    limits, store, mapping = workspace.settings.ingest, workspace.store, mapping or {}
    media = MediaFolder(workspace.folder, media_roots, limits=limits)
    for path in items:
        of = mapping.get("items")
        for batch in read_items(path, mapping=of, limits=limits, media=media, report=report, progress=progress):
            _put(store.put_items, batch, "items", path, report)
    for path in users:
        for batch in read_users(path, mapping=mapping.get("users"), limits=limits, report=report, progress=progress):
            _put(store.put_users, batch, "users", path, report)
    known = frozenset(store.item_ids()) if events or triples else frozenset()
    if events and not known:
        report.note("events tell of items that are there: give the table of items first, one of ids alone is enough")
    for path in events:
        said: set[str] = set()
        of = mapping.get("events")
        for batch in read_events(path, mapping=of, limits=limits, known_items=known, report=report, progress=progress):
            _put(store.add_events, batch, "events", path, report)
            said.update(event.kind for event in batch if event.kind in NOT_TASTE)
        if said:
            report.note(
                f"{path}: {', '.join(sorted(said))} events are feedback: they keep their items away, nothing is learned from them"
            )
    for path in triples:
        met = False  # whether a triple of this table is about an item
        of = mapping.get("triples")
        for batch in read_triples(path, mapping=of, limits=limits, report=report, progress=progress):
            _put(store.put_triples, batch, "triples", path, report)
            met = met or any(triple.head in known or triple.tail in known for triple in batch)
        if not met:
            report.note(f"{path}: no head and no tail is the id of an item in the store; ids must agree letter for letter")
    return report


def _put(put: Callable[[list[R]], object], records: list[R], kind: TableKind, path: Path, report: Report) -> None:
    """Store one batch; a record that the store refuses becomes a fault and costs no other. Raises RowError (strict)."""
    try:
        put(records)
    except DataError as error:
        if len(records) == 1:
            report.refuse(kind, str(path), str(error))
            return
        middle = len(records) // 2
        _put(put, records[:middle], kind, path, report)
        _put(put, records[middle:], kind, path, report)
