"""Opening: URLs, what is there already, versions, damaged files."""

import builtins
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect, text

from genrec.errors import StoreError
from genrec.store.engine import MIGRATIONS, make_engine, parse_url
from genrec.store.store import Store
from genrec.store.tables import REVISION, VERSION_TABLE, metadata
from genrec.types import Event, Item

Open = Callable[[str], Store]


def run_sql(url: str, statement: str) -> None:
    engine = create_engine(url)
    with engine.begin() as conn:
        conn.execute(text(statement))
    engine.dispose()


def test_migrations_make_the_tables_that_the_code_uses(url: str, opened: Open) -> None:
    opened(url)
    engine = create_engine(url)
    with engine.connect() as conn:
        context = MigrationContext.configure(conn, opts={"version_table": VERSION_TABLE, "compare_type": True})
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == REVISION
        unique = inspect(conn).get_unique_constraints("genrec_events")
        assert [one["name"] for one in unique] == ["genrec_events_once"]
        for table in metadata.sorted_tables:
            for column in inspect(conn).get_columns(table.name):
                meant = table.c[column["name"]].type.dialect_impl(engine.dialect)
                assert getattr(column["type"], "collation", None) == getattr(meant, "collation", None)
    engine.dispose()
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == REVISION


def test_every_sqlite_connection_is_durable(sqlite_url: str) -> None:
    engine = make_engine(parse_url(sqlite_url))
    with engine.connect() as first, engine.connect() as second:
        for conn in (first, second):
            names = ("journal_mode", "synchronous", "foreign_keys", "secure_delete", "busy_timeout")
            values = [conn.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]
            assert values == ["wal", 2, 1, 1, 30_000]
    engine.dispose()


@pytest.mark.postgres
def test_every_postgres_connection_is_durable(postgres_url: str) -> None:
    engine = make_engine(parse_url(postgres_url + "%20-csynchronous_commit%3Doff"))
    with engine.connect() as conn:
        assert conn.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
    engine.dispose()


def test_a_missing_store_is_not_made_unless_asked(url: str, tmp_path: Path, opened: Open) -> None:
    with pytest.raises(StoreError, match="there is no") as caught:
        Store.open(url, create=False)
    assert caught.value.hint
    assert not (tmp_path / "store.sqlite").exists()
    opened(url).put_items([Item(item_id="1")])
    with Store.open(url, create=False) as again:
        assert again.item_ids() == ["1"]


def test_a_file_without_a_store_is_not_one(sqlite_url: str, tmp_path: Path) -> None:
    (tmp_path / "store.sqlite").touch()
    with pytest.raises(StoreError, match="there is no genrec store"):
        Store.open(sqlite_url, create=False)


def test_a_newer_schema_is_left_alone(url: str, opened: Open) -> None:
    opened(url).put_items([Item(item_id="1")])
    run_sql(url, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    with pytest.raises(StoreError, match=f"has version 9999, this genrec knows versions up to {REVISION}") as caught:
        Store.open(url)
    assert "upgrade genrec" in caught.value.hint
    run_sql(url, f"UPDATE {VERSION_TABLE} SET version_num = '{REVISION}'")
    assert opened(url).item_ids() == ["1"]


def test_other_tables_of_the_database_are_left_alone(url: str, opened: Open) -> None:
    run_sql(url, "CREATE TABLE users (name TEXT)")
    run_sql(url, "INSERT INTO users VALUES ('someone')")
    run_sql(url, "CREATE TABLE alembic_version (version_num TEXT)")
    run_sql(url, "INSERT INTO alembic_version VALUES ('of another application')")
    store = opened(url)
    assert store.user_ids() == []


def test_many_open_a_new_store_at_once(url: str) -> None:
    faults: list[BaseException] = []
    gate = threading.Barrier(6)

    def work() -> None:
        gate.wait()
        try:
            with Store.open(url) as store:
                store.add_events([Event(user_id="u", item_id="i")])
        except StoreError as error:
            faults.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    with Store.open(url, create=False) as store:
        assert store.counts().events == 1


def test_many_new_stores_at_once_in_one_process(tmp_path: Path) -> None:
    gate = threading.Barrier(8)
    made: list[str] = []

    def work(number: int) -> None:
        gate.wait()
        with Store.open(f"sqlite:///{tmp_path / f'{number}.sqlite'}") as store:
            store.put_items([Item(item_id=str(number))])
            made.extend(store.item_ids())

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [str(number) for number in range(8)]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "not a database URL"),
        ("store.sqlite", "not a database URL"),
        ("secret:word@host:port", "not a database URL"),
        ("sqlite://", "plain file path"),
        ("sqlite:///:memory:", "plain file path"),
        ("sqlite:///file:x?mode=memory&uri=true", "plain file path"),
        ("mysql://root:secret@localhost/x", "does not run on 'mysql'"),
        ("postgres://root:secret@localhost/x", "does not run on 'postgres'"),
        ("postgresql+asyncpg://root:secret@localhost/x", "does not run on 'postgresql\\+asyncpg'"),
        ("postgresql://root:secret@127.0.0.1:1/x", "no connection"),
        ("postgresql://root:secret@127.0.0.1:1/x?connect_timeout=1", "no connection"),
        ("sqlite:////no/such/folder/store.sqlite", "cannot be opened"),
        ("sqlite:////proc/1/cmdline", "damaged|cannot be opened|may not be written|cannot be read"),
        ("sqlite:////tmp", "cannot be opened"),
    ],
)
def test_bad_urls(url: str, says: str) -> None:
    with pytest.raises(StoreError, match=says) as caught:
        Store.open(url)
    assert caught.value.hint
    assert "secret" not in str(caught.value)


