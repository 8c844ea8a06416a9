"""Which column of a table is which field: by a mapping, else by name.

A pair of the mapping (`--map`, any number of times) is one of

    title=Product Name          the field `title` is in that column
    text=plot,review            several columns are joined into the text of an item
    platform==netflix           a constant, for `platform`, the `kind` of events and the `relation` of triples
    genres[|]=Genre             a list attribute `genres`, split from a text column at `|` (any separator; `json`: a JSON list)
    interests[;]=likes          the same for the interests of a user
    attributes.year=Released    the attribute `year` is in that column
    item_id=#2                  the second column of a file without a header line

What is not mapped is found by name, whatever the case and the signs between words: first the field's own name, then the
usual other names. All other columns of items and users are attributes under their own names, except files and URLs in columns
such as `audio` and `video_url` of items: they become the item's audio and video and are not text about it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genrec.data.ingest_report import TableKind
from genrec.errors import ConfigError, TableError

_USER = ("userid", ("uid", "user", "reviewerid", "customerid", "memberid", "personid", "visitorid", "accountid", "profileid"))
_ITEM = ("itemid", ("item", "iid", "movieid", "asin", "parentasin", "productid", "sku", "isbn", "bookid", "songid", "trackid",
                    "gameid", "articleid", "newsid", "videoid", "businessid"))  # fmt: skip
_IMAGES = ("imagepath", "imageurl", "imurl", "img", "poster", "posterpath", "posterurl", "picture", "photo", "cover", "coverurl",
           "thumbnail", "imagefile")  # fmt: skip
_MEDIA = {
    name: kind for kind in ("audio", "video") for name in (kind, *(kind + end for end in ("path", "url", "file", "filename")))
}
_MEDIA |= {"trailer": "video", "trailerurl": "video", "clip": "video", "clipurl": "video", "previewurl": "audio"}
_MEDIA_FILE = re.compile(
    r"(https?://|data:(audio|video)/)\S+|[^\n]+\.(mp3|m4a|aac|ogg|oga|opus|flac|wav|wma|aiff?|mp4|m4v|mov|mkv|webm|avi|mpe?g|ogv|wmv|3gp)",
    re.IGNORECASE,
)
_TIMES = ("ts", "time", "date", "datetime", "unix", "unixtime", "unixreviewtime", "eventtime", "createdat", "sorttimestamp")

# For each field its names, best first, names of equal rank in brackets; two columns of one rank are ambiguous.
_NAMES: dict[TableKind, dict[str, tuple[str | tuple[str, ...], ...]]] = {
    "items": {
        "item_id": (*_ITEM, ("id", "key")),
        "platform": ("platform",),
        "title": ("title", ("name", "movietitle", "booktitle", "producttitle", "itemname", "productname", "headline")),
        "text": (),
        "image": ("image", "imagebytes", _IMAGES),
    },
    "users": {"user_id": (*_USER, ("id", "key")), "interests": ("interests", ("likes", "tastes", "preferences"))},
    "events": {
        "user_id": _USER,
        "item_id": _ITEM,
        "timestamp": ("timestamp", _TIMES, "position"),
        "kind": ("kind", ("event", "eventtype", "action", "type")),
        "value": ("value", ("rating", "score", "stars", "overall")),
        "platform": ("platform",),
    },
    "triples": {
        "head": ("head", ("subject", "source"), ("h", "s", "subj", "src"), ("headid", "headentity", "subjectid"), *_ITEM),
        "relation": ("relation", "predicate", ("r", "p", "rel", "pred"), ("relationid", "relationtype", "property", "edgetype")),
        "tail": ("tail", ("object", "target"), ("t", "o", "obj", "dst"), ("tailid", "tailentity", "objectid"), "entity"),
    },
}  # fmt: skip
_ALSO = {"events": {"rating": "value", "position": "timestamp"}}
"""Other names of fields that a mapping may use."""
_TEXTS = ("text", "description", "plot", "overview", "summary", "synopsis", "abstract", "storyline", "body")
_REQUIRED: dict[TableKind, tuple[str, ...]] = {
    "items": ("item_id",),
    "users": ("user_id",),
    "events": ("user_id", "item_id"),
    "triples": ("head", "relation", "tail"),
}
_CONSTANTS: dict[TableKind, tuple[str, ...]] = {
    "items": ("platform",),
    "users": (),
    "events": ("platform", "kind"),
    "triples": ("relation",),
}
_WITH_ATTRIBUTES = ("items", "users")
"""Tables whose other columns are attributes."""
_LIST = re.compile(r"(?P<name>.+)\[(?P<separator>.+)\]", re.DOTALL)
_ATTRIBUTE = "attributes."


@dataclass(slots=True)
class Layout:
    """Where each field is; `attributes` maps a column to another name.

    `fields[f]` are the columns of field f: several for `text`, and for the bytes and path of a picture, else one.
    """

    fields: dict[str, tuple[str, ...]] = field(default_factory=dict)
    constants: dict[str, str] = field(default_factory=dict)
    separators: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)

    @property
    def used(self) -> frozenset[str]:
        return frozenset(column for columns in self.fields.values() for column in columns)


def media_of(column: str, cell: Any) -> tuple[str, str] | None:
    """("audio" or "video", path or URL) where a cell of an item holds one, by the column's name and the cell's content.

    `Dolby 5.1` in a column `audio` is no file. Of a list of files the first counts.
    """
    kind = _MEDIA.get(normal(column))
    if kind is None:
        return None
    cells = list(cell) if isinstance(cell, list | tuple) else [cell]
    files = [one.strip() for one in cells if isinstance(one, str) and _MEDIA_FILE.fullmatch(one.strip())]
    return (kind, files[0]) if files and len(files) == len(cells) else None


def parse_map(pairs: Iterable[str]) -> dict[str, str]:
    """`["title=Name", "genres[|]=Genre"]` as a mapping. Raises ConfigError for a pair without `=` or a field given twice."""
    mapping: dict[str, str] = {}
    for pair in pairs:
        # `platform==netflix` is a constant; the separator of a list may itself be `=`.
        split = re.fullmatch(r"([^=\[]+(?:\[.+\])?)=(.+)", pair, re.DOTALL)
        if split is None:
            raise ConfigError(f"--map {pair!r} is not FIELD=COLUMN", hint="For example --map title=Name --map 'genres[|]=Genre'.")
        name, column = split[1].strip(), split[2].strip()
        if name in mapping:
            raise ConfigError(f"--map names {name} twice", hint="Keep one of the two.")
        mapping[name] = column
    return mapping


def normal(name: str) -> str:
    """A column's name without case and signs: `Movie ID`, `movie_id` and `movieId` become the same."""
    return re.sub(r"[\W_]+", "", name.casefold())


