"""A dialogue is the fold of its turns, however many were summed up."""

from dataclasses import fields

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genrec.filters import Has
from genrec.understanding.state import KEPT_TURNS, MOST_CHARS, State, Turn, kept, state_of

IDS = st.lists(st.sampled_from("abcdefgh"), max_size=3, unique=True).map(tuple)
TURNS = st.builds(
    Turn,
    text=st.text(max_size=5),
    intent=st.sampled_from(["recommend", "reject", "ask"]),
    constraints=st.sampled_from([(), (Has("genres", "War"),)]),
    needs=st.sampled_from([(), ("quiet",)]),
    liked=IDS,
    disliked=IDS,
    seen=IDS,
    put_off=IDS,
    accepted=IDS,
    mentioned=IDS,
    shown=IDS,
    reasons=st.sampled_from([(), (("a", "why a"),)]),
    focus=IDS,
    asked=st.sampled_from(["", "year"]),
    choices=IDS,
    reset=st.booleans(),
)


def what_holds(state: State) -> dict[str, object]:
    return {one.name: getattr(state, one.name) for one in fields(state) if one.name != "turns"}


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)  # of a busy machine
@given(st.lists(TURNS, min_size=KEPT_TURNS - 1, max_size=KEPT_TURNS + 12))
def test_a_dialogue_that_was_cut_short_says_the_same(turns: list[Turn]) -> None:
    short = kept(turns)
    assert len(short) == min(len(turns), KEPT_TURNS)
    whole, again = what_holds(state_of(turns)), what_holds(state_of(short))
    assert {name: set(value) if isinstance(value, dict) else value for name, value in whole.items()} == {
        name: set(value) if isinstance(value, dict) else value for name, value in again.items()
    }
    assert kept(short) == short


def test_the_last_word_on_an_item_counts() -> None:
    state = state_of([Turn(liked=("a", "b")), Turn(disliked=("a",)), Turn(seen=("b",)), Turn(liked=("a",))])
    assert (list(state.liked), list(state.disliked), list(state.seen)) == (["b", "a"], [], ["b"])


def test_what_was_spoken_of_is_not_offered_again() -> None:
    state = state_of([Turn(mentioned=("a",), shown=("b",), put_off=("c",)), Turn(disliked=("d",), seen=("e",), accepted=("f",))])
    assert state.gone == set("abcdef")


def test_beginning_anew_forgets_wishes_but_not_what_was_shown() -> None:
    turns = [Turn(constraints=(Has("genres", "War"),), needs=("x",), liked=("a",), shown=("b",), asked="year"), Turn(reset=True)]
    state = state_of(turns)
    assert (state.constraints, state.needs, state.liked, state.asked) == ((), (), {}, {})
    assert state.gone == {"b"}


def test_taking_a_turn_back_is_leaving_it_out() -> None:
    turns = [Turn(liked=("a",), constraints=(Has("genres", "War"),)), Turn(disliked=("a",))]
    assert list(state_of(turns[:-1]).liked) == ["a"]
    assert state_of([]) == State()


def test_long_texts_are_cut() -> None:
    (turn,) = kept([Turn(text="x" * 9000, reply="y" * 9000)])
    assert (len(turn.text), len(turn.reply)) == (MOST_CHARS, MOST_CHARS)


def test_a_copy_goes_on_by_itself() -> None:
    state = state_of([Turn(liked=("a",))])
    other = state.copy()
    other.take(Turn(liked=("b",), shown=("c",)))
    assert (list(state.liked), state.shown) == (["a"], {})
