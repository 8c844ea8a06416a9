"""The commands. Everything that a command needs is imported inside it, so that `genrec --help` is quick."""

import io
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TextIO

import typer

from genrec.cli.adapters_command import app as adapters_app
from genrec.cli.caption_command import caption
from genrec.cli.chat_command import chat
from genrec.cli.eval_command import evaluate
from genrec.cli.feedback_command import feedback
from genrec.cli.llm_command import app as serving_app
from genrec.cli.train_command import app as training_app
from genrec.data.columns import parse_map
from genrec.errors import ConfigError, GenrecError, RenamedWarning

app = typer.Typer(
    name="genrec",
    help="Recommends items with reasons: embeddings find candidates, an LLM ranks them, reasons are checked against the data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

WorkspaceOption = Annotated[Path, typer.Option("-w", "--workspace", help="The workspace folder.")]
MapOption = Annotated[
    list[str] | None,
    typer.Option("--map", help="field=column: title=Name, text=plot,notes, genres[|]=Genre. For one table: items:title=Name"),
]


def run() -> None:
    """Run the command line; errors that genrec raises on purpose end with their message, hint and exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that is not UTF-8 still shows the rest of a title
    warnings.showwarning = _show_warning
    try:
        app()
    except GenrecError as error:
        print(f"error: {error}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output went away: nobody is left to tell
        sys.exit(0)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """A renamed setting is a note to the person who wrote it, without a place in genrec's code."""
    note = f"note: {message}\n" if issubclass(category, RenamedWarning) else None
    (file or sys.stderr).write(note or warnings.formatwarning(message, category, filename, lineno, line))


@app.command()
def init(folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to make.")]) -> None:
    """Make a workspace: one folder with settings, store, vectors and index."""
    from genrec.cli.printing import say
    from genrec.workspace.folder import Workspace

    with Workspace.create(folder) as workspace:
        say(f"workspace {workspace.folder}")


@app.command()
def ingest(
    workspace: WorkspaceOption,
    items: Annotated[list[Path] | None, typer.Option(help="A table of items: Parquet, CSV, JSON lines, each also .gz.")] = None,
    events: Annotated[list[Path] | None, typer.Option(help="A table of events.")] = None,
    users: Annotated[list[Path] | None, typer.Option(help="A table of users.")] = None,
    triples: Annotated[list[Path] | None, typer.Option(help="A knowledge graph: a table of head, relation, tail.")] = None,
    map: MapOption = None,
    media_root: Annotated[list[Path] | None, typer.Option(help="A further folder that pictures may lie in.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first fault instead of leaving the row out.")] = False,
) -> None:
    """Read tables into the workspace. Rows with faults are left out and reported; reading a table again updates."""
    from genrec.workspace.build import ingest as read

    pass  # MERGED
    from genrec.cli.printing import Bars, say
    from genrec.data.ingest_report import Report
    from genrec.errors import ConfigError
    from genrec.workspace.folder import Workspace

    if not (items or events or users or triples):
        raise ConfigError("there is nothing to read", hint="Give --items, --events, --users or --triples.")
    given = {"items": items, "events": events, "users": users, "triples": triples}
    mapping = parse_maps(map or [], {kind: bool(tables) for kind, tables in given.items()})
    report = Report(strict=strict)
    with Workspace.open(workspace) as opened:
        try:
            with Bars() as bars:
                read(
                    opened,
                    items=items or (),
                    events=events or (),
                    users=users or (),
                    triples=triples or (),
                    mapping=mapping,
                    media_roots=media_root or (),
                    report=report,
                    progress=bars,
                )
        finally:  # also when a later table cannot be read: what was read before it is in the store
            for line in report.summary():
                say(line)
        counts = opened.store.counts()
    graph = f", {counts.triples} triples" if counts.triples else ""
    say(f"the store holds {counts.items} items, {counts.users} people, {counts.events} events{graph}")


@app.command()
def build(workspace: WorkspaceOption) -> None:
    """Encode what is new or changed and fill the index."""
    from genrec.cli.printing import Bars, say, say_built
    from genrec.workspace.build import build as make
    from genrec.workspace.folder import Workspace

    with Workspace.open(workspace) as opened, Bars() as bars:
        built = make(opened, bars)
    say_built(built, say)


app.command("caption")(caption)
app.command("chat")(chat)
app.command("eval")(evaluate)
app.command("feedback")(feedback)
app.add_typer(training_app, name="train")
app.add_typer(adapters_app, name="adapters")
app.add_typer(serving_app, name="llm")


@app.command()
def recommend(
    workspace: WorkspaceOption,
    user: Annotated[str, typer.Option("-u", "--user", help="The person's id.")],
    k: Annotated[int, typer.Option("-k", help="How many items.")] = 10,
    query: Annotated[str, typer.Option(help="Words of the moment.")] = "",
    filter: Annotated[str, typer.Option(help="""For example 'year >= 1990 and genres has "Comedy"'.""")] = "",
    exclude: Annotated[list[str] | None, typer.Option(help="An item id that may not come back.")] = None,
    rank: Annotated[Literal["llm", "off"] | None, typer.Option(help="Who ranks.")] = None,
    explain: Annotated[Literal["llm", "template", "off"] | None, typer.Option(help="Who writes the reasons.")] = None,
    evidence: Annotated[Literal["retriever", "ranker"] | None, typer.Option(help="Whose score the evidence explains.")] = None,
    method: Annotated[Literal["likelihood", "labels", "markers"] | None, typer.Option(help="How the LLM scores.")] = None,
    explore: Annotated[float | None, typer.Option(help="How boldly little-known items are tried; 0: not at all.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the draws of --explore.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One Recommendation a line.")] = False,
) -> None:
    """The best unseen items for a person, each with a reason and its evidence."""
    from genrec.cli.printing import Bars, cited_titles, print_json, print_table
    from genrec.recommender import Recommender

    options: dict[str, Any] = {"query": query, "filter": filter, "exclude": exclude or ()}
    options |= {"rank": rank, "explain": explain, "evidence": evidence, "method": method, "explore": explore, "seed": seed}
    with Bars() as bars, Recommender.open(workspace, progress=bars) as genrec:
        rows = genrec.recommend(user, k, **options)
        titles = {} if json else cited_titles(genrec, rows)
    if json:
        print_json(rows)
    else:
        print_table(rows, titles)


@app.command()
def forget(workspace: WorkspaceOption, user: Annotated[str, typer.Option("-u", "--user", help="The person's id.")]) -> None:
    """Delete all traces of a person from the store."""
    from genrec.cli.printing import say
    from genrec.workspace.folder import Workspace

    with Workspace.open(workspace) as opened:
        if not opened.store.sessions_of(user):
            opened.store.user(user)
        gone, trained = opened.store.forget(user), opened.retriever.exists()
        tuned = opened.adapters.is_dir() and any(path.is_dir() for path in opened.adapters.iterdir())
    dialogues = f", {gone.sessions} dialogues" if gone.sessions else ""
    say(f"deleted {gone.events} events{dialogues}{' and the profile' if gone.profile else ''} of {user!r}")
    say("the vectors of items keep what they learned from these events until the next `genrec build`")
    if trained:
        say("the trained retriever keeps it until the next `genrec train retriever`")
    if tuned:
        say("adapters keep it until they are trained anew and the old folders below adapters/ are deleted")


@app.command()
def doctor(
    workspace: Annotated[Path | None, typer.Option("-w", "--workspace", help="A workspace whose settings to look at.")] = None,
) -> None:
    """What is installed, which weights are found where, what is missing and what to do about it."""
    from genrec.cli.printing import print_findings
    from genrec.settings import load_settings
    from genrec.workspace.doctor import examine

    findings = examine(load_settings(workspace), workspace=workspace)
    print_findings(findings)
    if any(finding.status == "missing" for finding in findings):
        raise typer.Exit(1)


@app.command()
def demo(
    dir: Annotated[Path, typer.Option("--dir", help="Where the demo's workspace is, or will be.")] = Path("genrec-demo"),
    user: Annotated[str, typer.Option("-u", "--user", help="The person's id.")] = "350",
) -> None:
    """MovieLens-100K from nothing to an explained top-10; the workspace stays for the other commands."""
    from genrec.cli.demo_command import run_demo

    run_demo(dir, user)


TABLES = ("items", "events", "users", "triples")


def parse_maps(pairs: Sequence[str], given: Mapping[str, bool]) -> dict[str, dict[str, str]]:
    """Pairs by table: `items:title=Name` for one table, `title=Name` for every given table that knows the field.

    Raises ConfigError for a pair that names a table which is not read.
    """
    per_table: dict[str, list[str]] = {table: [] for table in TABLES if given[table]}
    for pair in pairs:
        table, colon, rest = pair.partition(":")
        if colon and table in TABLES:
            if table not in per_table:
                raise ConfigError(f"--map {pair}: no table of {table} is read", hint=f"Give --{table}, or drop the pair.")
            per_table[table].append(rest)
        elif len(per_table) == 1:
            next(iter(per_table.values())).append(pair)
        else:
            chosen = _tables_of(pair, per_table)
            for one in chosen:
                per_table[one].append(pair)
    return {table: parse_map(found) for table, found in per_table.items() if found}


def _tables_of(pair: str, per_table: Mapping[str, object]) -> list[str]:
    """The tables that know the pair's field: events have no title, items no timestamp. Only items have fields of any name."""
    name = pair.partition("=")[0].partition("[")[0].strip()
    events = {"user_id", "item_id", "timestamp", "position", "rating", "value", "kind", "platform"}
    users = {"user_id", "interests"}
    triples = {"head", "relation", "tail"} if "triples" in per_table else set()
    known = {
        "events": name in events,
        "users": name in users,
        "triples": name in triples,
        "items": name not in (events | users | triples) - {"item_id", "platform"},
    }
    chosen = [table for table in per_table if known[table]]
    if not chosen:
        raise ConfigError(f"--map {pair}: no table that is read has a field {name!r}", hint="Name the table: items:field=column.")
    return chosen
