"""What a turn says: by the parser, and where an adapter was measured to help, by the LLM as well."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from genrec.answer.pipeline import AnswerPipeline
from genrec.answer.trace import Stages
from genrec.chat.replies import plain_title
from genrec.filters import Field
from genrec.store.store import Store
from genrec.types import Item
from genrec.understanding.linking import Linker
from genrec.understanding.llm_reader import PROMPT, Context, Reader, Trust
from genrec.understanding.parser import Parser, Understood
from genrec.understanding.references import Referring
from genrec.understanding.state import State
from genrec.understanding.vocabulary import Vocabulary
from genrec.workspace.adapters_in_use import ServedReading, served_reading
from genrec.workspace.folder import Workspace


@dataclass(frozen=True, slots=True)
class Lexicon:
    """`popularity`: how many people chose an item."""

    linker: Linker
    vocabulary: Vocabulary
    popularity: Mapping[str, int]

    @classmethod
    def read(cls, store: Store, schema: Mapping[str, Field]) -> "Lexicon":
        """About 3 seconds for 100,000 items. Raises StoreError."""
        items = [item for batch in store.all_items() for item in batch]
        popularity = dict(store.popularity())
        made = cls(Linker(items, popularity), Vocabulary.of(items, schema), popularity)
        Parser(made.vocabulary, made.linker).parse("anything")  # its tables are made by the first turn: not a person's
        return made


STAGE = "reading"


def parse(text: str, state: State, lexicon: Lexicon) -> Understood:
    """By the parser alone."""
    linker = Referring(lexicon.linker, state.choices or state.these, state.shown)
    return Parser(lexicon.vocabulary, linker).parse(text, ongoing=bool(state.shown), asked=state.just_asked)


class Understanding:
    """Reads turns over one workspace. `chat.understand` says by whom."""

    def __init__(self, workspace: Workspace, pipeline: AnswerPipeline) -> None:
        self._workspace, self._pipeline = workspace, pipeline
        self._serves: ServedReading | None = None

    async def read(self, text: str, state: State, lexicon: Lexicon, stages: Stages, items: Mapping[str, Item]) -> Understood:
        """`text` after the dialogue so far; `items` has those of the last list. A fault of the model is told in `stages`, and the
        parser's reading then stands. Raises AdapterError, for one that the settings name and that does not fit.
        """
        linker = Referring(lexicon.linker, state.choices or state.these, state.shown)
        with stages.timed("understanding"):
            parsed = parse(text, state, lexicon)
        if self._serves is None:  # looked for once, as the engine's adapters are those of its opening
            self._serves = await asyncio.to_thread(served_reading, self._workspace)
        serves = self._serves
        if not serves.asks or not parsed.text.strip() or self._settled(parsed, serves.trust):
            return parsed
        stages.adapter("converse", serves.adapter, serves.note)
        understood = parsed
        with stages.degrading(STAGE):
            shown = tuple(plain_title(items[one]) for one in state.these if one in items)
            reader = Reader(
                llm=await self._pipeline.llm(),
                prompts=self._workspace.prompts,
                vocabulary=lexicon.vocabulary,
                adapter=serves.adapter,
                trust=serves.trust,
                timeout_s=self._workspace.settings.chat.understand_timeout_s,
            )
            stages.prompts[PROMPT] = self._workspace.prompts.digest(PROMPT)
            understood = await reader.read(parsed, Context(shown=shown, asked=state.just_asked), linker)
        return understood  # noqa: RET504 - the block may have ended before it was read

    @staticmethod
    def _settled(parsed: Understood, trust: Trust) -> bool:
        """Whether nothing that the model may say would be believed: it is then not asked."""
        asks = trust.intent == "llm" or trust.need == "llm" or trust.titles
        asks |= trust.filter in ("llm", "add") or (trust.filter == "fill" and parsed.filter is None and not parsed.steers)
        felt = bool(parsed.liked or parsed.disliked or parsed.seen)
        asks |= trust.feelings != "parser" and bool(parsed.mentions) and (trust.feelings != "fill" or not felt)
        return not asks
