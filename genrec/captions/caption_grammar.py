"""What an LLM may write about an item, as a JSON schema: only words that the checker accepts, so that few texts are refused.

A small model knows the form of a caption but strays in its words. Patterns allow only words of the evidence and words that claim
nothing, require words before a cited title that say how it is related, and keep the text short. What the checker demands beyond
that (such as a director after `directed by`) is left to it.
"""

import re
from collections.abc import Iterable

from genrec.captions.caption_checker import AllowedWords, allowed_words
from genrec.captions.caption_languages import ENGLISH, Language
from genrec.captions.caption_prompt import MAX_TAGS, CaptionFacts, caption_schema
from genrec.captions.caption_template import template_caption as template
from genrec.reasons.facts import WORD, mark_titles

MAX_TITLE_WORDS, MAX_CAPTION_WORDS = 9, 24
"""At most this many words or phrases after the first one."""
NEAR = "(?:[Cc]lose to|[Nn]ear|[Ss]imilar to|[Mm]uch like|[Rr]elated to|[Aa]kin to)"
TOGETHER = "(?:[Oo]ften )?(?:[Cc]hosen|[Pp]icked) (?:often |together )?with"
TITLE_PLAIN = frozenset("a about an and as at by for from in of on the to with".split())
"""The plain words of hand-written titles: with others, a small model ends a title in a verb (`Red Zigzag Gives`)."""
CAPTION_PLAIN = TITLE_PLAIN | frozenset(
    """
    against also are both brings comes go goes has here holding into is it item its made make makes meet offers part piece rest
    see seen shown shows sits something stands takes that these this those through too
    """.split()
)
"""The plain words of hand-written captions."""
_PLURAL = re.compile(r"\b([^\W\d_]{3,}(?<![aisuxz])(?<!ie))s\b")
_SPECIAL = re.compile(r"[.^$*+?()\[\]{}|\\/]")


def schema(facts: CaptionFacts, language: Language = ENGLISH) -> str:
    """For `WriteRequest.schema`: tags are those of the evidence; in English, title and caption follow patterns.

    `examples` hold the template's texts, which the patterns allow.
    """
    words = facts.tag_words
    tag = {"type": "string", "enum": list(words)} if words else {"type": "string"}
    texts: dict[str, dict[str, object]] = {}
    if language.code == ENGLISH.code and not facts.empty:
        plain = template(facts, language)
        allowed = allowed_words(facts, language)
        if not facts.title:
            unit, cited = _units(allowed, TITLE_PLAIN)
            texts["title"] = _text(rf"{cited}(?:[,:]? {unit}){{0,{MAX_TITLE_WORDS}}}", mark_titles(plain.title, facts.cited))
        _, cited = _units(allowed, CAPTION_PLAIN)
        texts["caption"] = _text(
            rf"{cited}(?:(?:[,;:]? |-){cited}){{0,{MAX_CAPTION_WORDS}}}[.!]", mark_titles(plain.caption, facts.cited)
        )
    return caption_schema(facts, {"items": tag, "maxItems": min(MAX_TAGS, len(words))}, **texts)


def _text(pattern: str, example: str) -> dict[str, object]:
    return {"type": "string", "pattern": f"^(?:{pattern}|{_literal(example)})$", "examples": [example]}


def _units(allowed: AllowedWords, plain: frozenset[str]) -> tuple[str, str]:
    """Patterns of one word or value, and of that or a cited title with its lead. `plain`: the plain words that are offered."""
    facts, language = allowed.facts, allowed.language
    forms = {form for word in allowed.words for form in language.forms(word)}  # the checker's guesses: `countes`, `categorys`
    words = (language.plain & plain) | (allowed.name_words - forms) | allowed.words
    words = {word for word in words if word not in language.judgements}
    words |= {found[1] for name, _ in facts.attributes for found in _PLURAL.finditer(name.lower())}
    words |= {f"{word}s" for word in allowed.words if word.isalpha() and len(word) > 2 and not word.endswith(("s", "x", "y"))}
    own = {word for phrase in allowed.phrases for word in WORD.findall(phrase) if word.lower() in words}
    units = {_either_case(word) for word in words} | {_literal(text) for text in (*allowed.phrases, *own)}
    unit = _any_of(units)
    near = [_literal(f"[{number}]") for number in range(1, len(facts.near) + 1)]
    together = [_literal(f"[{number}]") for number in range(len(facts.near) + 1, len(facts.cited) + 1)]
    cites = [
        f"{lead} {_any_of(m)}(?:, {_any_of(m)})?(?:,? and {_any_of(m)})?" for lead, m in ((NEAR, near), (TOGETHER, together)) if m
    ]
    return unit, _any_of([*cites, unit])


def _any_of(patterns: Iterable[str]) -> str:
    return f"(?:{'|'.join(sorted(patterns, key=lambda pattern: (-len(pattern), pattern)))})"


def _literal(text: str) -> str:
    return _SPECIAL.sub(lambda found: "\\" + found[0], text)


def _either_case(word: str) -> str:
    """A word whose first letter may be a capital."""
    first = word[0]
    return f"[{first.upper()}{first}]{_literal(word[1:])}" if len(first.upper()) == 1 and first.isalpha() else _literal(word)
