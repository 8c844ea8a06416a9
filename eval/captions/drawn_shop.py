"""What captions are worth on the drawn shop: 30% of the items lose all text, get captions, and are looked for again.

    python -m eval.captions.drawn_shop [--items 2400] [--shoppers 800] [--work DIR] [--write llm|template]

The shop (eval/shop) is drawn from the seed; the small CLIP of tests/clip sees the pictures. Three worlds are built: `true`
(nothing is stripped), `stripped`, and `captioned` (the stripped one after `genrec caption`). Measured on the stripped items:

tags          precision over all tags given and recall of the true attribute values, from the tagger and in the captions
search        Recall@10 of the item when its true attributes are typed, by text alone (dense and BM25) and with the picture leg
recommending  leave-one-out on shoppers: recall@10 and NDCG@10 of the last choice where it is a stripped item, full ranking;
              with the shipped weights, without the picture's vectors, and where stripped items have no events either

Writes eval/results/captions_shop.json.
"""

import argparse
import asyncio
import json
import random
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from eval.provenance import RESULTS_FOLDER, provenance
from eval.shop import catalogue
from eval.shop.kinds import SAID
from genrec.captions import tag_terms as vocabulary
from genrec.captions.caption_run import CaptionOptions
from genrec.captions.captioner import Captioner, load_llm
from genrec.captions.tagging import Tag, Tagger
from genrec.data.ingest_report import Report
from genrec.metrics import gain
from genrec.models.encoders import ImageEncoder, TextEncoder
from genrec.models.sources import resolve
from genrec.retrieval.behaviour import behaviour_vectors
from genrec.retrieval.item_vectors import ModalityVectors
from genrec.retrieval.mean_profile import event_weights, user_vector
from genrec.retrieval.modality_fusion import as_history, fuse
from genrec.retrieval.retriever import CandidateRequest, Retriever
from genrec.settings import SETTINGS_FILE, Settings
from genrec.settings.sections import RetrievalSettings
from genrec.types import Event
from genrec.workspace.build import build
from genrec.workspace.folder import Workspace
from genrec.workspace.ingest import ingest
from genrec.workspace.load import load_catalogue

ROOT = Path(__file__).parents[2]
RESULTS = RESULTS_FOLDER / "captions_shop.json"
CLIP = ROOT / "tests" / "clip"
DEPTH = 10


@dataclass(frozen=True)
class World:
    shop: catalogue.Shop
    folder: Path
    clip: Path
    write: str

    def workspace(self, name: str) -> Path:
        return self.folder / name

    def make(self, name: str, *, strip: bool) -> None:
        """A built workspace; the last choice of each shopper is kept for the test."""
        items, events = catalogue.tables(
            self.shop, self.folder / f"{name}-tables", strip=strip, pictures=self.folder / "pictures", held_out=1
        )
        folder = self.workspace(name)
        with Workspace.create(folder):
            settings = f'[models]\nimage = "{self.clip}"\n[caption]\nwrite = "{self.write}"\n'
            (folder / SETTINGS_FILE).write_text(settings, encoding="utf-8")
        with Workspace.open(folder) as workspace:
            ingest(workspace, items=[items], events=[events], media_roots=[self.folder / "pictures"], report=Report(strict=True))
            made = build(workspace)
            print(name, made.vectors, made.missing, flush=True)


def tagger_of(workspace: Workspace, image: ImageEncoder) -> Tagger:
    vectors = ModalityVectors.load(workspace.vectors)
    items = [item for batch in workspace.store.all_items(given=True) for item in batch]
    words = vocabulary.catalogue_vocabulary(items, vocabulary.general_vocabulary())
    popularity = load_catalogue(workspace).popularity
    return Tagger.fit(items, vectors.matrices, vectors.present, words, encoders={"image": image.encode_texts}, people=popularity)


