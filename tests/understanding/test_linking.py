import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec.types import Item
from genrec.understanding.linking import Linker, Mention
from tests.understanding import catalogues

FILMS = catalogues.films()
GOODS = catalogues.goods()
TITLES = {item.item_id: item.title for item in FILMS + GOODS}
LINKER = Linker(FILMS)
SHELF = Linker(GOODS)


def named(text: str, linker: Linker = LINKER) -> list[str]:
    """Titles of the likeliest items."""
    return [TITLES[mention.item_ids[0]] for mention in linker.link(text)]


def only(text: str, linker: Linker = LINKER) -> Mention:
    mentions = linker.link(text)
    assert len(mentions) == 1, mentions
    return mentions[0]


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("I liked The Matrix", "Matrix, The"),
        ("matrix was fun", "Matrix, The"),
        ("have you seen the godfather part 2?", "The Godfather: Part II"),
        ("something like Rocky 4", "Rocky IV"),
        ("spiderman, maybe", "Spider-Man"),
        ("xmen is great", "X-Men"),
        ("fast and furious 6", "Fast & Furious 6 (2013)"),
        ("Amelie is lovely", "Amélie"),
        ("LEON: THE PROFESSIONAL", "Léon: The Professional"),
        ("I watched Se7en again", "Seven (Se7en)"),
        ("12 monkeys is weird", "Twelve Monkeys"),
        ("schindlers list", "Schindler's List"),
        ("wall e for the kids", "Wall-E"),
        ("2001 a space odyssey", "2001: A Space Odyssey"),
    ],
)
def test_titles_are_found_however_they_are_written(text: str, title: str) -> None:
    assert named(text) == [title]
    assert only(text).kind == "exact"


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("I loved Infinity War", "Avengers: Infinity War"),
        ("the fellowship of the ring", "The Lord of the Rings: The Fellowship of the Ring"),
        ("Dr Strangelove is a classic", "Dr. Strangelove or: How I Learned to Stop Worrying and Love the Bomb"),
        ("age of ultron", "Avengers: Age of Ultron"),
    ],
)
def test_parts_of_titles_are_found(text: str, title: str) -> None:
    assert named(text) == [title]
    assert only(text).kind == "partial"


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("have you seen The Shawshenk Redemption", "The Shawshank Redemption"),
        ("groundhgo day", "Groundhog Day"),
        ("The Godfahter is my favourite", "The Godfather"),
        ("one flew over the cuckos nest", "One Flew Over the Cuckoo's Nest"),
        ("I liked Titanci", "Titanic (1997)"),
    ],
)
def test_typing_errors_are_forgiven(text: str, title: str) -> None:
    assert named(text) == [title]
    assert only(text).kind == "typo"


def test_of_namesakes_the_one_that_is_spelt_just_so_comes_first() -> None:
    known = [
        Item(item_id="a", title="Slap Shot (1977)"),
        Item(item_id="b", title="Slapshot"),
        Item(item_id="c", title="Slap Shot"),
    ]
    first = {text: Linker(known).link(text)[0].item_ids[0] for text in ("I saw Slap Shot", "Slapshot!", "Slap Shot (1977)")}
    assert first == {"I saw Slap Shot": "c", "Slapshot!": "b", "Slap Shot (1977)": "a"}
    assert Linker(known, {"a": 5.0}).link("I saw Slap Shot")[0].item_ids[0] == "a"


def test_what_stands_in_brackets_of_many_titles_names_none() -> None:
    known = [Item(item_id=str(n), title=f"{what} (Red)") for n, what in enumerate(("Stapler", "Binder", "Mouse Pad"))]
    assert Linker(known).link("red") == []
    assert Linker(known[:2]).link('"red"')[0].item_ids == ("0", "1")


