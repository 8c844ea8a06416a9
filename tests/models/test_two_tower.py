"""The network: masks, causality, batches, the three fusions, the gate."""

from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from genrec.models.two_tower import EventTensors, Fusion, ItemEncoder, ItemTensors, NetworkConfig, SequenceEncoder, TwoTower

N, WIDTH = 9, 16
FUSIONS: tuple[Fusion, ...] = get_args(Fusion)
CONFIG = NetworkConfig(
    dims={"text": 5, "image": 3},
    n_items=6,
    n_entities=4,
    n_relations=3,
    n_attributes=2,
    gaps=4,
    kinds=3,
    values=5,
    platforms=2,
    width=WIDTH,
    layers=2,
    heads=2,
    fusion="attention",
    ids=True,
    dropout=0.0,
    modality_dropout=0.0,
    id_dropout=0.0,
)


def network(seed: int = 0, **changes: Any) -> TwoTower:
    """Random in every weight: what starts at zero would hide what it does."""
    torch.manual_seed(seed)
    made = TwoTower(replace(CONFIG, **changes))
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return made.eval()


def items(seed: int = 1) -> ItemTensors:
    """Item 6 has text only, 7 a link only, 8 nothing; 6 to 8 have no id. The last link is of a triple."""
    rng = torch.Generator().manual_seed(seed)
    has_text = torch.tensor([1, 1, 0, 1, 1, 1, 1, 0, 0]).bool()
    has_image = torch.tensor([1, 0, 1, 0, 1, 0, 0, 0, 0]).bool()
    return ItemTensors(
        dense={"text": torch.randn(N, 5, generator=rng), "image": torch.randn(N, 3, generator=rng)},
        present={"text": has_text, "image": has_image},
        numbers=torch.tensor([0, 1, 2, 3, 4, 5, -1, -1, -1]),
        owners=torch.tensor([0, 0, 1, 2, 7, 1]),
        entities=torch.tensor([0, 1, 0, 2, 2, 3]),
        relations=torch.tensor([0, 1, 0, 1, 1, 2]),
    )


def events(rows: list[list[int]], **columns: list[list[int]]) -> EventTensors:
    longest = max(map(len, rows))

    def filled(lists: list[list[int]]) -> Tensor:
        return torch.tensor([row + [0] * (longest - len(row)) for row in lists])

    zeros = [[0] * len(row) for row in rows]
    names = ("gaps", "kinds", "values", "platforms")
    return EventTensors(
        items=filled(rows),
        lengths=torch.tensor([len(row) for row in rows]),
        **{name: filled(columns.get(name, zeros)) for name in names},
    )


@pytest.mark.parametrize("fusion", FUSIONS)
@torch.inference_mode()
def test_what_lies_in_a_masked_row_is_not_read(fusion: Fusion) -> None:
    made, plain = network(fusion=fusion), items()
    other = replace(
        plain, dense={name: torch.where(plain.present[name][:, None], rows, 99.0) for name, rows in plain.dense.items()}
    )
    for one, two in zip(made.items(plain), made.items(other), strict=True):
        assert torch.equal(one, two)
    seen = replace(plain, dense={**plain.dense, "text": plain.dense["text"] + 1.0})
    moved = (made.items(plain)[0] != made.items(seen)[0]).any(1)
    if fusion != "graph":  # there the neighbours hear of it, too
        assert torch.equal(moved, plain.present["text"])


@pytest.mark.parametrize("fusion", FUSIONS)
@torch.inference_mode()
def test_gates_are_shares_of_the_parts_an_item_has(fusion: Fusion) -> None:
    made = network(fusion=fusion)
    _, _, _, gates = made.items(items())
    parts = made.item_encoder.parts
    assert parts == ["image", "text", "attributes", "id", *(["graph"] if fusion == "graph" else [])]
    there = torch.tensor(
        [[1, 1, 1, 1], [0, 1, 1, 1], [1, 0, 1, 1], [0, 1, 0, 1], [1, 1, 0, 1], [0, 1, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0]]
    )
    assert torch.equal(gates[:8, :4] > 0, there.bool())
    assert torch.allclose(gates.sum(1), torch.tensor([1.0] * 8 + [0.0]), atol=1e-5)
    if fusion == "graph":
        assert torch.equal(gates[:, 4] > 0, torch.tensor([1, 1, 1, 0, 0, 0, 0, 1, 0]).bool())


