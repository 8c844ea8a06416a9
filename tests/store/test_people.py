"""Many people asked for at once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import event as sqlalchemy_event

from genrec.errors import UnknownUserError
from genrec.store.store import Store
from genrec.types import Event, User

from .test_contract import typed

Open = Callable[[str], Store]


@contextmanager
def queries(store: Store) -> Iterator[list[str]]:
    """The SELECT statements that the store sends."""
    sent: list[str] = []

    def note(conn: object, cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("SELECT") and "FROM genrec_" in statement:
            sent.append(statement)

    sqlalchemy_event.listen(store._engine, "before_cursor_execute", note)
    yield sent
    sqlalchemy_event.remove(store._engine, "before_cursor_execute", note)


def test_as_one_by_one_in_the_order_asked(store: Store) -> None:
    profile = User(user_id="b", interests=("jazz",), attributes={"age": 30})
    store.put_users([profile, User(user_id="unasked")])
    store.add_events([Event(user_id="a", item_id="i"), Event(user_id="a", item_id="j"), Event(user_id="b", item_id="i")])
    found = store.users(["b", "a", "b"])
    assert list(found) == ["b", "a"]
    assert (found["b"].interests, typed(found["b"].attributes)) == (("jazz",), typed(profile.attributes))
    assert (found["a"], found["a"].interests, dict(found["a"].attributes)) == (store.user("a"), (), {})
    assert store.users([]) == {}


@pytest.mark.parametrize("odd", ["nobody", "A", "", "\x00", "\ud800", "x" * 100_000])
def test_the_first_unknown_person_is_named(store: Store, odd: str) -> None:
    store.put_users([User(user_id="a")])
    with pytest.raises(UnknownUserError) as caught:
        store.users(["a", odd, "another"])
    with pytest.raises(UnknownUserError) as alone:
        store.user(odd)
    assert str(caught.value) == str(alone.value) == f"there is no user {odd!r:.80}"
    assert caught.value.hint


def test_thousands_in_few_queries(store: Store) -> None:
    store.put_users([User(user_id=f"p{n}") for n in range(0, 12_000, 2)])
    store.add_events([Event(user_id=f"p{n}", item_id="i") for n in range(1, 12_000, 2)])
    asked = [f"p{n}" for n in range(12_000)]
    with queries(store) as sent:
        assert list(store.users(asked)) == asked
    assert len(sent) == 6  # two for each 5,000 ids
