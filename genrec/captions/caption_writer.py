"""The writer of captions: the LLM writes from evidence, the checker reads, the template stands in where it must."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from genrec.captions import caption_grammar, picture_captions
from genrec.captions.caption_checker import check
from genrec.captions.caption_languages import ENGLISH_CODE, Language
from genrec.captions.caption_prompt import (
    LANGUAGE_PROMPT,
    PICTURE_PROMPT,
    PROMPT,
    Caption,
    CaptionFacts,
    parse_caption,
    render_prompt,
)
from genrec.captions.caption_template import template_caption
from genrec.errors import UnfinishedError
from genrec.llm.protocol import LLM, WriteRequest
from genrec.prompts import Prompts
from genrec.settings.sections import CaptionSettings
from genrec.types import CaptionSource

TRIES = (0.0, 0.7)
"""Temperatures, one try each."""
MINUTE = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionRequest:
    """What one caption is written from. `row`: the item's row among the vectors, -1 where it has none; `image`: its picture."""

    facts: CaptionFacts
    row: int = -1
    image: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenCaption:
    """A caption that the checker accepts. `refused`: why earlier tries were not; `seen`: terms that only the picture supports."""

    caption: Caption
    source: CaptionSource
    refused: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()


@dataclass(slots=True)
class Usage:
    """What the LLM was asked for so far."""

    requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0


class RateLimiter:
    """Lets at most so much through in a minute, evenly spaced: what comes too soon waits for its turn."""

    def __init__(self, per_minute: float) -> None:
        """0: no limit."""
        self._seconds = MINUTE / per_minute if per_minute else 0.0
        self._free = 0.0

    async def wait(self, amount: float = 1.0) -> None:
        """Until `amount` more is within the limit."""
        if not self._seconds:
            return
        now = time.monotonic()
        start = max(now, self._free)
        self._free = start + amount * self._seconds
        await asyncio.sleep(start - now)


