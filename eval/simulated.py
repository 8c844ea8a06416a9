"""Do simulated people find what they want, talking to the chat?

They want one item each, drawn at random from the catalogue, and say what they know of it little by little
(`genrec.evaluation.simulated_users`). The same people talk to the chat and to a text search, which is asked for all that was said
so far and shows nothing twice.

    python eval/simulated.py --name movies -w WORKSPACE [--people 300] [--k 3] [--llm]

Without --llm the candidates are shown in the retriever's order and reasons are templates: this is the chat's understanding and
finding alone. Writes eval/results/simulated.json, beside the figures of other workspaces, with some dialogues word for word.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

from record import provenance

from genrec.cli.eval_chat import print_simulated, talked
from genrec.progress import SILENT
from genrec.recommender import Recommender

RESULTS = Path(__file__).parent / "results" / "simulated.json"
KEPT = 10
"""Dialogues of each run, those that failed first."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-w", "--workspace", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--people", type=int, default=300)
    parser.add_argument("--k", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--llm", action="store_true", help="rank and write reasons with the LLM, as the workspace says")
    asked = parser.parse_args()
    quick: dict[str, Any] = {} if asked.llm else {"ranking": {"mode": "off"}, "reasons": {"explain": "template"}}
    start = time.perf_counter()
    with Recommender.open(asked.workspace, **quick) as genrec:
        found = talked(genrec, asked.people, seed=asked.seed, k=asked.k, progress=SILENT)
    print_simulated(found)
    found["dialogues"] = found["dialogues"][:KEPT]
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    key = f"{asked.name}, {asked.k} items a turn{', LLM' if asked.llm else ''}"
    results[key] = {**provenance(seed=asked.seed), "seconds": round(time.perf_counter() - start), **found}
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
