"""What pictures tell of genres without any model of pictures: colours and a thumbnail, by logistic regression.

    python eval/posters.py --data FOLDER

FOLDER as in captions_movies.py. Five folds over the films that have a poster; for each genre of at least 40 films the area under
the ROC curve, and the share of right ones among the 50 films that are surest: a tag would need `caption.precision` (.9).
Writes eval/results/posters.json.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image
from record import provenance
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

RESULTS = Path(__file__).parent / "results" / "posters.json"
LEAST, SUREST = 40, 50
BINS = (8, 4, 4)


def look(path: Path) -> NDArray[np.float64]:
    """Histogram of hue, saturation and value, and a thumbnail of 6 × 9 pixels."""
    picture = Image.open(path).convert("RGB")
    colours = np.asarray(picture.convert("HSV").resize((60, 90)), float).reshape(-1, 3)
    counts = np.histogramdd(colours, bins=BINS, range=[(0, 256)] * 3)[0].ravel() / len(colours)
    return np.concatenate([np.sqrt(counts), np.asarray(picture.resize((6, 9)), float).ravel() / 255])


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--out", type=Path, default=RESULTS)
    asked = options.parse_args()
    films = [film for film in pl.read_parquet(asked.data / "items.parquet").sort("item_id").to_dicts() if film["image"]]
    rows = np.stack([look(asked.data / film["image"]) for film in films])
    counts = Counter(genre for film in films for genre in film["genres"] or ())
    figures = {}
    for genre in sorted(name for name, count in counts.items() if count >= LEAST):
        true = np.array([genre in (film["genres"] or ()) for film in films], int)
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.003, max_iter=300))
        folds = StratifiedKFold(5, shuffle=True, random_state=0)
        chance = np.asarray(cross_val_predict(model, rows, true, cv=folds, method="predict_proba"))[:, 1]
        figures[genre] = {
            "films": int(true.sum()),
            "share": round(float(true.mean()), 4),
            "area under the curve": round(float(roc_auc_score(true, chance)), 4),
            f"right of the {SUREST} surest": round(float(true[np.argsort(-chance)[:SUREST]].mean()), 4),
        }
    result = {**provenance(seed=0), "films": len(films), "genres": figures}
    asked.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
