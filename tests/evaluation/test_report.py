"""The page and the JSON of an evaluation: whole, right, harmless, and on one's own machine alone."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from genrec.errors import WorkspaceError
from genrec.evaluation import plots, wording
from genrec.evaluation.report import TRIALS, as_json, html, write_html, write_json
from genrec.evaluation.results import Estimate, Results, Sample, Slice, SystemResult, Trial
from tests.evaluation import sample

VOID = {"meta", "br", "hr", "img", "input", "link"}
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "]]></svg><!-- $\\frac{1}{$",
    "a\x00b\x1b[31m\u202eevil\u2028line",
    "lone \ud800 surrogate",
    "電影 🎬 ภาพยนตร์ فيلم",
    "{{ 7 * 7 }}{% raw %}",
    "[bold red]markup[/]",
    "javascript:alert(1)",
)


class Page(HTMLParser):
    """Tags in balance, attributes, ids, the text of cells by table row, text by section."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.ids: list[str] = []
        self.sections: dict[str, str] = {}
        self.rows: list[list[str]] = []
        self._section = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag == "section":
            self._section = dict(attrs).get("id") or "missing"
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag == "section":
            self._section = ""

    def handle_data(self, data: str) -> None:
        self.sections[self._section] = self.sections.get(self._section, "") + data
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data.strip()

    def row(self, column: str, first: str) -> list[str]:
        """The row whose first cell has `first` below the header row with the cell `column`."""
        start = next(n for n, row in enumerate(self.rows) if column in row)
        return next(row for row in self.rows[start + 1 :] if first in row[0])


@pytest.fixture(scope="module")
def results() -> Results:
    return sample.results()


@pytest.fixture(scope="module")
def page(results: Results) -> Page:
    return Page(html(results))


def test_figures_are_those_of_the_results(page: Page, results: Results) -> None:
    sasrec = results.system("sasrec").metrics
    row = page.row("SD overseeds", "sasrec")
    assert row[1] == f"{sasrec['ndcg@10'].mean:.4f}{sasrec['ndcg@10'].low:.4f} – {sasrec['ndcg@10'].high:.4f}"
    assert row[3].startswith(f"{sasrec['recall@50'].mean:.4f}")
    assert row[4] == "▼ −0.0229p < 0.001"
    assert row[5:] == ["0.0013", "1 min 36 s", "280 ms", "9 min 36 s"]
    for k in results.ks:
        cells = page.row(f"MAP@{k}", "ease")[1:]
        means = [results.system("ease").metrics[f"{family}@{k}"].mean for family in wording.ACCURACY]
        assert [cell[:6] for cell in cells] == [f"{mean:.4f}" for mean in means]
        assert page.row(f"Coverage@{k}", "ease")[1] == f"{results.system('ease').catalogue[f'coverage@{k}']:.4f}"
    assert page.row("AUC", "popular")[1].startswith("0.8500")


def test_the_best_of_a_column_is_marked(results: Results) -> None:
    text = html(replace(results, ks=(10,)))
    assert re.findall(r'class="n best">([\d.]+)', text.split('id="metrics"')[1].split("</section>")[0])[0] == "0.1312"
    assert "best" not in text.split('id="catalogue"')[1].split("</section>")[0]  # neither more nor less is better there


def test_significance_reads_both_ways(page: Page, results: Results) -> None:
    names = [system.name for system in wording.ranked(results)]
    learned, popular = page.row("row minus column", "learned"), page.row("row minus column", "popular")
    assert learned[1 + names.index("popular")] == "▲ +0.0958p < 0.001"
    assert popular[1 + names.index("learned")] == "▼ −0.0958p < 0.001"
    assert page.row("row minus column", "zero-shot")[1 + names.index("boosted")] == "≈ +0.0042p = 0.400"
    turned = wording.matrix(replace(results, pairs=tuple(reversed(results.pairs))))
    assert turned == wording.matrix(results)


