"""The one protocol that every LLM engine speaks: `score` candidate lists, `write` short texts, `stream` one.

Texts are tokenised part by part and the token lists joined, so that a shared part has the same tokens in every request
(and its keys and values can be computed once). `prefix` is what is constant over requests, `context` what belongs to one user.

Every request may name a LoRA `adapter` of the engine (empty: the base model; requests for several may meet in one batch; one
that the engine does not have raises AdapterError) and a `salt`: cached keys and values are shared only between equal salts.

A request to write may show pictures (`images`) to an engine that `sees`. It then goes through the model's chat template, as one
message of a user: the prefix, the pictures, the prompt.
"""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from genrec.errors import EngineError, UnfinishedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Likelihood:
    """Score each continuation by log p(continuation | prefix + context), summed over its tokens."""

    prefix: str
    context: str
    continuations: tuple[str, ...]
    adapter: str = ""
    salt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """Score each label as the next token after prefix + context, renormalised over the labels.

    Every label must be one token for the engine's tokenizer, else LabelError.
    """

    prefix: str
    context: str
    labels: tuple[str, ...]
    adapter: str = ""
    salt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Markers:
    """Score each segment by log p(positive) - log p(negative) at its end, all segments in one pass.

    The segments follow one another after prefix + context; `positive` and `negative` must be one token each, else LabelError.
    """

    prefix: str
    context: str
    segments: tuple[str, ...]
    positive: str
    negative: str
    adapter: str = ""
    salt: str = ""


ScoreRequest = Likelihood | Labels | Markers


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Answer to one ScoreRequest, in its order."""

    logp: np.ndarray  # (n,) float32, nats (for Markers a difference of log-probabilities)
    tokens: np.ndarray  # (n,) int32, tokens scored for each entry
    prompt_tokens: int  # tokens the engine computed for this request
    cached_tokens: int  # tokens it took from a cached prefix


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteRequest:
    """Continue prefix + prompt until a `stop` string, the end token or `max_tokens`; the stop string is not returned.

    `temperature` 0 is greedy. With a temperature, `seed` makes the draw repeatable. `schema`: a JSON schema as text; what is
    written is then one JSON value that fits it, or the call raises UnfinishedError, or another EngineError when the engine
    cannot promise that.
    `images`: picture files, scaled down to `llm.image_pixels`; one that cannot be read raises MediaError.
    """

    prefix: str
    prompt: str
    max_tokens: int
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    seed: int = 0
    schema: str = ""
    adapter: str = ""
    salt: str = ""
    images: tuple[Path, ...] = ()


def blind(model: str, why: str = "") -> EngineError:
    """The error of a model that was shown pictures and takes none."""
    return EngineError(
        f"{model} takes no pictures{': ' if why else ''}{why}",
        hint="Serve a vision-language model (engine `vllm` or `openai`), or write without pictures.",
    )


def check_whole(request: WriteRequest, text: str, end: str = "") -> None:
    """Raises UnfinishedError when a text that was to be JSON ended, by `end`, before the value did."""
    if not request.schema:
        return
    try:
        json.loads(text)
    except ValueError as error:
        how = f" ({end})" if end else ""
        raise UnfinishedError(
            f"the JSON value is not whole after {request.max_tokens} tokens{how}", hint="Raise max_tokens."
        ) from error


class LLM(Protocol):
    """An engine. All calls may be made concurrently; the engine batches what arrives together."""

    @property
    def id(self) -> str:
        """Name of the model, for traces and manifests."""
        ...

    @property
    def max_tokens(self) -> int:
        """Longest prompt with its continuation, in tokens."""
        ...

    @property
    def adapters(self) -> Sequence[str]:
        """Names of the LoRA adapters that requests may ask for."""
        ...

    @property
    def sees(self) -> bool:
        """Whether requests to write may show pictures. Raises EngineError when a server cannot be asked."""
        ...

    def count_tokens(self, text: str) -> int:
        """Tokens of `text` without special tokens."""
        ...

    async def block(self) -> int:
        """Tokens in a block: of what requests share, whole blocks are computed once, and the rest for each of them.

        1: all is computed once, or the engine cannot say. Raises EngineError when a server cannot be asked.
        """
        ...

    async def score(self, requests: Sequence[ScoreRequest]) -> list[Scores]:
        """Score every request. Raises LabelError, AdapterError, or EngineError: a request does not fit, or the engine fails."""
        ...

    async def write(self, requests: Sequence[WriteRequest]) -> list[str]:
        """Write one text per request, in order. Raises AdapterError, EngineError, or MediaError before anything is written."""
        ...

    def stream(self, request: WriteRequest) -> AsyncIterator[str]:
        """Write one text, piece by piece as it is decoded. Raises AdapterError, EngineError or MediaError."""
        ...

    def close(self) -> None:
        """Free the engine; calls after it raise EngineError."""
        ...
