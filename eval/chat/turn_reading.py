"""What turns of a dialogue are taken to say: the parser alone, the LLM alone, both as serving joins them.

    python -m eval.chat.turn_reading -w DIR [--adapter NAME] [--base]

Turns: those of `prompts/examples/converse-*.jsonl` whose catalogues nobody learned or chose by (70 of 6 catalogues), and
the two hundred requests of `tests/understanding/requests.jsonl`, of which the parser was tuned on `tune`. A turn is right in its
intent; in its conditions when they let the same items pass (600 drawn ones) and ask for the same wishes relative to what was
shown; in its feelings when the titles liked, disliked and seen are the wanted ones; need: F1 of its words. `--base` asks the
base model with its examples, too. Milliseconds are of one turn at a time, the first twenty.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from eval.provenance import RESULTS_FOLDER, provenance
from genrec.errors import EngineError
from genrec.filters import parse
from genrec.llm.protocol import LLM
from genrec.progress import SILENT
from genrec.training.turn_agreement import Right, alone, joined, right, same
from genrec.training.turn_examples import Turn, parted, read_turns, shipped_turns
from genrec.understanding.llm_reader import Context, Trust, merged, request_of
from genrec.understanding.parser import Parser
from genrec.understanding.turn_schema import TurnReading, reading_of, view_of
from genrec.understanding.vocabulary import Vocabulary
from genrec.workspace.adapters_in_use import served_reading
from genrec.workspace.folder import Workspace

ROOT = Path(__file__).parents[2]
RESULTS = RESULTS_FOLDER / "reading.json"
REQUESTS = ROOT / "tests" / "understanding" / "requests.jsonl"


AT_ONCE = 16
TIMED = 20
"""Turns that are read one at a time, with a clock."""
Asked = tuple[str, Vocabulary, Context]


async def listen(llm: LLM, workspace: Workspace, asked: Sequence[Asked], adapter: str) -> list[TurnReading | None]:
    """What the model says of each turn, some at once; None where it failed."""

    async def one(text: str, vocabulary: Vocabulary, context: Context) -> TurnReading | None:
        view = view_of(vocabulary, text)
        try:
            (written,) = await llm.write([request_of(workspace.prompts, view, text, context, adapter=adapter)])
            return reading_of(written, view, vocabulary, text)
        except (EngineError, ValueError):
            return None

    heard: list[TurnReading | None] = []
    for start in range(0, len(asked), AT_ONCE):
        heard += await asyncio.gather(*(one(*part) for part in asked[start : start + AT_ONCE]))
    return heard


def timed(
    turns: Sequence[Turn], llm: LLM, workspace: Workspace, adapter: str
) -> tuple[list[TurnReading | None], dict[str, float]]:
    asked = [(turn.text, turn.shop.vocabulary, turn.context) for turn in turns]
    heard = asyncio.run(listen(llm, workspace, asked, adapter))
    spent = []
    for one in asked[:TIMED]:
        start = time.perf_counter()
        asyncio.run(listen(llm, workspace, [one], adapter))
        spent.append(1000 * (time.perf_counter() - start))
    unread = sum(one is None for one in heard)
    return heard, {"ms_median": round(statistics.median(spent), 1), "ms_longest": round(max(spent), 1), "unread": unread}


def figures(one: Right) -> dict[str, float]:
    return {name: round(value, 4) for name, value in asdict(one).items()}


def on_turns(turns: Sequence[Turn], llm: LLM, workspace: Workspace, adapter: str, trust: Trust) -> dict[str, Any]:
    heard, cost = timed(turns, llm, workspace, adapter)
    return {
        "model alone": figures(right(turns, alone(turns, heard))) | cost,
        "both": figures(right(turns, joined(turns, heard, trust))),
    }


def on_requests(llm: LLM, workspace: Workspace, adapter: str, trust: Trust) -> dict[str, Any]:
    """Shares of the two hundred requests whose conditions are right, by split."""
    from tests.understanding.catalogues import CATALOGUES

    counts: dict[str, dict[str, list[bool]]] = {}
    rows = [json.loads(text) for text in REQUESTS.read_text(encoding="utf-8").splitlines()]
    asked = [(row["text"], CATALOGUES[row["catalogue"]], Context()) for row in rows]
    for row, heard in zip(rows, asyncio.run(listen(llm, workspace, asked, adapter)), strict=True):
        vocabulary = CATALOGUES[row["catalogue"]]
        wanted = parse(row["filter"], vocabulary.schema)
        parsed = Parser(vocabulary).parse(row["text"])
        found = {
            "parser": parsed.filter,
            "model alone": heard.filter if heard else None,
            "both": merged(parsed, heard, trust).filter if heard else parsed.filter,
        }
        for way, filter in found.items():
            counts.setdefault(row["split"], {}).setdefault(way, []).append(same(filter, wanted, vocabulary))
    return {
        split: {"n": len(next(iter(ways.values()))), **{way: round(statistics.mean(one), 4) for way, one in ways.items()}}
        for split, ways in counts.items()
    }


def main() -> None:
    told = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    told.add_argument("-w", "--workspace", type=Path, required=True)
    told.add_argument("--adapter", default="", help="instead of the one in use")
    told.add_argument("--base", action="store_true")
    given = told.parse_args()
    sys.path.insert(0, str(ROOT))
    settings: dict[str, Any] = {"dialogue": {"understand": "llm"}}
    if given.adapter:
        settings["adapters"] = {"converse": given.adapter}
    _, _, turns = parted(read_turns(shipped_turns()))
    with Workspace.open(given.workspace, settings=settings) as workspace:
        served = served_reading(workspace)
        llm = workspace.llm(SILENT)
        result = provenance(seed=0) | {
            "adapter": served.adapter,
            "trust": asdict(served.trust),
            "turns": {
                "parser": figures(right(turns, [one.parsed for one in turns])),
                **on_turns(turns, llm, workspace, served.adapter, served.trust),
            },
            "requests": on_requests(llm, workspace, served.adapter, served.trust),
        }
        if given.base:
            result["base model, its examples"] = on_turns(turns, llm, workspace, "", served.trust)["model alone"]
    RESULTS.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
