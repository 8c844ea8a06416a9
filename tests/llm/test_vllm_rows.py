"""The plugin's products over many rows beside those row by row. That vLLM takes it: the contract, in `make test-vllm`."""

import itertools
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

from genrec.llm.vllm_plugin import genrec_vllm_rows
from genrec.llm.vllm_plugin.genrec_vllm_rows import MOST_ROWS, at_once


@pytest.mark.parametrize("skipped", [0, 3], ids=["all rows", "a view of later rows"])
def test_slices_get_their_own_rows_by_few_products(skipped: int) -> None:
    torch.manual_seed(0)
    head = torch.randn(8, 11)
    rows = torch.randn(skipped + 3 * MOST_ROWS, 8)[skipped:]
    sizes: list[int] = []

    def compute(part: torch.Tensor) -> torch.Tensor:
        sizes.append(len(part))
        return part @ head

    of = at_once(compute, rows)
    ends = [*range(0, 2 * MOST_ROWS, 7), 3 * MOST_ROWS - skipped]  # the last slice is longer than what is computed at once
    for start, end in itertools.pairwise(ends):
        torch.testing.assert_close(of(rows[start:end]), rows[start:end] @ head)
    assert len(sizes) <= 4


def test_a_long_slice_is_computed_whole() -> None:
    rows = torch.randn(2 * MOST_ROWS + 5, 4)
    of = at_once(lambda part: part * 2, rows)
    torch.testing.assert_close(of(rows[1:]), rows[1:] * 2)


def test_what_is_not_computed_is_a_number() -> None:
    names = ("logprob_token_ids", "logprobs", "selected_token_ranks")
    made = genrec_vllm_rows.zeros(lambda *sizes: SimpleNamespace(**{name: torch.full(sizes, torch.nan) for name in names}))(5, 2)
    for name in names:
        assert getattr(made, name).shape == (5, 2)
        assert not getattr(made, name).any()


def test_nothing_is_changed_where_there_is_no_vllm_for_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    platforms = ModuleType("vllm.platforms")
    platforms.current_platform = SimpleNamespace(is_cpu=lambda: False)  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "vllm", ModuleType("vllm"))
    monkeypatch.setitem(sys.modules, "vllm.platforms", platforms)
    genrec_vllm_rows.register()  # on a GPU: it would raise, as there is no runner to change
