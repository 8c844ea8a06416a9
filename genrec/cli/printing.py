"""What the command line prints: tables and JSON on stdout, messages and bars on stderr."""

import dataclasses
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress
from rich.table import Table

from genrec.chat.messages import ChatAnswer
from genrec.types import Evidence, Recommendation, Trace
from genrec.workspace.build import Built

if TYPE_CHECKING:
    from genrec.recommender import Recommender

PIPE_WIDTH = 150
GENERATED = " *"
"""Behind a title or a reason that has words which a model wrote."""


def say(line: str) -> None:
    """A message, on stderr."""
    print(line, file=sys.stderr)


class Bars:
    """A `Progress` as bars on stderr; shows nothing where stderr is not a terminal."""

    def __init__(self) -> None:
        self._bars = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._task: TaskID | None = None

    def start(self, task: str, total: int | None) -> None:
        self._task = self._bars.add_task(escape(task), total=total)

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


def print_json(rows: Sequence[Recommendation]) -> None:
    """One Recommendation a line, valid JSON on every stream."""
    for row in rows:
        print_value(as_dict(row))


def _holds(text: str) -> bool:
    """Whether stdout can write the text as it is."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def as_dict(row: Recommendation) -> dict[str, Any]:
    """A Recommendation as plain JSON values."""
    return {
        "user_id": row.user_id,
        "rank": row.rank,
        "item_id": row.item.item_id,
        "title": row.item.title,
        "score": round(row.score, 6),
        "reason": {
            "text": row.reason.text,
            "source": row.reason.source,
            "verified": row.reason.verified,
            "generated": list(row.reason.generated),
            "evidence": [dataclasses.asdict(evidence) for evidence in row.reason.evidence],
        },
        "sources": dict(row.sources),
        "item": {
            "platform": row.item.platform,
            "attributes": dict(row.item.attributes),
            "image": row.item.image,
            "generated": list(row.item.generated),
        },
        "trace": dataclasses.asdict(row.trace) | {"degraded": row.trace.degraded},
    }


def answer_as_dict(answer: ChatAnswer) -> dict[str, Any]:
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


def cited_titles(genrec: "Recommender", rows: Sequence[Recommendation]) -> dict[str, str]:
    """Titles of the past items that the evidence cites, by id."""
    cited = {item_id for row in rows for evidence in row.reason.evidence for item_id in evidence.item_ids}
    return {item.item_id: item.title for item in genrec.workspace.store.items(sorted(cited)).values()}


def _stdout() -> Console:
    """As wide as the terminal, or wide enough for a table in a pipe."""
    return Console() if sys.stdout.isatty() else Console(width=PIPE_WIDTH)


def print_table(rows: Sequence[Recommendation], titles: Mapping[str, str]) -> None:
    """The list as a table, what was degraded as a message."""
    table = Table(show_lines=True, header_style="bold")
    table.add_column("#", justify="right")
    table.add_column("title", style="bold", ratio=2)
    table.add_column("reason", ratio=4)
    table.add_column("evidence", ratio=3)
    for row in rows:
        nats = any(stage.name == "evidence by ranker" and stage.status == "ok" for stage in row.trace.stages)
        evidence = "\n".join(escape(_in_words(e, titles, nats)) for e in row.reason.evidence)
        title = (row.item.title or row.item.item_id) + (GENERATED if row.item.generated else "")
        reason = row.reason.text + (GENERATED if row.reason.generated else "")
        table.add_row(str(row.rank), escape(title), escape(reason), evidence)
    if rows:
        _stdout().print(table)
        if any(row.item.generated or row.reason.generated for row in rows):
            say(f"{GENERATED.strip()} with words that genrec wrote: `genrec caption`")
        say(in_short(rows[0].trace))
    else:
        say("nothing is left to recommend: every item is seen, excluded or filtered out")


def in_short(trace: Trace) -> str:
    """The stages of a trace in one line, with a line for each degraded one."""
    parts = [
        f"{stage.name} {stage.milliseconds:.0f} ms" if stage.status == "ok" else f"{stage.name} {stage.status.upper()}"
        for stage in trace.stages
    ]
    lines = [" · ".join(parts)]
    lines += [f"degraded: {stage.name}: {stage.note}" for stage in trace.stages if stage.status == "degraded"]
    return "\n".join(lines)


def _in_words(evidence: Evidence, titles: Mapping[str, str], nats: bool) -> str:
    if evidence.kind == "history":
        weight = f"{evidence.weight:.2g} nats" if nats else f"{evidence.weight:.0%}"
        return f"{evidence.value} {titles.get(evidence.item_ids[0], evidence.item_ids[0])} ({weight})"
    if evidence.kind == "attribute":
        return f"{evidence.attribute}: {evidence.value}"
    return f"{evidence.kind}: {evidence.value}"


def say_trained(what: str, card: Mapping[str, Any], say: Callable[[str], None]) -> None:
    """How good what was learned is, and whether it serves."""
    figures = card["validation"]
    learned, untrained = figures["learned"], figures["untrained"]
    say(f"{what}: validation NDCG@10 {learned:.4f}, untrained {untrained:.4f}")
    if not card["serves"]:
        say('the untrained one stays in service; retrieval.retriever = "learned" in genrec.toml serves the trained one')


def say_built(built: Built, say: Callable[[str], None]) -> None:
    """What a build made."""
    vectors = ", ".join(f"{name} {dim}" for name, dim in built.vectors.items())
    say(f"{built.items} items indexed in {built.seconds:.1f} s; vectors: {vectors}")
    for name, count in built.encoded.items():
        say(f"{name}: {count} encoded anew")
    for name, why in built.missing.items():
        say(f"{name}: left out: {why}")


def print_columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A plain table; nothing in it is cut."""
    table = Table(header_style="bold")
    for column in header:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    _stdout().print(table)


def print_value(value: Any) -> None:
    """A JSON value on one line, valid on every stream."""
    # Python would write what the stream cannot hold as \xe9, which is no escape of JSON's; the escapes of json.dumps are
    line = json.dumps(value, ensure_ascii=False)
    print(line if _holds(line) else json.dumps(value))


def print_findings(findings: Sequence[Any]) -> None:
    """What `doctor` found."""
    table = Table(header_style="bold")
    for column in ("what", "status", "detail", "what to do"):
        table.add_column(column, overflow="fold")
    colours = {"ok": "green", "warning": "yellow", "missing": "red"}
    for finding in findings:
        status = f"[{colours[finding.status]}]{finding.status}[/]"
        table.add_row(escape(finding.name), status, escape(finding.detail), escape(finding.hint))
    _stdout().print(table)
