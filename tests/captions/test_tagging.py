"""Tags are right as often as was wished, come from what is there, and are not given where nothing is known."""

from dataclasses import replace

import numpy as np
import pytest

from genrec.captions import tag_terms as vocabulary
from genrec.captions.tag_calibration import LogisticWeights, NoveltyDetector, calibrate, fit_logistic
from genrec.captions.tag_evidence import Labels, Modality, Probe, neighbours, votes
from genrec.captions.tagging import Tagger, _labels
from genrec.errors import DataError
from genrec.types import Item
from tests.captions import tag_world
from tests.captions.tag_world import World, judged


@pytest.fixture(scope="module")
def world() -> World:
    return tag_world.make()


def labels_of(world: World, group: str) -> tuple[Labels, range]:
    terms = vocabulary.catalogue_vocabulary(world.items, {})
    place = terms.groups()["attribute", group]
    return _labels(world.items, terms, "attribute", group, place), place


@pytest.mark.parametrize("precision", [0.8, 0.9, 0.97])
def test_the_wished_precision_is_reached(precision: float) -> None:
    hard = tag_world.make(image_noise=6.0, behaviour_noise=9.0, unknown=300, items=1000)
    reached, recall = judged(hard, hard.tagger(precision=precision).tags(range(300)))
    assert reached >= precision - 0.03
    assert recall > 0.2


def test_a_higher_precision_gives_fewer_tags() -> None:
    hard = tag_world.make(image_noise=6.0, behaviour_noise=9.0)
    counts = [sum(map(len, hard.tagger(precision=p).tags(range(200)))) for p in (0.7, 0.9, 0.98)]
    assert counts[0] > counts[1] > counts[2] > 0


def test_each_modality_says_what_it_knows(world: World) -> None:
    picture = world.tagger(modalities=("image",)).tags(range(200))
    behaviour = world.tagger(modalities=("behaviour",)).tags(range(200))
    both = world.tagger().tags(range(200))
    assert judged(world, picture, "colour")[1] > 0.7
    assert judged(world, picture, "genres")[1] < 0.05
    assert judged(world, behaviour, "colour")[1] < 0.05
    assert judged(world, behaviour, "genres")[1] > 0.3
    assert judged(world, both)[1] > max(judged(world, picture)[1], judged(world, behaviour)[1])
    assert all(judged(world, tags)[0] > 0.87 for tags in (picture, behaviour, both))


def test_sources_name_the_evidence(world: World) -> None:
    tags = [tag for own in world.tagger().tags(range(200)) for tag in own]
    first = {group: {tag.sources[0] for tag in tags if tag.group == group} for group in ("colour", "genres")}
    assert first["colour"] <= {"image:near", "image:terms"}
    assert first["genres"] == {"behaviour:near"}
    assert {source for tag in world.tagger(words=False).tags(range(50)) for t in tag for source in t.sources} == {
        "image:near",
        "behaviour:near",
    }


def test_items_that_lack_a_modality_are_told_by_the_other(world: World) -> None:
    rows = {name: matrix.copy() for name, matrix in world.rows.items()}
    rows["image"][:50] = 0.0
    rows["behaviour"][:25] = 0.0
    rows["behaviour"][50:100] = 0.0
    tags = replace(world, rows=rows).tagger().tags(range(200))
    assert not any(tags[:25])
    seen = {source for own in tags[25:50] for tag in own for source in tag.sources}
    assert seen == {"behaviour:near"}
    assert not {s for own in tags[50:100] for tag in own for s in tag.sources} - {"image:near", "image:terms"}
    assert judged(world, tags)[0] > 0.87


def test_one_value_of_a_single_valued_attribute_and_several_of_a_list(world: World) -> None:
    tags = world.tagger(precision=0.6).tags(range(200))
    assert max(sum(tag.group == "colour" for tag in own) for own in tags) == 1
    assert max(sum(tag.group == "genres" for tag in own) for own in tags) == 2


def test_what_an_item_tells_itself_is_no_tag(world: World) -> None:
    items = [replace(item, attributes={"colour": "red"}) if row < 100 else item for row, item in enumerate(world.items)]
    tags = replace(world, items=items).tagger().tags(range(200))
    assert not [tag for own in tags[:100] for tag in own if tag.group == "colour"]
    assert [tag for own in tags[100:] for tag in own if tag.group == "colour"]
    assert [tag for own in tags[:100] for tag in own if tag.group == "shape"]


def test_vectors_that_say_nothing_give_no_tags(world: World) -> None:
    rng = np.random.default_rng(1)
    noise = {name: tag_world.unit(rng.normal(size=matrix.shape)) for name, matrix in world.rows.items()}
    tags = replace(world, rows=noise).tagger(words=False).tags(range(200))
    assert sum(map(len, tags)) <= 4


