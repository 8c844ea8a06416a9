"""`genrec adapters`: which LoRA adapters there are, which fit, which serves; changing that; comparing two."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from genrec.llm.adapter_registry import AdapterRegistry
    from genrec.llm.adapters import Adapter, Card, Metric

app = typer.Typer(help="LoRA adapters: list, activate, rollback, compare.", no_args_is_help=True, rich_markup_mode=None)

WorkspaceOption = Annotated[Path, typer.Option("-w", "--workspace", help="The workspace folder.")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON instead of tables.")]


class TaskName(StrEnum):
    """An enumeration, so that the help lists the values."""

    RERANK = "rerank"
    WRITE = "write"
    CONVERSE = "converse"


@app.command("list")
def list_(workspace: WorkspaceOption, json: JsonOption = False) -> None:
    """Every adapter of the workspace and those that ship, whether it fits the model and the prompts, and which serves."""
    from genrec.cli.printing import print_columns, print_value, say
    from genrec.workspace.folder import Workspace

    with Workspace.open(workspace) as opened:
        registry = opened.registry
        rows = _rows(registry, say)
        faults = {name: str(fault) for name, fault in registry.find().faults.items()}
    if json:
        print_value({"adapters": rows, "faults": faults})
        return
    if rows:
        columns = ("name", "task", "base", "prompts", "in use", "figure", "date")
        print_columns(columns, [[_shown(row[column]) for column in columns] for row in rows])
    else:
        say("there are no adapters")
    for fault in faults.values():
        say(f"left out: {fault}")


@app.command()
def activate(name: Annotated[str, typer.Argument(help="The adapter.")], workspace: WorkspaceOption) -> None:
    """Put an adapter in use for what it was trained to do."""
    from genrec.cli.printing import say
    from genrec.workspace.folder import Workspace

    with Workspace.open(workspace) as opened:
        adapter = opened.registry.activate(name)
        say(f"{name} is active: {adapter.task}")
        _say_overruled(opened.registry, adapter.task, getattr(opened.settings.adapters, adapter.task), say)


@app.command()
def rollback(task: Annotated[TaskName, typer.Argument(help="What the adapter does.")], workspace: WorkspaceOption) -> None:
    """Take the adapter that was activated last out of use; the one before it serves again."""
    from genrec.cli.printing import say
    from genrec.workspace.folder import Workspace

    with Workspace.open(workspace) as opened:
        gone = opened.registry.rollback(task.value)
        say(f"{gone} is no longer active")
        _say_overruled(opened.registry, task.value, getattr(opened.settings.adapters, task.value), say)


@app.command()
def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="One adapter.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another.")],
    workspace: WorkspaceOption,
    json: JsonOption = False,
) -> None:
    """The figures on two cards side by side, and what was different in how the adapters were made."""
    from genrec.cli.printing import print_columns, print_value, say
    from genrec.workspace.folder import Workspace

    with Workspace.open(workspace) as opened:
        found = opened.registry.find()
        a, b = found.get(first).card, found.get(second).card
    names = list(dict.fromkeys((*a.metrics, *b.metrics)))
    differences = _differences(a, b)
    if json:
        figures = {name: [_dumped(card.metrics.get(name)) for card in (a, b)] for name in names}
        print_value({"adapters": [a.name, b.name], "figures": figures, "differences": differences})
        return
    if names:
        print_columns(
            ("figure", a.name, b.name), [[name, *(_figure(card.metrics.get(name)) for card in (a, b))] for name in names]
        )
    else:
        say("neither card has figures")
    if differences:
        print_columns(
            ("made with", a.name, b.name), [[key, _shown(one), _shown(other)] for key, (one, other) in differences.items()]
        )
    else:
        say("both were made in the same way")


def _rows(registry: "AdapterRegistry", say: Callable[[str], None]) -> list[dict[str, Any]]:
    from genrec.errors import GenrecError
    from genrec.llm.adapter_registry import TASKS

    serving: dict[str, str] = {}
    for task in TASKS:
        try:
            choice = registry.in_use(task)
        except GenrecError as error:
            say(f"{task}: {error}")
            continue
        if choice.adapter:
            serving[choice.adapter.name] = task
        if choice.note:
            say(f"{task}: {choice.note}")
    base, sha256 = registry.base()
    return [
        {
            "name": adapter.name,
            "task": adapter.task,
            "base": not adapter.base_fault(base=base, sha256=sha256),
            "prompts": not registry.prompt_fault(adapter),
            "in use": adapter.name in serving,
            "figure": _headline(adapter),
            "date": adapter.card.date,
        }
        for adapter in registry.find().adapters.values()
    ]


def _say_overruled(registry: "AdapterRegistry", task: str, wanted: str, say: Callable[[str], None]) -> None:
    """What serves now; a name in the settings wins over what is active."""
    choice = registry.in_use(task)  # pyright: ignore[reportArgumentType]
    say(f"{task}: {choice.adapter.name if choice.adapter else 'the base model'} serves")
    if wanted != "auto":
        say(f'adapters.{task} = "{wanted}" in the settings decides; set it to "auto" for the active one')


def _headline(adapter: "Adapter") -> str:
    for name, metric in adapter.card.metrics.items():
        without = f" (without {metric.without:.4g})" if metric.without is not None else ""
        return f"{name} {metric.value:.4g}{without}"
    return ""


def _figure(metric: "Metric | None") -> str:
    if metric is None:
        return ""
    interval = f" [{metric.low:.4g}, {metric.high:.4g}]" if metric.low is not None and metric.high is not None else ""
    return f"{metric.value:.4g}{interval}"


def _dumped(metric: "Metric | None") -> dict[str, Any] | None:
    return metric.model_dump() if metric else None


def _differences(a: "Card", b: "Card") -> dict[str, tuple[Any, Any]]:
    """key → (a's value, b's value) of everything that describes how they were made and is not the same."""
    left, right = (_flat(card.model_dump(by_alias=True, exclude={"name", "metrics", "files", "version"})) for card in (a, b))
    keys = dict.fromkeys((*left, *right))
    return {key: (left.get(key), right.get(key)) for key in keys if left.get(key) != right.get(key)}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
