"""`genrec eval`: every system on splits of the workspace's own events, as a table, JSON and a page."""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genrec.cli.eval_chat_command import evaluate_dialogues, evaluate_simulated
from genrec.cli.options import JsonOption, WorkspaceOption, open_workspace
from genrec.cli.printing import Bars, Cell, print_columns, say
from genrec.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from genrec.evaluation.results import Results, SystemResult
    from genrec.evaluation.splits import Split
    from genrec.evaluation.wording import Verdict
    from genrec.llm.protocol import LLM
    from genrec.progress import Progress
    from genrec.retrieval.sequences import Sequences
    from genrec.retrieval.systems import System
    from genrec.settings import Settings
    from genrec.workspace.folder import Workspace

SEEDS = 3
LENGTHS = "1,5,10,20,50"


class SplitName(StrEnum):
    """An enumeration, because Typer takes no list of literals."""

    LEAVE_ONE_OUT = "leave-one-out"
    GLOBAL_TIME = "global-time"
    COLD_ITEMS = "cold-items"
    COLD_USERS = "cold-users"


def evaluate(
    workspace: WorkspaceOption,
    split: Annotated[list[SplitName] | None, typer.Option(help="Who is asked for what; may be given again.")] = None,
    systems: Annotated[
        str, typer.Option(help="Names with commas between; NAME+llm: with the LLM ranker behind; empty: all without it.")
    ] = "",
    reference: Annotated[str, typer.Option(help="The system that differences are against; empty: the best.")] = "",
    seeds: Annotated[int, typer.Option(min=1, help="How often a system that draws random numbers is fitted.")] = SEEDS,
    no_tune: Annotated[bool, typer.Option("--no-tune", help="Systems as they come, without choosing their settings.")] = False,
    people: Annotated[
        int | None, typer.Option(min=1, help="Ask only so many people, drawn at random; all are learned from.")
    ] = None,
    candidates: Annotated[
        int | None, typer.Option(min=1, help="How many the LLM ranker is handed, instead of retrieval.candidates.")
    ] = None,
    newcomers: Annotated[bool, typer.Option("--newcomers", help="With global-time: also people without earlier events.")] = False,
    k: Annotated[str, typer.Option("--k", help="Lengths of the lists.")] = LENGTHS,
    attribute: Annotated[str, typer.Option(help="The list attribute of calibration; empty: chosen by its values.")] = "",
    out: Annotated[Path | None, typer.Option(help="Where the files go; without it, `reports` in the workspace.")] = None,
    json: JsonOption = False,
    dialogues: Annotated[
        Path | None, typer.Option(help="A file of dialogues in which items were recommended: are they found? (docs/dialogues.md)")
    ] = None,
    simulate: Annotated[
        int | None, typer.Option(min=1, help="So many simulated people talk to the chat (docs/feedback.md).")
    ] = None,
) -> None:
    """Compare recommenders on this workspace's events: a table, and a page and JSON in the reports folder."""
    of_splits = {"--split": split, "--systems": systems, "--reference": reference, "--seeds": seeds != SEEDS}
    of_splits |= {"--no-tune": no_tune, "--candidates": candidates, "--newcomers": newcomers, "--attribute": attribute}
    if simulate is not None:
        _refuse_unused("--simulate", of_splits | {"--people": people, "--dialogues": dialogues}, "--k, --out and --json")
        evaluate_simulated(workspace, simulate, k=None if k == LENGTHS else one_length(k), out=out, json=json)
    elif dialogues is not None:
        _refuse_unused("--dialogues", of_splits, "--people, --k, --out and --json")
        evaluate_dialogues(workspace, dialogues, people, () if k == LENGTHS else lengths(k), out, json)
    else:
        how = {"tune": not no_tune, "seeds": range(seeds), "ks": lengths(k), "attribute": attribute or None}
        how["reference"] = reference or None
        _compare(workspace, split or [SplitName.LEAVE_ONE_OUT], names_of(systems), people, candidates, newcomers, out, json, how)


def _refuse_unused(asked: str, others: Mapping[str, object], beside: str) -> None:
    """Raises ConfigError for those of `others` that were given and that `asked` does not read; `beside`: those that it does."""
    if given := [name for name, value in others.items() if value]:
        raise ConfigError(f"{asked} does not go with {', '.join(given)}", hint=f"Beside it there are {beside}.")


