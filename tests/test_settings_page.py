"""docs/settings.md is what the settings say."""

import runpy
from pathlib import Path

from genrec.settings import Settings

DOCS = Path(__file__).parent.parent / "docs"


def test_the_page_is_current() -> None:
    page = runpy.run_path(str(DOCS / "settings.py"))["page"]
    assert (DOCS / "settings.md").read_text(encoding="utf-8") == page(), "run `make docs`"


def test_every_key_is_on_the_page() -> None:
    text = (DOCS / "settings.md").read_text(encoding="utf-8")
    for section, value in Settings():
        for name, part in ((section, value), (f"{section}.train", getattr(value, "train", None))):
            for key in type(part).model_fields if part is not None else ():
                assert key == "train" or f"| `{key}` |" in text.split(f"## [{name}]")[1].split("\n## ")[0]
