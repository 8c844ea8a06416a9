"""Captions by a model that sees: what of its answer is kept.

The writer takes the same steps as for captions from text alone (prompt, schema, `parse_caption`, check), but tags may be new, and
`check_with_picture` takes the place of `caption_checker.check`. What it returns is what is to be stored: its facts are the
evidence with what the picture supports as further tags, so that `caption_checker.fault` can check the caption again without the
picture. English only: the picture encoder knows no other language. A request takes no `stop`: such models like to write JSON on
several lines, and the schema ends it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from genrec.captions.caption_checker import fault, text_fault, unsupported_phrases
from genrec.captions.caption_prompt import MAX_TAGS, Caption, CaptionFacts, caption_schema
from genrec.errors import MediaError
from genrec.reasons.facts import VALUE_CHARS


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureVerdict:
    """What is left of an answer: the caption with only supported tags; `facts` with what the picture `seen` adds.

    `fault`: why the caption may not be kept, or an empty string.
    """

    caption: Caption
    facts: CaptionFacts
    seen: tuple[str, ...]
    fault: str


def picture_fault(picture: Path) -> str:
    """Why `picture` cannot be shown to a model, or an empty string. The item is then captioned from the other evidence."""
    from genrec.models.pictures import open_rgb

    try:
        open_rgb(picture)
    except MediaError as error:
        return str(error)
    return ""


def schema(facts: CaptionFacts) -> str:
    """The JSON schema of what is written, for `WriteRequest.schema`; unlike from text alone, tags may be new."""
    return caption_schema(facts, {"items": {"type": "string", "maxLength": VALUE_CHARS}, "maxItems": MAX_TAGS})


def check_with_picture(caption: Caption, facts: CaptionFacts, supports: Callable[[str], bool] | None) -> PictureVerdict:
    """Check `caption` (of `parse_caption`) against the evidence and, word by word, against the picture.

    A word beyond the evidence must be supported by itself, and a phrase of several such words as a whole, too: a false word in it
    would otherwise hide behind the true ones. Unsupported tags are dropped; a sentence with an unsupported word is refused.
    `supports(term)`: whether the picture shows a term; None: no picture encoder, nothing beyond the evidence is kept.
    """

    @cache
    def shows(term: str) -> bool:
        return supports is not None and supports(term)

    def shows_all(phrase: str) -> bool:
        words = phrase.split()
        return all(map(shows, words)) and (len(words) < 2 or shows(phrase))

    phrases = unsupported_phrases(caption, facts)
    seen = [phrase for phrase in phrases if shows_all(phrase)]
    known = {word.lower() for word in (*facts.tag_words, *seen)}
    for tag in (tag.lower() for tag in caption.tags):
        if tag and tag not in known and shows(tag) and _tag_is_supported(tag, facts, shows_all):
            seen.append(tag)
            known.add(tag)
    extended = replace(facts, tags=(*facts.tags, *seen))
    kept = replace(caption, tags=tuple(tag for tag in caption.tags if tag.lower() in known))
    why = fault(kept, extended)
    unseen = [phrase for phrase in phrases if phrase not in seen and any(f"`{word}`" in why for word in phrase.split())]
    if unseen and supports is not None:
        why = f"the picture does not bear out `{unseen[0]}`"
    return PictureVerdict(caption=kept, facts=extended, seen=tuple(seen), fault=why)


def _tag_is_supported(tag: str, facts: CaptionFacts, shows_all: Callable[[str], bool]) -> bool:
    """Whether each word of a tag is evidence or shown by the picture."""
    phrases = unsupported_phrases(Caption(title="", caption=tag), facts)
    return all(map(shows_all, phrases)) and not text_fault(tag, replace(facts, tags=(*facts.tags, *phrases)))
