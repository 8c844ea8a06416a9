"""What the last build made, and files of version 0.1.0, which have no schema."""

import json
from pathlib import Path

from genrec.recommender import Recommender
from genrec.workspace.folder import Workspace
from genrec.workspace.manifest import BuildManifest


def test_a_build_says_what_it_made(built_shop: Path) -> None:
    with Workspace.open(built_shop) as workspace:
        made = BuildManifest.read(workspace)
        assert made.items == workspace.store.counts().items
    assert made.fusion == {"weights": {"text": 0.2, "image": 0.1, "behaviour": 1.0}, "trust": 5.0}
    assert json.loads((built_shop / "build.json").read_text())["schema"] == 1


def test_a_build_of_0_1_0_is_read(own_shop: Path) -> None:
    path = own_shop / "build.json"
    without = {name: value for name, value in json.loads(path.read_text()).items() if name != "schema"}
    path.write_text(json.dumps(without))
    with Recommender.open(own_shop) as genrec:
        assert genrec.recommend("u00", 1, rank="off", explain="off")
