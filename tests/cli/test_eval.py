"""`genrec eval` on the shop: the table, the files, the options, what is refused."""

import asyncio
import json
from pathlib import Path

import pytest

from genrec.cli import eval_command as evaluating
from genrec.errors import ConfigError, EngineError, WeightsError
from genrec.evaluation.reranked import Reranked
from genrec.evaluation.results import Results, Sample
from genrec.llm.fake import FakeLLM
from genrec.progress import SILENT, Progress
from genrec.prompts import Prompts
from genrec.retrieval.systems import System
from genrec.settings import Settings
from genrec.settings.sections import RankSettings
from genrec.workspace.folder import Workspace
from genrec.workspace.ingest import ingest
from tests import shop
from tests.cli.command import Done, refused
from tests.cli.command import genrec as run
from tests.evaluation import sample

QUICK = ("--systems", "popularity,ease", "--no-tune", "--seeds", "1")


def evaluated(folder: Path, *options: str | Path) -> Results:
    done = run("eval", "-w", folder, *QUICK, *options, "--json")
    assert done.code == 0, done.err
    return Results.from_json(json.loads(done.out))


def lines(done: Done) -> list[str]:
    return [line.strip("│ ") for line in done.out.splitlines() if "│" in line]


def test_a_table_and_two_files(own_shop: Path) -> None:
    done = run("eval", "-w", own_shop, *QUICK)
    assert done.code == 0, done.err
    page, data = own_shop / "reports/eval-leave-one-out.html", own_shop / "reports/eval-leave-one-out.json"
    assert done.err == f"{page}\n{data}\n"
    results = Results.from_json(json.loads(data.read_text()))
    assert {system.name for system in results.systems} == {"popularity", "ease"}
    assert [system.status for system in results.systems] == ["ok", "ok"]
    best = max(results.systems, key=lambda system: system.metrics["ndcg@10"].mean)
    table = lines(done)
    assert table[0].startswith(best.name)
    value = best.metrics["ndcg@10"]
    assert f"{value.mean:.4f} [{value.low:.4f}, {value.high:.4f}]" in table[0]
    assert f"{best.catalogue['coverage@10']:.4f}" in table[0]
    assert "(p " in table[1]
    assert "leave-one-out: 40 histories asked, 60 items ranked, 200 events in training" in done.out
    assert "popularity" in page.read_text(encoding="utf-8")


def test_json_is_all_there_is_on_stdout(own_shop: Path, tmp_path: Path) -> None:
    splits = ("--split", "leave-one-out", "--split", "cold-users", "--split", "leave-one-out")
    done = run("eval", "-w", own_shop, *QUICK, *splits, "--json", "--out", tmp_path / "o")
    assert done.code == 0, done.err
    found = [Results.from_json(json.loads(line)) for line in done.out.splitlines()]
    assert [results.split.name for results in found] == ["leave-one-out", "cold-users"]  # a split given twice is one
    assert [json.loads(line) for line in done.out.splitlines()] == [
        json.loads((tmp_path / "o" / f"eval-{name}.json").read_text()) for name in ("leave-one-out", "cold-users")
    ]
    assert len(list((tmp_path / "o").iterdir())) == 4
    assert not (own_shop / "reports").exists()


def test_cold_items(own_shop: Path) -> None:
    results = evaluated(own_shop, "--split", "cold-items")
    assert results.split.name == "cold-items"
    assert results.split.cold_items > 1
    assert all(system.warm for system in results.systems)


def test_global_time(own_shop: Path, tmp_path: Path) -> None:
    refused(run("eval", "-w", own_shop, *QUICK, "--split", "global-time"), 10, "global time")  # one person after another
    later: list[dict[str, object]] = [
        {"user_id": f"u{n:02d}", "item_id": f"war-{n % 9}", "timestamp": 1_700_000_000 + n, "rating": 4} for n in range(20)
    ]
    shop.write_lines(tmp_path / "later.jsonl", later)
    with Workspace.open(own_shop) as workspace:
        ingest(workspace, events=[tmp_path / "later.jsonl"])
    results = evaluated(own_shop, "--split", "global-time")
    assert results.split.cutoff is not None
    assert results.split.cutoff > 1_600_000_000
    assert results.split.cases > 1


