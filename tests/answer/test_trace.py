"""How stages are timed, and which faults an answer goes on after."""

import pytest

from genrec.answer.trace import Stages
from genrec.errors import PromptError, StoreError, WeightsError


@pytest.mark.parametrize("error", [WeightsError("no weights", hint="Get some."), PromptError("no prompt", hint="Mend it.")])
def test_a_degrading_stage_is_left_and_recorded(error: Exception) -> None:
    stages, made = Stages(), []
    with stages.degrading("reading"):
        made.append("begun")
        raise error
    made.append("went on")
    assert made == ["begun", "went on"]
    assert [(one.name, one.status, one.note) for one in stages.stages] == [
        ("reading", "degraded", f"{type(error).__name__}: {error}")
    ]
    assert stages.trace().degraded


def test_other_faults_and_those_of_needed_stages_end_the_answer() -> None:
    stages = Stages()
    with pytest.raises(StoreError), stages.degrading("reading"):
        raise StoreError("gone", hint="Put it back.")
    with pytest.raises(WeightsError), stages.timed("people"):
        raise WeightsError("no weights", hint="Get some.")
    assert stages.stages == []
    with stages.timed("people"):
        pass
    stages.add("ranking", "off", "asked for")
    assert [(one.name, one.status, one.note) for one in stages.stages] == [("people", "ok", ""), ("ranking", "off", "asked for")]
    assert not stages.trace().degraded
