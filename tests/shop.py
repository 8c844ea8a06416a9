"""A small shop: 60 films of six kinds, people who like one kind each, and the people and films that nobody knows yet."""

import csv
import json
import os
import random
import shutil
from pathlib import Path

from PIL import Image

from genrec.settings import SETTINGS_FILE
from genrec.workspace.build import build
from genrec.workspace.folder import Workspace
from genrec.workspace.ingest import ingest

KINDS = {
    "space": ("Sci-Fi|Adventure", "astronauts cross the galaxy in a starship", ("Star", "Orbit", "Galaxy", "Comet", "Planet")),
    "love": ("Romance|Comedy", "two people fall in love in a small town", ("Heart", "Kiss", "Café", "Letter", "Summer")),
    "crime": ("Crime|Thriller", "a detective hunts a murderer in the rain", ("Murder", "Heist", "Alibi", "Witness", "Verdict")),
    "war": ("War|Drama", "soldiers hold a bridge against tanks", ("Battle", "Trench", "Convoy", "Siege", "Medal")),
    "kids": ("Animation|Family", "talking animals look for their lost friend", ("Bear", "Rabbit", "Duck", "Pony", "Owl")),
    "horror": ("Horror|Mystery", "a haunted house does not let its guests go", ("Ghost", "Cellar", "Curse", "Grave", "Shadow")),
}
COUNTRIES = ("USA", "UK", "France")
COLD_ITEM = "space-9"
STATED, COLD = "stated", "cold"
PEOPLE = [f"u{n:02d}" for n in range(40)]
MAPPING = {"items": {"genres[|]": "genres", "text": "plot"}, "users": {"interests[;]": "interests"}}
SETTINGS = '[models]\nllm = "fake"\nimage = ""\n'


def item_rows() -> list[dict[str, str]]:
    rows = []
    for kind, (genres, plot, words) in KINDS.items():
        for n in range(10):
            title = f"The {words[n % 5]} {'Returns to the Old Harbour' if n >= 5 else 'Begins'}"
            row = {"item_id": f"{kind}-{n}", "title": title, "genres": genres, "year": str(1960 + 5 * n)}
            rows.append(row | {"country": COUNTRIES[n % 3], "plot": f"In this film {plot}, part {n}.", "image": ""})
    for row in rows[:4]:
        row["image"] = f"{row['item_id']}.png"
    return rows


def event_rows() -> list[dict[str, object]]:
    chance = random.Random(5)
    rows: list[dict[str, object]] = []
    for n, person in enumerate(PEOPLE):
        kind = list(KINDS)[n % len(KINDS)]
        liked = chance.sample([f"{kind}-{k}" for k in range(10) if f"{kind}-{k}" != COLD_ITEM], 5)
        other = f"{list(KINDS)[(n + 1) % len(KINDS)]}-{n % 9}"
        for place, item_id in enumerate([*liked[:3], other, *liked[3:]]):
            rating = 2 if item_id == other else chance.choice((4, 5))
            rows.append({"user_id": person, "item_id": item_id, "rating": rating, "timestamp": 1_600_000_000 + 1000 * n + place})
    return rows


def write_tables(folder: Path) -> None:
    """items.csv (with pictures beside it), events.jsonl, users.jsonl."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = item_rows()
    with (folder / "items.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    for n, row in enumerate(rows):
        if row["image"]:
            Image.new("RGB", (24, 16), (40 * n, 90, 120)).save(folder / row["image"])
    write_lines(folder / "events.jsonl", event_rows())
    profiles = [{"user_id": STATED, "interests": "haunted house; ghosts"}, {"user_id": COLD}, {"user_id": "u00", "age": 33}]
    write_lines(folder / "users.jsonl", profiles)


def write_lines(path: Path, rows: list[dict[str, object]] | list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def make(folder: Path, tables: Path) -> Path:
    """A built workspace of the shop."""
    write_tables(tables)
    with Workspace.create(folder):
        (folder / SETTINGS_FILE).write_text(SETTINGS)
    with Workspace.open(folder) as workspace:
        ingest(
            workspace,
            items=[tables / "items.csv"],
            events=[tables / "events.jsonl"],
            users=[tables / "users.jsonl"],
            mapping=MAPPING,
        )
        build(workspace)
    return folder


def copy(built: Path, to: Path) -> Path:
    shutil.copytree(built, to, copy_function=_copy_sparse)
    return to


def _copy_sparse(source: str, target: str) -> str:
    """Copy what was written and leave out the holes: the engine's files are 32 MiB each and nearly empty."""
    with open(source, "rb") as old, open(target, "wb") as new:
        size = os.fstat(old.fileno()).st_size
        new.truncate(size)
        end = 0
        while end < size:
            try:
                start = os.lseek(old.fileno(), end, os.SEEK_DATA)
            except OSError:  # nothing but a hole up to the end
                break
            end = os.lseek(old.fileno(), start, os.SEEK_HOLE)
            new.seek(start)
            new.write(os.pread(old.fileno(), end - start, start))
    return target