class CaptionWriter:
    """Writes captions with `llm`, or from the template where there is none; calls may be made concurrently.

    The LLM writes greedily, then by sampling where the first text is refused or repeats itself; what the checker refuses twice is
    left to the template. English is written with the adapter that learned it, any other language by the base model with a prompt
    of its own. A model that sees is shown the picture first, where there is one (English only); what it says beyond the evidence
    must be supported by the picture.

    model      the LLM's id, empty for the template
    adapter    the LoRA adapter that writes, empty for the base model
    prompt     digest of the templates of prompts, empty where none is used
    """

    def __init__(
        self,
        llm: LLM | None,
        prompts: Prompts,
        settings: CaptionSettings,
        language: Language,
        adapter: str = "",
        picture_supports: Callable[[int, str], bool] | None = None,
    ) -> None:
        """`picture_supports(row, term)`: whether the picture in a row of the vectors shows the term. Raises PromptError."""
        english = language.code == ENGLISH_CODE
        self._llm, self._prompts, self._settings, self._language = llm, prompts, settings, language
        self._picture_supports = picture_supports
        self._requests, self._tokens = RateLimiter(settings.requests_per_minute), RateLimiter(settings.tokens_per_minute)
        self._shows_pictures = llm is not None and llm.sees and english  # the picture encoder knows no other language
        self._text_prompt = PROMPT if english else LANGUAGE_PROMPT
        names = (PICTURE_PROMPT, self._text_prompt) if self._shows_pictures else (self._text_prompt,)
        self._prompt_names = names if llm is not None else ()
        self.model = "" if llm is None else llm.id
        self.adapter = adapter if llm is not None and english else ""
        self.prompt = "+".join(map(prompts.digest, self._prompt_names))
        self.usage = Usage()

    def uses(self, prompt: str) -> bool:
        """Whether a caption that notes the digest `prompt` was written from the same templates."""
        return self._prompts.agree(prompt, *self._prompt_names) if self._prompt_names else not prompt

    def prompt_tokens(self, facts: Iterable[CaptionFacts]) -> int:
        """Tokens of the prompts, without pictures, for one caption of each of `facts`. Raises PromptError, EngineError."""
        if self._llm is None:
            return 0
        rest = [self._render(one)[1] for one in facts]
        prefix, _ = self._render(CaptionFacts(tags=("x",)))
        return self._llm.count_tokens(prefix) * len(rest) + sum(map(self._llm.count_tokens, rest))

    async def write(self, request: CaptionRequest, seed: int) -> WrittenCaption:
        """Raises EngineError when the engine gives no text at all, PromptError."""
        refused: list[str] = []
        if self._llm is not None:
            if self._shows_pictures and (found := await self._from_picture(self._llm, request, seed, refused)):
                return found
            if found := await self._from_text(self._llm, request.facts, seed, refused):
                return found
        return WrittenCaption(caption=template_caption(request.facts, self._language), source="template", refused=tuple(refused))

    async def _from_text(self, llm: LLM, facts: CaptionFacts, seed: int, refused: list[str]) -> WrittenCaption | None:
        """What the LLM writes from the evidence in words; None where the checker refuses all of it."""
        prefix, rest = self._render(facts)
        request = WriteRequest(
            prefix=prefix,
            prompt=rest,
            max_tokens=self._settings.max_tokens,
            stop=("\n",),
            schema=caption_grammar.schema(facts, self._language),
            adapter=self.adapter,
        )
        repetitive: WrittenCaption | None = None  # true, but kept only where nothing better comes
        async for caption in self._drafts(llm, request, facts, seed, refused):
            found = check(caption, facts, self._language)
            written = WrittenCaption(caption=caption, source="llm", refused=tuple(refused))
            if found.fault:
                refused.append(found.fault)
            elif found.repetition:
                repetitive = repetitive or written
            else:
                return written
        return repetitive

    async def _from_picture(self, llm: LLM, request: CaptionRequest, seed: int, refused: list[str]) -> WrittenCaption | None:
        """What a model that sees writes; None where there is no whole picture, or nothing of it may be kept."""
        if request.image is None or await asyncio.to_thread(picture_captions.picture_fault, request.image):
            return None
        prefix, rest = render_prompt(self._prompts, request.facts, PICTURE_PROMPT)
        supports = (
            partial(self._picture_supports, request.row) if self._picture_supports is not None and request.row >= 0 else None
        )
        asked = WriteRequest(
            prefix=prefix,
            prompt=rest,
            max_tokens=self._settings.max_tokens,
            schema=picture_captions.schema(request.facts),
            images=(request.image,),
        )
        async for caption in self._drafts(llm, asked, request.facts, seed, refused):
            found = await asyncio.to_thread(picture_captions.check_with_picture, caption, request.facts, supports)
            if not found.fault:
                return WrittenCaption(caption=found.caption, source="picture", refused=tuple(refused), seen=found.seen)
            refused.append(found.fault)
        return None

    async def _drafts(
        self, llm: LLM, request: WriteRequest, facts: CaptionFacts, seed: int, refused: list[str]
    ) -> AsyncIterator[Caption]:
        """What the LLM writes, try by try, within the limits; why an answer is no caption goes to `refused`."""
        size = llm.count_tokens(request.prefix) + llm.count_tokens(request.prompt)
        for number, temperature in enumerate(TRIES):
            await self._requests.wait()
            await self._tokens.wait(size + request.max_tokens)
            self.usage.requests += 1
            self.usage.tokens_in += size
            try:
                (text,) = await llm.write([replace(request, temperature=temperature, seed=seed + number)])
            except UnfinishedError as error:  # of this text: the engine is well
                self.usage.tokens_out += request.max_tokens
                refused.append(str(error))
                continue
            self.usage.tokens_out += llm.count_tokens(text)
            try:
                caption = parse_caption(text, facts)
            except ValueError as error:
                refused.append(str(error))
            else:
                yield caption

    def _render(self, facts: CaptionFacts) -> tuple[str, str]:
        return render_prompt(self._prompts, facts, self._text_prompt, tuned=bool(self.adapter), language=self._language)
