"""`genrec eval --dialogues F` and `genrec train dialogues`: the table of what dialogues find, and what they teach."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genrec.errors import ConfigError

if TYPE_CHECKING:
    from genrec.evaluation.dialogues import DialogueResults

REPORT = "eval-dialogues.json"


def refuse_unused(asked: str, beside: str, **given: bool) -> None:
    """Raises ConfigError for options of splits that `asked` does not read; `beside`: those that it does."""
    named = [f"--{name.replace('_', '-')}" for name, is_given in given.items() if is_given]
    if named:
        raise ConfigError(f"{asked} does not go with {', '.join(named)}", hint=f"Beside it there are {beside}.")


def evaluate_dialogues(
    workspace: Path, path: Path, people: int | None, ks: Sequence[int], out: Path | None, as_json: bool
) -> None:
    """The results as a table or JSON on stdout, and as JSON in the reports folder. `ks`: empty for the usual ones."""
    from genrec.cli.printing import Bars, say
    from genrec.evaluation.dialogues import KS
    from genrec.evaluation.dialogues_workspace import evaluate
    from genrec.workspace import Workspace, write_json

    with Workspace.open(workspace) as opened:
        with Bars() as bars:
            results = evaluate(opened, path, sample=people, ks=ks or KS, progress=bars)
        folder = out or opened.folder / "reports"
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / REPORT, results.as_json())
    if as_json:
        print(json.dumps(results.as_json(), ensure_ascii=False))
    else:
        print_results(results)
    say(str(folder / REPORT))


def print_results(results: "DialogueResults") -> None:
    """One row a system, best first at the largest K."""
    import sys

    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from genrec.cli.printing import PIPE_WIDTH, say

    ks = sorted(next(iter(results.systems.values())).at) if results.systems else []
    title = f"{results.dialogues:,} dialogues, {results.cases:,} items recommended at {results.moments:,} moments"
    table = Table(header_style="bold", title=title, title_justify="left", title_style="")
    table.add_column("system", style="bold")
    for k in ks:
        table.add_column(f"recall@{k}", justify="right")
    for k in ks:
        table.add_column(f"with repeats@{k}", justify="right")
    for name, one in sorted(results.systems.items(), key=lambda entry: -entry[1].at[ks[-1]].mean):
        cells = [f"{found.mean:.3f} [{found.low:.3f}, {found.high:.3f}]" for found in (one.at[k] for k in ks)]
        table.add_row(name, *map(escape, cells), *(f"{one.repeats[k].mean:.3f}" for k in ks))
    console = Console() if sys.stdout.isatty() else Console(width=PIPE_WIDTH)
    console.print(table)
    for line in _lines(results):
        console.print(escape(line), highlight=False, soft_wrap=True)
    for note in results.notes:
        say(note)


def _lines(results: "DialogueResults") -> list[str]:
    lines = []
    if results.unresolved:
        lines.append(f"{results.unresolved:,} recommended titles are not in the catalogue and are not counted.")
    if results.repeated:
        lines.append(f"{results.repeated:,} more were named before: only `with repeats` counts them.")
    if (found := results.linking) is not None:
        plain = f"precision {found.precision:.3f}, recall {found.recall:.3f}, F1 {found.f1:.3f}"
        lines.append(f"Titles found in the text: {plain}; each once a dialogue F1 {found.distinct_f1:.3f}.")
    if (held := results.constraints) is not None:
        shares = f"{held['with filter']:.1%} of the items shown, {held['without filter']:.1%} without the filter"
        lines.append(f"Constraints of {held['moments']:.0f} moments hold for {shares}.")
    if results.effort:
        spent = f"{results.effort['median ms']:.0f} ms (p95 {results.effort['p95 ms']:.0f} ms)"
        lines.append(f"A turn takes {spent} and {results.effort['tokens']:.0f} tokens of the text encoder, none of the LLM.")
    return lines


def learn(
    workspace: Annotated[Path, typer.Option("-w", "--workspace", help="The workspace folder.")],
    dialogues: Annotated[list[Path], typer.Option(help="A file of dialogues (docs/dialogues.md); may be given again.")],
    seed: Annotated[int, typer.Option(min=0, help="Of all random numbers.")] = 0,
) -> None:
    """What dialogues teach of finding items: which are named together, and how much each sign counts."""
    from genrec.cli.printing import Bars, say
    from genrec.training.dialogues import train_dialogues
    from genrec.workspace import Workspace

    with Workspace.open(workspace) as opened, Bars() as bars:
        card = train_dialogues(opened, dialogues, seed=seed, progress=bars, tell=say)
    found = card["validation"]
    say(f"{card['dialogues']:,} dialogues, {card['moments']:,} moments; {found['metric']} of {found['moments']} held out: ")
    say(f"{found['learned']:.4f} against {found['untrained']:.4f} untrained")
    say("it serves" if card["serves"] else "it does not serve: it found no more than the untrained model")
