"""The checker against sentences that say more than the facts, and against the template, which never does."""

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec.reasons.facts import Facts, facts_of, template_sentence
from genrec.reasons.reason_checker import fault
from genrec.types import Evidence, EvidenceKind, Item

SPY = Facts(past=("The Night Manager", "Smiley's People"), liked=True, shared=(("genres", ("Spy", "Thriller")),))
CHOSEN = replace(SPY, liked=False)
ONE = Facts(past=("Steel Desk Lamp",), shared=(("material", ("Steel",)), ("style", ("Hard Bop",))))
PLAIN = Facts(past=("Alien", "Aliens"), liked=True)
ASKED = Facts(words=("calm", "piano"))
ASKED_PAST = Facts(words=("calm",), past=("Blue Train",), liked=True)
STATED = Facts(interests=("jazz",))
POPULAR = Facts(people=12)
EMPTY = Facts()

ACCEPTED = [
    (SPY, 'Since you liked "The Night Manager" and "Smiley\'s People", you may enjoy another Spy Thriller.'),
    (SPY, 'You liked "The Night Manager", and it has the same genre, Thriller.'),
    (SPY, 'If you liked "The Night Manager", it has more of the same spy and thriller.'),
    (SPY, 'Because you liked both "The Night Manager" and "Smiley\'s People", it may suit you: another Thriller!'),
    (SPY, 'You liked "The Night Manager". It is a Spy Thriller too.'),
    (SPY, 'You liked "The Night Manager" and "Smiley\'s People", and it is another Thriller, just like those.'),
    (CHOSEN, 'You chose "The Night Manager", and it has the same genres Spy and Thriller.'),
    (CHOSEN, 'If you like "The Night Manager", it is another Spy Thriller.'),
    (ONE, 'You chose "Steel Desk Lamp", and it has the same material, Steel.'),
    (ONE, 'You chose "Steel Desk Lamp", and it has the same style: hard bop.'),
    (PLAIN, 'Since you liked "Alien" and "Aliens", you may enjoy it too.'),
    (PLAIN, 'If you enjoyed "Alien", it is a good next choice.'),
    (ASKED, "It matches your search for calm piano."),
    (ASKED, "It fits your wish for a calm piano."),
    (ASKED_PAST, 'It matches your search for calm, and you liked "Blue Train".'),
    (ASKED_PAST, 'It fits your wish for calm and goes well with "Blue Train", which you liked.'),
    (STATED, "It fits your interest in jazz."),
    (POPULAR, "It is popular: 12 people chose it."),
    (EMPTY, "Nothing in your history points to it: it fills the list."),
]
LIKED_SPY = 'You liked "The Night Manager", and it '
REFUSED = [
    ("empty", SPY, ""),
    ("blank", SPY, "   "),
    ("two lines", SPY, 'You liked "The Night Manager",\nand it is another Spy.'),
    ("control character", SPY, 'You liked "The Night Manager", and it is another\x1b Spy.'),
    ("leading space", SPY, ' You liked "The Night Manager", and it is another Spy.'),
    ("no end", SPY, 'Since you liked "The Night Manager", you may enjoy another Spy'),
    ("truncated in a title", SPY, 'Since you liked "The Night Man.'),
    ("truncated after a comma", SPY, 'You liked "The Night Manager",'),
    ("three sentences", SPY, 'You liked "The Night Manager". It is another Spy. It is a Thriller.'),
    ("endless", SPY, LIKED_SPY + "is very " * 60 + "near Spy."),
    ("question", SPY, 'You liked "The Night Manager", why not another Spy?'),
    ("invented title", SPY, 'Since you liked "The Spy", it is another Thriller.'),
    ("invented title beside a real one", SPY, 'Since you liked "The Night Manager" and "The Spy", it is another Thriller.'),
    ("title of another film without quotes", SPY, 'Since you liked "The Night Manager", it is Goldfinger, another Spy.'),
    ("title of another film made of plain words", PLAIN, 'You liked "Alien", and it is like "It".'),
    ("title with a comma inside the quotes", SPY, 'Since you liked "The Night Manager," it is another Spy.'),
    ("part of a title", SPY, 'Since you liked "Night Manager", it is another Spy.'),
    ("title in lower case", SPY, 'Since you liked "the night manager", it is another Spy.'),
    ("title in single quotes", SPY, "Since you liked 'The Night Manager', it is another Spy."),
    ("title in curly quotes", SPY, "Since you liked “The Night Manager”, it is another Spy."),
    ("same title twice", SPY, 'You liked "The Night Manager" and "The Night Manager": it is another Spy.'),
    ("past and suggested title swapped", SPY, 'Since you liked "Goldfinger", you may enjoy "The Night Manager", another Spy.'),
    ("takes the item for the past one", PLAIN, 'It is "Alien" again.'),
    ("takes the item for the past one, shortened", PLAIN, 'It\'s "Alien", and you liked "Aliens".'),
    ("takes the item for another such one", CHOSEN, 'It is another Spy, another "The Night Manager" that you chose.'),
    ("takes the item for one of those", ONE, 'It is another of the "Steel Desk Lamp" you chose, in Steel.'),
    ("takes the item for yours", ONE, 'It is your "Steel Desk Lamp", in Steel.'),
    ("number", SPY, LIKED_SPY + "has the same 2 genres, Spy and Thriller."),
    ("year", SPY, LIKED_SPY + "is another 1990 Thriller."),
    ("number in words", SPY, LIKED_SPY + "is one of three Thriller picks."),
    ("genre not in evidence", SPY, LIKED_SPY + "is another Comedy Thriller."),
    ("genre of which only a part is in evidence", ONE, 'You chose "Steel Desk Lamp", and it has the same style, Bop.'),
    ("plural of a value", SPY, LIKED_SPY + "is more of the same Thrillers."),
    ("value of the wrong attribute", ONE, 'You chose "Steel Desk Lamp", and it has the same material, Hard Bop.'),
    ("value of the wrong attribute, next to it", ONE, 'You chose "Steel Desk Lamp", and it has the same style Steel.'),
    ("no shared value", SPY, LIKED_SPY + "is a good choice."),
    ("superlative", SPY, LIKED_SPY + "is the best Thriller."),
    ("greatest", SPY, LIKED_SPY + "is the greatest Spy Thriller."),
    ("a good one of its kind", SPY, LIKED_SPY + "is another good Thriller."),
    ("very much so", ASKED, "It matches your search: very calm."),
    ("says that others were liked", CHOSEN, 'You chose those, another Spy Thriller like "The Night Manager".'),
    ("award", SPY, LIKED_SPY + "is an award-winning Thriller."),
    ("directed by", SPY, LIKED_SPY + "is another Spy Thriller directed by Susanne Bier."),
    ("starring", SPY, LIKED_SPY + "is another Thriller starring Tom Hiddleston."),
    ("place", SPY, LIKED_SPY + "is another Spy Thriller set in Berlin."),
    ("plot", SPY, LIKED_SPY + "is a Thriller about a murder."),
    ("negation", SPY, LIKED_SPY + "is not a Thriller."),
    ("quotation", SPY, LIKED_SPY + 'is a "Thriller".'),
    ("liked when only chosen", CHOSEN, 'Since you liked "The Night Manager", it is another Spy Thriller.'),
    ("enjoyed when only chosen", CHOSEN, 'Since you enjoyed "The Night Manager", it is another Spy Thriller.'),
    ("like when only chosen", CHOSEN, 'Because you like "The Night Manager", it is another Spy Thriller.'),
    ("loved", SPY, 'Since you loved "The Night Manager", it is another Spy Thriller.'),
    ("says of the item that it was liked", PLAIN, 'You liked it and "Alien".'),
    ("says of the item that it was chosen", CHOSEN, 'You chose it, another Spy Thriller like "The Night Manager".'),
    ("twice liked", PLAIN, 'You liked "Alien" and enjoyed "Aliens", and it is near.'),
    ("both of one", ONE, 'You chose both "Steel Desk Lamp" and it has the same Steel.'),
    ("search that was not made", PLAIN, 'It matches your search, and you liked "Alien".'),
    ("says nothing of the item", PLAIN, 'You liked "Alien" and "Aliens".'),
    ("nothing cited", PLAIN, "You may enjoy it."),
    ("not the one that counts most", PLAIN, 'If you liked "Aliens", it is a good next choice.'),
    ("markup", SPY, LIKED_SPY + "is another <b>Thriller</b>."),
    ("markdown", SPY, LIKED_SPY + "is another **Thriller**."),
    ("URL", SPY, LIKED_SPY + "is another Thriller: https://example.org."),
    ("e-mail", SPY, LIKED_SPY + "is another Thriller you@your.own."),
    ("emoji", SPY, LIKED_SPY + "is another Thriller 🎬."),
    ("chat token", SPY, LIKED_SPY + "is another Thriller <|im_end|>."),
    ("underscore", SPY, LIKED_SPY + "is another_ Thriller."),
    ("word of another script", SPY, LIKED_SPY + "is another Триллер Thriller."),
    ("word that was not searched for", ASKED, "It matches your search for calm guitar."),
    ("nothing of the query", ASKED, "It matches your search very well."),
    ("chosen where nothing was", ASKED, "It matches your search for calm piano, which you chose."),
    ("other number of people", POPULAR, "It is popular: 13 people chose it."),
    ("no number of people", POPULAR, "It is popular."),
    ("popular without evidence", PLAIN, 'You liked "Alien", and it is popular.'),
    ("history without evidence", POPULAR, "Your history points to it."),
    ("made up out of nothing", EMPTY, "It is popular."),
]


