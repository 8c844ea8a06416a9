"""The evaluation itself: check the split, choose each system's settings on its validation twin, fit, rank, measure, compare.

What `evaluate` can be told
seeds        a system with `seeded` True is fitted once for each, others once with the first; settings are chosen with the first
tune         try each system's grid on the validation twin; off: its settings as they come
tune_on      all: settings are chosen by all cases of the twin, as one model serves warm and cold items alike; focus: by the cases
             that the headline is about, which on a cold-item split may cost the warm ones dearly
ks           list lengths; 10 is always measured, because the main metric is NDCG@10
attribute    of calibration; None: chosen (`beyond.list_attribute`)
reference    the system that the others are compared with; None: the one with the highest main metric
resamples    of the bootstrap, whose own seed is 0
lengths      how histories are sliced by length: fixed, quarters
warm_twin    on a cold-item split, fit again with the cold items' events for the comparable warm figure
keep_people  keep the main figures of each person in the results
batch_bytes  of scores asked for at a time

A system that ranks its `retriever`'s best `candidates` again is shown with that retriever's recall, which it cannot exceed. A
`Reranked` one takes the settings, and where both are compared the very fit, of its base.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from genrec.errors import EvaluationError, GenrecError
from genrec.evaluation import beyond_accuracy as beyond
from genrec.evaluation import leaks
from genrec.evaluation.ranks import BATCH_BYTES
from genrec.evaluation.reranked import Reranked
from genrec.evaluation.results import CEILING_K, MAIN, Estimate, Results, Slice, SplitInfo, SystemResult, environment
from genrec.evaluation.significance import KEPT, RESAMPLES, Bootstrap, compare, estimates, over_seeds
from genrec.evaluation.slices import Lengths, Part, parts
from genrec.evaluation.splits import Split
from genrec.evaluation.tuning import MAIN_K, Fits
from genrec.metrics import KS, accuracy, check_ks
from genrec.progress import SILENT, Progress
from genrec.retrieval.systems import MEMBERS, Content, System

TuneOn = Literal["all", "focus"]
SEEDS = (0, 1, 2)
LONGEST = 1000
"""Of a list when the catalogue is smaller: lists just end earlier."""
PEOPLE_DIGITS = 6
Columns = dict[str, NDArray[np.float64]]


@dataclass(slots=True, kw_only=True)
class _Run:
    """One seed of one system: values of each case, figures of all lists, and what the system says of itself."""

    columns: Columns
    catalogue: dict[str, float]
    exposure: tuple[tuple[float, float], ...]
    system: System
    fit_seconds: float
    score_seconds: float


@dataclass(slots=True, kw_only=True)
class _Bench:
    """All that the systems of one evaluation share."""

    split: Split
    seeds: tuple[int, ...]
    ks: tuple[int, ...]
    fits: Fits
    warm: Split | None
    keep_people: bool
    background: beyond.Background
    parts: list[Part]
    bootstrap: Bootstrap
    people: dict[str, Columns] = field(default_factory=dict)
    """Of each finished system: the kept metrics of each case in focus, NaN elsewhere."""


def evaluate(
    systems: Sequence[System],
    split: Split,
    content: Content,
    *,
    seeds: Sequence[int] = SEEDS,
    tune: bool = True,
    tune_on: TuneOn = "all",
    ks: Sequence[int] = KS,
    progress: Progress = SILENT,
    attribute: str | None = None,
    reference: str | None = None,
    resamples: int = RESAMPLES,
    lengths: Lengths = "fixed",
    warm_twin: bool = True,
    keep_people: bool = True,
    batch_bytes: int = BATCH_BYTES,
) -> Results:
    """Every system on one split; the options are described at the top of this file.

    A system that raises a GenrecError (a package is missing, its data do not suffice) is recorded as missing with the error's
    message and hint, and the others go on. Raises EvaluationError when the split leaks, its catalogue is not that of `content`,
    two systems have one name, an option does not fit, or there is nothing to tune on.
    """
    _check(systems, split, content, seeds, reference)
    chosen = tuple(sorted({*ks, MAIN_K}))
    check_ks(chosen, max(LONGEST, len(split.candidates)))
    tuning = _clean(split, tune)
    _check_prompts(systems, split, content)
    fits = Fits(
        content=content,
        progress=progress,
        tuning=tuning,
        rows=tuning.focus if tuning is not None and tune_on == "focus" else None,
        batch_bytes=batch_bytes,
        shared=frozenset(id(system.base) for system in systems if isinstance(system, Reranked)),
    )
    bench = _Bench(
        split=split,
        seeds=tuple(seeds),
        ks=chosen,
        fits=fits,
        warm=split.warm if warm_twin else None,
        background=beyond.Background.of(split, content, attribute),
        parts=parts(split, content, lengths),
        bootstrap=Bootstrap(people=_people(split), resamples=resamples),
        keep_people=keep_people,
    )
    return _compared([_measured(system, bench) for system in systems], bench, reference)


def _compared(found: Sequence[SystemResult], bench: _Bench, reference: str | None) -> Results:
    named = _reference(found, reference)
    differences, pairs = compare(bench.people, bench.bootstrap, named)
    return Results(
        split=describe(bench.split),
        ks=bench.ks,
        reference=named,
        systems=tuple(found),
        differences=differences,
        pairs=pairs,
        environment=environment(bench.seeds),
        attribute=bench.background.attribute,
    )


def _people(split: Split) -> NDArray[np.integer]:
    """(U,) number of each row's person, who may have several rows."""
    return np.unique(np.array(split.histories.user_ids, dtype=object), return_inverse=True)[1]


