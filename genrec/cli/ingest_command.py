"""`genrec ingest`: tables into the workspace, and which table a `--map` is for."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from genrec.cli.options import WorkspaceOption, open_workspace
from genrec.cli.printing import Bars, say
from genrec.data.columns import parse_map
from genrec.errors import ConfigError

FIELDS: Mapping[str, frozenset[str]] = {
    "events": frozenset(("user_id", "item_id", "timestamp", "position", "rating", "value", "kind", "platform")),
    "users": frozenset(("user_id", "interests")),
    "triples": frozenset(("head", "relation", "tail")),
}
"""The fields of a table. Items have fields of any name."""
SHARED = frozenset(("item_id", "platform"))
"""Fields that items have as well."""

TablesOption = list[Path] | None


def ingest(
    workspace: WorkspaceOption,
    items: Annotated[TablesOption, typer.Option(help="A table of items: Parquet, CSV, JSON lines, each also .gz.")] = None,
    events: Annotated[TablesOption, typer.Option(help="A table of events.")] = None,
    users: Annotated[TablesOption, typer.Option(help="A table of users.")] = None,
    triples: Annotated[TablesOption, typer.Option(help="A knowledge graph: a table of head, relation, tail.")] = None,
    map: Annotated[
        list[str] | None,
        typer.Option(help="field=column: title=Name, text=plot,notes, genres[|]=Genre. For one table: items:title=Name"),
    ] = None,
    media_root: Annotated[list[Path] | None, typer.Option(help="A further folder that pictures may lie in.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first fault instead of leaving the row out.")] = False,
) -> None:
    """Read tables into the workspace. Rows with faults are left out and reported; reading a table again updates."""
    from genrec.data.ingest_report import Report
    from genrec.workspace.ingest import ingest as ingest_tables

    tables = {"items": items or (), "events": events or (), "users": users or (), "triples": triples or ()}
    if not any(tables.values()):
        raise ConfigError("there is nothing to read", hint="Give --items, --events, --users or --triples.")
    mapping = parse_maps(map or [], [table for table, paths in tables.items() if paths])
    report = Report(strict=strict)
    with open_workspace(workspace) as opened:
        try:
            with Bars() as bars:
                ingest_tables(opened, **tables, mapping=mapping, media_roots=media_root or (), report=report, progress=bars)
        finally:  # also when a later table cannot be read: what was read before it is in the store
            for line in report.summary():
                say(line)
        counts = opened.store.counts()
    graph = f", {counts.triples} triples" if counts.triples else ""
    say(f"the store holds {counts.items} items, {counts.users} people, {counts.events} events{graph}")


def parse_maps(pairs: Sequence[str], tables: Sequence[str]) -> dict[str, dict[str, str]]:
    """Pairs by table: `items:title=Name` for one table, `title=Name` for every table read that knows the field.

    Raises ConfigError for a pair that no table read is for.
    """
    by_table: dict[str, list[str]] = {table: [] for table in tables}
    for pair in pairs:
        table, colon, rest = pair.partition(":")
        if colon and (table in FIELDS or table == "items"):
            if table not in by_table:
                raise ConfigError(f"--map {pair}: no table of {table} is read", hint=f"Give --{table}, or drop the pair.")
            by_table[table].append(rest)
        else:
            for one in tables if len(tables) == 1 else _tables_of(pair, tables):
                by_table[one].append(pair)
    return {table: parse_map(found) for table, found in by_table.items() if found}


def _tables_of(pair: str, tables: Sequence[str]) -> list[str]:
    """The tables that know the pair's field: events have no title, items no timestamp."""
    name = pair.partition("=")[0].partition("[")[0].strip()
    of_others = FIELDS["events"] | FIELDS["users"] | (FIELDS["triples"] if "triples" in tables else frozenset())
    found = [one for one in tables if (name in FIELDS[one] if one in FIELDS else name not in of_others - SHARED)]
    if not found:
        raise ConfigError(f"--map {pair}: no table that is read has a field {name!r}", hint="Name the table: items:field=column.")
    return found
