"""vLLM's HTTP routes: what a server serves and can tell, score calls, texts.

Prompts go out as token ids. Which route scores prompt tokens is found out once per connection:

- "ids", "own": `/inference/v1/generate` (flag `--enable-scale-out`), which takes vLLM's whole SamplingParams and so reads the
  prefix cache. See `vllm_prompts.Rows` for the two.
- "uncached": `/v1/completions` with `prompt_logprobs`, on any vLLM server. vLLM then computes every prompt whole, the shared
  part once per candidate: right, and many times slower.

The route is proved against the plain one on a short text before it is used. A server of `genrec llm serve` takes all prompts of
a list by one request, too (`told_list`).
"""

import base64
import binascii
import contextlib
import io
import math
import re
import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import httpx
import numpy as np

from genrec.errors import EngineError
from genrec.llm.http_client import Json, RefusedError, Wire, nonsense, parsed
from genrec.llm.packing import Tokens, alike
from genrec.llm.protocol import WriteRequest
from genrec.llm.vllm_prompts import AGREE, Answer, Call, Read, Rows

Route = Literal["ids", "own", "uncached"]

PROBE = "A list of films:\n- Amélie (2001)\n- 千と千尋の神隠し | chosen: yes\nA. B."
"""The text on which tokenizers and routes are compared."""