def _clean(split: Split, tune: bool) -> Split | None:
    """The validation twin when there is tuning to do. Raises EvaluationError when anything leaks."""
    tuning = split.validation() if tune else None
    leaks.refuse(split, tuning)
    for twin in (tuning, split.warm):
        if twin is not None:
            leaks.refuse(twin)
    return tuning


def _check_prompts(systems: Sequence[System], split: Split, content: Content) -> None:
    """Raises EvaluationError when a prompt would tell the LLM more than the histories do."""
    for system in systems:
        for asked in (split, split.warm):
            if isinstance(system, Reranked) and asked is not None:
                leaks.refuse_profiles(asked, system.profiles(asked.histories, content.items), system.name)


def describe(split: Split) -> SplitInfo:
    """Counts of a split and its digest."""
    return SplitInfo(
        name=split.name,
        cases=int(split.focus.sum()),
        items=len(split.candidates),
        candidates=int(split.candidates.sum()),
        cold_items=int(split.cold.sum()),
        train_events=len(split.train),
        train_people=int((split.train.lengths > 0).sum()),
        targets=sum(len(target) for target, chosen in zip(split.targets, split.focus, strict=True) if chosen),
        cutoff=split.cutoff,
        digest=split.digest(),
        sample=split.sample,
    )


def _check(systems: Sequence[System], split: Split, content: Content, seeds: Sequence[int], reference: str | None) -> None:
    for system in systems:
        if lacking := [member for member in MEMBERS if not hasattr(system, member)]:
            hint = "See genrec.retrieval.systems.System; SystemDefaults has what most need not change."
            raise EvaluationError(f"{type(system).__name__} is no System: it lacks {', '.join(lacking)}", hint=hint)
    names = [system.name for system in systems]
    if len(set(names)) != len(names) or not names:
        raise EvaluationError(f"systems: {names or 'none'}; each needs a name of its own", hint="Give at least one system.")
    if reference is not None and reference not in names:
        raise EvaluationError(f"the reference {reference!r} is not among the systems", hint=f"They are: {', '.join(names)}.")
    if not seeds or len(set(seeds)) != len(seeds):
        raise EvaluationError(f"seeds {tuple(seeds)}: give at least one, each once", hint="For example 0, 1, 2.")
    catalogue = split.train.item_ids
    if tuple(item.item_id for item in content.items) != catalogue or content.vectors.item_ids != catalogue:
        raise EvaluationError(
            "the content has other items than the split, or in another order",
            hint="Make both from one list of item ids; run `genrec build` after an ingest.",
        )


def _measured(system: System, bench: _Bench) -> SystemResult:
    try:
        return _evaluated(system, bench)
    except GenrecError as error:
        return SystemResult(name=system.name, status="missing", note=str(error), hint=error.hint)


def _evaluated(system: System, bench: _Bench) -> SystemResult:
    seeds = bench.seeds if system.seeded else bench.seeds[:1]
    tuned = bench.fits.tuned(system, seeds[0])
    runs = [_run(system, tuned.settings, seed, bench) for seed in seeds]
    fitted = [run.system for run in runs]
    people, _ = _joined(runs, np.ones(len(bench.split.focus), bool))
    asked, spreads = _joined(runs, bench.split.focus)
    kept = {name: asked[name] for name in KEPT if name in asked}
    warm = _warm(system, tuned.settings, seeds, bench)
    stage = _second_stage(fitted, bench)
    bench.people[system.name] = kept
    return SystemResult(
        name=system.name,
        settings=dict(fitted[0].settings),
        seeds=seeds,
        trials=tuned.trials,
        metrics=estimates(asked, bench.bootstrap, spreads),
        catalogue=_mean_of([run.catalogue for run in runs]),
        coverage=tuple((float(k), _mean_of([run.catalogue for run in runs])[f"coverage@{k}"]) for k in bench.ks),
        exposure=runs[0].exposure,
        slices=_slices({name: people[name] for name in kept}, bench),
        warm=warm,
        gates=_gates(fitted),
        people={name: _rounded(values[bench.split.focus]) for name, values in kept.items()} if bench.keep_people else {},
        fit_seconds=float(np.mean([run.fit_seconds for run in runs])),
        score_seconds=float(np.mean([run.score_seconds for run in runs])),
        tune_seconds=tuned.seconds,
        **stage,
    )


