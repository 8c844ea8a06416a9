"""`genrec demo`: MovieLens-100K, end to end."""

from pathlib import Path

from genrec.cli.printing import Bars, cited_titles, print_table, say, say_built
from genrec.data.datasets import load
from genrec.recommender import Recommender
from genrec.workspace.build import build, ingest
from genrec.workspace.folder import Workspace


def run_demo(folder: Path, user: str) -> None:
    """Make the workspace if it is not there, then print an explained top-10 for one person."""
    with Bars() as bars:
        with Workspace.create(folder) as workspace:
            if not workspace.build_file.exists():
                data = load("movielens-100k")
                say(f"MovieLens-100K from {data.source} (GroupLens terms: research use, no redistribution)")
                report = ingest(workspace, items=[data.items], events=[data.events], users=[data.users], progress=bars)
                for line in report.summary():
                    say(line)
                say_built(build(workspace, bars), say)
        with Recommender.open(folder, progress=bars) as genrec:
            history = genrec.workspace.store.history(user, limit=8)
            items = genrec.workspace.store.items([event.item_id for event in history])
            rows = genrec.recommend(user, 10)
            titles = cited_titles(genrec, rows)
    rated = (f"{items[e.item_id].title} ({e.value:g})" if e.value is not None else items[e.item_id].title for e in history)
    say(f"\nPerson {user} lately rated: {'; '.join(rated)}\n")
    print_table(rows, titles)
    say(f"\nThe workspace is {folder}. Try:\n  genrec recommend -w {folder} --user {user} --query space --filter 'year >= 1980'")
