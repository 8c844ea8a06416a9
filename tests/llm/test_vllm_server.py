"""`genrec llm serve`: vLLM found, its command line, its life; with one that plays vLLM. The real one: test_server.py."""

import importlib.metadata
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from genrec.errors import EngineError
from genrec.llm.vllm_server import GRACE_S, Server, Vllm, command, find_vllm
from genrec.models.sources import Weights
from genrec.settings.sections import LlmSettings
from genrec.workspace.folder import Workspace
from tests.llm import cards, engines
from tests.llm.serving import READY_S, serve

ROOT = Path(__file__).parents[2]


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An interpreter that seems to have vLLM."""
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} {ROOT}/tests/llm/stub_vllm.py "$@"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("STUB_LOG", str(tmp_path / "stub.json"))
    monkeypatch.setenv("GENREC_CACHE", str(tmp_path / "cache"))
    return str(script)


@pytest.fixture
def shop(tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with the tiny model and one adapter for it."""
    monkeypatch.setenv("GENREC_CACHE", str(tmp_path / "cache"))
    Workspace.create(tmp_path / "shop").close()
    (tmp_path / "shop" / "genrec.toml").write_text(f'[models]\nllm = "{llama}"\n[llm]\napi_key = "secret"\nkv_cache_gb = 0.5\n')
    cards.make(tmp_path / "shop" / "adapters", "tuned", llama)
    return tmp_path / "shop"


class TestFind:
    def test_an_interpreter_without_vllm(self) -> None:
        with pytest.raises(EngineError, match="not installed") as caught:
            find_vllm(sys.executable)
        assert "genrec[vllm]" in caught.value.hint

    @pytest.mark.parametrize("python", ["/no/such/python", "/bin/false"])
    def test_no_interpreter(self, python: str) -> None:
        with pytest.raises(EngineError, match="no Python interpreter") as caught:
            find_vllm(python)
        assert "llm.python" in caught.value.hint

    def test_found(self, stub: str, monkeypatch: pytest.MonkeyPatch) -> None:
        assert find_vllm(stub) == Vllm(python=stub, version="0.32.0", cpu=True, plugins=("theirs",))
        monkeypatch.setenv("STUB_VERSION", "0.31.2")
        with pytest.raises(EngineError, match=r"0\.31\.2"):
            find_vllm(stub)
        monkeypatch.setenv("STUB_VERSION", "built by hand")
        assert find_vllm(stub).version == "built by hand"


def line_of(llama: Path, adapters: dict[str, Path] | None = None, **changes: Any) -> tuple[list[str], dict[str, str]]:
    weights = Weights(name="tiny", kind="llm", path=llama, source="path")
    vllm = Vllm(python="/opt/python", version="0.32.0", cpu=True, plugins=("theirs", "genrec_lora"))
    return command(vllm, weights, LlmSettings(**changes), dtype="bfloat16", adapters=adapters or {})