def _run(system: System, settings: Mapping[str, Any], seed: int, bench: _Bench) -> _Run:
    split = bench.split
    made = bench.fits.fitted(system, settings, seed, split)
    started = time.perf_counter()
    ranking = bench.fits.ranked(made.system, split, max(bench.ks), f"{system.name}, seed {seed}")
    scored = time.perf_counter()
    top = ranking.top
    asked = top[split.focus]
    return _Run(
        columns=accuracy(top, split.targets, bench.ks)
        | {"auc": ranking.auc}
        | beyond.per_person(top, bench.ks, bench.background),
        catalogue=beyond.of_all(asked, bench.ks, bench.background),
        exposure=beyond.exposure_curve(asked[:, :MAIN_K], bench.background),
        system=made.system,
        fit_seconds=made.seconds,
        score_seconds=scored - started,
    )


def _second_stage(fitted: Sequence[System], bench: _Bench) -> dict[str, Any]:
    """What limits systems that only rank the `candidates` best of their fitted `retriever` again; nothing for others."""
    retrievers = [system.retriever for system in fitted if system.retriever is not None]
    if not retrievers:
        return {}
    split, candidates = bench.split, fitted[0].candidates
    lengths = tuple(sorted({CEILING_K, candidates}))
    recalls = []
    for retriever in retrievers:
        top = bench.fits.ranked(retriever, split, max(lengths), f"{retriever.name}, ceiling").top
        columns = accuracy(top[split.focus], [split.targets[row] for row in np.flatnonzero(split.focus)], lengths)
        recalls.append({name: float(values.mean()) for name, values in columns.items()})
    mean, flips = _mean_of(recalls), bench.fits.order_flips(fitted[0], split)
    return {
        "retriever": retrievers[0].name,
        "ceiling": mean[f"recall@{CEILING_K}"],
        "candidates": candidates,
        "handed_recall": mean[f"recall@{candidates}"],
        "flips": flips,
        "order_flip_rate": None if flips is None else flips.pairs,
    }


def _warm(system: System, settings: Mapping[str, Any], seeds: Sequence[int], bench: _Bench) -> dict[str, Estimate]:
    """Accuracy of the cases in focus when the cold items' events are put back."""
    twin = bench.warm
    if twin is None:
        return {}
    runs = []
    for seed in seeds:
        made = bench.fits.fitted(system, settings, seed, twin, "warm twin, ").system
        ranking = bench.fits.ranked(made, twin, max(bench.ks), f"{system.name}, warm twin, seed {seed}")
        runs.append(accuracy(ranking.top, twin.targets, bench.ks) | {"auc": ranking.auc})
    people, spreads = _over_seeds(runs, twin.focus)
    return estimates(people, bench.bootstrap, spreads)


def _joined(runs: Sequence[_Run], rows: NDArray[np.bool_]) -> tuple[Columns, dict[str, float | None]]:
    return _over_seeds([run.columns for run in runs], rows)


def _over_seeds(runs: Sequence[Columns], rows: NDArray[np.bool_]) -> tuple[Columns, dict[str, float | None]]:
    """Each metric's values (U,), mean over the seeds and NaN outside `rows`, and its spread over the seeds."""
    people, spreads = {}, {}
    for name in runs[0]:
        people[name], spreads[name] = over_seeds([np.where(rows, run[name], np.nan) for run in runs])
    return people, spreads


def _slices(people: Columns, bench: _Bench) -> tuple[Slice, ...]:
    columns = {
        f"{number} {name}": np.where(part.rows, values, np.nan)
        for number, part in enumerate(bench.parts)
        for name, values in people.items()
    }
    found = estimates(columns, bench.bootstrap, {})
    return tuple(
        Slice(
            by=part.by,
            value=part.value,
            n=int(part.rows.sum()),
            metrics={name: found[f"{number} {name}"] for name in people if f"{number} {name}" in found},
        )
        for number, part in enumerate(bench.parts)
    )


def _reference(found: Sequence[SystemResult], wanted: str | None) -> str:
    """The wanted one when it could run, else the best; empty when none could."""
    able = [result for result in found if result.status == "ok"]
    if wanted is not None and any(result.name == wanted for result in able):
        return wanted
    return max(able, key=lambda result: result.metrics[MAIN].mean).name if able else ""


def _mean_of(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([one[name] for one in figures])) for name in figures[0]}


def _gates(systems: Sequence[System]) -> dict[str, float] | None:
    """Mean over the seeds of what the systems say their gates weigh."""
    gates = [system.gates for system in systems if system.gates is not None]
    return _mean_of(gates) if gates else None


def _rounded(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(np.round(values, PEOPLE_DIGITS).tolist())
