"""What the tests of the `openai` engine share: how it is opened on the double, what it must answer, how its errors are timed."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from genrec.errors import EngineError
from genrec.llm.protocol import Likelihood
from genrec.settings.sections import LlmSettings
from tests.llm.vllm_double import NAME, Double, Fault, Handler, Json, logp

LIMIT_S = 20.0
SLACK_S = 2.0  # a busy machine


def settings(url: str, **changes: Any) -> LlmSettings:
    usual: dict[str, Any] = {"url": url, "timeout_s": LIMIT_S, "read_timeout_s": 10.0, "breaker_cooldown_s": 0.3}
    return LlmSettings.model_validate(usual | changes)


def expected(server: Double, request: Likelihood) -> list[float]:
    """What the double's model says, computed here."""
    shared = server.encode(request.prefix) + server.encode(request.context)
    model = request.adapter or NAME
    out = []
    for text in request.continuations:
        tokens = server.encode(text)
        out.append(sum(logp(model, shared + tokens[:n], token) for n, token in enumerate(tokens)))
    return out


async def within_limit(call: Coroutine[Any, Any, object] | asyncio.Future[Any], limit: float = LIMIT_S) -> EngineError:
    """The error that the call ends with, in time."""
    start = time.monotonic()
    with pytest.raises(EngineError) as caught:
        await asyncio.wait_for(call, 60)
    assert time.monotonic() - start < limit + SLACK_S
    assert caught.value.hint
    return caught.value


def says(status: int, **headers: str) -> Fault:
    def fault(handler: Handler, answer: Json) -> bool:
        handler.reply({"error": {"message": "no luck today"}}, status, **headers)
        return True

    return fault
