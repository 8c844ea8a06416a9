"""Tables to records. Each reader is a generator of batches; the report is complete when it ends.

Items and users are read twice: first to learn the type of every attribute and where ids repeat, then to make records.
Events and triples are read once. No more than a batch is in memory, besides the ids of items and users.
"""

from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from genrec.data.attribute_types import Kinds, attribute, unusable
from genrec.data.cleaning import MAX_RELATION_CHARS, absent, identifier, number, seconds, text_of
from genrec.data.columns import Layout, media_of, resolve
from genrec.data.formats import open_table
from genrec.data.images import MediaFolder
from genrec.data.ingest_report import CellFault, Report
from genrec.data.input_file import CHUNK_ROWS, Chunk
from genrec.data.json_rows import KEY
from genrec.data.passes import Place, Reading
from genrec.errors import ConfigError, MediaError
from genrec.progress import SILENT, Progress
from genrec.settings import IngestSettings
from genrec.types import AttributeValue, Event, Item, Triple, User, scalars

T = TypeVar("T")

_IMAGE_ROWS = 256
_IMAGE_THREADS = 8
_DEFAULTS = IngestSettings()


@dataclass(slots=True)
class _Record:
    """A row on its way to an Item or User; later rows of the same id are laid over it."""

    id: str
    place: Place
    fields: dict[str, Any] = field(default_factory=dict)
    attributes: dict[str, AttributeValue] = field(default_factory=dict)

    def over(self, earlier: "_Record") -> "_Record":
        """This row with what it lacks filled from an earlier one."""
        self.fields = earlier.fields | {name: value for name, value in self.fields.items() if value}
        self.attributes = earlier.attributes | self.attributes
        return self


class _Records:
    """Rows of an item or user table as records, one for each id, in the order of each id's last row."""

    def __init__(self, reading: Reading, id_field: str, limits: IngestSettings) -> None:
        self._reading = reading
        self._limit = limits.max_text_chars
        self._id = id_field
        self._column = reading.layout.fields[id_field][0]
        self._untyped = reading.table.cells == "text"
        self._typed = reading.table.cells == "typed"
        self._used = reading.layout.used
        self._kinds = Kinds(untyped=self._untyped)
        self._repeats = self._survey()

    def _survey(self) -> dict[str, int]:
        """Learn the types of the columns; returns the ids that repeat and how often they occur."""
        times: Counter[str] = Counter()
        layout = self._reading.layout
        for chunk in self._reading.survey((self._column,) if self._typed else None):
            for column, values in chunk.columns.items():
                if column not in self._used and column not in layout.separators:
                    self._kinds.learn(column, values)
            for value in chunk.columns[self._column]:
                try:
                    times[identifier(value, "")] += 1
                except CellFault:
                    continue
        return {name: n for name, n in times.items() if n > 1}

    def batches(self, rows: int) -> Iterator[list[_Record]]:
        waiting: dict[str, _Record] = {}
        for chunk in self._reading.chunks(rows=rows):
            batch = []
            for index in range(len(chunk.rows)):
                record = self._row(chunk, index)
                if record is None:
                    continue
                if record.id in self._repeats:
                    if record.id in waiting:
                        record = record.over(waiting.pop(record.id))
                        self._reading.counts.merged += 1
                    waiting[record.id] = record
                    self._repeats[record.id] -= 1
                    if self._repeats[record.id]:
                        continue
                    del waiting[record.id]
                batch.append(record)
            yield batch
        yield list(waiting.values())  # of these ids the last row was left out

    def _row(self, chunk: Chunk, index: int) -> _Record | None:
        place = Place(chunk.rows[index], chunk.lines[index] if chunk.lines else None)
        try:
            record = _Record(identifier(chunk.columns[self._column][index], self._column), place)
        except CellFault as fault:
            self._reading.leave_out(place, fault)
            return None
        try:
            self._fill(record, chunk, index)
        except CellFault as fault:
            self._reading.leave_out(place, fault)
            if record.id in self._repeats:
                self._repeats[record.id] -= 1
            return None
        return record

    def _fill(self, record: _Record, chunk: Chunk, index: int) -> None:
        layout = self._reading.layout
        for name, columns in layout.fields.items():
            values = [chunk.columns[column][index] if column in chunk.columns else None for column in columns]
            if name == "image":
                record.fields[name] = next(filter(None, map(_image_of, values)), "")
            elif name == "interests":
                record.fields[name] = self._interests(values[0], columns[0])
            elif name != self._id:
                record.fields[name] = _joined([text_of(v, c, self._limit) for v, c in zip(values, columns, strict=True)])
        record.fields |= layout.constants
        for column, values in chunk.columns.items():
            if column in self._used:
                continue
            separator = layout.separators.get(column, "")
            cell = values[index]
            if column == KEY and cell == record.id:  # the row says its own id again
                continue
            if self._id == "item_id" and column not in layout.attributes and (media := media_of(column, cell)):
                record.fields.setdefault(*media)
                continue
            if not self._untyped and (what := unusable(cell)):
                place = self._reading.table.source.path
                self._reading.report.note(f"{place}: column {column} holds {what} values, which are not kept")
            kind = None if self._typed else self._kinds.kind(column)
            value = attribute(cell, kind, column, untyped=self._untyped, separator=separator, limit=self._limit)
            if value is not None:
                record.attributes[layout.attributes.get(column, column)] = value

    def _interests(self, value: Any, column: str) -> tuple[str, ...]:
        separator = self._reading.layout.separators.get(column, "")
        found = attribute(value, "text", column, untyped=self._untyped, separator=separator, limit=self._limit)
        return tuple(map(str, scalars(found)))


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
    table = open_table(path, mapping=mapping, limits=limits)
    layout = resolve("items", table.columns, mapping, Path(path))
    reading = Reading("items", table, layout, report, progress)
    pictures = "image" in layout.fields
    if pictures and media is None:
        report.note(f"{path}: pictures in column {layout.fields['image'][0]} are not taken: there is no media folder")
    records = _Records(reading, "item_id", limits)
    with ThreadPoolExecutor(_IMAGE_THREADS) as pool:
        try:
            for batch in records.batches(_IMAGE_ROWS if pictures and media is not None else CHUNK_ROWS):
                images = _take_images(batch, media, reading, pool) if media is not None else [None] * len(batch)
                reading.flush()
                reading.counts.kept += len(batch)
                if batch:
                    yield [_item(record, image) for record, image in zip(batch, images, strict=True)]
        finally:
            pool.shutdown(cancel_futures=True)


