"""The knowledge graph in the store: contract on both databases, and stores that were written before there was one."""

import threading
from collections.abc import Callable

import pytest
from alembic import command
from alembic.config import Config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, insert, text

from genrec.errors import DataError, StoreError
from genrec.store.engine import MIGRATIONS, make_engine, parse_url
from genrec.store.records import Changes
from genrec.store.store import Store
from genrec.store.tables import REVISION, VERSION_TABLE, events, items
from genrec.types import Event, Item, Triple

Open = Callable[[str], Store]

FACTS = [
    Triple(head="m2", relation="directed_by", tail="Agnès Varda"),
    Triple(head="m1", relation="starring", tail="b"),
    Triple(head="m1", relation="starring", tail="B"),
    Triple(head="m1", relation="Starring", tail="b"),
    Triple(head="b", relation="starring", tail="m1"),
]
names = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=8)


def plain(facts: list[Triple]) -> list[tuple[str, str, str]]:
    return [(fact.head, fact.relation, fact.tail) for fact in facts]


def test_comes_back_in_order_each_once(store: Store) -> None:
    assert store.triples() == []
    assert store.put_triples([]) == Changes()
    assert store.put_triples([*FACTS, FACTS[0]]) == Changes(added=5, unchanged=1)
    assert store.triples() == sorted(plain(FACTS))
    assert store.counts().triples == 5
    more = Triple(head="m1", relation="starring", tail="c")
    assert store.put_triples([FACTS[1], more]) == Changes(added=1, unchanged=1)
    assert store.triples() == sorted(plain([*FACTS, more]))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(given_=st.lists(st.builds(Triple, head=names, relation=names, tail=names), max_size=8))
def test_any_texts_come_back(store: Store, given_: list[Triple]) -> None:
    before = store.triples()
    changes = store.put_triples(given_)
    assert store.triples() == sorted({*before, *plain(given_)})
    assert changes.added == len(store.triples()) - len(before)
    assert changes.added + changes.unchanged == len(given_)


def test_more_than_a_fetch(store: Store) -> None:
    """Several chunks going in and several fetches coming out; equal texts share one object."""
    facts = [Triple(head=f"m{n:06d}", relation="made_in", tail=f"c{n % 7}") for n in range(52_000)]
    assert store.put_triples(facts) == Changes(added=52_000)
    assert store.put_triples(facts[::5_000]) == Changes(unchanged=11)
    found = store.triples()
    assert found == plain(facts)
    assert len({id(one) for triple in found for one in triple}) == 52_000 + 1 + 7


def test_longest_texts(store: Store) -> None:
    """Four bytes a character, all different: the largest entry that the database's index must take."""
    signs = "".join(chr(0x1F300 + n) for n in range(256))
    fact = Triple(head=signs, relation=signs[:128], tail=signs[::-1])
    assert store.put_triples([fact]) == Changes(added=1)
    assert store.triples() == plain([fact])


@pytest.mark.parametrize(
    ("fact", "field"),
    [
        (Triple(head="", relation="r", tail="t"), "head is ''"),
        (Triple(head="h", relation="", tail="t"), "relation is ''"),
        (Triple(head="h", relation="r", tail=""), "tail is ''"),
        (Triple(head="h" * 257, relation="r", tail="t"), "head is"),
        (Triple(head="h", relation="r" * 129, tail="t"), "relation is .* at most 128 characters"),
        (Triple(head="h", relation="r", tail="\x00"), "tail is"),
        (Triple(head="h", relation="r", tail="\ud800"), "tail is"),
        (Triple(head="h", relation=7, tail="t"), "relation is 7"),  # type: ignore[arg-type]
        (Triple(head=None, relation="r", tail="t"), "head is None"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_stored_is_named_and_nothing_is_kept(store: Store, fact: Triple, field: str) -> None:
    with pytest.raises(DataError, match=field) as caught:
        store.put_triples([FACTS[0], fact])
    assert caught.value.hint
    assert store.triples() == []


def test_forgetting_a_person_keeps_the_facts_about_an_item_of_that_name(store: Store) -> None:
    store.put_triples([Triple(head="1", relation="starring", tail="b")])
    store.add_events([Event(user_id="1", item_id="1")])
    assert store.forget("1").events == 1
    assert store.triples() == [("1", "starring", "b")]


def test_many_writers_at_once(url: str, opened: Open) -> None:
    stores = [opened(url), opened(url)]
    totals: list[Changes] = []
    faults: list[StoreError] = []
    gate = threading.Barrier(6)

    def work(number: int) -> None:
        mine = [Triple(head=f"h{n}", relation="r", tail="t") for n in range(300)]
        gate.wait()
        try:
            totals.append(stores[number % 2].put_triples(mine[:: 1 if number % 2 else -1]))
        except StoreError as error:
            faults.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert sum(totals, Changes()) == Changes(added=300, unchanged=5 * 300)  # each was new to exactly one writer


def upgraded_to(url: str, revision: str) -> None:
    """The schema as an earlier genrec made it."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    engine = make_engine(parse_url(url))
    with engine.connect() as conn, conn.begin():
        config.attributes["connection"] = conn
        command.upgrade(config, revision)
    engine.dispose()


def test_a_store_from_before_the_graph_keeps_its_data_and_gets_one(url: str, opened: Open) -> None:
    upgraded_to(url, "0001")
    engine = create_engine(url)
    with engine.begin() as conn:
        row = {"item_id": "m1", "platform": "", "title": "Old", "text": "", "attributes": {"year": 1999}, "digest": ""}
        conn.execute(insert(items), row)
        conn.execute(insert(events), {"user_id": "u", "timestamp": 1.0, "item_id": "m1", "kind": "view", "platform": ""})
    store = opened(url)
    with engine.connect() as conn:
        assert conn.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar() == REVISION
    engine.dispose()
    assert (store.item("m1").title, dict(store.item("m1").attributes)) == ("Old", {"year": 1999})
    assert store.history("u") == [Event(user_id="u", item_id="m1", timestamp=1.0, kind="view")]
    assert store.triples() == []
    store.put_triples(FACTS)
    with Store.open(url, create=False) as again:
        assert again.triples() == sorted(plain(FACTS))


def test_a_migration_that_fails_leaves_the_store_as_it_was(url: str, opened: Open) -> None:
    upgraded_to(url, "0001")
    engine = create_engine(url)
    with engine.begin() as conn:
        conn.execute(text("CREATE TABLE genrec_triples (of_someone_else TEXT)"))
    with pytest.raises(StoreError, match="genrec_triples") as caught:
        Store.open(url)
    assert caught.value.hint
    with engine.begin() as conn:
        assert conn.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar() == "0001"
        conn.execute(text("DROP TABLE genrec_triples"))
    engine.dispose()
    store = opened(url)
    assert store.put_items([Item(item_id="m1")]) == Changes(added=1)
    assert store.put_triples(FACTS) == Changes(added=5)
