"""Figures in words and in order, the same on the terminal and on the page."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from genrec.evaluation.results import CEILING_K, Difference, Estimate, Results, SystemResult
from genrec.prompts import data

LEVEL = 0.05
"""A difference counts when its p after Holm's correction is below this."""

ACCURACY = ("ndcg", "recall", "precision", "f1", "hit", "mrr", "map")
BEYOND = ("coverage", "gini", "arp", "novelty", "diversity", "calibration")
NAME_CHARS = 60

_LABELS = {
    "ndcg": "NDCG",
    "recall": "Recall",
    "precision": "Precision",
    "f1": "F1",
    "hit": "Hit rate",
    "mrr": "MRR",
    "map": "MAP",
    "auc": "AUC",
    "coverage": "Coverage",
    "gini": "Gini",
    "arp": "Popularity",
    "novelty": "Novelty",
    "diversity": "Diversity",
    "calibration": "Calibration",
}

Direction = Literal["ahead", "behind", "open"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a difference says at `LEVEL`: `open` when it may be chance. `mark` is its sign on the page, `p` the corrected p."""

    direction: Direction
    mark: str
    mean: float
    low: float
    high: float
    p: float

    @classmethod
    def of(cls, difference: Difference, *, turned: bool = False) -> "Verdict":
        """`turned`: read the difference the other way round."""
        mean, low, high = difference.mean, difference.low, difference.high
        if turned:
            mean, low, high = -mean, -high, -low
        direction: Direction = "open"
        if difference.p_holm < LEVEL and mean:
            direction = "ahead" if mean > 0 else "behind"
        marks: dict[Direction, str] = {"ahead": "▲", "behind": "▼", "open": "≈"}
        return cls(direction, marks[direction], mean, low, high, difference.p_holm)


def name_of(text: object, limit: int = NAME_CHARS) -> str:
    """A name or value of whoever made the data as one harmless line."""
    return data(text, limit)


def label(metric: str) -> str:
    """`ndcg@10` → `NDCG@10`; a metric that is not known keeps its name."""
    family, at, k = metric.partition("@")
    return f"{_LABELS.get(family, name_of(family))}{at}{k}"


def number(value: float) -> str:
    """Four digits behind the point for shares, fewer where the value is large; a dash for what could not be measured."""
    if math.isnan(value):
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.2f}"
    return f"{value:.4f}"


def signed(value: float) -> str:
    return f"{'−' if value < 0 else '+'}{number(abs(value))}"


def p_value(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def seconds(value: float) -> str:
    """A length of time at the precision that matters."""
    if value >= 3600:
        return f"{int(value // 3600)} h {int(value % 3600 // 60):02d} min"
    if value >= 60:
        return f"{int(value // 60)} min {int(value % 60):02d} s"
    return f"{value:.1f} s" if value >= 1 else f"{1000 * value:.0f} ms"


def estimate(value: Estimate) -> str:
    return f"{number(value.mean)} [{number(value.low)}, {number(value.high)}]"


def ranked(results: Results) -> list[SystemResult]:
    """The systems that ran, best on the main metric first."""
    ran = [system for system in results.systems if system.status == "ok"]
    return sorted(ran, key=lambda system: -main_of(system, results.main))


def main_of(system: SystemResult, metric: str) -> float:
    return system.metrics[metric].mean if measured(system.metrics, metric) else -math.inf


def measured(metrics: Mapping[str, Estimate], metric: str) -> bool:
    """Whether there is a number: a mean over nobody is none."""
    return metric in metrics and not math.isnan(metrics[metric].mean)


def missing(results: Results) -> list[SystemResult]:
    return [system for system in results.systems if system.status == "missing"]


def headline(results: Results) -> list[str]:
    """The main metric, recall at its K and recall at the largest K, as far as they were measured."""
    _, _, k = results.main.partition("@")
    wanted = dict.fromkeys([results.main, f"recall@{k}", f"recall@{max(results.ks)}"])
    return [metric for metric in wanted if any(measured(system.metrics, metric) for system in results.systems)]


def against_reference(results: Results, metric: str) -> dict[str, Verdict]:
    """Each system but the reference to what its difference to the reference says."""
    found: dict[str, Verdict] = {}
    for difference in results.differences:
        if difference.metric != metric:
            continue
        if difference.other == results.reference:
            found[difference.system] = Verdict.of(difference)
        elif difference.system == results.reference:
            found[difference.other] = Verdict.of(difference, turned=True)
    return found


def matrix(results: Results) -> Mapping[tuple[str, str], Verdict]:
    """(row, column) to what `row` minus `column` says on the main metric, both ways round."""
    found: dict[tuple[str, str], Verdict] = {}
    for pair in results.pairs:
        if pair.metric == results.main:
            found[pair.system, pair.other] = Verdict.of(pair)
            found[pair.other, pair.system] = Verdict.of(pair, turned=True)
    return found


def summary(results: Results) -> list[str]:
    """What the evaluation found, in two or three sentences."""
    best = ranked(results)
    if not best:
        return ["No system could run."]
    top, main = best[0], label(results.main)
    lines = []
    if not any(main_of(system, results.main) > 0 for system in best):
        return [f"No system found anything: {main} is 0 for all.", *_absent(results)]
    lines.append(f"{name_of(top.name)} is highest with {main} {estimate(top.metrics[results.main])}.")
    rivals = [system for system in best if system.name != top.name]
    cells = matrix(results)
    beaten = [other for other in rivals if (cell := cells.get((top.name, other.name))) and cell.direction == "ahead"]
    if rivals and len(beaten) == len(rivals):
        others = f"of all {len(rivals)} others" if len(rivals) > 1 else f"of {name_of(rivals[0].name)}"
        lines.append(f"It is significantly ahead {others}.")
    elif rivals and cells:
        close = ", ".join(name_of(other.name) for other in rivals if other not in beaten)
        lines.append(f"Its lead over {close} may be chance.")
    return [*lines, *_absent(results)]


def share(value: float) -> str:
    """`7.3%`"""
    return f"{100 * value:.1f}%"


def second_stages(results: Results) -> list[SystemResult]:
    """The systems that only rank a retriever's best again, best first."""
    return [system for system in ranked(results) if system.ceiling is not None]


def sampled(results: Results) -> str:
    """`100 of 943 people, drawn at random (seed 0)`; empty when all were asked."""
    drawn = results.split.sample
    return "" if drawn is None else f"{drawn.people:,} of {drawn.of:,} people, drawn at random (seed {drawn.seed})"


def footnotes(results: Results) -> list[str]:
    """Beside every reranked figure what limits it: the retriever's recall, and how firm the ranker's order is."""
    lines = []
    for system in second_stages(results):
        limit = f"Recall@{CEILING_K} {number(system.ceiling or 0.0)}"
        if system.handed_recall is not None and system.candidates != CEILING_K:
            limit = f"Recall@{system.candidates} {number(system.handed_recall)} ({limit})"
        line = f"{name_of(system.name)} reorders the {system.candidates} best of {name_of(system.retriever)}: ceiling {limit}"
        lines.append(line)
        if flips := system.flips:
            lines.append(
                f"{name_of(system.name)}, candidates shuffled: of their pairs {share(flips.pairs)} change order by the LLM, "
                f"{share(flips.served_pairs)} in the list; of first places {share(flips.first)} and {share(flips.served_first)} "
                f"({flips.people} people, {flips.shuffles} shuffles each)"
            )
    return lines


def _absent(results: Results) -> list[str]:
    absent = [name_of(system.name) for system in missing(results)]
    return [f"Could not run: {', '.join(absent)}."] if absent else []
