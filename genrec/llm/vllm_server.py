"""A vLLM server as a child process: found, started with the base model and all adapters, watched until it answers, ended."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from packaging.version import InvalidVersion, Version

from genrec.errors import EngineError
from genrec.llm.openai_engine import RemoteLLM
from genrec.llm.protocol import Likelihood, WriteRequest
from genrec.llm.vllm_options import engine_flags
from genrec.models.sources import Weights
from genrec.settings.sections import LlmSettings

OLDEST = Version("0.32")
"""The first version whose server scores prompt tokens out of its prefix cache."""

GRACE_S = 10.0
"""Time to end that a server gets after a signal."""

PAUSE_S = 0.5

PLUGIN = Path(__file__).parent / "vllm_plugin"
"""What `genrec llm serve` adds to vLLM."""
PLUGINS = ("genrec_lists", "genrec_lora", "genrec_rows")

_INSTALL = "pip install 'genrec[vllm]' for a GPU; for a CPU, and for an environment of its own (llm.python): docs/serving.md."
_LOG = "vLLM's own messages above say why; VLLM_LOGGING_LEVEL=INFO shows all of them."

# run by the other interpreter, which may have nothing of genrec
_LOOK = """
import importlib.metadata, importlib.util, json
there = importlib.util.find_spec("vllm") is not None
names = importlib.metadata.packages_distributions().get("vllm", []) if there else []
points = [point for found in importlib.metadata.distributions() for point in found.entry_points]
plugins = sorted({one.name for one in points if one.group.startswith("vllm.") and one.group != "vllm.endpoint_plugins"})
print(json.dumps({"vllm": [[name, importlib.metadata.version(name)] for name in names], "plugins": plugins}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vllm:
    """An interpreter that has vLLM. `cpu`: it is a build for processors. `plugins` load there unless somebody names others."""

    python: str
    version: str
    cpu: bool
    plugins: tuple[str, ...] = ()


def find_vllm(python: str = "") -> Vllm:
    """Look whether `python` (empty: this interpreter) has a vLLM that can serve. Raises EngineError."""
    python = python or sys.executable
    try:
        done = subprocess.run([python, "-c", _LOOK], capture_output=True, text=True, timeout=120, env=_clean(python), check=True)
        told = json.loads(done.stdout)
        found, plugins = told["vllm"], tuple(told["plugins"])
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise EngineError(f"{python} is no Python interpreter: {error}", hint="Set llm.python to one that has vLLM.") from error
    if not found:
        raise EngineError(f"vLLM is not installed for {python}", hint=_INSTALL)
    name, version = found[0]
    try:
        old = Version(version) < OLDEST
    except InvalidVersion:  # a build from source: its maker knows
        old = False
    if old:
        raise EngineError(f"{python} has {name} {version}, genrec needs vllm >= {OLDEST}", hint=_INSTALL)
    return Vllm(python=python, version=version, cpu="cpu" in name or "+cpu" in version, plugins=plugins)


def command(
    vllm: Vllm, weights: Weights, settings: LlmSettings, *, dtype: str, adapters: Mapping[str, Path]
) -> tuple[list[str], dict[str, str]]:
    """The server's command line and environment. Raises AdapterError for an adapter that cannot be read."""
    line = [vllm.python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(weights.path.resolve())]
    line += ["--served-model-name", weights.name, "--host", settings.host, "--port", str(settings.port)]
    # the route that scores out of the prefix cache, the counts of what came from it, and a server without own sampling defaults
    line += ["--enable-scale-out", "--enable-prompt-tokens-details", "--max-logprobs", "128", "--generation-config", "vllm"]
    line += ["--disable-uvicorn-access-log"]
    modules = [json.dumps({"name": name, "path": str(path.resolve())}) for name, path in sorted(adapters.items())]
    line += ["--lora-modules", *modules] if modules else []
    line += engine_flags(settings, dtype=dtype, adapters=adapters, cpu=vllm.cpu)
    environment = _clean(vllm.python) | {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    paths = [str(PLUGIN), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    environment.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    # vLLM loads no plugin with routes that is not named, and none of the others once one is
    environment.setdefault("VLLM_PLUGINS", ",".join(dict.fromkeys((*vllm.plugins, *PLUGINS))))
    if settings.api_key:
        environment["VLLM_API_KEY"] = settings.api_key  # not on the command line, which everybody on the machine can read
    return line, environment


class Server:
    """A started server. Use it as a context manager: leaving ends the process and all that it started."""

    def __init__(self, vllm: Vllm, weights: Weights, settings: LlmSettings, *, dtype: str, adapters: Mapping[str, Path]) -> None:
        """Start it. Raises EngineError when the address is taken or vLLM cannot be run, AdapterError as `command` does."""
        _check_free(settings.host, settings.port)
        line, environment = command(vllm, weights, settings, dtype=dtype, adapters=adapters)
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
        self._settings = settings.model_copy(update={"url": self.url})
        self._weights = weights
        self._adapters = adapters
        try:
            # a session of its own: a signal from the terminal reaches this process alone, which passes it on
            # and what vLLM logs goes to stderr, where messages belong: it writes some of it to stdout
            self._process = subprocess.Popen(line, env=environment, start_new_session=True, stdout=2)
        except OSError as error:
            raise EngineError(f"{vllm.python}: {error}", hint="Set llm.python to an interpreter that has vLLM.") from error

    def wait_ready(self) -> RemoteLLM:
        """Block until the server is well and has scored and written something; returns an engine that talks to it.

        Raises EngineError when the process ends before, or when its answers are wrong.
        """
        import httpx

        while True:
            if (status := self._process.poll()) is not None:
                raise EngineError(f"the vLLM server ended with status {status} before it answered", hint=_LOG)
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/health", timeout=2.0).status_code == 200:
                    break
            time.sleep(PAUSE_S)
        llm = RemoteLLM(self._weights.name, self._settings, tokenizer=self._weights.path)
        try:
            _try(llm, ["", *self._adapters])
        except BaseException:
            llm.close()
            raise
        return llm

    def wait(self) -> int:
        """Block until the process ends; its exit status."""
        return self._process.wait()

    @contextlib.contextmanager
    def passing_signals(self) -> Iterator[list[int]]:
        """Have SIGINT and SIGTERM end the server meanwhile, the second one at once. Yields those that came."""
        came: list[int] = []
        killer = self._killer()

        def pass_on(number: int, _: FrameType | None) -> None:
            came.append(number)
            if len(came) == 1:
                self._signal(signal.SIGTERM)
                killer.start()  # vLLM 0.32 does not always end while it is starting
            else:
                self._signal(signal.SIGKILL)

        before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield came
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            killer.cancel()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self._signal(signal.SIGTERM)
        killer = self._killer()
        killer.start()
        self._process.wait()
        killer.cancel()
        self._signal(signal.SIGKILL)  # its workers, should one have outlived it

    def _killer(self) -> threading.Timer:
        killer = threading.Timer(GRACE_S, self._signal, [signal.SIGKILL])
        killer.daemon = True
        return killer

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self._process.poll() is None and number != signal.SIGKILL:
                self._process.send_signal(number)
            elif number == signal.SIGKILL:
                os.killpg(self._process.pid, number)


def _try(llm: RemoteLLM, adapters: list[str]) -> None:
    """Have one list scored and one word written with every adapter. Raises what the engine raises."""
    prefix, context = "A list of films:\n", "- Alien\n-"

    async def first() -> None:
        for adapter in adapters:
            await llm.score(
                [Likelihood(prefix=prefix, context=context, continuations=(" Aliens\n", " The Thing\n"), adapter=adapter)]
            )
            await llm.write([WriteRequest(prefix=prefix, prompt=context, max_tokens=2, adapter=adapter)])

    asyncio.run(first())


def _check_free(host: str, port: int) -> None:
    """Raises EngineError when something listens there already: its answers would be taken for the new server's."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, kind, protocol) as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(address)
    except OSError as error:
        raise EngineError(
            f"cannot listen at {host} port {port}: {error.strerror or error}", hint="Choose another with --port or llm.port."
        ) from error


def _clean(python: str) -> dict[str, str]:
    """This process's environment, for an interpreter that may belong to another one."""
    foreign = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV") if python != sys.executable else ()
    return {key: value for key, value in os.environ.items() if key not in foreign}
