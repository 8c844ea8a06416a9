"""`genrec recommend`: a list for one person; `genrec demo`: the same from nothing, on MovieLens-100K."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from genrec.cli.options import JsonOption, UserOption, WorkspaceOption
from genrec.cli.printing import Bars, as_dict, cited_titles, print_recommendations, print_value, say, say_built


def recommend(
    workspace: WorkspaceOption,
    user: UserOption,
    k: Annotated[int, typer.Option("-k", help="How many items.")] = 10,
    query: Annotated[str, typer.Option(help="Words of the moment.")] = "",
    filter: Annotated[str, typer.Option(help="""For example 'year >= 1990 and genres has "Comedy"'.""")] = "",
    exclude: Annotated[list[str] | None, typer.Option(help="An item id that may not come back.")] = None,
    rank: Annotated[Literal["llm", "off"] | None, typer.Option(help="Who ranks.")] = None,
    explain: Annotated[Literal["llm", "template", "off"] | None, typer.Option(help="Who writes the reasons.")] = None,
    evidence: Annotated[Literal["retriever", "ranker"] | None, typer.Option(help="Whose score the evidence explains.")] = None,
    method: Annotated[Literal["likelihood", "labels", "markers"] | None, typer.Option(help="How the LLM scores.")] = None,
    explore: Annotated[float | None, typer.Option(help="How boldly little-known items are tried; 0: not at all.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the draws of --explore.")] = None,
    json: JsonOption = False,
) -> None:
    """The best unseen items for a person, each with a reason and its evidence."""
    from genrec.recommender import Recommender

    with Bars() as bars, Recommender.open(workspace, progress=bars) as genrec:
        rows = genrec.recommend(
            user,
            k,
            query=query,
            filter=filter,
            exclude=exclude or (),
            rank=rank,
            explain=explain,
            evidence=evidence,
            method=method,
            explore=explore,
            seed=seed,
        )
        titles = {} if json else cited_titles(genrec, rows)
    if not json:
        return print_recommendations(rows, titles)
    for row in rows:
        print_value(as_dict(row))
    return None


def demo(
    dir: Annotated[Path, typer.Option("--dir", help="Where the demo's workspace is, or will be.")] = Path("genrec-demo"),
    user: UserOption = "350",
) -> None:
    """MovieLens-100K from nothing to an explained top-10; the workspace stays for the other commands."""
    from genrec.data.datasets import load
    from genrec.recommender import Recommender
    from genrec.workspace.build import build
    from genrec.workspace.folder import Workspace
    from genrec.workspace.ingest import ingest

    with Bars() as bars:
        with Workspace.create(dir) as workspace:
            if not workspace.build_file.exists():
                data = load("movielens-100k")
                say(f"MovieLens-100K from {data.source} (GroupLens terms: research use, no redistribution)")
                report = ingest(workspace, items=[data.items], events=[data.events], users=[data.users], progress=bars)
                for line in report.summary():
                    say(line)
                say_built(build(workspace, bars))
        with Recommender.open(dir, progress=bars) as genrec:
            history = genrec.workspace.store.history(user, limit=8)
            items = genrec.workspace.store.items([event.item_id for event in history])
            rows = genrec.recommend(user, 10)
            titles = cited_titles(genrec, rows)
    rated = (f"{items[e.item_id].title} ({e.value:g})" if e.value is not None else items[e.item_id].title for e in history)
    say(f"\nPerson {user} lately rated: {'; '.join(rated)}\n")
    print_recommendations(rows, titles)
    say(f"\nThe workspace is {dir}. Try:\n  genrec recommend -w {dir} --user {user} --query space --filter 'year >= 1980'")
