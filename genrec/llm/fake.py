"""The deterministic engine that ships: no weights, same answers everywhere. For tests and for trying an installation."""

import json
import math
import re
import zlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genrec.errors import EngineError, UnfinishedError
from genrec.llm.adapters import unknown
from genrec.llm.constrained import parse_schema
from genrec.llm.packing import Row, pack, prompt_of
from genrec.llm.protocol import Labels, Likelihood, ScoreRequest, Scores, WriteRequest, blind

_WORD = re.compile(r"\w+")
_TOKEN = re.compile(r"\w+|[^\w\s]|\n")

_SIMPLE = frozenset(
    "type enum properties required additionalProperties items minItems maxItems minLength maxLength minimum maximum "
    "title description pattern examples".split()
)
"""Keywords of JSON schema that it can write by."""


class FakeLLM:
    """An `LLM` that scores a text by the words it shares with the context, then by its hash; it never looks at a label's name.

    It writes the last line of its prompt, and by a schema the smallest value that fits, or of a pattern its first
    example.
    """

    id = "fake"
    max_tokens = 1_000_000

    def __init__(self, adapters: Sequence[str] = (), *, sees: bool = False) -> None:
        """`adapters`: names that requests may ask for; each gives scores of its own. `sees`: takes pictures, of which it writes
        the size."""
        self.adapters = tuple(adapters)
        self.sees = sees
        self._closed = False

    def count_tokens(self, text: str) -> int:
        return len(_encode(text))

    async def block(self) -> int:
        return 1

    async def score(self, requests: Sequence[ScoreRequest]) -> list[Scores]:
        self._check_open()
        self._check_adapters(requests)
        return [self._score(request, pack(request, _encode, self.max_tokens)) for request in requests]

    async def write(self, requests: Sequence[WriteRequest]) -> list[str]:
        self._check_open()
        self._check_adapters(requests)
        return [self._write(request) for request in requests]

    async def stream(self, request: WriteRequest) -> AsyncIterator[str]:
        self._check_open()
        self._check_adapters([request])
        for piece in re.findall(r"\s*\S+|\s+$", self._write(request)):
            yield piece

    def close(self) -> None:
        self._closed = True

    def _shown(self, path: Path) -> str:
        from genrec.models.pictures import open_named

        picture = open_named(path)
        return f"{picture.width}x{picture.height}"

    def _check_open(self) -> None:
        if self._closed:
            raise EngineError("the engine is closed", hint="Open the recommender again.")

    def _check_adapters(self, requests: Sequence[ScoreRequest | WriteRequest]) -> None:
        for request in requests:
            if request.adapter and request.adapter not in self.adapters:
                raise unknown(request.adapter, self.adapters)

    def _score(self, request: ScoreRequest, row: Row) -> Scores:
        if isinstance(request, Labels):
            texts = [_line_of(label.strip(), request.context) for label in request.labels]
            context = request.context.partition("\nCandidates:\n")[0]
        else:
            texts = list(request.continuations if isinstance(request, Likelihood) else request.segments)
            context = request.context
        known = set(_WORD.findall(context.lower()))
        logp = np.array([_affinity(text, known, request.adapter) for text in texts], dtype=np.float32)
        if isinstance(request, Labels):
            logp -= np.log(np.exp(logp).sum())
        whole = isinstance(request, Likelihood)
        tokens = np.array([self.count_tokens(text) if whole else 1 for text in texts], dtype=np.int32)
        return Scores(logp=logp, tokens=tokens, prompt_tokens=len(row.tokens), cached_tokens=0)

    def _write(self, request: WriteRequest) -> str:
        prompt_of(request, _encode, self.max_tokens)
        if request.images and not self.sees:
            raise blind(self.id)
        shown = [self._shown(path) for path in request.images]
        if request.schema:
            text = json.dumps(_minimal(parse_schema(request.schema), "schema"), ensure_ascii=False)
            if len(_encode(text)) > request.max_tokens or any(stop in text for stop in request.stop):
                raise UnfinishedError("the text ended before the JSON value was whole", hint="Raise max_tokens.")
            return text
        lines = [line for line in request.prompt.splitlines() if line.strip()]
        words = [*shown, *(lines[-1].split() if lines else ())]
        text = " ".join(words[: request.max_tokens])
        for stop in request.stop:
            text = text.partition(stop)[0]
        return text


def _encode(text: str) -> list[int]:
    """A token for every word, sign and line end."""
    return [zlib.crc32(token.encode()) for token in _TOKEN.findall(text)]


def _minimal(schema: Any, place: str) -> Any:
    """The smallest value that fits a simple schema. Raises EngineError for one that is not simple."""
    if isinstance(schema, dict) and not schema.keys() - _SIMPLE:
        if schema.get("enum"):
            return schema["enum"][0]
        kind = schema.get("type")
        if kind == "object":
            given = schema.get("properties", {})
            return {name: _minimal(given.get(name), f"{place}.{name}") for name in schema.get("required", [])}
        if kind == "array":
            return [_minimal(schema.get("items"), f"{place}[]") for _ in range(schema.get("minItems", 0))]
        if kind == "string" and "pattern" in schema:
            fitting = (one for one in schema.get("examples", []) if re.search(schema["pattern"], one))
            if (text := next(fitting, None)) is None:
                raise EngineError(f"the fake engine cannot write by {place}", hint="Give `examples` beside the pattern.")
            return text
        if kind == "string":
            return "x" * schema.get("minLength", 0)
        if kind in ("integer", "number"):
            least = schema.get("minimum", min(0, schema.get("maximum", 0)))
            return math.ceil(least) if kind == "integer" else least
        if kind == "boolean":
            return False
    raise EngineError(f"the fake engine cannot write by {place}: {schema!r:.80}", hint="Use types, enums and bounds only.")


def _line_of(label: str, context: str) -> str:
    found = re.search(rf"^{re.escape(label)}\. (.*)$", context, re.MULTILINE)
    return found[1] if found else ""


def _affinity(text: str, known: set[str], adapter: str) -> float:
    words = _WORD.findall(text.lower())
    shared = len(known.intersection(words)) / max(1, len(words))
    return shared - 1.0 + zlib.crc32((adapter + text.strip()).encode()) / 2**32 / 10