def resolve(kind: TableKind, columns: Sequence[str], mapping: Mapping[str, str] | None, path: Path) -> Layout:
    """Find the columns. Raises ConfigError for a field that does not exist, TableError for columns missing or ambiguous."""
    layout = Layout()
    for target, value in (mapping or {}).items():
        _place(layout, kind, target, value, columns, path)
    free = [column for column in columns if column not in layout.used and column not in layout.attributes]
    for name, ranks in _NAMES[kind].items():
        if name in layout.fields or name in layout.constants:
            continue
        if name == "text":
            found = tuple(column for column in free if normal(column) in _TEXTS)
        else:
            found = _by_name(name, ranks, free, path)
            if name == "image" and found and normal(found[0]) == "imagebytes":  # a struct of bytes and path: either may be null
                found += tuple(column for column in free if normal(column) == "imagepath")
        if found:
            layout.fields[name] = found
            free = [column for column in free if column not in found]
    if missing := [name for name in _REQUIRED[kind] if name not in layout.fields and name not in layout.constants]:
        hint = f"Say which column it is: --map {missing[0]}=COLUMN (or #1, #2, … for a file without a header line)."
        raise TableError(f"{path}: no column for {' and '.join(missing)}; there is {_listed(columns)}", hint=hint)
    if kind in _WITH_ATTRIBUTES:
        _check_attributes(layout, free, path)
    return layout


