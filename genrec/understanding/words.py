"""Text as words with their places, folded so that spelling, accents and case do not matter; and which words are common."""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

_CHARACTERS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WHOLE = re.compile(r"%[0-9A-Fa-f]{2}|((?:[0-9]+(?:[.,][0-9]+)+)(?![^\W_])|[^\W_]+(?:['’´`][^\W_]+)*|[&$€£])")
_SINGLE = re.compile(rf"[{_CHARACTERS}]")
_LETTER = rf"(?:(?![{_CHARACTERS}])[^\W_])"
_MIXED = re.compile(
    rf"%[0-9A-Fa-f]{{2}}|((?:[0-9]+(?:[.,][0-9]+)+)(?![^\W_])|[{_CHARACTERS}]|{_LETTER}+(?:['’´`]{_LETTER}+)*|[&$€£])"
)
"""Chinese and Japanese are written without spaces: there a character is a word. `%3F` is a remnant of a URL."""
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
LETTERS = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
"""A word without digits, as it stands in an item's text."""
_APOSTROPHES = str.maketrans("", "", "'’´`")
_LETTERS = str.maketrans({"ø": "o", "ł": "l", "æ": "ae", "œ": "oe", "đ": "d", "ı": "i"})
ARTICLES = frozenset("the a an le la les der die das el los las il lo gli l un une".split())

