"""What the plugin's route tells of vLLM's outputs. That a server takes it: test_server.py, in `make test-vllm`."""

import asyncio
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from genrec.llm import vllm_http
from genrec.llm.vllm_plugin import genrec_vllm_lists
from genrec.llm.vllm_plugin.genrec_vllm_lists import said, together

TOKENS = [5, 6, 7, 8]


def output(cached: int | None = 0, **more: Any) -> SimpleNamespace:
    following = {token: SimpleNamespace(logprob=-float(token)) for token in (9, 3)}
    return SimpleNamespace(outputs=[SimpleNamespace(logprobs=[following])], num_cached_tokens=cached, **more)


def params(**changes: Any) -> SimpleNamespace:
    usual = {"prompt_logprob_token_ids": None, "prompt_logprobs": None, "logprob_token_ids": [3, 9]}
    return SimpleNamespace(**usual | changes)


def test_both_halves_name_one_route() -> None:
    assert genrec_vllm_lists.PATH == vllm_http.LIST_SCORES
    assert genrec_vllm_lists.PATH.startswith("/inference")  # what vLLM's key guards


def test_only_what_comes_next() -> None:
    assert said(output(None), params(), TOKENS, 3) == {"cached": 0, "next": [-3.0, -9.0], "rows": None}


@pytest.mark.parametrize(("cached", "rows"), [(0, [[-7.0], [None]]), (1, [[-7.0], [None]]), (2, None)])
def test_rows_of_the_prompts_own_tokens(cached: int, rows: Any) -> None:
    own = [None, *({token: SimpleNamespace(logprob=value)} for token, value in zip(TOKENS[1:], (-6, -7, math.nan), strict=True))]
    told = said(output(cached, prompt_logprobs=own), params(prompt_logprobs=0), TOKENS, 1)
    assert told == {"cached": cached, "next": [-3.0, -9.0], "rows": rows}


def test_rows_of_any_tokens() -> None:
    table = np.array([[-1.0, -2.0], [-3.0, -math.inf]], np.float32)
    asked = params(prompt_logprob_token_ids=[[1, 2], [3, -1]])
    assert said(output(prompt_token_id_logprobs=table), asked, TOKENS, 1)["rows"] == [[-1.0, -2.0], [-3.0, None]]
    assert said(output(prompt_token_id_logprobs=None), asked, TOKENS, 1)["rows"] is None


def test_one_that_fails_has_the_others_given_up() -> None:
    given_up = []

    async def fails() -> None:
        await asyncio.sleep(0)
        raise ValueError("no")

    async def waits() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            given_up.append(True)
            raise

    async def both() -> None:
        with pytest.raises(ValueError, match="no"):
            await together([waits(), fails()])
        await asyncio.sleep(0)

    asyncio.run(both())
    assert given_up == [True]
