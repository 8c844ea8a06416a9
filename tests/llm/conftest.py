"""Models are saved once a session; a test that changes one copies it first."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from genrec.llm.fake import FakeLLM
from genrec.llm.protocol import LLM
from genrec.models.sources import resolve
from tests.llm import engines
from tests.llm.engines import llama as llama
from tests.llm.vllm_double import NAME, Double

if TYPE_CHECKING:
    from genrec.llm.openai_engine import RemoteLLM


@pytest.fixture(scope="session", params=["fake", "tiny-float32", "tiny-bfloat16", "smollm2"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[engines.Opened]:
    """Every engine there is, each opened once, with the adapters `engines.ADAPTERS`."""
    again: Callable[[], LLM]
    name, folder = request.param, tmp_path_factory.mktemp("adapters")
    if name == "fake":
        again, tolerance = partial(FakeLLM, engines.ADAPTERS), 0.0
    elif name == "smollm2":
        adapters = engines.save_adapters(folder, resolve(engines.SMOLLM, "llm").path, spread=0.3)
        again, tolerance = partial(engines.load_smollm, adapters=adapters), 0.5
    else:
        llama, dtype = request.getfixturevalue("llama"), name.removeprefix("tiny-")
        again = partial(engines.load, llama, dtype, adapters=engines.save_adapters(folder, llama))
        tolerance = 1e-4 if dtype == "float32" else 0.5
    llm = again()
    yield engines.Opened(name, llm, again, tolerance)
    llm.close()


@pytest.fixture(params=[False, True], ids=["vLLM", "genrec's plugin"])
def double(request: pytest.FixtureRequest) -> Iterator[Double]:
    """A server that plays vLLM, on model runner V2, without and with the route for lists."""
    server = Double(lists=request.param)
    yield server
    server.stop()


@pytest.fixture
def remote() -> "Iterator[Callable[..., RemoteLLM]]":
    """Opens engines on a double, or a URL, and closes them."""
    from genrec.llm.openai_engine import RemoteLLM  # here, because not every engine's environment has what it needs
    from tests.llm.remotes import settings

    opened: list[RemoteLLM] = []

    def open_one(server: Double | str, **changes: Any) -> RemoteLLM:
        url = server if isinstance(server, str) else server.url
        opened.append(RemoteLLM(NAME, settings(url, **changes)))
        return opened[-1]

    yield open_one
    for llm in opened:
        llm.close()


@pytest.fixture
def llm(double: Double, remote: "Callable[..., RemoteLLM]") -> "RemoteLLM":
    return remote(double)
