"""Items, people and rankers of these tests."""

import asyncio
from collections.abc import Sequence
from typing import Any

from genrec.llm.fake import FakeLLM
from genrec.llm.protocol import LLM, ScoreRequest, Scores
from genrec.prompts import Prompts
from genrec.ranking.prompter import Method, Profile
from genrec.ranking.ranker import Ranker, Ranking, RankRequest
from genrec.settings.sections import RankSettings
from genrec.types import Item

METHODS: tuple[Method, ...] = ("likelihood", "labels", "markers")
PAST: tuple[str, ...] = ("Alien", "The Matrix", "Blade Runner", "Star Wars", "2001: A Space Odyssey")
SHOWN: tuple[str, ...] = (
    "Aliens",
    "Cinderella",
    "The Matrix Reloaded",
    "Star Trek",
    "A Space Oddity",
    "Toy Story",
    "Blade Runner 2049",
    "Bambi",
)


def items(titles: Sequence[str], start: int = 0) -> tuple[Item, ...]:
    return tuple(Item(item_id=f"i{start + n}", title=title) for n, title in enumerate(titles))


def a_list(
    titles: Sequence[str] = SHOWN, past: Sequence[str] = PAST, scores: Sequence[float] | None = None, **person: Any
) -> RankRequest:
    """Candidates with falling retriever scores, for a person with a past."""
    falling = tuple(1.0 - 0.01 * n for n in range(len(titles)))
    return RankRequest(
        profile=Profile(history=items(past, 1000), **person),
        candidates=items(titles),
        scores=falling if scores is None else tuple(scores),
    )


class Counting(FakeLLM):
    """The fake, which also remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[ScoreRequest] = []

    async def score(self, requests: Sequence[ScoreRequest]) -> list[Scores]:
        self.asked.extend(requests)
        return await super().score(requests)


FIXED: dict[str, Any] = {"method": "likelihood", "weight": 0.2, "prior": 1.0, "per_token": True, "history": 16, "window": 50}


def ranker(llm: LLM | None = None, **settings: Any) -> Ranker:
    """A ranker of these settings; the others are fixed here, so that tuned defaults change no test."""
    return Ranker(llm or FakeLLM(), Prompts(), RankSettings(**(FIXED | settings)))


def rank(of: Ranker, *requests: RankRequest, method: Method | None = None) -> list[Ranking]:
    return asyncio.run(of.rank(requests, method))


def titles_of(ranking: Ranking, request: RankRequest) -> list[str]:
    return [request.candidates[place].title for place in ranking.order]
