"""The shop, open, and dialogues with it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from genrec.chat.messages import ChatAnswer
from genrec.recommender import Recommender
from tests import shop

Say = Callable[..., ChatAnswer]


@pytest.fixture(scope="module")
def talking(built_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recommender]:
    """The shop for a module whose dialogues are of nobody known: nothing but sessions is written."""
    with Recommender.open(shop.copy(built_shop, tmp_path_factory.mktemp("talking") / "shop")) as opened:
        yield opened


@pytest.fixture
def say(talking: Recommender) -> Say:
    """One dialogue: `say("turn")` goes on with it."""
    session = ""

    def turn(text: str, **options: Any) -> ChatAnswer:
        nonlocal session
        answer = talking.chat(text, session_id=session, **options)
        session = answer.session_id
        return answer

    return turn
