"""The template's caption: what is known, in the fewest words. True by construction, in any language that has a file."""

import re

from genrec.captions.caption_languages import Language
from genrec.captions.caption_prompt import CAPTION_CHARS, MAX_TAGS, YES, Caption, CaptionFacts
from genrec.prompts import data, listed
from genrec.reasons.facts import TITLE_CHARS

TITLE_PARTS = 3
"""A title names at most this many tags or values."""
NAMED = 6
"""A caption names at most this many attributes, and as many tags."""
_LETTER = re.compile(r"[^\W\d_]")


def template_caption(facts: CaptionFacts, language: Language) -> Caption:
    """Title, one or two sentences and tags from `facts`. Raises ValueError when they are empty."""
    if facts.empty:
        raise ValueError("there is no evidence to write from")
    return Caption(title=facts.title or _title(facts, language), caption=_text(facts, language), tags=facts.tag_words[:MAX_TAGS])


def _title(facts: CaptionFacts, language: Language) -> str:
    """The item's best words; where there are fewer than two, also a title that it is related to."""
    words = _words(facts)[:TITLE_PARTS]
    phrase, titles = (language.phrases.near, facts.near) if facts.near else (language.phrases.together, facts.together)
    if not words:
        room = TITLE_CHARS - len(phrase.format('""'))
        return phrase.format(f'"{data(titles[0], room)}"')
    tries = [", ".join(words[:most]) for most in range(len(words), 0, -1)]
    if titles and len(words) == 1:
        cited = phrase.format(f'"{titles[0]}"')
        tries = [f"{words[0]}, {_uncapitalised(cited)}", *tries]
    fitting = next(title for title in tries if len(title) <= TITLE_CHARS)  # one value does: it is cut at VALUE_CHARS
    return _capitalised(fitting).rstrip(".!?,;:")


def _words(facts: CaptionFacts) -> list[str]:
    """Best first: where two attributes or more have words, their first values, then tags, then other values; else tags first.

    A number says nothing alone: it is left out, or under its name where there is nothing else.
    """
    rows = [(name, (name,) if own == YES else own) for name, own in facts.attributes]
    worded = [[value for value in own if _LETTER.search(value)] for _, own in rows]
    heads = [own[0] for own in worded if own]
    values = [value for own in worded for value in own]
    said = [*heads, *facts.tags, *values] if len(heads) > 1 else [*facts.tags, *values]
    return list({word.lower(): word for word in said}.values()) or [f"{name} {own[0]}" for name, own in rows]


def _text(facts: CaptionFacts, language: Language) -> str:
    """At most `CAPTION_CHARS` characters: what does not fit is left out from the end of each list."""
    fitting = (text for most in range(NAMED, 1, -1) if len(text := _sentences(facts, language, most)) <= CAPTION_CHARS)
    return next(fitting, data(_sentences(facts, language, 1), CAPTION_CHARS - 1).rstrip(".") + ".")


def _sentences(facts: CaptionFacts, language: Language, most: int) -> str:
    phrases = language.phrases
    values = [name if own == YES else f"{name}: {', '.join(own[:most])}" for name, own in facts.attributes[:most]]
    shown = [phrases.shows.format(listed(facts.tags[:most], phrases.last))] if facts.tags else []
    near = [phrases.near.format(listed([f'"{title}"' for title in facts.near[:most]], phrases.last))] if facts.near else []
    titles = [f'"{title}"' for title in facts.together[:most] if title not in facts.near[:most]]  # each is cited once
    chosen = [phrases.together.format(listed(titles, phrases.last))] if titles else []
    sentences = [
        _capitalised("; ".join([*shown, *values])),
        _capitalised(", ".join([*near, *(map(_uncapitalised, chosen) if near else chosen)])),
    ]
    written = " ".join(f"{sentence}." for sentence in sentences if sentence)
    return written or f"{facts.title.rstrip('.')}."


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def _uncapitalised(text: str) -> str:
    return text[:1].lower() + text[1:]
