"""Dialogues in the store, on every database."""

from dataclasses import replace

import pytest

from genrec.errors import DataError, StoreError
from genrec.store.records import Forgotten, Session
from genrec.store.store import Store
from genrec.types import Event

FIRST = Session(session_id="s1", user_id="anna", version=1, turns=[{"text": "hällo", "shown": ["a"]}], updated_at=5.0)


def test_comes_back_as_it_was(store: Store) -> None:
    store.save_session(FIRST)
    assert store.session("s1") == FIRST
    later = replace(FIRST, version=2, turns=[], updated_at=6.0)
    store.save_session(later)
    assert store.session("s1") == later
    assert store.session("s2") is None
    assert store.session("\x00") is None


@pytest.mark.parametrize("version", [1, 3])
def test_a_version_that_does_not_follow_is_refused(store: Store, version: int) -> None:
    store.save_session(FIRST)
    with pytest.raises(StoreError, match="went on elsewhere") as caught:
        store.save_session(replace(FIRST, version=version, turns=[]))
    assert caught.value.retryable
    assert caught.value.hint
    assert store.session("s1") == FIRST


@pytest.mark.parametrize(
    "wrong", [{"session_id": ""}, {"session_id": "x" * 300}, {"user_id": "\x00"}, {"turns": [float("nan")]}, {"turns": [{1, 2}]}]
)
def test_what_can_not_be_stored_is_refused(store: Store, wrong: dict) -> None:
    with pytest.raises(DataError):
        store.save_session(replace(FIRST, **wrong))
    assert store.sessions_of("anna") == []


def test_a_persons_dialogues_the_latest_first(store: Store) -> None:
    store.save_session(FIRST)
    store.save_session(replace(FIRST, session_id="s2", updated_at=9.0))
    store.save_session(replace(FIRST, session_id="s3", user_id="bob"))
    assert store.sessions_of("anna") == ["s2", "s1"]
    assert store.sessions_of("") == []


def test_dialogues_are_deleted_one_by_one_and_with_their_person(store: Store) -> None:
    store.save_session(FIRST)
    store.save_session(replace(FIRST, session_id="s2"))
    store.add_events([Event(user_id="anna", item_id="a")])
    assert store.delete_session("s2")
    assert not store.delete_session("s2")
    assert store.forget("anna") == Forgotten(events=1, profile=False, sessions=1)
    assert store.session("s1") is None
