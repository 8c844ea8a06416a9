"""Packed rows, batches and the prefix cache: what must hold for any input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec.errors import EngineError, LabelError
from genrec.llm.forward import EMPTY, Prefix, PrefixCache
from genrec.llm.packing import Row, batches, pack, prompt_of
from genrec.llm.protocol import Labels, Likelihood, Markers, ScoreRequest, WriteRequest

TEXT = st.text(alphabet="abc \n", max_size=8)
SOME = st.text(alphabet="abc \n", min_size=1, max_size=8)
MANY = st.lists(SOME, min_size=1, max_size=6).map(tuple)
REQUESTS: st.SearchStrategy[ScoreRequest] = st.one_of(
    st.builds(Likelihood, prefix=TEXT, context=SOME, continuations=MANY),
    st.builds(Labels, prefix=TEXT, context=SOME, labels=st.permutations("ABCDE").map(tuple)),
    st.builds(Markers, prefix=TEXT, context=SOME, segments=MANY, positive=st.just("y"), negative=st.just("n")),
)
TOKENS = st.lists(st.integers(0, 2), max_size=8)
FAST = settings(deadline=None, max_examples=150)


def encode(text: str) -> list[int]:
    """A token for each character."""
    return [ord(character) for character in text]


def seen_from(row: Row, at: int) -> list[int]:
    """Places that the token at `at` attends to, by the rule of the packed row."""
    return [k for k in range(at + 1) if row.branches[k] in (0, row.branches[at])]


class TestPack:
    @FAST
    @given(REQUESTS)
    def test_every_read_sees_exactly_its_own_prompt(self, request_: ScoreRequest) -> None:
        row = pack(request_, encode, 1000)
        for at, before in zip(row.read_at, prompts_of(request_), strict=True):
            places = seen_from(row, at)
            assert "".join(chr(row.tokens[k]) for k in places) == before
            assert [row.positions[k] for k in places] == list(range(len(before)))

    @FAST
    @given(REQUESTS)
    def test_shape(self, request_: ScoreRequest) -> None:
        row = pack(request_, encode, 1000)
        assert len(row.tokens) == len(row.positions) == len(row.branches)
        assert len(row.read_at) == len(row.read_for)
        assert row.tokens[: len(row.shared)] == row.shared == encode(request_.prefix + request_.context)
        assert row.shared[: len(row.prefix)] == row.prefix == encode(request_.prefix)
        assert set(row.branches[: len(row.shared)]) == {0}
        # a read inside the shared part is only its last token: a cached prefix must never hide one
        assert min(row.read_at) >= len(row.shared) - 1

    @FAST
    @given(REQUESTS)
    def test_targets(self, request_: ScoreRequest) -> None:
        row = pack(request_, encode, 1000)
        if isinstance(request_, Likelihood):
            for entry, text in enumerate(request_.continuations):
                assert [t for t, e in zip(row.targets, row.read_for, strict=True) if e == entry] == encode(text)
            assert row.choices == []
        elif isinstance(request_, Labels):
            assert row.choices == [ord(label) for label in request_.labels]
        else:
            assert row.choices == [ord("y"), ord("n")]
            assert row.read_for == list(range(len(request_.segments)))

    @FAST
    @given(REQUESTS)
    def test_longest_that_fits(self, request_: ScoreRequest) -> None:
        longest = max(len(prompt) for prompt in prompts_of(request_))
        pack(request_, encode, longest)
        with pytest.raises(EngineError, match=f"a prompt of {longest} tokens"):
            pack(request_, encode, longest - 1)

    def test_labels_must_be_single_and_different(self) -> None:
        with pytest.raises(LabelError, match="'AB' is 2 tokens"):
            pack(Labels(prefix="", context="x", labels=("A", "AB")), encode, 10)
        with pytest.raises(LabelError, match="same token"):
            pack(Labels(prefix="", context="x", labels=("A", "A")), encode, 10)

    @pytest.mark.parametrize(("room", "fits"), [(9, False), (10, True)])
    def test_room_for_a_text(self, room: int, fits: bool) -> None:
        request = WriteRequest(prefix="abc", prompt="de", max_tokens=5)
        if fits:
            assert prompt_of(request, encode, room) == encode("de")
        else:
            with pytest.raises(EngineError, match="does not fit"):
                prompt_of(request, encode, room)


def prompts_of(request: ScoreRequest) -> list[str]:
    """The text before each scored token, written out."""
    shared = request.prefix + request.context
    if isinstance(request, Labels):
        return [shared]
    if isinstance(request, Likelihood):
        return [shared + text[:n] for text in request.continuations for n in range(len(text))]
    return [shared + "".join(request.segments[: n + 1]) for n in range(len(request.segments))]


class TestBatches:
    @FAST
    @given(st.lists(st.integers(1, 60), max_size=40), st.integers(1, 200))
    def test_a_partition_within_the_budget(self, lengths: list[int], budget: int) -> None:
        groups = batches(lengths, budget)
        assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
        for group in groups:
            assert len(group) == 1 or len(group) * max(lengths[index] for index in group) <= budget

    @FAST
    @given(st.lists(st.integers(1, 60), min_size=1, max_size=40), st.integers(1, 200))
    def test_no_batch_could_take_the_first_of_the_next(self, lengths: list[int], budget: int) -> None:
        groups = batches(lengths, budget)
        for group in groups[:-1]:
            assert (len(group) + 1) * lengths[group[0]] > budget

    def test_a_row_over_the_budget_is_alone(self) -> None:
        assert batches([5, 500, 5], 100) == [[1], [0, 2]]


def prefix(tokens: list[int]) -> Prefix:
    return Prefix(np.array(tokens, dtype=np.int64), ())


class TestPrefixCache:
    @FAST
    @given(st.lists(TOKENS, max_size=8), TOKENS)
    def test_longest_common_start(self, kept: list[list[int]], asked: list[int]) -> None:
        cache = PrefixCache(keep=100)
        for tokens in kept:
            cache.put(prefix(tokens))
        found, length = cache.find(np.array(asked, dtype=np.int64))
        assert length == max((common(tokens, asked) for tokens in kept), default=0)
        assert found.tokens[:length].tolist() == asked[:length]
        if length == 0:
            assert found is EMPTY
        else:  # of several, the shortest: least to carry along
            assert len(found.tokens) == min(len(tokens) for tokens in kept if common(tokens, asked) == length)

    @FAST
    @given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.integers(1, 5))
    def test_keeps_the_most_recently_used(self, used: list[int], keep: int) -> None:
        cache, recent = PrefixCache(keep=keep), []
        for n in used:
            tokens = np.array([n, 1], dtype=np.int64)
            if not cache.has(tokens):
                cache.put(Prefix(tokens, ()))
            else:
                assert cache.find(tokens)[1] == 2
            recent = [n, *(m for m in recent if m != n)][:keep]
            assert len(cache) == len(recent)
            assert {m for m in range(10) if cache.has(np.array([m, 1], dtype=np.int64))} == set(recent)

    def test_a_found_prefix_outlives_an_older_one(self) -> None:
        cache = PrefixCache(keep=2)
        cache.put(prefix([1, 2]))
        cache.put(prefix([3, 4]))
        cache.find(np.array([1, 2, 5]))
        cache.put(prefix([5, 6]))
        assert cache.has(np.array([1, 2]))
        assert not cache.has(np.array([3, 4]))


def common(one: list[int], other: list[int]) -> int:
    n = 0
    while n < min(len(one), len(other)) and one[n] == other[n]:
        n += 1
    return n
