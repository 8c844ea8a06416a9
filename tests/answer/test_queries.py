"""A batch costs the store a fixed number of queries, however many people are in it."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import event as sqlalchemy_event

from genrec.recommender import Recommender
from genrec.store.store import Store
from tests.shop import PEOPLE


@contextmanager
def queries(store: Store) -> Iterator[list[str]]:
    """The SELECT statements that the store sends."""
    sent: list[str] = []

    def note(conn: object, cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("SELECT"):
            sent.append(statement)

    sqlalchemy_event.listen(store._engine, "before_cursor_execute", note)
    yield sent
    sqlalchemy_event.remove(store._engine, "before_cursor_execute", note)


def test_forty_people_need_no_more_queries_than_ten(genrec: Recommender) -> None:
    sent = []
    for people in (PEOPLE[::4], PEOPLE):
        with queries(genrec.workspace.store) as found:
            assert len(genrec.recommend_many(people, 2, rank="off", explain="off")) == 2 * len(people)
        sent.append(len(found))
    assert 0 < sent[1] == sent[0] < 10
