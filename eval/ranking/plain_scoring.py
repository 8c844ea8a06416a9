"""The plain computation of every scoring method: one whole prompt for each candidate, no shared prefix, the whole vocabulary."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from genrec.llm.protocol import Labels, Likelihood, Markers, ScoreRequest

PADDED_TOKENS = 1024


class Plain:
    """transformers, called as its own examples do."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model = model
        self.tokenizer = tokenizer

    def encode(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def score(self, request: ScoreRequest) -> np.ndarray:
        """(n,) float64, as `Scores.logp`."""
        shared = self.encode(request.prefix) + self.encode(request.context)
        if isinstance(request, Likelihood):
            targets = [self.encode(text) for text in request.continuations]
            logps = self.logps([shared + target for target in targets])
            return np.array(
                [
                    float(logp[range(len(shared) - 1, len(shared) + len(target) - 1), target].double().sum())
                    for logp, target in zip(logps, targets, strict=True)
                ]
            )
        if isinstance(request, Labels):
            logp = self.logps([shared])[0][-1].double()
            chosen = logp[[self.encode(label)[0] for label in request.labels]]
            return (chosen - chosen.logsumexp(0)).numpy()
        return self._markers(request, shared)

    def _markers(self, request: Markers, shared: list[int]) -> np.ndarray:
        yes, no = self.encode(request.positive)[0], self.encode(request.negative)[0]
        prompts, prompt = [], list(shared)
        for segment in request.segments:
            prompt = prompt + self.encode(segment)
            prompts.append(prompt)
        return np.array([float(logp[-1, yes].double() - logp[-1, no].double()) for logp in self.logps(prompts)])

    @torch.inference_mode()
    def logps(self, prompts: Sequence[list[int]]) -> list[torch.Tensor]:
        """log-probabilities (length, vocabulary) float32 of each prompt, padded batches of similar length."""
        order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
        size = max(1, PADDED_TOKENS // len(prompts[order[0]]))
        out: dict[int, torch.Tensor] = {}
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            length = len(prompts[chosen[0]])
            ids = torch.zeros((len(chosen), length), dtype=torch.long)
            mask = torch.zeros_like(ids)
            for row, i in enumerate(chosen):
                ids[row, : len(prompts[i])] = torch.tensor(prompts[i])
                mask[row, : len(prompts[i])] = 1
            logits = self.model(input_ids=ids, attention_mask=mask, use_cache=False).logits
            for row, i in enumerate(chosen):
                out[i] = logits[row, : len(prompts[i])].float().log_softmax(-1)
        return [out[i] for i in range(len(prompts))]
