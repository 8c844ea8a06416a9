"""What an evaluation found, as plain records that go to JSON and back.

    Results
    ├── split         SplitInfo: what was asked
    ├── systems       SystemResult each: metrics, trials, slices, curves, seconds; or why it is missing
    ├── differences   every system against the reference, Holm-corrected per metric over the systems
    ├── pairs         every pair of systems on the main metric, Holm-corrected over all pairs
    └── environment   when, where and with what it was measured

Names of metrics are `<metric>@<K>` or `auc`: recall, precision, f1, hit, ndcg, mrr, map (`genrec.metrics`); arp,
novelty, diversity, calibration (`genrec.evaluation.beyond_accuracy`). Of the whole catalogue, not of a person: coverage, gini.
"""

import datetime
import math
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from genrec.errors import EvaluationError

SCHEMA = 1
MAIN = "ndcg@10"
"""The metric that settings are chosen by and pairs are compared on."""
CEILING_K = 50
"""Of the recall that is given as a retriever's ceiling."""

KNOWN_KEYS = with_config(ConfigDict(extra="forbid"))


@KNOWN_KEYS
@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Mean over `n` people with its 95% bootstrap interval; `sd_over_seeds` of the seeds' means, None with fewer than two."""

    mean: float
    low: float
    high: float
    n: int
    sd_over_seeds: float | None = None


@KNOWN_KEYS
@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One setting tried on the tuning split: `score` is the main metric there, of all cases or of those in focus."""

    settings: Mapping[str, Any]
    score: float
    seconds: float


@KNOWN_KEYS
@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """`system` minus `other`, paired by person: mean, 95% interval, two-sided p, and p after Holm's correction."""

    system: str
    other: str
    metric: str
    mean: float
    low: float
    high: float
    p: float
    p_holm: float


@KNOWN_KEYS
@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """The people of one part, e.g. `by` history length, `value` 6-20. Metrics of a part without people are empty."""

    by: str
    value: str
    n: int
    metrics: Mapping[str, Estimate]


@KNOWN_KEYS
@dataclass(frozen=True, slots=True, kw_only=True)
class OrderFlips:
    """What changes when the candidates of `people` are handed over in `shuffles` other orders each; means over the lists.

    pairs                       share of the pairs of candidates that change their order by the LLM's scores alone; ties do not
    first                       share of the lists in which the LLM's first is beaten
    served_pairs, served_first  the same of the list that is shown, in which the retriever has its say
    """

    people: int
    shuffles: int
    pairs: float
    first: float
    served_pairs: float
    served_first: float


@KNOWN_KEYS
@dataclass(frozen=True, slots=True, kw_only=True)
class SystemResult:
    """One system. `status` missing: it could not run; `note` and `hint` say why and what to do, the rest is empty.

    metrics          per-person metrics, averaged over the seeds per person first
    catalogue        figures of all lists together, mean over seeds: coverage@K, gini@K
    coverage         points (K, share of the candidates that are in anyone's top K)
    exposure         points (share of items, most popular first; cumulative share of the places in all top tens)
    gates            mean weight of each modality, where the system has a gate
    warm             of a cold-item split: the same people and targets, the system fitted with the events of those items
    people           main metrics of each person (order of the split), mean over seeds, rounded; so that pairs can be compared
    retriever        name of what finds the candidates of a system that only ranks them again; empty for others
    ceiling          recall@50 of that retriever
    candidates       how many of the retriever's best are ranked again
    handed_recall    recall of those: no list of the system up to that length can have more
    order_flip_rate  share of the pairs of candidates whose order by the LLM alone changes when they are handed over in another
                     order; `flips` has more of that
    """

    name: str
    status: Literal["ok", "missing"] = "ok"
    note: str = ""
    hint: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    trials: tuple[Trial, ...] = ()
    metrics: Mapping[str, Estimate] = field(default_factory=dict)
    catalogue: Mapping[str, float] = field(default_factory=dict)
    coverage: tuple[tuple[float, float], ...] = ()
    exposure: tuple[tuple[float, float], ...] = ()
    slices: tuple[Slice, ...] = ()
    warm: Mapping[str, Estimate] = field(default_factory=dict)
    gates: Mapping[str, float] | None = None
    people: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    retriever: str = ""
    ceiling: float | None = None
    candidates: int | None = None
    handed_recall: float | None = None
    order_flip_rate: float | None = None
    flips: OrderFlips | None = None
    fit_seconds: float = 0.0
    score_seconds: float = 0.0
    tune_seconds: float = 0.0


