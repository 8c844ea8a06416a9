"""Keys and values of prompt prefixes, kept so that a shared part is computed once.

They are shared within a `Scope` only: an adapter makes other keys and values of the same tokens, and whoever uses a salt of
their own shall not be able to tell from the time a request takes what others asked.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np

KEEP = 24
"""Prefixes kept; one of 300 tokens is 7 MB for SmolLM2-135M in bf16."""

Scope = tuple[str, str]
"""(adapter, salt)"""


@dataclass(frozen=True, slots=True)
class Prefix:
    """`tokens` and, for each layer, (keys, values) of shape (1, heads, len(tokens), head_dim)."""

    tokens: np.ndarray  # (length,) int64
    layers: tuple[tuple[Any, Any], ...]
    scope: Scope = ("", "")


EMPTY = Prefix(np.zeros(0, dtype=np.int64), ())


class PrefixCache:
    """The most recently used prefixes, found by longest common start (as the radix cache of SGLang, Zheng et al. 2024)."""

    def __init__(self, keep: int = KEEP) -> None:
        self._keep = keep
        self._entries: OrderedDict[tuple[Scope, bytes], Prefix] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, tokens: np.ndarray, scope: Scope = ("", "")) -> tuple[Prefix, int]:
        """The kept prefix of `scope` that shares most leading tokens with `tokens`, and how many; (EMPTY, 0) for none."""
        best, length, best_key = EMPTY, 0, None
        for key, entry in self._entries.items():
            if entry.scope != scope:
                continue
            n = min(len(entry.tokens), len(tokens))
            same = entry.tokens[:n] == tokens[:n]
            common = n if same.all() else int(same.argmin())
            if common > length or (common == length and length and len(entry.tokens) < len(best.tokens)):
                best, length, best_key = entry, common, key
        if best_key is not None:
            self._entries.move_to_end(best_key)
        return best, length

    def put(self, prefix: Prefix) -> None:
        key = (prefix.scope, prefix.tokens.tobytes())
        self._entries[key] = prefix
        self._entries.move_to_end(key)
        while len(self._entries) > self._keep:
            self._entries.popitem(last=False)

    def has(self, tokens: np.ndarray, scope: Scope = ("", "")) -> bool:
        return (scope, tokens.tobytes()) in self._entries
