"""The JSON schema and the patterns that a caption is written by."""

import json
import re

import pytest

from genrec.captions import caption_grammar
from genrec.captions.caption_checker import fault
from genrec.captions.caption_languages import ENGLISH, load_language
from genrec.captions.caption_prompt import Caption, CaptionFacts, caption_facts, parse_caption, render_prompt
from genrec.captions.caption_template import template_caption as template
from genrec.llm.fake import FakeLLM
from genrec.llm.protocol import WriteRequest
from genrec.prompts import Prompts
from genrec.reasons.facts import mark_titles
from tests.captions.test_caption_texts import ACCEPTED, BEHAVIOUR, CIRCLES, FILM, OWN, TAGS, WHOLE

THREE = CaptionFacts(tags=("drama",), together=("Ed", "Heat", "Big"))


@pytest.mark.parametrize("facts", [CIRCLES, TAGS, FILM, BEHAVIOUR, WHOLE, OWN])
async def test_an_engine_writes_what_the_schema_says(facts: CaptionFacts) -> None:
    prefix, rest = render_prompt(Prompts(), facts, tuned=False)
    request = WriteRequest(prefix=prefix, prompt=rest, max_tokens=200, stop=("\n",), schema=caption_grammar.schema(facts))
    (written,) = await FakeLLM().write([request])
    caption = parse_caption(written, facts)
    assert json.loads(caption_grammar.schema(facts))["required"] == ["title", "caption", "tags"]
    assert {tag.lower() for tag in caption.tags} <= {word.lower() for word in facts.tag_words}
    assert bool(json.loads(written)["title"]) <= (not facts.title)


def test_the_schema_has_the_tags_of_the_evidence() -> None:
    tags = json.loads(caption_grammar.schema(WHOLE))["properties"]["tags"]
    assert tags["items"]["enum"] == ["batteries not included", "Best Western", "waterproof", "robot"]
    assert json.loads(caption_grammar.schema(BEHAVIOUR))["properties"]["tags"]["maxItems"] == 0
    assert json.loads(caption_grammar.schema(OWN))["properties"]["title"]["maxLength"] == 0


@pytest.mark.parametrize(("facts", "title", "text"), ACCEPTED, ids=lambda one: str(one)[:40])
def test_the_patterns_are_of_the_words_that_the_checker_lets_pass(facts: CaptionFacts, title: str, text: str) -> None:
    made = json.loads(caption_grammar.schema(facts))["properties"]
    plain = template(facts, ENGLISH)
    if not facts.title:
        assert re.fullmatch(made["title"]["pattern"].strip("^$"), mark_titles(plain.title, facts.cited))
        assert made["title"]["examples"] == [mark_titles(plain.title, facts.cited)]
    pattern = made["caption"]["pattern"].strip("^$")
    assert re.fullmatch(pattern, mark_titles(plain.caption, facts.cited))
    for stray in ("Won an award.", "Beautiful.", f"{facts.near[0]}." if facts.near else "Unheard of.", "[1]."):
        assert not re.fullmatch(pattern, stray)


def test_the_patterns_offer_no_verbs_in_titles_and_no_guessed_forms() -> None:
    facts = caption_facts({"genres": ("Drama",), "category": "clock", "count": "4", "series": "Blue", "director": "Ann Lee"})
    made = json.loads(caption_grammar.schema(facts))["properties"]
    title, text = (re.compile(made[name]["pattern"]) for name in ("title", "caption"))
    for said in ("Four Blue Clocks", "Drama by Ann Lee", "Clock in the Genre of Drama", "Drama Directed by Ann Lee"):
        assert title.match(said)
        assert fault(Caption(title=said, caption="Drama."), facts) == ""
    for said in ("Blue Gives", "Four Countes", "Genr of Drama", "Clock Categorys", "Blue Serie"):
        assert not title.match(said)
    assert text.match("Four blue clocks, seen here.")
    cited = re.compile(json.loads(caption_grammar.schema(THREE))["properties"]["caption"]["pattern"])
    for said in ("[1]", "[1], [3]", "[1] and [3]", "[1], [2] and [3]", "[1], [3], and [2]"):
        assert cited.match(f"Drama, often chosen with {said}.")
    assert not cited.match("Drama, often chosen with [1] [2].")
    assert not text.match("Four blue clocks and sort.")


@pytest.mark.parametrize(
    ("facts", "texts"),
    [
        (CIRCLES, ["Three blue striped circles made of wood, on a table.", "3 Blue Circles: wood on tables."]),
        (FILM, ["Horror and Science Fiction directed by Ridley Scott, close to [1], often chosen with [2] and [3]."]),
        (WHOLE, ["A waterproof robot from Best Western, batteries not included."]),
    ],
)
def test_the_patterns_leave_room(facts: CaptionFacts, texts: list[str]) -> None:
    pattern = json.loads(caption_grammar.schema(facts))["properties"]["caption"]["pattern"].strip("^$")
    for text in texts:
        assert re.fullmatch(pattern, text)


def test_other_languages_have_no_patterns() -> None:
    german = load_language("de", Prompts())
    texts = json.loads(caption_grammar.schema(CIRCLES, german))["properties"]
    assert texts["title"].keys() == texts["caption"].keys() == {"type", "maxLength"}
