"""Runs the code blocks of a Markdown page, in order, in one folder, as a reader would.

The fence's info string says what happens: `sh` and `python` run and must succeed; `sh skip=REASON` does not run, and says why;
`text`, `toml`, `json`, `jinja`, `csv` are shown only. Anything else is an error.
"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)
SHOWN = ("text", "toml", "json", "jinja", "csv")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    line: int
    language: str
    code: str
    skip: str


def blocks(page: str) -> list[Block]:
    """All fenced blocks. Raises ValueError, with the line, for an info string that is not one of those above."""
    found = []
    for fence in _FENCE.finditer(page):
        line = page.count("\n", 0, fence.start()) + 1
        language, _, rest = fence[1].strip().partition(" ")
        skip = rest.removeprefix("skip=").strip()
        if language not in ("sh", "python", *SHOWN) or (rest and (not rest.startswith("skip=") or not skip)):
            raise ValueError(f"line {line}: unknown kind of block: {fence[1]!r}")
        found.append(Block(line=line, language=language, code=fence[2], skip=skip))
    if page.count("\n```") + page.startswith("```") != 2 * len(found):
        raise ValueError("a fence is not closed")
    return found


def run(block: Block, folder: Path, timeout_s: float = 600) -> str:
    """Run one block in `folder`; returns its stdout. Raises AssertionError with its line and stderr when it fails."""
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "120"}
    command = ["sh", "-eu", "-c", block.code] if block.language == "sh" else [sys.executable, "-c", block.code]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=timeout_s, check=False)
    if done.returncode:
        raise AssertionError(f"the {block.language} block at line {block.line} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout
