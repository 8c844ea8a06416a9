"""Dialogues are kept: over a restart, for their own person alone, one turn at a time."""

from pathlib import Path
from typing import Any

import pytest

from genrec.chat import replies, sessions
from genrec.errors import ConfigError, StoreError, UnknownSessionError
from genrec.filters import Field, Has
from genrec.recommender import Recommender
from genrec.store.store import Store
from genrec.types import LIKE
from genrec.understanding.state import KEPT_TURNS, Turn

SCHEMA = {"genres": Field("text", is_list=True)}


def test_a_dialogue_survives_a_restart(own_shop: Path) -> None:
    with Recommender.open(own_shop) as genrec:
        first = genrec.chat("a war film from before 1990")
    with Recommender.open(own_shop) as genrec:
        again = genrec.chat("something else", session_id=first.session_id)
    assert again.filter == first.filter
    assert not {row.item.item_id for row in first.items} & {row.item.item_id for row in again.items}
    assert again.items[0].item.item_id.startswith("war")


def test_what_a_known_person_says_is_recorded_and_taken_back(own_shop: Path) -> None:
    with Recommender.open(own_shop) as genrec:
        before = genrec.workspace.store.history("u00")
        answer = genrec.chat("I loved The Ghost Begins but I hated The Battle Begins", user_id="u00")
        said = {(event.item_id, event.kind) for event in genrec.workspace.store.history("u00")[len(before) :]}
        assert said == {("horror-0", LIKE), ("war-0", "dislike")}
        genrec.chat("undo", user_id="u00", session_id=answer.session_id)
        assert genrec.workspace.store.history("u00") == before


def test_the_history_of_a_known_person_counts(own_shop: Path) -> None:
    with Recommender.open(own_shop) as genrec:
        history = {event.item_id for event in genrec.workspace.store.history("u00")}
        answer = genrec.chat("recommend me something", user_id="u00", k=10)
        assert not history & {row.item.item_id for row in answer.items}
        assert any(evidence.kind == "history" for row in answer.items for evidence in row.reason.evidence)


def test_somebody_new_may_talk(own_shop: Path) -> None:
    with Recommender.open(own_shop) as genrec:
        answer = genrec.chat("I loved The Ghost Begins", user_id="new person")
        assert answer.items
        assert [event.kind for event in genrec.workspace.store.history("new person")] == [LIKE]
        forgotten = genrec.forget("new person")
        assert (forgotten.events, forgotten.sessions) == (1, 1)
        assert genrec.workspace.store.session(answer.session_id) is None


def test_a_dialogue_is_its_own_persons(own_shop: Path) -> None:
    with Recommender.open(own_shop) as genrec:
        mine = genrec.chat("a war film", user_id="u00").session_id
        for other in ("u01", ""):
            with pytest.raises(UnknownSessionError):
                genrec.chat("why?", user_id=other, session_id=mine)


def test_messages_without_a_session_leave_nothing(own_shop: Path) -> None:
    with Recommender.open(own_shop) as genrec:
        answer = genrec.chat(
            [
                {"role": "system", "content": "You sell everything."},
                {"role": "user", "content": "a horror film"},
                {"role": "assistant", "content": "1. The Ghost Begins: You may like it.\n2. The Cellar Begins: Because."},
                {"role": "user", "content": [{"type": "text", "text": "something else, like the second one"}]},
            ],
            user_id="u00",
        )
        shown = {row.item.item_id for row in answer.items}
        assert answer.session_id == ""
        assert not {"horror-0", "horror-1"} & shown
        assert all(one.startswith("horror") for one in shown)
        assert genrec.workspace.store.sessions_of("u00") == []


def test_messages_that_take_back(talking: Recommender) -> None:
    said = [
        "a horror film",
        "1. The Ghost Begins: x",
        "from before 1970",
        "1. The Cellar Begins: x",
        "undo",
        "I have taken that back.",
    ]
    messages = [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(said)]
    answer = talking.chat([*messages, {"role": "user", "content": "something else"}], k=10)
    assert answer.filter == 'genres has "Horror"'
    assert "horror-0" not in {row.item.item_id for row in answer.items}
    assert "horror-1" in {row.item.item_id for row in answer.items}


def test_what_was_summed_up_can_not_be_taken_back(talking: Recommender) -> None:
    session = talking.chat("a horror film").session_id
    for _ in range(KEPT_TURNS):
        talking.chat("hi", session_id=session)
    for _ in range(KEPT_TURNS - 1):
        talking.chat("undo", session_id=session)
    last = talking.chat("undo", session_id=session)
    assert (last.text, last.filter) == (replies.NOTHING_TO_UNDO, 'genres has "Horror"')


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([], "messages is"),
        (7, "messages is"),
        ([{"role": "user"}], r"messages\[0\].content"),
        ([{"role": "tool", "content": "x"}], r"messages\[0\].role"),
        (["x"], r"messages\[0\]"),
        ([{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}], "last message"),
        ([{"role": "user", "content": "x"}] * 1001, "1001 messages"),
    ],
)
def test_messages_that_can_not_be_read(talking: Recommender, messages: object, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        talking.chat(messages)  # type: ignore[arg-type]
    assert caught.value.hint


@pytest.mark.parametrize("k", [0, -1, True, "3"])
def test_a_number_of_items_that_is_none(talking: Recommender, k: Any) -> None:
    with pytest.raises(ConfigError, match="k is"):
        talking.chat("hello", k=k)


def test_of_two_answers_at_once_one_is_kept(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path / 'store.sqlite'}") as store:
        one = sessions.open_dialogue(store, "s", "anna", SCHEMA)
        one.turns.append(Turn(text="hello", constraints=(Has("genres", "War"),)))
        sessions.save_dialogue(store, one)
        first, second = (sessions.open_dialogue(store, "s", "anna", SCHEMA) for _ in range(2))
        assert first.turns == one.turns
        sessions.save_dialogue(store, first)
        with pytest.raises(StoreError, match="went on elsewhere") as caught:
            sessions.save_dialogue(store, second)
        assert caught.value.retryable
        fresh = sessions.Dialogue(session_id="s", user_id="anna")
        with pytest.raises(StoreError, match="went on elsewhere"):
            sessions.save_dialogue(store, fresh)


def test_a_constraint_on_an_attribute_that_is_gone_goes_with_it(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path / 'store.sqlite'}") as store:
        one = sessions.open_dialogue(store, "s", "", SCHEMA)
        turn = Turn(constraints=(Has("genres", "War"),), shown=("a",), noted=(("a", "like", 1.5),), asked="genres")
        one.turns.append(turn)
        sessions.save_dialogue(store, one)
        assert sessions.open_dialogue(store, "s", "", SCHEMA).turns == [turn]
        (left,) = sessions.open_dialogue(store, "s", "", {}).turns
        assert (left.constraints, left.shown) == ((), ("a",))


def test_ids_of_dialogues_can_not_be_guessed(talking: Recommender) -> None:
    ids = {talking.chat("hi").session_id for _ in range(5)}
    assert len(ids) == 5
    assert all(len(one) >= 16 for one in ids)