def test_the_tables_are_large_enough() -> None:
    assert len(ACCEPTED) >= 15
    assert len(REFUSED) >= 40


@pytest.mark.parametrize(("facts", "text"), ACCEPTED, ids=[text for _, text in ACCEPTED])
def test_what_the_facts_say_is_accepted(facts: Facts, text: str) -> None:
    assert fault(text, facts) == ""


@pytest.mark.parametrize(("kind", "facts", "text"), REFUSED, ids=[kind for kind, _, _ in REFUSED])
def test_what_the_facts_do_not_say_is_refused(kind: str, facts: Facts, text: str) -> None:
    assert fault(text, facts) != "", kind


NASTY = [
    'The "Quoted" Film', "A. B. C.", "Who? What! When.", "x\ny", "<|im_start|>system", "[INST] liked [/INST]", "  ", "",
    "100%", "1984", "It", "both", "liked", "chose", "and", '"', "'", "“”", "İstanbul", "Straße ẞ", "ﬁn ſ", "\u202eevil", "a_b",
    "Ἀχιλλεύς", "שלום עולם", "🎬", "x" * 300, "word " * 90, "Rock 'n' Roll", "it's", "a; b: c, d", "…", "\x00\x01", "\ue000",
]  # fmt: skip
WORDS = st.sampled_from(NASTY) | st.text(max_size=90)
ITEMS = {str(n): n for n in range(5)}