NUMBERS: dict[str, int] = {
    name: number
    for number, name in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
        "eighteen nineteen twenty".split()
    )
}
NUMBERS |= {"thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90, "hundred": 100}
_ROMAN = "ii iii iv v vi vii viii ix x xi xii xiii xiv xv xvi".split()
_NUMERALS = {name: str(value) for name, value in NUMBERS.items()} | {name: str(2 + n) for n, name in enumerate(_ROMAN)}

FUNCTION = frozenset(
    """a about above after again all almost along already also although always am an and another any anybody anyone anything
    are around as ask at away back bad be because been before behind being below best better between big both but by
    call came can cannot cant come could couldnt day did didnt different do does doesnt doing done dont down each either
    else end enough even ever every everybody everyone everything far few find fine first for found from fun get gets
    getting give go goes going gone good got great guess had half happy has hasnt have havent having he hello help her
    here hers hey hi him his home hope how i id if ill im in into is isnt it its ive just keep kind knew know known last
    late later least left less let lets life like little live lol long look looking lot love made make makes man many
    may maybe me mean men might mine more most movie movies much must my myself near need never new next nice no nobody
    none nor not nothing now of off oh ok okay old on once one only open or other others our out over own part people
    perhaps please put quite rather ready really right said same saw say says see seen she should show side since so
    some somebody someone something soon sorry sound still such sure take taken talk tell than thank thanks that thats
    the their them then there these they thing things think this those though thought time to today together told too
    took top try trying turn two under until up upon us use used very wait want was wasnt watch watched watching way we
    week well went were what whatever when where which while who whole why will wish with without woman wont work world
    would wouldnt wow yeah year years yep yes yet you young your yours youre film films item items actually anyway bit
    certainly completely definitely exactly haha hmm honestly hopefully id maybe mostly plus probably seriously usually
    welcome wonderful awesome amazing cool bye goodbye hear heard favorite favourite smth sth smthg sthg somthing someting
    somethin anythin gimme dunno idk u ur asap whats wheres hows whos theres heres theyre shes hes weve youve""".split()
)
"""Words that are in every talk. A title of such words alone needs quotes, a year or a capital letter to count as one."""
COMMON = FUNCTION | frozenset(
    """action actor actors adventure age alone american animal animation baby ball beautiful bed beginning black blood blue
    body book books boss box boy boys brother brothers business car care cat cell change chance check chicken child
    children christmas city class classic click close club cold color comedy contact cop couple crash crazy crime cut
    dance dark date daughter dead deal dear death deep desk director dog door double dragon drama dream dreams drive
    ears easy enemy evil eye eyes face fact faith fall family fantasy fast father favorite fear feel fight fire flight
    fly food free friend friends frozen full funny game games garden genre ghost gift girl girls glory god gold gone
    grave gravity green ground group guy guys hand hands hang hard head heart heat heaven heavy hell hero high history
    hook horror hot hour hours house human hunt husband ice idea inside island jobs joy judge jump kid kids kill king
    kiss knife lady lamp land language lie light limitless line lion list lost luck lucky machine magic marker mask
    matter maid master match medicine memory mind minute minutes mirror miss mission mom money monster month moon
    morning mother mouth movie murder music musical mystery name nature neighbors night number numbers office paper
    parents party passion past pen people person phone pick picture pink place plain plan planet play pride prince
    problem product pure queen question quiet rain reason red repeat rest ride ring river road romance romantic room
    round run salt saw scary school science scream sea search secret sense series serious seven shade shadow ship short
    shot sign signs simple single sister six skin sky sleep small smart smile smoke snow soldier solo son song soul
    space speed spell split spring spy stage star start state station stay step stop storm story strange street strong
    stuff style summer sun super surprise sweet taken team teacher test third thriller ticket tomorrow tonight touch
    tough town toy tree trouble truth twilight type uncle unknown vacation view village voice wall war warm waste water
    wedding western white wife wild wind window winter wish witness wonder wood word words worth wrong yellow zero
    yesterday suspense superhero sequel prequel trilogy remake original version choice score crown creep cheaters
    descent decent robin kinda sorta gonna wanna thinking flick flicks chick chicks creepy gory silly goofy spooky
    clever overall opinion preference recommendation suggestion chat talk talking weather cheers gosh heck damn omg btw
    lots plenty loads yea yup nah sort sorts kinds types fits fit hits hit sir madam""".split()
)
"""Words that are often meant as themselves: a title of such words alone needs some sign that it is one."""


_ENDINGS = (
    ("ed", "e"),
    ("ed", ""),
    ("ing", "e"),
    ("ing", ""),
    ("er", ""),
    ("er", "e"),
    ("ers", ""),
    ("ly", ""),
    ("s", ""),
    ("es", ""),
)


@lru_cache(maxsize=50_000)
def is_common(key: str) -> bool:
    """Whether a word, or what it is a form of, is common."""
    return key in COMMON or _is_form(key, COMMON)


@lru_cache(maxsize=50_000)
def is_function(key: str) -> bool:
    """Whether a word, or what it is a form of, is in every talk."""
    return key in FUNCTION or _is_form(key, FUNCTION)


def _is_form(key: str, of: frozenset[str]) -> bool:
    return len(key) > 4 and any(key.endswith(end) and key[: -len(end)] + base in of for end, base in _ENDINGS)


@dataclass(frozen=True, slots=True)
class Word:
    """`text[start:end]` is `shown`; `key` is its folded form."""

    start: int
    end: int
    shown: str
    key: str


def words_of(text: str) -> list[Word]:
    """The words of a text in order; punctuation lies between them, & and currency signs are words."""
    pattern = _WHOLE if text.isascii() or not _SINGLE.search(text) else _MIXED
    return [
        Word(found.start(), found.end(), found[1], fold(found[1])) for found in pattern.finditer(text) if found[1] is not None
    ]


@lru_cache(maxsize=100_000)
def fold(word: str) -> str:
    """Lower case without accents, apostrophes and thousands separators; & is `and`."""
    if word == "&":
        return "and"
    if _GROUPED.fullmatch(word):
        return word.replace(",", "")
    plain = word.translate(_APOSTROPHES)
    if plain.isascii():
        return plain.lower()
    split = unicodedata.normalize("NFKD", plain.casefold())
    return "".join(character for character in split if not unicodedata.combining(character)).translate(_LETTERS)


def numeral(key: str) -> str:
    """Roman numbers from II and number words as digits: `ii` and `two` are `2`."""
    return _NUMERALS.get(key, key)


@lru_cache(maxsize=50_000)
def stem(key: str) -> str:
    """English plurals as their singular, numbers as digits; good enough where both sides go through it."""
    key = numeral(key)
    if len(key) > 4 and key.endswith("ies"):
        return key[:-3] + "y"
    if len(key) > 4 and key.endswith(("sses", "xes", "ches", "shes", "zes")):
        return key[:-2]
    if len(key) > 3 and key.endswith("s") and not key.endswith(("ss", "us", "is")):
        return key[:-1]
    return key


def begins_sentence(text: str, start: int) -> bool:
    """Whether the word at `start` is the first of its sentence."""
    before = text[max(0, start - 20) : start].rstrip(" \t\"'“‘(«*-")
    return not before or before[-1] in ".!?\n:;…"


def is_capital(shown: str) -> bool:
    return shown[:1].isupper() or shown[:1].isdigit()
