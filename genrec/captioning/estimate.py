"""What a run would cost, before it is made: tokens by the model's tokenizer, seconds by the speed of the last run."""

from dataclasses import dataclass
from typing import Any

from genrec.captioning.running import Captioned, Plan
from genrec.models.llm import LLM
from genrec.settings import CaptionSettings
from genrec.store import Store
from genrec.writing.caption_writer import MINUTE, Request, Writer

SPEED = "caption.speed"
"""Key of the store: tokens of an answer, tries of a caption and captions a second, by who wrote."""
TOKENS_OUT, TRIES = 60.0, 1.1
"""Of one answer, and of one caption, while nothing was measured."""
LEAST_MEASURED = 8
"""A run of fewer captions measures nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a run would cost.

    by_llm      whether an LLM is asked; the template costs nothing
    seconds     None: nothing was measured yet with this model
    cost        in the currency of `caption.price_in`; None where no price is set
    """

    captions: int
    by_llm: bool
    requests: int
    tokens_in: int
    tokens_out: int
    seconds: float | None
    cost: float | None


def estimate(planned: Plan, writer: Writer, model: str, llm: LLM | None, settings: CaptionSettings, store: Store) -> Estimate:
    """Count the prompts of `planned`. Raises PromptError, EngineError where a server is asked for tokens and does not answer."""
    count = len(planned.targets)
    told = measured(store, model, writer)
    if llm is None:
        seconds = _seconds(count, told)
        return Estimate(captions=count, by_llm=False, requests=0, tokens_in=0, tokens_out=0, seconds=seconds, cost=0.0)
    prompts = [writer.rest(Request(facts=target.known.facts)) for target in planned.targets]
    once = llm.count_tokens(writer.prefix()) * count + sum(map(llm.count_tokens, prompts))
    tries = told.get("tries", TRIES)
    tokens_in, tokens_out = round(once * tries), round(count * tries * told.get("tokens_out", TOKENS_OUT))
    seconds = _seconds(count, told)
    for limit, amount in (
        (settings.requests_per_minute, count * tries),
        (settings.tokens_per_minute, once * tries + count * tries * settings.max_tokens),
    ):
        if limit:
            seconds = max(seconds or 0.0, amount / limit * MINUTE)
    priced = settings.price_in or settings.price_out
    cost = (tokens_in * settings.price_in + tokens_out * settings.price_out) / 1e6 if priced else None
    return Estimate(
        captions=count,
        by_llm=True,
        requests=round(count * tries),
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        seconds=seconds,
        cost=cost,
    )


def _seconds(count: int, told: dict[str, float]) -> float | None:
    return count / told["per_second"] if told.get("per_second") else None


def measured(store: Store, model: str, writer: Writer) -> dict[str, float]:
    """What the last run of this writer measured, empty without one."""
    kept = store.get_meta(SPEED)
    found = kept.get(_name(model, writer)) if isinstance(kept, dict) else None
    return found if isinstance(found, dict) else {}


def remember(store: Store, model: str, writer: Writer, outcome: Captioned) -> None:
    """Keep how fast `outcome` was, for the next estimate."""
    written = sum(outcome.sources.values())
    if written < LEAST_MEASURED or not outcome.seconds:
        return
    kept: Any = store.get_meta(SPEED)
    spent = outcome.spent
    figures = {"per_second": written / outcome.seconds, "tries": max(1.0, spent.requests / written)}
    if spent.requests:
        figures["tokens_out"] = spent.tokens_out / spent.requests
    store.set_meta(SPEED, (kept if isinstance(kept, dict) else {}) | {_name(model, writer): figures})


def _name(model: str, writer: Writer) -> str:
    return f"{model}/{writer.adapter}"
