"""Score requests as prompts for vLLM and its answers as scores, on a made-up vLLM that keeps a prefix cache."""

import asyncio
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from genrec.errors import EngineError, LabelError
from genrec.llm import vllm_options
from genrec.llm.protocol import Labels, Likelihood, Markers, ScoreRequest, Scores, WriteRequest
from genrec.llm.vllm_prompts import MOST_NEXT, Answer, Call, Rows, plan, score, together, written
from genrec.settings.sections import LlmSettings
from tests.llm import engines

LONG = 10_000


def encode(text: str) -> list[int]:
    """A token for each character."""
    return [ord(sign) for sign in text]


def truth(tokens: Sequence[int], token: int) -> float:
    """log p(token | tokens) of the made-up model."""
    return -(zlib.crc32(repr((list(tokens), token)).encode()) % 1000 + 1) / 100


class Vllm:
    """Answers calls as vLLM does: caches whole blocks, never the last token; what it tells of cached rows is wrong."""

    def __init__(self, kind: Rows, block: int) -> None:
        self.kind: Rows = kind
        self.block = block
        self.kept: set[tuple[int, ...]] = set()
        self.calls: list[Call] = []

    async def __call__(self, calls: Sequence[Call]) -> list[Answer]:
        return [await self.told(call) for call in calls]

    async def told(self, call: Call) -> Answer:
        self.calls.append(call)
        tokens = call.tokens
        cached = 0
        while cached + self.block < len(tokens) and tuple(tokens[: cached + self.block]) in self.kept:
            cached += self.block
        self.kept.update(tuple(tokens[:end]) for end in range(self.block, len(tokens) + 1, self.block))
        params = call.sampling(self.kind)
        told = {token: truth(tokens, token) for token in params["logprob_token_ids"]}
        rows = None
        if "prompt_logprob_token_ids" in params:
            start, ids = params["prompt_logprob_start"], params["prompt_logprob_token_ids"]
            assert len(ids) == len(tokens) - 1 - start
            rows = None if cached > start else np.array([self.row(tokens[: start + n + 1], row) for n, row in enumerate(ids)])
        elif "prompt_logprobs" in params:
            own = [{token: 0.0 if at <= cached else truth(tokens[:at], token)} for at, token in enumerate(tokens)]
            rows = call.own_rows([None, *own[1:]])  # the cached rows are nonsense and must not be used
        return Answer(rows=rows, next=told, cached_tokens=cached)

    @staticmethod
    def row(tokens: Sequence[int], ids: Sequence[int]) -> list[float]:
        return [-math.inf if token < 0 else truth(tokens, token) for token in ids]


def scored(vllm: Vllm, request: ScoreRequest, block: int | None = None) -> Scores:
    return asyncio.run(score(plan(request, encode, LONG), vllm, vllm.kind, vllm.block if block is None else block))


def expected(request: ScoreRequest) -> list[float]:
    shared = encode(request.prefix + request.context)
    if isinstance(request, Likelihood):
        targets = [encode(text) for text in request.continuations]
        return [sum(truth(shared + target[:n], token) for n, token in enumerate(target)) for target in targets]
    if isinstance(request, Labels):
        logp = np.array([truth(shared, ord(label)) for label in request.labels])
        return list(logp - np.log(np.exp(logp).sum()))
    found = []
    for text in request.segments:
        shared = shared + encode(text)
        found.append(truth(shared, ord(request.positive)) - truth(shared, ord(request.negative)))
    return found


REQUESTS: list[ScoreRequest] = [
    Likelihood(prefix="A list:\n", context="Alien, The Matrix\n", continuations=("Aliens\n", "B", "A very long title indeed\n")),
    Likelihood(prefix="", context="x", continuations=("ab",)),
    Labels(prefix="A list:\n", context="Which?", labels=tuple("ABC")),
    Labels(prefix="A list:\n", context="Which?", labels=tuple(map(chr, range(200, 200 + 2 * MOST_NEXT + 1)))),
    Markers(prefix="A list:\n", context="Alien\n", segments=("Aliens|", "The Thing|", "B|"), positive="y", negative="n"),
]


