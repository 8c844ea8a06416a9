"""The shop: built once a session, opened once a session for those who only ask, copied for those who change it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from genrec.recommender import Recommender
from tests import shop
from tests.llm import tiny
from tests.llm.engines import llama as llama
from tests.llm.engines import own_cache


@pytest.fixture(scope="module")
def own_digests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """For modules whose throw-away models are none of the person's business."""
    with own_cache(tmp_path_factory.mktemp("cache")):
        yield


@pytest.fixture(scope="session")
def built_shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built workspace that nobody may change; its tables lie in `tables` beside it."""
    folder = tmp_path_factory.mktemp("shop")
    return shop.make(folder / "shop", folder / "tables")


@pytest.fixture(scope="session")
def genrec(built_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recommender]:
    """The shop, open; for tests that change nothing."""
    with Recommender.open(shop.copy(built_shop, tmp_path_factory.mktemp("open") / "shop")) as opened:
        yield opened


@pytest.fixture(scope="session")
def same_shop(built_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop, for tests that open it in their own way and change nothing."""
    return shop.copy(built_shop, tmp_path_factory.mktemp("same") / "shop")


@pytest.fixture
def own_shop(built_shop: Path, tmp_path: Path) -> Path:
    """A copy of the shop for one test."""
    return shop.copy(built_shop, tmp_path / "shop")


@pytest.fixture
def tables(built_shop: Path) -> Path:
    """The shop's tables; not to be changed."""
    return built_shop.parent / "tables"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of our own; the digests of loaded models land there too."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("GENREC_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    prompts = {"query": "query: ", "document": "document: "}
    return tiny.save_text_model(tmp_path_factory.mktemp("text") / "model", prompts=prompts)


@pytest.fixture(scope="session")
def image_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_image_model(tmp_path_factory.mktemp("image") / "model")


@pytest.fixture(scope="session")
def gguf_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf")