@torch.inference_mode()
def test_fusions_differ_and_only_the_graph_reads_triples() -> None:
    plain = items()
    without = replace(plain, **{name: getattr(plain, name)[:5] for name in ("owners", "entities", "relations")})
    changed = {fusion: (network(fusion=fusion).items(plain)[0], network(fusion=fusion).items(without)[0]) for fusion in FUSIONS}
    for fusion, (one, two) in changed.items():
        assert torch.equal(one, two) is (fusion != "graph")
    found = [one for one, _ in changed.values()]
    assert not any(torch.allclose(found[a], found[b]) for a, b in ((0, 1), (0, 2), (1, 2)))


@torch.inference_mode()
def test_the_graph_hands_on_what_neighbours_say() -> None:
    """Items 0 and 1 share an entity: a change in one moves the other, and no item that is not linked to it."""
    made, plain = network(fusion="graph"), items()
    rows = plain.dense["text"].clone()
    rows[0] += 2.0
    before, after = made.items(plain)[0], made.items(replace(plain, dense={**plain.dense, "text": rows}))[0]
    assert (before != after).any(1).tolist() == [True, True, False, False, False, False, False, False, False]
    heavy = network(fusion="graph")
    heavy.item_encoder.relation_weights[0] += 1.0
    assert (heavy.items(plain)[0] != before).any(1).tolist()[:3] == [True, True, False]  # 2 has relation 1 alone


@torch.inference_mode()
def test_new_items_have_no_id() -> None:
    made = network()
    vectors, _, _, _ = made.items(items())
    assert made.item_encoder.ids is not None
    made.item_encoder.ids.weight.add_(1.0)
    moved = (made.items(items())[0] != vectors).any(1)
    assert moved.tolist() == [True] * 6 + [False] * 3
    assert "id" not in network(ids=False).item_encoder.parts


@torch.inference_mode()
def test_the_bias_and_what_is_shown_make_the_score() -> None:
    made, plain = network(), items()
    vectors, shown, bias, _ = made.items(plain)
    asked = events([[0, 3, 4], [5]])
    wanted = torch.tensor([[True, False, True], [True, False, False]])
    scores = made(plain, asked, wanted)
    people = made.people(vectors, asked)[wanted]
    assert torch.allclose(scores, people @ shown.T + bias, atol=1e-5)
    assert torch.allclose(made(plain, asked, wanted, torch.tensor([2, 7])), scores[:, [2, 7]], atol=1e-5)
    assert bias.abs().min() == 0.0  # of the item of which nothing is known
    assert (bias[:8] != 0).all()


@torch.inference_mode()
def test_a_later_event_never_changes_an_earlier_state() -> None:
    made = network()
    vectors = made.items(items())[0]
    plain = events(
        [[0, 1, 2, 3, 4]], gaps=[[0, 1, 2, 3, 1]], kinds=[[0, 1, 2, 0, 1]], values=[[0, 1, 2, 3, 4]], platforms=[[0, 1, 0, 1, 0]]
    )
    states = made.people(vectors, plain)
    for place in range(5):
        for name in ("items", "gaps", "kinds", "values", "platforms"):
            column = getattr(plain, name).clone()
            column[0, place] = (column[0, place] + 1) % 2
            turned = made.people(vectors, replace(plain, **{name: column}))
            same = (turned == states).all(-1)[0].tolist()
            assert same[:place] == [True] * place, name
            assert not any(same[place:]), name


@torch.inference_mode()
def test_filling_up_and_company_change_nothing() -> None:
    made = network()
    vectors = made.items(items())[0]
    rows = [[0, 1, 2, 3], [4], [5, 0], [3, 3, 1]]
    kinds = [[0, 1, 2, 0], [1], [2, 0], [0, 1, 1]]
    together = made.people(vectors, events(rows, kinds=kinds))
    for n, row in enumerate(rows):
        alone = made.people(vectors, events([row], kinds=[kinds[n]]))
        assert torch.allclose(together[n, : len(row)], alone[0], atol=1e-5)
    filled = replace(events(rows), items=torch.where(torch.arange(4) < events(rows).lengths[:, None], events(rows).items, 5))
    for n, row in enumerate(rows):
        one, two = made.people(vectors, filled)[n], made.people(vectors, events(rows))[n]
        assert torch.equal(one[: len(row)], two[: len(row)])


