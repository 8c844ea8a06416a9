"""The checker of captions: what is written about an item is kept only when all that it says occurs in the evidence.

As in `check.py` the world is closed: each word is evidence (a value, a tag, an attribute's name, a word of the item's own title;
singular or plural), restates an attribute's name (`directed` for `director`), or is one of the plain words that claim nothing.
Titles of other items are cited letter for letter, in double quotes, behind words that say why they are cited.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from genrec.captions.caption_languages import BOTH, ENGLISH, FACT, NEAR, TOGETHER, Language
from genrec.captions.caption_prompt import CAPTION_CHARS, MAX_TAGS, YES, Caption, CaptionFacts
from genrec.prompts import data
from genrec.reasons.facts import TITLE_CHARS, alternation

MIN_TITLE = 2
NOUNS_IN_CAPITALS = frozenset({"de", "lb"})
"""Languages in which a capital makes no name."""
_NAMED = re.compile(rf"(?P<fact>{FACT} )?(?P<name>[^\W_]+)(?: (?:by|is)|:)? $")
_SENTENCE_END = re.compile(r"[.!?](?:\s|$)")
_TOKEN = re.compile(r"\d+(?:[.,:/]\d+)+[^\W_]*|[^\W_]+(?:['’][^\W_]+)*")
_HAS_DIGIT = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class AllowedWords:
    """What may be said: plain words of the language; whole phrases; words; what restates a name, and what follows it."""

    language: Language
    phrases: frozenset[str]
    words: frozenset[str]
    names: tuple[tuple[frozenset[str], frozenset[str]], ...]

    @property
    def name_words(self) -> frozenset[str]:
        return frozenset(word for words, _ in self.names for word in words)


@dataclass(frozen=True, slots=True)
class Verdict:
    """`fault`: why a caption may not be kept, or empty; `twice`: what one that may is clumsy in, or empty."""

    fault: str = ""
    repetition: str = ""


def check(caption: Caption, facts: CaptionFacts, language: Language = ENGLISH) -> Verdict:
    """What is to be said of `caption`, in the language of `language`."""
    if facts.empty:
        return Verdict(fault="there is no evidence to write from")
    evidence = allowed_words(facts, language)
    wrong = (
        _title_fault(caption.title, facts, evidence)
        or _caption_fault(caption, facts, evidence)
        or _tags_fault(caption.tags, facts)
    )
    return Verdict(fault=wrong) if wrong else Verdict(repetition=_said_twice(caption, facts, evidence))


def fault(caption: Caption, facts: CaptionFacts, language: Language = ENGLISH) -> str:
    """Why `caption` may not be kept, or an empty string when it may."""
    return check(caption, facts, language).fault


def text_fault(text: str, facts: CaptionFacts, language: Language = ENGLISH) -> str:
    """Why `text`, of one or two sentences or less, says more than the evidence, or an empty string."""
    return _text_fault("text", text, facts, allowed_words(facts, language))


def unsupported_phrases(caption: Caption, facts: CaptionFacts, language: Language = ENGLISH) -> tuple[str, ...]:
    """What title and caption say that is in no evidence, in order, each once: words, or phrases of words that stand together.

    What nothing but text could bear out is left to `fault`: judgements, negations, numbers, names (a capital within a sentence).
    """
    evidence = allowed_words(facts, language)
    found: dict[str, None] = {}
    for text, is_title in ((caption.title, True), (caption.caption, False)):
        if not (is_title and facts.title):
            said, _ = _mark(_cite(text, facts), evidence)
            found |= dict.fromkeys(_runs(said, evidence, names=not is_title))
    return tuple(found)


def _runs(said: str, evidence: AllowedWords, *, names: bool) -> Iterator[str]:
    """Runs of words that only a picture could bear out. `names`: whether a capital makes a name."""
    language = evidence.language
    known = language.plain | language.near | language.together | evidence.name_words
    beyond_pictures = language.judgements | language.negations | {w for words in language.numbers.values() for w in words.split()}
    run: list[str] = []
    end = 0
    for token in _TOKEN.finditer(said):
        word = language.bare(token[0].lower())
        starts = not said[:end].strip() or bool(re.search(r"[.!?]\s*$", said[end : token.start()]))
        is_name = names and token[0][0].isupper() and not starts and language.code not in NOUNS_IN_CAPITALS
        claims = not (word in known or word in beyond_pictures or is_name or _HAS_DIGIT.search(word))
        claims = claims and not evidence.words.intersection(language.forms(word))
        if run and (not claims or said[end : token.start()] not in (" ", "-")):
            yield " ".join(run)
            run = []
        if claims:
            run.append(word)
        end = token.end()
    if run:
        yield " ".join(run)


def _title_fault(title: str, facts: CaptionFacts, evidence: AllowedWords) -> str:
    if facts.title:
        return "" if title == facts.title else "title: it is not the item's own title"
    if not MIN_TITLE <= len(title) <= TITLE_CHARS:
        return f"title: it has {len(title)} characters, {MIN_TITLE}-{TITLE_CHARS} are needed"
    if title[-1] in ".!?,;:":
        return f"title: it ends in `{title[-1]}`"
    return _text_fault("title", title, facts, evidence)


def _caption_fault(caption: Caption, facts: CaptionFacts, evidence: AllowedWords) -> str:
    text = caption.caption
    if not text:
        return "caption: it is empty"
    if len(text) > CAPTION_CHARS:
        return f"caption: it has {len(text)} characters, more than {CAPTION_CHARS}"
    if text[-1] not in ".!":
        return "caption: it does not end as a sentence"
    return _text_fault("caption", text, facts, evidence)


def _tags_fault(tags: tuple[str, ...], facts: CaptionFacts) -> str:
    known = {word.lower() for word in facts.tag_words}
    if len(tags) > MAX_TAGS:
        return f"tags: {len(tags)}, more than {MAX_TAGS}"
    for tag in tags:
        if tag.lower() not in known:
            return f"tags: `{tag}` is not in the evidence"
    if len({tag.lower() for tag in tags}) < len(tags):
        return "tags: one stands twice"
    return ""


def _said_twice(caption: Caption, facts: CaptionFacts, evidence: AllowedWords) -> str:
    """What the title or the caption says more often than the evidence does: true, but clumsy. Empty: nothing."""
    told = _told(facts)
    for field, text in (("title", "" if facts.title else caption.title), ("caption", caption.caption)):
        _, values = _mark(_cite(text, facts), evidence)
        for value, times in Counter(values).items():
            if times > max(1, told[value]):
                return f"{field}: it says `{value}` {times} times"
    return ""


def _text_fault(field: str, text: str, facts: CaptionFacts, evidence: AllowedWords) -> str:
    if text != data(text):
        return f"{field}: it is not one plain line of text"
    cited = _cite(text, facts)
    said, values = _mark(cited, evidence)
    found = (
        _shape_fault(said)
        or _citation_fault(cited, text, facts, evidence.language)
        or _word_fault(said, evidence)
        or _pair_fault(said, values, evidence)
        or _hollow_fault(said, values, facts, evidence.language)
    )
    return f"{field}: {found}" if found else ""


def _shape_fault(said: str) -> str:
    if len(_SENTENCE_END.findall(said)) > 2:
        return "it is more than two sentences"
    if found := re.search(rf"[^\w\s.,;:!'’{NEAR}{TOGETHER}{BOTH}{FACT}-]|_", said):
        return f"it has the sign {found[0]} outside of cited titles and values"
    return ""


def _citation_fault(cited: str, text: str, facts: CaptionFacts, language: Language) -> str:
    """Each list of cited titles stands behind words that say how its titles belong to the item."""
    for title in {*facts.near, *facts.together}:
        if text.count(f'"{title}"') > 1:
            return f'it cites "{title}" twice'
    for found in language.listed.finditer(cited):
        before = cited[: found.start()]
        if language.near_lead.search(before):
            if TOGETHER in found[0]:
                return "it says of a title that people chose with it that it is close to it"
        elif language.together_lead.search(before):
            if NEAR in found[0]:
                return "it says of a close title that people chose it too"
        else:
            return "it cites a title without saying how that is related"
    return ""


def _word_fault(said: str, evidence: AllowedWords) -> str:
    language = evidence.language
    plain = set(language.plain)
    plain |= language.near if NEAR in said or BOTH in said else set()
    plain |= language.together if TOGETHER in said or BOTH in said else set()
    words = [word.lower() for word in _TOKEN.findall(said)]
    for word in words:
        bare = language.bare(word)
        if bare in plain or bare in evidence.name_words:
            continue
        if bare in language.judgements:
            return f"`{word}` is a judgement"
        if _HAS_DIGIT.search(bare) and bare not in evidence.words:
            return f"`{word}` is a number that is not in the evidence"
        if not evidence.words.intersection(language.forms(bare)):
            return f"`{word}` is not in the evidence"
    cited = FACT in said or any(mark in said for mark in (NEAR, TOGETHER, BOTH))
    if not cited and not any(word not in language.plain for word in words):
        return "it says nothing of the evidence"
    return ""


def _pair_fault(said: str, values: list[str], evidence: AllowedWords) -> str:
    """`directed by` is followed by a director: never by what is only another attribute's value."""
    for number, found in enumerate(re.finditer(FACT, said)):
        before = _NAMED.search(said[: found.start()])
        if not before:
            continue
        word, value = before["name"].lower(), values[number]
        of_name = [own for words, own in evidence.names if word in words and word not in evidence.language.plain]
        others = [own for words, own in evidence.names if word not in words]
        has_own = bool(before["fact"]) and any(values[number - 1] in own for own in of_name)
        if of_name and not has_own and any(value in own for own in others) and not any(value in own for own in of_name):
            return f"`{value}` is no value of what `{word}` says"
    return ""