@pytest.mark.parametrize("kind", ["ids", "own"])
@pytest.mark.parametrize("block", [1, 2, 3, 4, 8, 16, 64])
@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: type(request).__name__)
class TestScores:
    def test_the_first_time_and_again(self, kind: Rows, block: int, request_: ScoreRequest) -> None:
        vllm = Vllm(kind, block)
        for _ in range(3):
            np.testing.assert_allclose(scored(vllm, request_).logp, expected(request_), atol=1e-4)

    def test_another_block_than_told_costs_calls_not_truth(self, kind: Rows, block: int, request_: ScoreRequest) -> None:
        vllm = Vllm(kind, block)
        for told in (0, 1, 7, 16, 100):
            np.testing.assert_allclose(scored(vllm, request_, told).logp, expected(request_), atol=1e-4)


class TestPlan:
    def test_one_call_for_all_beginnings_and_one_a_longer_title(self) -> None:
        vllm = Vllm("ids", 64)
        scores = scored(vllm, REQUESTS[0])
        assert len(vllm.calls) == 3  # "B" is told by the first
        assert scores.tokens.tolist() == [7, 1, 25]
        assert scores.prompt_tokens == sum(len(call.tokens) for call in vllm.calls)
        assert vllm.calls[0].tokens == encode("A list:\nAlien, The Matrix\n")
        assert vllm.calls[0].next_ids == encode("AB")  # two titles begin with A
        assert vllm.calls[1].tokens == encode("A list:\nAlien, The Matrix\nAliens")  # the last token is not fed

    @pytest.mark.parametrize("kind", ["ids", "own"])
    def test_of_whole_blocks_nothing_is_computed_again(self, kind: Rows) -> None:
        request = Likelihood(prefix="p" * 20, context="c" * 12, continuations=tuple(f"{n} is a title\n" for n in range(9)))
        scores = scored(Vllm(kind, 16), request)
        fed = sum(len(encode(text)) - 1 for text in request.continuations)
        assert scores.prompt_tokens == 32 + fed
        longer = replace(request, context="c" * 13)
        assert scored(Vllm(kind, 16), longer).prompt_tokens == 33 + fed + 9

    def test_markers_are_one_call_where_rows_take_any_token(self) -> None:
        vllm = Vllm("ids", 64)
        scored(vllm, REQUESTS[4])
        assert len(vllm.calls) == 1
        scored(vllm := Vllm("own", 64), REQUESTS[4])
        assert len(vllm.calls) == 3

    def test_a_repeated_list_stays_in_the_cache(self) -> None:
        request = Likelihood(prefix="p" * 64, context="c" * 61, continuations=("title one", "another title"))
        vllm = Vllm("ids", 16)
        scored(vllm, request)
        again = scored(vllm, request)
        assert again.prompt_tokens < 6 * 16
        assert all(not call.sampling("ids")["skip_reading_prefix_cache"] for call in vllm.calls)

    def test_room_for_the_token_that_vllm_decodes(self) -> None:
        request = Labels(prefix="", context="x" * 99, labels=("A",))
        assert plan(request, encode, 100)
        with pytest.raises(EngineError, match="fit"):
            plan(request, encode, 99)


class TestFaults:
    @pytest.mark.parametrize(
        ("spoil", "error"),
        [
            (lambda answer: replace(answer, next={}), LabelError),
            (lambda answer: replace(answer, next=dict.fromkeys(answer.next, math.nan)), EngineError),
            (lambda answer: replace(answer, next=dict.fromkeys(answer.next, -9999.0)), EngineError),
            (lambda answer: replace(answer, next=dict.fromkeys(answer.next, 0.5)), EngineError),
            (lambda answer: replace(answer, rows=answer.rows[:-1]), EngineError),
            (lambda answer: replace(answer, rows=np.full_like(answer.rows, -np.inf)), EngineError),
            (lambda answer: replace(answer, cached_tokens=-1), EngineError),
            (lambda answer: replace(answer, cached_tokens=1000), EngineError),
        ],
        ids=["missing", "nan", "clamped", "positive", "short", "infinite", "negative", "more than all"],
    )
    def test_a_wrong_answer_is_no_score(self, spoil: Callable[[Answer], Answer], error: type[Exception]) -> None:
        honest = Vllm("ids", 64)

        async def send(calls: Sequence[Call]) -> list[Answer]:
            return [spoil(answer) if answer.rows is not None else answer for answer in await honest(calls)]

        with pytest.raises(error) as caught:
            asyncio.run(score(plan(REQUESTS[0], encode, LONG), send, "ids", 64))
        assert getattr(caught.value, "hint", "")

    def test_rows_that_stay_missing_are_asked_for_one_by_one(self) -> None:
        honest = Vllm("ids", 64)

        async def send(calls: Sequence[Call]) -> list[Answer]:
            return [replace(answer, rows=None) for answer in await honest(calls)]

        scores = asyncio.run(score(plan(REQUESTS[0], encode, LONG), send, "ids", 64))
        np.testing.assert_allclose(scores.logp, expected(REQUESTS[0]), atol=1e-4)

    def test_own_rows_that_lack_a_token(self) -> None:
        _, call = plan(Likelihood(prefix="", context="ab", continuations=("cde",)), encode, LONG).calls(None, "own")
        with pytest.raises(EngineError, match="left out"):
            call.own_rows([None, {98: -1.0}, {99: -1.0}, {98: -1.0}])
        with pytest.raises(EngineError, match="left out"):
            call.own_rows([None, {98: -1.0}])

    def test_one_failure_ends_the_others(self) -> None:
        ended = []

        async def fail() -> None:
            await asyncio.sleep(0)
            raise EngineError("no", hint="none")

        async def wait() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                ended.append(True)

        async def both() -> None:
            with pytest.raises(EngineError):
                await together([wait(), fail(), wait()])
            await asyncio.sleep(0)

        asyncio.run(both())
        assert ended == [True, True]


