"""The drawn shop from end to end: pictures that a real CLIP sees become tags, captions, and answers to a search."""

import asyncio
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from eval.shop import catalogue
from genrec.captions.caption_run import CaptionOptions
from genrec.captions.captioner import Captioner
from genrec.data.ingest_report import Report
from genrec.progress import SILENT
from genrec.retrieval.item_vectors import ModalityVectors
from genrec.retrieval.retriever import CandidateRequest, Retriever
from genrec.settings import SETTINGS_FILE
from genrec.types import StoredCaption
from genrec.workspace.build import build
from genrec.workspace.folder import Workspace
from genrec.workspace.ingest import ingest
from genrec.workspace.load import load_catalogue

CLIP = Path(__file__).parent.parent / "clip"


@dataclass(frozen=True)
class Shown:
    """What a search by text finds among the first ten, before and after; the captions; captions that a second run would write."""

    shop: catalogue.Shop
    before: float
    after: float
    captions: dict[str, StoredCaption]
    again: int
    written: np.ndarray | None


def found(workspace: Workspace, shop: catalogue.Shop) -> float:
    """Recall@10 of the stripped items by words alone."""
    chance, rows = random.Random(0), np.flatnonzero(shop.stripped)
    words = [catalogue.query(shop.things[row], chance) for row in rows]
    dense = workspace.text_encoder(SILENT).encode(words, role="query")
    retriever = Retriever(workspace.index, load_catalogue(workspace), workspace.settings.retrieval)
    asks = [CandidateRequest(query=query, query_vectors={"text": row}) for query, row in zip(words, dense, strict=True)]
    lists = retriever.candidates(asks, 10)
    return float(np.mean([shop.ids[row] in {c.item_id for c in own} for row, own in zip(rows, lists, strict=True)]))


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    folder = tmp_path_factory.mktemp("drawn")
    shop = catalogue.make(280, 60, seed=3)
    items, events = catalogue.tables(shop, folder / "tables", strip=True, pictures=folder / "pictures")
    with Workspace.create(folder / "shop"):
        (folder / "shop" / SETTINGS_FILE).write_text(f'[models]\nllm = "fake"\nimage = "{CLIP}"\n', encoding="utf-8")
    with Workspace.open(folder / "shop") as workspace:
        pictures = [folder / "pictures"]
        ingest(workspace, items=[items], events=[events], media_roots=pictures, report=Report(strict=True))
        build(workspace)
        before = found(workspace, shop)
        captioner = Captioner(workspace, None)
        asyncio.run(captioner.write(captioner.plan(CaptionOptions())))
        again = len(Captioner(workspace, None).plan(CaptionOptions()).targets)
        build(workspace)
        captions = {one.item_id: one for batch in workspace.store.all_captions() for one in batch}
        written = ModalityVectors.load(workspace.vectors).written
        return Shown(shop, before, found(workspace, shop), captions, again, written)


def test_tags_are_true_and_most_that_is_true_is_tagged(shown: Shown) -> None:
    shop = shown.shop
    assert set(shown.captions) == {shop.ids[row] for row in np.flatnonzero(shop.stripped)}
    given = [(shop.things[shop.ids.index(item_id)], tag) for item_id, one in shown.captions.items() for tag in one.tags or ()]
    right = sum(tag in thing.values() for thing, tag in given)
    assert right / len(given) >= 0.9
    assert right / (6 * len(shown.captions)) >= 0.8


def test_what_has_a_caption_is_found(shown: Shown) -> None:
    assert shown.before < 0.05
    assert shown.after >= 0.6


def test_the_same_evidence_is_not_written_about_again(shown: Shown) -> None:
    assert shown.again == 0


def test_the_build_knows_whose_texts_are_captions(shown: Shown) -> None:
    assert shown.written is not None
    np.testing.assert_array_equal(shown.written, shown.shop.stripped)
