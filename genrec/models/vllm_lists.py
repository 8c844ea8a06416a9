"""The calls of a whole list by one request, where the server has the route for it (`vllm_plugin/genrec_vllm_lists.py`)."""

import math
from collections.abc import Sequence

import numpy as np

from genrec.models.packing import alike
from genrec.models.vllm_prompts import Answer, Call, Rows
from genrec.models.wire import Json, Wire, nonsense

PATH = "/inference/v1/genrec/scores"

_BROKEN = (KeyError, IndexError, TypeError, ValueError, AttributeError)


async def told(wire: Wire, model: str, calls: Sequence[Call], kind: Rows, *, salt: str = "", adapter: str = "") -> list[Answer]:
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
    return await wire.post(PATH, body, lambda said: _answers(calls, said), adapter=adapter, prompts=len(calls))


def _answers(calls: Sequence[Call], said: Json) -> list[Answer]:
    try:
        return [_answer(call, one) for call, one in zip(calls, said["calls"], strict=True)]
    except _BROKEN as error:
        raise nonsense(f"{type(error).__name__} {error} in the scores of a list") from error


def _answer(call: Call, said: Json) -> Answer:
    rows = said["rows"]
    return Answer(
        rows=None if rows is None else np.array([[_number(value) for value in row] for row in rows], np.float32),
        next={token: _number(value) for token, value in zip(call.next_ids, said["next"], strict=True)},
        cached_tokens=int(said["cached"]),
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
