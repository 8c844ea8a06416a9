"""Killed processes, killed servers and full disks: what was acknowledged is there, what was not is not half there."""

import random
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Pool, event

from genrec.errors import StoreError
from genrec.store.records import Changes
from genrec.store.store import Store
from genrec.types import Event, Item

from .conftest import PostgresServer
from .writer import EVENTS_A_CALL

WRITER = Path(__file__).with_name("writer.py")
Open = Callable[[str], Store]


def start(mode: str, url: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(WRITER), mode, url, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def kill_after(process: subprocess.Popen[str], seconds: float) -> list[str]:
    """Kill -9 some time after the first line; all lines that it said."""
    assert process.stdout is not None
    first = process.stdout.readline()
    time.sleep(seconds)
    process.kill()
    rest, errors = process.communicate()
    assert first, errors
    return [first, *rest.splitlines()]


def check_calls(store: Store, acknowledged: int) -> int:
    """Every acknowledged call is there as a whole, at most one more, and no call in part. The number of the next call."""
    by_call: dict[int, int] = {}
    for batch in store.all_items():
        for item in batch:
            call = int(item.item_id.split(".")[0])
            by_call[call] = by_call.get(call, 0) + 1
            assert f"a{call % 50}" in store.schema()
    for user_id, past in store.histories(store.user_ids()).items():
        by_call[int(user_id[1:])] = len(past)
    assert set(by_call.values()) == {EVENTS_A_CALL}
    assert sorted(by_call) == list(range(len(by_call)))
    assert len(by_call) in (acknowledged + 1, acknowledged + 2)
    return len(by_call)


def test_kill_9_while_writing(url: str) -> None:
    chance = random.Random(7)
    following = 0
    for _ in range(5):
        said = kill_after(start("write", url, following), chance.uniform(0.0, 0.3))
        with Store.open(url) as store:
            following = check_calls(store, acknowledged=int(said[-1]))
            assert store.put_items([]) == Changes()  # no lock is left behind
    assert following > 20


def test_a_migration_that_fails_leaves_nothing(sqlite_url: str, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "store.sqlite")
    other.execute("CREATE TABLE genrec_meta (mine TEXT)")  # the last table of the migration is taken
    with pytest.raises(StoreError, match="genrec_meta already exists"):
        Store.open(sqlite_url)
    assert other.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall() == [("genrec_meta",)]
    other.execute("DROP TABLE genrec_meta")
    other.close()
    with Store.open(sqlite_url) as store:
        assert store.counts().items == 0


def test_kill_9_while_the_schema_is_made(sqlite_url: str, tmp_path: Path) -> None:
    chance = random.Random(7)
    interrupted = 0
    for number in range(6):
        url = f"sqlite:///{tmp_path / f'{number}.sqlite'}"
        said = kill_after(start("open", url), chance.uniform(0.0, 0.05))
        interrupted += "opened" not in said
        with Store.open(url) as store:
            assert store.put_items([Item(item_id="1")]) == Changes(added=1)
    assert interrupted > 0


@pytest.mark.postgres
def test_a_crash_of_the_server(postgres: PostgresServer, postgres_url: str, opened: Open) -> None:
    store = opened(postgres_url)
    store.add_events([Event(user_id="u", item_id=str(number)) for number in range(100)])
    postgres.stop("immediate")
    try:
        with pytest.raises(StoreError, match="no connection") as caught:
            store.counts()
        assert caught.value.retryable
        with pytest.raises(StoreError, match="no connection"):
            Store.open(postgres_url)
    finally:
        postgres.start()
    assert store.counts().events == 100  # the same store connects again
    postgres.stop("immediate")
    postgres.start()  # between two calls nobody notices
    assert store.add_events([Event(user_id="u", item_id="new")]) == Changes(added=1)


def test_file_size_limit(sqlite_url: str) -> None:
    process = start("limit", sqlite_url, 1_000_000)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    refused, after = out.splitlines()
    call = int(refused.split()[0])
    assert call > 3
    assert "True" in refused
    assert "free space" in refused
    assert after == f"{call * EVENTS_A_CALL} 1"
    with Store.open(sqlite_url) as store:
        assert store.counts().items == call * EVENTS_A_CALL + 1


def test_full_disk(sqlite_url: str) -> None:
    pages = 400

    def shrink(raw: sqlite3.Connection, _record: object) -> None:
        raw.execute(f"PRAGMA max_page_count = {pages}").close()

    big = [Item(item_id=f"big{number}", text=f"{number} " * 20_000) for number in range(50)]
    event.listen(Pool, "connect", shrink)
    try:
        with Store.open(sqlite_url) as store:
            store.put_items([Item(item_id="before")])
            with pytest.raises(StoreError, match="disk is full") as caught:
                store.put_items(big)
            assert caught.value.retryable
            assert "Nothing of this call was kept" in caught.value.hint
            assert store.item_ids() == ["before"]
            assert store.put_items([Item(item_id="small")]) == Changes(added=1)
            pages = 100_000
        with Store.open(sqlite_url) as store:
            assert store.put_items(big) == Changes(added=50)
            assert store.counts().items == 52
    finally:
        event.remove(Pool, "connect", shrink)


def test_what_is_forgotten_is_overwritten(sqlite_url: str, tmp_path: Path, opened: Open) -> None:
    def traces() -> int:
        return sum(len(re.findall(b"very-secret", path.read_bytes())) for path in tmp_path.iterdir())

    store = opened(sqlite_url)
    secret = [Event(user_id="very-secret-person", item_id=f"i{number}", timestamp=number) for number in range(500)]
    store.add_events([*secret, *(Event(user_id=f"v{number}", item_id="i") for number in range(500))])
    assert traces() >= 500
    assert store.forget("very-secret-person").events == 500
    assert traces() == 0
    assert store.counts().events == 500


def test_forgetting_says_when_a_reader_keeps_the_log(
    sqlite_url: str, tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genrec.store.engine.LOCK_WAIT_S", 0.2)
    store = opened(sqlite_url)
    store.add_events([Event(user_id="u", item_id="i")])
    reader = sqlite3.connect(tmp_path / "store.sqlite")
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM genrec_events").fetchall()
    with pytest.raises(StoreError, match="write-ahead log keeps a copy") as caught:
        store.forget("u")
    assert caught.value.retryable
    assert store.history("u") == []
    reader.close()
    store.forget("u")
    assert (tmp_path / "store.sqlite-wal").stat().st_size == 0


def test_a_writer_that_holds_the_lock_too_long(
    sqlite_url: str, tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genrec.store.engine.LOCK_WAIT_S", 0.2)
    store = opened(sqlite_url)
    other = sqlite3.connect(tmp_path / "store.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked for too long") as caught:
        store.put_items([Item(item_id="1")])
    assert caught.value.retryable
    assert store.item_ids() == []  # readers need not wait
    other.close()
    assert store.put_items([Item(item_id="1")]) == Changes(added=1)
