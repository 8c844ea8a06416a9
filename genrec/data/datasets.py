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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from genrec.errors import ConfigError, DataError

if TYPE_CHECKING:
    import polars as pl

    Frames = dict[str, pl.DataFrame]

ARCHIVE_URL = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
PACKAGE = "recbole==1.2.1"
_MAX_ARCHIVE = 20_000_000
_CONNECT_S = 4.0
_PIP_S = 600
_TABLES = {"events": 100_000, "items": 1_682, "users": 943}
_YEAR = re.compile(r"\((\d{4})\)")
_ARTICLES = "The|A|An|Le|La|Les|L'|Il|El|Los|Las|Der|Das|Die|Det|Den|O"
_TRAILING = re.compile(rf"(?P<rest>.+), (?P<article>{_ARTICLES})(?P<more>(?: \(.*\))*)")
_BRACKET = re.compile(r"\(([^()]+)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Paths of three Parquet tables for `read_items`, `read_events` and `read_users`; `source` says where they came from."""

    name: str
    items: Path
    events: Path
    users: Path
    source: str


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
            done = Path(work) / "done"
            done.mkdir()
            for table, frame in frames.items():
                frame.write_parquet(done / f"{table}.parquet")
            (done / "source.json").write_text(json.dumps({"source": source}), encoding="utf-8")
            if folder.exists() and _cached(name, folder) is None:
                shutil.rmtree(folder)
            if not folder.exists():  # else another process was faster
                os.rename(done, folder)
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

    paths = {table: folder / f"{table}.parquet" for table in _TABLES}
    try:
        source = json.loads((folder / "source.json").read_text(encoding="utf-8"))["source"]
        rows = {table: pq.read_metadata(path).num_rows for table, path in paths.items()}
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return None
    return Dataset(name=name, source=source, **paths) if rows == _TABLES else None


def _fetch(work: Path) -> "tuple[Frames, str]":
    """The tables from the first source that has them whole, and that source."""
    failures = []
    sources = {ARCHIVE_URL: lambda: from_archive(work, ARCHIVE_URL), f"package {PACKAGE}": lambda: from_package(work)}
    for source, read in sources.items():
        try:
            frames = read()
            for table, wanted in _TABLES.items():
                if (found := frames[table].height) != wanted:
                    raise DataError(f"{found:,} {table} where {wanted:,} are expected")
            return frames, source
        except DataError as error:
            failures.append(f"{source}: {error}")
    hint = "Check the connection or the package mirror that pip uses, then try again."
    raise DataError("movielens-100k was found nowhere. " + " ".join(failures), hint=hint, retryable=True)


def from_archive(work: Path, url: str) -> "Frames":
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
    separators = {"data": "\t", "item": "|", "user": "|", "genre": "|"}
    rows = {name: _rows(target, f"ml-100k/u.{name}", "latin-1", separator) for name, separator in separators.items()}
    genres = [cells[0] for cells in rows["genre"] if len(cells) > 1]
    try:
        items = []
        for cells in rows["item"]:
            flags = zip(genres, cells[5:], strict=True)
            items.append((cells[0], cells[1], None, [genre for genre, flag in flags if flag == "1" and genre != "unknown"]))
        return _frames(items, rows["data"], rows["user"])
    except (ValueError, IndexError) as error:
        raise DataError(f"the archive is not laid out as expected ({error}).") from error


def from_package(work: Path) -> "Frames":
    """The copy in the package `recbole`, fetched as a wheel by pip (nothing is installed or run). Raises DataError."""
    command = f"-m pip download --quiet --no-deps --only-binary=:all: {PACKAGE} --dest".split()
    try:
        done = subprocess.run([sys.executable, *command, str(work)], capture_output=True, text=True, timeout=_PIP_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise DataError(f"pip took more than {_PIP_S} s.", retryable=True) from error
    wheel = next(iter(work.glob("recbole-*.whl")), None)
    if done.returncode or wheel is None:
        reason = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no wheel came")
        raise DataError(f"pip failed ({reason.strip()[:300]}).", retryable=True)
    folder = "recbole/dataset_example/ml-100k/ml-100k"
    rows = {part: _rows(wheel, f"{folder}.{part}", "utf-8", "\t")[1:] for part in ("item", "inter", "user")}
    try:
        items = [(i, title, year, [g for g in genres.split(" ") if g != "unknown"]) for i, title, year, genres in rows["item"]]
        return _frames(items, rows["inter"], rows["user"])
    except (ValueError, IndexError) as error:
        raise DataError(f"the package is not laid out as expected ({error}).") from error


def _rows(archive: Path, name: str, encoding: str, separator: str) -> list[list[str]]:
    """The cells of each line that is not empty."""
    try:
        with zipfile.ZipFile(archive) as folder, folder.open(name) as file:
            text = file.read(_MAX_ARCHIVE).decode(encoding)
    except (zipfile.BadZipFile, KeyError, EOFError) as error:
        raise DataError(f"{archive.name} is damaged or lacks {name} ({error}).") from error
    return [line.split(separator) for line in text.splitlines() if line]


def _frames(items: Sequence[tuple[str, str, str | None, list[str]]], events: list[list[str]], users: list[list[str]]) -> "Frames":
    """Typed tables, items and users in the order of their numbers."""
    import polars as pl

    films = []
    for item_id, title, year, genres in items:
        named = _YEAR.search(title)
        found = year if year and year.isdecimal() else named and named[1]
        films.append((item_id, natural_title(title), int(found) if found else None, genres))
    acts = [(user, item, int(float(rating)), int(float(time))) for user, item, rating, time in events]
    people = [(user, int(age), gender, job, code) for user, age, gender, job, code in users]
    number, text = pl.Int64, pl.String
    item_columns = {"item_id": text, "title": text, "year": number, "genres": pl.List(text)}
    event_columns = {"user_id": text, "item_id": text, "rating": number, "timestamp": number}
    user_columns = {"user_id": text, "age": number, "gender": text, "occupation": text, "zip": text}
    return {
        "items": pl.DataFrame(films, schema=item_columns, orient="row").sort(pl.col("item_id").cast(number)),
        "events": pl.DataFrame(acts, schema=event_columns, orient="row"),
        "users": pl.DataFrame(people, schema=user_columns, orient="row").sort(pl.col("user_id").cast(number)),
    }


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