def test_only_the_corrected_p_decides(results: Results) -> None:
    pairs = tuple(replace(pair, p=0.0001, p_holm=0.06) for pair in results.pairs)
    assert {cell.direction for cell in wording.matrix(replace(results, pairs=pairs)).values()} == {"open"}
    assert "may be chance" in wording.summary(replace(results, pairs=pairs))[1]
    assert wording.summary(results)[1] == "It is significantly ahead of all 8 others."


def test_bars_are_as_long_as_their_means(results: Results) -> None:
    svg = plots.metric_bars(results, "ndcg@10").svg
    ends = []
    for path, colour in re.findall(r'd="([^"]*)"[^>]*style="fill: var\(--(bar|c0)\)', svg):
        corners = [float(number) for number in re.findall(r"[\d.]+", path)][::2]
        ends.append((max(corners) - min(corners), colour))
    means = [system.metrics["ndcg@10"].mean for system in wording.ranked(results)]
    assert len(ends) == len(means)
    assert [width / ends[0][0] for width, _ in ends] == pytest.approx([mean / means[0] for mean in means], rel=1e-3)
    assert [colour for _, colour in ends] == ["c0"] + ["bar"] * (len(means) - 1)


def test_plots_take_their_colours_and_letters_from_the_page(results: Results) -> None:
    text = html(results)
    drawings = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(drawings) == 3 + 3 + 2 + 1  # metrics, slices, curves, gates
    for svg in drawings:
        assert not re.search(r"#[0-9a-f]{6}[;\"]", svg)
        assert "font-family" not in svg
        assert "DejaVu" not in svg
        assert "<text" in svg
    assert set(re.findall(r"var\((--\w+)\)", text)) <= set(re.findall(r"(--\w+):", text))
    light, dark = (set(re.findall(r"(--\w+):", part)) for part in re.findall(r":root \{(.*?)\}", text, re.DOTALL))
    assert light == dark


def test_a_system_looks_the_same_everywhere_and_the_reference_comes_first(results: Results) -> None:
    looks = plots.looks(replace(results, reference="ease"))
    assert looks["ease"].colour == 0
    assert len(set(looks.values())) == len(looks)
    many = replace(results, systems=tuple(replace(results.systems[0], name=f"s{n}") for n in range(25)))
    assert len({(look.colour, look.dash) for look in plots.looks(many).values()}) == 25


def test_nothing_is_loaded_and_nothing_runs(page: Page, results: Results) -> None:
    text = html(results)
    assert "://" not in text
    assert "@import" not in text
    assert page.tags.isdisjoint({"script", "link", "iframe", "img", "object", "form", "base"})
    for _, name, value in page.attributes:
        assert not name.startswith("on")
        assert name not in ("src", "srcset", "action")
        if name == "href":
            assert value[0] == "#"
            assert value[1:] in page.ids
        assert set(re.findall(r"url\(([^)]*)\)", value)) <= {f"#{known}" for known in page.ids}
    policy = next(value for tag, name, value in page.attributes if tag == "meta" and "default-src" in value and name == "content")
    assert policy.startswith("default-src 'none'")
    assert len(set(page.ids)) == len(page.ids)


def hostile(results: Results) -> Results:
    """Another hostile text for each system, and all of them everywhere else that a table or a package may put one."""
    names = {found.name: f"{text} {found.name}" for found, text in zip(results.systems, HOSTILE, strict=True)}
    systems = []
    for found, text in zip(results.systems, HOSTILE, strict=True):
        slices = tuple(replace(part, by=text, value=f"{n} {text}") for n, part in enumerate(found.slices))
        trials = tuple(
            replace(trial, settings={text: f"{n} {text}", "nested": [n, text]}) for n, trial in enumerate(found.trials)
        )
        changed = replace(found, name=names[found.name], note=text, hint=text, settings={text: text, "nested": {text: [text]}})
        systems.append(replace(changed, trials=trials, slices=slices, gates={text: 0.5, "image": 0.5}))
    pairs = tuple(replace(d, system=names[d.system], other=names[d.other]) for d in results.pairs)
    differences = tuple(replace(d, system=names[d.system], other=names[d.other]) for d in results.differences)
    every = " ".join(HOSTILE)
    return replace(
        results,
        systems=tuple(systems),
        reference=names[results.reference],
        pairs=pairs,
        differences=differences,
        attribute=every,
        split=replace(results.split, name=every, digest=every),
        environment=replace(results.environment, machine=every, versions={every: every}, date=every, genrec=every, python=every),
    )