@pytest.mark.postgres
def test_a_database_that_does_not_exist(postgres_url: str) -> None:
    with pytest.raises(StoreError, match="database") as caught:
        Store.open(postgres_url.replace("@/postgres", "@/nothing"))
    assert caught.value.hint


def test_without_the_postgres_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: object, **named: object) -> object:
        if name == "psycopg":
            raise ModuleNotFoundError("No module named 'psycopg'", name="psycopg")
        return real(name, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(StoreError, match="driver is not installed") as caught:
        Store.open("postgresql://u:secret@localhost/x")
    assert "genrec[postgres]" in caught.value.hint
    assert "secret" not in str(caught.value)


@pytest.fixture
def filled(sqlite_url: str, tmp_path: Path) -> Path:
    """The file of a store with some content."""
    with Store.open(sqlite_url) as store:
        store.put_items([Item(item_id=f"{number}", text="words " * 100) for number in range(500)])
        store.add_events([Event(user_id=f"u{number}", item_id="1") for number in range(500)])
    return tmp_path / "store.sqlite"


def read_all(url: str) -> None:
    with Store.open(url, create=False) as store:
        assert sum(map(len, store.all_items())) == 500
        assert store.counts().events == len(store.interactions()) == 500
        assert len(store.histories(store.user_ids())) == 500


def test_a_file_that_is_no_database(sqlite_url: str, filled: Path) -> None:
    filled.write_bytes(b"PAR1" + b"not a database " * 1000)
    with pytest.raises(StoreError, match="damaged or is not a genrec store") as caught:
        Store.open(sqlite_url)
    assert "backup" in caught.value.hint
    assert filled.read_bytes().startswith(b"PAR1")  # not touched


def test_a_truncated_file(sqlite_url: str, filled: Path) -> None:
    whole = filled.read_bytes()
    for size in (200, len(whole) // 4, len(whole) // 2, len(whole) - 5000):
        filled.write_bytes(whole[:size])
        with pytest.raises(StoreError, match="damaged") as caught:
            read_all(sqlite_url)
        assert "backup" in caught.value.hint


def test_overwritten_pages(sqlite_url: str, filled: Path) -> None:
    whole = filled.read_bytes()
    hints: list[str] = []
    for start in range(4096, len(whole), 4096):
        filled.write_bytes(whole[:start] + os.urandom(4096) + whole[start + 4096 :])
        try:
            read_all(sqlite_url)
        except StoreError as error:
            hints.append(error.hint)
        except AssertionError:
            continue  # the noise reads as fewer rows
    assert len(hints) > 10
    assert all(hints)


def test_broken_json(sqlite_url: str, filled: Path) -> None:
    other = sqlite3.connect(filled)
    other.execute("UPDATE genrec_items SET attributes = '{' WHERE item_id = '7'")
    other.commit()
    other.close()
    with Store.open(sqlite_url) as store, pytest.raises(StoreError, match="damaged"):
        store.item("7")


def test_a_store_that_may_not_be_written_to(sqlite_url: str, filled: Path) -> None:
    with Store.open(sqlite_url) as store:
        other = sqlite3.connect(filled)
        other.execute("CREATE TRIGGER no_items BEFORE INSERT ON genrec_items BEGIN SELECT RAISE(ABORT, 'closed today'); END")
        other.close()
        with pytest.raises(StoreError, match="closed today") as caught:
            store.put_items([Item(item_id="new")])
        assert "Nothing of this call was kept" in caught.value.hint
        assert store.counts().items == 500


def test_the_package_is_cheap_to_import() -> None:
    code = "import sys, genrec.store; print([m for m in ('sqlalchemy', 'alembic', 'numpy', 'psycopg') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_opening_an_existing_store_does_not_load_alembic(sqlite_url: str, opened: Open) -> None:
    opened(sqlite_url)
    code = "import sys; from genrec.store.store import Store; "
    code += f"Store.open({sqlite_url!r}).close(); print('alembic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
