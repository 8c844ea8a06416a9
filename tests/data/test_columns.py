"""Columns found by name and by mapping."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genrec.data.columns import parse_map, resolve
from genrec.data.ingest_report import Report
from genrec.data.table_readers import read_events, read_items
from genrec.errors import ConfigError, TableError
from genrec.types import Event, Item

Write = Callable[[str, str], Path]


def fields(kind: Any, *columns: str, **mapping: str) -> dict[str, tuple[str, ...]]:
    return resolve(kind, columns, mapping, Path("t.csv")).fields


def item(write: Write, content: str, **mapping: str) -> Item:
    ((found,),) = read_items(write("a.csv", content), mapping=mapping, report=Report(strict=True))
    return found


def event(write: Write, content: str, **mapping: str) -> Event:
    ((found,),) = read_events(write("a.csv", content), mapping=mapping, report=Report(strict=True))
    return found


@pytest.mark.parametrize("name", ["item_id", "Item ID", "itemId", "ITEM-ID", "movieId", "asin", "product_id", "id"])
def test_names_of_the_item_id(name: str) -> None:
    assert fields("items", name, "title")["item_id"] == (name,)


@pytest.mark.parametrize(
    ("kind", "field", "name"),
    [
        ("items", "title", "name"),
        ("items", "image", "poster"),
        ("items", "image", "image.bytes"),
        ("users", "user_id", "userId"),
        ("users", "interests", "likes"),
        ("events", "timestamp", "unix"),
        ("events", "timestamp", "date"),
        ("events", "timestamp", "position"),
        ("events", "value", "stars"),
        ("events", "kind", "event_type"),
    ],
)
def test_other_names(kind: str, field: str, name: str) -> None:
    ids = {"items": ["item_id"], "users": [], "events": ["item_id", "user_id"]}[kind]
    ids += ["user_id"] if kind == "users" and field != "user_id" else []
    assert fields(kind, *ids, name)[field] == (name,)


def test_the_own_name_wins_then_the_better_rank() -> None:
    assert fields("items", "asin", "item_id", "id")["item_id"] == ("item_id",)
    assert fields("items", "id", "movieId")["item_id"] == ("movieId",)
    assert fields("items", "item_id", "Title", "title")["title"] == ("title",)
    assert fields("events", "user_id", "item_id", "position", "ts")["timestamp"] == ("ts",)


def test_ambiguous_names_list_the_candidates() -> None:
    with pytest.raises(TableError, match="asin and parent_asin could each be the item_id") as caught:
        fields("items", "asin", "parent_asin")
    assert caught.value.hint == "Choose one: --map item_id=asin"
    assert fields("items", "asin", "parent_asin", item_id="parent_asin")["item_id"] == ("parent_asin",)


def test_text_columns_are_joined_without_repeats(write: Write) -> None:
    found = item(write, "item_id,plot,description,overview\n1,A long plot.,long plot,Another.\n")
    assert found.text == "A long plot.\nAnother."
    assert not found.attributes
    assert item(write, "item_id,a,b,plot\n1,x,y,z\n", text="a,b").text == "x\ny"
    assert item(write, 'item_id,"a,b"\n1,x\n', text="a,b").text == "x"


def test_mapping(write: Write) -> None:
    content = "code,Product Name,Released,Genre,shop\n9,Lamp,1999,home|light,web\n"
    mapping = parse_map(["item_id=code", "title=product name", "attributes.year=Released", "genres[|]=Genre", "platform==house"])
    found = item(write, content, **mapping)
    assert (found.item_id, found.title, found.platform) == ("9", "Lamp", "house")
    assert dict(found.attributes) == {"year": 1999, "genres": ("home", "light"), "shop": "web"}


def test_a_list_of_json(write: Write) -> None:
    assert item(write, 'item_id,tags\n1,"[""a"", ""b""]"\n', **{"tags[json]": "tags"}).attributes == {"tags": ("a", "b")}


def test_events(write: Write) -> None:
    found = event(write, "userId,movieId,rating,timestamp,platform,action\nu,1,4.5,881250949000,tv,watch\n")
    assert found == Event(user_id="u", item_id="1", timestamp=881250949.0, kind="watch", value=4.5, platform="tv")
    assert event(write, "user,item\nu,1\n", kind="=view").kind == "view"
    assert event(write, "user,item,platform\nu,1,\n", platform="=web").platform == "web"


def test_events_are_mapped_by_the_names_of_tables_too(write: Write) -> None:
    found = event(write, "user,item,mark,place\nu,1,4.5,7\n", rating="mark", position="place")
    assert (found.value, found.timestamp) == (4.5, 7.0)


def test_without_times_the_order_of_the_rows_counts(write: Write, report: Report) -> None:
    (events,) = read_events(write("e.csv", "user_id,item_id,device\nu,1,tv\nu,2,tv\n"), report=report)
    assert [one.timestamp for one in events] == [1.0, 2.0]
    assert any("order of the rows" in note for note in report.notes)
    assert any("not kept: device" in note for note in report.notes)


def test_parse_map() -> None:
    assert parse_map(["title=Name", "a[|]=b", "c[=]=d=e", "platform==x"]) == {
        "title": "Name",
        "a[|]": "b",
        "c[=]": "d=e",
        "platform": "=x",
    }


@pytest.mark.parametrize(("pairs", "says"), [(["title"], "not FIELD=COLUMN"), (["=x"], "not FIELD"), (["a=b", "a=c"], "twice")])
def test_parse_map_refuses(pairs: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        parse_map(pairs)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("kind", "mapping", "says"),
    [
        ("items", {"audio": "x"}, "no field 'audio'"),
        ("items", {"title[,]": "x"}, r"no field 'title'"),
        ("items", {"attributes.title": "x"}, "title is a field"),
        ("items", {"attributes.": "x"}, "no field"),
        ("events", {"attributes.a": "x"}, "no field"),
        ("events", {"tags[,]": "x"}, "no field"),
        ("users", {"platform": "=web"}, "no field 'platform'"),
        ("items", {"a[,]": "x", "attributes.b": "x"}, "two attributes"),
        ("events", {"rating": "x", "value": "x"}, "two columns for value"),
    ],
)
def test_mapping_refuses(kind: str, mapping: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        fields(kind, "item_id", "user_id", "x", **mapping)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("column", "value", "kept"),
    [
        ("video", "clips/a b.MP4", ("video", "clips/a b.MP4")),
        ("Video URL", "https://films.example/watch?v=1", ("video", "https://films.example/watch?v=1")),
        ("trailer", " t.webm ", ("video", "t.webm")),
        ("audio_path", "songs/a.flac", ("audio", "songs/a.flac")),
        ("previewUrl", "https://a.example/p.mp3", ("audio", "https://a.example/p.mp3")),
        ("video", ["a.mp4", "b.mp4"], ("video", "a.mp4")),
        ("audio", "Dolby Digital 5.1", None),
        ("video", 1080, None),
        ("video", ["a.mp4", "1080p"], None),
        ("file", "a.mp4", None),
    ],
)
def test_audio_and_video_are_kept_and_are_no_text(
    column: str, value: object, kept: tuple[str, str] | None, write_rows: Callable[..., Path]
) -> None:
    path = write_rows({"item_id": "1", "title": "A", column: value})
    ((item,),) = read_items(path, report=Report(strict=True))
    found = {kind: file for kind in ("audio", "video") if (file := getattr(item, kind))}
    assert found == (dict([kept]) if kept else {})
    assert (column in item.attributes) is (kept is None)
    assert item.text == ""


def test_a_mapped_attribute_stays_one_whatever_it_holds(write_rows: Callable[..., Path]) -> None:
    path = write_rows({"item_id": "1", "video": "a.mp4"}, {"item_id": "1", "video": None, "audio": "b.ogg"})
    ((item,),) = read_items(path, report=Report(strict=True))
    assert (item.video, item.audio) == ("a.mp4", "b.ogg")
    ((item,),) = read_items(path, mapping={"attributes.video": "video"}, report=Report(strict=True))
    assert (item.video, dict(item.attributes)) == (None, {"video": "a.mp4"})