def is_true(tag: str, row: int, shop: catalogue.Shop) -> bool:
    """A tag is true when it is a value of the thing, another word for one, or a phrase of the text that was taken away."""
    values = shop.things[row].values()
    said = {word.lower() for value in values for word in (value, *SAID[value])}
    return tag.lower() in said or tag.lower() in vocabulary.phrases_of(f"{shop.titles[row]}\n{shop.texts[row]}")


def tag_figures(tags: dict[int, list[str]], shop: catalogue.Shop) -> dict[str, Any]:
    given = [(row, tag) for row, own in tags.items() for tag in own]
    right = sum(is_true(tag, row, shop) for row, tag in given)
    found = sum(value in {tag.lower() for tag in own} for row, own in tags.items() for value in shop.things[row].values())
    wrong = [(shop.ids[row], tag, shop.things[row].values()) for row, tag in given if not is_true(tag, row, shop)]
    print("wrong, say", wrong[:8], flush=True)
    return {
        "tags": len(given),
        "items": len(tags),
        "precision": round(right / max(1, len(given)), 4),
        "recall": round(found / (6 * max(1, len(tags))), 4),
    }


def by_kind(tags: dict[int, tuple[Tag, ...]], shop: catalogue.Shop) -> dict[str, Any]:
    """Precision of the tags of each group, and how sure the tagger was of them on average."""
    table: dict[str, list[tuple[bool, float]]] = {}
    for row, own in tags.items():
        for tag in own:
            name = tag.group if tag.kind == "attribute" else tag.kind
            table.setdefault(name, []).append((is_true(tag.text, row, shop), tag.probability))
    return {
        name: {
            "tags": len(pairs),
            "precision": round(float(np.mean([right for right, _ in pairs])), 4),
            "expected": round(float(np.mean([chance for _, chance in pairs])), 4),
        }
        for name, pairs in sorted(table.items())
    }


def search(workspace: Workspace, shop: catalogue.Shop, text: TextEncoder, image: ImageEncoder, seed: int) -> dict[str, float]:
    """Recall@10 over the stripped items: text legs alone, and with the query's CLIP vector as the product asks."""
    chance = random.Random(seed)
    rows = np.flatnonzero(shop.stripped)
    words = [catalogue.query(shop.things[row], chance) for row in rows]
    dense, seen = text.encode(words, role="query"), image.encode_texts(words)
    retriever = Retriever(workspace.index, load_catalogue(workspace), workspace.settings.retrieval)
    found: dict[str, float] = {}
    for name, legs in {"text": ("text",), "text+image": ("text", "image")}.items():
        asks = [
            CandidateRequest(query=query, query_vectors={leg: {"text": dense, "image": seen}[leg][place] for leg in legs})
            for place, query in enumerate(words)
        ]
        answers = retriever.candidates(asks, DEPTH)
        hits = [shop.ids[row] in {c.item_id for c in answer} for row, answer in zip(rows, answers, strict=True)]
        found[f"recall@10 {name}"] = round(float(np.mean(hits)), 4)
    return found


class Stripped(Protocol):
    """A catalogue of which some items lost their words, and what people chose, in order, what is asked for last."""

    @property
    def ids(self) -> tuple[str, ...]: ...
    @property
    def stripped(self) -> np.ndarray: ...
    @property
    def chosen(self) -> tuple[tuple[int, ...], ...]: ...


