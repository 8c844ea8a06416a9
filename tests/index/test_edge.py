"""The engine in process: the contract, and what a folder on disk adds."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from genrec.errors import IndexFault
from genrec.index import open_index
from genrec.index.edge import EdgeIndex
from genrec.index.protocol import Dense, IndexSpec, Lexical, Point, Query, VectorIndex
from genrec.settings.sections import IndexSettings
from tests.index.contract import AXES, FILMS, SPEC, Contract, ids


class TestEdge(Contract):
    @pytest.fixture
    def index(self, tmp_path: Path) -> Iterator[VectorIndex]:
        with EdgeIndex(tmp_path / "deep" / "index") as index:
            yield index

    @pytest.fixture(scope="class")
    @classmethod
    def shared(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VectorIndex]:
        with EdgeIndex(tmp_path_factory.mktemp("shared")) as index:
            yield index

    def test_opens_again_with_everything(self, tmp_path: Path) -> None:
        folder = tmp_path / "index"
        with EdgeIndex(folder) as index:
            index.recreate(SPEC)
            index.upsert(FILMS)
        with EdgeIndex(folder) as index:
            assert index.spec() == SPEC
            assert index.count() == len(FILMS)
            query = Query(legs=[Dense("fused", AXES[0]), Lexical("thief")], limit=1)
            assert ids(index.search([query])[0]) == ["heat"]
            index.upsert([FILMS[0]])

    def test_only_one_may_have_it_open(self, tmp_path: Path) -> None:
        with EdgeIndex(tmp_path), pytest.raises(IndexFault, match="in use") as caught:
            EdgeIndex(tmp_path)
        assert caught.value.retryable
        assert "index.url" in caught.value.hint
        EdgeIndex(tmp_path).close()

    def test_another_process_is_kept_out(self, tmp_path: Path) -> None:
        code = f"from genrec.index.edge import EdgeIndex\nEdgeIndex({str(tmp_path)!r})"
        with EdgeIndex(tmp_path):
            run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert run.returncode == 1
        assert "is in use by another process" in run.stderr

    def test_a_path_that_cannot_be_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(IndexFault, match="making the folder"):
            EdgeIndex(tmp_path / "file")

    @pytest.mark.parametrize("name", ["spec.json", "shard/edge_config.json", "shard/wal/open-1", "shard/segments/*/segment.json"])
    def test_a_damaged_file_is_named_and_recreate_mends(self, tmp_path: Path, name: str) -> None:
        with EdgeIndex(tmp_path) as index:
            index.recreate(SPEC)
            index.upsert(FILMS)
        [path] = tmp_path.glob(name)
        with path.open("r+b") as file:
            file.write(b"\xff" * 20)
        with EdgeIndex(tmp_path) as index:
            with pytest.raises(IndexFault) as caught:
                index.count()
            assert "genrec build" in caught.value.hint
            assert str(tmp_path) in str(caught.value)
            index.recreate(SPEC)
            index.upsert(FILMS)
            assert index.count() == len(FILMS)

    def test_lost_engine_files(self, tmp_path: Path) -> None:
        with EdgeIndex(tmp_path) as index:
            index.recreate(SPEC)
        shutil.rmtree(tmp_path / "shard")
        with EdgeIndex(tmp_path) as index, pytest.raises(IndexFault, match="does not exist"):
            index.count()

    @pytest.mark.parametrize("change", [{"version": 99}, {"vectors": [1]}, {"fields": [["a"]]}, {"mean_tokens": "x"}])
    def test_a_spec_of_another_version_or_shape(self, tmp_path: Path, change: dict[str, object]) -> None:
        with EdgeIndex(tmp_path) as index:
            index.recreate(SPEC)
        path = tmp_path / "spec.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
        with EdgeIndex(tmp_path) as index, pytest.raises(IndexFault, match=r"spec\.json") as caught:
            index.spec()
        assert "genrec build" in caught.value.hint

    @pytest.mark.parametrize("wait", [0.0, 0.05, 0.2, 0.5])
    def test_killed_while_writing_keeps_every_acknowledged_item(self, tmp_path: Path, wait: float) -> None:
        code = f"""
import itertools, numpy as np
from genrec.index.edge import EdgeIndex
from genrec.index.protocol import IndexSpec, Point
index = EdgeIndex({str(tmp_path)!r})
index.recreate(IndexSpec(vectors={{"fused": 4}}))
print("made", flush=True)
for batch in itertools.count():
    rows = [Point(item_id=f"{{batch}}/{{n}}", vectors={{"fused": np.ones(4)}}, text="word") for n in range(50)]
    index.upsert(rows)
    print(batch, flush=True)
    if batch % 7 == 3:
        index.finish()
