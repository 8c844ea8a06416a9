"""What the parser and a language model say of one turn, as one: who is believed where was measured (`Trust`)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from genrec.dialogue.filter_text import all_of, attributes_of, parts_of
from genrec.dialogue.hearing import FEELINGS, Heard
from genrec.dialogue.linking import FindsItems, Mention
from genrec.dialogue.parsing import Understood
from genrec.dialogue.steering import Steer
from genrec.filters import Filter

Source = Literal["parser", "llm"]
Joint = Literal["parser", "llm", "add", "fill"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whom to believe.

    filter    conditions and wishes relative to what was shown. `add`: the parser's, and the model's on attributes of which the
              parser says nothing; `fill`: the model's where the parser has none at all
    feelings  what is liked, disliked, seen. `add`: the parser's, and the model's on items of which the parser says nothing;
              `fill`: the model's where the parser has none at all
    titles    whether words that only the model takes for a title are looked up, too
    """

    intent: Source = "parser"
    filter: Joint = "fill"
    feelings: Joint = "add"
    titles: bool = False
    need: Source = "parser"


def merged(parsed: Understood, heard: Heard, trust: Trust, linker: FindsItems | None = None) -> Understood:
    """One reading of two. Titles that `linker` does not find are left out."""
    mentions = list(parsed.mentions)
    spans = {name: [one for title in getattr(heard, name) if (one := _place(title, parsed.text))] for name in FEELINGS}
    if trust.titles and linker is not None:
        for start, end in (span for found in spans.values() for span in found):
            mentions += _looked_up(start, end, parsed.text, mentions, linker)
        mentions.sort(key=lambda one: one.start)
    made, steers = _filter(parsed, heard, trust.filter)
    liked, disliked, seen = _feelings(parsed, mentions, spans, trust.feelings)
    intent = heard.intent if trust.intent == "llm" else parsed.intent
    return replace(
        parsed,
        intent=intent,
        filter=made,
        steers=steers,
        mentions=tuple(mentions),
        liked=liked,
        disliked=disliked,
        seen=seen,
        need=heard.need if trust.need == "llm" else parsed.need,
        question_about=(parsed.question_about or heard.about) if intent == "ask" else "",
    )


def _filter(parsed: Understood, heard: Heard, trust: Joint) -> tuple[Filter | None, tuple[Steer, ...]]:
    """Filter and steers."""
    if trust == "parser" or (trust == "fill" and (parsed.filter is not None or parsed.steers)):
        return parsed.filter, parsed.steers
    if trust in ("llm", "fill"):
        return heard.filter, heard.steers
    said = {name for part in parts_of(parsed.filter) for name in attributes_of(part)} | {one.attribute for one in parsed.steers}
    parts = [*parts_of(parsed.filter), *(part for name, part in heard.parts if name not in said)]
    steers = (*parsed.steers, *(one for one in heard.steers if one.attribute not in said))
    return all_of(parts), steers


def _feelings(
    parsed: Understood, mentions: Sequence[Mention], spans: dict[str, list[tuple[int, int]]], trust: Joint
) -> tuple[tuple[Mention, ...], tuple[Mention, ...], tuple[Mention, ...]]:
    """(liked, disliked, seen) of the mentions."""
    own = {one: name for name in ("liked", "disliked", "seen") for one in getattr(parsed, name)}
    if trust == "parser" or (trust == "fill" and own):
        felt = own
    else:
        told = {one: name for one in mentions if (name := _told(one, spans))}
        felt = told if trust in ("llm", "fill") else told | own
    liked, disliked, seen = (tuple(one for one in mentions if felt.get(one) == name) for name in ("liked", "disliked", "seen"))
    return liked, disliked, seen


def _told(mention: Mention, spans: dict[str, list[tuple[int, int]]]) -> str:
    for name in ("liked", "disliked", "seen"):
        if any(start < mention.end and mention.start < end for start, end in spans[name]):
            return name
    return ""


def _place(title: str, text: str) -> tuple[int, int] | None:
    start = text.lower().find(title.lower())
    return None if start < 0 or len(text.lower()) != len(text) else (start, start + len(title))


def _looked_up(start: int, end: int, text: str, known: Sequence[Mention], linker: FindsItems) -> list[Mention]:
    """The item that these words name when they are taken for a title, unless something there is known to be named."""
    if any(one.start < end and start < one.end for one in known):
        return []
    found = [one for one in linker.link(f'"{text[start:end]}"') if one.end - one.start >= 0.7 * (end - start)]
    return [replace(found[0], start=start, end=end, text=text[start:end])] if len(found) == 1 else []
