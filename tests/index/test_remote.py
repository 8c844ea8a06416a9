"""The engine by URL: the contract over real HTTP, and what a network adds.

Runs against the loopback server of `qdrant_server.py`, and against a real one where GENREC_TEST_QDRANT_URL names it.
"""

import os
import socket
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from qdrant_client import models

from genrec.errors import IndexFault
from genrec.index import open_index
from genrec.index.cluster import ClusterIndex
from genrec.index.protocol import Dense, IndexSpec, Lexical, Point, Query, VectorIndex
from genrec.settings.sections import IndexSettings
from tests.index.contract import AXES, FILMS, SPEC, Contract
from tests.index.qdrant_server import Backend, serve

REAL = os.environ.get("GENREC_TEST_QDRANT_URL", "")


@pytest.fixture
def server() -> Iterator[tuple[str, Backend]]:
    with serve() as running:
        yield running


class TestCluster(Contract):
    @pytest.fixture
    def index(self, server: tuple[str, Backend]) -> Iterator[VectorIndex]:
        with ClusterIndex(server[0]) as index:
            yield index

    @pytest.fixture(scope="class")
    @classmethod
    def shared(cls) -> Iterator[VectorIndex]:
        with serve() as running, ClusterIndex(running[0]) as index:
            yield index


if REAL:

    class TestRealCluster(Contract):
        @pytest.fixture
        def index(self) -> Iterator[VectorIndex]:
            yield from real()

        @pytest.fixture(scope="class")
        @classmethod
        def shared(cls) -> Iterator[VectorIndex]:
            yield from real()


def real() -> Iterator[VectorIndex]:
    """A collection of its own on the real server, deleted afterwards."""
    collection, key = f"genrec-test-{uuid.uuid4()}", os.environ.get("GENREC_TEST_QDRANT_KEY", "")
    with ClusterIndex(REAL, key, collection) as index:
        yield index
    with ClusterIndex(REAL, key, collection) as cleaner:
        cleaner._client.delete_collection(collection)


@pytest.fixture
def index(server: tuple[str, Backend]) -> Iterator[ClusterIndex]:
    with ClusterIndex(server[0]) as made:
        yield made


def test_a_second_client_sees_what_the_first_wrote(server: tuple[str, Backend], index: ClusterIndex) -> None:
    index.recreate(SPEC)
    index.upsert(FILMS)
    with ClusterIndex(server[0]) as other:
        assert other.spec() == SPEC
        assert other.count() == len(FILMS)


def test_collections_are_apart(server: tuple[str, Backend], index: ClusterIndex) -> None:
    index.recreate(SPEC)
    with ClusterIndex(server[0], collection="other") as other:
        assert other.spec() is None
        other.recreate(IndexSpec(vectors={"fused": 2}))
    assert index.spec() == SPEC


def test_somebody_elses_collection_is_never_touched(server: tuple[str, Backend], index: ClusterIndex) -> None:
    client = server[1].client
    client.create_collection("genrec", vectors_config=models.VectorParams(size=2, distance=models.Distance.DOT))
    client.upsert("genrec", [models.PointStruct(id=1, vector=[1.0, 2.0])])
    for use in (lambda: index.recreate(SPEC), index.spec, index.count, lambda: index.upsert(FILMS)):
        with pytest.raises(IndexFault, match="not made by genrec") as caught:
            use()
        assert "index.collection" in caught.value.hint
    assert client.count("genrec").count == 1


def test_a_server_that_keeps_no_metadata_is_refused(server: tuple[str, Backend], index: ClusterIndex) -> None:
    server[1].keep_metadata = False
    with pytest.raises(IndexFault, match="metadata") as caught:
        index.recreate(SPEC)
    assert "1.16" in caught.value.hint
    assert not server[1].client.collection_exists("genrec")


def test_fields_are_indexed_with_their_types_and_not_all_of_many(server: tuple[str, Backend], index: ClusterIndex) -> None:
    index.recreate(SPEC)
    assert sorted(server[1].indexed.values()) == ["float", "float", "keyword", "keyword", "keyword", "keyword"]
    server[1].indexed.clear()
    index.recreate(IndexSpec(vectors={"fused": 4}, fields={str(n): SPEC.fields["year"] for n in range(500)}))
    assert len(server[1].indexed) == 24


@pytest.mark.parametrize(
    ("made", "asked", "sent"), [(True, None, True), (False, None, False), (False, True, True), (True, False, False)]
)
def test_exact_reaches_the_engine(server: tuple[str, Backend], made: bool, asked: bool | None, sent: bool) -> None:
    with ClusterIndex(server[0], exact=made) as index:
        index.recreate(SPEC)
        index.search([Query(legs=[Dense("fused", AXES[0])], limit=1, exact=asked)])
    body = next(body for method, path, body in server[1].requests if path == "/points/query/batch")
    assert body["searches"][0]["params"]["exact"] is sent


