"""The words of a language: which claim nothing of an item in a caption, which introduce a title that is cited, how to say plainly
what is known.

English stands here. Other languages have a file each, `prompts/plain/<code>.txt`, and the workspace may add some.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from genrec.errors import ConfigError, PromptError
from genrec.prompts import Prompts

ENGLISH_CODE = "en"
FOLDER = "plain"
NEAR, TOGETHER, BOTH, FACT = "\x00", "\x01", "\x02", "\x03"
"""Marks of the checker: a close title, one that the same people chose, one that is both, a fact."""
_ANY = f"[{NEAR}{TOGETHER}{BOTH}]"
_HAS_DIGIT = re.compile(r"\d")
_HEADER = re.compile(r"\[(\w+)\]\s*")
_CODE = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]{2,8})*")

PLAIN = frozenset(
    """
    a about against also an and are as at belong belongs between both bring brings but by called carries carry
    category combine combines combining come comes does feature features find for from give gives go goes has have here
    holding in into is it item items its join joins just keep keeps kind lie lies made make makes meet meets mix mixes
    named of offer offers on onto or part piece plus rest rests see seen show showing shown shows sit sits some
    something sort stand stands take takes that the these they thing this those through to too type unite unites wait
    waits where which while with within you your
    """.split()
)
NEAR_WORDS = frozenset("akin beside close comparable like much near neighbour rather related resembles similar".split())
"""Plain where a near title is cited."""
TOGETHER_WORDS = frozenset(
    "along alongside choice choose chose chosen companion often people pick picked picks together who".split()
)
"""Plain where a title that the same people chose is cited."""
RESTATED = {
    "actor": "acted played starring with",
    "actress": "acted played starring",
    "architect": "designed architect",
    "author": "written",
    "binding": "bound",
    "brewer": "brewed",
    "brewery": "brewed",
    "builder": "built",
    "cast": "starring",
    "chef": "cooked",
    "cinematographer": "filmed",
    "color": "colored",
    "colour": "coloured",
    "composer": "composed",
    "country": "made",
    "designer": "designed",
    "developer": "developed",
    "director": "directed",
    "distillery": "distilled",
    "duration": "lasting long lasts",
    "editor": "edited",
    "filling": "filled",
    "flavor": "flavored",
    "flavour": "flavoured",
    "grower": "grown",
    "height": "high tall",
    "host": "hosted",
    "illustrator": "illustrated",
    "instructor": "taught",
    "language": "spoken",
    "length": "long",
    "lining": "lined",
    "location": "located",
    "maker": "made",
    "manufacturer": "manufactured",
    "material": "made",
    "narrator": "narrated read",
    "origin": "grown",
    "painter": "painted",
    "pattern": "patterned",
    "performer": "performed",
    "photographer": "photographed taken",
    "player": "played",
    "price": "costs",
    "printer": "printed",
    "producer": "produced",
    "publisher": "published",
    "rating": "rated",
    "release": "released",
    "roaster": "roasted",
    "roastery": "roasted",
    "scent": "scented",
    "serving": "serves",
    "setting": "set",
    "singer": "sung",
    "star": "starring",
    "teacher": "taught",
    "translator": "translated",
    "weight": "weighs",
    "width": "wide",
    "writer": "written",
}
"""Words that say no more than that an attribute of this name has its value."""
NUMBERS = {
    "1": "one single",
    "2": "two pair",
    "3": "three trio",
    "4": "four",
    "5": "five",
    "6": "six",
    "7": "seven",
    "8": "eight",
    "9": "nine",
    "10": "ten",
    "11": "eleven",
    "12": "twelve dozen",
}
"""A figure of a value or tag may be said in words, and a word as a figure."""
JUDGEMENTS = frozenset(
    """
    amazing astonishing awesome beautiful beloved best better brilliant charming cheap classic delicious delightful elegant
    excellent exceptional exclusive exquisite fabulous famous fantastic favourite favorite finest gorgeous good great greatest
    ideal incredible lovely luxurious magnificent marvellous masterpiece nice outstanding perfect popular premium quality
    remarkable special splendid stunning stylish sublime superb superior terrific timeless unforgettable unique wonderful
    """.split()
)
"""Words that no evidence bears out; allowed only inside a value, tag or own title that is named whole, letter for letter."""
NEGATIONS = frozenset("free hardly never no non none not without".split())
"""Evidence with one of these is named whole or not at all: half of `batteries not included` is false."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplatePhrases:
    """How the template speaks. `{}` is where titles or tags go."""

    near: str = "Close to {}"
    together: str = "Often chosen with {}"
    shows: str = "Shows {}"
    last: str = "and"


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """The words of one language.

    plain         claim nothing; `near`, `together`: plain where a close title, one that the same people chose, is cited
    near_lead     what must stand before a close title; `together_lead`: before one that the same people chose
    listed        joins cited titles to a list
    restated      attribute's name → words that say no more than that it has its value; `numbers`: figure → words for it
    endings       of inflected words; empty: English plurals
    clipped       what of a word does not count: `'s`, or `l'`
    """

    code: str
    name: str
    plain: frozenset[str]
    near: frozenset[str]
    together: frozenset[str]
    near_lead: re.Pattern[str]
    together_lead: re.Pattern[str]
    listed: re.Pattern[str]
    judgements: frozenset[str] = JUDGEMENTS
    negations: frozenset[str] = NEGATIONS
    restated: Mapping[str, str] = field(default_factory=lambda: RESTATED)
    numbers: Mapping[str, str] = field(default_factory=lambda: NUMBERS)
    endings: tuple[str, ...] = ()
    clipped: re.Pattern[str] = re.compile(r"['’]s$")
    phrases: TemplatePhrases = TemplatePhrases()

    def forms(self, word: str) -> set[str]:
        """The word and what may be another form of it; a word with a figure has none."""
        if _HAS_DIGIT.search(word) or len(word) < 3:
            return {word}
        if not self.endings:
            return _plurals(word)
        stems = {word, *(word.removesuffix(end) for end in self.endings if len(word) - len(end) >= 3)}
        return stems | {stem + end for stem in stems for end in self.endings}

    def bare(self, word: str) -> str:
        return self.clipped.sub("", word)


