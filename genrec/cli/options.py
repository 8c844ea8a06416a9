"""Options that several commands have, and the workspace that they name."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from genrec.workspace.folder import Workspace

WorkspaceOption = Annotated[Path, typer.Option("-w", "--workspace", help="The workspace folder.")]
UserOption = Annotated[str, typer.Option("-u", "--user", help="The person's id.")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on stdout, one value a line.")]
SeedOption = Annotated[int | None, typer.Option(min=0, help="Of all random numbers.")]


def open_workspace(folder: Path, settings: Mapping[str, Mapping[str, Any]] | None = None) -> "Workspace":
    """`settings`: section → key → value, instead of what its file says. Raises WorkspaceError, ConfigError."""
    from genrec.workspace.folder import Workspace

    return Workspace.open(folder, settings=settings)


def given(**values: object) -> dict[str, object]:
    """The options that were given, to be laid over settings of these names."""
    return {name: value for name, value in values.items() if value is not None}


def refuse_beside(option: str, others: Mapping[str, object]) -> None:
    """Raises BadParameter for one of `others` that was given: it would have no effect beside `option`."""
    for name, value in others.items():
        if value is not None and value is not False:
            raise typer.BadParameter(f"{name} says nothing together with {option}")
