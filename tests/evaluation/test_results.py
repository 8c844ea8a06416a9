"""Results go to JSON and back, and a file that is none is refused."""

import json
from typing import Any

import pytest

from genrec.errors import EvaluationError
from genrec.evaluation.harness import evaluate
from genrec.evaluation.results import Results
from genrec.evaluation.splits import cold_items
from tests.evaluation.events import Broken, Noise, Popular, content, random_sequences


@pytest.fixture(scope="module")
def results() -> Results:
    return evaluate([Popular(), Noise(), Broken()], cold_items(random_sequences(1), 0.3), content(30), resamples=200)


def test_to_json_and_back(results: Results) -> None:
    text = json.dumps(results.to_json(), allow_nan=False)
    again = Results.from_json(json.loads(text))
    assert again.to_json() == results.to_json()
    assert again.system("popular") == results.system("popular")
    assert json.loads(text)["systems"][1]["settings"] == {"reach": "inf"}
    with pytest.raises(EvaluationError, match="no system 'absent'") as caught:
        again.system("absent")
    assert "popular, noise, broken" in caught.value.hint


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("schema",), 99, "schema 99"),
        (("split",), {}, "split.name"),
        (("environment", "cores"), "many", "environment.cores"),
        (("invented",), 1, "invented"),
        (("systems",), [{"name": "a", "invented": 1}], "systems.0.invented"),
    ],
)
def test_what_is_no_result_is_refused(results: Results, path: tuple[str, ...], value: Any, message: str) -> None:
    plain = results.to_json()
    place = plain
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(EvaluationError, match=message) as caught:
        Results.from_json(plain)
    assert "genrec eval" in caught.value.hint
