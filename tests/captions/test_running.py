"""Runs of `genrec caption`: what is written, kept, left alone, and gone on with after a kill."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from genrec.captions.caption_checker import fault
from genrec.captions.caption_languages import ENGLISH, load_language
from genrec.captions.caption_prompt import Caption, CaptionFacts
from genrec.captions.caption_run import CaptionOptions
from genrec.captions.caption_writer import CaptionRequest, CaptionWriter, RateLimiter
from genrec.captions.captioner import Captioner
from genrec.errors import AdapterError, ConfigError, EngineError, UnknownItemError, WorkspaceError
from genrec.llm.protocol import WriteRequest
from genrec.prompts import Prompts
from genrec.settings.sections import CaptionSettings
from genrec.types import Event, Item, StoredCaption
from genrec.workspace.folder import Workspace
from tests.captions.world import ALL, ALONE, BEHAVIOUR, NO_TEXT, NO_TITLE, Shop, Typist

ROOT = Path(__file__).parent.parent.parent


async def test_every_item_that_lacks_words_gets_what_it_lacks(opened: Shop) -> None:
    done = await opened.run()
    assert done.plan.lacking == len(ALL) + 1
    assert done.plan.nothing == (ALONE,)
    assert (done.written, done.sources, done.failed) == (len(ALL), {"llm": len(ALL)}, {})
    stored = opened.by_model()
    assert sorted(stored) == sorted(ALL)
    for item_id in NO_TITLE:
        assert stored[item_id].title
        assert stored[item_id].text is None
    for item_id in NO_TEXT:
        assert stored[item_id].title is None
        assert stored[item_id].text
    items = opened.workspace.store.items(BEHAVIOUR)
    for item_id in BEHAVIOUR:
        assert items[item_id].title
        assert items[item_id].text
        assert set(items[item_id].generated) >= {"title", "text"}


async def test_what_is_kept_says_where_it_comes_from_and_holds_against_it(opened: Shop) -> None:
    before = time.time()
    await opened.run()
    for one in opened.by_model().values():
        facts = one.evidence["facts"]
        told = CaptionFacts(
            attributes=tuple((name, tuple(values)) for name, values in facts["attributes"]),
            tags=tuple(facts["tags"]),
            near=tuple(facts["near"]),
            together=tuple(facts["together"]),
            title=facts["title"],
        )
        text = one.text or "It has " + told.attributes[0][1][0] + "."
        assert fault(Caption(title=one.title or told.title, caption=text), told) == ""
        assert (one.model, one.adapter, one.language, one.source) == ("fake", "", "en", "llm")
        assert one.prompt == Prompts().digest("caption")
        assert before <= one.made_at <= time.time()
        assert one.evidence_digest
        for tag in one.evidence["tags"]:
            assert tag["sources"]
            assert 0 < tag["probability"] <= 1


async def test_a_second_run_writes_nothing(opened: Shop) -> None:
    await opened.run()
    stored = opened.by_model()
    assert isinstance(opened.llm, Typist)
    opened.llm.asked.clear()
    again = await opened.run()
    assert (again.written, again.plan.unchanged, opened.llm.asked) == (0, len(ALL), [])
    assert opened.by_model() == stored


async def test_what_changed_is_written_anew_and_nothing_else(opened: Shop) -> None:
    await opened.run()
    store = opened.workspace.store
    war = store.item(NO_TEXT[0], given=True)
    store.put_items([replace(war, attributes={**war.attributes, "director": "Ana Lund"})])
    assert (await opened.run(new=True)).written == 0
    plan = opened.captioner().plan(CaptionOptions())
    assert [target.evidence.item.item_id for target in plan.targets] == [NO_TEXT[0]]
    assert plan.changed == 1
    assert (await opened.run()).written == 1
    assert "Ana Lund" in str(opened.by_model()[NO_TEXT[0]].text)


@pytest.mark.parametrize("change", ["language", "prompt", "writer"])
async def test_another_writer_writes_anew(opened: Shop, change: str) -> None:
    await opened.run()
    folder = opened.workspace.folder
    if change == "prompt":
        text = (Prompts().path("caption.j2") or Path()).read_text(encoding="utf-8")
        (folder / "prompts").mkdir()
        (folder / "prompts" / "caption.j2").write_text(text.replace("Each item", "Every item"), encoding="utf-8")
    settings = {"language": {"language": "de"}, "prompt": {}, "writer": {"write": "template"}}[change]
    with Workspace.open(folder, settings={"caption": settings}) as workspace:
        done = await Shop(workspace, None if change == "writer" else Typist()).run()
    assert done.written == len(ALL)


async def test_options_choose_items_and_parts(opened: Shop) -> None:
    assert (await opened.run(only="title")).written == len(NO_TITLE) + len(BEHAVIOUR)
    assert opened.by_model()[BEHAVIOUR[0]].text is None
    assert (await opened.run(only="title")).written == 0
    assert (await opened.run(items=BEHAVIOUR[:1])).written == 1
    assert opened.by_model()[BEHAVIOUR[0]].text
    assert opened.by_model()[BEHAVIOUR[0]].title
    assert (await opened.run(limit=2)).written == 2
    assert (await opened.run()).written == 1
    assert (await opened.run(rewrite=True)).written == len(ALL)
    with pytest.raises(UnknownItemError, match="war-99"):
        await opened.run(items=("war-99",))


async def test_a_person_who_wrote_is_not_written_over(opened: Shop) -> None:
    mine = StoredCaption(item_id=BEHAVIOUR[0], source="human", title="Mine", text="")
    opened.workspace.store.put_captions([mine])
    assert (await opened.run()).written == len(ALL) - 1
    assert BEHAVIOUR[0] not in opened.by_model()
    assert opened.workspace.store.item(BEHAVIOUR[0]).title == "Mine"


async def test_a_caption_from_a_file_is_left_alone_unless_named(opened: Shop) -> None:
    other = StoredCaption(item_id=NO_TEXT[0], text="By a large model.", model="large", imported=True)
    opened.workspace.store.put_captions([other])
    assert (await opened.run()).written == len(ALL) - 1
    assert opened.by_model()[NO_TEXT[0]].model == "large"
    assert (await opened.run(items=NO_TEXT[:1])).written == 1
    assert opened.by_model()[NO_TEXT[0]].model == "fake"


async def test_captions_whose_evidence_is_gone_are_named(opened: Shop) -> None:
    opened.workspace.store.put_items([Item(item_id=ALONE, attributes={"colour": "red"})])
    await opened.run(items=(ALONE,))
    opened.workspace.store.put_items([Item(item_id=ALONE)])
    captioner = opened.captioner()
    planned = captioner.plan(CaptionOptions())
    assert (planned.nothing, opened.by_model()[ALONE].title) == ((ALONE,), "Red")
    assert any(ALONE in note and "--revert" in note for note in captioner.notes)


async def test_phrases_of_its_own_text_are_no_guesses(opened: Shop) -> None:
    await opened.run(items=NO_TITLE)
    (one,) = opened.by_model().values()
    assert any(list(tag["sources"]) == ["text"] for tag in one.evidence["tags"])
    assert "tags" not in one.note


async def test_what_the_checker_refuses_is_asked_for_again_and_then_left_to_the_template(opened: Shop) -> None:
    opened.llm = Typist(lies=["Title: "], tries=1)
    done = await opened.run()
    assert (done.refused, done.sources["llm"], done.usage.requests) == (len(NO_TEXT), len(ALL), len(ALL) + len(NO_TEXT))
    again = {request.temperature for request in opened.llm.asked if "Title: " in request.prompt}
    assert again == {0.0, 0.7}
    doubt = {item_id: one.doubt for item_id, one in opened.by_model().items()}
    opened.llm = Typist(lies=["Title: "], tries=2)
    done = await opened.run(rewrite=True)
    assert done.sources == {"llm": len(ALL) - len(NO_TEXT), "template": len(NO_TEXT)}
    for item_id in NO_TEXT:
        one = opened.by_model()[item_id]
        assert one.source == "template"
        assert "`masterpiece`" in one.note
        assert one.doubt > doubt[item_id] > 0
        assert one.text
        assert fault(Caption(title="x", caption=one.text), _facts(one)) == ""


def _facts(one: StoredCaption) -> CaptionFacts:
    facts = one.evidence["facts"]
    attributes = tuple((name, tuple(values)) for name, values in facts["attributes"])
    return CaptionFacts(attributes=attributes, tags=tuple(facts["tags"]), together=tuple(facts["together"]), title="x")


async def test_a_text_that_ends_too_soon_is_refused_and_no_fault_of_the_engine(opened: Shop) -> None:
    opened.llm = Typist(cut=["JSON:"])
    done = await opened.run()
    assert (done.failed, done.sources) == ({}, {"template": len(ALL)})
    assert (done.refused, done.usage.requests) == (2 * len(ALL), 2 * len(ALL))
    assert all("before the JSON value was whole" in one.note for one in opened.by_model().values())


async def test_an_item_without_an_answer_is_left_out_and_tried_again(opened: Shop) -> None:
    opened.llm = Typist(silent=["Title: The"])
    done = await opened.run()
    assert set(done.failed) == set(NO_TEXT)
    assert "dead" in done.failed[NO_TEXT[0]]
    assert done.written == len(ALL) - len(NO_TEXT)
    opened.llm = Typist()
    assert (await opened.run()).written == len(NO_TEXT)


async def test_an_engine_that_is_dead_ends_the_run(opened: Shop) -> None:
    opened.llm = Typist(silent=["JSON:"])
    with pytest.raises(EngineError, match="dead") as caught:
        await opened.run()
    assert caught.value.hint
    assert opened.by_model() == {}


async def test_other_faults_end_the_run_as_themselves(opened: Shop) -> None:
    class Closed(Typist):
        def _write(self, request: WriteRequest) -> str:
            raise AdapterError("no adapter", hint="Train one.")

    opened.llm = Closed()
    with pytest.raises(AdapterError, match="no adapter"):
        await opened.run()


def test_killed_half_way_it_goes_on_without_paying_twice(blanked: Path) -> None:
    script = (
        "import asyncio, os, signal, sys\n"
        "from genrec.captions import caption_run as running\n"
        "from genrec.workspace.folder import Workspace\n"
        "from tests.captions.world import Shop, Typist\n"
        "running.IN_FLIGHT = 1\n"
        "class Killed(Typist):\n"
        "    def _write(self, request):\n"
        "        if len(self.asked) == 3:\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return super()._write(request)\n"
        "with Workspace.open(sys.argv[1]) as workspace:\n"
        "    asyncio.run(Shop(workspace, Killed()).run())\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(blanked)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr
    with Workspace.open(blanked) as workspace:
        import asyncio

        shop = Shop(workspace)
        kept = shop.by_model()
        assert len(kept) == 3
        rest = asyncio.run(shop.run())
        assert (rest.written, rest.plan.unchanged, rest.usage.requests) == (len(ALL) - 3, 3, len(ALL) - 3)
        assert {item_id: shop.by_model()[item_id] for item_id in kept} == kept


def test_without_a_build_it_says_so(tmp_path: Path) -> None:
    with Workspace.create(tmp_path / "w") as workspace:
        workspace.store.put_items([Item(item_id="a")])
        with pytest.raises(WorkspaceError) as caught:
            Captioner(workspace, None)
        assert "genrec build" in caught.value.hint


def test_a_language_without_words_is_refused(blanked: Path) -> None:
    with Workspace.open(blanked, settings={"caption": {"language": "xx"}}) as workspace, pytest.raises(ConfigError, match="'xx'"):
        Captioner(workspace, Typist())


async def test_other_languages_have_a_prompt_and_words_of_their_own(blanked: Path) -> None:
    with Workspace.open(blanked, settings={"caption": {"language": "de"}}) as workspace:
        typist = Typist()
        done = await Shop(workspace, typist).run()
        assert all("German" in request.prefix for request in typist.asked)
        assert done.sources == {"template": len(ALL)}  # `often chosen with` is not German
        assert all(one.language == "de" for one in Shop(workspace).by_model().values())
        assert all("oft gewählt mit" in str(workspace.store.item(item_id).text).lower() for item_id in BEHAVIOUR)


async def test_prompts_of_two_items_begin_the_same(opened: Shop) -> None:
    await opened.run()
    assert isinstance(opened.llm, Typist)
    assert len({request.prefix for request in opened.llm.asked}) == 1
    assert len({request.prompt for request in opened.llm.asked}) == len(ALL)
    assert all(request.schema for request in opened.llm.asked)


async def test_requests_and_tokens_a_minute_are_limited() -> None:
    start = time.perf_counter()
    pace = RateLimiter(600)
    for _ in range(3):
        await pace.wait()
    assert 0.2 <= time.perf_counter() - start < 5
    none = RateLimiter(0)
    start = time.perf_counter()
    for _ in range(100):
        await none.wait(1e9)
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("settings", [CaptionSettings(requests_per_minute=300), CaptionSettings(tokens_per_minute=60 * 5 * 300)])
async def test_the_writer_keeps_to_the_limits(settings: CaptionSettings) -> None:
    writer = CaptionWriter(Typist(), Prompts(), settings, ENGLISH)
    request = CaptionRequest(facts=CaptionFacts(attributes=(("colour", ("red",)),)))
    start = time.perf_counter()
    for seed in range(3):
        await writer.write(request, seed)
    assert time.perf_counter() - start >= 0.35


async def test_max_tokens_reach_the_engine() -> None:
    asked: list[WriteRequest] = []
    typist = Typist()
    typist.asked = asked
    await CaptionWriter(typist, Prompts(), CaptionSettings(max_tokens=77), load_language("en", Prompts())).write(
        CaptionRequest(facts=CaptionFacts(title="Heat", attributes=(("year", ("1995",)),))), seed=3
    )
    assert (asked[0].max_tokens, asked[0].seed) == (77, 3)


@pytest.mark.parametrize(
    ("texts", "kept"),
    [
        (("Red red wool.", "Red."), "Red."),
        (("Red red wool.", "Red red red wool."), "Red red wool."),
        (("Red.",), "Red."),
    ],
)
async def test_a_text_that_says_a_thing_twice_is_asked_for_again(texts: tuple[str, ...], kept: str) -> None:
    class Writer(Typist):
        def _write(self, request: WriteRequest) -> str:
            super()._write(request)
            return json.dumps({"title": "Red", "caption": texts[len(self.asked) - 1], "tags": []})

    writer = Writer()
    facts = CaptionFacts(attributes=(("colour", ("red",)), ("material", ("wool",))))
    made = await CaptionWriter(writer, Prompts(), CaptionSettings(), ENGLISH).write(CaptionRequest(facts=facts), seed=1)
    assert (made.caption.caption, made.source, made.refused, len(writer.asked)) == (kept, "llm", (), len(texts))


async def test_titles_come_from_items_that_the_same_people_chose(opened: Shop) -> None:
    known = {one.item.item_id: one for one in opened.captioner()._evidence.collect(list(BEHAVIOUR))}
    for item_id in BEHAVIOUR:
        for told in known[item_id].record["together"]:
            histories = opened.workspace.store.histories(opened.workspace.store.user_ids())
            both = [u for u, events in histories.items() if {item_id, told["item_id"]} <= {event.item_id for event in events}]
            assert len(both) == told["people"] >= 2
        assert known[item_id].facts.together
    opened.workspace.store.add_events([Event(user_id="x", item_id=ALONE, timestamp=1.0)])
    assert opened.captioner()._evidence.collect([ALONE])[0].facts.empty