def test_hostile_text_stays_text(results: Results, page: Page, tmp_path: Path) -> None:
    write_html(hostile(results), tmp_path / "page.html")
    written = (tmp_path / "page.html").read_text(encoding="utf-8")
    found = Page(written)
    assert found.tags == page.tags
    assert {name for _, name, _ in found.attributes} == {name for _, name, _ in page.attributes}
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e\u2028]", written)
    for text in HOSTILE[:-1]:  # the last system could not run: it has no settings
        shown = wording.name_of(text)
        assert shown in found.sections["figures"]  # in the table
        assert shown[:17] in found.sections["slices" if text in HOSTILE[:5] else "tuning"]
    assert wording.name_of(HOSTILE[-1]) in found.sections["missing"]


def test_parts_of_the_page_come_with_their_data(results: Results, page: Page) -> None:
    assert {"missing", "figures", "significance", "metrics", "slices", "catalogue", "gates", "tuning", "environment"} <= set(
        page.sections
    )
    assert "pip install 'genrec[eval]'" in page.sections["missing"]
    assert "cold" not in page.sections
    assert "Ceilings" not in page.sections["figures"]
    systems = tuple(replace(s, gates=None, slices=(), coverage=(), exposure=()) for s in results.systems if s.status == "ok")
    bare = Page(html(replace(results, systems=systems, pairs=())))
    assert set(bare.sections) & {"missing", "significance", "slices", "gates", "cold"} == set()
    assert {value for _, name, value in bare.attributes if name == "href"} <= {f"#{known}" for known in bare.ids}


def test_cold_beside_warm() -> None:
    found = Page(html(sample.cold(sample.results())))
    assert [cell[:6] for cell in found.row("cold / warm", "ease")] == ["▼ease"[:6], "NDCG@1", "0.1050", "0.1470", "71%"]
    assert "items without training events" in found.sections[""]


def test_a_second_stage_is_shown_with_its_ceiling(results: Results) -> None:
    found = Page(html(sample.reranked(results)))
    row = found.row("retriever", "learned")[1:]
    assert row == ["zero-shot", "0.5412", "100", "0.6234", "7.3%20 people, 2 shuffles", "1.2%", "30.0%", "5.0%"]
    assert found.row("retriever", "boosted")[1:] == ["ease", "0.4930", "50", "0.4930", "–", "–", "–", "–"]
    assert wording.footnotes(sample.reranked(results)) == [
        "learned reorders the 100 best of zero-shot: ceiling Recall@100 0.6234 (Recall@50 0.5412)",
        "learned, candidates shuffled: of their pairs 7.3% change order by the LLM, 1.2% in the list; "
        "of first places 30.0% and 5.0% (20 people, 2 shuffles each)",
        "boosted reorders the 50 best of ease: ceiling Recall@50 0.4930",
    ]
    assert wording.footnotes(results) == []


def test_a_sample_of_people_is_named(results: Results) -> None:
    drawn = replace(results, split=replace(results.split, sample=Sample(people=100, of=943, seed=0)))
    page = html(drawn)
    assert page.count("100 of 943 people, drawn at random (seed 0)") == 2
    assert "drawn at random" not in html(results)


def test_trials_show_what_varied_best_first(results: Results) -> None:
    trials = tuple(Trial(settings={"depth": n, "kind": "same"}, score=0.001 * n, seconds=1.5) for n in range(TRIALS + 5))
    found = Page(html(replace(results, systems=(replace(results.systems[0], trials=trials),), pairs=(), differences=())))
    header = next(row for row in found.rows if "on tuning" in row[0])
    assert header == ["NDCG@10 on tuning", "depth", "seconds"]
    rows = found.rows[found.rows.index(header) + 1 :][:TRIALS]
    assert [row[1] for row in rows] == [str(n) for n in range(TRIALS + 4, 4, -1)]
    assert f"best {TRIALS} of {TRIALS + 5}" in found.sections["tuning"]
    assert "52.5 s" in found.sections["tuning"]


