"""`genrec eval --dialogues F` and `genrec train dialogues`: the table of what dialogues find, and what they teach."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genrec.errors import ConfigError

if TYPE_CHECKING:
    from genrec.evaluation.dialogue_recall import DialogueResults

DIALOGUE_REPORT = "eval-dialogues.json"


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
    from genrec.evaluation.dialogue_recall import KS, evaluate
    from genrec.files import write_json
    from genrec.workspace.folder import Workspace

    with Workspace.open(workspace) as opened:
        with Bars() as bars:
            results = evaluate(opened, path, sample=people, ks=ks or KS, progress=bars)
        folder = out or opened.folder / "reports"
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / DIALOGUE_REPORT, results.as_json())
    if as_json:
        print(json.dumps(results.as_json(), ensure_ascii=False))
    else:
        print_results(results)
    say(str(folder / DIALOGUE_REPORT))


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
    from genrec.training.train_dialogues import train_dialogues
    from genrec.workspace.folder import Workspace

    with Workspace.open(workspace) as opened, Bars() as bars:
        card = train_dialogues(opened, dialogues, seed=seed, progress=bars, tell=say)
    found = card["validation"]
    say(f"{card['dialogues']:,} dialogues, {card['moments']:,} moments; {found['metric']} of {found['moments']} held out: ")
    say(f"{found['learned']:.4f} against {found['untrained']:.4f} untrained")
    say("it serves" if card["serves"] else "it does not serve: it found no more than the untrained model")


if TYPE_CHECKING:
    from genrec.evaluation.simulated_users import Heard
    from genrec.recommender import Recommender

SIMULATED_REPORT = "eval-simulated.json"
CHAT, SEARCH = "chat", "text search"
SHOWN_DIALOGUES = 20
"""Dialogues kept in the report, word for word."""


class Chatting:
    """genrec's chat as somebody to talk to: every dialogue a session of its own, with nobody known."""

    def __init__(self, genrec: "Recommender", k: int) -> None:
        self._genrec, self._k = genrec, k
        self._session = ""

    def begin(self) -> None:
        self.end()

    def end(self) -> None:
        """Delete what was kept of the last dialogue."""
        if self._session:
            self._genrec.workspace.store.delete_session(self._session)
        self._session = ""

    def say(self, text: str) -> "Heard":
        from genrec.evaluation.simulated_users import Heard

        answer = self._genrec.chat(text, session_id=self._session, k=self._k)
        self._session = answer.session_id
        return Heard(answer.text, tuple(row.item.item_id for row in answer.items), answer.question)


def evaluate_simulated(
    workspace: Path, n: int, *, seed: int = 0, k: int | None = None, out: Path | None = None, as_json: bool = False
) -> None:
    """A table or JSON on stdout; figures and some dialogues as JSON in the reports folder."""
    from genrec.cli.printing import Bars, say
    from genrec.files import write_json
    from genrec.recommender import Recommender

    with Bars() as bars, Recommender.open(workspace, progress=bars) as genrec:
        found = talked(genrec, n, seed=seed, k=k, progress=bars)
        folder = out or genrec.workspace.folder / "reports"
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / SIMULATED_REPORT, found)
    if as_json:
        print(json.dumps({name: one for name, one in found.items() if name != "dialogues"}, ensure_ascii=False))
    else:
        print_simulated(found)
    say(str(folder / SIMULATED_REPORT))


def talked(genrec: "Recommender", n: int, *, seed: int, k: int | None, progress: Any, turns: int = 5) -> dict[str, Any]:
    """The same n people with the chat and with the search: settings, figures of both, and some dialogues."""
    from genrec.evaluation.simulated_users import Crowd, TextSearch, as_json, simulate

    shown = k or genrec.workspace.settings.chat.items
    chat = Chatting(genrec, shown)
    try:
        crowd = Crowd.of(genrec.workspace, seed)
        talks = {CHAT: chat, SEARCH: TextSearch(genrec.workspace, shown, progress)}
        told = simulate(crowd, talks, n, turns=turns, progress=progress)
    finally:
        chat.end()
    settings = genrec.workspace.settings
    how = {"ranking": settings.rank.mode, "reasons": settings.reasons.explain, "ask": settings.chat.ask}
    dialogues = [
        {
            "target": one.target,
            "title": crowd.items[one.target].title,
            "found": one.found,
            "turns": [
                {"said": t.said, "heard": t.heard.text, "question": t.heard.question, "items": list(t.heard.item_ids)}
                for t in one.turns
            ],
        }
        for one in sorted(told[CHAT], key=lambda one: one.found > 0)  # those that failed first
    ]
    return {
        "k": shown,
        "turns": turns,
        "seed": seed,
        **how,
        "figures": as_json(told, turns=turns),
        "dialogues": dialogues[:SHOWN_DIALOGUES],
    }


def print_simulated(found: Mapping[str, Any]) -> None:
    """One row for each whom they talked to."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"Found within {found['turns']} turns, {found['k']} items a turn", title_justify="left")
    for name in ("", "people", *(f"turn {n}" for n in range(1, found["turns"] + 1)), "95%", "turns", "ms a turn"):
        table.add_column(name, justify="right" if name else "left")
    for name, one in found["figures"].items():
        low, high = one["interval"]
        shares = [f"{share:.1%}" for share in one["success"]]
        times = f"{one['ms a turn, median']:.0f}"
        table.add_row(name, str(one["users"]), *shares, f"{low:.1%} to {high:.1%}", f"{one['turns']:.2f}", times)
    Console(width=160).print(table)
