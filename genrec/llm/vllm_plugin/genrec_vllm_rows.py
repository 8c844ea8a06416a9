"""The output head over the prompt rows of all requests at once, on vLLM's CPU backend.

vLLM's runner V1 applies the head to one request after the other. Fifty titles of six rows each then read the head's weights
fifty times, which takes longer than the rows' products. It also leaves what it does not compute as it was in memory, and where
that is no number the server cannot write its answer: here it is zero. Imports nothing of genrec, as `genrec_vllm_lora`.
"""

from collections.abc import Callable
from typing import Any

MOST_ROWS = 256
"""Rows multiplied at once, unless one request has more: their logits lie in memory, one for each token of the vocabulary."""


def register() -> None:
    """Called by vLLM in each of its processes."""
    from vllm.platforms import current_platform  # pyright: ignore[reportMissingImports]

    if not current_platform.is_cpu():
        return
    from vllm.v1.outputs import LogprobsTensors  # pyright: ignore[reportMissingImports]
    from vllm.v1.worker.gpu_model_runner import GPUModelRunner  # pyright: ignore[reportMissingImports]

    plain = GPUModelRunner._get_prompt_logprobs_dict
    if getattr(plain, "genrec", False):
        return

    def together(self: Any, hidden_states: Any, num_scheduled_tokens: dict[str, int]) -> Any:
        """As the runner's own, which asks `model.compute_logits` for a slice of `hidden_states` at a time."""
        asked, place = self.num_prompt_logprobs, self.input_batch.req_id_to_index
        if not asked:
            return plain(self, hidden_states, num_scheduled_tokens)
        in_order = sorted(asked.items(), key=lambda one: place.get(one[0], -1))
        asked.clear()
        asked.update(in_order)
        self.model.compute_logits = at_once(self.model.compute_logits, hidden_states)
        try:
            return plain(self, hidden_states, num_scheduled_tokens)
        finally:
            del self.model.compute_logits

    together.genrec = True  # pyright: ignore[reportFunctionMemberAccess]
    GPUModelRunner._get_prompt_logprobs_dict = together
    LogprobsTensors.empty_cpu = staticmethod(zeros(LogprobsTensors.empty_cpu))


def zeros(empty: Callable[..., Any]) -> Callable[..., Any]:
    """As vLLM's `LogprobsTensors.empty_cpu`, filled."""

    def made(*sizes: int) -> Any:
        tensors = empty(*sizes)
        for one in (tensors.logprob_token_ids, tensors.logprobs, tensors.selected_token_ranks):
            one.zero_()
        return tensors

    return made


def at_once(compute: Callable[[Any], Any], rows: Any) -> Callable[[Any], Any]:
    """`compute` for slices of `rows` (T, d) that come in ascending order, by products over many rows."""
    start = end = 0
    known: Any = None

    def of(part: Any) -> Any:
        nonlocal start, end, known
        at = (part.storage_offset() - rows.storage_offset()) // rows.stride(0)
        if at < start or at + len(part) > end:
            start, end = at, min(len(rows), at + max(MOST_ROWS, len(part)))
            known = None  # freed before the next ones are made
            known = compute(rows[start:end])
        return known[at - start : at - start + len(part)]

    return of
