"""A closed-form teacher: how likely each item is next, by models that need no gradient and never saw the person.

log p(item | history) ∝ a · (cosine in the untrained retriever's space) + b · log(transitions' score + ε)

People are dealt into folds; each fold is taught by a teacher fitted on the others, because a closed-form model knows its own
training pairs by heart (office: NDCG@10 .37 on its own pairs, .15 on unseen ones). `a` and `b` are fitted by maximum likelihood
on those out-of-fold positions. Distilling a teacher's whole distribution (Hinton et al., 2015) tells a network of every item at
every position, where the event itself names one.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor
from torch.nn import functional

from genrec.errors import TrainingError
from genrec.progress import Progress, track
from genrec.retrieval.item_transitions import transitions
from genrec.retrieval.sequences import Sequences
from genrec.retrieval.systems import Content
from genrec.retrieval.zero_shot import fused_rows
from genrec.settings.sections import RetrievalSettings
from genrec.training.retriever_batches import Batch

EPSILON = 1e-4
TRANSITION_HALF_LIFE = 4.0
"""Recency of the history under the transitions, in places."""
DENSE = 6000
"""Up to this many items the transitions are kept as full matrices."""
WITHOUT = "Ingest events of more people, or set retrieval.train.teacher = 0."
FITTED_ON = 4000
"""Positions that the two weights are fitted on."""


@dataclass(frozen=True, slots=True)
class _Fold:
    history: Tensor  # (N, d) rows as parts of a user vector
    rows: Tensor  # (N, d) rows to find
    products: Tensor | None  # (N, N) history · rowsᵀ, where there is room for it
    kernel: "Tensor | sparse.csr_array"  # (N, N)


class Teacher:
    """`folds` (U,) says which fold a person is in. `weights` (2,) are `a` and `b`."""

    def __init__(
        self,
        train: Sequences,
        content: Content,
        settings: RetrievalSettings,
        folds: NDArray[np.int64],
        device: torch.device,
        progress: Progress,
    ) -> None:
        self.weights = torch.tensor([8.0, 1.0], device=device)
        self._half_life, self._device = settings.half_life, device
        numbers = np.unique(folds)
        self._folds = {
            int(n): self._fold(train.take(np.flatnonzero(folds != n)), content, settings)
            for n in track(progress, "teacher", numbers, len(numbers))
        }

    def _fold(self, others: Sequences, content: Content, settings: RetrievalSettings) -> _Fold:
        if not len(others) and not content.vectors.matrices:
            raise TrainingError("a teacher has nothing to learn from: all events are of one fold", hint=WITHOUT)
        history, rows = fused_rows(others, content, settings)
        kernel: Tensor | sparse.csr_array = transitions(others)
        parts, found, products = torch.from_numpy(history).to(self._device), torch.from_numpy(rows).to(self._device), None
        if len(others.item_ids) <= DENSE:
            kernel, products = torch.from_numpy(kernel.toarray()).to(self._device), parts @ found.T
        return _Fold(parts, found, products, kernel)

    def parts(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The two terms before they are weighed, each (T, C)."""
        fold, items, candidates = self._folds[batch.fold], batch.events.items, batch.candidates
        recency, decay = _recency(items, self._half_life), _recency(items, TRANSITION_HALF_LIFE)
        people = (recency @ fold.history[items])[batch.wanted]
        if fold.products is None:
            cosine = people @ (fold.rows if candidates is None else fold.rows[candidates]).T
        else:
            products = fold.products if candidates is None else fold.products[:, candidates]
            cosine = (recency @ products[items])[batch.wanted]
        length = people.norm(dim=-1, keepdim=True).clamp(min=1e-9)
        followed = (decay @ self._following(fold.kernel, items, candidates))[batch.wanted]
        return cosine / length, torch.log(followed + EPSILON)

    def logits(self, batch: Batch) -> Tensor:
        """(T, C) log-probabilities up to a constant a row."""
        cosine, followed = self.parts(batch)
        return self.weights[0] * cosine + self.weights[1] * followed

    def fit(self, batches: list[Batch]) -> None:
        """Choose the two weights on some steps, by L-BFGS."""
        examples = []
        for batch in batches:
            ready = self.parts(batch), batch
            examples.append(ready)
            if sum(len(one.targets) for _, one in examples) >= FITTED_ON:
                break
        weights = self.weights.log().clone().requires_grad_(True)  # the logarithm keeps them positive
        optimizer = torch.optim.LBFGS([weights], max_iter=30, line_search_fn="strong_wolfe")
        total = sum(len(batch.targets) for _, batch in examples)

        def loss() -> Tensor:
            optimizer.zero_grad()
            value = torch.zeros((), device=self._device)
            for (cosine, followed), batch in examples:
                logits = weights[0].exp() * cosine + weights[1].exp() * followed - batch.correction
                logits = logits.masked_fill(batch.seen, float("-inf"))
                value = value + functional.cross_entropy(logits, batch.targets, reduction="sum") / total
            value.backward()
            return value

        optimizer.step(loss)
        self.weights = weights.detach().exp()

    def _following(self, kernel: "Tensor | sparse.csr_array", items: Tensor, candidates: Tensor | None) -> Tensor:
        """(B, L, C) transitions from every event of the batch to every candidate."""
        if isinstance(kernel, Tensor):
            return kernel[items] if candidates is None else kernel[:, candidates][items]
        unique, inverse = torch.unique(items, return_inverse=True)
        rows = kernel[unique.cpu().numpy()]
        chosen = rows if candidates is None else rows[:, candidates.cpu().numpy()]
        return torch.from_numpy(chosen.toarray()).to(self._device)[inverse]


def _recency(items: Tensor, half_life: float) -> Tensor:
    """(L, L) weights of the events up to each position; each row sums to 1 for an endless history."""
    places = torch.arange(items.shape[1], device=items.device)
    distance = places[:, None] - places[None]
    decay = 0.5 ** (1.0 / half_life)
    return torch.where(distance >= 0, (1.0 - decay) * decay ** distance.clamp(min=0).float(), 0.0)
