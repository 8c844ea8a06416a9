"""What vLLM is asked, and what its answers mean; shared by the engine in this process and the one that talks to a server.

No vLLM is imported here. A score request becomes calls. Each is a prompt of token ids, and vLLM tells log-probabilities at two
places:

- at prompt rows from `start` on. Model runner V2 takes any tokens there (`prompt_logprob_token_ids`, `prompt_logprob_start`:
  "ids"); runner V1 (vLLM on a CPU without triton-cpu) tells those of the prompt's own next token only (`prompt_logprobs`:
  "own"). vLLM can only tell rows that it computes: where its prefix cache reaches past `start`, V2 leaves the answer out and
  V1 fills the cached rows with whatever was in memory, so they are never read;
- of given tokens as the next one (`logprob_token_ids` of one decoded token). The last row is always computed.

Candidates share the start of their prompts. How each of them begins is read behind the shared part by one prompt for all, and
their own prompts are read behind their first token: nothing is read before the end of the shared part, and where that is the
end of a block, all of it comes from the prefix cache (`skip_reading_prefix_cache` false). A list that was scored before may be
cached further than its first read. Then its rows are missing, and the reads are asked for again in pieces that lie within one
block of the cache each. vLLM caches whole blocks and never the last token of a prompt, so what is cached of such a piece ends
at its first read or before.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np

from genrec.errors import EngineError, LabelError
from genrec.llm.packing import Row, Tokens, pack, prompt_of
from genrec.llm.protocol import Labels, Likelihood, ScoreRequest, Scores, WriteRequest

T = TypeVar("T")

Rows = Literal["ids", "own"]
"""What vLLM can tell at prompt rows: log-probabilities of any tokens (runner V2) or of the prompt's own next token (V1)."""

MOST_NEXT = 128
"""Tokens that vLLM scores at most as the next one (its MAX_LOGPROB_TOKEN_IDS)."""

AGREE = 0.35
"""Nats per token that two ways to one log-probability may differ by in bf16, where two orders of summation differ, too."""

MOST_TEMPERATURE = 2.0
"""vLLM's own bound."""

NOTHING = -9999.0
"""What vLLM's server writes where there is no log-probability, or where it is not a number."""

