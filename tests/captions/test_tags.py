"""What the tagger knows reaches the evidence of captions."""

from pathlib import Path

import numpy as np
import pytest

from genrec.captions.caption_evidence import EvidenceCollector, ItemEvidence
from genrec.files import write_json
from genrec.retrieval.item_vectors import ModalityVectors
from genrec.settings import SETTINGS_FILE
from genrec.types import TAGS
from genrec.workspace.folder import Workspace
from genrec.workspace.load import POPULARITY
from tests.captions import tag_world


def looked_at(folder: Path, world: tag_world.World, precision: float, people: int) -> list[ItemEvidence]:
    """Evidence for the items that tell nothing of themselves, from behaviour alone."""
    with Workspace.create(folder) as workspace:
        (folder / SETTINGS_FILE).write_text(f"[caption]\nprecision = {precision}\n", encoding="utf-8")
        workspace.store.put_items(world.items)
        ids = sorted(item.item_id for item in world.items)
        order = [int(item_id[1:]) for item_id in ids]
        rows = world.rows["behaviour"][order]
        ones = np.ones(len(ids), bool)
        ModalityVectors(tuple(ids), {"behaviour": rows}, {"behaviour": ones}, {"behaviour": "-"}).save(workspace.vectors)
        write_json(workspace.vectors / POPULARITY, [people if row < world.unknown else 500 for row in order])
    with Workspace.open(folder) as workspace:
        return EvidenceCollector(workspace).collect([f"i{row}" for row in range(world.unknown)])


@pytest.fixture(scope="module")
def world() -> tag_world.World:
    return tag_world.make(behaviour_noise=12.0)


def test_tags_become_attributes_and_the_precision_is_heeded(world: tag_world.World, tmp_path: Path) -> None:
    loose = looked_at(tmp_path / "loose", world, 0.6, 500)
    strict = looked_at(tmp_path / "strict", world, 0.98, 500)
    assert sum(len(known.tags) for known in loose) > 1.2 * sum(len(known.tags) for known in strict) > 0
    for known in loose:
        told = dict(known.facts.attributes)
        assert {tag.group for tag in known.tags} == set(told)
        assert all(tag.text in told[tag.group] for tag in known.tags)
        assert known.tag_texts == tuple(tag.text for tag in known.tags)
        assert TAGS not in told


def test_few_people_behind_an_item_count_less(world: tag_world.World, tmp_path: Path) -> None:
    many, few = (looked_at(tmp_path / str(people), world, 0.9, people) for people in (500, 1))
    assert sum(len(known.tags) for known in few) < 0.8 * sum(len(known.tags) for known in many)


def test_where_a_tag_came_from_is_recorded(world: tag_world.World, tmp_path: Path) -> None:
    known = next(known for known in looked_at(tmp_path / "shop", world, 0.9, 500) if known.tags)
    [first, *_] = known.record["tags"]
    assert first["text"] == known.tags[0].text
    assert first["sources"] == ("behaviour:near",)
    assert 0.5 <= first["probability"] <= 1.0
