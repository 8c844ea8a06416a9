"""A workspace that is damaged, half there, newer, or on a full disk: a clear error, and what the hint says mends it."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from genrec.settings import SETTINGS_FILE
from tests import shop
from tests.cli.command import Done, genrec, process, refused

Harm = Callable[[Path], object]


def answer(folder: Path) -> Done:
    return genrec("recommend", "-w", folder, "-u", "u00", "-k", "5", "--explain", "template")


def write(name: str, content: str | bytes) -> Harm:
    return lambda folder: (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def remove(*patterns: str) -> Harm:
    def harm(folder: Path) -> None:
        for path in [path for pattern in patterns for path in folder.glob(pattern)]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return harm


def cut(pattern: str, size: int) -> Harm:
    def harm(folder: Path) -> None:
        for path in folder.glob(pattern):
            path.write_bytes(path.read_bytes()[:size])

    return harm


def edit(name: str, **values: object) -> Harm:
    def harm(folder: Path) -> None:
        (folder / name).write_text(json.dumps({**json.loads((folder / name).read_text()), **values}))

    return harm


def both(first: Harm, second: Harm) -> Harm:
    return lambda folder: (first(folder), second(folder))


UNSERVED = write(SETTINGS_FILE, '[index]\nurl = "http://127.0.0.1:9"\n')
NO_NOTES = [write("vectors/digests.json", "[]"), remove("vectors/digests.json")]


@dataclass(frozen=True)
class Damage:
    kind: str
    harm: Harm
    code: int
    says: str
    mended: bool = True
    """`genrec build` makes it good again."""


DAMAGE = [
    Damage("workspace.json missing", remove("workspace.json"), 3, "there is no such file", mended=False),
    Damage("workspace.json damaged", write("workspace.json", "{"), 3, "damaged", mended=False),
    Damage("workspace.json not an object", write("workspace.json", "[]"), 3, "schema []", mended=False),
    Damage("workspace.json binary", write("workspace.json", b"\xff\xfe"), 3, "damaged", mended=False),
    Damage("workspace of a newer schema", write("workspace.json", '{"schema": 99}'), 3, "schema 99", mended=False),
    Damage("settings that are no TOML", write(SETTINGS_FILE, "[models\n"), 2, SETTINGS_FILE, mended=False),
    Damage("settings in another encoding", write(SETTINGS_FILE, b"\xe9"), 2, SETTINGS_FILE, mended=False),
    Damage("unknown setting", write(SETTINGS_FILE, "[rank]\nnosuch = 1\n"), 2, "rank.nosuch", mended=False),
    Damage("unknown section", write(SETTINGS_FILE, "[nosuch]\na = 1\n"), 2, "nosuch", mended=False),
    Damage("setting out of range", write(SETTINGS_FILE, "[rank]\nweight = 3\n"), 2, "rank.weight", mended=False),
    Damage("section that is a number", write(SETTINGS_FILE, "rank = 3\n"), 2, "rank", mended=False),
    Damage("store URL that is none", write(SETTINGS_FILE, '[store]\nurl = "nonsense"\n'), 5, "store.url is not", mended=False),
    Damage("index URL that nobody serves", UNSERVED, 6, "127.0.0.1", mended=False),
    Damage("build.json missing", remove("build.json"), 3, "build.json"),
    Damage("build.json damaged", cut("build.json", 20), 3, "damaged"),
    Damage("build.json empty", write("build.json", ""), 3, "damaged"),
    Damage("build.json of another shape", write("build.json", "[1]"), 3, "damaged"),
    Damage("build.json without its keys", write("build.json", "{}"), 3, "damaged"),
    Damage("build.json of a newer version", edit("build.json", schema=2), 3, "schema 2, this version reads 1"),
    Damage("build.json of another build", edit("build.json", items=59), 3, "not whole"),
    Damage("vectors missing", remove("vectors"), 3, "vectors.json"),
    Damage("manifest of the vectors damaged", cut("vectors/vectors.json", 50), 3, "cannot be read"),
    Damage("manifest of the vectors newer", edit("vectors/vectors.json", schema=99), 3, "schema 99"),
    Damage("tensors missing", remove("vectors/*.safetensors"), 3, "missing"),
    Damage("tensors cut off", cut("vectors/*.safetensors", 5000), 3, "its digest differs"),
    Damage("popularity missing", remove("vectors/popularity.json"), 3, "popularity.json"),
    Damage("popularity damaged", write("vectors/popularity.json", "[1, 2"), 3, "popularity.json"),
    Damage("popularity of another length", write("vectors/popularity.json", "[1, 2]"), 3, "not whole"),
    Damage("popularity of words", write("vectors/popularity.json", '["many"]'), 3, "popularity.json"),
    Damage("index missing", remove("index"), 3, "0 indexed"),
    Damage("description of the index missing", remove("index/spec.json"), 3, "0 indexed"),
    Damage("description of the index damaged", cut("index/spec.json", 10), 6, "spec.json"),
    Damage("description of the index newer", edit("index/spec.json", version=99), 6, "99"),
    Damage("files of the index missing", remove("index/shard"), 6, "index"),
    Damage("store missing", remove("store.sqlite*"), 5, "missing", mended=False),
    Damage("store empty", both(remove("store.sqlite-*"), write("store.sqlite", "")), 5, "store", mended=False),
    Damage("store that is no database", write("store.sqlite", "x" * 5000), 5, "damaged", mended=False),
    Damage("store cut off", both(remove("store.sqlite-*"), cut("store.sqlite", 9000)), 5, "damaged", mended=False),
]  # fmt: skip


@pytest.mark.parametrize("case", DAMAGE, ids=lambda case: case.kind)
def test_damage_is_told_and_mended(case: Damage, built_shop: Path, tmp_path: Path) -> None:
    folder = shop.copy(built_shop, tmp_path / "shop")
    good = answer(folder)
    assert good.code == 0
    case.harm(folder)
    for _ in range(2):  # a first failure changes nothing
        refused(answer(folder), case.code, case.says)
    if case.mended:
        built = genrec("build", "-w", folder)
        assert built.code == 0, built.err
    else:  # what was there is still there
        for path in [path for path in built_shop.iterdir() if path.name != "index"]:
            remove(path.name)(folder)
            shutil.copytree(path, folder / path.name) if path.is_dir() else shutil.copy(path, folder / path.name)
        remove("store.sqlite-*")(folder)
    assert answer(folder).out == good.out


@pytest.mark.parametrize("harm", NO_NOTES, ids=["damaged", "missing"])
def test_without_the_notes_of_what_was_encoded_everything_is_encoded_anew(harm: Harm, own_shop: Path) -> None:
    good = answer(own_shop)
    harm(own_shop)
    assert answer(own_shop).out == good.out
    assert "text: 60 encoded anew" in genrec("build", "-w", own_shop).err
    assert answer(own_shop).out == good.out


def test_lost_segments_come_back_from_the_log_of_the_index(own_shop: Path) -> None:
    good = answer(own_shop)
    remove("index/shard/segments/*")(own_shop)
    assert answer(own_shop).out == good.out


def test_folders_that_are_no_workspace(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path, tmp_path / "none", tmp_path / "file"):
        for command in (["build"], ["recommend", "-u", "1"], ["forget", "-u", "1"], ["ingest", "--items", tmp_path / "file"]):
            refused(genrec(*command[:1], "-w", folder, *command[1:]), 3, str(folder))
    refused(genrec("init", tmp_path / "file"), 3, "file")
    refused(genrec("init", tmp_path / "file" / "below"), 3, "file")


def test_a_bad_variable_of_the_environment(own_shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENREC_RANK__WEIGHT", "heavy")
    refused(answer(own_shop), 2, "rank.weight")


def test_an_index_in_use_is_said_to_be(own_shop: Path) -> None:
    from genrec.recommender import Recommender

    with Recommender.open(own_shop):
        refused(answer(own_shop), 6, "in use")
    assert answer(own_shop).code == 0


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2)
from genrec.cli import main
main()
"""
"""No file may grow beyond so many bytes: what a full disk looks like to a program."""


