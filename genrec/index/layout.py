"""How items lie in the engine, the same in process and in a cluster.

A point's id is the UUID of its item id. The payload holds the item id and the fields under neutral keys (`f` and a digest of
name and type), because engines read dots, brackets and quotes in a key as a path and attribute names come from other people's
tables. A digest rather than a number: a process that still holds an older spec can then never read another field's values.
"""

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from genrec.errors import IndexFault
from genrec.filters import BUILT_IN, AttributeType, Field, coerce
from genrec.index.protocol import BM25, IndexSpec, Point
from genrec.types import Scalar

VERSION = 1
"""Of this layout; another one on disk means the index is to be built again."""
ITEM_ID = "id"
"""Payload key of the item id."""
INDEXED_FIELDS = 24
"""How many fields, in the order of the spec, get an index of their own; filters on the others read the payload."""
GRAPH_LINKS = 24
"""Links of an item in the HNSW graph. A filtered walk sees only those that pass: with the usual 16 and a filter that half of
the items pass recall@50 is 0.94 to 0.97 where 24 give 0.97 to 0.985, for the same time to build (60,000 items, eval/LOG.md)."""
REBUILD = "Run `genrec build` to make the index again; items and events are safe in the store."
_NAMESPACE = uuid.UUID("8c1d3a52-6a0e-5a43-9a2e-0f3d5f9f1c11")


@lru_cache(maxsize=1 << 18)
def point_id(item_id: str) -> str:
    """The engine's id of an item."""
    try:
        return str(uuid.uuid5(_NAMESPACE, item_id))
    except UnicodeEncodeError as error:
        raise IndexFault(f"item id {item_id!r} is not valid Unicode", hint="Mend the id in the input table.") from error


def stored(value: Scalar) -> str | float:
    """One value as the engine holds it. Booleans are words: the engine in process cannot match booleans (as of 0.9)."""
    return ("true" if value else "false") if isinstance(value, bool) else value


def _key(name: str, type_: AttributeType) -> str:
    return "f" + hashlib.blake2b(f"{type_} {name}".encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


@dataclass(frozen=True)
class Layout:
    """A spec with everything derived from it."""

    spec: IndexSpec

    @cached_property
    def fields(self) -> Mapping[str, Field]:
        """Every field by name, the built-in ones included."""
        return {**{name: field for name, field in self.spec.fields.items() if name not in BUILT_IN}, **BUILT_IN}

    @cached_property
    def keys(self) -> Mapping[str, str]:
        """Field name -> payload key."""
        return {name: ITEM_ID if name == "item_id" else _key(name, field.type) for name, field in self.fields.items()}

    def indexed(self) -> list[tuple[str, AttributeType]]:
        """(payload key, type) of each field that gets an index."""
        names = ["item_id", "platform", *(name for name in self.fields if name not in BUILT_IN)][:INDEXED_FIELDS]
        return [(self.keys[name], self.fields[name].type) for name in names]

    def dump(self) -> dict[str, object]:
        """The spec as JSON values in the order of its fields."""
        return {
            "version": VERSION,
            "vectors": dict(self.spec.vectors),
            "fields": [[name, field.type, field.is_list] for name, field in self.spec.fields.items()],
            "mean_tokens": self.spec.mean_tokens,
        }

    @classmethod
    def load(cls, values: object, place: str) -> "Layout":
        """The opposite of `dump`. Raises IndexFault when the values are of another version or damaged."""
        try:
            if not isinstance(values, dict) or values["version"] != VERSION:
                found = values.get("version") if isinstance(values, dict) else values
                raise IndexFault(f"{place}: index layout {found!r}, this version of genrec reads {VERSION}", hint=REBUILD)
            return cls(
                IndexSpec(
                    vectors={str(name): int(dim) for name, dim in values["vectors"].items()},
                    fields={name: Field(type_, bool(is_list)) for name, type_, is_list in values["fields"]},
                    mean_tokens=float(values["mean_tokens"]),
                )
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise IndexFault(f"{place}: the description of the index is damaged ({error!r})", hint=REBUILD) from error

    def payload(self, point: Point) -> dict[str, object]:
        """The point's fields as the engine stores them: coerced to the field's type, absent when nothing is left."""
        payload: dict[str, object] = {}
        for name, value in point.payload.items():
            if name not in self.fields:
                raise IndexFault(f"item {point.item_id!r}: the index has no field `{name}`", hint=REBUILD)
            values = [stored(one) for one in coerce(value, self.fields[name].type)]
            if values:
                payload[self.keys[name]] = values[0] if len(values) == 1 else values
        payload[ITEM_ID] = point.item_id
        try:
            json.dumps(payload, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise IndexFault(f"item {point.item_id!r}: a field is not valid Unicode", hint="Mend the input table.") from error
        return payload

    def vector(self, name: str, vector: np.ndarray, what: str) -> list[float]:
        """Check a dense vector against the spec; `what` names its owner in the message."""
        self.check_name(name, what)
        values = np.asarray(vector, dtype=np.float32)
        if values.shape != (self.spec.vectors[name],):
            raise IndexFault(
                f"{what}: vector {name!r} has shape {values.shape}, the index was made for ({self.spec.vectors[name]},)",
                hint=f"Another encoder makes another length. {REBUILD}",
            )
        if not np.isfinite(values).all():
            at = int(np.flatnonzero(~np.isfinite(values))[0])
            raise IndexFault(
                f"{what}: vector {name!r} holds {values[at]} at position {at}",
                hint="Leave a vector that could not be computed out of the point.",
            )
        return values.tolist()

    def check_name(self, name: str, what: str) -> None:
        if name not in self.spec.vectors:
            known = ", ".join(sorted(self.spec.vectors)) or "none"
            raise IndexFault(f"{what}: the index has no vector {name!r}", hint=f"It has: {known}. {REBUILD}")

    def key_for(self, field: str, value: Scalar, found: AttributeType) -> str:
        """The payload key of a field that a filter compares with a value of type `found`."""
        if field not in self.fields:
            raise IndexFault(f"the index has no field `{field}`", hint=REBUILD)
        if self.fields[field].type != found:
            raise IndexFault(
                f"the index holds `{field}` as {self.fields[field].type}, the filter compares it with {value!r}", hint=REBUILD
            )
        return self.keys[field]


def check_spec(spec: IndexSpec) -> None:
    """Raises IndexFault when no index can be made for it."""
    for name, dim in spec.vectors.items():
        if not name or name == BM25:
            raise IndexFault(f"a vector cannot be named {name!r}", hint=f"Any name but the empty one and {BM25!r}.")
        if not 1 <= dim <= 65_536:
            raise IndexFault(f"vector {name!r} has {dim} dimensions", hint="From 1 to 65,536.")
    if not spec.mean_tokens > 0:
        raise IndexFault(
            f"mean_tokens is {spec.mean_tokens}", hint="It is the expected number of words in an item's text, above 0."
        )


def item_id_of(payload: Mapping[str, object] | None) -> str:
    """The item id of a point found. Raises IndexFault when the engine lost it: damaged files, or a foreign point."""
    item_id = (payload or {}).get(ITEM_ID)
    if not isinstance(item_id, str):
        raise IndexFault("a point of the index carries no item id", hint=f"Its files are damaged. {REBUILD}")
    return item_id
