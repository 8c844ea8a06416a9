"""Tables to records. Each reader is a generator of batches; the report is complete when it ends.

A bad cell (a bad date, a missing id) raises CellFault in `cleaning` or `attribute_types`; its row is left out here, and the
report gets a Fault with the row's number and line. Items and users are read twice: first to learn the type of every attribute
and which ids repeat, then to make records. Events and triples are read once. No more than a batch is in memory, besides the ids
of items and users.
"""

from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from genrec.data.attribute_types import ColumnType, ColumnTypes, attribute_value, unusable_type
from genrec.data.cleaning import MAX_RELATION_CHARS, absent, identifier, number, text_of, timestamp
from genrec.data.columns import Layout, media_of
from genrec.data.images import MediaFolder
from genrec.data.ingest_report import CellFault, Report
from genrec.data.input_file import CHUNK_ROWS, Chunk
from genrec.data.json_table import KEY
from genrec.data.table_pass import RowPlace, TablePass
from genrec.errors import ConfigError, MediaError
from genrec.progress import SILENT, Progress
from genrec.settings.sections import IngestSettings
from genrec.types import AttributeValue, Event, Item, Triple, User, scalars

T = TypeVar("T")

_IMAGE_ROWS = 256
_IMAGE_THREADS = 8
_DEFAULTS = IngestSettings()


@dataclass(slots=True)
class _Record:
    """A row on its way to an Item or User."""

    id: str
    place: RowPlace
    fields: dict[str, Any] = field(default_factory=dict)
    attributes: dict[str, AttributeValue] = field(default_factory=dict)

    def fill_from(self, earlier: "_Record") -> None:
        """Take what this row lacks from an earlier row of the same id."""
        self.fields = earlier.fields | {name: value for name, value in self.fields.items() if value}
        self.attributes = earlier.attributes | self.attributes


class _Records:
    """Rows of an item or user table as records, one for each id, in the order of each id's last row."""

    def __init__(self, table_pass: TablePass, id_field: str, limits: IngestSettings) -> None:
        self._pass = table_pass
        self._layout = table_pass.layout
        self._limit = limits.max_text_chars
        self._id = id_field
        self._column = self._layout.fields[id_field][0]
        self._untyped = table_pass.table.cells == "text"
        self._typed = table_pass.table.cells == "typed"
        self._used = self._layout.used
        self._types = ColumnTypes(untyped=self._untyped)
        self._repeats = self._survey()

    def _survey(self) -> dict[str, int]:
        """Learn the types of the columns; returns the ids that repeat and how often they occur."""
        times: Counter[str] = Counter()
        for chunk in self._pass.survey((self._column,) if self._typed else None):
            for column, values in chunk.columns.items():
                if column not in self._used and column not in self._layout.separators:
                    self._types.learn(column, values)
            for value in chunk.columns[self._column]:
                try:
                    times[identifier(value, "")] += 1
                except CellFault:
                    continue
        return {name: n for name, n in times.items() if n > 1}

    def batches(self, rows: int) -> Iterator[list[_Record]]:
        waiting: dict[str, _Record] = {}
        for chunk in self._pass.chunks(rows=rows):
            batch = []
            for index in range(len(chunk.rows)):
                record = self._record(chunk, index)
                if record is None:
                    continue
                if record.id in self._repeats:
                    if record.id in waiting:
                        record.fill_from(waiting.pop(record.id))
                        self._pass.counts.merged += 1
                    self._repeats[record.id] -= 1
                    if self._repeats[record.id]:
                        waiting[record.id] = record
                        continue
                batch.append(record)
            yield batch
        yield list(waiting.values())  # of these ids the last row was left out

    def _record(self, chunk: Chunk, index: int) -> _Record | None:
        """None for a row with a fault, which is noted."""
        record = _Record("", RowPlace(chunk.rows[index], chunk.lines[index] if chunk.lines else None))
        try:
            record.id = identifier(chunk.columns[self._column][index], self._column)
            self._fill(record, chunk, index)
        except CellFault as fault:
            self._pass.leave_out(record.place, fault)
            if record.id in self._repeats:
                self._repeats[record.id] -= 1
            return None
        return record

    def _fill(self, record: _Record, chunk: Chunk, index: int) -> None:
        layout = self._layout
        for name, columns in layout.fields.items():
            values = [chunk.columns[column][index] if column in chunk.columns else None for column in columns]
            if name == "image":
                record.fields[name] = next(filter(None, map(_image_of, values)), "")
            elif name == "interests":
                found = self._attribute(values[0], columns[0], "text")
                record.fields[name] = tuple(map(str, scalars(found)))
            elif name != self._id:
                record.fields[name] = _joined([text_of(v, c, self._limit) for v, c in zip(values, columns, strict=True)])
        record.fields |= layout.constants
        for column, values in chunk.columns.items():
            cell = values[index]
            if column in self._used or (column == KEY and cell == record.id):  # such a row says its own id again
                continue
            if self._id == "item_id" and column not in layout.attributes and (media := media_of(column, cell)):
                record.fields.setdefault(*media)
                continue
            if not self._untyped and (what := unusable_type(cell)):
                place = self._pass.table.source.path
                self._pass.report.note(f"{place}: column {column} holds {what} values, which are not kept")
            value = self._attribute(cell, column, None if self._typed else self._types.type(column))
            if value is not None:
                record.attributes[layout.attributes.get(column, column)] = value

    def _attribute(self, cell: Any, column: str, type_: ColumnType | None) -> AttributeValue | None:
        separator = self._layout.separators.get(column, "")
        return attribute_value(cell, type_, column, untyped=self._untyped, separator=separator, limit=self._limit)


