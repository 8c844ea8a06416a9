"""Captions by template, and the checker, in every language that has words."""

from pathlib import Path

import pytest

from genrec.captions.caption_checker import fault
from genrec.captions.caption_languages import ENGLISH, available_languages, load_language
from genrec.captions.caption_prompt import CAPTION_CHARS, Caption, CaptionFacts
from genrec.captions.caption_template import template_caption
from genrec.errors import ConfigError, PromptError
from genrec.prompts import Prompts
from genrec.reasons.facts import TITLE_CHARS

LANGUAGES = ["de", "en", "es", "fr"]
LONG = "A Very Long Title That Goes On And On Until It Nearly Has No End In Sight At All"
FACTS = {
    "tags": CaptionFacts(tags=("red", "paper", "triangle")),
    "values": CaptionFacts(attributes=(("shape", ("circle",)), ("waterproof", ("yes",)), ("note", ("no batteries",)))),
    "own title": CaptionFacts(title="Heat", attributes=(("year", ("1995",)),)),
    "title alone": CaptionFacts(title="Heat"),
    "near": CaptionFacts(near=("Blue Train", LONG)),
    "together": CaptionFacts(together=(LONG, "Azul", "Go!")),
    "both": CaptionFacts(near=("Azul", "Go"), together=("Azul", "Chess")),
    "all": CaptionFacts(tags=("mug",), attributes=(("colour", ("red", "blue")),), near=("A-Z",), together=("B, C",)),
    "much": CaptionFacts(
        tags=tuple(f"a rather long tag of number {n}" for n in range(12)),
        attributes=tuple((f"name {n}", tuple(f"some value {n} {k}" for k in range(4))) for n in range(12)),
    ),
}
GERMAN = CaptionFacts(attributes=(("Farbe", ("rot",)), ("Material", ("Eiche",))), tags=("Tischlampe",), near=("Blaue Vase",))
FRENCH = CaptionFacts(attributes=(("couleur", ("rouge",)), ("artiste", ("Ana Lund",))), tags=("lampe",), together=("Vase bleu",))
SPANISH = CaptionFacts(attributes=(("color", ("rojo",)), ("autor", ("Ana Lund",))), tags=("lámpara",), near=("Jarrón",))
ACCEPTED = [
    ("de", GERMAN, "Rote Tischlampe", 'Eine rote Tischlampe aus Eiche, ähnlich wie "Blaue Vase".'),
    ("fr", FRENCH, "Lampe rouge", 'Deux lampes rouges d\'Ana Lund, souvent choisi avec "Vase bleu".'.replace("Deux l", "L")),
    ("es", SPANISH, "Lámpara roja", 'Lámparas rojas con autor Ana Lund, parecida a "Jarrón".'),
]
REFUSED = [
    ("de", GERMAN, "Rote Tischlampe", "Eine schöne Tischlampe.", "`schöne` is a judgement"),
    ("de", GERMAN, "Rote Tischlampe", "Eine Tischlampe ohne Eiche.", "`ohne` is not in the evidence"),
    ("de", GERMAN, "Rote Lampe", "Eine Tischlampe.", "`lampe` is not in the evidence"),
    ("de", GERMAN, "Tischlampe", 'Oft gewählt mit "Blaue Vase".', "chose"),
    ("de", GERMAN, "Tischlampe", 'Eine "Blaue Vase".', "without saying how"),
    ("fr", FRENCH, "Lampe rouge", 'Une lampe proche de "Vase bleu".', "chose"),
    ("fr", FRENCH, "Lampe", "Une lampe sans rouge.", "`sans`"),
    ("es", SPANISH, "Lámpara roja", "Una lámpara azul.", "`azul` is not in the evidence"),
    ("es", SPANISH, "Lámpara roja", 'Una lámpara elegida con "Jarrón".', "chose"),
]


def test_these_languages_ship() -> None:
    assert available_languages(Prompts()) == LANGUAGES


@pytest.mark.parametrize("code", LANGUAGES)
@pytest.mark.parametrize("facts", FACTS.values(), ids=FACTS.keys())
def test_the_template_says_only_what_the_checker_accepts(code: str, facts: CaptionFacts) -> None:
    words = load_language(code, Prompts())
    made = template_caption(facts, words)
    assert 2 <= len(made.title) <= TITLE_CHARS
    assert len(made.caption) <= CAPTION_CHARS
    if len(facts.tags) < 12:  # a caption of very much is cut within a word
        kept = facts if '"' not in made.title else CaptionFacts(near=facts.near, together=facts.together, title=made.title)
        assert fault(made, kept, words) == ""
    assert facts.title in ("", made.title)


def test_the_template_names_the_best_tags_first() -> None:
    made = template_caption(FACTS["all"], ENGLISH)
    assert made.title == "Mug, red, blue"
    assert made.caption == 'Shows mug; colour: red, blue. Close to "A-Z", often chosen with "B, C".'
    assert made.tags == ("red", "blue", "mug")
    assert template_caption(FACTS["title alone"], ENGLISH) == Caption(title="Heat", caption="Heat.")