def recommending(
    vectors: ModalityVectors, shop: Stripped, settings: RetrievalSettings, *, image: bool, new: bool
) -> dict[str, float]:
    """Leave-one-out by the product's own functions. `new`: stripped items have no events before the one that is asked for."""
    users, items, clock, targets, histories = [], [], [], [], []
    for shopper, chosen in enumerate(shop.chosen):
        history = [row for row in chosen[:-1] if not (new and shop.stripped[row])]
        users += [shopper] * len(history)
        items += history
        clock += range(len(history))
        if shop.stripped[chosen[-1]] and history:
            targets.append(chosen[-1])
            histories.append(history)
    made = behaviour_vectors(
        np.array(users), np.array(items), np.array(clock, float), n_items=len(shop.ids), dim=settings.behaviour_dim,
        half_life=settings.behaviour_half_life,
    )  # fmt: skip
    names = [name for name in ("text", "image") if name in vectors.matrices and (image or name != "image")]
    matrices = {**{name: vectors.matrices[name] for name in names}, "behaviour": made.vectors}
    present = {**{name: vectors.present[name] for name in names}, "behaviour": made.present}
    fused = fuse(
        ModalityVectors(vectors.item_ids, matrices, present, written=vectors.written, expected_text=vectors.expected_text),
        settings.weights,
        made.popularity,
        trust=settings.trust,
    )
    rows, places = as_history(fused), []
    for history, target in zip(histories, targets, strict=True):
        events = [Event(user_id="", item_id=str(row)) for row in history]
        weights = event_weights(events, half_life=settings.half_life, negative_value=settings.negative_value)
        user = user_vector([event.item_id for event in events], rows[history], weights)
        scores = fused @ user.vector if user else np.zeros(len(fused))
        own = scores[target]
        scores[history] = -np.inf
        places.append(int((scores > own).sum()))
    return _ranks(np.array(places))


def _ranks(place: NDArray[np.int64]) -> dict[str, float]:
    return {
        "people": len(place),
        "recall@10": round(float((place < DEPTH).mean()), 4),
        "recall@50": round(float((place < 50).mean()), 4),
        "ndcg@10": round(float(gain(place, DEPTH).mean()), 4),
        "ndcg@100": round(float(np.where(place < 100, 1.0 / np.log2(place + 2.0), 0.0).mean()), 4),
    }


SETTINGS: dict[str, dict[str, bool]] = {
    "all": {"image": True, "new": False},
    "without picture vectors": {"image": False, "new": False},
    "new items": {"image": True, "new": True},
    "new items, without picture vectors": {"image": False, "new": True},
}


def looked_for(world: World, name: str, text: TextEncoder, image: ImageEncoder, seed: int) -> dict[str, Any]:
    """All figures of one world but those of tags."""
    with Workspace.open(world.workspace(name)) as workspace:
        vectors = ModalityVectors.load(workspace.vectors)
        retrieval = workspace.settings.retrieval
        return {
            "search": search(workspace, world.shop, text, image, seed),
            "recommending": {what: recommending(vectors, world.shop, retrieval, **options) for what, options in SETTINGS.items()},
        }


def tagged(world: World, image: ImageEncoder) -> dict[str, Any]:
    start = time.perf_counter()
    with Workspace.open(world.workspace("stripped")) as workspace:
        tagger = tagger_of(workspace, image)
        rows = np.flatnonzero(world.shop.stripped)
        tags = {int(row): own for row, own in zip(rows, tagger.tags(rows), strict=True)}
    plain = {row: [tag.text for tag in own] for row, own in tags.items()}
    return {
        **tag_figures(plain, world.shop),
        "by group": by_kind(tags, world.shop),
        "seconds": round(time.perf_counter() - start, 1),
    }


def taken_over(workspace: Workspace, before: Path) -> None:
    """Captions of an earlier run of this script; those of other evidence or another writer are then written again."""
    with Workspace.open(before) as other:
        for batch in other.store.all_captions():
            workspace.store.put_captions(list(batch))


