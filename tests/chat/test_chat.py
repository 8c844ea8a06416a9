"""Dialogues over the shop: what is asked is found, what was said counts, nothing is named that is not there."""

import itertools
from pathlib import Path

from genrec.chat import replies
from genrec.chat.messages import ChatAnswer
from genrec.filters import matches, parse
from genrec.recommender import Recommender
from tests.chat.conftest import Say
from tests.shop import item_rows

ROWS = {row["item_id"]: row for row in item_rows()}


def ids(answer: ChatAnswer) -> list[str]:
    return [row.item.item_id for row in answer.items]


def kinds(answer: ChatAnswer) -> set[str]:
    return {item_id.partition("-")[0] for item_id in ids(answer)}


def test_constraints_hold_for_every_item(say: Say) -> None:
    answer = say("I am looking for a horror film from before 1990")
    assert answer.understood.intent == "recommend"
    assert len(answer.items) == 3
    assert [row.rank for row in answer.items] == [1, 2, 3]
    for item_id in ids(answer):
        assert "Horror" in ROWS[item_id]["genres"]
        assert int(ROWS[item_id]["year"]) < 1990
    assert all(row.reason.text and row.reason.verified for row in answer.items)
    assert all(row.item.title in answer.text and row.reason.text in answer.text for row in answer.items)
    assert "6 items fit" in answer.text


def test_what_was_said_before_still_holds(say: Say) -> None:
    first = say("a war movie please")
    second = say("only from the 1990s on")
    assert second.understood.intent == "refine"
    assert {ROWS[item_id]["year"] for item_id in ids(second)} <= {"1990", "1995", "2000", "2005"}
    assert kinds(second) == {"war"}
    assert not set(ids(first)) & set(ids(second))


def test_a_wish_of_the_same_kind_takes_the_place_of_the_older(say: Say) -> None:
    say("something with war")
    answer = say("a horror movie please")
    assert kinds(answer) == {"horror"}
    assert answer.filter == 'genres has "Horror"'
    assert answer.relaxed == ()


def test_when_nothing_fits_constraints_are_dropped_with_a_word(say: Say) -> None:
    answer = say("an animation from before 1965, in crime")
    assert answer.items
    assert answer.relaxed
    assert answer.text.startswith("Nothing fits ")
    assert "so I left that out" in answer.text


def test_items_are_never_offered_twice(say: Say) -> None:
    seen: set[str] = set()
    answer = say("a horror film")
    for _ in range(3):
        assert not seen & set(ids(answer))
        seen |= set(ids(answer))
        answer = say("something else")
    assert len(ids(answer)) == 1  # the tenth horror film
    last = say("something else")
    assert "horror" not in kinds(last)
    assert last.relaxed == ('genres has "Horror"',)


def test_what_is_liked_leads_and_what_is_disliked_stays_away(say: Say) -> None:
    answer = say("I loved The Star Begins")
    assert "space-0" not in ids(answer)
    assert "space" in kinds(answer)
    assert any("The Star Begins" in row.reason.text for row in answer.items)
    disliked = answer.items[0].item
    answer = say(f"I did not like {disliked.title}")
    for _ in range(4):
        assert disliked.item_id not in ids(answer)
        answer = say("something else")


def test_more_like_this(say: Say) -> None:
    answer = say("something like The Ghost Begins")
    assert answer.understood.intent == "more_like"
    assert kinds(answer) == {"horror"}
    assert 'Like "The Ghost Begins"' in answer.text


def test_places_in_the_list_are_understood(say: Say) -> None:
    shown = say("a war film").items
    assert shown[1].item.title in say("tell me about the second one").text
    assert f'"{shown[0].item.title}": country ' in say("which country is number 1 from?").text
    assert shown[2].reason.text in say("why the third?").text
    both = say("compare 1 and 3").text
    assert shown[0].item.title in both
    assert shown[2].item.title in both


def test_facts_come_from_the_catalogue(say: Say) -> None:
    assert '"The Star Begins": year 1960.' in say("what year is The Star Begins from?").text
    assert "Yes." in say("is it adventure?").text
    assert "No." in say("is it a horror?").text


def test_taking_back(say: Say) -> None:
    say("a horror film")
    narrowed = say("from the 1990s")
    assert "1990" in narrowed.filter
    answer = say("undo")
    assert answer.text == f"{replies.UNDONE} What holds: Horror."
    assert answer.filter == 'genres has "Horror"'
    again = say("from the 1990s")
    assert ids(again) == ids(narrowed)  # what was taken back was never shown
    say("undo")
    say("undo")
    assert say("undo").text == replies.NOTHING_TO_UNDO


def test_beginning_anew(say: Say) -> None:
    first = say("a horror film")
    assert say("start over").text == replies.RESET
    answer = say("a film from before 1980")
    assert answer.filter == "year < 1980"
    assert not set(ids(first)) & set(ids(answer))
    answer = say("start over, a war film")
    assert answer.filter == 'genres has "War"'


def test_an_attribute_that_no_longer_matters(say: Say) -> None:
    say("a war film from before 1980")
    answer = say("any year is fine")
    assert answer.filter == 'genres has "War"'
    assert answer.items


