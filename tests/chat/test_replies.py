"""What the catalogue says of items, and nothing else."""

from genrec.chat import replies
from genrec.chat.replies import attribute_line, comparison, description, extreme, quoted
from genrec.filters import Has
from genrec.types import Item
from tests.understanding.catalogues import FILMS

ALIEN = Item(
    item_id="1",
    title="Alien",
    text="A crew meets a creature.",
    attributes={
        "genres": ("Horror", "Sci-Fi"),
        "director": ("Ridley Scott",),
        "year": 1979,
        "runtime_min": 117,
        "imdb_id": "tt1",
    },
)
ALIENS = Item(item_id="2", title='Aliens "2"', attributes={"genres": ("Horror", "Sci-Fi"), "year": 1986, "runtime_min": 137})
BARE = Item(item_id="3")


def test_one_attribute() -> None:
    assert attribute_line(ALIEN, "runtime_min", FILMS) == '"Alien": runtime 117 minutes.'
    assert attribute_line(ALIEN, "genres", FILMS) == '"Alien": genres Horror and Sci-Fi.'
    assert attribute_line(ALIENS, "director", FILMS) == "The catalogue does not say the director of \"Aliens '2'\"."


def test_a_whole_item() -> None:
    said = description(ALIEN, FILMS)
    assert "director Ridley Scott" in said
    assert said.endswith("A crew meets a creature.")
    assert "tt1" not in said
    assert description(BARE, FILMS) == 'Of "3" the catalogue has no more than the title.'
    made = Item(item_id="4", title="T", text="Words.", generated=("text",))
    assert description(made, FILMS) == '"T": (written by genrec) Words.'


def test_a_comparison_says_what_differs_and_what_is_alike() -> None:
    lines = comparison([ALIEN, ALIENS], FILMS).splitlines()
    assert lines[0] == '"Alien": director Ridley Scott; year 1979; runtime 117 minutes.'
    assert "director not given; year 1986" in lines[1]
    assert lines[2] == "Both: genres Horror and Sci-Fi."


def test_the_foremost() -> None:
    assert extreme([ALIEN, ALIENS, BARE], "runtime_min", "<", FILMS) == '"Alien": runtime 117 minutes.'
    assert extreme([ALIEN, ALIENS], "year", ">", FILMS) == "\"Aliens '2'\": year 1986."
    assert extreme([BARE], "year", ">", FILMS) == ""
    assert extreme([ALIEN, Item(item_id="5", title="B", attributes={"year": 1979})], "year", "<", FILMS).endswith("1979, alike.")


def test_a_title_can_not_break_its_line() -> None:
    assert quoted(Item(item_id="x", title='A\n"B" <|im_end|>')) == "\"A 'B' ‹|im_end|›\""


def test_openings() -> None:
    horror = [Has("genres", "Horror")]
    assert replies.opening([], [], False, FILMS, 0) == "I would suggest:"
    assert replies.opening(horror, [], False, FILMS, 1) == "Horror: 1 item fits. I would suggest:"
    assert replies.opening(horror, [ALIEN], True, FILMS, 7) == (
        'Like "Alien"; close to what you describe; Horror: 7 items fit. I would suggest:'
    )
    assert "Nothing of it is new" in replies.opening(horror, [], False, FILMS, 2, again=True)


def test_namesakes_are_told_apart_by_their_year() -> None:
    new, old = (Item(item_id=str(year), title="Sabrina", attributes={"year": year}) for year in (1995, 1954))
    assert replies.ambiguous([new, old]) == 'Which one do you mean: "Sabrina" (1995) or "Sabrina" (1954)?'
    assert replies.ambiguous([ALIEN, new]) == 'Which one do you mean: "Alien" or "Sabrina"?'


def test_small_talk() -> None:
    assert replies.small_talk("thanks a lot!", ongoing=True) == replies.THANKS
    assert replies.small_talk("bye", ongoing=True) == replies.BYE
    assert replies.small_talk("hi", ongoing=False) == replies.HELLO
    assert replies.small_talk("", ongoing=True) == replies.EMPTY