@st.composite
def evidence(draw: st.DrawFn) -> tuple[tuple[Evidence, ...], dict[str, Item]]:
    """Evidence in the order of `gather`, of hostile items."""
    items = {item_id: Item(item_id=item_id, title=draw(WORDS)) for item_id in ITEMS}
    past = draw(st.lists(st.sampled_from(sorted(ITEMS)), unique=True, max_size=5))
    liked = draw(st.booleans())
    found = [Evidence(kind="history", item_ids=(one,), value="liked" if liked else "chosen", weight=0.5) for one in past]
    names = draw(st.lists(WORDS.filter(bool), max_size=3))
    for name in names if past else []:
        having = tuple(draw(st.lists(st.sampled_from(past), min_size=1, unique=True)))
        found.append(Evidence(kind="attribute", item_ids=having, attribute=name, value=draw(WORDS.filter(bool)), weight=0.5))
    word = st.from_regex(r"\w[\w'’-]{0,20}", fullmatch=True).map(str.lower)
    asked: EvidenceKind = draw(st.sampled_from(["query", "interest"]))
    found += [Evidence(kind=asked, value=one) for one in draw(st.lists(word, max_size=6, unique=True))]
    if not found and draw(st.booleans()):
        found.append(Evidence(kind="popularity", value=str(draw(st.integers(1, 10**7)))))
    if draw(st.booleans()):
        found.append(Evidence(kind="caption", value=draw(WORDS)))
    return tuple(found), items


def test_the_name_of_an_attribute_needs_a_value_of_it() -> None:
    facts = Facts(past=("Aladdin",), liked=True, shared=(("genres", ("Animation", "Comedy")), ("rated", ("G",))))
    assert fault('It is G, the same genre as "Aladdin", which you liked.', facts) == "it says `genres` and none of its values"
    assert fault('It is G and Comedy, the same genre as "Aladdin", which you liked.', facts) == ""
    assert fault('It is G, as is "Aladdin", which you liked.', facts) == ""


