"""Captions: the LLM writes from evidence, the checker reads, a template stands in where it must."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from genrec.captions import caption_grammar
from genrec.captions import caption_prompt as captions
from genrec.captions import picture_captions as picture_caption
from genrec.captions.caption_checker import check
from genrec.captions.caption_languages import ENGLISH_CODE, Language
from genrec.captions.caption_prompt import Caption, CaptionFacts
from genrec.captions.caption_template import template_caption as from_template
from genrec.errors import UnfinishedError
from genrec.llm.protocol import LLM, WriteRequest
from genrec.prompts import Prompts
from genrec.reasons.facts import NAME_CHARS, TITLE_CHARS, VALUE_CHARS
from genrec.settings.sections import CaptionSettings
from genrec.types import CaptionSource

LANGUAGE_PROMPT = "caption_language"
TRIES = (0.0, 0.7)
"""Temperatures, one try each."""
MINUTE = 60.0

BearsOut = Callable[[int, str], bool]
"""Whether the picture in a row of the vectors bears out a term."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionRequest:
    """What one caption is written from. `row`: the item's row among the vectors, -1 where it has none; `image`: its picture."""

    facts: CaptionFacts
    row: int = -1
    image: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenCaption:
    """A caption that may be kept, who wrote it, why earlier tries were refused. `seen`: terms that only the picture bears out."""

    caption: Caption
    source: CaptionSource
    refused: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()


@dataclass(slots=True)
class Usage:
    """What the engine was asked for so far."""

    requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0


class Writer(Protocol):
    """Writes captions one at a time; calls may be made concurrently."""

    @property
    def prompt(self) -> str:
        """Digest of the template, empty where none is used."""
        ...

    def uses(self, prompt: str) -> bool:
        """Whether a caption that notes the digest `prompt` was written from the same template."""
        ...

    @property
    def adapter(self) -> str:
        """The LoRA adapter that writes, empty for the base model."""
        ...

    @property
    def spent(self) -> Usage:
        """What the engine was asked for so far."""
        ...

    def prefix(self) -> str:
        """The part of the prompt that is the same for all items. Raises PromptError."""
        ...

    def rest(self, request: CaptionRequest) -> str:
        """The other part. Raises PromptError."""
        ...

    async def write(self, request: CaptionRequest, seed: int) -> WrittenCaption:
        """Raises EngineError when the engine gives no text at all, PromptError."""
        ...


class RateLimiter:
    """At most so much a minute, evenly spaced: what is asked for too soon waits for its turn."""

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


class TemplateWriter:
    """No LLM."""

    prompt = ""
    adapter = ""

    def __init__(self, wording: Language) -> None:
        self._wording = wording
        self.spent = Usage()

    def uses(self, prompt: str) -> bool:
        return prompt == self.prompt

    def prefix(self) -> str:
        return ""

    def rest(self, request: CaptionRequest) -> str:
        return ""

    async def write(self, request: CaptionRequest, seed: int) -> WrittenCaption:
        return WrittenCaption(caption=from_template(request.facts, self._wording), source="template")