def _place(layout: Layout, kind: TableKind, target: str, value: str, columns: Sequence[str], path: Path) -> None:
    """Enter one pair of the mapping into the layout."""
    listed = _LIST.fullmatch(target)
    name, separator = (listed["name"], listed["separator"]) if listed else (target, "")
    name = _ALSO.get(kind, {}).get(name, name)
    fields, open_to_more = tuple(_NAMES[kind]), kind in _WITH_ATTRIBUTES
    if name in layout.fields or name in layout.constants:
        raise ConfigError(f"--map gives {kind} two columns for {name}", hint="Keep one of the two.")
    plain_attribute = name.startswith(_ATTRIBUTE) and len(name) > len(_ATTRIBUTE)
    if name in fields and (not separator or name == "interests"):
        if value.startswith("=") and name in _CONSTANTS[kind]:
            layout.constants[name] = value[1:].strip()
            return
        parts = [value] if value in columns or name != "text" else [part.strip() for part in value.split(",")]
        layout.fields[name] = tuple(_column(part, target, columns, path) for part in parts)
        column = layout.fields[name][0]
    elif open_to_more and (plain_attribute or (separator and name not in fields)):
        column = _column(value, target, columns, path)
        if column in layout.attributes:
            raise ConfigError(f"--map uses the column {column} for two attributes", hint="Keep one of the two.")
        layout.attributes[column] = name.removeprefix(_ATTRIBUTE)
    else:
        known = ", ".join(fields) + (", attributes.NAME, NAME[separator]" if open_to_more else "")
        raise ConfigError(f"--map {target}={value}: {kind} have no field {name!r}", hint=f"The fields of {kind}: {known}.")
    if separator:
        layout.separators[column] = separator


_MEND = "Mend the --map option; one that is meant for another table begins with its kind: --map events:item_id=COLUMN."


def _column(wanted: str, target: str, columns: Sequence[str], path: Path) -> str:
    if wanted in columns:
        return wanted
    alike = [column for column in columns if normal(column) and normal(column) == normal(wanted)]
    if len(alike) == 1 and not wanted.startswith("#"):
        return alike[0]
    raise TableError(f"{path}: no column {wanted!r} for {target}; there is {_listed(columns)}", hint=_MEND)


def _by_name(name: str, ranks: Sequence[str | tuple[str, ...]], free: Sequence[str], path: Path) -> tuple[str, ...]:
    if name in free:
        return (name,)
    for rank in ranks:
        names = (rank,) if isinstance(rank, str) else rank
        found = [column for column in free if normal(column) in names]
        if len(found) > 1:
            hint = f"Choose one: --map {name}={found[0]}"
            raise TableError(f"{path}: {' and '.join(found)} could each be the {name}", hint=hint)
        if found:
            return (found[0],)
    return ()


def _check_attributes(layout: Layout, free: Sequence[str], path: Path) -> None:
    """No two columns may give one attribute, and none may hide a field of the record."""
    names = [layout.attributes.get(column, column) for column in (*layout.attributes, *free)]
    for name in layout.attributes.values():
        if name in ("item_id", "user_id", "platform", "title"):
            raise ConfigError(
                f"--map {_ATTRIBUTE}{name}: {name} is a field, not an attribute", hint=f"Write --map {name}=COLUMN."
            )
        if names.count(name) > 1:
            hint = "Choose another name for the attribute."
            raise TableError(f"{path}: two columns would be the attribute {name}", hint=hint)


def _listed(columns: Sequence[str]) -> str:
    shown = ", ".join(columns[:30])
    return shown + (f" and {len(columns) - 30} more" if len(columns) > 30 else "")
