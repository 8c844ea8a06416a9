"""The one way to replace a file: whole or not at all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from genrec.errors import WorkspaceError
from genrec.files import read_json, read_tensors, replacing, write_json, write_tensors, write_whole

KILLED = """
import os, signal, sys
from pathlib import Path
from genrec.files import replacing
with replacing(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_is_written_is_there(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", b"\x00\xff")
    write_whole(tmp_path / "b", "é")
    write_json(tmp_path / "c", {"title": "Amélie"})
    assert ((tmp_path / "a").read_bytes(), (tmp_path / "b").read_text(encoding="utf-8")) == (b"\x00\xff", "é")
    assert read_json(tmp_path / "c", hint="") == {"title": "Amélie"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]


def test_a_killed_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, "old")
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert done.returncode == -9
    assert path.read_text() == "old"


def test_a_fault_while_writing_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, "old")

    def broken() -> None:
        with replacing(path) as file:
            file.write(b"new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_it_is_on_the_disk_before_it_takes_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen = tmp_path / "file", list[bool]()
    monkeypatch.setattr(os, "fsync", lambda _: seen.append(path.exists()))
    write_whole(path, "new")
    assert seen == [False]


def test_a_disk_that_refuses(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError):
        write_whole(tmp_path / "file" / "below", "x")
    with pytest.raises(WorkspaceError) as caught:
        write_json(tmp_path / "file" / "below", {})
    assert "below" in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("content", ["{", "\udc80", "[" * 100_000])
def test_missing_and_damaged_json_have_hints_of_their_own(tmp_path: Path, content: str) -> None:
    with pytest.raises(WorkspaceError, match="no such file") as missing:
        read_json(tmp_path / "file", hint="make it", damaged="mend it")
    (tmp_path / "file").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(WorkspaceError, match="damaged") as damaged:
        read_json(tmp_path / "file", hint="make it", damaged="mend it")
    assert (missing.value.hint, damaged.value.hint) == ("make it", "mend it")


def test_tensors_are_named_by_their_digest_and_older_ones_go(tmp_path: Path) -> None:
    write_tensors(tmp_path, "vectors", "manifest.json", b"one", {"schema": 1})
    digest = write_tensors(tmp_path, "vectors", "manifest.json", b"two", {"schema": 1, "note": "new"})
    manifest, data = read_tensors(tmp_path, "manifest.json", schema=1, hint="again")
    assert (data, manifest["note"], manifest["sha256"]) == (b"two", "new", digest)
    (tensors,) = tmp_path.glob("*.safetensors")
    with pytest.raises(WorkspaceError, match="schema 1, this version reads 2"):
        read_tensors(tmp_path, "manifest.json", schema=2, hint="again")
    tensors.write_bytes(b"three")
    with pytest.raises(WorkspaceError, match="damaged") as caught:
        read_tensors(tmp_path, "manifest.json", schema=1, hint="again")
    assert caught.value.hint == "again"
