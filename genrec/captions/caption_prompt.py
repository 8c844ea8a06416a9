"""What is known of an item that lacks text, in words; the prompt that states it; the caption that is read from the LLM's answer.

`caption_checker.fault` says whether a caption may be shown.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from genrec.captions.caption_languages import ENGLISH, Language
from genrec.prompts import Prompts
from genrec.reasons.facts import NAME_CHARS, TITLE_CHARS, VALUE_CHARS, insert_titles, mark_titles, one_line
from genrec.types import AttributeValue, scalars

PROMPT, PICTURE_PROMPT, LANGUAGE_PROMPT = "caption", "caption_picture", "caption_language"
"""Templates: English from evidence in words, English from picture and evidence, any other language."""
CAPTION_CHARS = 300
MAX_TAGS = 8
ATTRIBUTES, VALUES, EVIDENCE_TAGS, TITLES = 12, 4, 12, 3
"""At most this many attributes, values of one attribute, tags, and titles of either kind are stated."""
YES = ("yes",)
"""The value of a flag: its name is then what may be said."""
UNKNOWN = frozenset({"", "-", "?", "n/a", "na", "nan", "no", "none", "not applicable", "null", "false", "unknown"})
"""Values that say what an item is not, or nothing: `waterproof: no` must not lend its name to a caption."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionFacts:
    """The evidence for one caption.

    attributes   (name, values as texts); a true flag has the value `yes`
    near         titles of items with similar pictures
    together     titles of items that the same people chose
    title        the item's own, or empty
    """

    attributes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    tags: tuple[str, ...] = ()
    near: tuple[str, ...] = ()
    together: tuple[str, ...] = ()
    title: str = ""

    @property
    def cited(self) -> tuple[str, ...]:
        """Titles of other items, in the order of their marks."""
        return (*self.near, *self.together)

    @property
    def tag_words(self) -> tuple[str, ...]:
        """What may be a tag of the caption: tags, values, and the names of flags."""
        values = (one for name, own in self.attributes for one in ((name,) if own == YES else own))
        return tuple({word.lower(): word for word in (*values, *self.tags) if word.lower() not in YES}.values())

    @property
    def empty(self) -> bool:
        """Whether nothing is known, so that nothing can be written."""
        return not (self.attributes or self.tags or self.near or self.together or self.title)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caption:
    """What is written: a title of 2-80 characters, a caption of one or two sentences, tags from the evidence."""

    title: str
    caption: str
    tags: tuple[str, ...] = ()


def caption_facts(
    attributes: Mapping[str, AttributeValue],
    tags: Iterable[str] = (),
    near: Iterable[str] = (),
    together: Iterable[str] = (),
    title: str = "",
) -> CaptionFacts:
    """Put evidence in words: one line each, without double quotation marks, cut as the prompt cuts, each thing once.

    Values of `UNKNOWN` and flags that are false are left out; a true flag has the value `yes`.
    """
    stated = [(one_line(name.replace("_", " "), NAME_CHARS), _values(value)) for name, value in attributes.items()]
    return CaptionFacts(
        attributes=tuple((name, values) for name, values in stated if name and values)[:ATTRIBUTES],
        tags=_distinct(tags, VALUE_CHARS)[:EVIDENCE_TAGS],
        near=_distinct(near, TITLE_CHARS)[:TITLES],
        together=_distinct(together, TITLE_CHARS)[:TITLES],
        title=one_line(title, TITLE_CHARS),
    )


def render_prompt(
    prompts: Prompts, facts: CaptionFacts, name: str = PROMPT, *, tuned: bool = False, language: Language = ENGLISH
) -> tuple[str, str]:
    """(prefix, rest) for a `WriteRequest`; the prefix is the same for all items, a picture stands between the two.

    `tuned`: without the examples, for an adapter that learned the form. Raises PromptError.
    """
    values = {
        "facts": facts,
        "tuned": tuned,
        "code": language.code,
        "language": language.name,
        "phrases": language.phrases,
        "title_chars": TITLE_CHARS,
        "value_chars": VALUE_CHARS,
        "name_chars": NAME_CHARS,
    }
    prefix, rest = prompts.parts(name, 2, values)
    return prefix, rest


def caption_schema(facts: CaptionFacts, tags: Mapping[str, object], **texts: Mapping[str, object]) -> str:
    """The JSON schema of a caption, with a schema for `tags`, and for title and caption where `texts` has one."""
    title = {"type": "string", "maxLength": 0 if facts.title else TITLE_CHARS}
    said = {"title": title, "caption": {"type": "string", "maxLength": CAPTION_CHARS}} | texts
    return json.dumps(
        {
            "type": "object",
            "properties": said | {"tags": {"type": "array", **tags}},
            "required": ["title", "caption", "tags"],
            "additionalProperties": False,
        },
        ensure_ascii=False,
    )


def parse_caption(text: str, facts: CaptionFacts) -> Caption:
    """The caption in one line of JSON that was written from `facts`: titles in place of their marks, the item's own title if it
    has one, each tag once. Raises ValueError that says what is wrong with it.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from error
    if not isinstance(value, dict) or set(value) != {"title", "caption", "tags"}:
        raise ValueError("not one object of title, caption and tags")
    title, caption = (insert_titles(_text(value, name), facts.cited) for name in ("title", "caption"))
    return Caption(title=facts.title or title, caption=caption, tags=_tags(value["tags"]))


def to_json(caption: Caption, facts: CaptionFacts) -> str:
    """The one line of JSON that a model is to write for `caption`; `parse_caption` reads it."""
    title = "" if facts.title else mark_titles(caption.title, facts.cited)
    value = {"title": title, "caption": mark_titles(caption.caption, facts.cited), "tags": list(caption.tags)}
    return json.dumps(value, ensure_ascii=False)


def _text(value: dict[str, Any], name: str) -> str:
    if not isinstance(value[name], str):
        raise ValueError(f"{name} is not a text")
    return value[name].strip()


def _tags(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(tag, str) for tag in value):
        raise ValueError("tags is not a list of texts")
    return _first_spellings(tag.strip() for tag in value)


def _values(value: AttributeValue) -> tuple[str, ...]:
    found = _distinct(map(_as_text, scalars(value)), VALUE_CHARS)
    return tuple(one for one in found if one.lower() not in UNKNOWN)[:VALUES]


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.10g}"
    return str(value)


def _distinct(texts: Iterable[str], limit: int) -> tuple[str, ...]:
    """Each text once, as one line, without the empty ones."""
    return _first_spellings(line for text in texts if (line := one_line(text, limit)))


def _first_spellings(texts: Iterable[str]) -> tuple[str, ...]:
    """Each text once, whatever its case, in order."""
    found: dict[str, str] = {}
    for text in texts:
        found.setdefault(text.lower(), text)
    return tuple(found.values())
