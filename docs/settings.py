"""Writes docs/settings.md from the settings' own docstrings: `make docs`. A test fails while the page is not current."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from genrec.settings import SETTINGS_FILE, Settings

PAGE = Path(__file__).with_suffix(".md")
HEAD = f"""# Settings

All keys of `{SETTINGS_FILE}` in the workspace. An environment variable wins over the file: `[rank] method` is
`GENREC_RANK__METHOD`. Unknown keys are refused. Written by `make docs`; do not edit.
"""


def type_of(schema: dict[str, Any]) -> str:
    """A JSON schema's type and limits in words."""
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if schema["type"] == "object":
        return f"table of {type_of(schema['additionalProperties'])}"
    if schema["type"] == "array":
        return f"list of {type_of(schema['items'])}"
    words = {"string": "text", "integer": "integer", "number": "number", "boolean": "true or false"}[schema["type"]]
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [f"{sign} {schema[key]:g}" for key, sign in signs.items() if key in schema]
    return ", ".join([words, *limits])


def toml(value: Any) -> str:
    """A default as it would stand in the file."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(part)}" for key, part in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)


def page() -> str:
    """The whole page. Raises KeyError when a key has no docstring or a type that this script does not know."""
    return HEAD + "".join(table for name, field in Settings.model_fields.items() for table in tables(name, field.annotation))


def tables(name: str, section: Any) -> Iterator[str]:
    """The table of a section, then those of the sections below it."""
    fields = {key: field.annotation for key, field in section.model_fields.items()}
    below = {key: kind for key, kind in fields.items() if isinstance(kind, type) and issubclass(kind, BaseModel)}
    if rows := [row(key, about) for key, about in section.model_json_schema()["properties"].items() if key not in below]:
        yield f"\n## [{name}]\n\n| key | default | values | meaning |\n|---|---|---|---|\n" + "".join(rows)
    for key, kind in below.items():
        yield from tables(f"{name}.{key}", kind)


def row(key: str, about: dict[str, Any]) -> str:
    meaning = " ".join(about["description"].split()).replace("|", "\\|")
    return f"| `{key}` | `{toml(about['default'])}` | {type_of(about)} | {meaning} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
