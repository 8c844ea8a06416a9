"""Writes docs/settings.md from the settings' own docstrings: `make docs`. A test fails while the page is not current."""

import json
from pathlib import Path
from typing import Any

from genrec.settings import SETTINGS_FILE, Settings

PAGE = Path(__file__).with_suffix(".md")
HEAD = f"""# Settings

All keys of `{SETTINGS_FILE}` in the workspace. An environment variable wins over the file: `[ranking] method` is
`GENREC_RANKING__METHOD`. Unknown keys are refused. Written by `make docs`; do not edit.
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
    parts = [HEAD]
    for section, field in Settings.model_fields.items():
        schema = field.annotation.model_json_schema()  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]
        parts.append(f"\n## [{section}]\n\n| key | default | values | meaning |\n|---|---|---|---|\n")
        for key, about in schema["properties"].items():
            meaning = " ".join(about["description"].split()).replace("|", "\\|")
            parts.append(f"| `{key}` | `{toml(about['default'])}` | {type_of(about)} | {meaning} |\n")
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
