"""What a turn says: by the parser, and where an adapter was measured to help, by the LLM as well."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from genrec.answering import Answering
from genrec.conversation.lexicon import Lexicon
from genrec.dialogue.merging import Trust
from genrec.dialogue.parsing import Parser, Understood
from genrec.dialogue.reading import PROMPT, Context, Reader
from genrec.dialogue.referring import Referring
from genrec.dialogue.state import State
from genrec.dialogue.telling import plain_title
from genrec.models.registry import InUse
from genrec.stages import Stages
from genrec.types import Item
from genrec.workspace import Workspace

STAGE = "reading"


@dataclass(frozen=True, slots=True)
class _Plan:
    """Whether the LLM reads along, with which adapter, and whom to believe. `note`: what is amiss with the adapter."""

    reads: bool
    adapter: str = ""
    trust: Trust = field(default_factory=Trust)
    note: str = ""


def parse(text: str, state: State, lexicon: Lexicon) -> Understood:
    """By the parser alone."""
    linker = Referring(lexicon.linker, state.choices or state.these)
    return Parser(lexicon.vocabulary, linker).parse(text, ongoing=bool(state.shown))


class Understanding:
    """Reads turns over one workspace. `dialogue.understand` says by whom."""

    def __init__(self, workspace: Workspace, answering: Answering) -> None:
        self._workspace, self._answering = workspace, answering
        self._plan: _Plan | None = None

    async def read(self, text: str, state: State, lexicon: Lexicon, stages: Stages, items: Mapping[str, Item]) -> Understood:
        """`text` after the dialogue so far; `items` has those of the last list. A fault of the model is told in `stages`, and the
        parser's reading then stands. Raises AdapterError, for one that the settings name and that does not fit.
        """
        linker = Referring(lexicon.linker, state.choices or state.these)
        with stages.timed("understanding"):
            parsed = parse(text, state, lexicon)
        if self._plan is None:  # looked for once, as the engine's adapters are those of its opening
            self._plan = await asyncio.to_thread(self._planned)
        if not self._plan.reads or not parsed.text.strip() or self._settled(parsed, self._plan.trust):
            return parsed
        stages.adapter("converse", self._plan.adapter, self._plan.note)
        with stages.timed(STAGE):
            shown = tuple(plain_title(items[one]) for one in state.these if one in items)
            reader = Reader(
                llm=await self._answering.llm(),
                prompts=self._workspace.prompts,
                vocabulary=lexicon.vocabulary,
                adapter=self._plan.adapter,
                trust=self._plan.trust,
                timeout_s=self._workspace.settings.dialogue.understand_timeout_s,
            )
            stages.prompts[PROMPT] = self._workspace.prompts.digest(PROMPT)
            return await reader.read(parsed, Context(shown=shown, asked=state.just_asked), linker)
        return parsed  # the model failed, as the stage tells

    def _planned(self) -> _Plan:
        told = self._workspace.settings.dialogue.understand
        if told == "parser":
            return _Plan(reads=False)
        serving: InUse = self._workspace.registry.in_use("converse")
        choice = serving.adapter.card.reading if serving.adapter else None
        if serving.adapter is None or choice is None:
            return _Plan(reads=told == "llm", note=serving.note)
        trust = Trust(**choice.model_dump(exclude={"serves"}))
        return _Plan(told == "llm" or choice.serves, serving.adapter.name, trust, serving.note)

    @staticmethod
    def _settled(parsed: Understood, trust: Trust) -> bool:
        """Whether nothing that the model may say would be believed: it is then not asked."""
        asks = trust.intent == "llm" or trust.need == "llm" or trust.titles
        asks |= trust.filter in ("llm", "add") or (trust.filter == "fill" and parsed.filter is None and not parsed.steers)
        felt = bool(parsed.liked or parsed.disliked or parsed.seen)
        asks |= trust.feelings != "parser" and bool(parsed.mentions) and (trust.feelings != "fill" or not felt)
        return not asks