_DEFECT = "Check the version of vLLM (0.32 or newer, model runner V2) and that nothing between changes its answers."


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """Log-probabilities of `ids` are wanted behind the token at `position`; they go to `slot` and the places after it."""

    position: int
    ids: tuple[int, ...]
    slot: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One prompt for vLLM. `reads` lie at ascending positions, the last one behind the last token."""

    tokens: Tokens
    reads: tuple[Read, ...]

    @property
    def start(self) -> int:
        """First prompt row that is read; `len(tokens) - 1` when only the next token is."""
        return self.reads[0].position

    @property
    def next_ids(self) -> Tokens:
        """Tokens scored as the next one, at most MOST_NEXT."""
        return list(self.reads[-1].ids)

    @property
    def rows(self) -> np.ndarray:
        """(len(tokens) - 1 - start, ids) int32: tokens scored at each prompt row from `start`; -1 where nothing is read."""
        inner = self.reads[:-1]
        table = np.full((len(self.tokens) - 1 - self.start, max((len(read.ids) for read in inner), default=0)), -1, np.int32)
        for read in inner:
            table[read.position - self.start, : len(read.ids)] = read.ids
        return table

    def sampling(self, kind: Rows) -> dict[str, Any]:
        """vLLM's SamplingParams, of plain values that JSON takes, too."""
        params: dict[str, Any] = {
            "max_tokens": 1,
            "temperature": 0.0,
            "detokenize": False,
            "skip_reading_prefix_cache": False,
            "logprob_token_ids": self.next_ids,
        }
        if len(self.reads) > 1 and kind == "ids":
            params |= {"prompt_logprob_token_ids": self.rows.tolist(), "prompt_logprob_start": self.start}
        elif len(self.reads) > 1:
            params["prompt_logprobs"] = 0  # nothing but the prompt's own tokens
        return params

    def own_rows(self, logprobs: Sequence[Mapping[int, float] | None]) -> np.ndarray:
        """`Answer.rows` from vLLM's `prompt_logprobs`: for each prompt token log-probabilities by token. Raises EngineError."""
        values = []
        for at in range(self.start + 1, len(self.tokens)):
            told = logprobs[at] if at < len(logprobs) else None
            if told is None or self.tokens[at] not in told:
                raise EngineError(f"vLLM left out the log-probability of prompt token {at}", hint=_DEFECT, retryable=True)
            values.append(told[self.tokens[at]])
        return np.asarray(values, dtype=np.float32)[:, None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What vLLM said to one call."""

    rows: np.ndarray | None  # (len(tokens) - 1 - start, ids) float32, nats; None: vLLM told none
    next: Mapping[int, float]  # log-probability of each of `next_ids` and perhaps of others, nats
    cached_tokens: int  # tokens of the prompt that came from the prefix cache


Send = Callable[[Sequence[Call]], Awaitable[list[Answer]]]
"""Has calls answered, in order."""


@dataclass(slots=True)
class Plan:
    """One score request: its prompts, all that is read of them, and the values that have come so far."""

    request: ScoreRequest
    prompts: list[Call]
    values: np.ndarray  # (slots,) float64, nats; NaN until answered
    slot: np.ndarray  # (tokens,) where the value of each scored token is; candidates that begin alike share one
    entry: np.ndarray  # (tokens,) the candidate, label or segment that the token belongs to
    computed_tokens: int = 0
    cached_tokens: int = 0

    def calls(self, block: int | None, kind: Rows) -> list[Call]:
        """Calls for what is still missing, cut so that each reads within `block` tokens (None: each prompt whole)."""
        missing = np.isnan(self.values)
        found = []
        for prompt in self.prompts:
            group: list[Read] = []
            for read in (read for read in prompt.reads if missing[read.slot]):
                if group and not _together(group[-1], read, prompt.tokens, block, kind):
                    found.append(Call(tokens=prompt.tokens[: group[-1].position + 1], reads=tuple(group)))
                    group = []
                group.append(read)
            if group:
                found.append(Call(tokens=prompt.tokens[: group[-1].position + 1], reads=tuple(group)))
        return found

    def take(self, call: Call, answer: Answer) -> None:
        """Keep what an answer tells. Raises LabelError or EngineError when it is not what was asked for."""
        if not 0 <= answer.cached_tokens <= len(call.tokens):
            raise EngineError(
                f"vLLM says it took {answer.cached_tokens} of {len(call.tokens)} tokens from its cache",
                hint=_DEFECT,
                retryable=True,
            )
        self.cached_tokens += answer.cached_tokens
        self.computed_tokens += len(call.tokens) - answer.cached_tokens
        absent = [token for token in call.next_ids if token not in answer.next]
        if absent:
            raise LabelError(
                f"vLLM left out the log-probability of token {absent[0]} ({len(absent)} of {len(call.next_ids)} asked for)",
                hint=_DEFECT,
            )
        found: list[tuple[Read, Iterable[float]]] = [(call.reads[-1], [answer.next[token] for token in call.next_ids])]
        if len(call.reads) > 1 and answer.rows is not None and answer.cached_tokens <= call.start:
            table = call.rows
            if answer.rows.shape != table.shape:
                raise EngineError(
                    f"vLLM scored {answer.rows.shape} prompt tokens instead of {table.shape}", hint=_DEFECT, retryable=True
                )
            found += [(read, answer.rows[read.position - call.start, : len(read.ids)]) for read in call.reads[:-1]]
        for read, values in found:
            logp = np.asarray(values, dtype=np.float64)
            if not np.isfinite(logp).all() or (logp > 1e-3).any() or (logp <= NOTHING).any():
                raise EngineError(f"vLLM gave {logp.tolist()} as log-probabilities", hint=_DEFECT, retryable=True)
            self.values[read.slot : read.slot + len(logp)] = logp

    @property
    def complete(self) -> bool:
        return not np.isnan(self.values).any()

    def scores(self) -> Scores:
        """The answer to the request, once `complete`."""
        request = self.request
        if isinstance(request, Likelihood):
            logp = np.bincount(self.entry, weights=self.values[self.slot])
            tokens = np.bincount(self.entry)
        elif isinstance(request, Labels):
            logp = self.values - np.logaddexp.reduce(self.values)
            tokens = np.ones(len(logp))
        else:
            logp = self.values[0::2] - self.values[1::2]
            tokens = np.ones(len(logp))
        return Scores(
            logp=logp.astype(np.float32),
            tokens=tokens.astype(np.int32),
            prompt_tokens=self.computed_tokens,
            cached_tokens=self.cached_tokens,
        )


def _together(read: Read, following: Read, tokens: Tokens, block: int | None, kind: Rows) -> bool:
    """Whether `read` may be a prompt row of the call that also has the `following` one."""
    if kind == "own" and (following.position != read.position + 1 or read.ids != (tokens[following.position],)):
        return False
    return block is None or read.position // block == following.position // block


def plan(request: ScoreRequest, encode: Callable[[str], Tokens], max_tokens: int) -> Plan:
    """The calls of one request. Raises LabelError, or EngineError when it is empty or does not fit (see `pack`)."""
    row = pack(request, encode, max_tokens - 1)  # vLLM decodes one token behind every prompt
    if isinstance(request, Likelihood):
        return _continuations(row)
    if isinstance(request, Labels):
        prompts = _next(row.shared, row.choices)
        entry = np.arange(len(row.choices))
    else:
        pair = tuple(row.choices)
        reads = tuple(Read(position=at, ids=pair, slot=2 * n) for n, at in enumerate(row.read_at))
        prompts = [Call(tokens=row.tokens, reads=reads)]
        entry = np.repeat(np.arange(len(row.read_at)), 2)
    return Plan(request=request, prompts=prompts, values=np.full(len(entry), np.nan), slot=np.arange(len(entry)), entry=entry)


def _next(tokens: Tokens, ids: Tokens) -> list[Call]:
    """Calls that score `ids`, in slots from 0, as what comes next."""
    last = len(tokens) - 1
    parts = [Read(position=last, ids=tuple(ids[at : at + MOST_NEXT]), slot=at) for at in range(0, len(ids), MOST_NEXT)]
    return [Call(tokens=tokens, reads=(part,)) for part in parts]


def _continuations(row: Row) -> Plan:
    """What all continuations begin with by one prompt, then one for each that has more; its last token is never fed."""
    entry, targets = np.asarray(row.read_for), np.asarray(row.targets)
    begins = np.diff(entry, prepend=-1) > 0
    firsts, alike = np.unique(targets[begins], return_inverse=True)
    slot = np.empty(len(targets), np.int64)
    slot[begins] = alike
    slot[~begins] = len(firsts) + np.arange((~begins).sum())
    prompts = _next(row.shared, firsts.tolist())
    for start, size in zip(np.flatnonzero(begins).tolist(), np.bincount(entry).tolist(), strict=True):
        if size > 1:
            target = row.targets[start : start + size]
            places = enumerate(slot[start + 1 : start + size].tolist())
            reads = tuple(Read(position=len(row.shared) + n, ids=(target[n + 1],), slot=place) for n, place in places)
            prompts.append(Call(tokens=row.shared + target[:-1], reads=reads))
    values = np.full(len(firsts) + int((~begins).sum()), np.nan)
    return Plan(request=row.request, prompts=prompts, values=values, slot=slot, entry=entry)


async def score(plan: Plan, send: Send, kind: Rows, block: int) -> Scores:
    """Have all calls of a plan answered. `block`: tokens in a block of vLLM's cache (0: not known, costs more calls).

    Raises what `send` raises, LabelError, or EngineError when answers stay missing.
    """
    for size in (None, block or 1, 1):  # the last is right for every block size
        calls = plan.calls(size, kind)
        for call, answer in zip(calls, await send(calls), strict=True):
            plan.take(call, answer)
        if plan.complete:
            return plan.scores()
    raise EngineError("vLLM left out log-probabilities of prompt tokens", hint=_DEFECT)


async def together(waiting: Iterable[Awaitable[T]]) -> list[T]:
    """All results, in order; when one fails, the others are given up and its error is raised."""
    tasks = [asyncio.ensure_future(one) for one in waiting]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()


def conversation(request: WriteRequest, pixels: int) -> list[dict[str, Any]]:
    """The one message of a user that shows pictures, as OpenAI has it: what is constant first. Raises MediaError."""
    from genrec.models.pictures import data_url

    shown = [{"type": "image_url", "image_url": {"url": data_url(path, pixels)}} for path in request.images]
    texts = [[{"type": "text", "text": text}] if text else [] for text in (request.prefix, request.prompt)]
    return [{"role": "user", "content": [*texts[0], *shown, *texts[1]]}]


def written(request: WriteRequest, encode: Callable[[str], Tokens], max_tokens: int) -> tuple[Tokens, dict[str, Any]]:
    """Token ids of the prompt, and vLLM's SamplingParams of plain values. Raises EngineError when it is empty or does not fit.

    A schema is at "structured_outputs", as its parameters.
    """
    tokens = encode(request.prefix) + prompt_of(request, encode, max_tokens)
    if not 0 <= request.temperature <= MOST_TEMPERATURE:
        raise EngineError(
            f"vLLM takes no temperature of {request.temperature}", hint=f"Choose one between 0 and {MOST_TEMPERATURE:g}."
        )
    params: dict[str, Any] = {
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "seed": request.seed,
        "stop": list(request.stop),
        "skip_special_tokens": True,
    }
    if request.schema:
        params["structured_outputs"] = {"json": request.schema}
    return tokens, params