def test_a_full_disk_while_reading_tables(own_shop: Path, tmp_path: Path) -> None:
    good = answer(own_shop)
    shop.write_lines(tmp_path / "a.jsonl", [{"item_id": f"x{n}", "title": "Much", "text": "word " * 2000} for n in range(300)])
    done = process("100000", "ingest", "-w", own_shop, "--items", tmp_path / "a.jsonl", code=LIMITED)
    refused(done, 5, "disk")
    assert answer(own_shop).out == good.out
    assert "300 kept" in genrec("ingest", "-w", own_shop, "--items", tmp_path / "a.jsonl").err


def test_a_full_disk_while_building(own_shop: Path) -> None:
    good = answer(own_shop)
    (own_shop / "table.csv").write_text("item_id,country\nspace-0,UK\n")
    done = process("60000", "build", "-w", own_shop, code=LIMITED)
    assert done.code in (3, 6), done
    refused(done, done.code, "")
    again = answer(own_shop)
    if again.code:  # the index was begun: the build is to be repeated, nothing else
        refused(again, 3, "build.json")
        assert genrec("build", "-w", own_shop).code == 0
        again = answer(own_shop)
    assert again.out == good.out


def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    done = process("0", "init", tmp_path / "w", code=LIMITED)
    refused(done, 3, "w")
    assert genrec("init", tmp_path / "w").code == 0
