"""Every scoring method against its plain computation: one whole prompt for each candidate, nothing shared, whole vocabulary."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec.llm.protocol import Labels, Likelihood, Markers, ScoreRequest, Scores, WriteRequest
from genrec.models.sources import resolve
from tests.llm import engines

HISTORY = ("Alien", "The Matrix", "Blade Runner", "Star Wars: Episode IV - A New Hope", "2001: A Space Odyssey")
TITLES = (
    "Aliens",
    "Terminator 2: Judgment Day",
    "Cinderella",
    "The Adventures of Priscilla, Queen of the Desert",
    "Star Trek: The Wrath of Khan",
    "Dr. Strangelove or: How I Learned to Stop Worrying and Love the Bomb",
    "Amélie",
)
PREFIX = "Things that one person chose, oldest first. The next line is what the same person chooses next.\n"


def likelihood(history: tuple[str, ...] = HISTORY, titles: tuple[str, ...] = TITLES, prefix: str = PREFIX) -> Likelihood:
    context = "".join(f"- {title}\n" for title in history) + "-"
    return Likelihood(prefix=prefix, context=context, continuations=tuple(f" {title}\n" for title in titles))


def labels(history: tuple[str, ...] = HISTORY, titles: tuple[str, ...] = TITLES) -> Labels:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(titles)]
    lines = "".join(f"- {title}\n" for title in history) + "\nCandidates:\n"
    lines += "".join(f"{letter}. {title}\n" for letter, title in zip(letters, titles, strict=True))
    return Labels(
        prefix=PREFIX, context=f"{lines}\nThe next choice is candidate", labels=tuple(f" {letter}" for letter in letters)
    )


def markers(history: tuple[str, ...] = HISTORY, titles: tuple[str, ...] = TITLES) -> Markers:
    context = "".join(f"- {title}\n" for title in history) + "\nCandidates:"
    segments = tuple(f"\n- {title} | chosen:" for title in titles)
    return Markers(prefix=PREFIX, context=context, segments=segments, positive=" yes", negative=" no")


TEXTS = st.text(alphabet="ab A.\n-é", min_size=1, max_size=12)
REQUESTS = st.one_of(
    st.builds(
        Likelihood,
        prefix=st.sampled_from(["", "a b\n", "a b\nA"]),
        context=TEXTS,
        continuations=st.lists(TEXTS, min_size=1, max_size=4).map(tuple),
    ),
    st.builds(
        Labels, prefix=st.sampled_from(["", "a b\n"]), context=TEXTS, labels=st.permutations([" A", " B", " C"]).map(tuple)
    ),
    st.builds(
        Markers,
        prefix=st.sampled_from(["", "a b\n"]),
        context=TEXTS,
        segments=st.lists(TEXTS, min_size=1, max_size=4).map(tuple),
        positive=st.just(" yes"),
        negative=st.just(" no"),
    ),
)

METHODS: list[Callable[..., ScoreRequest]] = [likelihood, labels, markers]


class Plain:
    """The model as transformers loads it, called on one prompt at a time without cache or mask."""

    def __init__(self, folder: Path, dtype: engines.Dtype) -> None:
        from transformers import AutoTokenizer

        self.model = engines.plain_model(folder, dtype)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)

    def encode(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    @torch.inference_mode()
    def logp(self, tokens: list[int]) -> torch.Tensor:
        """(L, V) float32: log-probabilities of the whole vocabulary after each token."""
        ids = torch.tensor([tokens])
        hidden = self.model.base_model(input_ids=ids, use_cache=False).last_hidden_state[0]
        # the head in float32: the model's own bf16 logits are rounded to 1/8, which is not what is compared here
        return (hidden.float() @ self.model.get_output_embeddings().weight.float().T).log_softmax(-1)

    def score(self, request: ScoreRequest) -> tuple[np.ndarray, np.ndarray]:
        """(scores (n,), tokens (n,))."""
        shared = self.encode(request.prefix) + self.encode(request.context)
        if isinstance(request, Labels):
            logp = self.logp(shared)[-1, [self.encode(label)[0] for label in request.labels]]
            return (logp - logp.logsumexp(0)).numpy(), np.ones(len(request.labels))
        if isinstance(request, Likelihood):
            targets = [self.encode(text) for text in request.continuations]
            sums = []
            for target in targets:
                logp = self.logp(shared + target)
                sums.append(float(logp[range(len(shared) - 1, len(shared) + len(target) - 1), target].sum()))
            return np.array(sums), np.array([len(target) for target in targets])
        yes, no = self.encode(request.positive)[0], self.encode(request.negative)[0]
        values = []
        for segment in request.segments:
            shared = shared + self.encode(segment)
            logp = self.logp(shared)[-1]
            values.append(float(logp[yes] - logp[no]))
        return np.array(values), np.ones(len(values))


def assert_equal(got: Scores, plain: Plain, request: ScoreRequest) -> None:
    """float32: 1e-5 for a token's mean log-probability and relatively for sums."""
    sums, tokens = plain.score(request)
    np.testing.assert_array_equal(got.tokens, tokens)
    np.testing.assert_allclose(got.logp / tokens, sums / tokens, rtol=1e-5, atol=1e-5)
    if isinstance(request, Likelihood):
        np.testing.assert_allclose(got.logp, sums, rtol=1e-5)