def test_a_title_of_ordinary_words_needs_a_sign_where_capitals_are_used() -> None:
    known = [
        Item(item_id="a", title="About a Boy (2002)"),
        Item(item_id="b", title="You Laugh (1998)", text="they laugh and laugh"),
    ]
    known.append(Item(item_id="c", title="Else", text="to laugh"))
    linker = Linker(known)
    assert not linker.link("It's about a boy and his dog")
    assert not linker.link("Stuff that makes you laugh a lot")
    for text in ("I loved About a Boy", "i loved about a boy", "You Laugh is good"):
        assert linker.link(text), text


def test_numbers_are_not_mistyped() -> None:
    assert named("rocky 3") == ["Rocky III"]
    assert named("blade runner 2048") == ["Blade Runner"]


@pytest.mark.parametrize(
    "text",
    [
        "it was good",
        "she gave it up and told her so",
        "I saw the signs",
        "a big dog, taken by the river",
        "I want a drama from 1917",
        "before 1917 please",
        "is it any good?",
        "Good. Up to you!",
        "what's love got to do",
        "hello there",
    ],
)
def test_everyday_words_are_no_titles(text: str) -> None:
    assert named(text) == []


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ('have you seen "It"?', "It (2017)"),
        ("It (2017) scared me", "It (2017)"),
        ("we watched Up yesterday", "Up (2009)"),
        ("I loved “Her”", "Her (2013)"),
        ("have you seen Signs?", "Signs"),
        ("I really enjoyed Big", "Big"),
        ("psycho", "Psycho"),
        ("have you watched 1917 yet", "1917"),
    ],
)
def test_everyday_words_are_titles_where_signs_say_so(text: str, title: str) -> None:
    assert named(text) == [title]


def test_a_year_picks_among_remakes() -> None:
    for text in ("Halloween (1978)", "halloween from 1978", "the 1978 Halloween", "Halloween, the 1978 one", "halloween 1978"):
        mention = only(text)
        assert [TITLES[item_id] for item_id in mention.item_ids] == ["Halloween (1978)"]
        assert "1978" in mention.text
    assert named("Halloween (2018)") == ["Halloween (2018)"]


def test_an_unknown_year_is_doubted_and_not_taken() -> None:
    mention = only("Titanic (1943)")
    assert len(mention.item_ids) == 2
    assert mention.score < only("Titanic (1997)").score


def test_ambiguous_titles_keep_all_candidates_the_likeliest_first() -> None:
    mention = only("I love Ocean's Eleven")
    assert [TITLES[item_id] for item_id in mention.item_ids] == ["Ocean's Eleven (2001)", "Ocean's Eleven (1960)"]
    old = catalogues.the_item(FILMS, "Ocean's Eleven (1960)")
    assert only("I love Ocean's Eleven", Linker(FILMS, {old: 9.0})).item_ids[0] == old


def test_a_series_names_all_its_parts() -> None:
    mention = only("I have seen The Lord of the Rings")
    assert len(mention.item_ids) == 2
    assert mention.kind == "partial"


def test_longer_titles_win_over_the_titles_inside_them() -> None:
    assert named("What's Love Got to Do with It (1993) is on") == ["What's Love Got to Do with It (1993)"]
    assert named("Blade Runner 2049 and Blade Runner") == ["Blade Runner 2049", "Blade Runner"]
    assert named("Aliens, not Alien") == ["Aliens", "Alien"]


def test_places_are_those_of_the_text() -> None:
    text = "Did you like the matrix or Halloween (1978)?"
    for mention in LINKER.link(text):
        assert text[mention.start : mention.end] == mention.text
    assert [mention.text for mention in LINKER.link(text)] == ["the matrix", "Halloween (1978)"]


def test_names_of_people_are_not_parts_of_titles() -> None:
    items = [
        Item(item_id="a", title="Jackson", attributes={"actors": ("Samuel Jackson", "Michael Jordan")}),
        Item(item_id="b", title="Jordan: The Story of a Ball"),
    ]
    linker = Linker(items)
    assert linker.link("I love Samuel Jackson and michael jordan") == []
    assert only("have you seen Jackson", linker).item_ids == ("a",)


