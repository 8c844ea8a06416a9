"""An evaluation as files: one HTML page that opens without a network, and JSON.

The page is `report.html.j2` beside this file. It has no script, loads nothing, and forbids both by its content security policy;
names and values that come from tables or settings are cut, cleaned of control characters and escaped.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genrec.errors import WorkspaceError
from genrec.evaluation import plots, wording
from genrec.evaluation.results import Estimate, Results, SystemResult
from genrec.files import write_whole

_FOLDER = Path(__file__).parent
TRIALS = 30
"""Trials of a system on the page, best first; the JSON has all."""
VALUE_CHARS = 80


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure of a table. `best`: no other of its column is better; `low` and `high` are None where there is no interval."""

    mean: float
    low: float | None = None
    high: float | None = None
    best: bool = False


@dataclass(frozen=True, slots=True)
class Grid:
    """A table with a row a system; `rows[i]` = (name, a cell or None a column)."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell | None, ...]], ...]


def write_html(results: Results, path: Path) -> None:
    """Write the page; the folder is made. Raises WorkspaceError when the disk refuses, the old file is then still there."""
    _write(path, html(results))


def write_json(results: Results, path: Path) -> None:
    """Write the results as JSON; the folder is made. Raises WorkspaceError when the disk refuses."""
    _write(path, as_json(results) + "\n")


def as_json(results: Results) -> str:
    """The results as one line of ASCII JSON that `Results.from_json` reads."""
    return json.dumps(results.to_json(), allow_nan=False)


def html(results: Results) -> str:
    """The page as text."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "name": wording.name_of,
        "label": wording.label,
        "number": wording.number,
        "signed": wording.signed,
        "p": wording.p_value,
        "seconds": wording.seconds,
        "share": wording.share,
        "svg": Markup,  # only for what plots.py has drawn
        "setting": setting,
    }
    return environment.get_template("report.html.j2").render(_view(results))


def setting(value: Any) -> str:
    """A setting's value on one short line."""
    if isinstance(value, float):
        return f"{value:g}"
    return wording.name_of(value if isinstance(value, str) else json.dumps(value, default=str), VALUE_CHARS)


def _view(results: Results) -> dict[str, Any]:
    best = wording.ranked(results)
    heads = wording.headline(results)
    return {
        "r": results,
        "best": best,
        "missing": wording.missing(results),
        "summary": wording.summary(results),
        "looks": plots.looks(results),
        "heads": heads,
        "bars": [plots.metric_bars(results, metric) for metric in heads],
        "against": {metric: wording.against_reference(results, metric) for metric in _compared(results)},
        "matrix": wording.matrix(results),
        "accuracy": _grids(results, wording.ACCURACY),
        "beyond": _grids(results, wording.BEYOND),
        "auc": {system.name: system.metrics["auc"] for system in best if "auc" in system.metrics},
        "curves": [curve for curve in (plots.coverage_curve(results), plots.exposure_curve(results)) if curve],
        "slices": plots.slice_plots(results, results.main),
        "sliced": [system.name for system in plots.sliced(results)],
        "parts": _parts(results),
        "warm": [
            _warm(system, metric) for metric in heads for system in best if metric in system.warm and metric in system.metrics
        ],
        "gates": plots.gate_bars(results),
        "reranked": wording.second_stages(results),
        "sampled": wording.sampled(results),
        "trials": {system.name: _trials(system) for system in best if system.trials},
        "most_trials": TRIALS,
        "level": wording.LEVEL,
    }


def _compared(results: Results) -> list[str]:
    """Metrics that differences to the reference were computed on, the main one first."""
    metrics = dict.fromkeys(difference.metric for difference in results.differences)
    return sorted(metrics, key=lambda metric: metric != results.main)


def _grids(results: Results, families: Sequence[str]) -> list[tuple[Grid, bool]]:
    """A table a K with the metrics of `families` that were measured; True: the K of the main metric, which is shown open."""
    main_k = int(results.main.partition("@")[2] or 0)
    grids = []
    for k in sorted(results.ks, key=lambda k: (k != main_k, k)):
        columns = [f"{family}@{k}" for family in families]
        columns = [c for c in columns if any(c in s.metrics or c in s.catalogue for s in results.systems)]
        if columns:
            grids.append((_grid(f"K = {k}", wording.ranked(results), columns, mark=families is wording.ACCURACY), k == main_k))
    return grids


def _grid(title: str, systems: Sequence[SystemResult], columns: Sequence[str], *, mark: bool) -> Grid:
    """`mark`: more is better in every column, so the most is marked as best."""
    cells = {(system.name, column): _cell(system, column) for system in systems for column in columns}
    most = {column: max((cell.mean for (_, c), cell in cells.items() if c == column and cell), default=0.0) for column in columns}
    rows = []
    for system in systems:
        row = [cells[system.name, column] for column in columns]
        best = [
            Cell(cell.mean, cell.low, cell.high, best=mark and cell.mean == most[column] > 0) if cell else None
            for column, cell in zip(columns, row, strict=True)
        ]
        rows.append((system.name, tuple(best)))
    return Grid(title, tuple(columns), tuple(rows))


def _cell(system: SystemResult, column: str) -> Cell | None:
    if column in system.metrics:
        value = system.metrics[column]
        return Cell(value.mean, value.low, value.high)
    return Cell(system.catalogue[column]) if column in system.catalogue else None


def _parts(results: Results) -> dict[str, list[tuple[str, int, dict[str, Estimate]]]]:
    """`by` to (value, people, system name to its main metric) a part, in the order of the results."""
    table: dict[str, dict[str, tuple[int, dict[str, Estimate]]]] = {}
    for system in wording.ranked(results):
        for part in system.slices:
            row = table.setdefault(part.by, {}).setdefault(part.value, (part.n, {}))[1]
            if results.main in part.metrics:
                row[system.name] = part.metrics[results.main]
    return {by: [(value, n, row) for value, (n, row) in rows.items()] for by, rows in table.items()}


def _warm(system: SystemResult, metric: str) -> dict[str, Any]:
    """The figure on cold targets beside that of the same people and targets when their events were known."""
    cold, warm = system.metrics[metric], system.warm[metric]
    return {
        "name": system.name,
        "metric": metric,
        "cold": cold,
        "warm": warm,
        "share": cold.mean / warm.mean if warm.mean else None,
    }


def _trials(system: SystemResult) -> dict[str, Any]:
    """The settings that differ between the trials as columns, the best trials as rows with the share of the best score."""
    ordered = sorted(system.trials, key=lambda trial: -trial.score)
    keys = list(dict.fromkeys(key for trial in ordered for key in trial.settings))
    varied = [key for key in keys if len({_frozen(trial.settings, key) for trial in ordered}) > 1]
    top = ordered[0].score
    rows = [(trial, trial.score / top if top > 0 else 0.0) for trial in ordered[:TRIALS]]
    return {"columns": varied, "rows": rows, "count": len(ordered), "seconds": sum(trial.seconds for trial in ordered)}


def _frozen(settings: Mapping[str, Any], key: str) -> str:
    return json.dumps(settings.get(key), default=str)


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
    except OSError as error:
        hint = "Choose a folder that can be written to (--out), or free some space."
        raise WorkspaceError(f"{path}: {error.strerror or error}", hint=hint) from error
