"""The words that items may be tagged with: values of the catalogue's attributes, phrases of its titles and texts, general terms.

The general ones ship as `prompts/vocabulary/general.json`; a workspace's own `prompts/vocabulary/general.json` takes its place.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from genrec.captions.caption_prompt import UNKNOWN
from genrec.errors import PromptError
from genrec.prompts import shipped_folder
from genrec.reasons.facts import VALUE_CHARS, one_line
from genrec.types import AttributeValue, Item, scalars

TermKind = Literal["attribute", "phrase", "general"]
GENERAL_FILE = Path("vocabulary") / "general.json"
PHRASES = "phrases"
"""The group of all phrases."""
MIN_ITEMS = 5
"""A value or phrase of fewer items is no term: nothing can be learned from it."""
MAX_VALUES = 400
"""Values of one attribute, most frequent first."""
MAX_PHRASES = 400
MAX_PHRASE_SHARE = 0.3
"""A phrase that a larger share of the texts have hardly tells items apart."""
MIN_NPMI = 0.4
"""How strongly words must be associated: normalised pointwise mutual information (Bouma, 2009), 0 by chance, at most 1."""
DEFAULT_TEMPLATES = ("a picture of a {}", "a picture of {}", "{}")
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_BREAK = re.compile(r"[.!?;:,()\[\]\"“”|/\n]+")
STOP_WORDS = frozenset(
    """
    a about after again all also always an and any are as at away back be became because been before being best
    between both but by can come comes could day days did do does down during each even ever every few find finds
    first for from get gets give gives go goes good great had has have he her here hers herself him himself his how i
    if in into is it its itself just keep keeps last let like made make makes many may me might more most much must my
    never new next no not now of off on once one only onto or other others our out over own part perfect put quite
    really same see seem seems set she should since so some still such take takes than that the their them themselves
    then there these they thing things this those though through time to too two under until up upon us use used very
    want was way we well were what when where which while who whole whom whose why will with within without would yet
    you your yours
    """.split()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """`group`: an attribute's name as the catalogue has it, `PHRASES`, or a group of the general file.

    `prompts`: texts that are encoded to compare the term with pictures.
    """

    kind: TermKind
    group: str
    text: str
    prompts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """Terms, those of a group side by side."""

    terms: tuple[Term, ...]

    def groups(self) -> dict[tuple[TermKind, str], range]:
        """Where the terms of each group stand."""
        found: dict[tuple[TermKind, str], range] = {}
        for place, term in enumerate(self.terms):
            start = found[term.kind, term.group].start if (term.kind, term.group) in found else place
            found[term.kind, term.group] = range(start, place + 1)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class TermGroup:
    templates: tuple[str, ...]
    names: tuple[str, ...]
    terms: tuple[str, ...]


def general_vocabulary(folder: Path | None = None) -> dict[str, TermGroup]:
    """The general vocabulary by group: the file in `folder` (a workspace's `prompts`) or the shipped one.

    Raises PromptError that names the file and what is wrong with it.
    """
    own = folder / GENERAL_FILE if folder else None
    path = own if own and own.is_file() else shipped_folder() / GENERAL_FILE
    try:
        groups = json.loads(path.read_text(encoding="utf-8"))["groups"]
        return {name: _group(path, name, group) for name, group in groups.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PromptError(
            f"{path}: {type(error).__name__}: {error}",
            hint='It must be {"groups": {name: {"templates": ["… {} …"], "names": […], "terms": […]}}}.',
        ) from error


def catalogue_vocabulary(items: Sequence[Item], groups: Mapping[str, TermGroup]) -> Vocabulary:
    """The vocabulary of a catalogue: its attribute values, its phrases, and those terms of `groups` that are not among them."""
    templates = {name: group.templates for group in groups.values() for name in group.names}
    values = list(_frequent_values(items))
    terms = [
        Term(kind="attribute", group=name, text=text, prompts=_prompts(templates.get(name.lower(), DEFAULT_TEMPLATES), text))
        for name, text in values
    ]
    known = {text.lower() for _, text in values}
    found = [phrase for phrase in _frequent_phrases(items) if not _made_of(phrase, known)]
    terms += [Term(kind="phrase", group=PHRASES, text=text, prompts=_prompts(DEFAULT_TEMPLATES, text)) for text in found]
    known |= set(found)
    for name, group in groups.items():
        fresh = [text for text in group.terms if text.lower() not in known]
        terms += [Term(kind="general", group=name, text=text, prompts=_prompts(group.templates, text)) for text in fresh]
    return Vocabulary(terms=tuple(terms))


def values_of(value: AttributeValue) -> tuple[str, ...]:
    """The values of an attribute that can be terms, as they are shown: words, not numbers, flags or addresses."""
    said = [one_line(part, VALUE_CHARS) for part in scalars(value) if isinstance(part, str) and len(part) <= VALUE_CHARS]
    return tuple(dict.fromkeys(word for word in said if word.lower() not in UNKNOWN and "://" not in word and _WORD.search(word)))


def phrases_of(text: str) -> set[str]:
    """Runs of one to three words that do not begin or end in a stop word, in lower case."""
    found: set[str] = set()
    for part in _BREAK.split(text.lower()):
        words = _WORD.findall(part)
        for start, word in enumerate(words):
            if word in STOP_WORDS or len(word) < 3:
                continue
            for end in range(start + 1, min(start + 4, len(words) + 1)):
                if words[end - 1] not in STOP_WORDS and len(words[end - 1]) >= 3:
                    found.add(" ".join(words[start:end]))
    return found


def text_of(item: Item) -> str:
    """The text in which phrases are looked for."""
    return f"{item.title}\n{item.text}"


def _group(path: Path, name: str, group: Mapping[str, object]) -> TermGroup:
    lists: dict[str, tuple[str, ...]] = {}
    for key in ("templates", "names", "terms"):
        value = group.get(key, [])
        if not isinstance(value, list) or not all(isinstance(part, str) and part.strip() for part in value):
            raise ValueError(f"group {name!r}: {key} is not a list of texts")
        lists[key] = tuple(part for part in value if isinstance(part, str))
    if not lists["templates"] or any(template.count("{}") != 1 for template in lists["templates"]):
        raise ValueError(f"group {name!r}: each template needs one {{}}, and one template is needed")
    if unknown := set(group) - set(lists):
        raise ValueError(f"group {name!r}: unknown keys {sorted(unknown)}")
    return TermGroup(**lists)


def _prompts(templates: Iterable[str], text: str) -> tuple[str, ...]:
    return tuple(template.replace("{}", text) for template in templates)


def _frequent_values(items: Iterable[Item]) -> Iterator[tuple[str, str]]:
    """(attribute, value) of at least `MIN_ITEMS` items, by attribute, most frequent first; in any case, as first spelled."""
    counts: dict[str, Counter[str]] = {}
    shown: dict[tuple[str, str], str] = {}
    for item in items:
        for name, value in item.attributes.items():
            for text in {text.lower(): text for text in values_of(value)}.values():
                counts.setdefault(name, Counter())[text.lower()] += 1
                shown.setdefault((name, text.lower()), text)
    for name in sorted(counts):
        for low, count in sorted(counts[name].items(), key=lambda pair: (-pair[1], pair[0]))[:MAX_VALUES]:
            if count >= MIN_ITEMS:
                yield name, shown[name, low]


def _frequent_phrases(items: Iterable[Item]) -> list[str]:
    """The most frequent phrases within the bounds; a longer one only where its words are associated."""
    counts: Counter[str] = Counter()
    texts = 0
    for item in items:
        found = phrases_of(text_of(item))
        texts += bool(found)
        counts.update(found)
    kept = []
    for phrase, count in counts.items():
        if not MIN_ITEMS <= count <= MAX_PHRASE_SHARE * texts:
            continue
        words = phrase.split()
        apart = sum(math.log(counts[word] / texts) for word in words if counts[word])  # stop words inside are not counted
        together = math.log(count / texts)
        if len(words) == 1 or together - apart >= MIN_NPMI * (len(words) - 1) * -together:
            kept.append((count, phrase))
    kept.sort(key=lambda pair: (-pair[0], pair[1]))
    return _without_parts(kept)[:MAX_PHRASES]


def _without_parts(kept: Sequence[tuple[int, str]]) -> list[str]:
    """Without those that hardly ever occur outside a longer phrase (`kong` in `hong kong`)."""
    covered: Counter[str] = Counter()
    for count, phrase in kept:
        words = phrase.split()
        for length in range(1, len(words)):
            for start in range(len(words) - length + 1):
                part = " ".join(words[start : start + length])
                covered[part] = max(covered[part], count)
    return [phrase for count, phrase in kept if covered[phrase] < 0.9 * count]


def _made_of(phrase: str, known: set[str]) -> bool:
    """Whether the phrase is a value, or nothing but words that are values."""
    return phrase in known or all(word in known for word in phrase.split())