@KNOWN_KEYS
@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """`people` that were drawn from `of` with the seed."""

    people: int
    of: int
    seed: int


@KNOWN_KEYS
@dataclass(frozen=True, slots=True, kw_only=True)
class SplitInfo:
    """What was asked. `cases` are the people that the figures are about; `digest` is the same for the same split only.

    `sample`: how those that are asked were drawn, None when all are asked.
    """

    name: str
    cases: int
    items: int
    candidates: int
    cold_items: int
    train_events: int
    train_people: int
    targets: int
    cutoff: float | None
    digest: str
    sample: Sample | None = None


@KNOWN_KEYS
@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """When, where and with what. `versions` of the packages that were loaded; `date` is UTC, ISO 8601."""

    date: str
    genrec: str
    machine: str
    cores: int
    python: str
    seeds: tuple[int, ...]
    versions: Mapping[str, str]


@KNOWN_KEYS
@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """One evaluation. `reference` names the system that `differences` are against, empty when no system could run; `attribute` is
    the one of calibration, empty when there is none.
    """

    split: SplitInfo
    ks: tuple[int, ...]
    reference: str
    systems: tuple[SystemResult, ...]
    differences: tuple[Difference, ...]
    pairs: tuple[Difference, ...]
    environment: Environment
    attribute: str = ""
    main: str = MAIN
    schema: int = SCHEMA

    def system(self, name: str) -> SystemResult:
        """Raises EvaluationError when there is none of that name."""
        for found in self.systems:
            if found.name == name:
                return found
        names = ", ".join(found.name for found in self.systems)
        raise EvaluationError(f"the results have no system {name!r}", hint=f"They have: {names}.")

    def to_json(self) -> dict[str, Any]:
        """Plain values that `json.dumps(..., allow_nan=False)` takes; infinite settings become the texts inf and -inf."""
        return _finite(_adapter().dump_python(self))

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Results":
        """Raises EvaluationError when `value` is of another schema or misses something."""
        schema = value.get("schema")
        if schema != SCHEMA:
            raise EvaluationError(
                f"results of schema {schema!r}, this version reads {SCHEMA}", hint="Run `genrec eval` again with this version."
            )
        try:
            return _adapter().validate_python(dict(value))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise EvaluationError(f"results: {where}: {first['msg']}", hint="Run `genrec eval` again.") from error


@cache
def _adapter() -> TypeAdapter[Results]:
    return TypeAdapter(Results)


def _finite(value: Any) -> Any:
    """JSON has no infinity: settings such as an endless half-life become text."""
    if isinstance(value, Mapping):
        return {str(key): _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


PACKAGES = {  # module: distribution
    "numpy": "numpy",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "torch": "torch",
    "implicit": "implicit",
    "lightgbm": "lightgbm",
    "transformers": "transformers",
    "sentence_transformers": "sentence-transformers",
    "open_clip": "open_clip_torch",
}
CPU = Path("/proc/cpuinfo")


def environment(seeds: Sequence[int]) -> Environment:
    """Versions are of the packages that were loaded."""
    return Environment(
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        genrec=version("genrec"),
        machine=_processor(),
        cores=os.cpu_count() or 1,
        python=platform.python_version(),
        seeds=tuple(seeds),
        versions={name: found for module, name in PACKAGES.items() if module in sys.modules and (found := _version(name))},
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # a module on the path that no package installed
        return ""


def _processor() -> str:
    lines = CPU.read_text(encoding="utf-8").splitlines() if CPU.exists() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
