"""One shop a test: a copy of the built one whose items lost their words."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from genrec.workspace.folder import Workspace
from tests.captions.world import Shop, blank


@pytest.fixture
def blanked(own_shop: Path) -> Path:
    with Workspace.open(own_shop) as workspace:
        blank(workspace)
    return own_shop


@pytest.fixture
def opened(blanked: Path) -> Iterator[Shop]:
    with Workspace.open(blanked) as workspace:
        yield Shop(workspace)