def _plurals(word: str) -> set[str]:
    """An English word and what may be its singular or plural."""
    forms = {word, word + "s", word + "es", word.removesuffix("s")}
    if word.endswith("es"):
        forms.add(word[:-2])
    if word.endswith("y"):
        forms.add(word[:-1] + "ies")
    if word.endswith("ies"):
        forms.add(word[:-3] + "y")
    if word.endswith("ves"):
        forms |= {word[:-3] + "f", word[:-3] + "fe"}
    if word.endswith(("f", "fe")):
        forms.add(word.removesuffix("e")[:-1] + "ves")
    return forms


def _listed(*joins: str) -> re.Pattern[str]:
    between = "|".join([", ", *(f",? {join} " for join in joins)])
    return re.compile(rf"{_ANY}(?:(?:{between}){_ANY})*")


ENGLISH = Language(
    code=ENGLISH_CODE,
    name="English",
    plain=PLAIN,
    near=NEAR_WORDS,
    together=TOGETHER_WORDS,
    near_lead=re.compile(
        r"(?:\b(?:close|near|similar|related|akin|comparable) to|\bnear|\b(?:much|something|rather) like|\bresembles"
        r"|\bneighbour (?:to|of)|\bbeside)(?: both)? $",
        re.IGNORECASE,
    ),
    together_lead=re.compile(
        r"(?:\b(?:choose|chose|chosen|pick|picked)(?: it| this)?(?: often)?(?: together| along)? (?:with|alongside)"
        r"|\b(?:who|also|often) (?:also |often )?(?:choose|chose|pick|picked)|\bcompanion (?:to|of|for)"
        rf"|{_ANY},? and(?: also| often)* with)(?: both)? $",
        re.IGNORECASE,
    ),
    listed=_listed("and", "or"),
)


