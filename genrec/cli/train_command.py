"""`genrec train`: the retriever, what dialogues teach, and the adapters that rank, write and read turns."""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from genrec.cli.options import SeedOption, WorkspaceOption, given, open_workspace, refuse_beside
from genrec.cli.printing import Bars, say, say_built

if TYPE_CHECKING:
    from genrec.llm.adapters import Adapter
    from genrec.training.adapter_training import Sample
    from genrec.training.train_rerank import Proof

app = typer.Typer(help="Learn from the workspace's events; what is learned serves when it helps.", no_args_is_help=True)

NameOption = Annotated[str, typer.Option(help="Name of the adapter; empty: model, task, date and time.")]
EpochsOption = Annotated[int | None, typer.Option(min=0, help="Instead of the setting `epochs`.")]
FromOption = Annotated[str, typer.Option("--from", metavar="NAME", help="Go on from this adapter.")]
ExamplesOption = Annotated[list[Path] | None, typer.Option(help="JSON lines to learn from, instead of those that ship.")]
DryOption = Annotated[bool, typer.Option("--dry-run", help="Show examples and token counts; learn nothing.")]


@app.command()
def retriever(
    workspace: WorkspaceOption,
    epochs: Annotated[int | None, typer.Option(min=1, help="Instead of retrieval.train.epochs.")] = None,
    fusion: Annotated[
        Literal["attention", "concat", "graph"] | None, typer.Option(help="Instead of retrieval.train.fusion.")
    ] = None,
    seed: SeedOption = None,
) -> None:
    """The retriever: item encoder and sequence encoder ([retrieval.train] of the settings)."""
    from genrec.training.train_retriever import train_retriever

    settings = {"retrieval": {"train": given(epochs=epochs, fusion=fusion, seed=seed)}}
    with open_workspace(workspace, settings) as opened, Bars() as bars:
        outcome = train_retriever(opened, bars, say)
    if outcome is None:  # another process of `accelerate launch` saves and says
        return
    figures = outcome.card["validation"]
    say(f"retriever: validation NDCG@10 {figures['learned']:.4f}, untrained {figures['untrained']:.4f}")
    if not outcome.card["serves"]:
        say('the untrained one stays in service; retrieval.retriever = "learned" in genrec.toml serves the trained one')
    say_built(outcome.built)


@app.command()
def dialogues(
    workspace: WorkspaceOption,
    dialogues: Annotated[list[Path], typer.Option(help="A file of dialogues (docs/dialogues.md); may be given again.")],
    seed: SeedOption = 0,
) -> None:
    """What dialogues teach of finding items: which are named together, and how much each sign counts."""
    from genrec.training.train_dialogues import train_dialogues

    with open_workspace(workspace) as opened, Bars() as bars:
        card = train_dialogues(opened, dialogues, seed=seed or 0, progress=bars, tell=say)
    found = card["validation"]
    say(f"{card['dialogues']:,} dialogues, {card['moments']:,} moments; {found['metric']} of {found['moments']} held out: ")
    say(f"{found['learned']:.4f} against {found['untrained']:.4f} untrained")
    say("it serves" if card["serves"] else "it does not serve: it found no more than the untrained model")


@app.command()
def rerank(
    workspace: WorkspaceOption,
    name: NameOption = "",
    method: Annotated[
        Literal["likelihood", "labels", "markers"] | None, typer.Option(help="Instead of rank.train.method.")
    ] = None,
    epochs: EpochsOption = None,
    lists: Annotated[int | None, typer.Option(min=0, help="Instead of rank.train.lists.")] = None,
    held_out: Annotated[int | None, typer.Option(min=1, help="Instead of rank.train.held_out.")] = None,
    seed: SeedOption = None,
    also: Annotated[list[Path] | None, typer.Option(help="A further workspace whose events are learned from.")] = None,
    start: FromOption = "",
    fit: Annotated[str, typer.Option(metavar="NAME", help="Train nothing: fit how much this adapter counts here.")] = "",
    dry_run: DryOption = False,
) -> None:
    """The LoRA adapter that ranks candidates ([rank.train] of the settings)."""
    from genrec.training import train_rerank as training

    naming = {"--name": name or None, "--from": start or None}
    if fit:  # held_out and seed say which events; the rest is of the adapter
        of_adapter = {"--also": also, "--dry-run": dry_run, "--method": method, "--epochs": epochs, "--lists": lists}
        refuse_beside("--fit", naming | of_adapter)
    if dry_run:
        refuse_beside("--dry-run", naming)
    settings = {"rank": {"train": given(method=method, epochs=epochs, lists=lists, held_out=held_out, seed=seed)}}
    with ExitStack() as stack:
        opened = [stack.enter_context(open_workspace(folder, settings)) for folder in (workspace, *(also or ()))]
        bars = stack.enter_context(Bars())
        if dry_run:
            return _print_samples(training.dry_run(opened, bars))
        if fit:
            return say(_gain(training.fit_rerank(opened[0], fit, bars, say)))
        made = training.train_rerank(opened, name, bars, say, start=start, command=_command())
    if made is None:
        return None
    for proof in made.proofs:
        say(_gain(proof))
    return _say_made(made.adapter, bool(made.active), "it does not help here; `genrec adapters activate` would change that")


