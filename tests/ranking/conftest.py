"""Real engines for the ranker: a tiny Llama in float32, and SmolLM2."""

from collections.abc import Iterator

import pytest

from genrec.llm.protocol import LLM
from tests.llm import engines


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LLM]:
    llm = engines.load(engines.save_llama(tmp_path_factory.mktemp("ranking") / "model"), "float32")
    yield llm
    llm.close()


@pytest.fixture(scope="session")
def smollm() -> LLM:
    return engines.smollm()
