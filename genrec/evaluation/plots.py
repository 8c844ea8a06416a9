"""Plots of an evaluation as inline SVG: text stays text, colours are CSS variables, so one drawing reads on light and dark."""

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from genrec.evaluation.results import Estimate, Results, Slice, SystemResult
from genrec.evaluation.wording import label, measured, name_of, number, ranked

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SERIES = 10
"""Colours there are for systems; a further system takes them again with another dash."""
NARROW, WIDE = 3.4, 4.3
"""Inches: 326 CSS pixels at scale 1, three in a row or one on a phone; and 413, two in a row."""
NAME_CHARS = 18
SLICED = 5
"""Systems shown in the plots of slices; the tables have all."""

# matplotlib knows no CSS variables: it draws with these stand-ins, which are replaced in the styles of the SVG
INK, MUTED, LINE, BAR = "#a1b2c1", "#a1b2c2", "#a1b2c3", "#a1b2c4"
_COLOURS = [f"#a1b2d{n}" for n in range(SERIES)]
_VARIABLES = {INK: "--ink", MUTED: "--muted", LINE: "--line", BAR: "--bar"} | {c: f"--c{n}" for n, c in enumerate(_COLOURS)}
_DASHES = ("-", "--", ":", "-.")
_MARKERS = {"o": "●", "s": "■", "D": "◆", "^": "▲", "v": "▼"}
"""matplotlib's marker to the character that a legend shows."""
_STAND_IN = re.compile("|".join(_VARIABLES))
_FAMILY = re.compile(r"font-family: [^;]*; ?")
_REFERENCE = re.compile(r"^#|(?<=url\()#")
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a name may hold dollar signs
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 9,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8.5,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "errorbar.capsize": 2.5,
    "figure.constrained_layout.use": True,
}


@contextmanager
def _styled() -> Iterator[None]:
    """The style of the page, whatever the reader's own matplotlibrc says."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # the browser draws the text and has the glyph
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")  # shaping, likewise the browser's
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


@dataclass(frozen=True, slots=True)
class Plot:
    """`svg` is markup without names of its own; `title` and `note` are text."""

    title: str
    svg: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """How a system is drawn in every plot: a number of the page's `--c` colours, a dash, a mark."""

    colour: int
    dash: str
    marker: str

    @property
    def glyph(self) -> str:
        return _MARKERS[self.marker]


