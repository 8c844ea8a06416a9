"""The tiny LLM that trainings of adapters start from; digests of throw-away models stay in the tests' own folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from genrec.training.adapting import Base
from tests.models import engines
from tests.training import tuning


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with engines.own_cache(tmp_path_factory.mktemp("cache")):
        yield


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return engines.save_llama(tmp_path_factory.mktemp("llama") / "model")


@pytest.fixture(scope="module")
def base(llama: Path, own_cache: None) -> Base:
    return tuning.base(llama)