LIST_SCORES = "/inference/v1/genrec/scores"
"""Of genrec's own plugin: the prompts of a whole list by one request (`vllm_plugin/genrec_vllm_lists.py`)."""
GENERATE = "/inference/v1/generate"
COMPLETIONS = "/v1/completions"
CHAT = "/v1/chat/completions"
SMALL_PICTURE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAAAAACPAi4CAAAAK0lEQVR42u3MMREAAAgEoNfkRjeEmwcBqMlNRyAQCAQCgUAg"
    "EAgEAsHzYAFAdAEArKmlZAAAAABJRU5ErkJggg=="
)
"""64 × 64, grey."""
NEUTRAL: Json = {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
"""Sampling as the request says: a server may have defaults of its own, from the model's generation_config.json."""

UNSPEAKABLE = "not JSON compliant"
"""Part of vLLM's answer when it would have to say NaN or infinity."""

_BROKEN = (KeyError, IndexError, TypeError, ValueError, AttributeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What a server offers."""

    name: str
    max_tokens: int
    adapters: tuple[str, ...]
    route: Route = "uncached"
    lists: bool = False  # whether it takes the prompts of a list by one request
    block: int = 0  # tokens in a block of its prefix cache; 0: it does not say
    blind: str | None = None  # why it takes no pictures; empty: it takes them; None: it was not asked yet

    @property
    def rows(self) -> Rows:
        return "ids" if self.route == "ids" else "own"


async def tokenize(wire: Wire, model: str, text: str) -> Tokens:
    """Tokens of `text`, without special tokens, by the server's tokenizer."""

    def read(told: Json) -> Tokens:
        try:
            return [int(token) for token in told["tokens"]]
        except _BROKEN as error:
            raise nonsense(f"no tokens in {str(told)[:80]}") from error

    return await wire.post("/tokenize", {"model": model, "prompt": text, "add_special_tokens": False}, read)


async def models(wire: Wire, name: str) -> Served:
    """The model called `name` and its adapters. Raises EngineError when the server serves another model."""

    def read(response: httpx.Response) -> list[tuple[str, str, int]]:
        try:
            return [(m["id"], m.get("parent") or "", int(m.get("max_model_len") or 0)) for m in parsed(response.text)["data"]]
        except _BROKEN as error:
            raise nonsense(f"{response.text[:80]!r} as its list of models") from error

    listed = await wire.get("/v1/models", read)
    bases = {model: length for model, parent, length in listed if not parent}
    if name not in bases:
        raise EngineError(
            f"the server at {wire.url} serves {', '.join(bases) or 'no model'}, not {name}",
            hint="Set models.llm to the server's model, or start the server with `--served-model-name` as models.llm has it.",
        )
    if bases[name] < 1:
        raise nonsense(f"{name} has no max_model_len: it is no vLLM server")
    adapters = tuple(model for model, parent, _ in listed if parent)
    return Served(name=name, max_tokens=bases[name], adapters=adapters)


async def block_size(wire: Wire) -> int:
    """Tokens in a block of the server's prefix cache, from its metrics; 0 when it does not say."""

    def read(response: httpx.Response) -> int:
        found = re.search(r'^vllm:cache_config_info\{.*?\bblock_size="(\d+)"', response.text, re.MULTILINE)
        return int(found[1]) if found else 0

    try:
        return await wire.get("/metrics", read)
    except RefusedError:
        return 0


async def prove(wire: Wire, name: str, tokens: Tokens) -> tuple[Route, bool]:
    """The best route by which this server scores prompt tokens rightly, and whether it takes those of a list together.

    Raises EngineError when even the plain route fails.
    """
    reads = tuple(Read(position=at, ids=(tokens[at + 1],), slot=at - 2) for at in range(2, len(tokens) - 1))
    call = Call(tokens=tokens[:-1], reads=reads)
    salt = secrets.token_hex(16)  # nothing of it is cached from an earlier proof
    plain = await told(wire, name, call, "uncached", salt=salt)
    routes: tuple[Rows, ...] = ("ids", "own")
    for route in routes:
        try:
            _agree(wire, call, await told(wire, name, call, route, salt=salt + route), plain, GENERATE)
        except RefusedError:
            continue
        try:
            (listed,) = await told_list(wire, name, [call], route, salt=salt + "list")
        except RefusedError:
            return route, False
        _agree(wire, call, listed, plain, LIST_SCORES)
        return route, True
    return "uncached", False


def _agree(wire: Wire, call: Call, fast: Answer, plain: Answer, path: str) -> None:
    """Raises EngineError when two ways to the same scores differ."""
    if not np.allclose(values(call, fast), values(call, plain), rtol=0, atol=AGREE):
        raise EngineError(
            f"the server at {wire.url} scores {values(call, fast).round(3).tolist()} by {path} and "
            f"{values(call, plain).round(3).tolist()} by {COMPLETIONS}",
            hint="Start it without --enable-scale-out, and report this with the version of vLLM.",
        )


def values(call: Call, answer: Answer) -> np.ndarray:
    """All that was read of a call of one token a read, in order."""
    if answer.rows is None:
        raise nonsense("no log-probabilities of prompt tokens")
    return np.asarray([*answer.rows[:, 0].tolist(), answer.next.get(call.next_ids[0], math.nan)])


async def told(wire: Wire, model: str, call: Call, route: Route, *, salt: str = "", adapter: str = "") -> Answer:
    """The answer to one call. Raises RefusedError when the server does not have the route, or what `Wire.post` raises."""
    body: Json = {"model": adapter or model} | ({"cache_salt": salt} if salt else {})
    if len(call.reads) == 1 or route == "uncached":  # what comes next is told by every server, out of the cache
        body |= {
            "prompt": call.tokens,
            "max_tokens": 1,
            "temperature": 0.0,
            "logprobs": 1,
            "logprob_token_ids": call.next_ids,
            "return_tokens_as_token_ids": True,
        }
        if len(call.reads) > 1:
            body["prompt_logprobs"] = 0
        return await wire.post(COMPLETIONS, body, lambda said: _completion(call, said), adapter=adapter)
    rows: Rows = "ids" if route == "ids" else "own"
    # the answer has room for as many tokens as were asked for, and the decoded one comes first: ask for one more
    asked = [*call.next_ids, next(token for token in range(len(call.next_ids) + 1) if token not in call.next_ids)]
    params = call.sampling(rows) | {"logprob_token_ids": asked, "logprobs": len(asked)}
    for skip in (False, False, True):
        try:
            body |= {"token_ids": call.tokens, "sampling_params": params | {"skip_reading_prefix_cache": skip}}
            return await wire.post(GENERATE, body, lambda said: _generation(call, said, rows), adapter=adapter)
        except RefusedError as error:
            # the rubbish that V1 puts into cached rows may be no number, which JSON cannot say: most often it is one next time
            if skip or rows == "ids" or UNSPEAKABLE not in str(error):
                raise
    raise AssertionError("the last attempt returns or raises")


def _completion(call: Call, said: Json) -> Answer:
    try:
        (choice,) = said["choices"]
        following = choice["logprobs"]["top_logprobs"][0]
        told_next = {int(key.removeprefix("token_id:")): _number(value) for key, value in following.items()}
        rows = call.own_rows(_prompt_logprobs(call, choice)) if len(call.reads) > 1 else None
        return Answer(rows=rows, next=told_next, cached_tokens=_cached(call, said, needed=False))
    except _BROKEN as error:
        raise nonsense(f"{type(error).__name__} {error} in a completion") from error


def _generation(call: Call, said: Json, kind: Rows) -> Answer:
    try:
        (choice,) = said["choices"]
        following = choice["logprobs"]["content"][0]["top_logprobs"]
        told_next = {int(top["token_id"]): _number(top["logprob"]) for top in following}
        cached = _cached(call, said, needed=kind == "own")
        rows = None
        if kind == "ids" and said.get("prompt_token_id_logprobs") is not None:
            rows = np.load(io.BytesIO(base64.b64decode(said["prompt_token_id_logprobs"])), allow_pickle=False)
        elif kind == "own" and cached <= call.start:
            rows = call.own_rows(_prompt_logprobs(call, said))
        return Answer(rows=rows, next=told_next, cached_tokens=cached)
    except (*_BROKEN, binascii.Error, EOFError) as error:
        raise nonsense(f"{type(error).__name__} {error} in a generation") from error


def _prompt_logprobs(call: Call, said: Json) -> list[Mapping[int, float] | None]:
    """Log-probabilities by token at each prompt token that is read; None at those before, which are most and may be rubbish."""
    read = said["prompt_logprobs"][call.start + 1 :]
    rows: list[Mapping[int, float] | None] = [None] * (call.start + 1)
    rows += [one and {int(key): _number(value["logprob"]) for key, value in one.items()} for one in read]
    return rows


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _cached(call: Call, said: Json, *, needed: bool) -> int:
    """Tokens of the prompt that came from the cache; 0 when the server does not say (`--enable-prompt-tokens-details`)."""
    usage = said["usage"]
    if usage["prompt_tokens"] != len(call.tokens):
        raise nonsense(f"{usage['prompt_tokens']} prompt tokens where {len(call.tokens)} were sent")
    details = usage.get("prompt_tokens_details")
    if details is None and needed:
        raise RefusedError(
            "the server does not say what came from its cache", status=200, hint="Add --enable-prompt-tokens-details."
        )
    return int((details or {}).get("cached_tokens") or 0)


def body(model: str, request: WriteRequest, asked: Json, params: Mapping[str, Any]) -> Json:
    """What has a text written; `asked`: the tokens of the prompt, or messages about pictures."""
    salt = {"cache_salt": request.salt} if request.salt else {}
    return {"model": request.adapter or model} | asked | salt | NEUTRAL | dict(params)


async def blindness(wire: Wire, model: str) -> str:
    """Why the server refuses a small picture, or an empty string when it takes it."""
    content = [{"type": "image_url", "image_url": {"url": SMALL_PICTURE}}, {"type": "text", "text": "What is this?"}]
    body: Json = {"model": model, "messages": [{"role": "user", "content": content}], "max_tokens": 1}
    try:
        await wire.post(CHAT, body, text_of)
    except RefusedError as error:
        return str(error)
    return ""


def text_of(said: Json) -> tuple[str, str]:
    """The text of a completion or of one event of it, and why it ended (empty: it goes on). Raises EngineError."""
    try:
        (choice,) = said["choices"]
        chatted = choice.get("message") or choice.get("delta")  # the rest of a chat's choice may be missing or null
        text = choice["text"] if chatted is None else chatted.get("content") or ""
        reason = choice["finish_reason"] or ""
    except _BROKEN as error:
        raise nonsense(f"{type(error).__name__} {error} in a completion") from error
    if not isinstance(text, str) or reason not in ("", "stop", "length"):
        raise nonsense(f"a text that ended by {reason or 'nothing'!r}")
    return text, reason


async def written(wire: Wire, body: Json, adapter: str) -> tuple[str, str]:
    """The whole text and why it ended."""
    return await wire.post(_path(body), body, text_of, adapter=adapter)


async def pieces(wire: Wire, body: Json, adapter: str) -> AsyncGenerator[tuple[str, str], None]:
    """The text piece by piece, with the reason of the end at the last one."""
    async with contextlib.aclosing(wire.events(_path(body), body | {"stream": True}, adapter=adapter)) as events:
        async for said in events:
            if said.get("choices"):
                yield text_of(said)


def _path(body: Json) -> str:
    return CHAT if "messages" in body else COMPLETIONS


async def told_list(
    wire: Wire, model: str, calls: Sequence[Call], kind: Rows, *, salt: str = "", adapter: str = ""
) -> list[Answer]:
    """The answers to `calls`, in order. Raises RefusedError when the server has not got the route, and what `Wire.post` does."""
    prompts = [call.tokens for call in calls]
    shared = alike(min(prompts), max(prompts))  # what these two share, all that lie between them share
    body: Json = {
        "model": adapter or model,
        "cache_salt": salt,
        "shared": prompts[0][:shared],
        "calls": [
            {"tokens": call.tokens[shared:], "start": call.start, "sampling_params": call.sampling(kind)} for call in calls
        ],
    }
    return await wire.post(LIST_SCORES, body, lambda said: _list_answers(calls, said), adapter=adapter, prompts=len(calls))


def _list_answers(calls: Sequence[Call], said: Json) -> list[Answer]:
    try:
        return [_list_answer(call, one) for call, one in zip(calls, said["calls"], strict=True)]
    except _BROKEN as error:
        raise nonsense(f"{type(error).__name__} {error} in the scores of a list") from error


def _list_answer(call: Call, said: Json) -> Answer:
    rows = said["rows"]
    return Answer(
        rows=None if rows is None else np.array([[_number(value) for value in row] for row in rows], np.float32),
        next={token: _number(value) for token, value in zip(call.next_ids, said["next"], strict=True)},
        cached_tokens=int(said["cached"]),
    )
