"""Candidate lists to learn from: out of fold, unseen items only, hard and random negatives, in no order."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from genrec.errors import TrainingError
from genrec.llm.protocol import Labels
from genrec.progress import SILENT
from genrec.prompts import Prompts
from genrec.ranking.prompter import Prompter
from genrec.ranking.score_fusion import log_softmax, standardise
from genrec.retrieval.sequences import Sequences
from genrec.training import candidate_lists as module
from genrec.training.adapter_training import Base
from genrec.training.candidate_lists import ListExamples, Lists, candidates, out_of_fold, prior_scale, profile_of
from genrec.training.lora import Example
from tests.training import tuning, world

MANY = tuple(f"{a}{b}" for a in "ABCDEFGH" for b in "abcdefgh")
N = len(MANY)
CONTENT = tuning.content(MANY)


class Jealous(tuning.Weak):
    """Refuses to be asked for people that it was fitted on."""

    def with_settings(self, settings: Any, seed: int) -> "Jealous":
        return Jealous(self.seen)

    def scores(self, histories: Sequences) -> Any:
        assert not self.seen[-1] & set(histories.user_ids)
        return super().scores(histories)


def found(all_events: Sequences, n: int = 60, k: int = 20, folds: int = 3, seed: int = 0, system: Any = None) -> Lists:
    return out_of_fold(system or Jealous(), all_events, CONTENT, n=n, k=k, folds=folds, seed=seed, progress=SILENT)


def walks(people: int = 24, length: int = 8, seed: int = 0) -> list[list[int]]:
    return tuning.walks(people, length=length, seed=seed, planted=False, n=N)


def maker(base: Base, **changes: Any) -> ListExamples:
    values: dict[str, Any] = {"method": "labels", "history": 5, "shown": 9, "without_target": "skip"} | changes
    return ListExamples(
        prompter=Prompter(Prompts(), history=values["history"], title_chars=48),
        encode=base.encode,
        longest=base.longest,
        **values,
    )


def titles_of(one: Example) -> list[str]:
    """Candidates in the order of the prompt, labelled A to I."""
    request = one.row.request
    assert isinstance(request, Labels)
    lines = request.context.partition("Candidates:\n")[2].splitlines()
    return [line[3:] for line in lines if line[1:3] == ". "]


def past_of(one: Example) -> list[str]:
    context = one.row.request.context.partition("Candidates:")[0]  # pyright: ignore[reportAttributeAccessIssue]
    return [line[2:] for line in context.splitlines() if line.startswith("- ")]


@pytest.fixture(scope="module")
def lists() -> Lists:
    return found(world.histories(walks(), N), n=120)


class TestOutOfFold:
    def test_a_persons_candidates_come_from_a_system_that_never_saw_them(self) -> None:
        system = Jealous()
        found(world.histories(walks(), N), system=system)
        assert len(system.seen) == 3
        assert all(len(seen) == 16 for seen in system.seen)
        assert all(len(one | other) == 24 for one in system.seen for other in system.seen if one != other)
        system = Jealous()
        found(world.histories(walks(), N), system=system, folds=6)
        assert len(system.seen) == 6

    def test_a_moment_is_what_a_person_knew_then_and_chose_next(self) -> None:
        every = walks()
        lists = found(world.histories(every, N))
        assert len(lists) == 60
        for row, user in enumerate(lists.histories.user_ids):
            history = lists.histories.history(row).tolist()
            assert history
            assert every[int(user[1:])][: len(history) + 1] == [*history, lists.targets[row]]

    def test_people_count_alike(self) -> None:
        every = [one[: 2 + 6 * (n % 2)] for n, one in enumerate(walks())]
        counts = Counter(found(world.histories(every, N), n=48).histories.user_ids)
        assert set(counts.values()) == {2}

    def test_no_seen_item_is_a_candidate_and_no_seen_item_a_target(self) -> None:
        lists = found(world.histories([[*one, one[0], one[1]] for one in walks()], N), n=100, k=N)
        for row in range(len(lists)):
            history = set(lists.histories.history(row).tolist())
            shown = [item for item in lists.items[row].tolist() if item >= 0]
            assert not history & set(shown)
            assert len(shown) == len(set(shown)) == N - len(history)
            assert lists.targets[row] not in history
            scores = lists.scores[row][: len(shown)]
            assert (np.diff(scores) <= 0).all()
        assert (lists.places >= 0).all()

    def test_the_seed_deals(self) -> None:
        one, same, other = (found(world.histories(walks(), N), seed=seed) for seed in (0, 0, 1))
        assert np.array_equal(one.items, same.items)
        assert one.histories.user_ids != other.histories.user_ids

    def test_too_few_people(self) -> None:
        with pytest.raises(TrainingError, match="nobody chose two different items"):
            found(world.histories([[1, 1], [2]], N))
        with pytest.raises(TrainingError, match="one person alone"):
            found(world.histories([[1, 2, 3], []], N))
        assert len(found(world.histories([[1, 2], [3, 4]], N), n=4)) == 4


def test_candidates_by_parts_are_those_of_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, targets = world.histories(walks(), N), np.arange(24) % N
    system = tuning.Weak()
    system.fit(asked, CONTENT, SILENT)
    whole = candidates(system, asked, targets, 7)
    monkeypatch.setattr(module, "AT_ONCE", 5)
    parts = candidates(system, asked, targets, 7)
    assert np.array_equal(whole.items, parts.items)
    assert np.array_equal(whole.scores, parts.scores)
    scores = system.scores(asked)
    scores[asked.users, asked.items] = -np.inf
    assert np.array_equal(whole.items, np.argsort(-scores, axis=1, kind="stable")[:, :7])


def test_a_profile_has_each_item_at_its_last_event() -> None:
    items = CONTENT.items
    profile = profile_of(world.histories([[0, 1, 0, 2, 1]], N), 0, items)
    assert [item.title for item in profile.history] == [MANY[n] for n in (0, 2, 1)]


class TestExamples:
    def test_lists_without_their_target_are_skipped_or_get_it(self, base: Base, lists: Lists) -> None:
        has = int((lists.places >= 0).sum())
        assert 0 < has < len(lists)
        skipped = maker(base).make(lists, CONTENT.items, np.random.default_rng(0))
        added = maker(base, without_target="add").make(lists, CONTENT.items, np.random.default_rng(0))
        assert (len(skipped), len(added)) == (has, len(lists))
        for one, row in zip(added, range(len(lists)), strict=True):
            assert titles_of(one)[one.target] == MANY[lists.targets[row]]
            assert one.prior is not None
            if lists.places[row] < 0:
                assert one.prior[one.target] == one.prior.min()

    def test_what_an_example_shows(self, base: Base, lists: Lists) -> None:
        rows = np.flatnonzero(lists.places >= 0)
        made = maker(base).make(lists, CONTENT.items, np.random.default_rng(0))
        scale = prior_scale(lists)
        assert scale in module.SCALES
        for one, row in zip(made, rows.tolist(), strict=True):
            shown = [MANY.index(title) for title in titles_of(one)]
            assert len(set(shown)) == len(shown) == 9
            assert shown[one.target] == lists.targets[row]
            assert not set(shown) & set(lists.histories.history(row).tolist())
            handed = lists.items[row].tolist()
            hard = [item for item in shown if item in handed and item != lists.targets[row]]
            assert len(hard) == 6  # three quarters of eight; two at random from the rest of the catalogue
            scores = scale * standardise(lists.scores[row])
            wanted = log_softmax(np.array([scores[handed.index(n)] if n in handed else scores.min() for n in shown]))
            assert one.prior is not None
            assert np.allclose(one.prior, wanted, atol=1e-5)

    def test_candidates_are_in_no_order(self, base: Base, lists: Lists) -> None:
        made = [one for seed in range(4) for one in maker(base).make(lists, CONTENT.items, np.random.default_rng(seed))]
        counts = np.bincount([one.target for one in made], minlength=9)
        assert counts.min() > 0.4 * len(made) / 9
        assert counts.max() < 2.0 * len(made) / 9

    def test_the_retrievers_best_come_more_often(self, base: Base, lists: Lists) -> None:
        row = lists.take(np.flatnonzero(lists.places >= 0)[:1])
        best, *_, worst = (MANY[item] for item in row.items[0].tolist() if item != row.targets[0])
        drawn = Counter(
            title
            for seed in range(200)
            for one in maker(base, shown=5).make(row, CONTENT.items, np.random.default_rng(seed))
            for title in titles_of(one)
        )
        assert drawn[best] > 1.5 * drawn[worst]

    def test_some_profiles_are_shorter(self, base: Base, lists: Lists) -> None:
        """A quarter of them is cut to a random length; the end of the history stays."""
        rows = np.flatnonzero(lists.places >= 0)
        made = maker(base).make(lists, CONTENT.items, np.random.default_rng(0))
        cut = 0
        for one, row in zip(made, rows.tolist(), strict=True):
            whole = [MANY[item] for item in lists.histories.history(row).tolist()][-5:]
            past = past_of(one)
            assert past == whole[-len(past) :]
            cut += len(past) < len(whole)
        assert 0 < cut < 0.4 * len(made)

    @pytest.mark.parametrize("change", [{"method": "markers"}, {"method": "likelihood"}, {"history": 2}, {"shown": 4}], ids=str)
    def test_nothing_is_inert(self, base: Base, lists: Lists, change: dict[str, Any]) -> None:
        def tokens(**changes: Any) -> list[list[int]]:
            return [one.row.tokens for one in maker(base, **changes).make(lists, CONTENT.items, np.random.default_rng(0))]

        assert tokens() == tokens()
        assert tokens() != tokens(**change)

    def test_a_small_catalogue_gives_shorter_lists(self, base: Base) -> None:
        small = tuning.content(MANY[:5])
        lists = out_of_fold(
            Jealous(), world.histories([[0, 1, 2], [3, 4, 0]], 5), small, n=4, k=20, folds=2, seed=0, progress=SILENT
        )
        made = maker(base).make(lists, small.items, np.random.default_rng(0))
        assert all(2 <= len(titles_of(one)) <= 4 for one in made)


def test_the_scale_of_the_prior_is_by_maximum_likelihood() -> None:
    """A retriever that is always right is trusted, one that knows nothing is not."""
    rng = np.random.default_rng(0)
    scores = -np.sort(-rng.random((50, 8)).astype(np.float32), axis=1)
    items = np.tile(np.arange(8), (50, 1))

    def scale(targets: np.ndarray) -> float:
        return prior_scale(Lists(histories=tuning.events(50), targets=targets, items=items, scores=scores))

    assert scale(np.zeros(50, np.int64)) == max(module.SCALES)
    assert scale(rng.integers(8, size=50)) <= 0.5
    assert scale(np.full(50, 99)) == 1.0
