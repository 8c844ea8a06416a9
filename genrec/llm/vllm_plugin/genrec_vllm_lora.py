"""LoRA on vLLM's CPU backend by one matrix product for each adapter in a batch.

vLLM 0.32 copies the adapter's matrices once for each token there, which makes a request with an adapter about nine times as slow
as one without (eval/LOG.md), and computes requests without any by the last adapter where all its places are taken. On GPUs
vLLM has kernels of its own, and nothing is changed. Imports nothing of genrec: vLLM may live in an environment without it.
"""

from typing import Any


def register() -> None:
    """Called by vLLM in each of its processes."""
    from vllm.platforms import current_platform  # pyright: ignore[reportMissingImports]

    if not current_platform.is_cpu():
        return
    from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU  # pyright: ignore[reportMissingImports]

    operator = _operator()

    def add_lora_linear(
        self: Any,
        y: Any,
        x: Any,
        lora_a_stacked: tuple[Any, ...],
        lora_b_stacked: tuple[Any, ...],
        scale: float,
        output_slices: tuple[int, ...],
        **_: Any,
    ) -> None:
        """As PunicaWrapperCPU's: `y += x A B scale`, slice by slice, in place."""
        operator(
            y.view(-1, y.shape[-1]),
            x.view(-1, x.shape[-1]),
            list(lora_a_stacked),
            list(lora_b_stacked),
            self._token_lora_indices,
            float(scale),
            list(output_slices),
        )

    PunicaWrapperCPU.add_lora_linear = add_lora_linear


def _operator() -> Any:
    """The computation as an operator of torch, which its compiler does not look into; made once."""
    import torch

    try:
        return torch.ops.genrec.lora_linear.default
    except AttributeError:
        pass

    @torch.library.custom_op("genrec::lora_linear", mutates_args=("y",))
    def lora_linear(
        y: torch.Tensor,
        x: torch.Tensor,
        lora_a: list[torch.Tensor],
        lora_b: list[torch.Tensor],
        adapters: torch.Tensor,
        scale: float,
        widths: list[int],
    ) -> None:
        """`adapters`: for each row of `x` (T, d) the place of its adapter in `lora_a` [(places, 1, r, d)], -1 for none.

        In the model's own precision: such a processor's bf16 products take half the time of float32 ones, and are added up in
        float32 all the same.
        """
        for place, rows in _groups(adapters[: len(x)]):
            mine = x if rows is None else x[rows]
            start = 0
            for a, b, width in zip(lora_a, lora_b, widths, strict=True):
                low = mine @ a[place].view(a.shape[-2:]).to(x.dtype).T
                high = b[place].view(b.shape[-2:])[:width].to(x.dtype).T
                part = y[:, start : start + width]
                if rows is None:
                    part.addmm_(low, high, alpha=scale)
                else:
                    part.index_add_(0, rows, low @ high, alpha=scale)
                start += width

    lora_linear.register_fake(lambda *_: None)  # it gives nothing, so there are no shapes to tell
    return torch.ops.genrec.lora_linear.default


def _groups(adapters: Any) -> list[tuple[int, Any]]:
    """(place, its rows) of each adapter in a batch; None for all rows."""
    first = int(adapters[0])
    if bool((adapters == first).all()):
        return [(first, None)] if first >= 0 else []
    return [(place, (adapters == place).nonzero().squeeze(1)) for place in adapters.unique().tolist() if place >= 0]
