"""Baselines against plain computations of their definitions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, sparse

from genrec.baselines import closed_form as ease
from genrec.baselines.base import binary, decayed, ndcg
from genrec.baselines.boosted import Boosted, chosen, fold
from genrec.baselines.boosted_features import Features, attributes
from genrec.baselines.closed_form import Ease, ItemKNN, Popularity
from genrec.baselines.factors import NEGATIVES, Als, fold_in
from genrec.baselines.sasrec import CausalIds, SasRec, hold_out, pieces
from genrec.errors import EvaluationError
from genrec.progress import SILENT
from genrec.types import Item
from tests.baselines.baseline_world import N_ITEMS, content, sequences, world

TRAIN = world(80, seed=3)
CONTENT = content()


def test_decay_counts_places_from_the_end() -> None:
    matrix = decayed(sequences([[4, 2, 4], [], [1]], n_items=5), 2.0).toarray()
    expected = np.zeros((3, 5))
    expected[0, 4], expected[0, 2], expected[2, 1] = 1 + 0.5, 0.5**0.5, 1
    assert np.allclose(matrix, expected)
    assert np.array_equal(binary(sequences([[4, 2, 4]], n_items=5)).toarray(), [[0, 0, 1, 0, 1]])


def test_popularity_counts_the_latest_part_then_everything() -> None:
    data = sequences([[0, 0, 1, 2, 2, 3]], n_items=5)
    for window, expected in ((1.0, [0, 2, 1, 3, 4]), (0.5, [2, 3, 0, 1, 4]), (0.01, [3, 0, 2, 1, 4])):
        system = Popularity({"window": window})
        system.fit(data, CONTENT, SILENT)
        assert np.argsort(-system.scores(data)[0], kind="stable").tolist() == expected


@pytest.mark.parametrize("block", [7, 1024])
def test_item_knn_is_its_formula(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genrec.baselines.closed_form.BLOCK", block)
    system = ItemKNN({"neighbours": 5, "shrinkage": 3.0, "power": 0.4, "half_life": 2.0})
    system.fit(TRAIN, CONTENT, SILENT)
    seen = binary(TRAIN).toarray()
    common, count = seen.T @ seen, np.maximum(seen.sum(axis=0), 1)
    similar = common / (np.outer(count**0.4, count**0.4) + 3.0)
    np.fill_diagonal(similar, 0)
    for row in similar:
        row[row < np.sort(row)[-5]] = 0
    assert np.allclose(system.scores(TRAIN), decayed(TRAIN, 2.0).toarray() @ similar, atol=1e-5)


def test_ease_predicts_each_item_from_the_others_by_ridge_regression() -> None:
    system = Ease({"strength": 7.0, "half_life": None})
    system.fit(TRAIN, CONTENT, SILENT)
    seen = binary(TRAIN).toarray()
    weights = np.zeros((N_ITEMS, N_ITEMS))
    for item in np.flatnonzero(seen.sum(axis=0)):
        others = np.delete(np.arange(N_ITEMS), item)
        past = seen[:, others]
        weights[others, item] = np.linalg.solve(past.T @ past + 7.0 * np.eye(len(others)), past.T @ seen[:, item])
    assert np.allclose(system.scores(TRAIN), decayed(TRAIN, None).toarray() @ weights, atol=1e-4)


def test_ease_refuses_a_catalogue_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ease, "MOST_ITEMS", 10)
    with pytest.raises(EvaluationError, match="at most 10"):
        Ease().fit(TRAIN, CONTENT, SILENT)


def test_als_folds_in_by_the_normal_equations() -> None:
    system = Als({"factors": 6, "regularization": 2.0, "alpha": 5.0, "half_life": 3.0})
    system.fit(TRAIN, CONTENT, SILENT)
    items = np.asarray(system._model.item_factors, float)
    scores = system.scores(TRAIN)
    for user, row in enumerate(decayed(TRAIN, 3.0).toarray()[:10]):
        seen = row > 0
        confidence = np.where(seen, 5.0 * row, 1.0)
        person = np.linalg.solve((items.T * confidence) @ items + 2.0 * np.eye(6), items.T @ (confidence * seen))
        assert np.allclose(scores[user], items @ person, atol=1e-3)


def test_bpr_folds_in_near_the_minimum_of_its_loss() -> None:
    rng = np.random.default_rng(0)
    items, bias = rng.normal(size=(40, 5)).astype(np.float32), rng.normal(size=40).astype(np.float32)
    weights = sparse.csr_array(rng.random((6, 40)) * (rng.random((6, 40)) < 0.2))
    people = fold_in(weights, items, bias, 0.05, 0)
    assert NEGATIVES >= 40  # so that all items are the others

    def loss(person: np.ndarray, row: np.ndarray) -> float:
        value = items @ person + bias
        pairs = np.logaddexp(0, -(value[:, None] - value[None])).mean(axis=1)
        return float(row @ pairs / row.sum() + 0.05 * person @ person / 2)

    for person, row in zip(people, weights.toarray(), strict=True):
        least = optimize.minimize(loss, np.zeros(5), args=(row,)).fun
        assert loss(person, row) < least + 0.05 * (loss(np.zeros(5), row) - least)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=6), st.integers(1, 8), st.integers(0, 5))
def test_pieces_make_every_event_but_the_first_a_target_once(lengths: list[int], length: int, seed: int) -> None:
    data = sequences([np.arange(n) for n in lengths], n_items=31)
    begins, ends = pieces(data, length, np.random.default_rng(seed))
    assert ((ends - begins >= 1) & (ends - begins <= length)).all()
    targets = sorted(int(place) for begin, end in zip(begins, ends, strict=True) for place in range(begin + 1, end + 1))
    assert targets == [place for place in range(len(data)) if place not in data.offsets[:-1]]


def test_pieces_move_with_the_epoch() -> None:
    data = sequences([np.arange(30)], n_items=31)
    rng = np.random.default_rng(0)
    assert len({tuple(pieces(data, 7, rng)[0]) for _ in range(10)}) > 2


def test_what_is_held_out_is_not_learned() -> None:
    learned, histories, targets = hold_out(TRAIN, np.random.default_rng(0))
    able = np.flatnonzero(TRAIN.lengths >= 3)
    assert len(targets) == len(able) == len(TRAIN) - len(learned)
    for row, user in enumerate(able.tolist()):
        assert np.array_equal(np.append(histories.history(row), targets[row]), TRAIN.history(user))
        assert np.array_equal(learned.history(user), histories.history(row))


def test_the_network_cannot_look_ahead_nor_see_fillers() -> None:
    torch.manual_seed(0)
    network = CausalIds(20, width=8, layers=2, heads=2, dropout=0.5, length=6).eval()
    items = torch.tensor([[1, 2, 3, 4, 5], [7, 8, 9, 0, 0]])
    lengths = torch.tensor([5, 3])
    states = network(items, lengths)
    later = network(torch.tensor([[1, 2, 3, 4, 19], [7, 8, 9, 11, 12]]), lengths)
    assert torch.allclose(states[0, :4], later[0, :4], atol=1e-6)
    assert not torch.allclose(states[0, 4], later[0, 4], atol=1e-3)
    assert torch.allclose(states[1, :3], later[1, :3], atol=1e-6)
    assert torch.allclose(states[1, :3], network(items[1:, :3], lengths[1:])[0], atol=1e-6)
    assert not torch.allclose(states[0, 2], network(torch.tensor([[2, 1, 3]]), lengths[1:])[0, 2], atol=1e-3)  # order counts


def test_sasrec_keeps_the_best_epoch_and_leaves_the_global_seed_alone() -> None:
    options = {"width": 16, "layers": 1, "learning_rate": 0.02, "length": 10, "epochs": 30, "patience": 3}
    torch.manual_seed(9)
    expected = torch.rand(1)
    torch.manual_seed(9)
    system = SasRec(options, 1)
    system.fit(TRAIN, CONTENT, SILENT)
    assert torch.equal(torch.rand(1), expected)
    _, histories, targets = hold_out(TRAIN, np.random.default_rng(1))
    assert 0 < system.epoch < 30
    assert ndcg(system.scores(histories), histories, targets) == pytest.approx(system.validation)


def test_a_large_catalogue_gets_smaller_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"width": 8, "layers": 1, "length": 10, "epochs": 1}
    steps: list[int] = []
    step = torch.optim.AdamW.step
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self, *rest: steps.append(1) or step(self, *rest))
    SasRec(options).fit(TRAIN, CONTENT, SILENT)
    few = len(steps)
    monkeypatch.setattr("genrec.baselines.sasrec.MOST_LOGITS", 4 * 10 * N_ITEMS)
    SasRec(options).fit(TRAIN, CONTENT, SILENT)
    assert few == -(-80 // 32)
    assert len(steps) - few == 80 // 4


@pytest.mark.parametrize("k", [1, 3])
def test_a_fold_knows_neither_its_target_nor_what_follows(k: int) -> None:
    data = sequences([[1, 2, 3, 4, 5], [1], [7, 8, 9, 7, 3]])
    past, people, targets = fold(data, k)
    assert [row.tolist() for row in (past.history(0), past.history(1), past.history(2))] == [
        [1, 2, 3, 4, 5][:-k],
        [],
        [7, 8, 9, 7, 3][:-k],
    ]
    assert dict(zip(people.tolist(), targets.tolist(), strict=True)) == {1: {0: 5, 2: 3}, 3: {0: 3, 2: 9}}[k]
    assert 2 not in fold(data, 2)[1]  # item 7 is no target: the person had it before


def test_first_stages_are_chosen_and_ordered_by_what_they_find() -> None:
    past, people, targets = fold(TRAIN, 1)
    histories = past.take(people)
    stages = chosen(past, histories, targets, CONTENT, 0)
    found = [ndcg(stage.scores(histories), histories, targets) for stage in stages]
    assert found == sorted(found, reverse=True)
    assert {stage.name for stage in stages} == {"ease", "als", "item-knn", "popularity"}


def test_boosted_ranks_its_candidates_first_and_the_others_as_the_first_stage_does() -> None:
    system = Boosted({"candidates": 12, "trees": 20, "folds": 2, "least": 5})
    system.fit(TRAIN, CONTENT, SILENT)
    scores, first = system.scores(TRAIN), system.retriever.scores(TRAIN)
    for user in range(len(TRAIN.user_ids)):
        new = np.setdiff1d(np.arange(N_ITEMS), TRAIN.history(user))
        order = new[np.argsort(-first[user, new], kind="stable")]
        assert (scores[user, order[:12]] > 0).all()
        assert (np.diff(scores[user, order[12:]]) <= 0).all()
        assert (scores[user, order[12:]] < 0).all()
    assert np.isneginf(scores[TRAIN.users, TRAIN.items]).all()


def test_copies_share_what_the_trees_settings_do_not_change() -> None:
    system = Boosted({"candidates": 12, "trees": 5, "folds": 1, "least": 5})
    copies = [system.with_settings(settings, seed) for settings, seed in (({}, 0), ({"trees": 9}, 0), ({}, 1), ({"folds": 2}, 1))]
    for copy in copies:
        copy.fit(TRAIN, CONTENT, SILENT)
    stages = [copy.retriever for copy in copies]
    assert stages[0] is stages[1]
    assert len({id(stage) for stage in stages}) == 3
    other = system.with_settings({"folds": 2}, 1)
    other.fit(world(60, seed=4), CONTENT, SILENT)
    assert other.retriever is not stages[3]


def test_boosted_without_a_target_among_its_candidates_says_so() -> None:
    with pytest.raises(EvaluationError, match="no target of the last 5 events"):
        Boosted().fit(sequences([[1], [2], [3]]), CONTENT, SILENT)


def test_features_are_what_they_are_called() -> None:
    data = sequences([[0, 0, 13], [2, 3]])
    features = Features(data, CONTENT)
    table = features.table(data, np.array([0, 0, 1]), np.array([1, 14, 1]), {"stage": np.array([5.0, 6.0, 7.0])})
    column = dict(zip(features.names, table.T, strict=True))
    assert column["stage"].tolist() == [5, 6, 7]
    assert np.allclose(column["length"], np.log1p([3, 3, 2]))
    text = CONTENT.vectors.matrices["text"]
    assert np.allclose(column["text like the last"], [text[13] @ text[1], text[13] @ text[14], text[3] @ text[1]], atol=1e-6)
    first = np.array([0.5 ** (2 / 4) + 0.5 ** (1 / 4), 1.0])  # of items 0 and 13, half-life 4
    first /= first.sum()
    assert np.allclose(column["ring shared"][:2], first, atol=1e-6)
    assert np.allclose(column["tags shared"][2], (1.0) / 2, atol=1e-6)  # "all" is in every item, t1 in neither 2 nor 3
    mean = first @ np.array([1990.0, 2003.0])
    assert np.allclose(column["year above the profile"][:2], [1991 - mean, 2004 - mean], atol=1e-3)
    assert column["age"].tolist() == [0, 0, 0]  # no events: as new as can be
    seen = features.table(data, np.array([1]), np.array([0]), {})
    assert dict(zip(features.names, seen.T, strict=True))["age"].tolist() == [4.0]


def test_attributes_that_few_items_have_are_left_out() -> None:
    items = [Item(item_id=str(n), attributes={"rare": 1} if n == 0 else {"odd": 1 if n < 8 else "one"}) for n in range(10)]
    words, numbers = attributes(items)
    assert list(words) == ["odd"]
    assert not numbers
    assert words["odd"].sum() == 9