def test_questions_back_are_good_and_never_two_in_a_row(say: Say) -> None:
    asked = [say("recommend me something").question]
    asked += [say("something else").question for _ in range(3)]
    assert asked[0]
    assert asked[0] in ("genres", "year", "country")
    assert all(not (one and other) for one, other in itertools.pairwise(asked))
    assert len({one for one in asked if one}) == sum(map(bool, asked))


def test_an_answer_to_the_question_is_taken(say: Say) -> None:
    answer = say("recommend me something")
    assert answer.question
    value = answer.text.rpartition(": ")[2].partition(",")[0] if answer.question != "year" else "from before 1980"
    answer = say(value)
    assert answer.filter
    assert say("no preference").items


def test_small_talk_recommends_nothing(say: Say) -> None:
    for text, said in (("hi", replies.HELLO), ("thank you", replies.THANKS), ("bye", replies.BYE)):
        answer = say(text)
        assert (answer.text, answer.items) == (said, ())


def test_a_name_that_nothing_has_is_told(say: Say) -> None:
    answer = say('have you got "Xyzzy Returns Forever"?')
    assert answer.text.startswith(replies.UNKNOWN)
    assert "Xyzzy" not in answer.text


def test_choices_are_taken(say: Say) -> None:
    shown = say("a war film").items
    answer = say("sounds good, I'll take the first one")
    assert answer.understood.intent == "accept"
    assert shown[0].item.title in answer.text
    assert shown[0].item.item_id not in ids(say("another one"))


def test_later_is_not_now(say: Say) -> None:
    shown = ids(say("a war film"))
    answer = say("not now, maybe later")
    assert not set(shown) & set(ids(answer))


def test_how_many_items(say: Say, talking: Recommender) -> None:
    assert len(say("a war film", k=5).items) == 5


def test_the_answer_streams_in_order(talking: Recommender) -> None:
    chunks = list(talking.chat_stream("a war film"))
    answer = chunks[-1].answer
    assert answer is not None
    assert all(chunk.answer is None for chunk in chunks[:-1])
    assert "".join(chunk.text for chunk in chunks).strip() == answer.text
    assert chunks[0].item is None  # what the list goes by comes before its items
    assert [chunk.item.rank for chunk in chunks if chunk.item is not None] == [1, 2, 3]


def test_what_holds_is_true_of_what_is_shown(say: Say, talking: Recommender) -> None:
    for text in ("a comedy in france", "not romance", "newer", "with a longer title"):
        answer = say(text)
        if answer.filter:
            holds = parse(answer.filter, talking._asynchronous._pipeline.schema())
            assert all(matches(holds, row.item) for row in answer.items)


def test_exploration_holds_in_dialogues_too(same_shop: Path) -> None:
    with Recommender.open(same_shop, settings={"retrieval": {"explore": 1.0}}) as genrec:
        answer = genrec.chat([{"role": "user", "content": "a war film"}])
    assert "exploration" in {stage.name for stage in answer.trace.stages}


def test_a_name_or_a_place_alone_is_an_answer(say: Say) -> None:
    shown = ids(say("a horror film"))
    taken = say("fine, the second one")
    assert taken.understood.intent == "accept"
    assert ROWS[shown[1]]["title"] in taken.text
    assert say("3").text.startswith("Good choice")


def test_what_the_catalogue_cannot_tell_is_said(say: Say) -> None:
    answer = say("a horror film under 20 dollars")
    assert answer.text.startswith(replies.unmet(["price"]))
    assert kinds(answer) == {"horror"}
    assert answer.understood.need == ""
    assert say("cheaper").text.startswith(replies.unmet(["price"]))
    assert replies.UNSAID in say("is the first one on tape?").text
    assert replies.UNSAID not in say("what is the first one about?").text


def test_refused_words_leave_out_items_whose_text_says_them(say: Say) -> None:
    answer = say("a horror film, no ghosts or owls")
    assert answer.understood.without == ("ghosts", "owls")
    assert "Without ‘ghosts’ or ‘owls’ in the text; Horror: 8 items fit." in answer.text
    assert answer.without == ("ghosts", "owls")
    offered = ids(answer)
    for _ in range(2):
        answer = say("something else")
        offered += ids(answer)
    assert len(offered) == 8
    assert not any("Ghost" in ROWS[item_id]["title"] for item_id in offered)
    assert "Ghost" in "".join(row.item.title for row in say("what about ghosts?").items)


def test_a_refusal_that_all_that_fits_falls_under_is_left_out_with_a_word(say: Say) -> None:
    answer = say("a horror film without a haunted house")
    assert "All that fits has ‘haunted house’ in the text, so I left that out." in answer.text
    assert kinds(answer) == {"horror"}
    assert answer.without == ()


def test_a_refusal_that_no_text_says_is_told_once(say: Say) -> None:
    answer = say("a horror film without clowns")
    assert answer.understood.without == ("clowns",)
    assert answer.text.startswith(replies.NOT_IN_TEXTS)
    assert "clowns" not in answer.text  # words that no item has are not repeated
    assert replies.NOT_IN_TEXTS not in say("something else").text


def test_a_question_about_what_no_item_has_is_answered_so(say: Say) -> None:
    say("a horror film")
    assert say("whats the price").text == "The catalogue does not say prices."