def _take_images(batch: list[_Record], media: MediaFolder, reading: Reading, pool: ThreadPoolExecutor) -> list[str | None]:
    base = reading.table.source.path.parent

    def take(record: _Record) -> str | MediaError | None:
        try:
            return media.take(image, base=base) if (image := record.fields.get("image")) else None
        except MediaError as error:
            return error

    taken: list[str | None] = []
    for record, image in zip(batch, pool.map(take, batch), strict=True):
        if isinstance(image, MediaError):
            reading.fault(record.place, CellFault("bad picture", reading.layout.fields["image"][0], str(image)))
            if image.hint:
                reading.report.note(f"pictures: {image.hint}")
        taken.append(None if isinstance(image, MediaError) else image)
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
    table = open_table(path, mapping=mapping, limits=limits)
    layout = resolve("users", table.columns, mapping, Path(path))
    reading = Reading("users", table, layout, report, progress)
    for batch in _Records(reading, "user_id", limits).batches(CHUNK_ROWS):
        reading.flush()
        reading.counts.kept += len(batch)
        if batch:
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
    table = open_table(path, mapping=mapping, limits=limits)
    layout = resolve("events", table.columns, mapping, Path(path))
    reading = Reading("events", table, layout, report, progress)
    if "timestamp" not in layout.fields:
        report.note(f"{path}: there is no column of times; the order of the rows is used")
    yield from _batches(reading, lambda cells, i, row: _event(cells, i, row, layout, known_items))


def _batches(reading: Reading, one: Callable[[Mapping[str, Sequence[Any]], int, int], T]) -> Iterator[list[T]]:
    """What `one` makes of (cells by field, place in them, row) of each row; a fault of a cell leaves its row out.

    Events and triples have no attributes: what else the table says is noted and not kept.
    """
    table, layout = reading.table, reading.layout
    if left := [column for column in table.columns if column not in layout.used]:
        reading.report.note(f"{table.source.path}: columns of {reading.kind} that are not kept: {', '.join(left[:30])}")
    for chunk in reading.chunks(only=tuple(layout.used)):
        cells = {name: chunk.columns.get(columns[0], []) for name, columns in layout.fields.items()}
        batch: list[T] = []
        for index, row, line in zip(count(), chunk.rows, chunk.lines or chunk.rows, strict=False):
            try:
                batch.append(one(cells, index, row))
            except CellFault as fault:
                reading.leave_out(Place(row, line), fault)
        reading.flush()
        reading.counts.kept += len(batch)
        if batch:
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
        timestamp=seconds(cells["timestamp"][i], fields["timestamp"][0]) if "timestamp" in cells else float(row),
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
    table = open_table(path, mapping=mapping, limits=limits)
    layout = resolve("triples", table.columns, mapping, Path(path))
    constant = _constant_relation(layout)
    reading = Reading("triples", table, layout, report, progress)
    yield from _batches(reading, lambda cells, i, _: _triple(cells, i, layout, constant))


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