def _compare(
    workspace: Path,
    names: Sequence[SplitName],
    systems: Sequence[str],
    people: int | None,
    candidates: int | None,
    newcomers: bool,
    out: Path | None,
    json: bool,
    how: dict[str, Any],
) -> None:
    """`how`: further options of `harness.evaluate`."""
    from genrec.evaluation import harness
    from genrec.evaluation.reranked import SUFFIX
    from genrec.workspace.load import load_content

    if candidates is not None and not any(name.endswith(SUFFIX) for name in systems):
        raise ConfigError("--candidates: no system here ranks with the LLM", hint=f"For example --systems zero-shot{SUFFIX}.")
    if newcomers and SplitName.GLOBAL_TIME not in names:
        raise ConfigError("--newcomers: only the split global-time knows them", hint="Add --split global-time.")
    with open_workspace(workspace) as opened, Engine(opened.llm) as engine:
        chosen = _systems(systems, opened.settings, _reranker(opened, engine, candidates))
        sequences, content = load_content(opened)
        splits = [_split(name, sequences, newcomers) for name in dict.fromkeys(names)]
        for asked in splits if people is None else [whole.sampled(people) for whole in splits]:
            with Bars() as bars:
                results = harness.evaluate(chosen, asked, content, progress=bars, **how)
            _publish(results, out or opened.folder / "reports", json)


def _publish(results: "Results", folder: Path, json: bool) -> None:
    """Write both files, then print."""
    from genrec.evaluation import report

    data, page = folder / f"eval-{results.split.name}.json", folder / f"eval-{results.split.name}.html"
    report.write_json(results, data)
    report.write_html(results, page)
    if json:
        print(report.as_json(results))
    else:
        print_results(results)
    say(f"{page}\n{data}")


class Engine:
    """The LLM of all systems that rank with it: loaded when the first asks; what cannot be loaded is not sought again."""

    def __init__(self, load: "Callable[[Progress], LLM]") -> None:
        self._load = load
        self._found: LLM | ModelError | None = None

    def __call__(self, progress: "Progress") -> "LLM":
        """Raises WeightsError or EngineError."""
        if self._found is None:
            progress.start("loading the LLM", None)
            try:
                self._found = self._load(progress)
            except ModelError as error:
                self._found = error
            finally:
                progress.finish()
        if isinstance(self._found, ModelError):
            raise self._found.with_traceback(None)
        return self._found

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *_: object) -> None:
        if self._found is not None and not isinstance(self._found, ModelError):
            self._found.close()


def _reranker(workspace: "Workspace", engine: Engine, candidates: int | None) -> "Callable[[System], System]":
    """What puts the workspace's ranker behind a system."""
    from genrec.evaluation.reranked import Reranked
    from genrec.workspace.adapters_in_use import served_ranking

    served = served_ranking(workspace)
    handed = candidates or workspace.settings.retrieval.candidates
    return lambda base: Reranked(
        base, engine, workspace.prompts, served.settings, handed, adapter=served.adapter, spread=served.spread_of(base.name)
    )


def names_of(text: str) -> list[str]:
    """`a, b` → [a, b], each once."""
    return list(dict.fromkeys(name for part in text.split(",") if (name := part.strip())))


def lengths(text: str) -> tuple[int, ...]:
    """`1,5,10` as numbers. Raises ConfigError."""
    try:
        ks = tuple(int(part) for part in names_of(text))
    except ValueError as error:
        raise ConfigError(f"--k {text!r}: not whole numbers", hint="For example --k 1,5,10,20,50.") from error
    if not ks or min(ks) < 1:
        raise ConfigError(f"--k {text!r}: needs numbers of at least 1", hint="For example --k 1,5,10,20,50.")
    return ks


def one_length(text: str) -> int:
    """Raises ConfigError."""
    ks = lengths(text)
    if len(ks) != 1:
        raise ConfigError(f"--k {text!r}: simulated people are shown lists of one length", hint="For example --k 3.")
    return ks[0]


