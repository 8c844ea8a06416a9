"""The commands. What is heavy is imported inside them, so that `genrec --help` is quick."""

import io
import sys
import warnings
from pathlib import Path
from typing import Annotated, TextIO

import typer

from genrec.cli.adapters_command import app as adapters
from genrec.cli.caption_command import caption
from genrec.cli.chat_command import chat
from genrec.cli.eval_command import evaluate
from genrec.cli.feedback_command import feedback
from genrec.cli.ingest_command import ingest
from genrec.cli.llm_command import app as llm
from genrec.cli.options import UserOption, WorkspaceOption, open_workspace
from genrec.cli.printing import Bars, print_columns, say, say_built
from genrec.cli.recommend_command import demo, recommend
from genrec.cli.train_command import app as train
from genrec.errors import GenrecError, RenamedWarning

app = typer.Typer(
    name="genrec",
    help="Recommends items with reasons: embeddings find candidates, an LLM ranks them, reasons are checked against the data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


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
    from genrec.workspace.folder import Workspace

    with Workspace.create(folder) as workspace:
        say(f"workspace {workspace.folder}")


app.command()(ingest)


@app.command()
def build(workspace: WorkspaceOption) -> None:
    """Encode what is new or changed and fill the index."""
    from genrec.workspace.build import build as make

    with open_workspace(workspace) as opened, Bars() as bars:
        built = make(opened, bars)
    say_built(built)


app.command()(caption)
app.command()(chat)
app.command("eval")(evaluate)
app.command()(feedback)
app.add_typer(train, name="train")
app.add_typer(adapters, name="adapters")
app.add_typer(llm, name="llm")
app.command()(recommend)


@app.command()
def forget(workspace: WorkspaceOption, user: UserOption) -> None:
    """Delete all traces of a person from the store."""
    with open_workspace(workspace) as opened:
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
    from genrec.settings import load_settings
    from genrec.workspace.doctor import examine

    findings = examine(load_settings(workspace), workspace=workspace)
    colours = {"ok": "green", "warning": "yellow", "missing": "red"}
    rows = [(one.name, (one.status, colours[one.status]), one.detail, one.hint) for one in findings]
    print_columns(("what", "status", "detail", "what to do"), rows)
    if any(one.status == "missing" for one in findings):
        raise typer.Exit(1)


app.command()(demo)