def ask(engine: Any, *requests: ScoreRequest) -> list[Scores]:
    return asyncio.run(engine.score(requests))


@pytest.fixture(scope="module")
def tiny_plain(llama: Path) -> Plain:
    return Plain(llama, "float32")


@pytest.fixture
def tiny(llama: Path) -> Iterator[Any]:
    """An engine of its own for each test: nothing is cached yet."""
    engine = engines.load(llama)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def smollm_folder() -> Path:
    return resolve(engines.SMOLLM, "llm").path


@pytest.fixture(scope="module")
def smollm_plain(smollm_folder: Path) -> Plain:
    return Plain(smollm_folder, "float32")


class TestTinyModel:
    """float32, a model whose scores move by nats when a position or a mask is wrong."""

    @pytest.mark.parametrize("method", METHODS)
    def test_cold_and_warm(self, tiny: Any, tiny_plain: Plain, method: Callable[..., ScoreRequest]) -> None:
        (cold,), (warm,) = ask(tiny, method()), ask(tiny, method())
        assert_equal(cold, tiny_plain, method())
        assert_equal(warm, tiny_plain, method())
        assert warm.cached_tokens > cold.cached_tokens
        assert warm.cached_tokens + warm.prompt_tokens == cold.cached_tokens + cold.prompt_tokens

    @pytest.mark.parametrize("method", METHODS)
    def test_partially_matching_prefix(self, tiny: Any, tiny_plain: Plain, method: Callable[..., ScoreRequest]) -> None:
        ask(tiny, method())
        changed = (*HISTORY[:2], "Casablanca", *HISTORY[3:])
        (scores,) = ask(tiny, method(changed))
        whole = len(tiny_plain.encode(PREFIX) + tiny_plain.encode(method().context))
        assert len(tiny_plain.encode(PREFIX)) < scores.cached_tokens < whole
        assert_equal(scores, tiny_plain, method(changed))

    def test_a_prefix_that_is_longer_than_the_prompt(self, tiny: Any, tiny_plain: Plain) -> None:
        ask(tiny, likelihood())
        shorter = likelihood(HISTORY[:1])
        (scores,) = ask(tiny, shorter)
        assert_equal(scores, tiny_plain, shorter)

    @pytest.mark.parametrize("batch_tokens", [1, 300, 4096])
    def test_batches_of_different_lengths(self, llama: Path, tiny_plain: Plain, batch_tokens: int) -> None:
        engine = engines.load(llama, batch_tokens=batch_tokens)
        requests = [
            method(HISTORY[:past], TITLES[:shown]) for method in METHODS for past, shown in ((0, 2), (5, 7), (3, 1), (1, 4))
        ]
        for request, scores in zip(requests, ask(engine, *requests), strict=True):
            assert_equal(scores, tiny_plain, request)
        engine.close()

    def test_a_batch_with_a_warm_and_several_cold_prefixes(self, tiny: Any, tiny_plain: Plain) -> None:
        ask(tiny, likelihood())
        requests = [
            likelihood(),
            likelihood((*HISTORY[:3], "Casablanca")),
            likelihood(prefix="Another beginning.\n"),
            likelihood(prefix=""),
            labels(),
            markers(HISTORY[:2]),
        ]
        for request, scores in zip(requests, ask(tiny, *requests), strict=True):
            assert_equal(scores, tiny_plain, request)

    def test_windows_of_a_list_are_the_whole_list(self, tiny: Any) -> None:
        (whole,) = ask(tiny, likelihood())
        parts = ask(tiny, likelihood(titles=TITLES[::2]), likelihood(titles=TITLES[1::2]))
        merged = np.empty_like(whole.logp)
        merged[::2], merged[1::2] = parts[0].logp, parts[1].logp
        np.testing.assert_allclose(merged, whole.logp, rtol=1e-5)

    def test_a_candidate_does_not_see_the_others(self, tiny: Any) -> None:
        (alone,) = ask(tiny, likelihood(titles=TITLES[:1]))
        (among,) = ask(tiny, likelihood(titles=(*TITLES[1:], TITLES[0])))
        np.testing.assert_allclose(alone.logp[0], among.logp[-1], rtol=1e-5)

    def test_more_reads_than_the_head_takes_at_once(self, tiny: Any, tiny_plain: Plain) -> None:
        request = likelihood(titles=tuple(f"{title}, part {n}" for n in range(8) for title in TITLES))
        (scores,) = ask(tiny, request)
        assert scores.tokens.sum() > 512
        assert_equal(scores, tiny_plain, request)

    def test_more_prefixes_than_are_kept(self, tiny: Any, tiny_plain: Plain) -> None:
        requests = [likelihood(("Alien",), TITLES[:2], prefix=f"{n} beginnings\n") for n in range(30)]
        for request, scores in zip(requests, ask(tiny, *requests), strict=True):
            assert_equal(scores, tiny_plain, request)

    def test_any_requests(self, llama: Path, tiny_plain: Plain) -> None:
        engine = engines.load(llama, batch_tokens=200)  # one for all examples: its cache fills as it goes

        @settings(deadline=None, max_examples=25)
        @given(st.lists(REQUESTS, min_size=1, max_size=4))
        def check(requests: list[ScoreRequest]) -> None:
            for request, scores in zip(requests, ask(engine, *requests), strict=True):
                assert_equal(scores, tiny_plain, request)

        check()
        engine.close()

    def test_greedy_text(self, tiny: Any, tiny_plain: Plain) -> None:
        """Texts decoded together, behind a cached prefix, are the most likely tokens of the plain model, one after another."""
        prompts = ["Alien", "The Matrix and\nStar Wars", "- Blade Runner\n- Cinderella\n-"]
        requests = [WriteRequest(prefix=PREFIX, prompt=prompt, max_tokens=12) for prompt in prompts]
        for prompt, text in zip(prompts, asyncio.run(tiny.write(requests)), strict=True):
            tokens = tiny_plain.encode(PREFIX) + tiny_plain.encode(prompt)
            start = len(tokens)
            while len(tokens) - start < 12 and tokens[-1] != tiny_plain.tokenizer.eos_token_id:
                tokens.append(int(tiny_plain.logp(tokens)[-1].argmax()))
            assert text == tiny_plain.tokenizer.decode(tokens[start:], skip_special_tokens=True)


