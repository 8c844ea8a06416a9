"""One score from two rankers that score on different scales."""

import numpy as np


def standardise(scores: np.ndarray, spread: float = 0.0) -> np.ndarray:
    """Zero mean over the candidates, in units of `spread`, float64; all zero where they do not differ.

    `spread`: the standard deviation that such scores usually have in a list; 0: this list's own.
    """
    centred = np.asarray(scores, dtype=np.float64) - np.mean(scores) if len(scores) else np.zeros(0)
    spread = spread or (centred.std() if len(centred) else 0.0)
    return centred / spread if spread > 1e-9 else np.zeros_like(centred)


def log_softmax(scores: np.ndarray) -> np.ndarray:
    """Log-probabilities over the candidates, nats."""
    if not len(scores):
        return scores
    shifted = scores - scores.max()
    return shifted - np.log(np.exp(shifted).sum())


def fuse(llm: np.ndarray, retriever: np.ndarray, weight: float, spread: float = 0.0) -> np.ndarray:
    """weight · log p(LLM) + (1 - weight) · log p(retriever), (n,) float64.

    Both are brought to the same spread over the candidates first, so that `weight` means the same for cosines, reciprocal
    ranks and log-likelihoods. With the retriever's usual `spread` (see `standardise`) a list of which it is sure stays one.
    """
    return weight * log_softmax(standardise(llm)) + (1.0 - weight) * log_softmax(standardise(retriever, spread))


def title_score(logp: np.ndarray, tokens: np.ndarray, prior: np.ndarray, prior_weight: float, per_token: bool) -> np.ndarray:
    """log p(title | profile) - prior_weight · log p(title), (n,) nats, divided by the title's tokens if `per_token`."""
    score = np.asarray(logp, dtype=np.float64) - prior_weight * np.asarray(prior, dtype=np.float64)
    return score / np.maximum(tokens, 1) if per_token else score
