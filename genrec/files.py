"""Files that a kill or a full disk leaves whole: a reader sees the old content or the new, never half of it."""

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from genrec.errors import WorkspaceError


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the place of `path` at the end of the block, flushed to the disk and renamed.

    When the block raises, the old file is still there and nothing else is left. Raises OSError.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, data: bytes | str) -> None:
    """Write `data`, text as UTF-8, by `replacing`. Raises OSError."""
    with replacing(path) as file:
        file.write(data.encode() if isinstance(data, str) else data)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON by `replacing`. Raises WorkspaceError when the disk refuses; the old file is then still there."""
    try:
        write_whole(path, json.dumps(value, ensure_ascii=False, indent=1))
    except OSError as error:
        hint = "Choose a folder that can be written to, or free some space."
        raise WorkspaceError(f"{path}: {error.strerror or error}", hint=hint) from error


def read_json(path: Path, *, hint: str, damaged: str = "") -> Any:
    """Raises WorkspaceError when the file is missing (with `hint`) or damaged (with `damaged`, else with `hint`)."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise WorkspaceError(f"{path}: there is no such file", hint=hint) from error
    except OSError as error:
        raise WorkspaceError(f"{path}: {error.strerror or error}", hint=hint) from error
    except (ValueError, RecursionError) as error:
        raise WorkspaceError(f"{path}: the file is damaged: {error}", hint=damaged or hint) from error


def write_tensors(folder: Path, kind: str, manifest_file: str, data: bytes, manifest: Mapping[str, object]) -> str:
    """Write safetensors `data` under a name that is its digest, then the JSON `manifest_file` that names it; older ones go.

    Returns the digest, 64 hex digits. Raises OSError.
    """
    digest = hashlib.sha256(data).hexdigest()
    name = f"{kind}-{digest[:16]}.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / name, data)
    named = {**manifest, "tensors": name, "sha256": digest}
    write_whole(folder / manifest_file, json.dumps(named, ensure_ascii=False))
    delete_tensors(folder, kind, except_for=name)
    return digest


def read_tensors(folder: Path, manifest_file: str, *, schema: int, hint: str) -> tuple[dict[str, Any], bytes]:
    """What `write_tensors` wrote: the manifest and the bytes of the safetensors.

    Raises WorkspaceError, with `hint`, for another schema or digest; OSError, ValueError, KeyError and TypeError for what
    cannot be read at all.
    """
    path = folder / manifest_file
    manifest = json.loads(path.read_text(encoding="utf-8"))
    if manifest["schema"] != schema:
        raise WorkspaceError(f"{path}: schema {manifest['schema']}, this version reads {schema}", hint=hint)
    data = (folder / Path(manifest["tensors"]).name).read_bytes()
    if hashlib.sha256(data).hexdigest() != manifest["sha256"]:
        raise WorkspaceError(f"{folder / manifest['tensors']}: the file is damaged (its digest differs)", hint=hint)
    return manifest, data


def delete_tensors(folder: Path, kind: str, *, except_for: str = "") -> None:
    """Delete the safetensors of this kind, but for the file of the name `except_for`."""
    for stale in folder.glob(f"{kind}-*.safetensors"):
        if stale.name != except_for:
            stale.unlink(missing_ok=True)