def test_slices_leave_out_empty_parts_and_show_the_rest(results: Results) -> None:
    drawn = plots.slice_plots(results, "ndcg@10")
    assert [plot.title for plot in drawn] == ["By history length", "By target popularity", "By target platform"]
    assert "n = 131" in drawn[0].svg
    assert ">1-5<" not in drawn[0].svg
    names = [system.name for system in plots.sliced(replace(results, reference="popular"))]
    assert names == ["learned", "zero-shot", "boosted", "sasrec", "popular"]  # the reference is always among them


def test_nothing_could_run(results: Results, tmp_path: Path) -> None:
    absent = tuple(SystemResult(name=s.name, status="missing", note="no", hint="do") for s in results.systems)
    empty = replace(results, systems=absent, reference="", pairs=(), differences=())
    found = Page(html(empty))
    assert "No system could run." in found.sections["figures"]
    assert found.sections["missing"].count("could not run") == len(absent)


def test_where_nothing_was_found_nobody_is_best(results: Results) -> None:
    zero = Estimate(mean=0.0, low=0.0, high=0.0, n=97)
    systems = tuple(replace(s, metrics=dict.fromkeys(s.metrics, zero)) for s in results.systems)
    text = html(replace(results, systems=systems))
    assert "No system found anything: NDCG@10 is 0 for all. Could not run: rectools." in text
    assert "n best" not in text.split('id="metrics"')[1].split("</section>")[0]


def test_figures_that_could_not_be_measured_are_dashes(results: Results) -> None:
    nan = float("nan")
    lost = Estimate(mean=nan, low=nan, high=nan, n=0)
    system = replace(
        results.systems[0],
        metrics=dict.fromkeys(results.systems[0].metrics, lost),
        slices=(Slice(by="target", value="cold", n=3, metrics={"ndcg@10": lost}),),
    )
    found = Page(html(replace(results, systems=(system, *results.systems[1:]))))
    assert found.row("SD overseeds", "learned")[1] == "–– – –"
    assert "nan" not in re.sub(r"<[^>]*>", "", html(replace(results, systems=(system,), pairs=(), differences=())))


def test_files_are_whole_or_not_there(results: Results, tmp_path: Path) -> None:
    page, data = tmp_path / "new" / "a.html", tmp_path / "new" / "a.json"
    write_html(results, page)
    write_json(results, data)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["a.html", "a.json"]
    assert Results.from_json(json.loads(data.read_text())).to_json() == results.to_json()
    assert data.read_text() == as_json(results) + "\n"
    assert as_json(results).isascii()
    write_html(results, tmp_path / "again.html")
    assert page.read_bytes() == (tmp_path / "again.html").read_bytes()  # the same results are the same page
    (tmp_path / "file").write_text("in the way")
    for write in (write_html, write_json):
        with pytest.raises(WorkspaceError, match="file") as caught:
            write(results, tmp_path / "file" / "a")
        assert "--out" in caught.value.hint


def test_seconds_and_numbers_in_words() -> None:
    assert [wording.seconds(s) for s in (0.0042, 1.26, 61.0, 7265.0)] == ["4 ms", "1.3 s", "1 min 01 s", "2 h 01 min"]
    assert [wording.number(v) for v in (0.12345, 12.3456, 1234.5)] == ["0.1235", "12.35", "1,234"]
    assert [wording.p_value(p) for p in (0.0, 0.0009, 0.0212)] == ["p < 0.001", "p < 0.001", "p = 0.021"]
    assert [wording.label(m) for m in ("ndcg@10", "hit@5", "auc", "mine@3")] == ["NDCG@10", "Hit rate@5", "AUC", "mine@3"]
