"""The untrained retriever as a system: the same scores as serving gives, from these events alone."""

import numpy as np
import pytest

from genrec.errors import DataError
from genrec.progress import SILENT
from genrec.retrieval.behaviour import behaviour_vectors
from genrec.retrieval.catalogue import Catalogue
from genrec.retrieval.item_vectors import ModalityVectors
from genrec.retrieval.user_encoders import MeanUserEncoder
from genrec.retrieval.zero_shot import ZeroShot
from genrec.settings.sections import RetrievalSettings
from genrec.types import Event
from tests.training import world


def test_it_scores_as_serving_does() -> None:
    train, content, settings = world.events(), world.content(), RetrievalSettings(history=4, half_life=3.0, trust=2.0)
    made = behaviour_vectors(train.users, train.items, train.timestamps, n_items=world.ITEMS, dim=512, half_life=32.0)
    vectors = ModalityVectors(
        content.vectors.item_ids,
        {**content.vectors.matrices, "behaviour": made.vectors},
        {**content.vectors.present, "behaviour": made.present},
    )
    catalogue = Catalogue(vectors, train.popularity(), settings)
    people = MeanUserEncoder(catalogue, settings)
    asked = world.histories([[0, 1, 2, 3, 4, 5], [11], [], [8, 21]])
    system = ZeroShot(settings)
    system.fit(train, content, SILENT)
    found = system.scores(asked)
    for row in range(4):
        history = [Event(user_id="u", item_id=f"i{item:02d}", timestamp=float(n)) for n, item in enumerate(asked.history(row))]
        (user,) = people.vectors([history])
        expected = train.popularity() if user is None else catalogue.fused @ user
        assert found[row] == pytest.approx(expected, abs=1e-5)


def test_settings_arrive_and_the_grid_holds_the_defaults() -> None:
    def scores(**changes: float) -> np.ndarray:
        system = ZeroShot(RetrievalSettings()).with_settings(changes, 0)
        assert changes.items() <= system.settings.items()
        system.fit(world.events(), world.content(), SILENT)
        return system.scores(world.histories([[0, 1, 12]]))

    plain = scores()
    assert not np.allclose(plain, scores(half_life=9.0))
    assert not np.allclose(plain, scores(trust=50.0))
    system = ZeroShot(RetrievalSettings())
    assert system.grid()[0] == dict(system.settings)
    with pytest.raises(DataError, match="before it was fitted"):
        system.scores(world.events())


def test_no_events_and_no_content() -> None:
    system = ZeroShot(RetrievalSettings())
    system.fit(world.histories([[]]), world.content(), SILENT)
    assert system.scores(world.histories([[0]]))[0, :10].mean() > system.scores(world.histories([[0]]))[0, 10:].mean()
    system.fit(world.events(), world.content(text=False), SILENT)
    assert system.scores(world.histories([[]]))[0].tolist() == world.events().popularity().tolist()
