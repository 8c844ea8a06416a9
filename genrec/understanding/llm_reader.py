"""A turn read by a language model as well: `await Reader(...).read(parsed, context)`.

The model writes one line of JSON under a schema made of the catalogue (`hearing`), so that every condition means something;
titles and words that the turn does not say are dropped. What it says is then laid over the parser's reading as `Trust` tells.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from genrec.errors import EngineError
from genrec.filters import Filter
from genrec.llm.protocol import LLM, WriteRequest
from genrec.prompts import Prompts
from genrec.understanding.filter_text import all_of, attributes_of, parts_of
from genrec.understanding.linking import FindsItems, Mention
from genrec.understanding.parser import Understood
from genrec.understanding.relative_wishes import Steer
from genrec.understanding.turn_schema import FEELINGS, TurnReading, View, reading_of, schema, view_of
from genrec.understanding.vocabulary import Vocabulary

Source = Literal["parser", "llm"]
Joint = Literal["parser", "llm", "add", "fill"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whom to believe.

    filter    conditions and wishes relative to what was shown. `add`: the parser's, and the model's on attributes of which the
              parser says nothing; `fill`: the model's where the parser has none at all
    feelings  what is liked, disliked, seen. `add`: the parser's, and the model's on items of which the parser says nothing;
              `fill`: the model's where the parser has none at all
    titles    whether words that only the model takes for a title are looked up, too
    """

    intent: Source = "parser"
    filter: Joint = "fill"
    feelings: Joint = "add"
    titles: bool = False
    need: Source = "parser"


def merged(parsed: Understood, heard: TurnReading, trust: Trust, linker: FindsItems | None = None) -> Understood:
    """One reading of two. Titles that `linker` does not find are left out."""
    mentions = list(parsed.mentions)
    spans = {name: [one for title in getattr(heard, name) if (one := _place(title, parsed.text))] for name in FEELINGS}
    if trust.titles and linker is not None:
        for start, end in (span for found in spans.values() for span in found):
            mentions += _looked_up(start, end, parsed.text, mentions, linker)
        mentions.sort(key=lambda one: one.start)
    made, steers = _filter(parsed, heard, trust.filter)
    liked, disliked, seen = _feelings(parsed, mentions, spans, trust.feelings)
    intent = heard.intent if trust.intent == "llm" else parsed.intent
    return replace(
        parsed,
        intent=intent,
        filter=made,
        steers=steers,
        mentions=tuple(mentions),
        liked=liked,
        disliked=disliked,
        seen=seen,
        need=heard.need if trust.need == "llm" else parsed.need,
        question_about=(parsed.question_about or heard.about) if intent == "ask" else "",
    )


def _filter(parsed: Understood, heard: TurnReading, trust: Joint) -> tuple[Filter | None, tuple[Steer, ...]]:
    """Filter and steers."""
    if trust == "parser" or (trust == "fill" and (parsed.filter is not None or parsed.steers)):
        return parsed.filter, parsed.steers
    if trust in ("llm", "fill"):
        return heard.filter, heard.steers
    said = {name for part in parts_of(parsed.filter) for name in attributes_of(part)} | {one.attribute for one in parsed.steers}
    parts = [*parts_of(parsed.filter), *(part for name, part in heard.parts if name not in said)]
    steers = (*parsed.steers, *(one for one in heard.steers if one.attribute not in said))
    return all_of(parts), steers


def _feelings(
    parsed: Understood, mentions: Sequence[Mention], spans: dict[str, list[tuple[int, int]]], trust: Joint
) -> tuple[tuple[Mention, ...], tuple[Mention, ...], tuple[Mention, ...]]:
    """(liked, disliked, seen) of the mentions."""
    own = {one: name for name in ("liked", "disliked", "seen") for one in getattr(parsed, name)}
    if trust == "parser" or (trust == "fill" and own):
        felt = own
    else:
        told = {one: name for one in mentions if (name := _told(one, spans))}
        felt = told if trust in ("llm", "fill") else told | own
    liked, disliked, seen = (tuple(one for one in mentions if felt.get(one) == name) for name in ("liked", "disliked", "seen"))
    return liked, disliked, seen