def _hollow_fault(said: str, values: list[str], facts: CaptionFacts, language: Language) -> str:
    """`A mug for a mug` is true and says nothing but mug."""
    times, different = len(values), set(values)
    if times < 2 or len(different) > 1 or times <= _told(facts)[values[0]]:
        return ""
    plain = language.plain | language.near | language.together
    alone = all(language.bare(word.lower()) in plain for word in _TOKEN.findall(said))
    return f"it says `{values[0]}` {times} times and nothing else" if alone else ""


def _told(facts: CaptionFacts) -> Counter[str]:
    """How often each value is told, in lower case."""
    return Counter(value.lower() for _, own in facts.attributes for value in own)


def _cite(text: str, facts: CaptionFacts) -> str:
    """`text` with a mark for each cited title, the longest first."""
    near, together = set(facts.near), set(facts.together)

    def mark(found: re.Match[str]) -> str:
        title = found[0][1:-1]
        return BOTH if title in near and title in together else NEAR if title in near else TOGETHER

    return re.sub(alternation(f'"{title}"' for title in near | together), mark, text)


def _mark(cited: str, evidence: AllowedWords) -> tuple[str, list[str]]:
    """`cited` with a mark for each whole fact, the longest first; the facts, in lower case, in order."""
    language = evidence.language
    exact = {phrase for phrase in evidence.phrases if language.judgements.intersection(_words(phrase, language))}
    other = evidence.phrases - exact
    pattern = rf"(?<![^\W_])(?<!\d[.,:/])(?:{alternation(exact)}|(?i:{alternation(other)}))(?![^\W_]|[.,:/]\d)"
    values: list[str] = []

    def mark(found: re.Match[str]) -> str:
        values.append(found[0].lower())
        return FACT

    return re.sub(pattern, mark, cited), values


