"""Names that settings had in version 0.1.0. They are still read, with a warning, and will be refused after the next release."""

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from genrec.errors import ConfigError, RenamedWarning

SECTIONS: Mapping[str, tuple[str, ...]] = {
    "ranking": ("rank",),
    "rerank": ("rank", "train"),
    "retriever": ("retrieval", "train"),
    "converse": ("chat", "train"),
    "dialogue": ("chat",),
}
"""Old section → where its keys are now."""
KEYS: Mapping[tuple[str, str], tuple[str, ...]] = {("retriever", "new_item_bonus"): ("retrieval", "new_item_bonus")} | {
    ("write", key): ("write", "train", key) for key in ("r", "alpha", "epochs", "learning_rate", "batch", "seed", "swapped")
}
"""Old section and key → where the key is now, where its section does not tell."""


def current(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """`values`, sections as dicts, under their present names. Warns of each old one.

    Raises ConfigError for a key that is given by both names.
    """
    made: dict[str, Any] = {}
    for section, keys in values.items():
        if not isinstance(keys, Mapping):
            made[section] = keys  # pydantic says what is wrong with it
            continue
        if section not in SECTIONS:
            made.setdefault(section, {})
        for key, value in keys.items():
            old, new = (section, key), _place(section, key)
            if new != old:
                warnings.warn(f"{source}: {_dotted(old)} is now {_dotted(new)}", RenamedWarning, stacklevel=4)
            _put(made, new, value, source)
    return made


def variable(name: str) -> str:
    """The present name of an environment variable, in lower case and without its prefix: `ranking__method` → `rank__method`."""
    section, *rest = name.split("__")
    return "__".join(_place(section, rest[0]) + tuple(rest[1:])) if rest else name


def _place(section: str, key: str) -> tuple[str, ...]:
    return KEYS.get((section, key)) or (*SECTIONS.get(section, (section,)), key)


def _put(made: dict[str, Any], place: tuple[str, ...], value: Any, source: str) -> None:
    *above, key = place
    for part in above:
        made = made.setdefault(part, {})
    if isinstance(value, Mapping):
        for inner, one in value.items():
            _put(made, (key, inner), one, source)
    elif key in made:
        raise ConfigError(f"{source}: {_dotted(place)} is given twice, once by its old name", hint="Delete the old one.")
    else:
        made[key] = value


def _dotted(names: Iterable[str]) -> str:
    return ".".join(names)