def load_language(code: str, prompts: Prompts) -> Language:
    """The words of the language `code`. Raises ConfigError when there is no file of it, PromptError when it cannot be read."""
    if code == ENGLISH_CODE:
        return ENGLISH
    path = prompts.path(f"{FOLDER}/{code}.txt") if _CODE.fullmatch(code) else None
    if path is None:
        known = ", ".join(available_languages(prompts))
        raise ConfigError(
            f"caption.language is {code!r}: there are no word lists for it", hint=f"Take one of {known}, or see docs/captions.md."
        )
    sections = _sections(path)
    words = {name: frozenset(" ".join(lines).lower().split()) for name, lines in sections.items()}
    joins = [re.escape(word) for word in sorted(words["join"])]
    return Language(
        code=code,
        name=" ".join(sections["name"]),
        plain=(words["plain"] | words["join"]) - words["negations"],
        near=words["near"],
        together=words["together"],
        near_lead=_lead(sections["near_lead"]),
        together_lead=_lead(sections["together_lead"]),
        listed=_listed(*joins),
        judgements=words["judgements"] | JUDGEMENTS,  # evidence may be English all the same
        negations=words["negations"] | NEGATIONS,
        restated=_pairs(path, sections["restated"]),
        numbers=_pairs(path, sections["numbers"]),
        endings=tuple(sorted(words["endings"])),
        clipped=re.compile("|".join(sections["clipped"]) or r"(?!)"),
        phrases=_phrases(path, sections["template"]),
    )


def available_languages(prompts: Prompts) -> list[str]:
    """Codes of the languages that there are words for."""
    return sorted({ENGLISH_CODE, *(path.stem for path in prompts.paths(FOLDER, "*.txt"))})


SECTIONS = (
    "name plain join near together near_lead together_lead judgements negations restated numbers endings clipped template"
).split()


def _sections(path: Path) -> dict[str, list[str]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise PromptError(f"{path}: {error}", hint="The file must be readable UTF-8 text.") from error
    found: dict[str, list[str]] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        if header := _HEADER.fullmatch(line):
            found[header[1]] = []
        elif found:
            found[next(reversed(found))].append(line.strip())
        else:
            raise PromptError(f"{path}, line {number}: it stands before the first [section]", hint="Begin with [name].")
    if found.keys() != set(SECTIONS):
        wrong = ", ".join(sorted(found.keys() ^ set(SECTIONS)))
        raise PromptError(f"{path}: sections missing or unknown: {wrong}", hint=f"They are {', '.join(SECTIONS)}.")
    return found


def _lead(lines: list[str]) -> re.Pattern[str]:
    """Any of these phrases, right before the title."""
    phrases = "|".join(re.escape(line) for line in lines) or "(?!)"
    return re.compile(rf"(?<!\w)(?:{phrases}) $", re.IGNORECASE)


def _pairs(path: Path, lines: list[str]) -> dict[str, str]:
    """Lines of `key = words`."""
    split = [line.partition("=") for line in lines]
    for key, sign, _ in split:
        if not sign:
            raise PromptError(f"{path}: `{key}` has no `=`", hint="Write `key = words`.")
    return {key.strip().lower(): words.strip().lower() for key, _, words in split}


def _phrases(path: Path, lines: list[str]) -> TemplatePhrases:
    given = {key.strip(): words.strip() for key, _, words in (line.partition("=") for line in lines)}
    if given.keys() != {"near", "together", "shows", "last"} or any("{}" not in given[key] for key in given.keys() - {"last"}):
        raise PromptError(
            f"{path}: [template] needs near, together and shows, each with {{}}, and last", hint="See another language's file."
        )
    return TemplatePhrases(**given)
