"""The listwise loss begins below the retriever's own, whatever spread the LLM's scores have."""

import asyncio
import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genrec.llm.protocol import Labels, Likelihood
from genrec.llm.transformers_engine import TransformersLLM
from genrec.progress import SILENT
from genrec.ranking.score_fusion import log_softmax
from genrec.training import score_scales as scaling
from genrec.training.adapter_training import Base
from genrec.training.candidate_lists import candidates
from genrec.training.lora import Example
from genrec.training.ranker_training import Course
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
    scales = await _fitted(lists, lists, llm, made)
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
    scales = await _fitted(lists, [], llm, made)
    assert (scales.llm, scales.retriever, scales.own) == (scaling.LEAST, 1.0, 0.0)
    weighed = dataclasses.replace(scales, own=2.0, retriever=0.0).of(lists)
    for one, plain in zip(weighed, lists, strict=True):
        request = plain.row.request
        assert isinstance(request, Likelihood)
        wanted = [-2.0 * scales.alone[text] for text in request.continuations]
        assert one.prior is not None
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
    await _fitted(lists[:2], lists, llm, made)
    assert asked == [5]


def test_a_course_fits_them_on_what_it_has_not_learned_from(base: Base, tmp_path: Path, llm: TransformersLLM) -> None:
    made = course(base, lists=20)
    (one,) = made.sources
    weak = tuning.Weak()
    weak.fit(one.known, one.content, SILENT)
    handed = candidates(weak, one.asked, one.targets, 6)

    def learned(name: str, **more: Any) -> tuple[str, str]:
        told: list[str] = []
        tuned = tuning.tuned(base)
        made.learn(tuned, tmp_path / name, told.append, **more)
        return tuned.digest(), next((line for line in told if line.startswith("scales of the loss: LLM ")), "")

    def served() -> Any:
        return contextlib.nullcontext((llm, ""))

    found = [learned("plain"), learned("none", served=served), learned("held", served=served, handed=[handed])]
    assert len({digest for digest, _ in found}) == 3
    assert [line for _, line in found[:2]] == ["", "scales of the loss: LLM 0.010, retriever 1.000, titles 0.000"]
    assert found[2][1] not in ("", found[1][1])


async def _fitted(lists: list[Example], unseen: list[Example], llm: TransformersLLM, made: Course) -> scaling.Scales:
    return await asyncio.to_thread(scaling.fitted, lists, unseen, llm, "", made.prompter)
