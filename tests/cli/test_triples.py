"""`genrec ingest --triples`."""

from pathlib import Path

import pytest

from genrec.cli.ingest_command import parse_maps
from genrec.errors import ConfigError
from genrec.workspace.folder import Workspace
from tests.cli.command import genrec, refused


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    assert genrec("init", tmp_path / "w").code == 0
    (tmp_path / "items.csv").write_text("code,name\nm1,One\nm2,Two\n")
    (tmp_path / "cast.csv").write_text("film,relation,tail\nm1,starring,Tom\nm2,starring,Tom\nm2,starring,\nm2,starring,Tom\n")
    (tmp_path / "bought.csv").write_text("head,tail\nm1,m2\n")
    return tmp_path


def stored(folder: Path) -> list[tuple[str, str, str]]:
    with Workspace.open(folder / "w") as workspace:
        return workspace.store.triples()


def test_tables_of_triples_with_items_and_maps(folder: Path) -> None:
    tables = ("--items", folder / "items.csv", "--triples", folder / "cast.csv")
    maps = ("--map", "item_id=code", "--map", "items:title=name", "--map", "triples:head=film")
    done = genrec("ingest", "-w", folder / "w", *tables, *maps)
    assert done.code == 0, done.err
    assert "triples: 4 rows read, 3 kept, 0 merged, 1 left out" in done.err
    assert f"{folder / 'cast.csv'}, row 3 (line 4), column tail: the entity is missing" in done.err
    assert "the store holds 2 items, 0 people, 0 events, 2 triples" in done.err
    assert stored(folder) == [("m1", "starring", "Tom"), ("m2", "starring", "Tom")]
    again = genrec("ingest", "-w", folder / "w", "--triples", folder / "cast.csv", "--map", "head=film")
    assert "2 triples" in again.err
    assert "no head and no tail" not in done.err + again.err
    more = genrec("ingest", "-w", folder / "w", "--triples", folder / "bought.csv", "--map", "relation==also_bought")
    assert "3 triples" in more.err
    assert stored(folder)[0] == ("m1", "also_bought", "m2")


def test_several_tables_at_once_and_strict(folder: Path) -> None:
    (folder / "more.csv").write_text("head,relation,tail\nm1,by,Ann\n")
    (folder / "even.csv").write_text("head,relation,tail\nm2,by,Ann\n")
    tables = ("--triples", folder / "more.csv", "--triples", folder / "even.csv")
    assert genrec("ingest", "-w", folder / "w", *tables).code == 0
    assert stored(folder) == [("m1", "by", "Ann"), ("m2", "by", "Ann")]
    strict = genrec("ingest", "-w", folder / "w", "--triples", folder / "cast.csv", "--map", "head=film", "--strict")
    refused(strict, 4, "row 3")


def test_a_graph_that_touches_no_item_says_so(folder: Path) -> None:
    assert genrec("ingest", "-w", folder / "w", "--items", folder / "items.csv", "--map", "item_id=code").code == 0
    (folder / "far.csv").write_text("head,relation,tail\nM1,starring,Tom\n")
    done = genrec("ingest", "-w", folder / "w", "--triples", folder / "far.csv")
    assert done.code == 0
    assert f"note: {folder / 'far.csv'}: no head and no tail is the id of an item in the store" in done.err


def test_nothing_to_read_names_the_option(folder: Path) -> None:
    done = genrec("ingest", "-w", folder / "w")
    refused(done, 2, "there is nothing to read")
    assert "--triples" in done.err


def test_pairs_find_their_table() -> None:
    both = ["items", "triples"]
    pairs = ["head=film", "title=Name", "triples:tail=who", "items:head[|]=heads"]
    assert parse_maps(pairs, both) == {"items": {"title": "Name", "head[|]": "heads"}, "triples": {"head": "film", "tail": "who"}}
    items = ["items", "events"]
    assert parse_maps(["relation[|]=links"], items) == {"items": {"relation[|]": "links"}}
    with pytest.raises(ConfigError, match="no table of triples is read") as caught:
        parse_maps(["triples:head=film"], items)
    assert "--triples" in caught.value.hint