def _image_of(value: Any) -> str | bytes:
    """The picture's path, URL or bytes, "" if absent; the first of a list."""
    while isinstance(value, list | tuple):
        value = next((one for one in value if one), "")
    if absent(value) or not value:
        return ""
    return value if isinstance(value, bytes) else str(value).strip()


def _joined(texts: Sequence[str]) -> str:
    """The texts on lines of their own, those left out that another one contains."""
    kept = [text for n, text in enumerate(texts) if text and not any(
        text in other and (len(text) < len(other) or m < n) for m, other in enumerate(texts) if m != n)]  # fmt: skip
    return "\n".join(kept)


def read_items(
    path: Path,
    *,
    mapping: Mapping[str, str] | None = None,
    limits: IngestSettings = _DEFAULTS,
    media: MediaFolder | None = None,
    report: Report,
    progress: Progress = SILENT,
) -> Iterator[list[Item]]:
    """Yield batches of items. Rows of one id become one item: the last row counts, what it lacks comes from earlier ones.

    Pictures go through `media`; without it they are not taken, and the report notes that. A bad picture is a fault, its
    item is kept without it. Raises TableError, ConfigError (mapping), RowError (strict), WorkspaceError (no room for pictures).
    """
    table_pass = TablePass("items", path, mapping=mapping, limits=limits, report=report, progress=progress)
    pictures = table_pass.layout.fields.get("image")
    if pictures and media is None:
        report.note(f"{path}: pictures in column {pictures[0]} are not taken: there is no media folder")
    records = _Records(table_pass, "item_id", limits)
    with ThreadPoolExecutor(_IMAGE_THREADS) as pool:
        try:
            for batch in records.batches(_IMAGE_ROWS if pictures and media is not None else CHUNK_ROWS):
                images = _take_images(batch, media, table_pass, pool) if media is not None else [None] * len(batch)
                if table_pass.keep(batch):
                    yield [_item(record, image) for record, image in zip(batch, images, strict=True)]
        finally:
            pool.shutdown(cancel_futures=True)


def _take_images(batch: list[_Record], media: MediaFolder, table_pass: TablePass, pool: ThreadPoolExecutor) -> list[str | None]:
    base = table_pass.table.source.path.parent

    def take(record: _Record) -> str | MediaError | None:
        try:
            return media.take(image, base=base) if (image := record.fields.get("image")) else None
        except MediaError as error:
            return error

    taken: list[str | None] = []
    for record, image in zip(batch, pool.map(take, batch), strict=True):
        if isinstance(image, MediaError):
            table_pass.fault(record.place, CellFault("bad picture", table_pass.layout.fields["image"][0], str(image)))
            if image.hint:
                table_pass.report.note(f"pictures: {image.hint}")
            image = None  # noqa: PLW2901 - the item is kept without it
        taken.append(image)
    return taken


def _item(record: _Record, image: str | None) -> Item:
    texts = {name: value for name, value in record.fields.items() if name in ("platform", "title", "text", "audio", "video")}
    return Item(item_id=record.id, attributes=record.attributes, image=image, **texts)


def read_users(
    path: Path,
    *,
    mapping: Mapping[str, str] | None = None,
    limits: IngestSettings = _DEFAULTS,
    report: Report,
    progress: Progress = SILENT,
) -> Iterator[list[User]]:
    """Yield batches of users, one for each id as in `read_items`. Text in `interests` is one interest unless it is split by
    a mapping such as `interests[;]=likes`. Raises TableError, ConfigError, RowError (strict)."""
    table_pass = TablePass("users", path, mapping=mapping, limits=limits, report=report, progress=progress)
    for batch in _Records(table_pass, "user_id", limits).batches(CHUNK_ROWS):
        if table_pass.keep(batch):
            yield [User(user_id=r.id, interests=r.fields.get("interests", ()), attributes=r.attributes) for r in batch]


