"""The deterministic engine that ships: no weights, same answers everywhere. For tests and for trying an installation."""

import re
import zlib
from collections.abc import AsyncIterator, Sequence

import numpy as np

from genrec.errors import EngineError
from genrec.models.adapters import unknown
from genrec.models.llm import Labels, Likelihood, ScoreRequest, Scores, WriteRequest
from genrec.models.packing import Row, pack, prompt_of

_WORD = re.compile(r"\w+")
_TOKEN = re.compile(r"\w+|[^\w\s]|\n")


class FakeLLM:
    """An `LLM` that scores a text by the words it shares with the context, then by its hash; it never looks at a label's name.

    It writes the last line of its prompt.
    """

    id = "fake"
    max_tokens = 1_000_000

    def __init__(self, adapters: Sequence[str] = ()) -> None:
        """`adapters`: names that requests may ask for; each gives scores of its own."""
        self.adapters = tuple(adapters)
        self._closed = False

    def count_tokens(self, text: str) -> int:
        return len(_encode(text))

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
        lines = [line for line in request.prompt.splitlines() if line.strip()]
        text = " ".join(lines[-1].split()[: request.max_tokens]) if lines else ""
        for stop in request.stop:
            text = text.partition(stop)[0]
        return text


def _encode(text: str) -> list[int]:
    """A token for every word, sign and line end."""
    return [zlib.crc32(token.encode()) for token in _TOKEN.findall(text)]


def _line_of(label: str, context: str) -> str:
    found = re.search(rf"^{re.escape(label)}\. (.*)$", context, re.MULTILINE)
    return found[1] if found else ""


def _affinity(text: str, known: set[str], adapter: str) -> float:
    words = _WORD.findall(text.lower())
    shared = len(known.intersection(words)) / max(1, len(words))
    return shared - 1.0 + zlib.crc32((adapter + text.strip()).encode()) / 2**32 / 10
