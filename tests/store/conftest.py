"""A store on each database: a SQLite file, and a private PostgreSQL server that listens on a Unix socket only."""

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from genrec.store.store import Store

_numbers = itertools.count()


class PostgresServer:
    """A server of Debian's `postgresql` package in a temporary folder; root runs it as the user postgres."""

    def __init__(self, binaries: Path) -> None:
        self.binaries = binaries
        self.user = "postgres" if os.geteuid() == 0 else None
        self.folder = Path(tempfile.mkdtemp(prefix="genrec-pg-"))
        if self.user:
            os.chown(self.folder, pwd.getpwnam(self.user).pw_uid, -1)
        locale = ("--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en")  # sorts a before B, unlike SQLite and Python
        self._run("initdb", "--auth=trust", "--username=genrec", "--no-sync", "--encoding=UTF8", *locale)
        self.start()

    def _run(self, program: str, *arguments: str) -> None:
        command = [self.binaries / program, "-D", self.folder / "data", *arguments]
        done = subprocess.run(
            command, user=self.user, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, text=True
        )
        assert done.returncode == 0, done.stdout

    def start(self) -> None:
        options = f"-c listen_addresses='' -c unix_socket_directories={self.folder} -c fsync=off"
        self._run("pg_ctl", "start", "--wait", "--silent", f"--log={self.folder / 'log'}", f"--options={options}")

    def stop(self, mode: str) -> None:
        self._run("pg_ctl", "stop", "--wait", "--silent", f"--mode={mode}")

    def new_schema(self) -> str:
        """URL of an empty schema: a thousand times cheaper than a database of its own."""
        name = f"store{next(_numbers)}"
        with psycopg.connect(host=str(self.folder), user="genrec", dbname="postgres", autocommit=True) as admin:
            admin.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
        return f"postgresql+psycopg://genrec@/postgres?host={self.folder}&options=-csearch_path%3D{name}"


def _binaries() -> Path | None:
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if versions:
        return versions[-1]
    found = shutil.which("initdb")
    return Path(found).parent if found else None


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    binaries = _binaries()
    if binaries is None:
        pytest.skip("the PostgreSQL server is not installed (apt-get install postgresql)")
    server = PostgresServer(binaries)
    yield server
    server.stop("immediate")
    shutil.rmtree(server.folder)


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> str:
    return postgres.new_schema()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store.sqlite'}"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest) -> str:
    """The same test on both databases, each time an empty one."""
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def opened() -> Iterator[Callable[[str], Store]]:
    """`Store.open` that closes what it opened at the end of the test."""
    stores: list[Store] = []

    def open_store(where: str) -> Store:
        stores.append(Store.open(where))
        return stores[-1]

    yield open_store
    for store in stores:
        store.close()


@pytest.fixture
def store(url: str, opened: Callable[[str], Store]) -> Store:
    return opened(url)