def read_events(
    path: Path,
    *,
    mapping: Mapping[str, str] | None = None,
    limits: IngestSettings = _DEFAULTS,
    known_items: Container[str] | None = None,
    report: Report,
    progress: Progress = SILENT,
) -> Iterator[list[Event]]:
    """Yield batches of events in the order of the table. With `known_items`, an event of another item is a fault of its row.

    Without a column of times the row number is the timestamp. Raises TableError, ConfigError, RowError (strict).
    """
    table_pass = TablePass("events", path, mapping=mapping, limits=limits, report=report, progress=progress)
    layout = table_pass.layout
    if "timestamp" not in layout.fields:
        report.note(f"{path}: there is no column of times; the order of the rows is used")
    yield from _batches(table_pass, lambda cells, i, row: _event(cells, i, row, layout, known_items))


def _batches(table_pass: TablePass, convert: Callable[[Mapping[str, Sequence[Any]], int, int], T]) -> Iterator[list[T]]:
    """What `convert` makes of (cells by field, position in them, number) of each row; a CellFault leaves its row out.

    Events and triples have no attributes: the table's other columns are noted and not kept.
    """
    table, layout = table_pass.table, table_pass.layout
    if left := [column for column in table.columns if column not in layout.used]:
        table_pass.report.note(f"{table.source.path}: columns of {table_pass.kind} that are not kept: {', '.join(left[:30])}")
    for chunk in table_pass.chunks(only=tuple(layout.used)):
        cells = {name: chunk.columns.get(columns[0], []) for name, columns in layout.fields.items()}
        batch: list[T] = []
        for index, row, line in zip(count(), chunk.rows, chunk.lines or chunk.rows, strict=False):
            try:
                batch.append(convert(cells, index, row))
            except CellFault as fault:
                table_pass.leave_out(RowPlace(row, line), fault)
        if table_pass.keep(batch):
            yield batch


def _event(cells: Mapping[str, Sequence[Any]], i: int, row: int, layout: Layout, known_items: Container[str] | None) -> Event:
    fields = layout.fields
    item_id = identifier(cells["item_id"][i], fields["item_id"][0])
    user_id = identifier(cells["user_id"][i], fields["user_id"][0])
    if known_items is not None and item_id not in known_items:
        raise CellFault("unknown item", fields["item_id"][0], f"there is no item {item_id!r}")
    words = dict(layout.constants)
    for name in ("kind", "platform"):
        if name in cells and (text := text_of(cells[name][i], fields[name][0], 256)):
            words[name] = text
    return Event(
        user_id=user_id,
        item_id=item_id,
        timestamp=timestamp(cells["timestamp"][i], fields["timestamp"][0]) if "timestamp" in cells else float(row),
        value=number(cells["value"][i], fields["value"][0]) if "value" in cells else None,
        **words,
    )


def read_triples(
    path: Path,
    *,
    mapping: Mapping[str, str] | None = None,
    limits: IngestSettings = _DEFAULTS,
    report: Report,
    progress: Progress = SILENT,
) -> Iterator[list[Triple]]:
    """Yield batches of the facts of a knowledge graph in the order of the table, repeats included.

    Heads and tails are read like ids, so that they equal those of items. A table of pairs gets its relation by the mapping
    `relation==also_bought`. Raises TableError, ConfigError, RowError (strict).
    """
    table_pass = TablePass("triples", path, mapping=mapping, limits=limits, report=report, progress=progress)
    layout = table_pass.layout
    constant = _constant_relation(layout)
    yield from _batches(table_pass, lambda cells, i, _: _triple(cells, i, layout, constant))


def _constant_relation(layout: Layout) -> str:
    """The relation that the mapping gives all rows, "" if it gives none. Raises ConfigError for one that cannot be kept."""
    if "relation" not in layout.constants:
        return ""
    try:
        return _relation(layout.constants["relation"], "relation")
    except CellFault as fault:
        hint = "For example --map relation==also_bought."
        raise ConfigError(f"--map relation=={layout.constants['relation']:.80}: {fault.message}", hint=hint) from fault


def _relation(value: Any, column: str) -> str:
    return identifier(value, column, what="relation", limit=MAX_RELATION_CHARS)


def _triple(cells: Mapping[str, Sequence[Any]], i: int, layout: Layout, constant: str) -> Triple:
    fields = layout.fields
    return Triple(
        head=identifier(cells["head"][i], fields["head"][0], what="entity"),
        relation=constant or _relation(cells["relation"][i], fields["relation"][0]),
        tail=identifier(cells["tail"][i], fields["tail"][0], what="entity"),
    )
