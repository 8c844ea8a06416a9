"""How long tagging takes on a large catalogue, and how much memory.

    python eval/tagging_scale.py [--items 100000] [--terms 1000] [--wanted 30000]

Random vectors of width 512 for pictures and behaviour, attributes of 10 to 200 values that the vectors partly show, and
the general vocabulary. Prints and writes seconds and the largest resident memory into eval/results/tagging_scale.json.
"""

import argparse
import json
import resource
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from record import provenance

from genrec.captions import tag_terms as vocabulary
from genrec.captions.tagging import Tagger
from genrec.types import Item

RESULTS = Path(__file__).parent / "results" / "tagging_scale.json"
WIDTH = 512


def unit(rows: NDArray) -> NDArray[np.float32]:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def encode(texts: Sequence[str]) -> NDArray[np.float32]:
    return unit(np.random.default_rng(len(texts)).normal(size=(len(texts), WIDTH)))


def catalogue(items: int, terms: int, wanted: int, seed: int) -> tuple[list[Item], dict[str, NDArray[np.float32]]]:
    """Items, of which the first `wanted` tell nothing; their vectors are sums of those of their values, with noise."""
    rng = np.random.default_rng(seed)
    widths = [10, 20, 40, 80, 150, 200]
    widths[-1] = max(10, terms - sum(widths[:-1]) - 480)  # about 480 terms are general
    values = [rng.integers(0, width, items) for width in widths]
    rows = {}
    for name in ("image", "behaviour"):
        vectors = rng.normal(size=(items, WIDTH)).astype(np.float32) * 1.5
        for width, own in zip(widths, values, strict=True):
            vectors += rng.normal(size=(width, WIDTH)).astype(np.float32)[own]
        rows[name] = unit(vectors)
    made = [
        Item(
            item_id=str(row),
            attributes={}
            if row < wanted
            else {f"a{place}": f"value {chr(97 + own[row] // 26)}{chr(97 + own[row] % 26)}" for place, own in enumerate(values)},
        )
        for row in range(items)
    ]
    return made, rows


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--items", type=int, default=100_000)
    options.add_argument("--terms", type=int, default=1000)
    options.add_argument("--wanted", type=int, default=30_000)
    options.add_argument("--seed", type=int, default=0)
    asked = options.parse_args()
    items, rows = catalogue(asked.items, asked.terms, asked.wanted, asked.seed)
    present = {name: np.ones(len(items), bool) for name in rows}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    clock, cpu = time.perf_counter(), time.process_time()
    words = vocabulary.mine(items, vocabulary.general())
    tagger = Tagger.fit(items, rows, present, words, encoders={"image": encode})
    fitted = time.perf_counter()
    tags = tagger.tags(range(asked.wanted))
    result = {
        **provenance(seed=asked.seed),
        "items": asked.items,
        "terms": len(words.terms),
        "wanted": asked.wanted,
        "tags": sum(map(len, tags)),
        "fit seconds": round(fitted - clock, 1),
        "tag seconds": round(time.perf_counter() - fitted, 1),
        "processor seconds": round(time.process_time() - cpu, 1),
        "memory before, MB": before // 1024,
        "memory at most, MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    print(json.dumps(result, indent=1))
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
