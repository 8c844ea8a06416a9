"""Ask for everybody's explained top-10 and write it as JSON lines, for eval/verify_reasons.py.

python eval/reasons.py --workspace genrec-demo --explain llm --out /tmp/reasons.jsonl
"""

import argparse
import json
import time
from pathlib import Path

from genrec.cli.printing import as_dict
from genrec.recommender import Recommender


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, default=Path("genrec-demo"))
    parser.add_argument("--explain", default="llm")
    parser.add_argument("--users", type=int, default=943)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    start = time.perf_counter()
    with Recommender.open(arguments.workspace) as genrec, arguments.out.open("w", encoding="utf-8") as file:
        ids = genrec.workspace.store.user_ids()[: arguments.users]
        for first in range(0, len(ids), 100):
            for row in genrec.recommend_many(ids[first : first + 100], 10, explain=arguments.explain):
                file.write(json.dumps(as_dict(row), ensure_ascii=False) + "\n")
            file.flush()
            print(f"{min(first + 100, len(ids))} people, {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