"""
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        assert child.stdout.readline() == "made\n"
        time.sleep(wait)
        os.kill(child.pid, signal.SIGKILL)
        lines = child.stdout.read().split("\n")
        child.stdout.close()
        child.wait()
        acknowledged = len([line for line in lines if line])
        with EdgeIndex(tmp_path) as index:
            assert 50 * acknowledged <= index.count() <= 50 * (acknowledged + 1)
            assert len(index.vectors("fused", [f"{n}/49" for n in range(acknowledged)])) == acknowledged
            index.upsert([Point(item_id="new", vectors={"fused": np.ones(4)})])

    def test_killed_while_making_a_new_one_leaves_none(self, tmp_path: Path) -> None:
        with EdgeIndex(tmp_path) as index:
            index.recreate(SPEC)
        (tmp_path / "spec.json").unlink()  # what recreate does first; it writes the file last
        with EdgeIndex(tmp_path) as index:
            assert index.spec() is None
            index.recreate(SPEC)
            assert index.count() == 0

    def test_many_threads_search_while_one_writes(self, tmp_path: Path) -> None:
        with EdgeIndex(tmp_path) as index:
            index.recreate(SPEC)
            index.upsert(FILMS)

            def work(n: int) -> str:
                if n % 10 == 0:
                    index.upsert([Point(item_id=f"new{n}", vectors={"fused": AXES[2]})])
                return index.search([Query(legs=[Dense("fused", AXES[0]), Lexical("thief")], limit=1)])[0][0].item_id

            with ThreadPoolExecutor(8) as pool:
                assert set(pool.map(work, range(200))) == {"heat"}
            assert index.count() == len(FILMS) + 20


@pytest.fixture(scope="module")
def cloud() -> np.ndarray:
    rows = np.random.default_rng(3).normal(size=(3_000, 48)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def load(index: EdgeIndex, rows: np.ndarray) -> None:
    index.recreate(IndexSpec(vectors={"fused": rows.shape[1]}))
    index.upsert([Point(item_id=str(n), vectors={"fused": row}) for n, row in enumerate(rows)])
    index.finish()


def misses(index: EdgeIndex, rows: np.ndarray, exact: bool | None) -> int:
    """How many of the true 20 nearest of 40 queries are not found."""
    queries = np.random.default_rng(4).normal(size=(40, rows.shape[1])).astype(np.float32)
    answers = index.search([Query(legs=[Dense("fused", query)], limit=20, exact=exact) for query in queries])
    truth = np.argsort(-(queries @ rows.T), axis=1)[:, :20]
    return sum(len({str(n) for n in best} - set(ids(answer))) for best, answer in zip(truth, answers, strict=True))


def test_exact_search_misses_nothing_and_the_graph_is_approximate(
    tmp_path: Path, cloud: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genrec.index.edge.GRAPH_KB", 50)
    monkeypatch.setattr("genrec.index.searching.EFFORT", 20)
    monkeypatch.setattr("genrec.index.searching.PER_ITEM", 1)
    with EdgeIndex(tmp_path / "graph") as index:
        load(index, cloud)
        assert misses(index, cloud, exact=True) == 0
        approximate = misses(index, cloud, exact=None)
        assert 0 < approximate < 400
        assert misses(index, cloud, exact=False) == approximate
    with EdgeIndex(tmp_path / "graph", exact=True) as index:  # the same graph, not used
        assert misses(index, cloud, exact=None) == 0
    with EdgeIndex(tmp_path / "flat", exact=True) as index:  # no graph is built at all
        load(index, cloud)
        assert misses(index, cloud, exact=False) == 0


def test_a_deeper_walk_misses_less(tmp_path: Path, cloud: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genrec.index.edge.GRAPH_KB", 50)
    with EdgeIndex(tmp_path) as index:
        load(index, cloud)
        shipped = misses(index, cloud, exact=False)
        monkeypatch.setattr("genrec.index.searching.EFFORT", 20)
        deep = misses(index, cloud, exact=False)  # PER_ITEM alone
        monkeypatch.setattr("genrec.index.searching.PER_ITEM", 1)
        shallow = misses(index, cloud, exact=False)
    assert shipped < deep < shallow
    assert shipped <= 8  # of 800


def test_the_graph_has_the_links_of_the_layout(tmp_path: Path, cloud: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genrec.index.edge.GRAPH_KB", 50)
    monkeypatch.setattr("genrec.index.searching.EFFORT", 20)
    monkeypatch.setattr("genrec.index.searching.PER_ITEM", 1)
    found = []
    for links in (24, 4):
        monkeypatch.setattr("genrec.index.edge.GRAPH_LINKS", links)
        with EdgeIndex(tmp_path / str(links)) as index:
            load(index, cloud)
            found.append(misses(index, cloud, exact=False))
    assert found[0] < found[1]


def test_settings_choose_the_engine(tmp_path: Path) -> None:
    with open_index(IndexSettings(), tmp_path / "index") as index:
        assert isinstance(index, EdgeIndex)
        index.recreate(SPEC)
    assert (tmp_path / "index" / "spec.json").exists()


def test_importing_the_room_loads_no_engine() -> None:
    code = "import sys, genrec.index; sys.exit(any(name.startswith('qdrant') or name == 'numpy' for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
