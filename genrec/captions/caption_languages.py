"""The languages that captions can be written in. To add one, write `prompts/plain/<code>.txt`; no code changes.

Copy a shipped file and translate each section; a workspace's own `prompts/plain/` is read before the shipped one. A file says
which words claim nothing about an item, which words introduce the title of another item, and how the template speaks:

    [name]                          the language's name in English, for the prompt
    [plain] [join]                  words that claim nothing; those of them that join cited titles to a list
    [near] [together]               words that claim nothing where a similar title is cited, or one that the same people chose
    [near_lead] [together_lead]     what must stand right before such a title: a phrase a line, or a regular expression between
                                    slashes, in which `{}` is another cited title
    [judgements] [negations]        words that no evidence bears out; words that turn a phrase round. English ones always count
    [restated]                      attribute = words that say no more than that it has its value
    [numbers]                       figure = words for it
    [endings]                       endings of inflected words; none: English plurals
    [clipped]                       regular expression of what does not count in a word: `'s` at its end, `l'` at its beginning
    [template]                      near, together, shows: phrases with `{}` for titles or tags; last: before the last of a list
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from genrec.errors import ConfigError, PromptError
from genrec.prompts import Prompts

ENGLISH_CODE = "en"
FOLDER = "plain"
NEAR, TOGETHER, BOTH, FACT = "\x00", "\x01", "\x02", "\x03"
"""What the checker puts in place of a similar title, one that the same people chose, one that is both, and a fact."""
SECTIONS = (
    "name plain join near together near_lead together_lead judgements negations restated numbers endings clipped template"
).split()
_TITLE = f"[{NEAR}{TOGETHER}{BOTH}]"
_HAS_DIGIT = re.compile(r"\d")
_HEADER = re.compile(r"\[(\w+)\]\s*")
_CODE = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]{2,8})*")


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplatePhrases:
    """How the template speaks. `{}` is where titles or tags go."""

    near: str
    together: str
    shows: str
    last: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """The words of one language; fields are the sections of its file.

    A judgement is allowed only inside a value, tag or own title that is named whole, letter for letter. Evidence with a negation
    is named whole or not at all: half of `batteries not included` is false. `listed` matches a list of cited titles.
    """

    code: str
    name: str
    plain: frozenset[str]
    near: frozenset[str]
    together: frozenset[str]
    near_lead: re.Pattern[str]
    together_lead: re.Pattern[str]
    listed: re.Pattern[str]
    judgements: frozenset[str]
    negations: frozenset[str]
    restated: Mapping[str, str]
    numbers: Mapping[str, str]
    endings: tuple[str, ...]
    clipped: re.Pattern[str]
    phrases: TemplatePhrases

    def forms(self, word: str) -> set[str]:
        """The word and what may be another form of it; a word with a figure has none."""
        if _HAS_DIGIT.search(word) or len(word) < 3:
            return {word}
        if not self.endings:
            return _plurals(word)
        stems = {word, *(word.removesuffix(end) for end in self.endings if len(word) - len(end) >= 3)}
        return stems | {stem + end for stem in stems for end in self.endings}

    def bare(self, word: str) -> str:
        """The word without what does not count, such as `'s`."""
        return self.clipped.sub("", word)


def load_language(code: str, prompts: Prompts) -> Language:
    """The words of the language `code`. Raises ConfigError when it has no file, PromptError when the file cannot be read."""
    path = prompts.path(f"{FOLDER}/{code}.txt") if _CODE.fullmatch(code) else None
    if path is None:
        known = ", ".join(available_languages(prompts))
        raise ConfigError(
            f"caption.language is {code!r}: there are no word lists for it", hint=f"Take one of {known}, or see docs/captions.md."
        )
    sections = _sections(path)
    words = {name: frozenset(" ".join(lines).lower().split()) for name, lines in sections.items()}
    english = () if code == ENGLISH_CODE else (ENGLISH,)  # evidence may be English in any language
    between = "|".join([", ", *(f",? {re.escape(word)} " for word in sorted(words["join"]))])
    return Language(
        code=code,
        name=" ".join(sections["name"]),
        plain=(words["plain"] | words["join"]) - words["negations"],
        near=words["near"],
        together=words["together"],
        near_lead=_lead(path, sections["near_lead"]),
        together_lead=_lead(path, sections["together_lead"]),
        listed=re.compile(rf"{_TITLE}(?:(?:{between}){_TITLE})*"),
        judgements=words["judgements"].union(*(one.judgements for one in english)),
        negations=words["negations"].union(*(one.negations for one in english)),
        restated=_pairs(path, [line.lower() for line in sections["restated"]]),
        numbers=_pairs(path, [line.lower() for line in sections["numbers"]]),
        endings=tuple(sorted(words["endings"])),
        clipped=_compiled(path, "|".join(sections["clipped"]) or r"(?!)"),
        phrases=_phrases(path, sections["template"]),
    )


def available_languages(prompts: Prompts) -> list[str]:
    """Codes of the languages that have a file."""
    return [path.stem for path in prompts.paths(FOLDER, "*.txt")]


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


def _sections(path: Path) -> dict[str, list[str]]:
    """Lines by section, without blank lines and comments."""
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


def _lead(path: Path, lines: list[str]) -> re.Pattern[str]:
    """Any of these phrases or regular expressions, right before a title."""
    either = [
        line[1:-1].replace("{}", _TITLE) if len(line) > 2 and line[0] == line[-1] == "/" else rf"(?<!\w){re.escape(line)}"
        for line in lines
    ]
    return _compiled(path, rf"(?:{'|'.join(either) or '(?!)'}) $", re.IGNORECASE)


def _compiled(path: Path, pattern: str, flags: re.RegexFlag = re.NOFLAG) -> re.Pattern[str]:
    try:
        return re.compile(pattern, flags)
    except re.error as error:
        raise PromptError(
            f"{path}: not a regular expression: {pattern!r}: {error}", hint="See another language's file."
        ) from error


def _pairs(path: Path, lines: list[str]) -> dict[str, str]:
    """Lines of `key = words`."""
    split = [line.partition("=") for line in lines]
    for key, sign, _ in split:
        if not sign:
            raise PromptError(f"{path}: `{key}` has no `=`", hint="Write `key = words`.")
    return {key.strip(): words.strip() for key, _, words in split}


def _phrases(path: Path, lines: list[str]) -> TemplatePhrases:
    given = _pairs(path, lines)
    if given.keys() != {"near", "together", "shows", "last"} or any("{}" not in given[key] for key in given.keys() - {"last"}):
        raise PromptError(
            f"{path}: [template] needs near, together and shows, each with {{}}, and last", hint="See another language's file."
        )
    return TemplatePhrases(**given)


ENGLISH = load_language(ENGLISH_CODE, Prompts())
"""As shipped."""
