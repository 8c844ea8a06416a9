"""One route for the prompts of a whole list: an endpoint plugin of vLLM's server.

A list by likelihood is a prompt for each title. As many requests over HTTP take longer, in the client and in the server's front,
than the titles' products. Here they come together, what they share once, and go to the engine as one request each, as vLLM's own
routes send them. Imports nothing of genrec, as `genrec_vllm_lora`.

    POST /inference/v1/genrec/scores
    {"model": NAME, "cache_salt": "", "shared": [token ids], "calls": [{"tokens": [...], "start": 12, "sampling_params": {...}}]}
    {"calls": [{"cached": 96, "next": [-1.2], "rows": [[-0.3], [-2.1]]}]}

`tokens` follow `shared`. `next` are log-probabilities of `logprob_token_ids` behind the last token, `rows` those of the prompt's
rows from `start` on: of `prompt_logprob_token_ids`, or with `prompt_logprobs` of the prompt's own next token. `rows` is null
where the call wants none, or where the prefix cache reached past `start`; null stands for what is no number.
"""

import asyncio
import math
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

PATH = "/inference/v1/genrec/scores"
"""Below /inference, which the server's key guards."""


class Lists:
    """vLLM's `EndpointPlugin`."""

    name = "genrec_lists"
    required_tasks = ("generate",)

    async def init_state(self, engine_client: Any, state: Any, args: Any) -> None:
        state.genrec_engine = engine_client

    def attach_router(self, app: Any) -> None:
        from fastapi import HTTPException, Request  # pyright: ignore[reportMissingImports]
        from vllm.entrypoints.serve.utils.api_utils import with_cancellation  # pyright: ignore[reportMissingImports]

        async def scores(body: dict[str, Any], raw_request: Request) -> dict[str, Any]:
            state = raw_request.app.state
            try:
                model, shared = body["model"], list(body["shared"])
                calls = [(list(call["tokens"]), int(call["start"]), dict(call["sampling_params"])) for call in body["calls"]]
            except (KeyError, TypeError, ValueError) as error:
                raise HTTPException(400, f"no list of calls: {type(error).__name__} {error}") from error
            models = state.openai_serving_models
            if not models.is_base_model(model) and model not in models.lora_requests:
                raise HTTPException(404, f"The model `{model}` does not exist.")
            asked = Asked(state.genrec_engine, models.lora_requests.get(model), body.get("cache_salt") or "")
            return {"calls": await together([asked.answer([*shared, *tokens], start, params) for tokens, start, params in calls])}

        # a client that hangs up has its prompts given up
        app.add_api_route(PATH, with_cancellation(scores), methods=["POST"], response_model=None)


class Asked:
    """What the calls of one request have in common."""

    def __init__(self, engine: Any, lora: Any, salt: str) -> None:
        self._engine, self._lora, self._salt = engine, lora, salt
        self._id = f"genrec-{uuid.uuid4().hex}"
        self._number = 0

    async def answer(self, tokens: Sequence[int], start: int, sampling: Mapping[str, Any]) -> dict[str, Any]:
        """One prompt's answer. Raises ValueError or TypeError when vLLM does not take it, RuntimeError when it gave it up."""
        from vllm.inputs import tokens_input  # pyright: ignore[reportMissingImports]
        from vllm.sampling_params import RequestOutputKind, SamplingParams  # pyright: ignore[reportMissingImports]

        params = SamplingParams(**sampling, output_kind=RequestOutputKind.FINAL_ONLY)
        prompt = tokens_input(list(tokens), cache_salt=self._salt or None)
        self._number += 1
        outputs = self._engine.generate(prompt, params, f"{self._id}-{self._number}", lora_request=self._lora)
        output = [one async for one in outputs][-1]
        if output.outputs[0].finish_reason not in ("stop", "length"):
            raise RuntimeError(f"the engine ended a prompt by {output.outputs[0].finish_reason}")
        return said(output, params, tokens, start)


def said(output: Any, params: Any, tokens: Sequence[int], start: int) -> dict[str, Any]:
    """vLLM's output of one prompt as the route tells it."""
    following = output.outputs[0].logprobs[0]
    cached, rows = output.num_cached_tokens or 0, None
    if params.prompt_logprob_token_ids is not None:
        told = output.prompt_token_id_logprobs
        rows = None if told is None else [[number(value) for value in row] for row in told.tolist()]
    elif params.prompt_logprobs is not None and cached <= start:
        told = output.prompt_logprobs
        rows = [[number(told[at][tokens[at]].logprob)] for at in range(start + 1, len(tokens))]
    return {"cached": cached, "next": [number(following[token].logprob) for token in params.logprob_token_ids], "rows": rows}


def number(value: float) -> float | None:
    """JSON has no other numbers."""
    return value if math.isfinite(value) else None


async def together(waiting: Sequence[Any]) -> list[Any]:
    """All results, in order; when one fails or the whole is given up, the others are given up."""
    tasks = [asyncio.ensure_future(one) for one in waiting]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
