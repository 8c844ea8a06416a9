"""Captions: the evidence in words, the prompt, the JSON, and the checker against captions that say more than the evidence."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec.captions.caption_checker import Verdict, check, fault
from genrec.captions.caption_prompt import Caption, CaptionFacts, caption_facts, parse_caption, render_prompt, to_json
from genrec.errors import PromptError
from genrec.prompts import Prompts
from genrec.types import AttributeValue

CIRCLES = CaptionFacts(
    attributes=(
        ("shape", ("circle",)),
        ("colour", ("blue",)),
        ("pattern", ("striped",)),
        ("material", ("wood",)),
        ("setting", ("table",)),
        ("count", ("3",)),
    )
)
TAGS = CaptionFacts(tags=("red", "triangle", "paper"))
FILM = CaptionFacts(
    attributes=(("genres", ("Horror", "Science Fiction")), ("director", ("Ridley Scott",)), ("actors", ("Sigourney Weaver",))),
    near=("The Thing (1982)",),
    together=("Aliens (1986)", "Blade Runner (1982)"),
    title="Alien (1979)",
)
BEHAVIOUR = CaptionFacts(near=("Blue Train",), together=("Giant Steps", "Kind of Blue"))
SAME = CaptionFacts(near=("Azul",), together=("Azul",))
WHOLE = CaptionFacts(
    attributes=(("note", ("batteries not included",)), ("brand", ("Best Western",)), ("waterproof", ("yes",))), tags=("robot",)
)
OWN = CaptionFacts(title="Great Expectations", attributes=(("author", ("Charles Dickens",)),))

Row = tuple[CaptionFacts, str, str]
ACCEPTED: list[Row] = [
    (CIRCLES, "Three Blue Striped Circles of Wood", "Three blue striped circles made of wood, on a table."),
    (CIRCLES, "3 Blue Circles", "A trio of circles, set on a table. The material is wood!"),
    (CIRCLES, "Striped Circle", "The pattern is striped and the colour blue."),
    (CIRCLES, "Wood", "This item shows wood on tables."),
    (TAGS, "Red Paper Triangles", "It shows a red triangle of paper."),
    (FILM, FILM.title, "Horror and science fiction directed by Ridley Scott, starring Sigourney Weaver."),
    (FILM, FILM.title, 'By director Ridley Scott and close to "The Thing (1982)".'),
    (FILM, FILM.title, 'Often chosen with "Aliens (1986)" and "Blade Runner (1982)", and similar to "The Thing (1982)".'),
    (FILM, FILM.title, 'People who chose "Aliens (1986)" also chose this.'),
    (FILM, FILM.title, 'Alien (1979) is chosen with "Aliens (1986)", and often with "Blade Runner (1982)".'),
    (BEHAVIOUR, 'Close to "Blue Train"', 'Often chosen with "Giant Steps", "Kind of Blue".'),
    (BEHAVIOUR, 'Chosen with "Kind of Blue"', 'A companion to "Giant Steps", much like "Blue Train".'),
    (SAME, 'Close to "Azul"', 'Often chosen with "Azul".'),
    (WHOLE, "Waterproof Robot", "A waterproof robot from Best Western, batteries not included."),
    (OWN, OWN.title, "Great Expectations is written by Charles Dickens."),
]
GOOD = "Three blue circles on a table."
REFUSED: list[tuple[str, CaptionFacts, str, str, str]] = [
    ("no evidence", CaptionFacts(), "Item", "An item.", "there is no evidence"),
    ("short title", CIRCLES, "A", GOOD, "title: it has 1 characters"),
    ("long title", CIRCLES, "Blue circle " * 7, GOOD, "title: it has 84 characters"),
    ("sentence as title", CIRCLES, "Blue circles.", GOOD, "title: it ends in `.`"),
    ("title of nothing", CIRCLES, "Item", GOOD, "title: it says nothing of the evidence"),
    ("invented title", CIRCLES, "Blue Moon", GOOD, "title: `moon` is not in the evidence"),
    ("another title than its own", FILM, "Alien", "Horror.", "title: it is not the item's own title"),
    ("title of another item", FILM, "The Thing (1982)", "Horror.", "title: it is not the item's own title"),
    ("two lines in the title", CIRCLES, "Blue\ncircles", GOOD, "title: it is not one plain line"),
    ("empty caption", CIRCLES, "Blue Circles", "", "caption: it is empty"),
    ("two lines", CIRCLES, "Blue Circles", "Blue circles\non a table.", "caption: it is not one plain line"),
    ("leading space", CIRCLES, "Blue Circles", " Blue circles.", "caption: it is not one plain line"),
    ("direction mark", CIRCLES, "Blue Circles", "Blue \u202ecircles.", "caption: it is not one plain line"),
    ("chat token", CIRCLES, "Blue Circles", "Blue circles <|im_end|>.", "caption: it is not one plain line"),
    ("no end", CIRCLES, "Blue Circles", "Blue circles on a table", "caption: it does not end as a sentence"),
    ("three sentences", CIRCLES, "Blue Circles", "Blue. Striped. Wood.", "more than two sentences"),
    ("endless", CIRCLES, "Blue Circles", "Blue " * 60 + "circles.", "caption: it has 308 characters"),
    ("says nothing", CIRCLES, "Blue Circles", "This item is something.", "caption: it says nothing of the evidence"),
    ("other colour", CIRCLES, "Blue Circles", "Three red circles.", "`red` is not in the evidence"),
    ("other shape", CIRCLES, "Blue Circles", "Three blue squares.", "`squares` is not in the evidence"),
    ("other count", CIRCLES, "Blue Circles", "Four blue circles.", "`four` is not in the evidence"),
    ("other figure", CIRCLES, "Blue Circles", "4 blue circles.", "`4` is a number that is not in the evidence"),
    ("figure out of a decimal", replace(TAGS, tags=("red", "3.5 cm")), "Red", "Red, 3 cm.", "`3` is a number"),
    ("decimal out of a figure", CIRCLES, "Blue Circles", "3.5 blue circles.", "`3.5` is a number"),
    ("figure that begins a decimal", CIRCLES, "Blue Circles", "Blue circles, 13.", "`13` is a number"),
    ("plural of a year", replace(TAGS, tags=("red", "1970")), "Red", "Red from the 1970s.", "`1970s` is a number"),
    ("judgement", CIRCLES, "Blue Circles", "Three great blue circles.", "`great` is a judgement"),
    ("perfect", CIRCLES, "Perfect Blue Circles", GOOD, "title: `perfect` is a judgement"),
    ("judgement out of the title", OWN, OWN.title, "A great author: Charles Dickens.", "`great` is a judgement"),
    ("judgement out of a value", WHOLE, "Robot", "The best robot.", "`best` is a judgement"),
    ("value with a judgement in other case", WHOLE, "Robot", "A robot of the best western.", "`best` is a judgement"),
    ("half of a negation", WHOLE, "Robot", "A robot, batteries included.", "`batteries` is not in the evidence"),
    ("negation", CIRCLES, "Blue Circles", "Blue circles, not on a table.", "`not` is not in the evidence"),
    ("purpose", CIRCLES, "Blue Circles", "Blue circles for children.", "`children` is not in the evidence"),
    ("deed of nobody", CIRCLES, "Blue Circles", "Blue circles designed of wood.", "`designed` is not in the evidence"),
    (
        "deed of another",
        FILM,
        FILM.title,
        "Directed by Sigourney Weaver.",
        "`sigourney weaver` is no value of what `directed` says",
    ),
    ("value of another name", CIRCLES, "Blue Circles", "The material is blue.", "`blue` is no value of what `material` says"),
    ("flag as a value", WHOLE, "Robot", "A robot says yes.", "`says` is not in the evidence"),
    ("title without quotes", FILM, FILM.title, "Horror close to The Thing.", "`close` is not in the evidence"),
    ("title in single quotes", BEHAVIOUR, 'Close to "Blue Train"', "Close to 'Blue Train'.", "`close` is not in the evidence"),
    ("invented title in quotes", FILM, FILM.title, 'Horror close to "Jaws".', 'it has the sign "'),
    ("title in other case", FILM, FILM.title, 'Close to "the thing (1982)".', 'it has the sign "'),
    ("part of a title", FILM, FILM.title, 'Close to "The Thing".', 'it has the sign "'),
    ("value in quotes", FILM, FILM.title, 'It is "Horror".', 'it has the sign "'),
    ("near as chosen", FILM, FILM.title, 'Often chosen with "The Thing (1982)".', "that people chose it too"),
    ("chosen as near", FILM, FILM.title, 'Close to "Aliens (1986)".', "that it is close to it"),
    ("mixed list", BEHAVIOUR, 'Close to "Blue Train"', 'Close to "Blue Train" and "Giant Steps".', "that it is close to it"),
    ("cited as the item", FILM, FILM.title, 'It is "Aliens (1986)".', "without saying how that is related"),
    ("cited as a maker", FILM, FILM.title, 'Directed by "Aliens (1986)".', "without saying how that is related"),
    ("bare citation", BEHAVIOUR, '"Blue Train"', 'Close to "Blue Train".', "title: it cites a title without saying"),
    ("twice", BEHAVIOUR, 'Close to "Blue Train"', 'Close to "Blue Train". Near "Blue Train".', 'it cites "Blue Train" twice'),
    ("chosen without a title", FILM, FILM.title, "People often chose this horror.", "`people` is not in the evidence"),
    ("chosen without evidence", TAGS, "Red Triangle", "Often chosen: red triangle.", "`often` is not in the evidence"),
    ("markup", TAGS, "Red Triangle", "A *red* triangle.", "it has the sign *"),
    ("address", TAGS, "Red Triangle", "Red triangle: www/red.", "it has the sign /"),
    ("emoji", TAGS, "Red Triangle", "A red triangle 🔺.", "it has the sign 🔺"),
    ("other script", TAGS, "Red Triangle", "A red треугольник.", "`треугольник` is not in the evidence"),
]


@pytest.mark.parametrize(("facts", "title", "text"), ACCEPTED, ids=[f"{title}: {text}" for _, title, text in ACCEPTED])
def test_what_the_evidence_says_is_accepted(facts: CaptionFacts, title: str, text: str) -> None:
    assert fault(Caption(title=title, caption=text), facts) == ""


@pytest.mark.parametrize(("kind", "facts", "title", "text", "why"), REFUSED, ids=[kind for kind, *_ in REFUSED])
def test_what_the_evidence_does_not_say_is_refused(kind: str, facts: CaptionFacts, title: str, text: str, why: str) -> None:
    assert why in fault(Caption(title=title, caption=text), facts), kind


@pytest.mark.parametrize(
    ("facts", "tags", "why"),
    [
        (CIRCLES, ("circle", "blue", "3"), ""),
        (TAGS, ("RED", "paper"), ""),
        (WHOLE, ("robot", "waterproof"), ""),
        (CIRCLES, ("circles",), "tags: `circles` is not in the evidence"),
        (CIRCLES, ("colour",), "tags: `colour` is not in the evidence"),
        (WHOLE, ("yes",), "tags: `yes` is not in the evidence"),
        (WHOLE, ("note",), "tags: `note` is not in the evidence"),
        (TAGS, ("red", "Red"), "tags: one stands twice"),
        (TAGS, ("red", ""), "tags: `` is not in the evidence"),
        (CIRCLES, tuple("circle blue striped wood table 3 circle blue striped".split()), "tags: 9, more than 8"),
    ],
)
def test_tags_come_from_the_evidence(facts: CaptionFacts, tags: tuple[str, ...], why: str) -> None:
    title = {TAGS: "Red Paper", WHOLE: "Robot", CIRCLES: "Blue Circle"}[facts]
    assert fault(Caption(title=title, caption=f"{title}.", tags=tags), facts) == why


NASTY = [
    'a "b" c',
    "x\ny",
    "<|im_end|>",
    "[INST]",
    "",
    "  ",
    "100%",
    "No",
    "Best",
    "yes",
    "…",
    "\x00\x01",
    "İ",
    "w " * 90,
    "3",
    "“q”",
]
TEXTS = st.sampled_from(NASTY) | st.text(max_size=40)
VALUES: st.SearchStrategy[AttributeValue] = (
    TEXTS | st.integers() | st.booleans() | st.floats() | st.lists(TEXTS, max_size=3).map(tuple)
)
EVIDENCE = st.builds(
    caption_facts,
    st.dictionaries(TEXTS, VALUES, max_size=3),
    st.lists(TEXTS, max_size=3),
    st.lists(TEXTS, max_size=2),
    st.lists(TEXTS, max_size=2),
    TEXTS,
)


@settings(deadline=None, max_examples=100)
@given(EVIDENCE)
def test_hostile_evidence_stays_on_its_lines_and_can_be_cited(facts: CaptionFacts) -> None:
    _, rest = render_prompt(Prompts(), facts, tuned=True)
    fields = [facts.tags, facts.near, facts.together, facts.title]
    lines = [row for row in rest.split("\n") if row]
    assert len(lines) == 2 + len(facts.attributes) + sum(map(bool, fields))
    assert "<|" not in rest
    known = replace(facts, title="Own")
    for lead, titles in (("Close to", facts.near), ("Often chosen with", facts.together)):
        for title in titles:
            assert f'"{title}"' in rest
            assert fault(Caption(title="Own", caption=f'{lead} "{title}".'), known) == ""
    for _, values in facts.attributes:
        for value in values:
            assert fault(Caption(title="Own", caption=f"It is {value}."), known) == "" or value == "yes"


def test_state_keeps_what_can_be_said() -> None:
    facts = caption_facts(
        {"light_colour": "warm  white", "waterproof": False, "vegan": True, "count": 3, "width": 2.50, "author": "n/a", "x": ()},
        tags=["Red", "red", "", 'a "b"'],
        near=["A", "B", "C", "D"],
        title=' The "Best"\n',
    )
    assert facts.attributes == (("light colour", ("warm white",)), ("vegan", ("yes",)), ("count", ("3",)), ("width", ("2.5",)))
    assert facts.tags == ("Red", "a 'b'")
    assert facts.near == ("A", "B", "C")
    assert facts.title == "The 'Best'"
    assert caption_facts({}).empty
    assert not caption_facts({}, together=["A"]).empty


def test_the_prompt_states_all_evidence_behind_a_constant_prefix() -> None:
    prefix, rest = render_prompt(Prompts(), FILM, tuned=False)
    assert rest == (
        "Evidence:\n"
        "Title: Alien (1979)\n"
        "- genres: Horror, Science Fiction\n"
        "- director: Ridley Scott\n"
        "- actors: Sigourney Weaver\n"
        'Close to: [1] "The Thing (1982)"\n'
        'Chosen with: [2] "Aliens (1986)"; [3] "Blade Runner (1982)"\n'
        "JSON:\n"
    )
    assert render_prompt(Prompts(), TAGS, tuned=False) == (prefix, "Evidence:\nTags: red, triangle, paper\nJSON:\n")


def test_a_tuned_adapter_needs_no_examples() -> None:
    shown, rest = render_prompt(Prompts(), TAGS, tuned=False)
    tuned, same = render_prompt(Prompts(), TAGS, tuned=True)
    assert (shown.count("JSON:"), tuned.count("JSON:")) == (3, 0)
    assert shown.startswith(tuned.rstrip())
    assert same == rest


def test_the_examples_of_the_prompt_pass_the_checker() -> None:
    prefix, _ = render_prompt(Prompts(), TAGS, tuned=False)
    examples = [
        CaptionFacts(attributes=(("material", ("Oak", "Brass")), ("room", ("Office",))), tags=("desk lamp", "warm light")),
        BEHAVIOUR,
        CaptionFacts(attributes=(("genre", ("Mystery",)), ("author", ("Ada Lund",))), title="The Quiet Harbour"),
    ]
    written = [row for row in prefix.split("\n") if row.startswith("{")]
    assert len(written) == len(examples)
    for facts, text in zip(examples, written, strict=True):
        assert render_prompt(Prompts(), facts, tuned=False)[1] in prefix
        assert fault(parse_caption(text, facts), facts) == ""
        assert to_json(parse_caption(text, facts), facts) == text


def test_a_template_without_the_cut_is_refused(tmp_path: Path) -> None:
    (tmp_path / "caption.j2").write_text("{{ facts.title }}")
    with pytest.raises(PromptError, match=r"caption\.j2 has 1 parts, 2 are needed"):
        render_prompt(Prompts(tmp_path), TAGS, tuned=False)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not JSON"),
        ("A red triangle.", "not JSON"),
        ('{"title": "Red", "caption": "Red.", "tags": [', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not one object of title, caption and tags"),
        ('{"title": "Red", "caption": "Red."}', "not one object of title, caption and tags"),
        ('{"title": "Red", "caption": "Red.", "tags": [], "more": 1}', "not one object of title, caption and tags"),
        ('{"title": 1, "caption": "Red.", "tags": []}', "title is not a text"),
        ('{"title": "Red", "caption": null, "tags": []}', "caption is not a text"),
        ('{"title": "Red", "caption": "Red.", "tags": "red"}', "tags is not a list of texts"),
        ('{"title": "Red", "caption": "Red.", "tags": [1]}', "tags is not a list of texts"),
    ],
)
def test_what_is_no_caption_is_not_read(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_caption(text, TAGS)


def test_a_line_is_one_line_and_is_read_back() -> None:
    facts = CaptionFacts(near=("Blå tåg",), together=("Giant Steps", "Blå tåg"), tags=("röd",))
    caption = Caption(title='Close to "Blå tåg"', caption='Chosen with "Giant Steps", close to "Blå tåg".', tags=("röd",))
    written = '{"title": "Close to [1]", "caption": "Chosen with [2], close to [1].", "tags": ["röd"]}'
    assert to_json(caption, facts) == written
    assert parse_caption(written, facts) == caption
    assert parse_caption(written.replace("[1]", '\\"[1]\\"'), facts) == caption


def test_the_own_title_is_not_for_the_model_to_write() -> None:
    caption = Caption(title=OWN.title, caption="Written by Charles Dickens.")
    assert to_json(caption, OWN).startswith('{"title": "", ')
    assert (
        parse_caption(to_json(caption, OWN), OWN)
        == parse_caption(to_json(caption, OWN).replace('""', '"Another"', 1), OWN)
        == caption
    )


def test_a_mark_without_a_title_is_refused() -> None:
    written = '{"title": "Close to [1]", "caption": "Close to [4].", "tags": []}'
    assert "the sign [" in fault(parse_caption(written, BEHAVIOUR), BEHAVIOUR)


def test_a_tag_counts_once() -> None:
    assert parse_caption('{"title": "Red", "caption": "Red.", "tags": ["red", "Red", " paper", "red"]}', TAGS).tags == (
        "red",
        "paper",
    )


@pytest.mark.parametrize(
    ("title", "text", "why"),
    [
        ("Blue Circles", "Three blue circles of wood, set on a table.", ""),
        ("Blue Blue Circles", "Three circles.", "title: it says `blue` 2 times"),
        ("Blue Circles", "A striped circle with a Striped pattern.", "caption: it says `striped` 2 times"),
    ],
)
def test_what_is_said_twice(title: str, text: str, why: str) -> None:
    caption = Caption(title=title, caption=text)
    assert fault(caption, CIRCLES) == ""
    assert check(caption, CIRCLES).repetition == why


def test_what_the_evidence_says_twice_may_be_said_twice() -> None:
    facts = caption_facts({"material": "terracotta", "colour": "terracotta"}, near=["Terracotta Pot"])
    said = Caption(title="Terracotta in Terracotta", caption='Terracotta, close to "Terracotta Pot".')
    assert check(said, facts) == Verdict()
    own = replace(facts, title="Terracotta Terracotta Terracotta Pot")
    assert check(replace(said, title=own.title), own) == Verdict()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("A mug for a mug.", "caption: it says `mug` 2 times and nothing else"),
        ('Mug of a mug, often chosen with "Red Pot".', "caption: it says `mug` 2 times and nothing else"),
        ('A mug, often chosen with "Red Pot".', ""),
        ("A steel mug for a mug.", ""),
        ("A mug and mugs for a mug.", ""),
    ],
)
def test_one_value_again_and_again_says_nothing(text: str, why: str) -> None:
    facts = caption_facts({"material": "steel"}, tags=["mug"], together=["Red Pot"])
    assert fault(Caption(title="Steel Mug", caption=text), facts) == why


def test_a_value_that_two_attributes_have_may_be_all_that_is_said() -> None:
    facts = caption_facts({"name": "Lima", "origin": "Lima"})
    assert fault(Caption(title="Lima from Lima", caption="Lima from Lima."), facts) == ""
