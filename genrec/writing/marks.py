"""Marks for titles: an LLM writes `[2]`, and the second cited title takes its place, letter for letter, in double quotes.

A title is then never misspelt, costs three tokens however long it is, and the sentence is all that is left to the model.
"""

import re
from collections.abc import Sequence

_MARK = re.compile(r'"?\[(\d{1,2})\]"?')


def fill(text: str, titles: Sequence[str]) -> str:
    """`text` with titles in the place of their marks, which count from 1; a mark without a title stays."""

    def cite(found: re.Match[str]) -> str:
        number = int(found[1])
        return f'"{titles[number - 1]}"' if 1 <= number <= len(titles) else found[0]

    return _MARK.sub(cite, text)


def mark(text: str, titles: Sequence[str]) -> str:
    """`text` with marks in the place of titles in double quotes: what a model is to write for it."""
    for number in sorted(range(len(titles)), key=lambda n: (-len(titles[n]), n)):
        text = text.replace(f'"{titles[number]}"', f"[{number + 1}]")
    return text