def test_newcomers_are_asked_on_request(own_shop: Path, tmp_path: Path) -> None:
    late: list[dict[str, object]] = [
        {"user_id": f"new{n}", "item_id": f"war-{n % 9}", "timestamp": 1_700_000_000 + n, "rating": 4} for n in range(40)
    ]
    shop.write_lines(tmp_path / "late.jsonl", late)
    with Workspace.open(own_shop) as workspace:
        ingest(workspace, events=[tmp_path / "late.jsonl"])
    ask = ("eval", "-w", own_shop, *QUICK, "--split", "global-time")
    done = run(*ask)
    refused(done, 10, "nobody has events on both sides")
    assert "--newcomers" in done.err
    results = evaluated(own_shop, "--split", "global-time", "--newcomers")
    assert results.split.cases == 28  # a tenth of 280 events, all of them by people who are new
    refused(run("eval", "-w", own_shop, *QUICK, "--newcomers"), 2, "--newcomers")


def test_the_llm_ranks_behind_any_system(own_shop: Path) -> None:
    done = run("eval", "-w", own_shop, "--systems", "ease+llm,popularity,ease", "--no-tune", "--seeds", "1")
    assert done.code == 0, done.err
    data = own_shop / "reports/eval-leave-one-out.json"
    results = Results.from_json(json.loads(data.read_text()))
    assert [system.name for system in results.systems] == ["ease+llm", "popularity", "ease"]
    reranked, plain = results.system("ease+llm"), results.system("ease")
    assert reranked.ceiling == plain.metrics["recall@50"].mean
    assert reranked.metrics["ndcg@10"].mean != plain.metrics["ndcg@10"].mean
    assert reranked.settings["rerank"]["llm"] == "fake"
    assert reranked.candidates == 50
    assert f"ease+llm reorders the 50 best of ease: ceiling Recall@50 {reranked.ceiling:.4f}\n" in done.out
    assert "ease+llm, candidates shuffled: of their pairs 0.0% change order by the LLM" in done.out
    assert "Ceilings and order flips" in (own_shop / "reports/eval-leave-one-out.html").read_text(encoding="utf-8")


def test_the_ranker_is_the_workspaces(own_shop: Path) -> None:
    few = evaluated(own_shop, "--systems", "ease+llm", "--candidates", "7").system("ease+llm")
    assert (few.candidates, few.settings["rerank"]["candidates"]) == (7, 7)
    (own_shop / "prompts").mkdir()
    template = Prompts()._source("rerank")[0]
    (own_shop / "prompts/rerank.j2").write_text(template.replace("{{ cut }}", "no cut"))
    (own_shop / "genrec.toml").write_text(shop.SETTINGS + '[rank]\nmethod = "labels"\n[retrieval]\ncandidates = 9\n')
    done = run("eval", "-w", own_shop, *QUICK, "--systems", "ease+llm", "--json")
    (broken,) = Results.from_json(json.loads(done.out)).systems
    assert broken.status == "missing"
    assert "rerank.j2" in broken.note
    (own_shop / "prompts/rerank.j2").unlink()
    own = evaluated(own_shop, "--systems", "ease+llm").system("ease+llm")
    assert (own.candidates, own.settings["rerank"]["method"]) == (9, "labels")


def test_a_model_that_cannot_be_had_is_missing_with_its_hint(own_shop: Path) -> None:
    (own_shop / "genrec.toml").write_text('[models]\nllm = "./nowhere"\nimage = ""\n')
    done = run("eval", "-w", own_shop, *QUICK, "--systems", "ease+llm,popularity+llm,ease")
    assert done.code == 0, done.err
    assert done.out.count("could not run") == 2
    assert "ease+llm could not run: no folder" in done.err
    results = Results.from_json(json.loads((own_shop / "reports/eval-leave-one-out.json").read_text()))
    lost = [results.system(name) for name in ("ease+llm", "popularity+llm")]
    assert lost[0].note == lost[1].note
    assert lost[0].hint
    assert results.system("ease").status == "ok"


def test_few_people_can_be_asked(own_shop: Path) -> None:
    done = run("eval", "-w", own_shop, *QUICK, "--people", "11")
    assert "11 histories asked, 60 items ranked, 200 events in training; 11 of 40 people, drawn at random (seed 0)" in done.out
    drawn = Results.from_json(json.loads((own_shop / "reports/eval-leave-one-out.json").read_text()))
    assert drawn.split.sample == Sample(people=11, of=40, seed=0)
    assert drawn.systems[0].metrics["ndcg@10"].n == 11
    assert evaluated(own_shop, "--people", "1000").split.sample is None


