"""`genrec train`: the retriever, and the adapters that rank, write and read turns."""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from genrec.cli.eval_chat import learn

if TYPE_CHECKING:
    from genrec.training.adapter_training import Sample
    from genrec.training.train_converse import TrainedReader
    from genrec.training.train_rerank import Proof
    from genrec.training.train_write import TrainedWriter

app = typer.Typer(help="Learn from the workspace's events; what is learned serves when it helps.", no_args_is_help=True)

app.command(name="dialogues")(learn)

WorkspaceOption = Annotated[Path, typer.Option("-w", "--workspace", help="The workspace folder.")]
NameOption = Annotated[str, typer.Option(help="Name of the adapter; empty: model, task, date and time.")]
EpochsOption = Annotated[int | None, typer.Option(min=0, help="Instead of the setting `epochs`.")]
SeedOption = Annotated[int | None, typer.Option(min=0, help="Instead of the setting `seed`.")]
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
    from genrec.cli.printing import Bars, say, say_built, say_trained
    from genrec.training.train_retriever import train_retriever
    from genrec.workspace.folder import Workspace

    with (
        Workspace.open(workspace, settings={"retrieval": {"train": _given(epochs=epochs, fusion=fusion, seed=seed)}}) as opened,
        Bars() as bars,
    ):
        outcome = train_retriever(opened, bars, say)
    if outcome is None:  # another process of `accelerate launch` saves and says
        return
    say_trained("retriever", outcome.card, say)
    say_built(outcome.built, say)


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
    from genrec.cli.printing import Bars, say
    from genrec.training import train_rerank as training
    from genrec.workspace.folder import Workspace

    given = _given(method=method, epochs=epochs, lists=lists, held_out=held_out, seed=seed)
    naming = {"--name": name, "--from": start}
    if fit:  # held_out and seed say which events; the rest is of the adapter
        _alone("--fit", naming | {"--also": also, "--dry-run": dry_run, **_options(method=method, epochs=epochs, lists=lists)})
    if dry_run:
        _alone("--dry-run", naming)
    with ExitStack() as stack:
        opened = [
            stack.enter_context(Workspace.open(folder, settings={"rank": {"train": given}}))
            for folder in (workspace, *(also or ()))
        ]
        bars = stack.enter_context(Bars())
        if dry_run:
            return _show(training.dry_run(opened, bars))
        if fit:
            proof = training.fit_rerank(opened[0], fit, bars, say)
            return say(_in_words(proof))
        made = training.train_rerank(opened, name, bars, say, start=start, command=_command())
    if made is None:
        return None
    for proof in made.proofs:
        say(_in_words(proof))
    say(f"adapter {made.adapter.name}: {made.adapter.path}")
    if not made.active:
        say("it is not in use, as it does not help here; `genrec adapters activate` would change that")
    return None


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
    from genrec.cli.printing import Bars, say
    from genrec.training import train_write as training
    from genrec.workspace.folder import Workspace

    if dry_run:
        _alone("--dry-run", {"--name": name, "--from": start})
    with Workspace.open(workspace, settings={"write": {"train": _given(epochs=epochs, seed=seed)}}) as opened, Bars() as bars:
        if dry_run:
            return _show([*training.dry_run(opened, examples or (), bars)])
        made = training.train_write(opened, examples or (), name, bars, say, start=start, command=_command())
    return None if made is None else _told(made, "the checkers refuse most of what it writes")


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
    from genrec.cli.printing import Bars, say
    from genrec.training import train_converse as training
    from genrec.workspace.folder import Workspace

    if dry_run:
        _alone("--dry-run", {"--name": name, "--from": start})
    with Workspace.open(workspace, settings={"chat": {"train": _given(epochs=epochs, seed=seed)}}) as opened, Bars() as bars:
        if dry_run:
            return _show([*training.dry_run(opened, examples or (), bars, also=also or ())])
        made = training.train_converse(opened, examples or (), name, bars, say, also=also or (), start=start, command=_command())
    if made is None:
        return None
    for what, figures in (("the parser alone", made.measured.parser), ("parser and adapter", made.measured.both)):
        if figures.n:
            say(f"{what}: {figures.said()}")
    return _told(made, "the parser alone reads no fewer turns right")


def _told(made: "TrainedWriter | TrainedReader", unused: str) -> None:
    """`unused`: why it is not in use, if it is not."""
    from genrec.cli.printing import say

    say(f"adapter {made.adapter.name}: {made.adapter.path}")
    if not made.active:
        say(f"it is not in use, as {unused}")


def _given(**values: object) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}


def _options(**values: object) -> dict[str, object]:
    """Option → whether it was given."""
    return {f"--{name}": value is not None for name, value in values.items()}


def _alone(option: str, others: dict[str, Any]) -> None:
    """Raises BadParameter for an option that would have no effect beside this one."""
    for other, value in others.items():
        if value:
            raise typer.BadParameter(f"{other} says nothing together with {option}")


def _command() -> str:
    return " ".join(["genrec", *sys.argv[1:]])


def _in_words(proof: "Proof") -> str:
    gain, low, high = proof.gain
    return (
        f"{proof.workspace}: NDCG@10 of {proof.people} people {proof.alone:.4f} by the {proof.retriever} retriever, "
        f"{proof.fused:.4f} with the adapter ({gain:+.4f}, 95% {low:+.4f} to {high:+.4f}); weight {proof.choice.weight:g}"
    )


def _show(samples: Sequence["Sample"]) -> None:
    for one in samples:
        each = one.tokens / max(1, one.examples)
        print(
            f"{one.kind}: {one.examples} examples, {one.tokens} tokens ({each:.0f} each, longest {one.longest}), "
            f"{one.targets} tokens in the loss"
        )
        print(one.text, end="\n\n")