def test_probabilities_are_shares_that_come_true() -> None:
    hard = tag_world.make(items=2400, unknown=1200, image_noise=6.0, behaviour_noise=9.0)
    tags = hard.tagger(precision=0.6).tags(range(1200))
    pairs = [(t.probability, t.text in truth[t.group]) for truth, own in zip(hard.truth, tags, strict=False) for t in own
             if t.kind == "attribute"]  # fmt: skip
    for low, high in ((0.5, 0.7), (0.7, 0.9), (0.9, 1.0)):
        inside = [(chance, right) for chance, right in pairs if low <= chance < high]
        assert len(inside) > 100
        assert abs(np.mean([chance for chance, _ in inside]) - np.mean([right for _, right in inside])) < 0.06


def test_a_general_term_is_given_only_where_it_stands_out(world: World) -> None:
    rows = {name: matrix.copy() for name, matrix in world.rows.items()}
    planted = world.encode(["zebra"])[0]
    rows["image"][:4] = tag_world.unit(rows["image"][:4] * 0.3 + planted)
    tags = replace(world, rows=rows).tagger().tags(range(200))
    general = [(row, tag.text) for row, own in enumerate(tags) for tag in own if tag.kind == "general"]
    assert [pair for pair in general if pair[0] < 4 and pair[1] == "zebra"] == [(row, "zebra") for row in range(4)]
    assert len([pair for pair in general if pair[0] >= 4]) <= 4


def test_what_a_picture_bears_out(world: World) -> None:
    tagger = world.tagger()
    true = np.mean([tagger.picture_supports(row, world.truth[row]["colour"][0]) for row in range(200)])
    false = np.mean([tagger.picture_supports(row, world.truth[row + 1]["colour"][0]) for row in range(200)
                     if world.truth[row]["colour"] != world.truth[row + 1]["colour"]])  # fmt: skip
    assert true > 0.5
    assert false < 0.05
    assert not world.tagger(words=False).picture_supports(0, world.truth[0]["colour"][0])


def test_text_vectors_take_no_part(world: World) -> None:
    hot = np.array([[truth["colour"][0] == colour for colour in tag_world.COLOURS] for truth in world.truth], np.float32)
    cheat = replace(world, rows={"text": hot})
    assert not any(cheat.tagger(modalities=("text",)).tags(range(200)))


def test_few_people_behind_an_item_count_less(world: World) -> None:
    def given(people: np.ndarray) -> int:
        terms = vocabulary.catalogue_vocabulary(world.items, {})
        rows, present = {"behaviour": world.rows["behaviour"]}, {"behaviour": world.present()["behaviour"]}
        return sum(map(len, Tagger.fit(world.items, rows, present, terms, encoders={}, people=people).tags(range(200))))

    many = np.full(len(world.items), 500)
    few = many.copy()
    few[:200] = 1
    assert given(few) < 0.7 * given(many)


def test_lengths_must_fit(world: World) -> None:
    with pytest.raises(DataError, match=r"vectors of \['image', 'behaviour'\] are not for 699 items"):
        replace(world, items=world.items[1:]).tagger()


def test_a_catalogue_without_labels_gives_no_attributes() -> None:
    world = tag_world.make(items=120, unknown=120)
    assert not [tag for own in world.tagger().tags(range(120)) for tag in own if tag.kind != "general"]
    assert world.tagger(words=False).tags([]) == []
    empty = Tagger.fit([Item(item_id="a")], {}, {}, vocabulary.catalogue_vocabulary([], {}), encoders={})
    assert empty.tags([0]) == [()]


def test_an_item_is_no_neighbour_of_its_own(world: World) -> None:
    rows = world.rows["image"]
    allowed = np.arange(100, 700)
    asked = np.array([5, 100, 650])
    [(block, near, cosines)] = list(neighbours(rows, asked, allowed, 10))
    assert block.tolist() == asked.tolist()
    for place, row in enumerate(asked):
        expected = sorted(((float(rows[row] @ rows[other]), other) for other in allowed if other != row), reverse=True)[:10]
        assert near[place].tolist() == [other for _, other in expected]
        np.testing.assert_allclose(cosines[place], [score for score, _ in expected], atol=1e-5)
    [(_, near, cosines)] = list(neighbours(rows, np.array([3, 9]), np.array([3, 4]), 10))
    assert near[0].tolist() == [4, -1]
    assert cosines[0, 1] == -1.0
    assert sorted(near[1].tolist()) == [3, 4]