def test_what_is_shared_is_said_in_place_of_what_was_asked() -> None:
    facts = Facts(past=("Rouge",), shared=(("colour", ("Red",)),), words=("lipstick",))
    assert fault('It is red, as is "Rouge", which you chose.', facts) == ""
    assert fault('It is a lipstick, and you chose "Rouge".', facts) == ""
    assert "asked for" in fault('It is close to "Rouge", which you chose.', facts)


def test_what_is_rated_has_a_rating() -> None:
    facts = Facts(past=("Kingpin",), liked=True, shared=(("genre", ("Comedy",)), ("rated", ("PG-13",))))
    assert fault('It is PG-13, the same rating as "Kingpin", which you liked.', facts) == ""
    assert (
        fault('It is Comedy, the same rating as "Kingpin", which you liked.', facts) == "it says `rated` and none of its values"
    )
    assert fault('It is PG-13, the rating Comedy of "Kingpin", which you liked.', facts) == "`comedy` is no rating"
    assert "`rating`" in fault('It is Comedy, the same rating as "Kingpin".', replace(facts, shared=facts.shared[:1]))
    bed = Facts(past=("Kip",), shared=(("wed", ("Oak",)),))
    assert "`wing`" in fault('It is Oak with a wing, as is "Kip", which you chose.', bed)


def test_a_possessive_value_without_its_ending() -> None:
    facts = Facts(past=("Babe",), liked=True, shared=(("genre", ("Children's",)),))
    assert fault('It is for children, as is "Babe", which you liked.', facts) == ""
    assert "child" in fault('It is for a child, as is "Babe", which you liked.', facts)
    assert "none of the shared values" in fault('It is like "Babe", which you liked.', facts)


def test_an_attribute_called_as_a_plain_word() -> None:
    items = {"0": Item(item_id="0", title="Alien")}
    shared = [("and", "A. B."), ("maker", "maker")]
    found = [Evidence(kind="attribute", item_ids=("0",), attribute=name, value=value, weight=0.5) for name, value in shared]
    facts = facts_of((Evidence(kind="history", item_ids=("0",), value="chosen", weight=0.5), *found), items)
    assert fault('You chose "Alien", and it has the same and A. B. and maker maker.', facts) == ""


@settings(deadline=None, max_examples=400)
@given(evidence())
def test_the_template_says_only_facts(given: tuple[tuple[Evidence, ...], dict[str, Item]]) -> None:
    facts = facts_of(*given)
    text = template_sentence(facts)
    assert fault(text, facts) == "", text
    assert "\n" not in text


def test_what_genrec_wrote_is_quoted_as_such_or_not_at_all() -> None:
    told = (Evidence(kind="history", item_ids=("0",), value="chosen", weight=0.5), Evidence(kind="caption", value='A "red" mug.'))
    facts = facts_of(told, {"0": Item(item_id="0", title="Alien")})
    text = 'It is close to "Alien", which you chose. Described by genrec as: "A \'red\' mug".'
    assert template_sentence(facts) == text
    assert fault(text, facts) == ""
    for wrong in (
        text.replace("red", "blue"),
        text.replace("Described by genrec as: ", ""),
        text.replace(" Described by genrec", ""),
    ):
        assert fault(wrong, facts)
    assert fault(text, facts_of(told[:1], {"0": Item(item_id="0", title="Alien")}))


def test_every_kind_of_evidence_has_its_own_template() -> None:
    kinds: set[str] = set(get_args(EvidenceKind))
    assert kinds == {"history", "attribute", "query", "interest", "popularity", "caption"}
    texts = [
        template_sentence(facts)
        for facts in (SPY, CHOSEN, ONE, PLAIN, ASKED, ASKED_PAST, STATED, POPULAR, Facts(people=1), EMPTY)
    ]
    assert texts == [
        'You liked "The Night Manager" and "Smiley\'s People", and it has the same genres Spy and Thriller.',
        'You chose "The Night Manager" and "Smiley\'s People", and it has the same genres Spy and Thriller.',
        'You chose "Steel Desk Lamp", and it has the same material Steel and style Hard Bop.',
        'It is close to "Alien" and "Aliens", which you liked.',
        "It matches your search for calm and piano.",
        'It matches your search for calm, and you liked "Blue Train".',
        "It fits your interest in jazz.",
        "It is popular: 12 people chose it.",
        "It is popular: 1 person chose it.",
        "Nothing in your history points to it: it fills the list.",
    ]
