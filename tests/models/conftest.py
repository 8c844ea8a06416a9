"""Models are saved once a session; a test that changes one copies it first."""

from pathlib import Path

import pytest

from tests.models import tiny


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


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of our own; the digests of loaded models land there too."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("GENREC_CACHE", str(folder))
    return folder
