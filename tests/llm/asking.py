"""Requests that every engine is asked, and how its answers are compared."""

import numpy as np

from genrec.llm.protocol import LLM, Labels, Likelihood, Markers, ScoreRequest, Scores, WriteRequest

PREFIX = "A list of films:\n"
CONTEXT = "- Alien\n- The Matrix\nCandidates:\nA. Aliens\nB. Blade Runner\nC. Cinderella\n"
TITLES = (" Aliens\n", " Blade Runner, the one of 1982\n", " Cinderella\n")


def likelihood(titles: tuple[str, ...] = TITLES, context: str = CONTEXT) -> Likelihood:
    return Likelihood(prefix=PREFIX, context=context, continuations=titles)


def labels(*names: str, context: str = CONTEXT) -> Labels:
    return Labels(prefix=PREFIX, context=context, labels=names or (" A", " B", " C"))


def markers(*segments: str, positive: str = " yes", negative: str = " no") -> Markers:
    segments = segments or ("- Aliens | chosen:", "\n- Blade Runner | chosen:", "\n- Cinderella | chosen:")
    return Markers(prefix=PREFIX, context=CONTEXT, segments=segments, positive=positive, negative=negative)


def mixed() -> list[ScoreRequest]:
    """Requests of every method and of different lengths, in no order."""
    return [
        likelihood(),
        markers(),
        labels(),
        likelihood((" Star Wars\n",), "- Blade Runner\n-"),
        labels(" C", " A"),
        markers("- one | chosen:"),
        likelihood(tuple(f" Film number {n}\n" for n in range(12)), CONTEXT * 3),
    ]


def writing(max_tokens: int = 12, **changes: object) -> WriteRequest:
    values = {"prefix": PREFIX, "prompt": "- Alien\n- The Matrix, Aliens and Star Wars are what this person likes"} | changes
    return WriteRequest(max_tokens=max_tokens, **values)  # pyright: ignore[reportArgumentType]


async def pieces_of(llm: LLM, request: WriteRequest) -> list[str]:
    return [piece async for piece in llm.stream(request)]


async def one_by_one(llm: LLM, requests: list[ScoreRequest]) -> list[Scores]:
    return [(await llm.score([request]))[0] for request in requests]


def assert_same(got: list[Scores], expected: list[Scores], tolerance: float) -> None:
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a.logp, b.logp, rtol=0, atol=tolerance)
        np.testing.assert_array_equal(a.tokens, b.tokens)
