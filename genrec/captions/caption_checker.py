"""The checker of captions: what is written about an item is kept only if all that it says occurs in the evidence.

As in `reasons/reason_checker.py` the vocabulary is closed: each word is evidence (a value, a tag, an attribute's name, a word of
the item's own title; singular or plural), restates an attribute's name (`directed` for `director`), or is one of the language's
plain words, which claim nothing. Titles of other items are cited letter for letter, in double quotes, after words that say why.
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
    """What `facts` let a caption say beside the plain words of the language.

    phrases    values, tags and the own title, as wholes
    words      words of phrases and of attributes' names, in lower case
    names      of each attribute: words of its name and of what restates it; its values in lower case
    """

    facts: CaptionFacts
    language: Language
    phrases: frozenset[str]
    words: frozenset[str]
    names: tuple[tuple[frozenset[str], frozenset[str]], ...]

    @property
    def name_words(self) -> frozenset[str]:
        return frozenset(word for words, _ in self.names for word in words)

    @property
    def value_counts(self) -> Counter[str]:
        """How many attributes have each value, in lower case."""
        return Counter(value.lower() for _, values in self.facts.attributes for value in values)

    def include(self, word: str) -> bool:
        """Whether the word, or another form of it, is a word of the evidence."""
        return not self.words.isdisjoint(self.language.forms(word))


@dataclass(frozen=True, slots=True)
class Verdict:
    """`fault`: why a caption may not be kept, or empty; `repetition`: what an acceptable one says too often, or empty."""

    fault: str = ""
    repetition: str = ""


def check(caption: Caption, facts: CaptionFacts, language: Language = ENGLISH) -> Verdict:
    """Hold `caption` against what is known of the item."""
    if facts.empty:
        return Verdict(fault="there is no evidence to write from")
    allowed = allowed_words(facts, language)
    wrong = _title_fault(caption.title, allowed) or _caption_fault(caption.caption, allowed) or _tags_fault(caption.tags, facts)
    return Verdict(fault=wrong) if wrong else Verdict(repetition=_repetition(caption, allowed))


def fault(caption: Caption, facts: CaptionFacts, language: Language = ENGLISH) -> str:
    """Why `caption` may not be kept, or an empty string when it may."""
    return check(caption, facts, language).fault


def text_fault(text: str, facts: CaptionFacts, language: Language = ENGLISH) -> str:
    """Why `text`, of at most two sentences, says more than the evidence, or an empty string."""
    return _text_fault("text", text, allowed_words(facts, language))


def unsupported_phrases(caption: Caption, facts: CaptionFacts, language: Language = ENGLISH) -> tuple[str, ...]:
    """What title and caption say that is in no evidence, in order, each once: words, or runs of words that stand together.

    What no picture could support is left to `fault`: judgements, negations, numbers, names (a capital within a sentence).
    """
    allowed = allowed_words(facts, language)
    found: dict[str, None] = {}
    for text, is_title in ((caption.title, True), (caption.caption, False)):
        if not (is_title and facts.title):
            masked, _ = _mask(text, allowed)
            found |= dict.fromkeys(_unsupported_runs(masked, allowed, capitals_are_names=not is_title))
    return tuple(found)


def _unsupported_runs(masked: str, allowed: AllowedWords, *, capitals_are_names: bool) -> Iterator[str]:
    """Runs of words that only a picture could support."""
    language = allowed.language
    known = language.plain | language.near | language.together | allowed.name_words
    known |= language.judgements | language.negations | {w for words in language.numbers.values() for w in words.split()}
    run: list[str] = []
    end = 0
    for token in _TOKEN.finditer(masked):
        word = language.bare(token[0].lower())
        starts = not masked[:end].strip() or bool(re.search(r"[.!?]\s*$", masked[end : token.start()]))
        is_name = capitals_are_names and token[0][0].isupper() and not starts and language.code not in NOUNS_IN_CAPITALS
        claims = not (word in known or is_name or _HAS_DIGIT.search(word) or allowed.include(word))
        if run and (not claims or masked[end : token.start()] not in (" ", "-")):
            yield " ".join(run)
            run = []
        if claims:
            run.append(word)
        end = token.end()
    if run:
        yield " ".join(run)


def _title_fault(title: str, allowed: AllowedWords) -> str:
    if own := allowed.facts.title:
        return "" if title == own else "title: it is not the item's own title"
    if not MIN_TITLE <= len(title) <= TITLE_CHARS:
        return f"title: it has {len(title)} characters, {MIN_TITLE}-{TITLE_CHARS} are needed"
    if title[-1] in ".!?,;:":
        return f"title: it ends in `{title[-1]}`"
    return _text_fault("title", title, allowed)


def _caption_fault(text: str, allowed: AllowedWords) -> str:
    if not text:
        return "caption: it is empty"
    if len(text) > CAPTION_CHARS:
        return f"caption: it has {len(text)} characters, more than {CAPTION_CHARS}"
    if text[-1] not in ".!":
        return "caption: it does not end as a sentence"
    return _text_fault("caption", text, allowed)


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


def _repetition(caption: Caption, allowed: AllowedWords) -> str:
    """What the title or the caption says more often than the evidence does: true, but clumsy. Empty: nothing."""
    own_title = allowed.facts.title
    for field, text in (("title", "" if own_title else caption.title), ("caption", caption.caption)):
        _, values = _mask(text, allowed)
        for value, times in Counter(values).items():
            if times > max(1, allowed.value_counts[value]):
                return f"{field}: it says `{value}` {times} times"
    return ""


def _text_fault(field: str, text: str, allowed: AllowedWords) -> str:
    if text != data(text):
        return f"{field}: it is not one plain line of text"
    masked, values = _mask(text, allowed)
    found = (
        _shape_fault(masked)
        or _citation_fault(text, allowed)
        or _word_fault(masked, allowed)
        or _pair_fault(masked, values, allowed)
        or _hollow_fault(masked, values, allowed)
    )
    return f"{field}: {found}" if found else ""


def _shape_fault(masked: str) -> str:
    if len(_SENTENCE_END.findall(masked)) > 2:
        return "it is more than two sentences"
    if found := re.search(rf"[^\w\s.,;:!'’{NEAR}{TOGETHER}{BOTH}{FACT}-]|_", masked):
        return f"it has the sign {found[0]} outside of cited titles and values"
    return ""


def _citation_fault(text: str, allowed: AllowedWords) -> str:
    """Each list of cited titles stands after words that say how its titles are related to the item."""
    for title in {*allowed.facts.cited}:
        if text.count(f'"{title}"') > 1:
            return f'it cites "{title}" twice'
    language, cited = allowed.language, _mask_titles(text, allowed.facts)
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


def _word_fault(masked: str, allowed: AllowedWords) -> str:
    language = allowed.language
    plain = language.plain | allowed.name_words
    plain |= language.near if NEAR in masked or BOTH in masked else frozenset()
    plain |= language.together if TOGETHER in masked or BOTH in masked else frozenset()
    words = [word.lower() for word in _TOKEN.findall(masked)]
    for word in words:
        bare = language.bare(word)
        if bare in plain:
            continue
        if bare in language.judgements:
            return f"`{word}` is a judgement"
        if _HAS_DIGIT.search(bare) and bare not in allowed.words:
            return f"`{word}` is a number that is not in the evidence"
        if not allowed.include(bare):
            return f"`{word}` is not in the evidence"
    cited = any(mark in masked for mark in (FACT, NEAR, TOGETHER, BOTH))
    return "" if cited or any(word not in language.plain for word in words) else "it says nothing of the evidence"


def _pair_fault(masked: str, values: list[str], allowed: AllowedWords) -> str:
    """`directed by` is followed by a director: never by what is only another attribute's value."""
    for number, found in enumerate(re.finditer(FACT, masked)):
        before = _NAMED.search(masked[: found.start()])
        if not before:
            continue
        word, value = before["name"].lower(), values[number]
        of_name = [own for words, own in allowed.names if word in words and word not in allowed.language.plain]
        others = [own for words, own in allowed.names if word not in words]
        has_own = bool(before["fact"]) and any(values[number - 1] in own for own in of_name)
        if of_name and not has_own and any(value in own for own in others) and not any(value in own for own in of_name):
            return f"`{value}` is no value of what `{word}` says"
    return ""