def test_office_goods_are_found_by_brand_and_product() -> None:
    assert set(only("I bought the Paperline Quill pens", SHELF).item_ids) == {"g0", "g1"}
    assert named("do you know the Brightmark low odor markers?", SHELF) == [GOODS[2].title]
    assert named("need a Zipstaple 747", SHELF) == [GOODS[4].title]
    assert named("my printer takes CB335WN", SHELF) in ([], [GOODS[8].title])
    assert named("I need dry erase markers", SHELF) == []
    assert named("a black pen", SHELF) == []


def test_a_brand_is_no_part_of_a_title() -> None:
    pens = [Item(item_id=f"p{n}", title=f"Quillon Mate {colour} Pen Set {n}") for n, colour in enumerate("abcdefghijklmnopqrst")]
    odd = Item(item_id="odd", title="Quillon Mate - Clear Point Pencil")
    assert Linker([*pens, odd]).link("I bought a Quillon Mate") == []
    assert only("I bought a Quillon Mate", Linker([*pens[:3], odd])).item_ids[0] == "odd"


def test_no_items_and_no_words() -> None:
    assert Linker([]).link("The Matrix") == []
    assert LINKER.link("") == LINKER.link(" \n🎬 …") == []


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=400))
def test_whatever_is_linked_exists_and_stands_there(text: str) -> None:
    end = 0
    for mention in LINKER.link(text):
        assert mention.start >= end
        assert text[mention.start : mention.end] == mention.text != ""
        assert set(mention.item_ids) <= TITLES.keys()
        assert 0 < mention.score <= 1
        end = mention.end


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(FILMS), st.sampled_from(["{}", "I watched {} today", "have you seen {}?", 'what about "{}"']))
def test_titles_with_their_year_are_found(item: Item, said: str) -> None:
    title = item.title if "(" in item.title else f"{item.title} ({item.attributes['year']})"
    assert item.item_id in {mention.item_ids[0] for mention in LINKER.link(said.format(title))}


def test_many_titles_are_built_and_searched_fast() -> None:
    sounds = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
    items = [
        Item(
            item_id=str(n), title=f"{sounds[n % 60]}{sounds[n // 60 % 60]} {sounds[n // 7 % 60]}{sounds[n // 11 % 60]}n {n % 97}"
        )
        for n in range(20_000)
    ]
    start = time.process_time()
    linker = Linker(items)
    assert time.process_time() - start < 20
    text = f"I liked {items[77].title} and {items[4711].title.replace('n ', ' ')}, have you seen something like them? " * 3
    linker.link(text)
    start = time.process_time()
    mentions = linker.link(text)
    assert time.process_time() - start < 0.5
    assert items[77].item_id in {item_id for mention in mentions for item_id in mention.item_ids}


def test_what_many_titles_say_names_none_of_them_in_brackets() -> None:
    goods = [Item(item_id=f"n{n}", title=f"Brand{n} Notebook, Ruled, 80 Sheets") for n in range(40)]
    goods.append(Item(item_id="odd", title="Miliko Transparent Hardcover Notebook Journal Set of 2 (Ruled)"))
    goods.append(Item(item_id="seven", title="Shichinin no samurai (Seven Samurai)"))
    linker = Linker(goods)
    assert linker.link("ruled") == []
    assert linker.link("seven samurai")[0].item_ids == ("seven",)


def test_titles_of_the_dialogue_need_fewer_signs() -> None:
    linker = Linker(
        [Item(item_id="t", title="Toy Story"), Item(item_id="s", title="Show, The"), Item(item_id="c", title="Contact")]
    )
    assert linker.link("then toy story please") == []
    assert [one.item_ids for one in linker.link("then toy story please", {"t"})] == [("t",)]
    assert linker.link("show me another", {"s"}) == []