def test_the_walk_is_as_deep_as_what_is_asked_for(server: tuple[str, Backend], index: ClusterIndex) -> None:
    index.recreate(SPEC)
    index.search([Query(legs=[Dense("fused", AXES[0])], limit=limit) for limit in (10, 200)])
    index.search([Query(legs=[Dense("fused", AXES[0]), Lexical("thief")], limit=50)])
    bodies = [body["searches"] for method, path, body in server[1].requests if path == "/points/query/batch"]
    assert [search["params"]["hnsw_ef"] for search in bodies[0]] == [400, 600]
    assert [leg["params"]["hnsw_ef"] for leg in bodies[1][0]["prefetch"]] == [600, 600]


def test_the_graph_is_as_dense_as_in_process(server: tuple[str, Backend], index: ClusterIndex) -> None:
    index.recreate(SPEC)
    [body] = [body for method, path, body in server[1].requests if method == "PUT" and body and "vectors" in body]
    assert body["hnsw_config"]["m"] == 24


def test_large_loads_go_in_several_requests(server: tuple[str, Backend], index: ClusterIndex) -> None:
    index.recreate(SPEC)
    index.upsert([Point(item_id=str(n), vectors={"fused": AXES[n % 4]}) for n in range(600)])
    index.search([Query(legs=[Dense("fused", AXES[0])], limit=1)] * 150)
    index.delete([str(n) for n in range(600)])
    paths = [path for _, path, _ in server[1].requests]
    assert paths.count("/points") == 3
    assert paths.count("/points/query/batch") == 3
    assert index.count() == 0


def test_the_key_is_sent(server: tuple[str, Backend]) -> None:
    with pytest.warns(UserWarning, match="insecure connection"), ClusterIndex(server[0], "secret") as index:
        index.spec()
    assert set(server[1].keys) == {"secret"}


@pytest.mark.parametrize(
    ("fail", "hint", "retryable"),
    [
        ((401, "Must provide an API key"), "index.api_key", False),
        ((403, "forbidden"), "index.api_key", False),
        ((400, "Wrong input"), "genrec build", False),
        ((429, "slow down"), "overloaded", True),
        ((503, "busy"), "overloaded", True),
        ((200, "<html>not Qdrant</html>"), "index.url", False),
        ((200, '{"result": 5}'), "index.url", False),
    ],
)
@pytest.mark.filterwarnings("ignore:Too Many Requests")
def test_faults_of_the_server(
    server: tuple[str, Backend], index: ClusterIndex, fail: tuple[int, str], hint: str, retryable: bool
) -> None:
    server[1].fail = fail
    with pytest.raises(IndexFault) as caught:
        index.spec()
    assert hint in caught.value.hint
    assert caught.value.retryable is retryable
    assert server[0] in str(caught.value)


def test_no_server(server: tuple[str, Backend]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with ClusterIndex(url) as index, pytest.raises(IndexFault, match="no answer") as caught:
        index.spec()
    assert caught.value.retryable
    assert "index.url" in caught.value.hint


def test_a_silent_server_is_given_up_after_the_time_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        done = threading.Event()
        with ClusterIndex(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.5) as index:

            def ask() -> None:
                with pytest.raises(IndexFault, match="no answer"):
                    index.spec()
                done.set()

            thread = threading.Thread(target=ask, daemon=True)
            thread.start()
            assert done.wait(8)
            thread.join()


@pytest.mark.parametrize("url", ["ftp://host", "http://host:port"])
def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises(IndexFault, match=r"index\.url"):
        ClusterIndex(url)


def test_a_broken_collection_is_told_by_finish(server: tuple[str, Backend], index: ClusterIndex) -> None:
    index.recreate(SPEC)
    index.finish()
    info = server[1].client.get_collection("genrec").model_dump(mode="json")
    server[1].fail = (200, '{"result": ' + models.CollectionInfo.model_validate(info | {"status": "red"}).model_dump_json() + "}")
    with pytest.raises(IndexFault, match="broken"):
        index.finish()


def test_a_point_without_an_item_id_is_not_passed_on(server: tuple[str, Backend], index: ClusterIndex) -> None:
    index.recreate(SPEC)
    server[1].client.upsert("genrec", [models.PointStruct(id=1, vector={"fused": [1.0, 0.0, 0.0, 0.0]})])
    with pytest.raises(IndexFault, match="no item id"):
        index.search([Query(legs=[Dense("fused", np.ones(4, dtype=np.float32))], limit=1)])


def test_settings_choose_the_engine(server: tuple[str, Backend], tmp_path: Path) -> None:
    settings = IndexSettings(url=server[0], collection="shop", exact=True, timeout_s=3.0)
    with open_index(settings, tmp_path / "index") as index:
        assert isinstance(index, ClusterIndex)
        index.recreate(SPEC)
        index.search([Query(legs=[Dense("fused", AXES[0])], limit=1)])
    assert server[1].client.collection_exists("shop")
    assert not (tmp_path / "index").exists()
    assert server[1].requests[-1][2]["searches"][0]["params"]["exact"] is True
