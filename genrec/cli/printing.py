"""What the command line prints: tables and JSON on stdout, messages and bars on stderr. rich is imported when it is needed."""

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID
    from rich.text import Text

    from genrec.chat.messages import ChatAnswer
    from genrec.recommender import Recommender
    from genrec.types import Evidence, Recommendation, Trace
    from genrec.workspace.build import Built

PIPE_WIDTH = 150
GENERATED = " *"
"""Behind a title or a reason that has words which a model wrote."""
Cell = str | tuple[str, str]
"""A text, or a text and the name of its colour."""


def say(line: str) -> None:
    """A message, on stderr."""
    print(line, file=sys.stderr)


class Bars:
    """A `Progress` as bars on stderr; shows nothing where stderr is not a terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._task: TaskID | None = None

    def start(self, task: str, total: int | None) -> None:
        self._task = self._bars.add_task(task, total=total)

    def advance(self, n: int = 1) -> None:
        if self._task is not None:
            self._bars.advance(self._task, n)

    def finish(self) -> None:
        if self._task is not None:
            self._bars.remove_task(self._task)
            self._task = None

    def __enter__(self) -> "Bars":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()


def as_dict(row: "Recommendation") -> dict[str, Any]:
    """A Recommendation as plain JSON values."""
    return {
        "user_id": row.user_id,
        "rank": row.rank,
        "item_id": row.item.item_id,
        "title": row.item.title,
        "score": round(row.score, 6),
        "reason": dataclasses.asdict(row.reason),
        "sources": dict(row.sources),
        "item": {
            "platform": row.item.platform,
            "attributes": dict(row.item.attributes),
            "image": row.item.image,
            "generated": list(row.item.generated),
        },
        "trace": dataclasses.asdict(row.trace) | {"degraded": row.trace.degraded},
    }


def answer_as_dict(answer: "ChatAnswer") -> dict[str, Any]:
    """The answer to a turn of a dialogue as plain JSON values."""
    understood = answer.understood
    said = {name: [list(one.item_ids) for one in getattr(understood, name)] for name in ("mentions", "liked", "disliked", "seen")}
    return {
        "session_id": answer.session_id,
        "text": answer.text,
        "items": [as_dict(row) for row in answer.items],
        "understood": {"intent": understood.intent, "need": understood.need, **said},
        "filter": answer.filter,
        "question": answer.question,
        "relaxed": list(answer.relaxed),
        "without": list(answer.without),
        "trace": dataclasses.asdict(answer.trace) | {"degraded": answer.trace.degraded},
    }


def print_columns(header: Sequence[str], rows: Sequence[Sequence[Cell]], *, title: str = "", numbers: bool = False) -> None:
    """A plain table; nothing in it is cut. `numbers`: every column but the first has figures."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(header_style="bold", title=escape(title) or None, title_justify="left", title_style="")
    for place, column in enumerate(header):
        right = numbers and place > 0
        table.add_column(
            escape(column), overflow="fold", justify="right" if right else "left", style="bold" if numbers and not right else ""
        )
    for row in rows:
        table.add_row(*map(_text, row))
    _stdout().print(table)


def print_recommendations(rows: Sequence["Recommendation"], titles: Mapping[str, str]) -> None:
    """The list as a table, what was degraded as a message. `titles`: of the past items that the evidence cites, by id."""
    from rich.table import Table

    if not rows:
        say("nothing is left to recommend: every item is seen, excluded or filtered out")
        return
    table = Table(show_lines=True, header_style="bold")
    table.add_column("#", justify="right")
    table.add_column("title", style="bold", ratio=2)
    table.add_column("reason", ratio=4)
    table.add_column("evidence", ratio=3)
    for row in rows:
        nats = any(stage.name == "evidence by ranker" and stage.status == "ok" for stage in row.trace.stages)
        evidence = "\n".join(_evidence_text(one, titles, nats) for one in row.reason.evidence)
        title = (row.item.title or row.item.item_id) + (GENERATED if row.item.generated else "")
        reason = row.reason.text + (GENERATED if row.reason.generated else "")
        table.add_row(*map(_text, (str(row.rank), title, reason, evidence)))
    _stdout().print(table)
    if any(row.item.generated or row.reason.generated for row in rows):
        say(f"{GENERATED.strip()} with words that genrec wrote: `genrec caption`")
    trace = rows[0].trace
    timed = (f"{one.name} {f'{one.milliseconds:.0f} ms' if one.status == 'ok' else one.status.upper()}" for one in trace.stages)
    say(" · ".join(timed))
    say_degraded(trace)


def say_degraded(trace: "Trace") -> None:
    """A line for each stage that was left out."""
    for stage in trace.stages:
        if stage.status == "degraded":
            say(f"degraded: {stage.name}: {stage.note}")


def cited_titles(genrec: "Recommender", rows: Sequence["Recommendation"]) -> dict[str, str]:
    """Titles of the past items that the evidence cites, by id."""
    cited = {item_id for row in rows for evidence in row.reason.evidence for item_id in evidence.item_ids}
    return {item.item_id: item.title for item in genrec.workspace.store.items(sorted(cited)).values()}


def say_built(built: "Built") -> None:
    """What a build made."""
    vectors = ", ".join(f"{name} {dim}" for name, dim in built.vectors.items())
    say(f"{built.items} items indexed in {built.seconds:.1f} s; vectors: {vectors}")
    for name, count in built.encoded.items():
        say(f"{name}: {count} encoded anew")
    for name, why in built.missing.items():
        say(f"{name}: left out: {why}")


def print_value(value: Any) -> None:
    """A JSON value on one line, valid on every stream."""
    line = json.dumps(value, ensure_ascii=False)
    try:
        line.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:  # Python would write what the stream cannot hold as \xe9, which is no escape of JSON's
        line = json.dumps(value)
    print(line)


def _stdout() -> "Console":
    """As wide as the terminal, or wide enough for a table in a pipe."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=PIPE_WIDTH)


def _text(cell: Cell) -> "Text":
    from rich.text import Text

    return Text(cell) if isinstance(cell, str) else Text(*cell)


def _evidence_text(evidence: "Evidence", titles: Mapping[str, str], nats: bool) -> str:
    if evidence.kind == "history":
        weight = f"{evidence.weight:.2g} nats" if nats else f"{evidence.weight:.0%}"
        return f"{evidence.value} {titles.get(evidence.item_ids[0], evidence.item_ids[0])} ({weight})"
    if evidence.kind == "attribute":
        return f"{evidence.attribute}: {evidence.value}"
    return f"{evidence.kind}: {evidence.value}"
