"""Two writers on PostgreSQL that wait for each other: the server gives one up, the store runs it again."""

import threading
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

from genrec.errors import StoreError
from genrec.store.records import Changes
from genrec.store.store import Store
from genrec.types import Event, Item

pytestmark = pytest.mark.postgres

FIRST, SECOND = Event(user_id="u", item_id="first"), Event(user_id="u", item_id="second")
INSERT = "INSERT INTO genrec_events (user_id, timestamp, item_id, kind, platform) VALUES ('u', 0, %s, 'interaction', '')"
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"


@pytest.fixture
def other(postgres_url: str) -> Iterator[psycopg.Connection]:
    """Another writer, which asks for a deadlock only long after the store does: so the store is the one given up."""
    url = postgres_url.replace("+psycopg", "") + "%20-cdeadlock_timeout%3D20s"
    with psycopg.connect(url) as conn:
        yield conn


def wait_for_the_store(other: psycopg.Connection) -> None:
    give_up = time.monotonic() + 10
    while other.execute(WAITING).fetchone() == (0,):
        assert time.monotonic() < give_up
        time.sleep(0.01)


def test_a_deadlock_is_run_again(postgres_url: str, opened: Callable[[str], Store], other: psycopg.Connection) -> None:
    store = opened(postgres_url)
    done: list[Changes] = []
    other.execute(INSERT, ["second"])
    thread = threading.Thread(target=lambda: done.append(store.add_events([FIRST, SECOND])))
    thread.start()
    wait_for_the_store(other)  # it has the first and wants the second
    other.execute(INSERT, ["first"])
    other.commit()
    thread.join(timeout=20)
    assert done == [Changes(unchanged=2)]
    assert [event.item_id for event in store.history("u")] == ["second", "first"]


def test_a_conflict_that_stays_is_retryable(postgres_url: str, opened: Callable[[str], Store]) -> None:
    store = opened(postgres_url)
    tries = "CREATE SEQUENCE tries"
    function = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM nextval('tries'); "
    function += "RAISE EXCEPTION 'busy' USING ERRCODE = '40001'; END $$"
    trigger = "CREATE TRIGGER refuse BEFORE INSERT ON genrec_events FOR EACH ROW EXECUTE FUNCTION refuse()"
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as admin:
        for statement in (tries, function, trigger):
            admin.execute(statement.encode())
        with pytest.raises(StoreError, match="other writers are in the way") as caught:
            store.add_events([FIRST])
        assert caught.value.retryable
        assert admin.execute("SELECT last_value FROM tries").fetchone() == (5,)
    assert store.history("u") == []


def test_writers_of_items_wait_for_one_another(postgres_url: str, opened: Callable[[str], Store]) -> None:
    """Both would add the same attribute to the schema: without the lock, one of them fails on its key."""
    store = opened(postgres_url)
    faults: list[StoreError] = []
    gate = threading.Barrier(8)

    def work(number: int) -> None:
        gate.wait()
        try:
            store.put_items([Item(item_id=f"{number}", attributes={f"a{one}": 1 for one in range(300)})])
        except StoreError as error:
            faults.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert len(store.schema()) == 300
