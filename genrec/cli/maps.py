"""`--map` for several tables at once."""

from collections.abc import Mapping, Sequence

from genrec.data.columns import parse_map
from genrec.errors import ConfigError

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
