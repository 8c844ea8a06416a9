"""The plugin's operator against the plain sum, row by row. That vLLM takes it: the contract of engines, in `make test-vllm`."""

import pytest
import torch

from genrec.llm.vllm_plugin import genrec_vllm_lora

PLACES, RANK, WIDTH = 3, 4, 8
WIDTHS = [5, 3, 3]


@pytest.mark.parametrize(
    "adapters", [[0, 0, 0, 0], [2, 2, 2, 2], [-1, -1, -1, -1], [0, -1, 2, 0], [1, 2, -1, -1], [-1, 1, 1, 1]], ids=str
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_each_row_gets_its_own_adapter(adapters: list[int], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.randn(len(adapters), WIDTH, dtype=dtype)
    a = [torch.randn(PLACES, 1, RANK, WIDTH, dtype=dtype) for _ in WIDTHS]
    b = [torch.randn(PLACES, 1, width, RANK, dtype=dtype) for width in WIDTHS]
    y = torch.randn(len(adapters), sum(WIDTHS), dtype=dtype)
    wanted = y.float()
    for row, place in enumerate(adapters):
        if place >= 0:
            parts = [x[row].float() @ one[place, 0].float().T @ two[place, 0].float().T for one, two in zip(a, b, strict=True)]
            wanted[row] += 0.5 * torch.cat(parts)
    longer = torch.tensor([*adapters, 0, 1])  # vLLM's own list has room for the longest batch
    genrec_vllm_lora._operator()(y, x, a, b, longer, 0.5, WIDTHS)
    torch.testing.assert_close(
        y.float(), wanted, rtol=2e-2 if dtype == torch.bfloat16 else 1e-5, atol=1e-1 if dtype == torch.bfloat16 else 1e-5
    )


def test_the_compiler_takes_it_as_it_is() -> None:
    def step(y: torch.Tensor, x: torch.Tensor, a: torch.Tensor, b: torch.Tensor, adapters: torch.Tensor) -> torch.Tensor:
        genrec_vllm_lora._operator()(y, x, [a], [b], adapters, 1.0, [WIDTH])
        return y * 2

    torch.manual_seed(0)
    a, b = torch.randn(1, 1, RANK, WIDTH), torch.randn(1, 1, WIDTH, RANK)
    x, adapters = torch.randn(3, WIDTH), torch.tensor([0, -1, 0])
    plain = step(torch.zeros(3, WIDTH), x, a, b, adapters)
    compiled = torch.compile(step, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(torch.zeros(3, WIDTH), x, a, b, adapters), plain)
