"""What a turn says: read by the parser and, where an adapter was measured to help, by the LLM as well."""

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
    """The words of a catalogue. `popularity`: how many people chose an item."""

    linker: Linker
    vocabulary: Vocabulary
    popularity: Mapping[str, int]

    @classmethod
    def read(cls, store: Store, schema: Mapping[str, Field]) -> "Lexicon":
        """About 3 seconds for 100,000 items. Raises StoreError."""
        items = [item for batch in store.all_items() for item in batch]
        popularity = dict(store.popularity())
        made = cls(Linker(items, popularity), Vocabulary.of(items, schema), popularity)
        Parser(made.vocabulary, made.linker).parse("anything")  # builds its tables, so that no person waits for them
        return made


STAGE = "reading"


def parse(text: str, state: State, lexicon: Lexicon) -> Understood:
    """What the turn says by the parser alone."""
    linker = Referring(lexicon.linker, state.choices or state.these, state.shown)
    return Parser(lexicon.vocabulary, linker).parse(text, ongoing=bool(state.shown), asked=state.just_asked)


class TurnUnderstanding:
    """Reads turns over one workspace. `chat.understand` says whether the LLM reads, too."""

    def __init__(self, workspace: Workspace, pipeline: AnswerPipeline) -> None:
        self._workspace, self._pipeline = workspace, pipeline
        self._served: ServedReading | None = None

    async def read(self, text: str, state: State, lexicon: Lexicon, stages: Stages, items: Mapping[str, Item]) -> Understood:
        """`text` after the dialogue so far; `items` has those of the last list. Where the model fails, as `stages` then say, the
        parser's reading stands. Raises AdapterError, for one that the settings name and that does not fit.
        """
        linker = Referring(lexicon.linker, state.choices or state.these, state.shown)
        with stages.timed("understanding"):
            parsed = parse(text, state, lexicon)
        if self._served is None:  # looked for once: the engine's adapters are those of its opening too
            self._served = await asyncio.to_thread(served_reading, self._workspace)
        served = self._served
        if not served.asks or not parsed.text.strip() or _settled(parsed, served.trust):
            return parsed
        stages.adapter("converse", served.adapter, served.note)
        understood = parsed
        with stages.degrading(STAGE):
            shown = tuple(plain_title(items[one]) for one in state.these if one in items)
            reader = Reader(
                llm=await self._pipeline.llm(),
                prompts=self._workspace.prompts,
                vocabulary=lexicon.vocabulary,
                adapter=served.adapter,
                trust=served.trust,
                timeout_s=self._workspace.settings.chat.understand_timeout_s,
            )
            stages.prompts[PROMPT] = self._workspace.prompts.digest(PROMPT)
            understood = await reader.read(parsed, Context(shown=shown, asked=state.just_asked), linker)
        return understood  # noqa: RET504 - the block may have ended before it was read


def _settled(parsed: Understood, trust: Trust) -> bool:
    """Whether nothing that the model may say would be believed: it is then not asked."""
    asks = trust.intent == "llm" or trust.need == "llm" or trust.titles
    asks |= trust.filter in ("llm", "add") or (trust.filter == "fill" and parsed.filter is None and not parsed.steers)
    felt = bool(parsed.liked or parsed.disliked or parsed.seen)
    asks |= trust.feelings != "parser" and bool(parsed.mentions) and (trust.feelings != "fill" or not felt)
    return not asks
