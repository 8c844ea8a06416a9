"""Captions by a model that sees: the prompt for picture and evidence, and what of the answer is kept.

The same steps as for captions from text alone, where `LLM.sees` is true, the item has a picture that `fits` lets through, and
the language is English (the picture encoder knows no other):

| step    | from text                              | from picture and evidence                                            |
|---------|----------------------------------------|----------------------------------------------------------------------|
| prompt  | `captions.prompt(prompts, facts, …)`   | `prompt(prompts, facts)`, and `WriteRequest.images = (picture,)`     |
| schema  | `caption_grammar.schema(facts)`        | `schema(facts)`                                                      |
| read    | `captions.read(text, facts)`           | the same                                                             |
| check   | `caption_check.fault(caption, facts)`  | `judge(caption, facts, partial(tagger.bears_out, row))` → `Judged`   |

A request takes no `stop`: such models like to write JSON on several lines, and the schema ends it.

What `Judged` holds is what is to be stored: its `facts` are the evidence with what the picture bore out as further tags, and
`caption_check.fault(judged.caption, judged.facts)` is its `fault`, so that a stored caption can be checked again without picture.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from genrec.captions.caption_checker import fault, text_fault, unsupported_phrases
from genrec.captions.caption_languages import ENGLISH
from genrec.captions.caption_prompt import MAX_TAGS, Caption, CaptionFacts, caption_schema
from genrec.errors import MediaError
from genrec.prompts import Prompts
from genrec.reasons.facts import NAME_CHARS, TITLE_CHARS, VALUE_CHARS

PROMPT = "caption_picture"
LANGUAGE = ENGLISH.code

BearsOut = Callable[[str], bool]
"""Whether the item's picture bears out a term: it stands out for it from the whole catalogue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureVerdict:
    """What is left of an answer: the caption with only tags that are borne out; `facts` with what the picture `seen` adds.

    `fault`: why it may not be kept, or an empty string.
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


def prompt(prompts: Prompts, facts: CaptionFacts) -> tuple[str, str]:
    """(prefix, rest) for a `WriteRequest`; the picture stands between them. The prefix is the same for all items.

    Raises PromptError.
    """
    prefix, rest = prompts.parts(
        PROMPT, 2, {"facts": facts, "title_chars": TITLE_CHARS, "value_chars": VALUE_CHARS, "name_chars": NAME_CHARS}
    )
    return prefix, rest


def schema(facts: CaptionFacts) -> str:
    """The JSON schema of what is written, for `WriteRequest.schema`; unlike from text alone, tags may be new."""
    return caption_schema(facts, {"items": {"type": "string", "maxLength": VALUE_CHARS}, "maxItems": MAX_TAGS})


def check_with_picture(caption: Caption, facts: CaptionFacts, bears_out: BearsOut | None) -> PictureVerdict:
    """Hold `caption` (of `captions.read`) against the evidence and, word by word, against the picture.

    A word beyond the evidence must be borne out by itself, and a phrase of several such words as a whole, too: a false word in it
    would else hide behind the true ones. Tags that nothing bears out are left away; a sentence with such a word is refused.
    `bears_out` None: there is no picture encoder, and nothing beyond the evidence is kept.
    """
    asked: dict[str, bool] = {}

    def borne(term: str) -> bool:
        if term not in asked:
            asked[term] = bears_out is not None and bears_out(term)
        return asked[term]

    def proved(phrase: str) -> bool:
        words = phrase.split()
        return all(map(borne, words)) and (len(words) < 2 or borne(phrase))

    terms = unsupported_phrases(caption, facts)
    seen = [term for term in terms if proved(term)]
    known = {word.lower() for word in (*facts.tag_words, *seen)}
    for tag in (tag.lower() for tag in caption.tags):
        if tag and tag not in known and borne(tag) and _follows(tag, facts, proved):
            seen.append(tag)
            known.add(tag)
    whole = replace(facts, tags=(*facts.tags, *seen))
    kept = replace(caption, tags=tuple(tag for tag in caption.tags if tag.lower() in known))
    why = fault(kept, whole)
    unproved = [term for term in terms if term not in seen and any(f"`{word}`" in why for word in term.split())]
    if unproved and bears_out is not None:
        why = f"the picture does not bear out `{unproved[0]}`"
    return PictureVerdict(caption=kept, facts=whole, seen=tuple(seen), fault=why)


def _follows(tag: str, facts: CaptionFacts, proved: Callable[[str], bool]) -> bool:
    """Whether each word of a tag is evidence or borne out."""
    runs = unsupported_phrases(Caption(title="", caption=tag), facts)
    return all(map(proved, runs)) and not text_fault(tag, replace(facts, tags=(*facts.tags, *runs)))
