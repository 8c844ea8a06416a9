"""On what scale the LLM's scores and the retriever's are log-probabilities together, found before listwise training.

Log-likelihoods of titles spread by many nats, most of which is how well a title is known. Added to the retriever's as they are,
they drown it: the loss begins above the retriever's own, and training goes into getting that back. With fitted scales it begins
below, and what is learned is what the retriever does not know.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from genrec.llm.protocol import LLM, Likelihood
from genrec.progress import SILENT
from genrec.ranking.fusion_weights import alone, likeliest
from genrec.ranking.prompter import Prompter
from genrec.training.lora import Example

FITTED_ON = 256
"""Lists by which the scales are fitted."""
LEAST = 0.01
"""The LLM's smallest scale: with none it would learn nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scales:
    """`llm` · the LLM's scores + `retriever` · the retriever's log-probabilities - `own` · those of the titles alone.

    `alone`: log-probabilities of the titles behind an empty profile, by what is scored of them; empty for the other methods.
    """

    llm: float
    retriever: float
    own: float
    alone: Mapping[str, float]

    def of(self, examples: Sequence[Example]) -> list[Example]:
        """Candidate lists on these scales."""
        weights = np.array([self.retriever, -self.own])
        return [replace(one, scale=self.llm, prior=(_columns(one, self.alone) @ weights).astype(np.float32)) for one in examples]


def fitted(examples: Sequence[Example], unseen: Sequence[Example], llm: LLM, adapter: str, prompter: Prompter) -> Scales:
    """The scales for `examples` that make what was chosen in `unseen` likeliest (conditional logit) with the adapter as it is.

    It must not have learned from what was chosen there: it would seem to know far more than it does. Without such lists the
    retriever's scores stay as they are, and the LLM counts least. Raises AdapterError, EngineError, LabelError or PromptError.
    """
    some = unseen[:FITTED_ON]
    requests = [one.row.request for one in (*examples, *some)]
    titles = [text for one in requests if isinstance(one, Likelihood) for text in one.continuations]
    own_of = asyncio.run(alone(llm, prompter, titles, adapter, SILENT))
    if not some:
        return Scales(llm=LEAST, retriever=1.0, own=0.0, alone=own_of)
    answers = asyncio.run(llm.score([replace(one.row.request, adapter=adapter) for one in some]))
    columns = [np.column_stack([answer.logp, _columns(one, own_of) * (1, -1)]) for one, answer in zip(some, answers, strict=True)]
    sizes, targets = [len(one) for one in columns], [one.target for one in some]
    (scale, known, own), _ = likeliest(np.concatenate(columns), sizes, targets, [LEAST, 0.0, 0.0])
    return Scales(llm=float(scale), retriever=float(known), own=float(own), alone=own_of)


def _columns(one: Example, titles: Mapping[str, float]) -> np.ndarray:
    """(n, 2) log-probabilities by the retriever, and of the titles alone."""
    return np.stack([_known(one), _own(one, titles)], axis=1)


def _known(one: Example) -> np.ndarray:
    """(n,) the retriever's log-probabilities."""
    return np.zeros(one.row.entries) if one.prior is None else one.prior.astype(np.float64)


def _own(one: Example, titles: Mapping[str, float]) -> np.ndarray:
    """(n,) log-probabilities of the titles behind an empty profile; zeros for the other methods."""
    request = one.row.request
    if not isinstance(request, Likelihood):
        return np.zeros(one.row.entries)
    return np.array([titles[text] for text in request.continuations])