def _told(mention: Mention, spans: dict[str, list[tuple[int, int]]]) -> str:
    for name in ("liked", "disliked", "seen"):
        if any(start < mention.end and mention.start < end for start, end in spans[name]):
            return name
    return ""


def _place(title: str, text: str) -> tuple[int, int] | None:
    start = text.lower().find(title.lower())
    return None if start < 0 or len(text.lower()) != len(text) else (start, start + len(title))


def _looked_up(start: int, end: int, text: str, known: Sequence[Mention], linker: FindsItems) -> list[Mention]:
    """The item that these words name when they are taken for a title, unless something there is known to be named."""
    if any(one.start < end and start < one.end for one in known):
        return []
    found = [one for one in linker.link(f'"{text[start:end]}"') if one.end - one.start >= 0.7 * (end - start)]
    return [replace(found[0], start=start, end=end, text=text[start:end])] if len(found) == 1 else []


PROMPT = "converse"
TURN_CHARS, TITLES = 400, 3
"""Characters of the turn and titles of the last list that the model is shown."""
MAX_TOKENS = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Where a turn stands. `shown`: titles of the last list, in order; `asked`: the attribute that the last answer asked for."""

    shown: tuple[str, ...] = ()
    asked: str = ""


@dataclass(slots=True)
class Reader:
    """Reads turns over one catalogue. `adapter`: of task `converse`, empty for the base model, which is shown examples."""

    llm: LLM
    prompts: Prompts
    vocabulary: Vocabulary
    adapter: str = ""
    trust: Trust = field(default_factory=Trust)
    timeout_s: float = 4.0

    async def read(self, parsed: Understood, context: Context, linker: FindsItems | None = None) -> Understood:
        """What the turn says, by the parser (`parsed`) and the model. `linker` finds titles that only the model noticed.

        Raises EngineError when the model fails, writes what cannot be read, or takes longer than `timeout_s`; AdapterError,
        PromptError. The caller has `parsed` to go on with.
        """
        view = view_of(self.vocabulary, parsed.text)
        request = request_of(self.prompts, view, parsed.text, context, adapter=self.adapter)
        try:
            async with asyncio.timeout(self.timeout_s):
                (written,) = await self.llm.write([request])
        except TimeoutError as error:
            raise EngineError(
                f"the turn was not read within {self.timeout_s:g} s", hint="Raise chat.understand_timeout_s, or set it off."
            ) from error
        try:
            heard = reading_of(written, view, self.vocabulary, parsed.text)
        except ValueError as error:
            raise EngineError(f"the turn was read as {written!r:.120}: {error}", hint="Set chat.understand to parser.") from error
        return merged(parsed, heard, self.trust, linker)


def request_of(prompts: Prompts, view: View, text: str, context: Context, *, adapter: str) -> WriteRequest:
    """What the model is asked for one turn; without an adapter, beside examples. Raises PromptError."""
    prefix, rest = prompt(prompts, view, text, context, tuned=bool(adapter))
    return WriteRequest(prefix=prefix, prompt=rest, max_tokens=MAX_TOKENS, stop=("\n",), adapter=adapter, schema=schema(view))


def prompt(prompts: Prompts, view: View, text: str, context: Context, *, tuned: bool) -> tuple[str, str]:
    """(prefix, rest); the prefix is the same for every turn. Raises PromptError."""
    prefix, rest = prompts.parts(
        PROMPT,
        2,
        {
            "tuned": tuned,
            "attributes": view.lines(),
            "shown": context.shown[:TITLES],
            "asked": context.asked,
            "turn": text,
            "turn_chars": TURN_CHARS,
        },
    )
    return prefix, rest