def allowed_words(facts: CaptionFacts, language: Language) -> AllowedWords:
    """What the facts let a caption say."""
    values = [value for _, own in facts.attributes for value in own if value.lower() != "yes"]
    names = [name for name, _ in facts.attributes]
    phrases = {phrase for phrase in (*values, *facts.tags, facts.title) if phrase}
    words = {word for phrase in (*phrases, *names) for word in _parts(phrase, language)}
    words |= {
        other for phrase in (*values, *facts.tags) for word in _parts(phrase, language) for other in _numbers(word, language)
    }
    restated = tuple(
        (frozenset(_restated(name, language)), frozenset(value.lower() for value in own))
        for name, own in facts.attributes
        if own != YES
    )
    return AllowedWords(language=language, phrases=frozenset(phrases), words=frozenset(words), names=restated)


def _parts(phrase: str, language: Language) -> set[str]:
    """The words that may be taken out of a phrase."""
    words = _words(phrase, language)
    return set() if language.negations.intersection(words) else words - language.judgements


def _numbers(word: str, language: Language) -> Iterator[str]:
    """`3` may be said as `three` or `trio`, and the other way."""
    yield from language.numbers.get(word, "").split()
    yield from (figure for figure, words in language.numbers.items() if word in words.split())


def _restated(name: str, language: Language) -> Iterator[str]:
    """An attribute's name and what restates it, in lower case, in the singular and the plural."""
    for word in _parts(name, language):
        for form in language.forms(word):
            yield form
            yield from language.restated.get(form, "").split()


def _words(text: str, language: Language) -> set[str]:
    return {language.bare(word) for word in _TOKEN.findall(text.lower())}