@dataclass(slots=True)
class TextWriter:
    """The LLM writes from evidence in words, greedily, then by sampling, where the first text is refused or says a thing twice;
    what the checker refuses twice is left to the template.

    English with the adapter that learned it, any other language by the base model with a prompt of its own. A model that sees is
    shown the picture first, where there is one (English only); what it says beyond the evidence must be borne out by the picture.
    """

    llm: LLM
    prompts: Prompts
    settings: CaptionSettings
    wording: Language
    adapter: str = ""
    bears_out: BearsOut | None = None
    spent: Usage = field(default_factory=Usage)
    prompt: str = field(init=False)
    requests: RateLimiter = field(init=False)
    tokens: RateLimiter = field(init=False)

    def __post_init__(self) -> None:
        self.requests, self.tokens = RateLimiter(self.settings.requests_per_minute), RateLimiter(self.settings.tokens_per_minute)
        if self.wording.code != ENGLISH_CODE:
            self.adapter = ""
        self.prompt = "+".join(map(self.prompts.digest, self._prompts))

    def uses(self, prompt: str) -> bool:
        return self.prompts.agree(prompt, *self._prompts)

    @property
    def _prompts(self) -> tuple[str, ...]:
        of_text = captions.PROMPT if self.wording.code == ENGLISH_CODE else LANGUAGE_PROMPT
        return (picture_caption.PROMPT, of_text) if self._shows else (of_text,)

    @property
    def _shows(self) -> bool:
        """Whether pictures are shown to the model."""
        return self.llm.sees and self.wording.code == picture_caption.LANGUAGE

    def prefix(self) -> str:
        return self._parts(CaptionFacts(tags=("x",)))[0]

    def rest(self, request: CaptionRequest) -> str:
        return self._parts(request.facts)[1]

    async def write(self, request: CaptionRequest, seed: int) -> WrittenCaption:
        refused: list[str] = []
        if self._shows and (found := await self._from_picture(request, seed, refused)):
            return found
        prefix, rest = self._parts(request.facts)
        asked = WriteRequest(
            prefix=prefix,
            prompt=rest,
            max_tokens=self.settings.max_tokens,
            stop=("\n",),
            schema=caption_grammar.schema(request.facts, self.wording),
            adapter=self.adapter,
        )
        clumsy: WrittenCaption | None = None  # true, but kept only where nothing better comes
        async for written in self._tries(asked, request.facts, seed, refused):
            found = check(written, request.facts, self.wording)
            if found.fault:
                refused.append(found.fault)
            elif found.repetition:
                clumsy = clumsy or WrittenCaption(caption=written, source="llm", refused=tuple(refused))
            else:
                return WrittenCaption(caption=written, source="llm", refused=tuple(refused))
        if clumsy is not None:
            return clumsy
        return WrittenCaption(caption=from_template(request.facts, self.wording), source="template", refused=tuple(refused))

    async def _from_picture(self, request: CaptionRequest, seed: int, refused: list[str]) -> WrittenCaption | None:
        """What a model that sees writes; None where there is no whole picture, or nothing of it may be kept."""
        if request.image is None or await asyncio.to_thread(picture_caption.picture_fault, request.image):
            return None
        prefix, rest = picture_caption.prompt(self.prompts, request.facts)
        bears_out = partial(self.bears_out, request.row) if self.bears_out is not None and request.row >= 0 else None
        asked = WriteRequest(
            prefix=prefix,
            prompt=rest,
            max_tokens=self.settings.max_tokens,
            schema=picture_caption.schema(request.facts),
            images=(request.image,),
        )
        async for written in self._tries(asked, request.facts, seed, refused):
            judged = await asyncio.to_thread(picture_caption.check_with_picture, written, request.facts, bears_out)
            if not judged.fault:
                return WrittenCaption(caption=judged.caption, source="picture", refused=tuple(refused), seen=judged.seen)
            refused.append(judged.fault)
        return None

    async def _tries(self, request: WriteRequest, facts: CaptionFacts, seed: int, refused: list[str]) -> AsyncIterator[Caption]:
        """What the engine writes, try by try; what is no caption goes to `refused`."""
        for number, temperature in enumerate(TRIES):
            asked = replace(request, temperature=temperature, seed=seed + number)
            if written := await self._asked(asked, facts, refused):
                yield written

    async def _asked(self, request: WriteRequest, facts: CaptionFacts, refused: list[str]) -> Caption | None:
        """What the engine writes, within the limits; None, with the reason in `refused`, where that is no caption."""
        size = self.llm.count_tokens(request.prefix) + self.llm.count_tokens(request.prompt)
        await self.requests.wait()
        await self.tokens.wait(size + request.max_tokens)
        self.spent.requests += 1
        self.spent.tokens_in += size
        try:
            (text,) = await self.llm.write([request])
        except UnfinishedError as error:  # of this text: the engine is well
            self.spent.tokens_out += request.max_tokens
            refused.append(str(error))
            return None
        self.spent.tokens_out += self.llm.count_tokens(text)
        try:
            return captions.parse_caption(text, facts)
        except ValueError as error:
            refused.append(str(error))
            return None

    def _parts(self, facts: CaptionFacts) -> Sequence[str]:
        if self.wording.code == ENGLISH_CODE:
            return captions.render_prompt(self.prompts, facts, tuned=bool(self.adapter))
        return self.prompts.parts(
            LANGUAGE_PROMPT,
            2,
            {
                "facts": facts,
                "code": self.wording.code,
                "language": self.wording.name,
                "phrases": self.wording.phrases,
                "title_chars": TITLE_CHARS,
                "value_chars": VALUE_CHARS,
                "name_chars": NAME_CHARS,
            },
        )
