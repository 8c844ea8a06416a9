"""Captions by hand: edits, which win over everything else; doubtful captions to review; export to a file and import."""

import codecs
import csv
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from genrec.data.caption_files import COLUMNS, read_captions
from genrec.data.cleaning import clean_text
from genrec.data.ingest_report import Fault, Report
from genrec.errors import ConfigError, DataError
from genrec.files import replacing
from genrec.types import HUMAN, StoredCaption
from genrec.workspace.folder import Workspace


def edit(
    workspace: Workspace, item_id: str, *, title: str | None = None, text: str | None = None, tags: Sequence[str] | None = None
) -> StoredCaption:
    """Write about an item by hand; None leaves a part as it is, an empty one takes it away.

    It wins over the item's table, every caption and every import until `revert`. Raises UnknownItemError, ConfigError, DataError.
    """
    workspace.store.item(item_id)
    if title is None and text is None and tags is None:
        raise ConfigError(f"nothing is said about item {item_id!r:.80}", hint="Give a title, a text or tags.")
    before = _of(workspace, item_id, human=True) or StoredCaption(item_id=item_id, source=HUMAN)
    given: dict[str, Any] = {name: clean_text(value) for name, value in (("title", title), ("text", text)) if value is not None}
    if tags is not None:
        given["tags"] = tuple(dict.fromkeys(tag for one in tags if (tag := clean_text(one))))
    made = replace(before, **given, made_at=time.time(), imported=False)
    workspace.store.put_captions([made])
    return made


def revert(workspace: Workspace, item_id: str) -> StoredCaption | None:
    """Take back what was written about an item: a person's words, else the model's; returns them, None where there are none.

    Raises UnknownItemError.
    """
    workspace.store.item(item_id)
    for human in (True, False):
        if gone := _of(workspace, item_id, human=human):
            workspace.store.delete_captions([item_id], human=human)
            return gone
    return None


def doubtful(workspace: Workspace, least: float | None = None) -> list[StoredCaption]:
    """Captions by a model of at least this doubt (`caption.doubtful`), worst first, without those that a person replaced."""
    floor = workspace.settings.caption.doubtful if least is None else least
    found, by_person = [], {}
    for batch in workspace.store.all_captions():
        for one in batch:
            if one.source == HUMAN:
                by_person[one.item_id] = one
            elif one.doubt >= floor:
                found.append(one)
    left = [one for one in found if one.item_id not in by_person or _still_shown(one, by_person[one.item_id])]
    return sorted(left, key=lambda one: (-one.doubt, one.item_id))


def _still_shown(caption: StoredCaption, person: StoredCaption) -> bool:
    """Whether the person left some part of the model's caption in place."""
    parts = ("title", "text", "tags")
    return any(getattr(caption, part) and getattr(person, part) is None for part in parts)


def _of(workspace: Workspace, item_id: str, *, human: bool) -> StoredCaption | None:
    return next((one for one in workspace.store.captions([item_id]) if (one.source == HUMAN) == human), None)


def export(workspace: Workspace, path: Path) -> int:
    """All captions with their provenance into a table, JSON lines or (by the ending `.csv`) CSV; returns how many.

    Raises DataError when the file cannot be written.
    """
    count = 0
    try:
        with replacing(path) as binary:
            file = codecs.getwriter("utf-8")(binary)
            write = _csv_rows(file) if path.suffix.lower() == ".csv" else _json_lines(file)
            for batch in workspace.store.all_captions():
                for one in batch:
                    write({name: value for name, value in asdict(one).items() if name in COLUMNS and value is not None})
                    count += 1
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}", hint="Choose a file that can be written.") from error
    return count


def _json_lines(file: Any) -> Callable[[dict[str, Any]], object]:
    return lambda row: file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _csv_rows(file: Any) -> Callable[[dict[str, Any]], object]:
    """Tags and evidence as JSON. A part that was not written and one that was left empty are both an empty cell: only JSON lines
    tell them apart.
    """
    table = csv.writer(file)
    table.writerow(COLUMNS)

    def write(row: dict[str, Any]) -> None:
        row |= {name: json.dumps(row[name], ensure_ascii=False) for name in ("tags", "evidence") if name in row}
        table.writerow(row.get(name, "") for name in COLUMNS)

    return write


def load(workspace: Workspace, path: Path, report: Report | None = None) -> Report:
    """Take captions from a file of `export`, or any table with `item_id` and `title`, `text` or `tags`.

    Rows keep their provenance; one that does not say who wrote it was written by a person. What a person wrote here stays unless
    the row is also a person's, and later. Later runs leave a model's caption from a file as it is. Faulty rows are left out and
    reported. Raises TableError, RowError (strict), StoreError.
    """
    report = report or Report()
    known = set(workspace.store.item_ids())
    for batch in read_captions(path, report):
        kept = []
        for row, one in batch:
            if one.item_id not in known:
                counts = report.tables["captions"]
                counts.kept, counts.faulty = counts.kept - 1, counts.faulty + 1
                message = f"there is no item {one.item_id!r:.80}"
                report.add(Fault(file=str(path), row=row, column="item_id", kind="unknown item", message=message))
            else:
                kept.append(one)
        stored = workspace.store.captions([one.item_id for one in kept])
        here = {one.item_id: one.made_at for one in stored if one.source == HUMAN}
        workspace.store.put_captions(
            [one for one in kept if one.source != HUMAN or one.made_at > here.get(one.item_id, -math.inf)]
        )
    return report
