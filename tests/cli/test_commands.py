"""Every command on small tables, from nothing to an answer."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from genrec import errors
from genrec.cli import app as application
from genrec.settings import SETTINGS_FILE
from tests import shop
from tests.cli.command import genrec, process, refused

MAPS = ("--map", "genres[|]=genres", "--map", "items:text=plot", "--map", "interests[;]=interests")


def test_from_nothing_to_an_answer(tmp_path: Path) -> None:
    shop.write_tables(tmp_path / "t")
    folder = tmp_path / "w"
    done = genrec("init", folder)
    assert (done.code, done.out) == (0, "")
    assert str(folder) in done.err
    (folder / SETTINGS_FILE).write_text(shop.SETTINGS)
    tables = ("--items", tmp_path / "t/items.csv", "--events", tmp_path / "t/events.jsonl", "--users", tmp_path / "t/users.jsonl")
    done = genrec("ingest", "-w", folder, *tables, *MAPS)
    assert (done.code, done.out) == (0, "")
    assert "items: 60 rows read, 60 kept, 0 merged, 0 left out" in done.err
    assert "the store holds 60 items, 42 people, 240 events" in done.err
    refused(genrec("recommend", "-w", folder, "-u", "u00"), 3, "build.json")
    done = genrec("build", "-w", folder)
    assert (done.code, done.out) == (0, "")
    assert "60 items indexed" in done.err
    assert "text: 60 encoded anew" in done.err
    assert "image: left out: models.image is empty" in done.err
    done = genrec("recommend", "-w", folder, "--user", "u00", "-k", "3")
    assert done.code == 0
    assert "The " in done.out
    assert "liked" in done.out
    assert "candidates" in done.err
    assert genrec("init", folder).code == 0  # one that is there is left as it is
    assert genrec("recommend", "-w", folder, "-u", "u00", "-k", "3").out == done.out
    done = genrec("forget", "-w", folder, "-u", "u00")
    assert (done.code, done.out) == (0, "")
    assert "deleted 6 events and the profile of 'u00'" in done.err
    refused(genrec("recommend", "-w", folder, "-u", "u00"), 7, "u00")


def test_json_lines(same_shop: Path) -> None:
    done = genrec("recommend", "-w", same_shop, "-u", "u00", "-k", "4", "--json", "--query", "starship")
    assert (done.code, done.err) == (0, "")
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert [row["rank"] for row in rows] == [1, 2, 3, 4]
    for row in rows:
        assert set(row) == {"user_id", "rank", "item_id", "title", "score", "reason", "sources", "item", "trace"}
        assert set(row["reason"]) == {"text", "source", "verified", "generated", "evidence"}
        assert set(row["item"]) == {"platform", "attributes", "image", "generated"}
        assert set(row["trace"]) == {"stages", "models", "prompts", "degraded"}
        assert row["trace"]["degraded"] is False
        for evidence in row["reason"]["evidence"]:
            assert set(evidence) == {"kind", "item_ids", "attribute", "value", "weight"}


def answer(folder: Path, *options: str) -> list[dict]:
    done = genrec("recommend", "-w", folder, "-u", "u00", "-k", "5", "--json", *options)
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


def test_options_of_recommend(same_shop: Path) -> None:
    plain = answer(same_shop)
    ids = [row["item_id"] for row in plain]
    assert ids[0] not in [row["item_id"] for row in answer(same_shop, "--exclude", ids[0])]
    assert {row["item"]["attributes"]["country"] for row in answer(same_shop, "--filter", 'country == "UK"')} == {"UK"}
    assert {row["reason"]["source"] for row in answer(same_shop, "--explain", "off")} == {"off"}
    assert {row["reason"]["source"] for row in answer(same_shop, "--explain", "template")} == {"template"}
    assert [row["score"] for row in answer(same_shop, "--rank", "off")] != [row["score"] for row in plain]
    assert [row["score"] for row in answer(same_shop, "--method", "markers")] != [row["score"] for row in plain]
    stages = [stage["name"] for stage in answer(same_shop, "--evidence", "ranker")[0]["trace"]["stages"]]
    assert "evidence by ranker" in stages


def test_weights_of_the_ranker_are_not_shown_as_shares(same_shop: Path) -> None:
    ask = ("recommend", "-w", same_shop, "-u", "u00", "-k", "5", "--explain", "template")
    assert "%)" in genrec(*ask).out
    by_ranker = genrec(*ask, "--evidence", "ranker").out
    assert "nats)" in by_ranker
    assert "%)" not in by_ranker


def test_nothing_left_is_no_error(same_shop: Path) -> None:
    done = genrec("recommend", "-w", same_shop, "-u", "u00", "--filter", "year > 3000")
    assert (done.code, done.out) == (0, "")
    assert "nothing is left" in done.err
    assert answer(same_shop, "--filter", "year > 3000") == []


def test_a_degraded_answer_says_so(same_shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENREC_MODELS__LLM", str(tmp_path / "none"))
    done = genrec("recommend", "-w", same_shop, "-u", "u00")
    assert done.code == 0
    assert "ranking DEGRADED" in done.err
    assert "degraded: ranking: WeightsError" in done.err
    assert done.out
    assert answer(same_shop)[0]["trace"]["degraded"] is True


def test_doctor(same_shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = genrec("doctor", "-w", same_shop)
    assert "all-MiniLM-L6-v2" in done.out
    assert done.err == ""
    monkeypatch.setenv("GENREC_MODELS__TEXT", str(tmp_path / "none"))
    done = genrec("doctor", "-w", same_shop)
    assert done.code == 1
    assert "missing" in done.out


def test_a_strict_ingest_stops_and_says_where(own_shop: Path, tmp_path: Path) -> None:
    table = tmp_path / "events.csv"
    table.write_text("user_id,item_id,rating,timestamp\nnew,space-0,4,1\nnew,nosuch,5,2\nnew,space-1,3,3\n")
    done = genrec("ingest", "-w", own_shop, "--events", table, "--strict")
    refused(done, 4, "row 2")
    assert "events: 3 rows read" in done.err
    done = genrec("ingest", "-w", own_shop, "--events", table)
    assert done.code == 0
    assert "1 × unknown item" in done.err
    assert f"{table}, row 2 (line 3), column item_id: there is no item 'nosuch'" in done.err
    assert "events: 3 rows read, 2 kept, 0 merged, 1 left out" in done.err


def test_events_before_any_items(tmp_path: Path) -> None:
    genrec("init", tmp_path / "new")
    (tmp_path / "orders.csv").write_text("customer,product\n" + "u,a\n" * 30)
    (tmp_path / "ids.csv").write_text("item_id\na\nb\n")
    orders = ("--events", tmp_path / "orders.csv", "--map", "user_id=customer")
    done = genrec("ingest", "-w", tmp_path / "new", *orders, "--map", "item_id=product")
    assert "one of ids alone is enough" in done.err
    assert done.err.count("there is no item") == 10
    done = genrec("ingest", "-w", tmp_path / "new", "--items", tmp_path / "ids.csv", *orders, "--map", "item_id=product")
    refused(done, 4, "no column 'product' for item_id")
    assert "--map events:item_id=COLUMN" in done.err
    done = genrec("ingest", "-w", tmp_path / "new", "--items", tmp_path / "ids.csv", *orders, "--map", "events:item_id=product")
    assert "30 events" in done.err
    assert "alone is enough" not in done.err


def test_what_was_read_before_a_bad_table_is_told(own_shop: Path, tmp_path: Path) -> None:
    (tmp_path / "good.csv").write_text("item_id,title\nnew,New\n")
    done = genrec("ingest", "-w", own_shop, "--items", tmp_path / "good.csv", "--items", tmp_path / "none.csv")
    refused(done, 4, "none.csv")
    assert "items: 1 rows read, 1 kept" in done.err


def test_maps_reach_their_table(own_shop: Path, tmp_path: Path) -> None:
    (tmp_path / "i.csv").write_text("code,Name,tags\nnew,Mapped,a;b\n")
    (tmp_path / "e.csv").write_text("who,code,stars\nfresh,new,5\n")
    tables = ("--items", tmp_path / "i.csv", "--events", tmp_path / "e.csv")
    maps = ("--map", "item_id=code", "--map", "title=Name", "--map", "items:tags[;]=tags", "--map", "user_id=who")
    done = genrec("ingest", "-w", own_shop, *tables, *maps, "--map", "events:value=stars")
    assert done.code == 0, done.err
    assert "1 kept" in done.err
    assert genrec("build", "-w", own_shop).code == 0
    rows = answer(own_shop, "--filter", 'tags has "b"')
    assert [(row["item_id"], row["title"], row["item"]["attributes"]["tags"]) for row in rows] == [("new", "Mapped", ["a", "b"])]


CODES = {
    "GenrecError": 1, "ConfigError": 2, "FilterError": 2, "WorkspaceError": 3, "DataError": 4, "TableError": 4, "RowError": 4,
    "MediaError": 4, "StoreError": 5, "IndexFault": 6, "UnknownError": 7, "UnknownUserError": 7, "UnknownItemError": 7,
    "UnknownSessionError": 7, "UnfinishedError": 8,
    "ModelError": 8, "WeightsError": 8, "LabelError": 8, "AdapterError": 8, "EngineError": 8, "PromptError": 9,
    "EvaluationError": 10, "TrainingError": 11,
}  # fmt: skip
CLASSES = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, errors.GenrecError)]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_has_its_exit_code(kind: type[errors.GenrecError], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise kind("it went wrong", hint="Do better.")

    monkeypatch.setattr(application, "app", fail)
    refused(genrec("init", "x"), CODES[kind.__name__], "it went wrong")


def test_usage_errors_and_help() -> None:
    assert genrec("recommend").code == 2
    assert genrec("nosuch").code == 2
    assert genrec("recommend", "-w", "w", "-u", "1", "--method", "magic").code == 2
    assert genrec("--help").code == 0


def test_in_a_process_of_its_own(same_shop: Path) -> None:
    """Data on stdout, messages on stderr, UTF-8 or not, and the exit code of the error."""
    ask = ("recommend", "-w", same_shop, "-u", "u00", "-k", "2")
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = process(*ask, "--json", env=env)
    assert (done.code, done.err) == (0, "")
    assert len([json.loads(line) for line in done.out.splitlines()]) == 2
    done = process(*ask, "--filter", "genres has 'Romance' and title == 'The Café Begins'", env=env)
    assert done.code == 0, done.err
    assert "The Caf\\xe9 Begins" in done.out
    refused(process("recommend", "-w", same_shop, "-u", "nobody"), 7, "nobody")


def test_a_reader_that_goes_away_is_no_fault(same_shop: Path) -> None:
    command = [
        sys.executable,
        "-c",
        "from genrec.cli import main; main()",
        "recommend",
        "-w",
        str(same_shop),
        "-u",
        "u00",
        "--json",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        assert child.stderr.read() == ""
        assert child.wait(60) in (0, 1)


def test_an_interrupt_ends_with_130() -> None:
    # a shell that starts the tests in the background leaves interrupts ignored, also for this child
    heard = "import os, signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code = heard + "from genrec.cli import app\n@app.app.command()\ndef wait(): os.kill(os.getpid(), 2)\napp.run()"
    done = process("wait", code=code)
    assert done.code == 128 + signal.SIGINT
    assert "Traceback" not in done.err
