"""The writer of reasons: the LLM writes a sentence from the facts, the checker reads it, the template stands in where it must."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from genrec.llm.protocol import LLM, WriteRequest
from genrec.prompts import Prompts
from genrec.reasons.facts import TITLE_CHARS, Facts, insert_titles, short_title, template_sentence
from genrec.reasons.reason_checker import fault
from genrec.settings.sections import ReasonSettings
from genrec.types import Reason

PROMPT = "reason"
UNTUNED_TRIES = (0.0, 0.7)
TUNED_TRIES = (0.4, 0.8, 1.0, 0.0)
"""Temperatures, one try each. An adapter has learned many ways to say a thing, and people compare the reasons of a list."""
SEEDS = 10_000
"""Distance between the seeds of a reason's tries: more than there are reasons in a list."""
OPENINGS = ("Since you", "If you", "You", "Because you")


class ReasonWriter:
    """Writes reasons with `llm`, or from the template where there is none. `adapter`: the LoRA adapter that writes, if any."""

    def __init__(self, llm: LLM | None, prompts: Prompts, settings: ReasonSettings, adapter: str = "") -> None:
        self._llm = llm
        self._adapter = adapter
        self._prompts = prompts
        self._settings = settings

    def digests(self) -> dict[str, str]:
        return {PROMPT: self._prompts.digest(PROMPT)} if self._llm else {}

    async def write(self, facts: Sequence[Facts]) -> list[Reason]:
        """One reason for each of `facts`, in order; all are written as one batch. Raises EngineError or PromptError."""
        reasons: dict[int, Reason] = {}
        async for number, reason in self.stream(facts):
            reasons[number] = reason
        return [reasons[number] for number in range(len(facts))]

    async def stream(self, facts: Sequence[Facts]) -> AsyncIterator[tuple[int, Reason]]:
        """(place in `facts`, reason) as each is done; a sentence that another reason has is tried again. Raises as `write`."""
        used: set[str] = set()
        tasks = [asyncio.create_task(self._write_one(number, one, used)) for number, one in enumerate(facts)]
        try:
            for task in asyncio.as_completed(tasks):
                yield await task
        finally:
            for task in tasks:
                task.cancel()

    async def _write_one(self, number: int, facts: Facts, used: set[str]) -> tuple[int, Reason]:
        repeated = ""
        if self._llm is not None and facts.kind:
            opening = "" if self._adapter else _opening(number, facts)
            for attempt, temperature in enumerate(TUNED_TRIES if self._adapter else UNTUNED_TRIES):
                seed = number + attempt * SEEDS
                (written,) = await self._llm.write([self._request(facts, opening, temperature, seed)])
                text = insert_titles((opening + written).strip(), facts.past)
                if fault(text, facts):
                    continue
                if text not in used:
                    used.add(text)
                    return number, _by_llm(text, facts)
                repeated = text
        return number, _by_llm(repeated, facts) if repeated else template_reason(facts)

    def _request(self, facts: Facts, opening: str, temperature: float, seed: int) -> WriteRequest:
        prefix, prompt = reason_prompt(self._prompts, facts, opening=opening, tuned=bool(self._adapter))
        return WriteRequest(
            prefix=prefix,
            prompt=prompt,
            max_tokens=self._settings.max_tokens,
            stop=("\n",),
            temperature=temperature,
            seed=seed,
            adapter=self._adapter,
        )


def reason_prompt(prompts: Prompts, facts: Facts, *, opening: str = "", tuned: bool = False) -> tuple[str, str]:
    """(prefix, rest) of the prompt whose continuation is the reason, after `opening`. Raises PromptError."""
    prefix, rest = prompts.parts(
        PROMPT,
        2,
        {
            "kind": facts.kind,
            "tuned": tuned,
            "opening": opening,
            "past": [short_title(title) for title in facts.past],
            "liked": facts.liked,
            "shared": facts.shared,
            "words": facts.words or facts.interests,
            "stated": not facts.words,
            "title_chars": TITLE_CHARS,
        },
    )
    return prefix, rest.rstrip("\n")


def _opening(number: int, facts: Facts) -> str:
    """First words for a base model: a small one then keeps to the facts, and the reasons of a list do not all begin alike."""
    if facts.kind.startswith("past"):
        return f"{OPENINGS[number % len(OPENINGS)]} {'liked' if facts.liked else 'chose'}"
    return "It matches your search for" if facts.words else "It fits your interest in"


def _by_llm(text: str, facts: Facts) -> Reason:
    evidence = tuple(e for e in facts.evidence if e.kind != "caption")  # quoted by the template only: the LLM has not seen it
    return Reason(text=text, evidence=evidence, verified=True, source="llm", generated=facts.generated)


def template_reason(facts: Facts) -> Reason:
    """The template's sentence; it says only what is in the facts."""
    return Reason(
        text=template_sentence(facts), evidence=facts.evidence, verified=True, source="template", generated=facts.generated
    )
