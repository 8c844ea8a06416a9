"""Token ids of texts for an engine whose model runs elsewhere: by the model's tokenizer on this machine, or by the server's."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from genrec.errors import WeightsError

Tokens = list[int]
Ask = Callable[[str], Awaitable[Tokens]]

KEPT = 20_000
"""Texts remembered: titles and instructions come again and again."""


class Tokenizer:
    """Tokens of texts, without special tokens. `prepare` texts before they are encoded; every thread may encode."""

    def __init__(self, folder: Path | None, ask: Ask) -> None:
        """`folder` holds the model's tokenizer; None: the server is asked, by `ask`. Raises WeightsError."""
        self._ask = ask
        self._known: dict[str, Tokens] = {}
        self._lock = threading.Lock()
        self._own = None if folder is None else _load(folder)

    @property
    def local(self) -> bool:
        """Whether the tokenizer is on this machine."""
        return self._own is not None

    async def prepare(self, texts: Iterable[str]) -> None:
        """Have the server encode what is not known yet; a local tokenizer needs no preparation."""
        wanted = list(dict.fromkeys(texts))
        while missing := [text for text in wanted if not self.known(text)]:  # again: another call may push out what was there
            for text, tokens in zip(missing, await asyncio.gather(*map(self._ask, missing)), strict=True):
                self._keep(text, tokens)

    def known(self, text: str) -> bool:
        return self._own is not None or not text or text in self._known

    def forget(self) -> None:
        """Ask anew: another server may have another tokenizer. A local one stays."""
        if self._own is None:
            with self._lock:
                self._known.clear()

    def encode(self, text: str) -> Tokens:
        """Raises KeyError for a text that the server was to encode and that was not prepared."""
        if not text:
            return []
        with self._lock:
            tokens = self._known.get(text)
            if tokens is None:
                if self._own is None:
                    raise KeyError(text)
                tokens = list(self._own(text, add_special_tokens=False)["input_ids"])
        self._keep(text, tokens)
        return tokens

    def _keep(self, text: str, tokens: Tokens) -> None:
        with self._lock:
            self._known[text] = tokens
            if len(self._known) > KEPT:
                self._known.pop(next(iter(self._known)))


def _load(folder: Path) -> Callable[..., dict[str, Tokens]]:
    from transformers import AutoTokenizer

    from genrec.models.sources import quiet

    try:
        with quiet():
            return AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise WeightsError(f"{folder}: {error}", hint="The folder must hold the tokenizer of a transformers model.") from error
