"""A turn read by a language model as well: `await Reader(...).read(parsed, context)`.

The model writes one line of JSON under a schema made of the catalogue (`hearing`), so that every condition means something;
titles and words that the turn does not say are dropped. What it says is then laid over the parser's reading as `Trust` tells.
"""

import asyncio
from dataclasses import dataclass, field

from genrec.dialogue.hearing import hear, schema
from genrec.dialogue.linking import FindsItems
from genrec.dialogue.merging import Trust, merged
from genrec.dialogue.parsing import Understood
from genrec.dialogue.view import View, view_of
from genrec.dialogue.vocabulary import Vocabulary
from genrec.errors import EngineError
from genrec.models.llm import LLM, WriteRequest
from genrec.prompts import Prompts

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
                f"the turn was not read within {self.timeout_s:g} s", hint="Raise dialogue.understand_timeout_s, or set it off."
            ) from error
        try:
            heard = hear(written, view, self.vocabulary, parsed.text)
        except ValueError as error:
            raise EngineError(
                f"the turn was read as {written!r:.120}: {error}", hint="Set dialogue.understand to parser."
            ) from error
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
        tuned=tuned,
        attributes=view.lines(),
        shown=context.shown[:TITLES],
        asked=context.asked,
        turn=text,
        turn_chars=TURN_CHARS,
    )
    return prefix, rest