class TestCommand:
    def test_settings_are_on_the_line(self, llama: Path) -> None:
        line, _ = line_of(llama, host="0.0.0.0", port=8123, max_num_seqs=7, max_model_len=99, options=["--seed", "5"])
        text = " ".join(line)
        assert text.startswith("/opt/python -m vllm")
        for part in ("--host 0.0.0.0", "--port 8123", "--max-num-seqs 7", "--max-model-len 99", "--served-model-name tiny"):
            assert part in text
        assert line[-2:] == ["--seed", "5"]
        assert {"--enable-scale-out", "--enable-prompt-tokens-details", "--enable-prefix-caching"} < set(line)

    def test_the_key_is_not(self, llama: Path) -> None:
        line, environment = line_of(llama, api_key="secret")
        assert not any("secret" in part for part in line)
        assert environment["VLLM_API_KEY"] == "secret"

    def test_adapters(self, llama: Path, tmp_path: Path) -> None:
        line, _ = line_of(llama, engines.save_adapters(tmp_path, llama))
        modules = [json.loads(part) for part in line if part.startswith('{"name"')]
        assert [module["name"] for module in modules] == list(engines.ADAPTERS)
        assert line[line.index("--max-lora-rank") + 1] == "8"
        assert "--enable-lora" not in line_of(llama)[0]

    def test_paths_of_this_environment_do_not_reach_the_other(self, llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PYTHONPATH", "/elsewhere")
        (path,) = line_of(llama)[1]["PYTHONPATH"].split(os.pathsep)
        (found,) = importlib.metadata.Distribution.discover(name="genrec-vllm-lora", path=[path])
        points = {(point.group, point.value) for point in found.entry_points}
        general = {("vllm.general_plugins", f"genrec_vllm_{part}:register") for part in ("lora", "rows")}
        assert points == general | {("vllm.endpoint_plugins", "genrec_vllm_lists:Lists")}

    def test_plugins_with_routes_are_named_beside_those_that_load_anyway(
        self, llama: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("VLLM_PLUGINS", raising=False)
        assert line_of(llama)[1]["VLLM_PLUGINS"] == "theirs,genrec_lora,genrec_lists,genrec_rows"
        monkeypatch.setenv("VLLM_PLUGINS", "one,another")
        assert line_of(llama)[1]["VLLM_PLUGINS"] == "one,another"


class TestServe:
    def test_serves_until_it_is_told_to_stop(self, stub: str, shop: Path, tmp_path: Path) -> None:
        with serve(shop, python=stub, options=("--seed", "7")) as served:
            assert served.url == f"http://127.0.0.1:{served.port}"
            assert "tuned" in served.errors()
            assert "GENREC_LLM__URL" in served.errors()
            told = json.loads((tmp_path / "stub.json").read_text())
            assert told["key"] == "secret"
            assert told["line"][-2:] == ["--seed", "7"]
            assert any('"tuned"' in part for part in told["line"])
            assert served.stop(signal.SIGINT) == 0
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", served.port), timeout=1).close()

    def test_a_server_that_dies(self, stub: str, shop: Path, tmp_path: Path) -> None:
        with serve(shop, python=stub, environment={"STUB_END": str(tmp_path / "end")}) as served:
            (tmp_path / "end").touch()
            assert served.process.wait(READY_S) == EngineError.exit_code
            assert "ended with status 3" in served.errors()

    def test_a_server_that_does_not_start(self, stub: str, shop: Path) -> None:
        with serve(shop, python=stub, options=("--die",), ready=False) as served:
            assert served.process.wait(READY_S) == EngineError.exit_code
            assert "ended with status 2 before it answered" in served.errors()

    def test_a_server_that_does_not_end(self, stub: str, shop: Path) -> None:
        with serve(shop, python=stub, options=("--deaf",), ready=False) as served:
            deadline = time.monotonic() + READY_S
            while "deaf" not in served.errors() and time.monotonic() < deadline:
                time.sleep(0.1)
            start = time.monotonic()
            assert served.stop() == 0
            assert time.monotonic() - start >= GRACE_S  # it had its time to end by itself

    def test_an_address_that_is_taken(self, llama: Path) -> None:
        weights = Weights(name="tiny", kind="llm", path=llama, source="path")
        vllm = Vllm(python="/opt/python", version="0.32.0", cpu=True, plugins=("theirs", "genrec_lora"))
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            with pytest.raises(EngineError, match="cannot listen") as caught:
                Server(vllm, weights, LlmSettings(port=port), dtype="bfloat16", adapters={})
            assert "--port" in caught.value.hint

    def test_the_fake_model_has_no_server(self, shop: Path) -> None:
        done = subprocess.run(
            [sys.executable, "-c", "from genrec.cli import main; main()", "llm", "serve", "-w", str(shop)],
            check=False,
            env=os.environ | {"GENREC_MODELS__LLM": "fake"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 2
        assert "no server runs" in done.stderr