class TestSmolLM:
    def test_float32(self, smollm_plain: Plain) -> None:
        engine = engines.load_smollm("float32")
        for method in METHODS:
            for request in (method(titles=TITLES[:4]), method((*HISTORY[:2], "Casablanca"), TITLES[2:5])):
                (scores,) = ask(engine, request)
                assert_equal(scores, smollm_plain, request)
        engine.close()

    def test_bfloat16(self, smollm_folder: Path, smollm_plain: Plain) -> None:
        """bf16 is noisy: the model's own two attention kernels differ by more than 1% on some sums of 40 nats.

        So: most sums within 1e-2 of the plain bf16 computation, and no further from float32 than that computation is itself.
        """
        engine, plain = engines.smollm(), Plain(smollm_folder, "bfloat16")
        ask(engine, likelihood(HISTORY[:3]))  # a prefix that matches in part
        requests = [likelihood(), likelihood(HISTORY[2:])]
        sums, tokens = zip(*(plain.score(request) for request in requests), strict=True)
        true = np.concatenate([smollm_plain.score(request)[0] for request in requests])
        got, bf16, length = np.concatenate([s.logp for s in ask(engine, *requests)]), np.concatenate(sums), np.concatenate(tokens)
        assert np.median(np.abs(got / bf16 - 1)) < 1e-2
        np.testing.assert_allclose(got / length, bf16 / length, rtol=1e-2, atol=0.1)
        assert rms((got - true) / length) < 2 * rms((bf16 - true) / length)
        for request in (labels(), markers()):
            (scores,) = ask(engine, request)
            np.testing.assert_allclose(scores.logp, plain.score(request)[0], rtol=1e-2, atol=0.1)


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