def test_options_arrive(own_shop: Path) -> None:
    plain = evaluated(own_shop)
    assert plain.ks == (1, 5, 10, 20, 50)
    assert not any(system.trials for system in plain.systems)
    assert plain.attribute
    turned = evaluated(own_shop, "--reference", "popularity", "--k", "3,7")
    assert turned.reference == "popularity"
    assert plain.reference == "ease"
    assert turned.ks == (3, 7, 10)
    assert evaluated(own_shop, "--seeds", "2").environment.seeds == (0, 1)
    assert evaluated(own_shop, "--attribute", "country").attribute == "country"
    done = run("eval", "-w", own_shop, "--systems", "ease", "--json")  # tuned, and alone
    tuned = Results.from_json(json.loads(done.out))
    assert [system.name for system in tuned.systems] == ["ease"]
    assert len(tuned.systems[0].trials) > 1


def test_what_is_refused(own_shop: Path, tmp_path: Path) -> None:
    ask = ("eval", "-w", own_shop, *QUICK)
    refused(run(*ask, "--systems", "magic"), 2, "magic")
    refused(run(*ask, "--k", "1,x"), 2, "1,x")
    refused(run(*ask, "--k", "0"), 2, "'0'")
    refused(run(*ask, "--k", ","), 2, "','")
    refused(run(*ask, "--reference", "als"), 10, "als")
    refused(run(*ask, "--attribute", "nosuch"), 10, "nosuch")
    refused(run("eval", "-w", tmp_path / "none", *QUICK), 3, "none")
    (tmp_path / "file").write_text("in the way")
    refused(run(*ask, "--out", tmp_path / "file"), 3, "file")
    refused(run(*ask, "--systems", "magic+llm"), 2, "magic+llm")
    refused(run(*ask, "--systems", "+llm"), 2, "+llm")
    refused(run(*ask, "--systems", "ease+llm+llm"), 2, "ease+llm+llm")
    refused(run(*ask, "--candidates", "5"), 2, "--candidates")
    assert run(*ask, "--systems", "ease+llm", "--candidates", "0").code == 2
    assert run(*ask, "--people", "0").code == 2
    assert run(*ask, "--split", "magic").code == 2
    assert run(*ask, "--seeds", "0").code == 2


def test_without_a_build_it_says_what_to_do(tmp_path: Path) -> None:
    shop.write_tables(tmp_path / "t")
    with Workspace.create(tmp_path / "w"):
        pass
    refused(run("eval", "-w", tmp_path / "w", *QUICK), 3, "build.json")


def systems(*names: str) -> list[System]:
    def rerank(base: System) -> System:
        return Reranked(base, lambda progress: FakeLLM(), Prompts(), RankSettings(), 5)

    return evaluating._systems(names, Settings(), rerank)


def test_all_systems_without_llm_are_the_default_and_names_keep_their_order() -> None:
    everything = {system.name for system in systems()}
    assert {"popularity", "item-knn", "ease", "als", "bpr", "sasrec", "boosted", "zero-shot", "learned"} == everything
    named = systems(*evaluating.names_of(" ease+llm, learned,popularity,ease,learned+llm,ease"))
    assert [system.name for system in named] == ["ease+llm", "learned", "popularity", "ease", "learned+llm"]
    bases = [system.base for system in named if isinstance(system, Reranked)]
    assert bases == [named[3], named[1]]  # the very objects: fitted once
    with pytest.raises(ConfigError, match="nosuch"):
        systems("nosuch")


def test_the_llm_is_loaded_once_when_asked_for_and_closed() -> None:
    loaded: list[FakeLLM] = []

    def load(progress: Progress) -> FakeLLM:
        loaded.append(FakeLLM())
        return loaded[-1]

    with evaluating.Engine(load) as engine:
        assert loaded == []
        assert engine(SILENT) is engine(SILENT)
    assert len(loaded) == 1
    with pytest.raises(EngineError, match="closed"):
        asyncio.run(loaded[0].score([]))
    tries: list[int] = []

    def fail(progress: Progress) -> FakeLLM:
        tries.append(1)
        raise WeightsError("none", hint="h")

    with evaluating.Engine(fail) as engine:
        for _ in range(2):
            with pytest.raises(WeightsError, match="none"):
                engine(SILENT)
    assert tries == [1]


def test_what_could_not_run_is_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    evaluating.print_results(sample.results())
    printed = capsys.readouterr()
    row = next(line for line in printed.out.splitlines() if "rectools" in line)
    assert "could not run" in row
    assert printed.err == "rectools could not run: the package rectools is not installed pip install 'genrec[eval]'\n"
    names = [line.split()[1] for line in printed.out.splitlines() if line.startswith("│")]
    assert names == [*sample.FIGURES, "rectools"]
    assert "▼ −0.0122 (p < 0.001)" in printed.out
