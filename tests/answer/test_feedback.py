"""Words on items change the next answer: through the API and the command line."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from genrec.recommender import Recommender
from genrec.retrieval.feedback import DAY
from genrec.types import FEEDBACK, NOT_NOW, Event, Recommendation
from tests import shop
from tests.cli.command import genrec as command
from tests.cli.command import refused

QUICK: dict[str, Any] = {"explain": "template", "rank": "off"}
USER = "u00"


def ids(rows: list[Recommendation]) -> list[str]:
    return [row.item.item_id for row in rows]


@pytest.mark.parametrize("kind", FEEDBACK)
def test_what_was_said_of_does_not_come_back(own_shop: Path, kind: Any) -> None:
    with Recommender.open(own_shop) as genrec:
        first = ids(genrec.recommend(USER, 5, **QUICK))[0]
        genrec.feedback(USER, first, kind)
        assert first not in ids(genrec.recommend(USER, 60, **QUICK))
        assert first not in ids(genrec.recommend(USER, 60, query="bridge", **QUICK))
        assert genrec.take_back(USER) is not None
        assert ids(genrec.recommend(USER, 5, **QUICK))[0] == first


def test_not_now_comes_back_when_its_days_are_over(own_shop: Path) -> None:
    with Recommender.open(own_shop, settings={"feedback": {"not_now_days": 2.0}}) as genrec:
        first = ids(genrec.recommend(USER, 5, **QUICK))[0]
        for days, there in ((3, True), (1, False)):
            event = Event(user_id=USER, item_id=first, kind=NOT_NOW, timestamp=time.time() - days * DAY)
            genrec.add_events([event])
            assert (first in ids(genrec.recommend(USER, 5, **QUICK))) is there


def test_the_chat_keeps_to_it(own_shop: Path) -> None:
    war = [f"war-{n}" for n in range(10)]
    with Recommender.open(own_shop, settings={"rank": {"mode": "off"}, "reasons": {"explain": "template"}}) as genrec:
        for days, fits in ((31, True), (29, False)):
            when = time.time() - days * DAY
            genrec.add_events([Event(user_id="newcomer", item_id=item, kind=NOT_NOW, timestamp=when) for item in war])
            answer = genrec.chat('genres has "War", please: a war film', user_id="newcomer", k=3)
            assert all(row.item.item_id in war for row in answer.items) is fits
            assert not fits or answer.items


def test_likes_and_dislikes_move_the_list_and_the_reasons(own_shop: Path) -> None:
    with Recommender.open(own_shop, settings={"feedback": {"dislike": 1.0, "like": 4.0}}) as genrec:
        person = "newcomer"
        genrec.add_events([Event(user_id=person, item_id=item, timestamp=n) for n, item in enumerate(("war-1", "love-2"))])

        def war() -> int:
            return sum(one.startswith("war") for one in ids(genrec.recommend(person, 6, **QUICK)))

        before = war()
        genrec.feedback(person, ["war-2", "war-3"], "dislike")
        after = genrec.recommend(person, 60, **QUICK)
        assert war() < before
        cited = {item for row in after for e in row.reason.evidence if e.kind == "history" for item in e.item_ids}
        assert cited
        assert not cited & {"war-2", "war-3"}
        genrec.take_back(person)
        genrec.take_back(person)
        assert war() == before
        genrec.feedback(person, "war-1", "like")
        rows = genrec.recommend(person, 60, **QUICK)
        values = {e.value for row in rows for e in row.reason.evidence if e.kind == "history" and e.item_ids == ("war-1",)}
        assert values == {"liked"}
        genrec.feedback(person, "war-1", "dislike")
        rows = genrec.recommend(person, 60, **QUICK)
        assert not any("war-1" in e.item_ids for row in rows for e in row.reason.evidence if e.kind != "attribute")
        assert not any("war-1" in e.item_ids for row in rows for e in row.reason.evidence)


def test_the_ranker_is_not_shown_what_is_disliked(own_shop: Path) -> None:
    with Recommender.open(own_shop) as genrec:
        rows = genrec.recommend(USER, 3, evidence="ranker")
        cited = next(e.item_ids[0] for row in rows for e in row.reason.evidence if e.kind == "history")
        genrec.feedback(USER, cited, "dislike")
        rows = genrec.recommend(USER, 3, evidence="ranker")
        assert not any(cited in e.item_ids for row in rows for e in row.reason.evidence)


def test_dislikes_alone_leave_what_is_popular(own_shop: Path) -> None:
    with Recommender.open(own_shop) as genrec:
        before = ids(genrec.recommend(shop.COLD, 3, **QUICK))
        genrec.feedback(shop.COLD, before[0], "dislike")
        rows = genrec.recommend(shop.COLD, 3, **QUICK)
        assert before[0] not in ids(rows)
        assert all("popular" in row.sources for row in rows)


def test_the_command_keeps_and_takes_back(own_shop: Path) -> None:
    def top() -> str:
        out = command("recommend", "-w", own_shop, "-u", USER, "-k", "1", "--rank", "off", "--explain", "off", "--json").out
        return json.loads(out.splitlines()[0])["item_id"]

    first = top()
    done = command("feedback", "-w", own_shop, "-u", USER, "-i", first, "-i", "war-1", "--kind", "seen")
    assert (done.code, done.out) == (0, "")
    assert "seen: " in done.err
    assert top() != first
    done = command("feedback", "-w", own_shop, "-u", USER, "-i", first, "--undo")
    assert "taken back: seen" in done.err
    assert top() == first
    assert "said nothing of" in command("feedback", "-w", own_shop, "-u", USER, "-i", first, "--undo").err
    assert "was not known before" in command("feedback", "-w", own_shop, "-u", "new", "-i", "war-1", "--kind", "like").err


def test_the_command_reads_a_table(own_shop: Path, tmp_path: Path) -> None:
    table = tmp_path / "words.csv"
    table.write_text("user_id,item_id,kind\nu00,war-1,like\nu01,war-1,dislike\nu00,war-1,dislike\n")
    done = command("feedback", "-w", own_shop, "--from", table)
    assert (done.code, done.out) == (0, "")
    assert "3 words" in done.err
    with Recommender.open(own_shop) as genrec:
        said = genrec.workspace.store.history("u00")[-2:]
        assert [event.kind for event in said] == ["like", "dislike"]
        assert said[0].timestamp == pytest.approx(time.time(), abs=600)
    table.write_text("user_id,item_id,kind,timestamp\nu02,war-1,like,5\nu02,war-2,loved,6\n")
    refused(command("feedback", "-w", own_shop, "--from", table), 4, "row 2: kind is 'loved'")
    table.write_text("user_id,item_id,kind,timestamp\nu02,war-1,like,5\nu02,nothing,like,6\n")
    refused(command("feedback", "-w", own_shop, "--from", table), 4, "nothing")
    with Recommender.open(own_shop) as genrec:
        assert not [e for e in genrec.workspace.store.history("u02") if e.kind == "like"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((), "nobody"),
        (("-u", USER), "what is said"),
        (("-u", USER, "-i", "war-1"), "what is said"),
        (("-u", USER, "--undo", "--kind", "like"), "--undo"),
        (("-u", USER, "--from", "x.csv"), "--from stands alone"),
    ],
)
def test_half_a_command_is_refused(own_shop: Path, options: tuple[str, ...], says: str) -> None:
    refused(command("feedback", "-w", own_shop, *options), 2, says)


def test_a_table_of_events_that_is_feedback_says_so(own_shop: Path, tmp_path: Path) -> None:
    table = tmp_path / "events.csv"
    table.write_text("user_id,item_id,kind,timestamp\nu00,war-1,dislike,5\nu00,war-2,buy,6\n")
    assert "dislike events are feedback" in command("ingest", "-w", own_shop, "--events", table).err
    table.write_text("user_id,item_id,kind,timestamp\nu00,war-1,like,5\n")
    assert "feedback" not in command("ingest", "-w", own_shop, "--events", table).err