class TestWritten:
    def test_parameters(self) -> None:
        request = WriteRequest(prefix="ab", prompt="cd", max_tokens=5, stop=("\n",), temperature=0.5, seed=3, schema="{}")
        tokens, params = written(request, encode, 100)
        assert tokens == encode("abcd")
        assert params["max_tokens"] == 5
        assert params["stop"] == ["\n"]
        assert (params["temperature"], params["seed"]) == (0.5, 3)
        assert params["structured_outputs"]["json"] == "{}"
        assert "structured_outputs" not in written(replace(request, schema=""), encode, 100)[1]

    def test_refusals(self) -> None:
        request = WriteRequest(prefix="ab", prompt="cd", max_tokens=5)
        for bad in (replace(request, temperature=2.5), replace(request, temperature=-1.0), replace(request, prompt="")):
            with pytest.raises(EngineError) as caught:
                written(bad, encode, 100)
            assert caught.value.hint


class TestFlags:
    def flags(self, adapters: dict[str, Path] | None = None, cpu: bool = True, **settings: object) -> list[str]:
        given = LlmSettings.model_validate(settings)
        return vllm_options.engine_flags(given, dtype="bfloat16", adapters=adapters or {}, cpu=cpu)

    def value(self, flags: list[str], name: str) -> str:
        return flags[flags.index(name) + 1]

    def test_every_setting_is_passed_on(self) -> None:
        flags = self.flags(
            max_model_len=512,
            max_num_seqs=7,
            kv_cache_gb=0.5,
            block_size=64,
            quantization="fp8",
            eager=True,
            options=["--seed", "3"],
        )
        assert self.value(flags, "--dtype") == "bfloat16"
        assert self.value(flags, "--max-model-len") == "512"
        assert self.value(flags, "--max-num-seqs") == "7"
        assert self.value(flags, "--kv-cache-memory-bytes") == str(2**29)
        assert self.value(flags, "--block-size") == "64"
        assert self.value(flags, "--quantization") == "fp8"
        assert "--enforce-eager" in flags
        assert flags[-2:] == ["--seed", "3"]
        assert "--enable-lora" not in flags

    def test_defaults_differ_by_machine(self) -> None:
        cpu, gpu = self.flags(), self.flags(cpu=False)
        assert self.value(cpu, "--block-size") == "32"
        assert "--kv-cache-memory-bytes" in cpu
        assert "--hf-overrides" not in cpu
        assert "--block-size" not in gpu
        assert "--kv-cache-memory-bytes" not in gpu
        assert "float32" in self.value(gpu, "--hf-overrides")

    def test_adapters(self, llama: Path, tmp_path: Path) -> None:
        adapters = engines.save_adapters(tmp_path, llama)
        adapters["three"] = engines.save_adapter(tmp_path / "three", llama, rank=9, targets=("q_proj",), seed=3)
        flags = self.flags(adapters)
        assert self.value(flags, "--max-lora-rank") == "16"
        assert self.value(flags, "--max-loras") == "3"
        at = flags.index("--lora-target-modules")
        assert flags[at + 1 : at + 6] == ["down_proj", "o_proj", "q_proj", "up_proj", "v_proj"]