@app.command()
def write(
    workspace: WorkspaceOption,
    name: NameOption = "",
    examples: ExamplesOption = None,
    epochs: EpochsOption = None,
    seed: SeedOption = None,
    start: FromOption = "",
    dry_run: DryOption = False,
) -> None:
    """The LoRA adapter that writes reasons and captions ([write.train] of the settings)."""
    from genrec.training import train_write as training

    if dry_run:
        refuse_beside("--dry-run", {"--name": name or None, "--from": start or None})
    with open_workspace(workspace, {"write": {"train": given(epochs=epochs, seed=seed)}}) as opened, Bars() as bars:
        if dry_run:
            return _print_samples(training.dry_run(opened, examples or (), bars))
        made = training.train_write(opened, examples or (), name, bars, say, start=start, command=_command())
    return None if made is None else _say_made(made.adapter, made.active, "the checkers refuse most of what it writes")


@app.command()
def converse(
    workspace: WorkspaceOption,
    name: NameOption = "",
    examples: ExamplesOption = None,
    epochs: EpochsOption = None,
    seed: SeedOption = None,
    also: Annotated[list[Path] | None, typer.Option(help="Further JSON lines that are only learned from.")] = None,
    start: FromOption = "",
    dry_run: DryOption = False,
) -> None:
    """The LoRA adapter that reads what people say in a dialogue ([chat.train] of the settings)."""
    from genrec.training import train_converse as training

    if dry_run:
        refuse_beside("--dry-run", {"--name": name or None, "--from": start or None})
    with open_workspace(workspace, {"chat": {"train": given(epochs=epochs, seed=seed)}}) as opened, Bars() as bars:
        if dry_run:
            return _print_samples(training.dry_run(opened, examples or (), bars, also=also or ()))
        made = training.train_converse(opened, examples or (), name, bars, say, also=also or (), start=start, command=_command())
    if made is None:
        return None
    for what, figures in (("the parser alone", made.measured.parser), ("parser and adapter", made.measured.both)):
        if figures.n:
            say(f"{what}: {figures.said()}")
    return _say_made(made.adapter, made.active, "the parser alone reads no fewer turns right")


def _say_made(adapter: "Adapter", active: bool, why_not: str) -> None:
    say(f"adapter {adapter.name}: {adapter.path}")
    if not active:
        say(f"it is not in use, as {why_not}")


def _command() -> str:
    return " ".join(["genrec", *sys.argv[1:]])


def _gain(proof: "Proof") -> str:
    gain, low, high = proof.gain
    return (
        f"{proof.workspace}: NDCG@10 of {proof.people} people {proof.alone:.4f} by the {proof.retriever} retriever, "
        f"{proof.fused:.4f} with the adapter ({gain:+.4f}, 95% {low:+.4f} to {high:+.4f}); weight {proof.choice.weight:g}"
    )


def _print_samples(samples: Sequence["Sample"]) -> None:
    for one in samples:
        each = one.tokens / max(1, one.examples)
        print(
            f"{one.kind}: {one.examples} examples, {one.tokens} tokens ({each:.0f} each, longest {one.longest}), "
            f"{one.targets} tokens in the loss"
        )
        print(one.text, end="\n\n")
