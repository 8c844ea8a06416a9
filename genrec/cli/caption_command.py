"""`genrec caption`: captions for items that lack text, and what people do with them."""

import asyncio
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from genrec.cli.options import JsonOption, WorkspaceOption, given, open_workspace, refuse_beside
from genrec.cli.printing import Bars, print_columns, print_value, say, say_built

if TYPE_CHECKING:
    from genrec.captions.caption_run import Captioned, CaptionOptions, CaptionPlan
    from genrec.captions.captioner import Captioner, Estimate
    from genrec.types import StoredCaption
    from genrec.workspace.folder import Workspace

SHOWN = 3
"""Captions shown after a run."""
EXAMPLES = 20
"""Doubtful captions listed where no --limit is given."""
AFTER_BUILD = "searches and recommendations know the new words after `genrec build`"


def caption(
    workspace: WorkspaceOption,
    only: Annotated[Literal["title", "text"] | None, typer.Option(help="Write titles alone, or texts alone.")] = None,
    items: Annotated[list[str] | None, typer.Option(help="These items alone, also where their caption is from a file.")] = None,
    new: Annotated[bool, typer.Option("--new", help="Leave captions alone whose evidence or writer has changed.")] = False,
    all: Annotated[bool, typer.Option("--all", help="Write captions again that still hold, and those from files.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many items.")] = None,
    language: Annotated[str | None, typer.Option(help="Instead of caption.language.")] = None,
    writer: Annotated[Literal["llm", "template"] | None, typer.Option(help="Instead of caption.write.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be written and what it would cost.")] = False,
    build: Annotated[bool, typer.Option("--build", help="Run `genrec build` afterwards.")] = False,
    json: JsonOption = False,
    review: Annotated[bool, typer.Option("--review", help="List doubtful captions, worst first, and why.")] = False,
    set: Annotated[
        str | None, typer.Option("--set", metavar="ITEM", help="Write about an item by hand; it wins for ever.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="With --set; empty: it has none.")] = None,
    text: Annotated[str | None, typer.Option(help="With --set; empty: it has none.")] = None,
    tags: Annotated[str | None, typer.Option(help="With --set: words between commas.")] = None,
    revert: Annotated[str | None, typer.Option(metavar="ITEM", help="Take back a person's words, or else the model's.")] = None,
    export: Annotated[Path | None, typer.Option(help="Write all captions to a file, .jsonl or .csv.")] = None,
    load: Annotated[Path | None, typer.Option("--import", help="Take captions from a file, .jsonl or .csv.")] = None,
) -> None:
    """Write titles, texts and tags of items that lack them, from pictures, attributes and what people do. Needs a build."""
    modes = {"--review": review, "--set": set, "--revert": revert, "--export": export, "--import": load}
    run = {"--only": only, "--items": items, "--new": new, "--all": all, "--dry-run": dry_run, "--build": build}
    run |= {"--language": language, "--writer": writer}
    mode = _mode(modes, run, {"--limit": limit}, {"--title": title, "--text": text, "--tags": tags})
    with open_workspace(workspace, {"caption": given(language=language, write=writer)}) as opened:
        if mode == "--review":
            _review(opened, limit or EXAMPLES, json)
        elif mode:
            _edit(opened, mode, modes[mode], title=title, text=text, tags=tags)
        else:
            from genrec.captions.caption_run import CaptionOptions

            options = CaptionOptions(only=only, items=tuple(items or ()), new=new, rewrite=all, limit=limit)
            _run(opened, options, dry_run=dry_run, build=build, json=json)


def _mode(modes: dict[str, Any], run: dict[str, Any], limit: dict[str, Any], words: dict[str, Any]) -> str:
    """The one mode that was asked for, empty for a run. Raises BadParameter for options that would have no effect."""
    mode, *more = [name for name, value in modes.items() if value not in (None, False)] or [""]  # `--set ""` is a mode, too
    if mode:
        refuse_beside(mode, dict.fromkeys(more, True) | run)
        refuse_beside(mode, ({} if mode == "--set" else words) | ({} if mode == "--review" else limit))
    for name, value in words.items():
        if value is not None and mode != "--set":
            raise typer.BadParameter(f"{name} says nothing without --set")
    if run["--dry-run"]:
        refuse_beside("--dry-run", {"--build": run["--build"]})
    if run["--new"]:
        refuse_beside("--new", {"--all": run["--all"]})
    return mode


def _run(workspace: "Workspace", options: "CaptionOptions", *, dry_run: bool, build: bool, json: bool) -> None:
    from genrec.captions.captioner import Captioner, load_llm
    from genrec.workspace.build import build as make

    with Bars() as bars:
        llm = load_llm(workspace, bars)
        try:
            captioner = Captioner(workspace, llm, bars)
            planned = captioner.plan(options)
            _say_plan(captioner, planned)
            if dry_run:
                return _print_estimate(planned, captioner.estimate(planned), json)
            outcome = asyncio.run(captioner.write(planned))
        finally:
            if llm is not None:
                llm.close()
        built = make(workspace, bars) if build else None  # also where an earlier run wrote without
    _say_outcome(outcome)
    if json:
        print_value(_outcome(outcome))
    else:
        ids = [target.evidence.item.item_id for target in planned.targets]
        _print_some(workspace, [item_id for item_id in ids if item_id not in outcome.failed])
    if built is not None:
        say_built(built)
    elif outcome.written:
        say(AFTER_BUILD)
    if outcome.failed:
        raise typer.Exit(8)
    return None


def _say_plan(captioner: "Captioner", planned: "CaptionPlan") -> None:
    for note in captioner.notes:
        say(f"note: {note}")
    say(
        f"{planned.lacking} items lack text: {len(planned.targets)} to write about ({planned.changed} of them anew), "
        f"{planned.unchanged} captions hold, nothing is known of {len(planned.nothing)}"
    )
    if planned.nothing:
        named = ", ".join(planned.nothing[:SHOWN]) + (", …" if len(planned.nothing) > SHOWN else "")
        say(
            f"nothing is known of {named}: what helps is a picture, an attribute, or people who chose it and items with a title; "
            "`--set ITEM --title …` writes one by hand"
        )


def _say_outcome(outcome: "Captioned") -> None:
    if not outcome.written and not outcome.failed:
        return
    by = ", ".join(f"{count} by {_WHO[source]}" for source, count in outcome.sources.most_common())
    speed = f"{outcome.written / outcome.seconds:.1f} a second" if outcome.seconds else ""
    say(f"{outcome.written} captions in {outcome.seconds:.1f} s ({speed}): {by}; {outcome.refused} texts were refused")
    if outcome.usage.requests:
        usage = outcome.usage
        say(f"{usage.requests} requests, {usage.tokens_in} prompt tokens, {usage.tokens_out} written")
    for item_id, why in list(outcome.failed.items())[:SHOWN]:
        say(f"{item_id}: left out: {why}")
    if len(outcome.failed) > SHOWN:
        say(f"… and {len(outcome.failed) - SHOWN} more; the next run tries them again")


_WHO = {"llm": "the LLM", "picture": "the LLM that sees", "template": "the template", "human": "a person"}


def _print_estimate(planned: "CaptionPlan", estimate: "Estimate", json: bool) -> None:
    if json:
        counts = {"lacking": planned.lacking, "unchanged": planned.unchanged, "changed": planned.changed}
        known = {"nothing_known": list(planned.nothing), "evidence": planned.kinds()}
        print_value(dataclasses.asdict(estimate) | counts | known)
        return
    if not planned.targets:
        return
    rows = [("captions", str(estimate.captions)), *((f"  with {kind}", str(count)) for kind, count in planned.kinds().items())]
    if estimate.by_llm:
        rows += [
            ("requests", str(estimate.requests)),
            ("prompt tokens", str(estimate.tokens_in)),
            ("written tokens", f"about {estimate.tokens_out}"),
            ("cost", "caption.price_in and price_out are 0" if estimate.cost is None else f"about {estimate.cost:.2f}"),
        ]
    rows.append(("time", "not measured yet" if estimate.seconds is None else f"about {_time(estimate.seconds)}"))
    print_columns(("what", "how much"), rows)


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _outcome(outcome: "Captioned") -> dict[str, Any]:
    return {
        "written": outcome.written,
        "sources": dict(outcome.sources),
        "refused": outcome.refused,
        "failed": outcome.failed,
        "seconds": round(outcome.seconds, 3),
        **dataclasses.asdict(outcome.usage),
        "lacking": outcome.plan.lacking,
        "unchanged": outcome.plan.unchanged,
        "nothing_known": list(outcome.plan.nothing),
    }


def _print_some(workspace: "Workspace", ids: Sequence[str]) -> None:
    """Some of what was written."""
    chosen = ids[:: max(1, len(ids) // SHOWN)][:SHOWN]
    stored = {one.item_id: one for one in workspace.store.captions(chosen) if one.source != "human"} if chosen else {}
    if stored:
        _print_captions(workspace, [stored[item_id] for item_id in chosen if item_id in stored])


def _print_captions(workspace: "Workspace", captions: Sequence["StoredCaption"]) -> None:
    items = workspace.store.items([one.item_id for one in captions])
    rows = [
        (
            one.item_id,
            one.title if one.title is not None else items[one.item_id].title,
            one.text or "",
            ", ".join(one.tags or ()),
            one.source,
            f"{one.doubt:.2f}{f': {one.note}' if one.note else ''}",
        )
        for one in captions
        if one.item_id in items
    ]
    print_columns(("item", "title", "text", "tags", "by", "doubt"), rows)


def _review(workspace: "Workspace", limit: int, json: bool) -> None:
    from genrec.captions.editing import doubtful

    found = doubtful(workspace)
    if json:
        for one in found[:limit]:
            print_value(dataclasses.asdict(one))
    elif found:
        _print_captions(workspace, found[:limit])
    floor = workspace.settings.caption.doubtful
    say(f"{len(found)} captions with a doubt of {floor:g} or more; `genrec caption --set ITEM --title …` writes one by hand")


def _edit(workspace: "Workspace", mode: str, on: Any, *, title: str | None, text: str | None, tags: str | None) -> None:
    """`on`: the item id or the path that was given with `mode`."""
    from genrec.captions import editing
    from genrec.data.ingest_report import Report

    if mode == "--set":
        editing.edit(workspace, on, title=title, text=text, tags=None if tags is None else tags.split(","))
        say(f"{on}: your words win from now on; searches know them after `genrec build`")
    elif mode == "--revert":
        gone = editing.revert(workspace, on)
        whose = "a person's words are" if gone and gone.source == "human" else "the model's caption is"
        say(f"{on}: {whose} taken back; searches know it after `genrec build`" if gone else f"{on}: nothing was written about it")
    elif mode == "--export":
        say(f"{editing.export(workspace, on)} captions written to {on}")
    else:
        report = Report()
        try:
            editing.load(workspace, on, report)
        finally:
            for line in report.summary():
                say(line)
        if report.tables["captions"].kept:
            say(AFTER_BUILD)
