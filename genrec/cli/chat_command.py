"""`genrec chat`: a dialogue at the terminal, or turns from a pipe."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from genrec.cli.options import JsonOption, WorkspaceOption
from genrec.cli.printing import Bars, answer_as_dict, print_value, say, say_degraded

if TYPE_CHECKING:
    from genrec.recommender import Recommender

PROMPT = "you> "
LEAVE = frozenset(("/quit", "/exit", "/q"))


def chat(
    workspace: WorkspaceOption,
    user: Annotated[str, typer.Option("-u", "--user", help="The person's id; empty: somebody unknown.")] = "",
    session: Annotated[str, typer.Option("--session", help="Go on with a stored dialogue.")] = "",
    message: Annotated[
        list[str] | None, typer.Option("-m", "--message", help="A turn; several times for several turns. Without: from stdin.")
    ] = None,
    k: Annotated[int | None, typer.Option("-k", help="How many items an answer has.")] = None,
    json: JsonOption = False,
) -> None:
    """Talk about what you are looking for: items are found, ranked and given with reasons; the dialogue is stored.

    At the terminal end with /quit or Ctrl-D. From a pipe every line is a turn.
    """
    from genrec.recommender import Recommender

    at_terminal = sys.stdin.isatty() and message is None
    with Bars() as bars:  # gone before anybody talks: they draw over what is printed
        genrec = Recommender.open(workspace, progress=bars)
        try:
            genrec.warm_up()
        except BaseException:
            genrec.close()
            raise
    with genrec:
        if at_terminal:
            say("Tell me what you are looking for. /quit ends.")
        for turn in message if message is not None else _typed_turns(at_terminal):
            session = _answer(genrec, turn, user, session, k, json)
    if session and not json:
        say(f"go on with: genrec chat -w {workspace}{f' -u {user}' if user else ''} --session {session}")


def _typed_turns(at_terminal: bool) -> Iterator[str]:
    """Lines of the terminal, or of the pipe, until they end."""
    while True:
        try:
            line = input(PROMPT) if at_terminal else sys.stdin.readline()
        except EOFError:
            return
        if (not at_terminal and not line) or line.strip() in LEAVE:
            return
        if line.strip():
            yield line.rstrip("\n")


def _answer(genrec: "Recommender", turn: str, user: str, session: str, k: int | None, json: bool) -> str:
    """Print the answer as it comes; returns the id of the dialogue."""
    for chunk in genrec.chat_stream(turn, user_id=user, session_id=session, k=k):
        if chunk.answer is not None:
            session = chunk.answer.session_id
            if json:
                print_value(answer_as_dict(chunk.answer))
            else:
                print("\n", flush=True)
                say_degraded(chunk.answer.trace)
        elif not json:
            print(chunk.text, end="", flush=True)
    return session
