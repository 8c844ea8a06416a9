"""Constrained decoding: only tokens that keep a text on its way to a JSON value of its schema (by llguidance)."""

import json
from collections.abc import Collection
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLTokenizer

from genrec.errors import EngineError

_SCHEMA_HINT = "Give a JSON schema as text, say {'type': 'object', 'properties': {...}, 'required': [...]}."
_LAYOUT: Any = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""JSON as `json.dumps` writes it: with free white space a small model may write nothing else."""


class Grammars:
    """Makes constraints for one model's tokenizer; what a schema compiles to is kept."""

    def __init__(self, tokenizer: Any, ends: Collection[int]) -> None:
        """`tokenizer`: of transformers, `ends`: the tokens that end a text. Takes a second for a large vocabulary."""
        from llguidance.hf import from_tokenizer

        try:
            self._tokenizer: LLTokenizer = from_tokenizer(tokenizer, eos_token=sorted(ends))
        except ValueError as error:
            raise EngineError(
                f"this model's tokenizer cannot write by a schema: {error}", hint="Take a model with a fast tokenizer."
            ) from error
        self._compiled: dict[str, LLMatcher] = {}

    def constraint(self, schema: str) -> "Constraint":
        """The constraint of one text to be written. Raises EngineError when the schema cannot be promised."""
        matcher = self._compiled.get(schema)
        if matcher is None:
            parse_schema(schema)
            matcher = LLMatcher(self._tokenizer, LLMatcher.grammar_from_json_schema(schema, overrides=_LAYOUT), log_level=0)
            if matcher.is_error():
                first = next((line for line in matcher.get_error().splitlines() if line.strip()), "no reason given")
                raise EngineError(f"the schema cannot be written by: {first}", hint=_SCHEMA_HINT)
            if len(self._compiled) > 100:
                self._compiled.clear()
            self._compiled[schema] = matcher
        return Constraint(matcher.deep_copy())


class Constraint:
    """Where one text stands on its way to a value of its schema."""

    def __init__(self, matcher: LLMatcher) -> None:
        self._matcher = matcher

    def allowed(self, vocabulary: int) -> np.ndarray:
        """(vocabulary,) bool: the tokens that may come next; at least one. Raises EngineError."""
        bits = np.unpackbits(np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8), bitorder="little")
        mask = np.zeros(vocabulary, dtype=bool)
        mask[: len(bits)] = bits[:vocabulary]
        if self._matcher.is_error() or not mask.any():
            raise self._fault()
        return mask

    def take(self, token: int) -> None:
        """Go on by a token that was allowed. Raises EngineError."""
        if not self._matcher.consume_token(token):
            raise self._fault()

    def forced(self) -> list[int]:
        """The tokens that come next whatever the model says (a key, its quotes, a comma), as its tokenizer writes them."""
        return self._matcher.compute_ff_tokens()

    @property
    def closed(self) -> bool:
        """Whether the value is whole and nothing but an end token may follow."""
        return self._matcher.is_stopped()

    def fault(self, written: str) -> str:
        """Why `written`, at its end, is not a whole value; empty when it is."""
        if not self._matcher.is_accepting():
            return "the text ended before the JSON value was whole"
        try:
            json.loads(written)
        except ValueError as error:
            return f"what was written is not JSON: {error}"
        return ""

    def _fault(self) -> EngineError:
        return EngineError(
            f"writing by the schema failed: {self._matcher.get_error() or 'no token is allowed'}",
            hint="Simplify the schema: bounded strings and arrays, no patterns.",
        )


def parse_schema(schema: str) -> dict[str, Any]:
    """A JSON schema as text. Raises EngineError when it is not a JSON object."""
    try:
        value = json.loads(schema)
    except (ValueError, RecursionError) as error:
        raise EngineError(f"the schema is not JSON: {error}", hint=_SCHEMA_HINT) from error
    if not isinstance(value, dict):
        raise EngineError(f"the schema is not a JSON object but {value!r:.60}", hint=_SCHEMA_HINT)
    return value