def looks(results: Results) -> dict[str, Look]:
    """The reference takes the first colour, the others follow in the order of their main figure."""
    names = sorted((system.name for system in ranked(results)), key=lambda name: name != results.reference)
    return {
        name: Look(n % SERIES, _DASHES[n // SERIES % len(_DASHES)], list(_MARKERS)[n % len(_MARKERS)])
        for n, name in enumerate(names)
    }


@_styled()
def metric_bars(results: Results, metric: str) -> Plot:
    """A bar a system with its interval, best on the main metric first."""
    rows = [(system, system.metrics[metric]) for system in ranked(results) if measured(system.metrics, metric)]
    names = [system.name for system, _ in rows]
    bars = [_COLOURS[0] if name == results.reference else BAR for name in names]
    return Plot(label(metric), _bars(f"bars-{metric}", label(metric), names, [value for _, value in rows], bars))


@_styled()
def gate_bars(results: Results) -> list[Plot]:
    """For each system with a gate, a bar a modality, heaviest first."""
    plots = []
    for n, system in enumerate(ranked(results)):
        if system.gates:
            gates = sorted(system.gates.items(), key=lambda pair: -pair[1])
            means = [Estimate(mean=weight, low=weight, high=weight, n=0) for _, weight in gates]
            names = [name for name, _ in gates]
            svg = _bars(f"gate-{n}", f"gate of {system.name}", names, means, [_COLOURS[0]] * len(gates))
            plots.append(Plot(name_of(system.name), svg))
    return plots


@_styled()
def coverage_curve(results: Results) -> Plot | None:
    """How much of the catalogue anyone is shown, by the length of the lists."""
    drawn = [system for system in ranked(results) if system.coverage]
    if not drawn:
        return None
    figure, axes = _axes(WIDE, 3.1)
    _lines(axes, results, [(system, system.coverage) for system in drawn])
    axes.set(xlabel="length of the lists (K)", ylabel="share of the items in anyone's list", ylim=(0, None), xlim=(0, None))
    return Plot(
        "Coverage", _svg(figure, "coverage", "coverage by length of the lists"), "Higher: more of the catalogue is shown."
    )


@_styled()
def exposure_curve(results: Results) -> Plot | None:
    """The cumulative share of the places in all lists over the items, most popular first."""
    drawn = [system for system in ranked(results) if system.exposure]
    if not drawn:
        return None
    figure, axes = _axes(WIDE, 3.1)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=":")
    _lines(axes, results, [(system, system.exposure) for system in drawn])
    axes.set(
        xlabel="share of the items, most popular first", ylabel="share of the places in all lists", xlim=(0, 1), ylim=(0, 1.02)
    )
    note = "Dotted: every item equally often. The steeper a curve begins, the more the popular items fill the lists."
    return Plot("Exposure by popularity", _svg(figure, "exposure", "cumulative exposure over items by popularity"), note)


def sliced(results: Results) -> list[SystemResult]:
    """The systems that the plots of slices show: the reference and the best others."""
    systems = sorted(ranked(results), key=lambda system: system.name != results.reference)
    return ranked_within(results, systems[:SLICED])


def ranked_within(results: Results, some: Sequence[SystemResult]) -> list[SystemResult]:
    return [system for system in ranked(results) if system in some]


@_styled()
def slice_plots(results: Results, metric: str) -> list[Plot]:
    """For every way to slice the people, a row a part, in it a mark a system with its interval."""
    systems, styles = sliced(results), looks(results)
    kinds = dict.fromkeys(part.by for system in systems for part in system.slices)
    plots: list[Plot] = []
    for n, by in enumerate(kinds):
        parts = list({part.value: part for system in systems for part in system.slices if part.by == by and part.n}.values())
        if not parts:
            continue
        figure, axes = _axes(NARROW, 0.7 + len(parts) * (0.22 + 0.14 * len(systems)))
        for place, system in enumerate(systems):
            _slice_marks(axes, system, by, parts, metric, styles[system.name], (place + 0.5) / len(systems) - 0.5)
        names = [f"{name_of(part.value, NAME_CHARS)}\nn = {part.n:,}" for part in parts]
        axes.set_yticks(range(len(parts)), names)
        axes.set(ylim=(len(parts) - 0.45, -0.55), xlabel=label(metric), xlim=(0, None))
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
        axes.locator_params(axis="x", nbins=5)
        for edge in range(1, len(parts)):
            axes.axhline(edge - 0.5, color=LINE, linewidth=0.8)
        plots.append(Plot(f"By {name_of(by)}", _svg(figure, f"slice-{n}", f"{label(metric)} by {by}")))
    return plots


def _slice_marks(
    axes: "Axes", system: SystemResult, by: str, parts: Sequence[Slice], metric: str, look: Look, shift: float
) -> None:
    mine = {part.value: part.metrics[metric] for part in system.slices if part.by == by and measured(part.metrics, metric)}
    rows = [(row, mine[part.value]) for row, part in enumerate(parts) if part.value in mine]
    axes.errorbar(
        [value.mean for _, value in rows],
        [row + 0.72 * shift for row, _ in rows],
        xerr=_spread([value for _, value in rows]),
        fmt=look.marker,
        color=_COLOURS[look.colour],
        markersize=4.5,
        linewidth=1.3,
        capsize=0,
    )


def _bars(key: str, title: str, names: Sequence[str], values: Sequence[Estimate], colours: Sequence[str]) -> str:
    figure, axes = _axes(NARROW, 0.35 + 0.29 * len(names))
    places = range(len(names))
    axes.barh(places, [value.mean for value in values], color=colours, height=0.66)
    spread = _spread(values)
    if any(value for side in spread for value in side):
        axes.errorbar([v.mean for v in values], places, xerr=spread, fmt="none", color=INK, elinewidth=1.1)
    reach = max((value.high for value in values), default=0.0) or 1.0
    for place, value in zip(places, values, strict=True):
        axes.text(max(value.high, 0.0) + 0.02 * reach, place, number(value.mean), va="center", fontsize=8.5)
    axes.set_yticks(places, [name_of(name, NAME_CHARS) for name in names])
    axes.set(xlim=(0, 1.2 * reach), ylim=(len(names) - 0.5, -0.5))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.locator_params(axis="x", nbins=5)
    return _svg(figure, key, title)


def _lines(axes: "Axes", results: Results, curves: Sequence[tuple[SystemResult, Sequence[tuple[float, float]]]]) -> None:
    styles = looks(results)
    for system, points in reversed(curves):  # the best on top
        look, first = styles[system.name], system.name == results.reference
        x, y = [point[0] for point in points], [point[1] for point in points]
        axes.plot(x, y, color=_COLOURS[look.colour], linestyle=look.dash, linewidth=2.4 if first else 1.4)
    axes.grid()


def _spread(values: Sequence[Estimate]) -> tuple[list[float], list[float]]:
    """Lengths of the error bars to the left and the right."""
    return [max(0.0, v.mean - v.low) for v in values], [max(0.0, v.high - v.mean) for v in values]


def _axes(width: float, height: float) -> tuple["Figure", "Axes"]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _svg(figure: "Figure", key: str, title: str) -> str:
    """The figure as an `<svg>` element for the middle of an HTML page; `key` makes its ids its own."""
    import matplotlib

    key = re.sub(r"[^a-z0-9]+", "-", key.lower())
    matplotlib.rcParams["svg.hashsalt"] = key
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None})
    root = ElementTree.fromstring(drawn.getvalue())
    for parent in list(root.iter()):
        for child in [child for child in parent if child.tag.endswith(("}metadata", "}style"))]:
            parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {name.rpartition("}")[2]: _own(name, value, key) for name, value in element.attrib.items()}
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": name_of(title, 120)}
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)


def _own(name: str, value: str, key: str) -> str:
    """An attribute of matplotlib's SVG for this page: colours by variable, fonts from the page, ids with `key` in front."""
    if name == "id":
        return f"{key}-{value}"
    if name == "style":
        value = _STAND_IN.sub(lambda found: f"var({_VARIABLES[found[0]]})", value)
        return _FAMILY.sub("", value)
    return _REFERENCE.sub(f"#{key}-", value)