@torch.inference_mode()
def test_without_layers_it_is_the_recency_mean_and_a_correction_from_the_last_event() -> None:
    made = network(layers=0).sequence_encoder
    vectors = torch.randn(N, WIDTH, generator=torch.Generator().manual_seed(0))
    made.correct.weight.zero_()
    made.correct.bias.zero_()
    weights = np.exp(-np.exp(made.log_decay.item()) * np.arange(4)[::-1])
    mean = (weights / weights.sum()) @ vectors[[3, 1, 1, 5]].numpy()
    state = made(vectors, events([[3, 1, 1, 5]]))[0, -1].numpy()
    assert state == pytest.approx(made.mean_scale.item() * mean, abs=1e-5)
    assert len(network(layers=3).sequence_encoder.blocks) == 3
    fresh = SequenceEncoder(width=WIDTH, layers=0, heads=1, dropout=0, gaps=1, kinds=1, values=1, platforms=1)
    assert float(torch.exp(-fresh.log_decay.exp() * 2)) == pytest.approx(0.5, abs=0.01)  # half-life 2 places


def encoder(**changes: Any) -> ItemEncoder:
    torch.manual_seed(0)
    config: dict[str, Any] = {"dims": {"text": 5, "image": 3}, "n_items": 6, "n_entities": 4, "n_relations": 3, "n_attributes": 2}
    config |= {"width": WIDTH, "fusion": "attention", "ids": True, "modality_dropout": 0.0, "id_dropout": 0.0}
    return ItemEncoder(**config | changes)


def kept(made: ItemEncoder, times: int = 400) -> tuple[Tensor, Tensor]:
    """(N, parts) what is there, and how often it stays."""
    there = made._own(items())[1]
    torch.manual_seed(1)
    return there, torch.stack([made._dropped(there) for _ in range(times)]).float().mean(0)


def test_modalities_and_ids_are_dropped_as_often_as_said() -> None:
    there, share = kept(encoder(modality_dropout=0.2, id_dropout=0.6))
    full = share[0]  # of an item with all four parts
    assert full[:3].numpy() == pytest.approx([0.8] * 3, abs=0.08)
    assert float(full[3]) == pytest.approx(0.4, abs=0.08)
    assert not share[~there].any()
    assert share[6, 1] == 1.0  # the only part an item has is never taken
    assert (kept(encoder())[1] == there.float()).all()
    torch.manual_seed(0)
    made = encoder(modality_dropout=0.9, id_dropout=0.9)
    made.eval()
    assert torch.equal(made(items())[0], made(items())[0])
    made.train()
    assert not torch.equal(made(items())[0], made(items())[0])
    assert made(items())[1][:8].sum(1).detach().numpy() == pytest.approx(np.ones(8), abs=1e-5)


def test_dropout_is_in_training_alone() -> None:
    made = network(dropout=0.5)
    vectors = made.items(items())[0]
    asked = events([[0, 1, 2]])
    assert torch.equal(made.people(vectors, asked), made.people(vectors, asked))
    made.train()
    assert not torch.equal(made.people(vectors, asked), made.people(vectors, asked))


@pytest.mark.parametrize("columns", [4, 40])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_ids_begin_where_they_are_told(columns: int, fusion: Fusion) -> None:
    made = encoder(fusion=fusion)
    rows = torch.randn(6, columns)
    rows[2] = 0
    made.start_ids(rows)
    assert made.ids is not None
    known = made.ids.weight[:, :columns]
    expected = 4.0 * torch.nn.functional.normalize(rows[:, :WIDTH], dim=1)
    assert torch.allclose(known, expected)
    assert not made.ids.weight[2].any()
    if fusion != "concat":
        assert made.gate_bias.tolist() == [0.0, 0.0, 0.0, 2.0, *([0.0] if fusion == "graph" else [])]
    encoder(ids=False).start_ids(rows)


@pytest.mark.parametrize("fusion", get_args(Fusion))
def test_a_few_candidates_score_as_among_all(fusion: Fusion, monkeypatch: pytest.MonkeyPatch) -> None:
    made, asked = network(fusion=fusion), events([[4, 0, 1], [7, 2]])
    wanted = torch.tensor([[True, False, True], [True, True, False]])
    encoded = []
    encode = made.item_encoder.forward
    monkeypatch.setattr(made.item_encoder, "forward", lambda given: encoded.append(len(given)) or encode(given))
    whole = made(items(), asked, wanted)
    few = made(items(), asked, wanted, torch.tensor([1, 6, 7]))
    assert torch.allclose(few, whole[:, [1, 6, 7]], atol=1e-5)
    assert encoded == [N, N if fusion == "graph" else 6]  # 0, 1, 2, 4, 6, 7 are in the histories or asked for
