"""`genrec adapters`: which LoRA adapters there are, which fit, which one serves; changing that; comparing two."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer

from genrec.cli.options import JsonOption, WorkspaceOption, open_workspace
from genrec.cli.printing import print_columns, print_value, say
from genrec.errors import GenrecError

if TYPE_CHECKING:
    from genrec.llm.adapter_registry import AdapterRegistry
    from genrec.llm.adapters import Adapter, Card, Metric
    from genrec.workspace.folder import Workspace

app = typer.Typer(help="LoRA adapters: list, activate, rollback, compare.", no_args_is_help=True, rich_markup_mode=None)

COLUMNS = ("name", "task", "base", "prompts", "in use", "figure", "date")


Task = Literal["rerank", "write", "converse"]


@app.command("list")
def list_(workspace: WorkspaceOption, json: JsonOption = False) -> None:
    """Every adapter of the workspace and those that ship, whether it fits the model and the prompts, and which serves."""
    with open_workspace(workspace) as opened:
        rows = _rows(opened.registry)
        faults = {name: str(fault) for name, fault in opened.registry.find().faults.items()}
    if json:
        print_value({"adapters": rows, "faults": faults})
        return
    if rows:
        print_columns(COLUMNS, [[_in_words(row[column]) for column in COLUMNS] for row in rows])
    else:
        say("there are no adapters")
    for fault in faults.values():
        say(f"left out: {fault}")


@app.command()
def activate(name: Annotated[str, typer.Argument(help="The adapter.")], workspace: WorkspaceOption) -> None:
    """Put an adapter in use for what it was trained to do."""
    with open_workspace(workspace) as opened:
        task = opened.registry.activate(name).task
        say(f"{name} is active: {task}")
        _say_serving(opened, task)


@app.command()
def rollback(task: Annotated[Task, typer.Argument(help="What the adapter does.")], workspace: WorkspaceOption) -> None:
    """Take the adapter that was activated last out of use; the one before it serves again."""
    with open_workspace(workspace) as opened:
        gone = opened.registry.rollback(task)
        say(f"{gone} is no longer active")
        _say_serving(opened, task)


@app.command()
def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="One adapter.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another.")],
    workspace: WorkspaceOption,
    json: JsonOption = False,
) -> None:
    """The figures on two cards side by side, and what was different in how the adapters were made."""
    with open_workspace(workspace) as opened:
        found = opened.registry.find()
        cards = found.get(first).card, found.get(second).card
    names = [card.name for card in cards]
    figures = {name: [card.metrics.get(name) for card in cards] for name in (*cards[0].metrics, *cards[1].metrics)}
    differences = _differences(*cards)
    if json:
        dumped = {name: [metric and metric.model_dump() for metric in both] for name, both in figures.items()}
        print_value({"adapters": names, "figures": dumped, "differences": differences})
        return
    if figures:
        print_columns(("figure", *names), [(name, *map(_figure, both)) for name, both in figures.items()])
    else:
        say("neither card has figures")
    if differences:
        print_columns(("made with", *names), [(key, *map(_in_words, both)) for key, both in differences.items()])
    else:
        say("both were made in the same way")


def _rows(registry: "AdapterRegistry") -> list[dict[str, Any]]:
    serving = set()
    for task in get_args(Task):
        try:
            choice = registry.in_use(task)
        except GenrecError as error:
            say(f"{task}: {error}")
            continue
        if choice.adapter:
            serving.add(choice.adapter.name)
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


def _say_serving(workspace: "Workspace", task: Task) -> None:
    """What serves now; a name in the settings wins over what is active."""
    choice = workspace.registry.in_use(task)
    say(f"{task}: {choice.adapter.name if choice.adapter else 'the base model'} serves")
    if (wanted := getattr(workspace.settings.adapters, task)) != "auto":
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


def _differences(a: "Card", b: "Card") -> dict[str, tuple[Any, Any]]:
    """key → (a's value, b's value) of everything that describes how they were made and is not the same."""
    left, right = (_flat(card.model_dump(by_alias=True, exclude={"name", "metrics", "files", "version"})) for card in (a, b))
    return {key: (left.get(key), right.get(key)) for key in left | right if left.get(key) != right.get(key)}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _in_words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
