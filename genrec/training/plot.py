"""A picture of a training: loss and validation by epoch."""

from pathlib import Path

from genrec.errors import WorkspaceError


def draw(epochs: list[dict[str, float]], refit: list[dict[str, float]], untrained: float, learned: float, path: Path) -> None:
    """Write an SVG. `untrained` and `learned` are the validation figures of the untrained retriever, and of the best epoch with
    its anchor; both are drawn as lines. Raises WorkspaceError.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(range(1, len(epochs) + 1), [row["loss"] for row in epochs], marker="o", label="with validation held out")
    if refit:
        left.plot(range(1, len(refit) + 1), [row["loss"] for row in refit], marker="s", label="all events")
    left.set(xlabel="epoch", ylabel="loss (nats)", title="Training loss")
    right.plot(range(1, len(epochs) + 1), [row["validation"] for row in epochs], marker="o", label="network alone")
    right.axhline(learned, color="tab:green", label="learned, as it serves")
    right.axhline(untrained, linestyle="--", color="grey", label="untrained")
    right.set(xlabel="epoch", ylabel="NDCG@10", title="Validation, full ranking")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend()
        axes.xaxis.get_major_locator().set_params(integer=True)
    try:
        figure.savefig(path, format="svg")
    except OSError as error:
        raise WorkspaceError(f"{path}: {error.strerror or error}", hint="Free some space or mend the rights.") from error
