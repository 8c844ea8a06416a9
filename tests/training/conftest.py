"""The tiny LLM that trainings of adapters start from; digests of throw-away models stay in the tests' own folder."""

from pathlib import Path

import pytest

from genrec.training.adapter_training import Base
from tests.training import tuning


@pytest.fixture(scope="module", autouse=True)
def kept(own_digests: None) -> None:
    """All modules of this folder."""


@pytest.fixture(scope="module")
def base(llama: Path, own_digests: None) -> Base:
    return tuning.base(llama)
