"""What captions are worth on films that lost their words: behaviour and title are left, or behaviour and picture.

    python -m eval.captions.movies --data FOLDER [--share 0.3] [--seed 0] [--write llm|template] [--clip FOLDER] [--people 40]

FOLDER has `items.parquet` (item_id, title, year, genres, plot, director, actors, country, language, image) and
`interactions.parquet` (user_id, item_id, rating, timestamp). A random share of the films is stripped in two ways:

title     only title and events are left
picture   only picture and events are left; pictures are seen by --clip, by nothing without it

Of each person the latest film among the last ten that is stripped is asked for, from what came before it; nothing after it
is known.

tags            precision and recall of the attribute values that the tagger gives, by attribute
recommending    full ranking by the untrained retriever; also of the films that at most 20 people chose
search          genres, director and first actor are typed: Recall@10 and @50 of the film by text
ranking         the LLM ranks the 50 candidates of --people people: NDCG@10 of the film
reasons         five stripped films recommended to each of them: share whose evidence has a shared attribute, share of the LLM's
                first tries that the checker accepts, and of the reasons shown that the LLM wrote

Adds to eval/results/captions_movies.json.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from eval.captions import drawn_shop as captions
from eval.explanations.first_tries import Asked, first_tries
from eval.provenance import RESULTS_FOLDER, provenance
from genrec.answer.request import Explain, settled_request
from genrec.captions.caption_run import CaptionOptions
from genrec.captions.captioner import Captioner, load_llm
from genrec.data.ingest_report import Report
from genrec.metrics import gain
from genrec.models.encoders import TextEncoder
from genrec.models.sources import resolve
from genrec.reasons.reason_checker import fault
from genrec.reasons.reason_writer import TUNED_TRIES
from genrec.recommender import Recommender
from genrec.retrieval.item_vectors import ModalityVectors
from genrec.retrieval.retriever import CandidateRequest, Retriever
from genrec.settings import SETTINGS_FILE, Settings
from genrec.workspace.build import build
from genrec.workspace.folder import Workspace
from genrec.workspace.ingest import ingest
from genrec.workspace.load import load_catalogue

RESULTS = RESULTS_FOLDER / "captions_movies.json"
LATEST = 10
FEW_PEOPLE = 20
SHOWN = 5
CANDIDATES = 50
ATTRIBUTES = ("genres", "year", "director", "actors", "country", "language")
LEFT = {"title": ("item_id", "title"), "picture": ("item_id", "image")}
"""What is left of a stripped film, by way."""


@dataclass(frozen=True)
class Films:
    """In the shape of a drawn shop (`captions.recommending`). `chosen[u]`: rows in order, what is asked for last; `truth[i]`: the
    attributes of film i before anything was taken away."""

    ids: tuple[str, ...]
    users: tuple[str, ...]
    stripped: np.ndarray
    chosen: tuple[tuple[int, ...], ...]
    truth: tuple[Mapping[str, Any], ...]

    @classmethod
    def read(cls, data: Path, share: float, seed: int) -> "Films":
        items = pl.read_parquet(data / "items.parquet").sort("item_id")
        events = pl.read_parquet(data / "interactions.parquet").sort("user_id", "timestamp", maintain_order=True)
        ids = tuple(items["item_id"])
        place = {item_id: row for row, item_id in enumerate(ids)}
        stripped = np.zeros(len(ids), bool)
        stripped[np.random.default_rng(seed).choice(len(ids), round(share * len(ids)), replace=False)] = True
        users, chosen = [], []
        for (user,), own in events.group_by("user_id", maintain_order=True):
            rows = [place[item_id] for item_id in own["item_id"] if item_id in place]
            asked = [at for at in range(max(1, len(rows) - LATEST), len(rows)) if stripped[rows[at]]]
            users.append(str(user))
            chosen.append(tuple(rows[: asked[-1] + 1] if asked else rows))
        return cls(ids, tuple(users), stripped, tuple(chosen), tuple(items.to_dicts()))

    def asked(self) -> dict[str, int]:
        """By person, the row of the film that is asked for."""
        return {
            user: rows[-1]
            for user, rows in zip(self.users, self.chosen, strict=True)
            if len(rows) > 1 and self.stripped[rows[-1]]
        }


def write_tables(films: Films, folder: Path, left: Sequence[str] | None) -> tuple[Path, Path]:
    """`left`: columns that stripped films keep; None: nothing is stripped."""
    folder.mkdir(parents=True, exist_ok=True)
    items, events = folder / "items.jsonl", folder / "events.jsonl"
    with items.open("w", encoding="utf-8") as file:
        for row, film in enumerate(films.truth):
            told = {name: film[name] for name in ("item_id", "title", "image", *ATTRIBUTES)} | {"text": film["plot"]}
            kept = told if left is None or not films.stripped[row] else {name: told[name] for name in left}
            file.write(json.dumps({name: value for name, value in kept.items() if value not in (None, "", [])}) + "\n")
    with events.open("w", encoding="utf-8") as file:
        for user, rows in zip(films.users, films.chosen, strict=True):
            known = rows[:-1] if films.stripped[rows[-1]] else rows
            for at, row in enumerate(known):
                file.write(json.dumps({"user_id": user, "item_id": films.ids[row], "timestamp": 1e9 + at}) + "\n")
    return items, events


def make(films: Films, folder: Path, data: Path, left: Sequence[str] | None, clip: str, write: str) -> Path:
    """A built workspace."""
    items, events = write_tables(films, folder.with_name(f"{folder.name}-tables"), left)
    with Workspace.create(folder):
        settings = f'[models]\nimage = "{clip}"\n[caption]\nwrite = "{write}"\n[rank]\nmode = "llm"\n'
        (folder / SETTINGS_FILE).write_text(settings, encoding="utf-8")
    with Workspace.open(folder) as workspace:
        ingest(workspace, items=[items], events=[events], media_roots=[data], report=Report())
        print(folder.name, build(workspace).vectors, flush=True)
    return folder


def in_order(films: Films, vectors: ModalityVectors) -> ModalityVectors:
    """The vectors in the order of `films`, the rows of `likely` texts as well."""
    order = np.array([vectors.index_of(item_id) for item_id in films.ids])
    likely = None
    if vectors.expected_text is not None and vectors.written is not None:
        whole = np.zeros((len(order), vectors.expected_text.shape[1]), np.float32)
        whole[vectors.written] = vectors.expected_text
        likely = whole[order][vectors.written[order]]
    return ModalityVectors(
        films.ids,
        {name: matrix[order] for name, matrix in vectors.matrices.items()},
        {name: mask[order] for name, mask in vectors.present.items()},
        vectors.models,
        None if vectors.written is None else vectors.written[order],
        likely,
    )


def retrieval(films: Films, folder: Path, text: TextEncoder) -> dict[str, Any]:
    with Workspace.open(folder) as workspace:
        vectors, settings = in_order(films, ModalityVectors.load(workspace.vectors)), workspace.settings.retrieval
        people = Counter(row for rows in films.chosen for row in rows[:-1])
        rare = np.array([people[rows[-1]] <= FEW_PEOPLE for rows in films.chosen])
        return {
            "recommending": captions.recommending(vectors, films, settings, image=True, new=False),
            f"of at most {FEW_PEOPLE} people": _only(vectors, films, rare, settings),
            "search": search(films, workspace, text),
        }


def _only(vectors: ModalityVectors, films: Films, asked: np.ndarray, settings: Any) -> dict[str, float]:
    """`captions.recommending` for the people of `asked`; the others end in a film that is not stripped, so that nobody asks."""
    rest = int(np.flatnonzero(~films.stripped)[0])
    chosen = tuple(rows if one else (*rows[:-1], rest) for rows, one in zip(films.chosen, asked, strict=True))
    return captions.recommending(
        vectors, Films(films.ids, films.users, films.stripped, chosen, films.truth), settings, image=True, new=False
    )


def search(films: Films, workspace: Workspace, text: TextEncoder) -> dict[str, float]:
    rows = np.flatnonzero(films.stripped)
    words = [_typed(films.truth[row]) for row in rows]
    dense = text.encode(words, role="query")
    retriever = Retriever(workspace.index, load_catalogue(workspace), workspace.settings.retrieval)
    answers = retriever.candidates(
        [CandidateRequest(query=q, query_vectors={"text": v}) for q, v in zip(words, dense, strict=True)], 50
    )
    found = [[c.item_id for c in answer] for answer in answers]
    return {
        f"recall@{k}": round(float(np.mean([films.ids[row] in own[:k] for row, own in zip(rows, found, strict=True)])), 4)
        for k in (10, 50)
    }


def _typed(film: Mapping[str, Any]) -> str:
    return " ".join([*(film["genres"] or ()), *(film["director"] or ()), *(film["actors"] or ())[:1]])


def caption(films: Films, folder: Path) -> dict[str, Any]:
    """Write, build again; tags against the truth."""
    with Workspace.open(folder) as workspace:
        captioner = Captioner(workspace, load_llm(workspace))
        planned = captioner.plan(CaptionOptions())
        made = asyncio.run(captioner.write(planned))
        build(workspace)
        held = {one.item_id: one for batch in workspace.store.all_captions() for one in batch}
        vectors = ModalityVectors.load(workspace.vectors)
    right: Counter[str] = Counter()
    given: Counter[str] = Counter()
    there: Counter[str] = Counter()
    for row in np.flatnonzero(films.stripped):
        film = films.truth[row]
        true = {name: {str(v).lower() for v in _values(film[name])} for name in ATTRIBUTES}
        there.update({name: len(values) for name, values in true.items()})
        for tag in held[films.ids[row]].evidence["tags"] if films.ids[row] in held else ():
            given[tag["group"]] += 1
            right[tag["group"]] += tag["text"].lower() in true.get(tag["group"], set())
    shown = [
        (films.truth[row]["title"], held[films.ids[row]]) for row in np.flatnonzero(films.stripped) if films.ids[row] in held
    ]
    return {
        "lacking": planned.lacking,
        "evidence": planned.kinds(),
        "without evidence": len(planned.nothing),
        "written": made.written,
        "by": dict(made.sources),
        "refused": made.refused,
        "seconds": round(made.seconds, 1),
        "likely texts believed": round(float(np.linalg.norm(vectors.expected_text, axis=1).max()), 4)
        if vectors.expected_text is not None
        else 0,
        "tags": {
            name: {
                "given": given[name],
                "precision": round(right[name] / given[name], 4) if name in ATTRIBUTES else None,
                "recall": round(right[name] / max(1, there[name]), 4) if name in ATTRIBUTES else None,
            }
            for name in sorted(given)
        },
        "samples": [{"film": title, "title": one.title, "text": one.text, "tags": one.tags} for title, one in shown[:10]],
    }


def _values(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if value is not None else []


def asked_people(films: Films, people: int, seed: int) -> list[str]:
    everybody = sorted(films.asked())
    return np.random.default_rng(seed).choice(everybody, min(people, len(everybody)), replace=False).tolist()


def ranking(films: Films, genrec: Recommender, users: Sequence[str]) -> dict[str, float]:
    """NDCG@10 of the film that is asked for, and how often it is among the candidates at all."""
    asked = films.asked()
    gains, found = [], []
    for user in users:
        ids = [row.item.item_id for row in genrec.recommend(user, CANDIDATES, rank="llm", explain="off")]
        place = ids.index(films.ids[asked[user]]) if films.ids[asked[user]] in ids else None
        found.append(place is not None)
        gains.append(0.0 if place is None else float(gain(place)))
    return {"people": len(users), "ndcg@10": round(float(np.mean(gains)), 4), "candidates": round(float(np.mean(found)), 4)}


def reasons(films: Films, genrec: Recommender, users: Sequence[str], write: str) -> dict[str, Any]:
    whole = [films.ids[row] for row in np.flatnonzero(~films.stripped)]
    asked: list[Asked] = []
    kinds: Counter[str] = Counter()
    sources: Counter[str] = Counter()

    explain: Explain = "llm" if write == "llm" else "template"

    async def facts(user: str) -> None:
        request = settled_request(genrec.workspace.settings, [user], SHOWN, rank="off", explain=explain, exclude=whole)
        answer = await genrec._asynchronous._pipeline.answer(request)
        async for _, reason in answer.reasons():
            kinds.update({one.kind for one in reason.evidence})
            sources[reason.source] += 1
        for number, (row, one) in enumerate(zip(answer.rows, answer.facts, strict=True)):
            asked.append(Asked(catalogue="films", user=user, number=number, title=row.item.title, facts=one))

    for user in users:
        genrec._wait(partial(facts, user))
    result: dict[str, Any] = {
        "reasons": len(asked),
        "with a shared attribute": round(kinds["attribute"] / max(1, len(asked)), 4),
        "evidence": {kind: round(count / max(1, len(asked)), 4) for kind, count in kinds.most_common()},
        "shown by": dict(sources),
        "samples": [f"{one.title}: {one.facts}"[:300] for one in asked[:3]],
    }
    if write == "llm":
        used = genrec.workspace.registry.in_use("write")
        adapter = used.adapter.name if used.adapter else ""
        llm = genrec._wait(genrec._asynchronous._pipeline.llm)
        texts, _ = first_tries(llm, genrec.workspace.prompts, asked, adapter, TUNED_TRIES[0])
        accepted = [not fault(text, one.facts) for text, one in zip(texts, asked, strict=True)]
        result["accepted at the first try"] = round(float(np.mean(accepted)), 4)
    return result


def looked_at(films: Films, folder: Path, text: TextEncoder, users: Sequence[str], write: str) -> dict[str, Any]:
    result = retrieval(films, folder, text)
    if users:
        with Recommender.open(folder) as genrec:
            if write == "llm":
                result["ranking"] = ranking(films, genrec, users)
            result["reasons"] = reasons(films, genrec, users, write)
    print(folder.name, json.dumps(result, default=str)[:1500], flush=True)
    return result


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--share", type=float, default=0.3)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--write", choices=("llm", "template"), default="llm")
    options.add_argument("--clip", default="", help="model of pictures; default: none")
    options.add_argument("--people", type=int, default=40)
    options.add_argument("--ways", nargs="+", choices=tuple(LEFT), default=list(LEFT))
    options.add_argument("--work", type=Path, help="folder of the worlds, kept; default: a temporary one")
    options.add_argument("--out", type=Path, default=RESULTS)
    asked = options.parse_args()
    start = time.perf_counter()
    films = Films.read(asked.data, asked.share, asked.seed)
    users = asked_people(films, asked.people, asked.seed)
    text = TextEncoder(resolve(Settings().models.text, "text"), device="cpu")
    with tempfile.TemporaryDirectory() as temporary:
        work = (asked.work or Path(temporary)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        result: dict[str, Any] = {"true": looked_at(films, _world(films, asked, work, None), text, users, asked.write)}
        for way in asked.ways:
            folder = _world(films, asked, work, way)
            result[way] = {"stripped": looked_at(films, folder, text, users, asked.write)}
            result[way]["captions"] = caption(films, folder)
            result[way]["captioned"] = looked_at(films, folder, text, users, asked.write)
            keep(asked, films, result | {"seconds": round(time.perf_counter() - start, 1)})


def keep(asked: argparse.Namespace, films: Films, result: dict[str, Any]) -> None:
    """Into the result file, in the place of an earlier run like this one."""
    known = json.loads(asked.out.read_text(encoding="utf-8")) if asked.out.exists() else {}
    known[f"{asked.write}, share {asked.share}, seed {asked.seed}{', pictures' if asked.clip else ''}"] = {
        **provenance(seed=asked.seed),
        "films": len(films.ids),
        "stripped": int(films.stripped.sum()),
        "people": len(films.asked()),
        **result,
    }
    asked.out.write_text(json.dumps(known, indent=1, ensure_ascii=False, default=str) + "\n", encoding="utf-8")


def _world(films: Films, asked: argparse.Namespace, work: Path, way: str | None) -> Path:
    left = None if way is None else LEFT[way]
    return make(
        films, work / (way or "true"), asked.data, left, str(Path(asked.clip).resolve()) if asked.clip else "", asked.write
    )


if __name__ == "__main__":
    main()