def test_the_probe_leaves_out_the_item_it_is_asked_for() -> None:
    world = tag_world.make(items=80, unknown=20)
    labels, _ = labels_of(world, "colour")
    probe = Probe(Modality(name="image", rows=world.rows["image"], present=np.ones(80, bool)), labels)
    own = probe.scores(np.array([30]))
    changed = world.rows["image"].copy()
    x, y = changed[20:].astype(np.float64), labels.rows(np.arange(20, 80)).astype(np.float64)
    errors = []
    for ridge in (0.3, 3.0, 30.0):
        keep = np.arange(60) != 10
        mean, base = x.mean(axis=0), y.mean(axis=0)
        # one fixed centre, as the leverage has it: the intercept's share of it is 1/n
        design = np.column_stack([np.ones(60), x - mean])
        penalty = np.diag([0.0, *[ridge] * x.shape[1]])
        weights = np.linalg.solve(design[keep].T @ design[keep] + penalty, design[keep].T @ (y - base)[keep])
        errors.append(design[10] @ weights / np.sqrt(np.maximum(y.var(axis=0), 1e-6)))
    assert min(np.abs(own[0] - candidate).max() for candidate in errors) < 1e-4


def test_votes_are_a_lift_over_the_share_of_all() -> None:
    world = tag_world.make(items=80, unknown=20)
    labels, _ = labels_of(world, "colour")
    near = np.array([[21, 22, 23], [0, 1, 2]])
    lift = votes(near, np.ones((2, 3), np.float32), labels)
    named = labels.rows(near[0]).any(axis=0)
    assert (lift[0, named] > 0).all()
    assert (lift[0, ~named] <= 0).all()
    np.testing.assert_allclose(lift[1], 0.0, atol=1e-5)  # neighbours that tell nothing


def test_weights_never_turn_evidence_round() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(4000) < 0.3
    features = np.stack([truth + rng.normal(size=4000), -1.0 * truth + rng.normal(size=4000)], axis=1)
    weights = fit_logistic(features, truth, np.zeros(4000))
    assert weights.slope[0] > 0.5
    assert weights.slope[1] == 0.0


def test_weights_of_few_examples_stay_near_those_of_all() -> None:
    pooled = LogisticWeights(scale=np.ones(1), slope=np.array([2.0]), base=0.0)
    rng = np.random.default_rng(0)
    few, many = rng.normal(size=(10, 1)), rng.normal(size=(20_000, 1))
    slopes = [fit_logistic(x, rng.random(len(x)) < 0.5, np.zeros(len(x)), pooled).slope[0] for x in (few, many)]
    assert slopes[0] > 1.0 > 0.3 > slopes[1]


def test_no_threshold_where_nothing_reaches_the_precision() -> None:
    rng = np.random.default_rng(0)
    pooled = LogisticWeights(scale=np.ones(1), slope=np.array([1.0]), base=0.0)
    made = calibrate(
        rng.normal(size=(200, 3, 1)), rng.random((200, 3)) < 0.3, np.zeros(3), pooled=pooled, single=False, precision=0.9
    )
    assert made.threshold > 1


def test_a_value_that_nobody_knows_is_not_taken_for_another() -> None:
    """Items of a colour that the catalogue never names get none; those of known colours hardly lose theirs."""
    world = tag_world.make(items=1000, unknown=0)
    new = [truth["colour"] == ("mauve",) for truth in world.truth]
    hidden = [strange or row % 4 == 0 for row, strange in enumerate(new)]
    items = [
        replace(item, attributes={name: value for name, value in item.attributes.items() if name != "colour"}) if hide else item
        for item, hide in zip(world.items, hidden, strict=True)
    ]
    tagger = replace(world, items=items).tagger(modalities=("image",), words=False)

    def given(rows: list[int]) -> float:
        return float(np.mean([any(tag.group == "colour" for tag in own) for own in tagger.tags(rows)]))

    assert given([row for row, strange in enumerate(new) if strange]) < 0.1
    assert given([row for row, strange in enumerate(new) if hidden[row] and not strange]) > 0.9


def test_what_is_typical() -> None:
    rng = np.random.default_rng(0)
    value = rng.integers(3, size=600)
    looks = np.eye(3)[value] * 4 + rng.normal(size=(600, 3))
    fold = np.arange(600) % 5
    typical = NoveltyDetector.fit(looks, value, 4, fold)
    assert typical is not None
    again = np.eye(3)[value] * 4 + rng.normal(size=(600, 3))
    assert 0.96 < typical.is_typical(again, value).mean() < 0.995
    assert typical.is_typical(again, (value + 1) % 3).mean() < 0.05
    assert not typical.is_typical(again, np.full(600, 3)).any()  # nobody has that value
    assert NoveltyDetector.fit(looks[:8], value[:8], 4, fold[:8]) is None