def _hollow_fault(masked: str, values: list[str], allowed: AllowedWords) -> str:
    """`A mug for a mug` is true and says nothing but mug."""
    times, language = len(values), allowed.language
    if times < 2 or len({*values}) > 1 or times <= allowed.value_counts[values[0]]:
        return ""
    plain = language.plain | language.near | language.together
    alone = all(language.bare(word.lower()) in plain for word in _TOKEN.findall(masked))
    return f"it says `{values[0]}` {times} times and nothing else" if alone else ""


def _mask_titles(text: str, facts: CaptionFacts) -> str:
    """`text` with `NEAR`, `TOGETHER` or `BOTH` in place of each cited title, the longest first."""
    near, together = set(facts.near), set(facts.together)

    def mask(found: re.Match[str]) -> str:
        title = found[0][1:-1]
        return BOTH if title in near and title in together else NEAR if title in near else TOGETHER

    return re.sub(alternation(f'"{title}"' for title in near | together), mask, text)


def _mask(text: str, allowed: AllowedWords) -> tuple[str, list[str]]:
    """`text` with cited titles masked and `FACT` in place of each whole fact, the longest first; the facts in lower case.

    A phrase with a judgement counts letter for letter only, any other whatever its case.
    """
    exact = {phrase for phrase in allowed.phrases if not allowed.language.judgements.isdisjoint(_words(phrase, allowed.language))}
    other = allowed.phrases - exact
    pattern = rf"(?<![^\W_])(?<!\d[.,:/])(?:{alternation(exact)}|(?i:{alternation(other)}))(?![^\W_]|[.,:/]\d)"
    values: list[str] = []

    def mask(found: re.Match[str]) -> str:
        values.append(found[0].lower())
        return FACT

    return re.sub(pattern, mask, _mask_titles(text, allowed.facts)), values


