"""One contract for everything that calls itself an LLM."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from genrec.errors import EngineError, LabelError
from genrec.llm.protocol import Labels, Likelihood, Markers, ScoreRequest
from tests.llm.asking import (
    CONTEXT,
    PREFIX,
    TITLES,
    assert_same,
    labels,
    likelihood,
    markers,
    mixed,
    one_by_one,
    pieces_of,
    writing,
)
from tests.llm.engines import Opened


class TestScore:
    async def test_shapes_dtypes_and_finite(self, engine: Opened) -> None:
        requests = mixed()
        entries = [3, 3, 3, 1, 2, 1, 12]
        for request, n, scores in zip(requests, entries, await engine.llm.score(requests), strict=True):
            assert scores.logp.shape == scores.tokens.shape == (n,)
            assert scores.logp.dtype == np.float32
            assert scores.tokens.dtype == np.int32
            assert np.isfinite(scores.logp).all()
            assert scores.prompt_tokens > 0
            assert scores.cached_tokens >= 0
            if not isinstance(request, Likelihood):
                assert (scores.tokens == 1).all()

    async def test_the_order_is_that_of_the_entries(self, engine: Opened) -> None:
        (forth,), (back,) = await engine.llm.score([likelihood()]), await engine.llm.score([likelihood(TITLES[::-1])])
        np.testing.assert_allclose(forth.logp, back.logp[::-1], rtol=0, atol=engine.tolerance)
        assert len(set(forth.logp.tolist())) == 3
        assert forth.tokens.tolist() == [engine.llm.count_tokens(title) for title in TITLES]
        ab, ba = await engine.llm.score([labels(" A", " B"), labels(" B", " A")])
        np.testing.assert_allclose(ab.logp, ba.logp[::-1], rtol=0, atol=engine.tolerance)
        assert ab.logp[0] != ab.logp[1]

    async def test_labels_are_a_distribution(self, engine: Opened) -> None:
        (scores,) = await engine.llm.score([labels()])
        assert float(np.exp(scores.logp).sum()) == pytest.approx(1.0, abs=1e-5)

    async def test_the_context_matters(self, engine: Opened) -> None:
        one, two = await engine.llm.score([likelihood(), likelihood(context="- Cinderella\n-")])
        assert np.abs(one.logp - two.logp).max() > 1e-3

    async def test_a_batch_is_one_by_one(self, engine: Opened) -> None:
        assert_same(await engine.llm.score(mixed()), await one_by_one(engine.llm, mixed()), engine.tolerance)

    async def test_concurrent_tasks_are_one_by_one(self, engine: Opened) -> None:
        answers = await asyncio.gather(*(engine.llm.score([request]) for request in mixed()))
        assert_same([answer for (answer,) in answers], await one_by_one(engine.llm, mixed()), engine.tolerance)

    def test_concurrent_threads_are_one_by_one(self, engine: Opened) -> None:
        expected = asyncio.run(one_by_one(engine.llm, mixed()))
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: asyncio.run(engine.llm.score(mixed())), range(4)))
        for got in answers:
            assert_same(got, expected, engine.tolerance)

    async def test_empty_list(self, engine: Opened) -> None:
        assert await engine.llm.score([]) == []
        assert await engine.llm.write([]) == []


class TestRefusals:
    @pytest.mark.parametrize(
        "request_",
        [
            labels(" A", " two words"),
            labels(" A", ""),
            labels(" A", " B", " A"),
            markers(positive=" of course"),
            markers(negative=""),
            markers(positive=" yes", negative=" yes"),
        ],
        ids=["several tokens", "no token", "equal labels", "long positive", "no negative", "equal markers"],
    )
    async def test_label_error(self, engine: Opened, request_: ScoreRequest) -> None:
        with pytest.raises(LabelError) as caught:
            await engine.llm.score([likelihood(), request_])
        assert caught.value.hint

    @pytest.mark.parametrize(
        "request_",
        [
            Likelihood(prefix="", context="", continuations=TITLES),
            likelihood(("", " Alien\n")),
            likelihood(()),
            Labels(prefix=PREFIX, context=CONTEXT, labels=()),
            markers("- Alien:", ""),
            Markers(prefix=PREFIX, context=CONTEXT, segments=(), positive=" yes", negative=" no"),
        ],
        ids=["no prompt", "empty title", "no titles", "no labels", "empty segment", "no segments"],
    )
    async def test_nothing_to_score(self, engine: Opened, request_: ScoreRequest) -> None:
        good, bad = await asyncio.gather(engine.llm.score([likelihood()]), engine.llm.score([request_]), return_exceptions=True)
        assert isinstance(bad, EngineError), bad
        assert bad.hint
        assert not isinstance(good, BaseException), good

    async def test_too_long_a_prompt_fails_alone(self, engine: Opened) -> None:
        long = "word " * (engine.llm.max_tokens + 1)
        calls = [
            engine.llm.score([likelihood()]),
            engine.llm.score([likelihood(context=long)]),
            engine.llm.score([labels()]),
            engine.llm.write([writing(prompt=long)]),
            engine.llm.write([writing(4)]),
        ]
        first, bad, second, unwritten, written = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(bad, EngineError)
        assert "fit" in str(bad)
        assert bad.hint
        assert isinstance(unwritten, EngineError)
        assert isinstance(written, list)
        assert isinstance(first, list)
        assert isinstance(second, list)
        assert_same([*first, *second], await one_by_one(engine.llm, [likelihood(), labels()]), engine.tolerance)

    async def test_a_text_needs_a_prompt_and_room(self, engine: Opened) -> None:
        with pytest.raises(EngineError):
            await engine.llm.write([writing(prompt="")])
        with pytest.raises(EngineError, match="fit"):
            await engine.llm.write([writing(engine.llm.max_tokens)])
        with pytest.raises(EngineError):
            await engine.llm.write([writing(0)])
        with pytest.raises(EngineError):
            await pieces_of(engine.llm, writing(prompt=""))


class TestWrite:
    async def test_max_tokens(self, engine: Opened) -> None:
        short, long = await engine.llm.write([writing(3), writing(12)])
        assert 0 < len(short) < len(long)
        assert long.startswith(short.rstrip("\ufffd"))

    async def test_stops_and_does_not_return_the_stop(self, engine: Opened) -> None:
        (whole,) = await engine.llm.write([writing(24)])
        at = next(n for n in range(3, len(whole)) if whole[n : n + 2].isascii() and whole[n : n + 2].isalpha())
        stop = whole[at : at + 2]
        cut, other = await engine.llm.write([writing(24, stop=("never written", stop)), writing(24, stop=("never written",))])
        assert cut == whole[: whole.index(stop)]
        assert other == whole

    async def test_many_of_different_lengths_are_one_by_one(self, engine: Opened) -> None:
        prompts = ["Alien", CONTEXT, "The Matrix and\nStar Wars and\nAliens and Cinderella", CONTEXT * 2 + "The Matrix"]
        requests = [writing(8, prompt=prompt, prefix=prefix) for prefix in ("", PREFIX) for prompt in prompts]
        single = [(await engine.llm.write([request]))[0] for request in requests]
        together = await engine.llm.write(requests)
        if engine.tolerance < 1e-3:
            assert together == single
        else:  # in bf16 a near tie may fall the other way, but not at the first token of most of them
            assert sum(a[:1] == b[:1] for a, b in zip(together, single, strict=True)) > len(single) / 2
        assert len(set(single)) >= 3

    @pytest.mark.parametrize("stop", [(), ("\n", "zz", ". ")])
    async def test_stream_pieces_joined_are_the_text(self, engine: Opened, stop: tuple[str, ...]) -> None:
        request = writing(24, stop=stop)
        pieces = await pieces_of(engine.llm, request)
        assert "".join(pieces) == (await engine.llm.write([request]))[0]
        assert stop or len(pieces) > 1
        assert all(pieces)

    async def test_an_abandoned_stream_harms_nobody(self, engine: Opened) -> None:
        stream = engine.llm.stream(writing(24))
        assert await anext(aiter(stream))
        await stream.aclose()  # pyright: ignore[reportAttributeAccessIssue]
        assert await engine.llm.write([writing(4)])

    async def test_temperature_is_repeatable_by_seed(self, engine: Opened) -> None:
        (greedy,) = await engine.llm.write([writing()])
        requests = [writing(temperature=1.5, seed=seed) for seed in range(4)]
        drawn = await engine.llm.write(requests)
        assert await engine.llm.write(requests) == drawn
        if engine.name != "fake":
            assert any(text != greedy for text in drawn)
            assert len(set(drawn)) > 1

    async def test_score_and_write_together(self, engine: Opened) -> None:
        scores, texts = await asyncio.gather(engine.llm.score(mixed()), engine.llm.write([writing(4), writing(6)]))
        assert_same(scores, await one_by_one(engine.llm, mixed()), engine.tolerance)
        assert len(texts) == 2


class TestLife:
    def test_has_a_name_and_counts(self, engine: Opened) -> None:
        assert engine.llm.id
        assert engine.llm.max_tokens > 100
        assert engine.llm.count_tokens("") == 0
        assert engine.llm.count_tokens(" A") == 1
        assert engine.llm.count_tokens("one two three four") >= 4

    def test_close_while_busy_then_nothing_more(self, engine: Opened) -> None:
        llm = engine.again()
        answers: list[object] = []

        def work() -> None:
            async def both() -> object:
                return await asyncio.gather(llm.score(mixed() * 3), llm.write([writing(16)]))

            try:
                answers.append(asyncio.run(both()))
            except EngineError as error:  # the call came after the close
                answers.append(error)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(0.05)
        closer = threading.Thread(target=llm.close)
        closer.start()
        for thread in (*threads, closer):
            thread.join(timeout=60)
            assert not thread.is_alive()
        assert len(answers) == 3
        llm.close()  # twice is fine
        calls: list[Callable[[], Coroutine[Any, Any, object]]] = [
            lambda: llm.score([likelihood()]),
            lambda: llm.score([]),
            lambda: llm.write([writing()]),
            lambda: llm.write([]),
            lambda: pieces_of(llm, writing()),
        ]
        for call in calls:
            with pytest.raises(EngineError, match="closed"):
                asyncio.run(call())