def caption(world: World, before: Path | None) -> dict[str, Any]:
    """Write the captions of the stripped world and build it again; how many were written, by whom, and some of them."""
    with Workspace.open(world.workspace("stripped")) as workspace:
        if before is not None:
            taken_over(workspace, before)
        captioner = Captioner(workspace, load_llm(workspace))
        planned = captioner.plan(CaptionOptions())
        made = asyncio.run(captioner.write(planned))
        again = len(Captioner(workspace, None).plan(CaptionOptions(new=True)).targets)
        start = time.perf_counter()
        built = build(workspace)
        held = {one.item_id: one for batch in workspace.store.all_captions() for one in batch}
        notes = captioner.notes
    shop = world.shop
    rows = [row for row in np.flatnonzero(shop.stripped) if shop.ids[row] in held]
    tags = {int(row): list(held[shop.ids[row]].tags or ()) for row in rows}
    shown = [(shop.things[row].values(), held[shop.ids[row]]) for row in rows[:12]]
    return {
        "written": made.written,
        "taken over": planned.unchanged,
        "by": dict(Counter(one.source for one in held.values())),
        "refused": made.refused,
        "failed": len(made.failed),
        "without evidence": len(planned.nothing),
        "left to write": again,
        "seconds": round(made.seconds, 1),
        "build seconds": round(time.perf_counter() - start, 1),
        "encoded anew": dict(built.encoded),
        "notes": notes,
        "tags": tag_figures(tags, shop),
        "doubt": round(float(np.mean([one.doubt for one in held.values()])), 4) if held else None,
        "samples": [{"true": truth, "title": one.title, "text": one.text, "tags": one.tags} for truth, one in shown],
    }


def effect(result: dict[str, Any]) -> dict[str, Any]:
    """Share of the true text's search figure after captions, and of the recommendation loss that they recover."""
    true, before, after = (result[name] for name in ("true", "stripped", "captioned"))
    found: dict[str, Any] = {
        f"search: share of true, {key}": round(after["search"][key] / max(value, 1e-9), 4)
        for key, value in true["search"].items()
    }
    for what, best in true["recommending"].items():
        for metric in ("recall@10", "recall@50", "ndcg@10", "ndcg@100"):
            loss = best[metric] - before["recommending"][what][metric]
            gain = after["recommending"][what][metric] - before["recommending"][what][metric]
            shown = round(gain / loss, 4) if abs(loss) > 1e-9 else None
            found[f"recommending: {what}, {metric}"] = {"loss": round(loss, 4), "gain": round(gain, 4), "recovered": shown}
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--items", type=int, default=2400)
    options.add_argument("--shoppers", type=int, default=800)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--work", type=Path, help="folder of the worlds, kept; default: a temporary one")
    options.add_argument("--clip", type=Path, default=CLIP)
    options.add_argument("--write", choices=("llm", "template"), default="llm")
    options.add_argument("--again", type=Path, help="an earlier run's workspace `stripped`: captions that hold are taken over")
    options.add_argument("--out", type=Path, default=RESULTS, help="result file; figures of other writers and seeds stay")
    options.add_argument("--only-tags", action="store_true", help="stop after the tagger; no result file")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        world = World(
            shop=catalogue.make(asked.items, asked.shoppers, seed=asked.seed),
            folder=(asked.work or Path(temporary)).resolve(),
            clip=asked.clip.resolve(),
            write=asked.write,
        )
        image = ImageEncoder(resolve(str(world.clip), "image", hub=False), device="cpu")
        world.make("stripped", strip=True)
        result: dict[str, Any] = {"tags": tagged(world, image)}
        print(json.dumps(result, indent=1), flush=True)
        if asked.only_tags:
            return
        text = TextEncoder(resolve(Settings().models.text, "text"), device="cpu")
        world.make("true", strip=False)
        result["true"] = looked_for(world, "true", text, image, asked.seed)
        result["stripped"] = looked_for(world, "stripped", text, image, asked.seed)
        result["captions"] = caption(world, asked.again)
        result["captioned"] = looked_for(world, "stripped", text, image, asked.seed)
        result["effect"] = effect(result)
    print(json.dumps(result, indent=1, ensure_ascii=False))
    known = json.loads(asked.out.read_text(encoding="utf-8")) if asked.out.exists() else {}
    known[asked.write if not asked.seed else f"{asked.write}, seed {asked.seed}"] = {
        **provenance(seed=asked.seed),
        "items": asked.items,
        "shoppers": asked.shoppers,
        **result,
    }
    asked.out.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