def allowed_words(facts: CaptionFacts, language: Language) -> AllowedWords:
    """What the facts let a caption say."""
    values = [value for _, own in facts.attributes for value in own if value.lower() != "yes"]
    phrases = {phrase for phrase in (*values, *facts.tags, facts.title) if phrase}
    words = {word for phrase in (*phrases, *(name for name, _ in facts.attributes)) for word in _parts(phrase, language)}
    words |= {
        other for phrase in (*values, *facts.tags) for word in _parts(phrase, language) for other in _numbers(word, language)
    }
    names = tuple(
        (frozenset(_restated(name, language)), frozenset(value.lower() for value in own))
        for name, own in facts.attributes
        if own != YES
    )
    return AllowedWords(facts, language, frozenset(phrases), frozenset(words), names)


def _parts(phrase: str, language: Language) -> set[str]:
    """The words that may be taken out of a phrase."""
    words = _words(phrase, language)
    return set() if language.negations.intersection(words) else words - language.judgements


def _numbers(word: str, language: Language) -> Iterator[str]:
    """`3` may be said as `three` or `trio`, and the other way round."""
    yield from language.numbers.get(word, "").split()
    yield from (figure for figure, words in language.numbers.items() if word in words.split())


def _restated(name: str, language: Language) -> Iterator[str]:
    """Words of an attribute's name and of what restates it, in lower case, in the singular and the plural."""
    for word in _parts(name, language):
        for form in language.forms(word):
            yield form
            yield from language.restated.get(form, "").split()


def _words(text: str, language: Language) -> set[str]:
    return {language.bare(word) for word in _TOKEN.findall(text.lower())}