def _systems(names: Sequence[str], settings: "Settings", rerank: "Callable[[System], System]") -> "list[System]":
    """The systems of these names in this order, for no names all that need no LLM; `x` and `x+llm` stand on one and the same x.

    Raises ConfigError for one that is not there.
    """
    from genrec.baselines import NAMES, baselines
    from genrec.evaluation.reranked import SUFFIX
    from genrec.retrieval.zero_shot import ZeroShot
    from genrec.training.learned_system import Learned
    from genrec.training.retriever_training import Trainer
    from genrec.training.train_retriever import device_of

    trainer = Trainer(retrieval=settings.retrieval, settings=settings.retrieval.train, device=device_of(settings.models.device))
    known: dict[str, System] = {"zero-shot": ZeroShot(settings.retrieval), "learned": Learned(trainer)}
    every, wanted = [*NAMES, *known], names or [*NAMES, *known]
    for name in wanted:
        base = name.removesuffix(SUFFIX)
        if base not in every:
            hint = f"There are {', '.join(every)}, and each with {SUFFIX} behind it."
            raise ConfigError(f"--systems: there is no {name!r}", hint=hint)
        if base not in known:
            known[base] = baselines([base])[0]
    return [rerank(known[name.removesuffix(SUFFIX)]) if name.endswith(SUFFIX) else known[name] for name in wanted]


def _split(name: SplitName, sequences: "Sequences", newcomers: bool) -> "Split":
    """Raises EvaluationError when the events do not suffice."""
    from genrec.evaluation import splits

    makers: dict[SplitName, Callable[[Sequences], Split]] = {
        SplitName.LEAVE_ONE_OUT: splits.leave_one_out,
        SplitName.GLOBAL_TIME: lambda events: splits.global_time(events, newcomers=newcomers),
        SplitName.COLD_ITEMS: splits.cold_items,
        SplitName.COLD_USERS: splits.cold_users,
    }
    return makers[name](sequences)


def print_results(results: "Results") -> None:
    """The table of one split on stdout, best system first; what could not run is in it, and why on stderr."""
    from genrec.evaluation import wording

    metrics, (family, _, k) = wording.headline(results), results.main.partition("@")
    against = f"{wording.label(f'{family}@{k}')} against {results.reference}"
    header = ["system", *map(wording.label, metrics), *map(wording.name_of, (f"coverage@{k}", against, "fit", "scoring"))]
    verdicts = wording.against_reference(results, results.main)
    rows: list[Sequence[Cell]] = []
    for system in wording.ranked(results):
        times = (wording.seconds(system.fit_seconds), wording.seconds(system.score_seconds))
        figures = _figures(system, metrics, f"coverage@{k}")
        rows.append((wording.name_of(system.name), *figures, _verdict(verdicts.get(system.name)), *times))
    for system in wording.missing(results):
        rows.append((wording.name_of(system.name), *["–"] * len(metrics), "–", ("could not run", "yellow"), "–", "–"))
    print_columns(header, rows, title=_heading(results), numbers=True)
    for line in wording.footnotes(results):
        print(line)
    for system in wording.missing(results):
        say(f"{wording.name_of(system.name)} could not run: {system.note} {system.hint}".rstrip())


def _heading(results: "Results") -> str:
    """What was asked, in one line."""
    from genrec.evaluation.wording import sampled

    split, drawn = results.split, sampled(results)
    asked = f"{split.cases:,} histories asked, {split.candidates:,} items ranked"
    return f"{split.name}: {asked}, {split.train_events:,} events in training" + (f"; {drawn}" if drawn else "")


def _figures(system: "SystemResult", metrics: Sequence[str], coverage: str) -> list[str]:
    """The main metric with its interval, the others without."""
    from genrec.evaluation import wording

    cells = []
    for place, metric in enumerate(metrics):
        value = system.metrics.get(metric)
        cells.append("–" if value is None else wording.number(value.mean) if place else wording.estimate(value))
    covered = system.catalogue.get(coverage)
    return [*cells, "–" if covered is None else wording.number(covered)]


def _verdict(verdict: "Verdict | None") -> Cell:
    """`▼ −0.0123 (p < 0.001)`; nothing for the reference itself."""
    from genrec.evaluation import wording

    if verdict is None:
        return ""
    colour = {"ahead": "green", "behind": "red", "open": "dim"}[verdict.direction]
    return f"{verdict.mark} {wording.signed(verdict.mean)} ({wording.p_value(verdict.p)})", colour
