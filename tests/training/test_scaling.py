"""The listwise loss begins below the retriever's own, whatever spread the LLM's scores have."""

import asyncio
import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genrec.models.llm import Labels, Likelihood
from genrec.models.local import TransformersLLM
from genrec.ranking.fusion import log_softmax
from genrec.training import scaling
from genrec.training.adapting import Base
from genrec.training.lora import Example
from genrec.training.rerank import Course
from tests.training import tuning


@pytest.fixture
def llm(base: Base) -> Any:
    engine = TransformersLLM(base.weights, {}, device="cpu", dtype="float32")
    yield engine
    engine.close()


def course(base: Base, **changes: Any) -> Course:
    told = {"lists": 120, "candidates": 6, "batch": 4, "epochs": 0} | changes
    return tuning.course(base, tuning.events(60), tuning.settings(**told))


def scores(example: Example, logp: np.ndarray) -> np.ndarray:
    """As the loss adds them up."""
    assert example.prior is not None
    return log_softmax(example.scale * logp + example.prior)


@pytest.mark.parametrize("method", ["likelihood", "labels", "markers"])
async def test_what_was_chosen_is_likelier_than_by_the_retriever(base: Base, llm: TransformersLLM, method: str) -> None:
    made = course(base, method=method)
    lists, _ = made.lists()
    scales = await _fitted(lists, llm, made)
    assert scales.llm >= scaling.LEAST
    assert bool(scales.alone) == (method == "likelihood")
    answers = await llm.score([one.row.request for one in lists])
    after = [scores(one, answer.logp)[one.target] for one, answer in zip(scales.of(lists), answers, strict=True)]
    before = [log_softmax(np.asarray(one.prior))[one.target] for one in lists]
    plain = [scores(one, answer.logp)[one.target] for one, answer in zip(lists, answers, strict=True)]
    assert np.mean(after) > np.mean(before)
    assert np.mean(after) > np.mean(plain)


async def test_a_title_that_is_likely_by_itself_gains_nothing(base: Base, llm: TransformersLLM) -> None:
    """Scores that are the titles' own and nothing else are taken off whole."""
    made = course(base)
    lists, _ = made.lists()
    scales = await _fitted(lists, llm, made)
    weighed = dataclasses.replace(scales, own=2.0, retriever=0.0).of(lists)
    for one, plain in zip(weighed, lists, strict=True):
        request = plain.row.request
        assert isinstance(request, Likelihood)
        wanted = [-2.0 * scales.alone[text] for text in request.continuations]
        np.testing.assert_allclose(one.prior, wanted, rtol=1e-5)
        assert one.target == plain.target
        assert one.row is plain.row


async def test_few_lists_are_asked(base: Base, llm: TransformersLLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "FITTED_ON", 5)
    asked: list[int] = []
    score = llm.score

    async def counted(requests: Any) -> Any:
        asked.append(len(requests))
        return await score(requests)

    monkeypatch.setattr(llm, "score", counted)
    made = course(base, method="labels")
    lists, _ = made.lists()
    assert all(isinstance(one.row.request, Labels) for one in lists)
    await _fitted(lists, llm, made)
    assert asked == [5]


def test_a_course_tells_its_scales(base: Base, tmp_path: Path, llm: TransformersLLM) -> None:
    made, told = course(base, lists=20), list[str]()
    tuned = tuning.tuned(base)
    before = tuned.digest()
    made.learn(tuned, tmp_path / "scaled", told.append, served=lambda: contextlib.nullcontext((llm, "")))
    assert any(line.startswith("scales of the loss: LLM ") for line in told)
    plain = tuning.tuned(base)
    made.learn(plain, tmp_path / "plain", lambda _: None)
    assert len({before, tuned.digest(), plain.digest()}) == 3


async def _fitted(lists: list[Example], llm: TransformersLLM, made: Course) -> scaling.Scales:
    return await asyncio.to_thread(scaling.fitted, lists, llm, "", made.prompter)