@pytest.mark.parametrize(
    ("attributes", "tags", "title"),
    [
        ((("kind", ("lamp", "spot")), ("colour", ("red",)), ("price", ("12.5",))), ("new home",), "Lamp, red, new home"),
        ((("kind", ("lamp", "spot")), ("price", ("12.5",))), (), "Lamp, spot"),
        ((("colour", ("red",)), ("price", ("12.5",))), ("lamp",), "Lamp, red"),
        ((("price", ("12.5",)), ("weight g", ("7", "8"))), (), "Price 12.5, weight g 7"),
        ((("waterproof", ("yes",)), ("kind", ("lamp",))), (), "Waterproof, lamp"),
    ],
)
def test_the_template_names_what_it_is_before_what_is_said_of_it(
    attributes: tuple[tuple[str, tuple[str, ...]], ...], tags: tuple[str, ...], title: str
) -> None:
    facts = CaptionFacts(attributes=attributes, tags=tags)
    made = template_caption(facts, ENGLISH)
    assert made.title == title
    assert fault(made, facts, ENGLISH) == ""


def test_nothing_is_written_from_nothing() -> None:
    with pytest.raises(ValueError, match="no evidence"):
        template_caption(CaptionFacts(), ENGLISH)


@pytest.mark.parametrize(("code", "facts", "title", "text"), ACCEPTED, ids=[row[0] for row in ACCEPTED])
def test_inflected_words_of_the_evidence_are_the_evidence(code: str, facts: CaptionFacts, title: str, text: str) -> None:
    assert fault(Caption(title=title, caption=text), facts, load_language(code, Prompts())) == ""


@pytest.mark.parametrize(("code", "facts", "title", "text", "why"), REFUSED, ids=[f"{row[0]} {row[4]}" for row in REFUSED])
def test_what_the_evidence_does_not_say_is_refused(code: str, facts: CaptionFacts, title: str, text: str, why: str) -> None:
    assert why in fault(Caption(title=title, caption=text), facts, load_language(code, Prompts()))


@pytest.mark.parametrize("code", LANGUAGES)
def test_plain_words_neither_judge_nor_deny(code: str) -> None:
    words = load_language(code, Prompts())
    plain = words.plain | words.near | words.together
    assert not plain & words.judgements
    assert not plain & words.negations


@pytest.mark.parametrize("code", ["xx", "EN", "../de", "", "d"])
def test_a_language_without_words_is_refused(code: str) -> None:
    with pytest.raises(ConfigError, match=r"caption\.language") as caught:
        load_language(code, Prompts())
    assert "de, en, es, fr" in caught.value.hint


def test_a_workspace_may_bring_a_language(tmp_path: Path) -> None:
    shipped = Prompts().path("plain/es.txt")
    assert shipped is not None
    (tmp_path / "plain").mkdir()
    own = tmp_path / "plain" / "ca.txt"
    text = shipped.read_text(encoding="utf-8").replace("\nSpanish\n", "\nCatalan\n").replace("Parecido a {}", "Semblant a {}")
    own.write_text(text, encoding="utf-8")
    prompts = Prompts(tmp_path)
    assert available_languages(prompts) == ["ca", *LANGUAGES]
    words = load_language("ca", prompts)
    assert words.name == "Catalan"
    assert template_caption(FACTS["near"], words).title == 'Semblant a "Blue Train"'
    own.write_text(text.replace("[numbers]", "[figures]"), encoding="utf-8")
    with pytest.raises(PromptError, match="figures, numbers"):
        load_language("ca", prompts)
    own.write_text("words\n" + text.partition("[name]")[1], encoding="utf-8")
    with pytest.raises(PromptError, match="line 1"):
        load_language("ca", prompts)
    own.write_text(text.replace("shows = ", "show = "), encoding="utf-8")
    with pytest.raises(PromptError, match="template"):
        load_language("ca", prompts)
    own.write_text(text.replace("1 = uno", "1 uno"), encoding="utf-8")
    with pytest.raises(PromptError, match="`1 uno una un` has no `=`"):
        load_language("ca", prompts)


def test_english_is_a_file_as_any_other(tmp_path: Path) -> None:
    shipped = Prompts().path("plain/en.txt")
    assert shipped is not None
    (tmp_path / "plain").mkdir()
    own = tmp_path / "plain" / "en.txt"
    text = shipped.read_text(encoding="utf-8")
    own.write_text(text.replace("near = Close to {}", "near = Like {}"), encoding="utf-8")
    words = load_language("en", Prompts(tmp_path))
    assert template_caption(FACTS["near"], words).title == 'Like "Blue Train"'
    assert load_language("en", Prompts()).plain == words.plain == ENGLISH.plain
    assert load_language("de", Prompts()).judgements > ENGLISH.judgements  # values may be English in any language


@pytest.mark.parametrize("text", ["Often picked along with {}.", "Who also chose {}.", 'Close to "Azul", and often with {}.'])
def test_a_lead_between_slashes_is_a_regular_expression(text: str, tmp_path: Path) -> None:
    facts = CaptionFacts(near=("Azul",), together=("Go",), title="Chess")
    assert fault(Caption(title="Chess", caption=text.format('"Go"')), facts) == ""
    assert "without saying how" in fault(Caption(title="Chess", caption='Take "Go".'), facts)
    shipped = Prompts().path("plain/en.txt")
    assert shipped is not None
    (tmp_path / "plain").mkdir()
    broken = shipped.read_text(encoding="utf-8").replace("/\\bbeside(", "/\\bbeside((")
    (tmp_path / "plain" / "en.txt").write_text(broken, encoding="utf-8")
    with pytest.raises(PromptError, match="not a regular expression") as caught:
        load_language("en", Prompts(tmp_path))
    assert caught.value.hint
