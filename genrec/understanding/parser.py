"""One turn of a conversation, understood without a model: `Parser(vocabulary, linker).parse(text)`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from genrec.filters import Filter
from genrec.understanding.attitudes import attitudes
from genrec.understanding.attribute_values import Element, values_in
from genrec.understanding.filter_building import Combiner
from genrec.understanding.intents import Found, Intent, asked_attribute, intent_of, unmet_question
from genrec.understanding.linking import FindsItems, Mention
from genrec.understanding.negation import NAMED, NOT_REFUSING, REFUSING, Reach, describes, excluded, reach_of, refused
from genrec.understanding.quantities import Quantity, bounds_of, lowered, quantities_in, unmet_in
from genrec.understanding.relative_wishes import Steer, steering_in
from genrec.understanding.synonyms import Role
from genrec.understanding.vocabulary import Vocabulary, name_words
from genrec.understanding.words import FUNCTION, Word, stem, words_of

MOST_READ = 6_000
"""Characters of a turn that are read: the first and the last half of them."""
KNOWN_SHARE = 0.6
"""Words in quotation marks of which less names an item or a value are a name that the catalogue has not."""
SHORT = 2
"""A wish of so many words goes on from the one before."""
REFUSED_WORDS = 3
"""Words after a refusal that it takes from a search."""
MASKING = 0.55
"""Mentions believed this much are items; their words are nothing else."""

_NEW = re.compile(
    r"^\W*(?:or\s+)?(?:maybe\s+|perhaps\s+)?an?\s|\b(?:too|also|as\s+well)\W*$|^\W*(?:what|how)\s+about\s+(?:\w+\s+)?\w+(?<!s)s\W*$"
)
"""`a lamp`, `lamps, too` and `what about lamps?` are wishes of their own."""
_LESS_OF = re.compile(r"\b(?:less|fewer)\s+(?!than\b)[^\W\d_]+")
_QUOTED = re.compile(r'"[^"\n]{2,80}"|“[^”\n]{2,80}”')
_REQUEST = re.compile(
    r"""\b(?:(?:i|we|she|he|they)(?:['’]?ve|['’]?s|\s+has|\s+have)?\s+(?:already\s+)?(?:seen|watched|tried|played|bought)|bores?\s+(?:me|us)
    |in\s+the\s+(?:spirit|vein|style)\s+of|along\s+th(?:o|e)se\s+lines|(?:can|could|would|will)\s+(?:you|u)(?:\s+please)?(?:\s+(?:recc?omm?end|sugg?est|find|show|give|help|tell))?(?:\s+me)?
    |(?:please\s+)?(?:recc?omm?end|sugg?est|find|show|give|get|tell)\s+(?:me|us)?|i(?:['’]?m|\s+am)\s+(?:just\s+)?(?:looking|searching|after|in\s+the\s+mood)(?:\s+for)?
    |i(?:['’]?d|\s+would)\s+(?:like|love|prefer)(?:\s+to\s+(?:see|watch|buy|get|find|have))?|i\s+(?:really\s+)?(?:want|need|like|love|enjoy|prefer|hate|liked|loved|enjoyed|hated)(?:\s+to\s+(?:see|watch|buy|get|find|have))?
    |(?:he|she|they|who)\s+(?:really\s+)?(?:wants?|needs?|likes?|loves?|enjoys?|prefers?)|top\s+\d+|\d+[\s-]*(?:years?|yrs?|months?)[\s-]*olds?|\d+\s*yo|never\s*mind|(?:drop|skip|ignore|forget)\s+(?:about\s+)?the|not\s+(?:so|that|very|really|quite|as)\s+[^\W\d_]+
    |(?:do|have)\s+you\s+(?:have|got|know|know\s+of)|what\s+(?:about|do\s+you\s+have)|how\s+about|make\s+it|let['’]?s\s+(?:see|watch|try)|looking\s+for|we\s+only|i\s+have
    |what\s+(?:should|can|could)\s+i\s+(?:watch|buy|get|read|see)|help\s+me(?:\s+find)?|hi|hello|hey|thanks?|thank\s+you|please|some(?:thing|one)?|any(?:thing)?|good|nice|instead|maybe|perhaps|also|ok|okay|yes|no)\b""",
    re.VERBOSE,
)
_GENERIC = frozenset(
    "movie movies film films item items product products thing things one ones stuff title titles kind sort type rated rating "
    "directed starring star stars compare mood loved love liked like enjoyed hated hate made long year years minutes "
    "hours recommendation recommendations suggestion suggestions something similar fan fans suggest recommend check problem "
    "howdy thing sounds guess idea ideas pls plz thx sorry ugly boring tonight today meant hates dislike dislikes nah nope nvm "
    "popular whatever".split()
)
_OTHER = frozenset("another other different same any".split())
_TELLING = frozenset("always better best big happy home left life man men real woman work world young".split())
"""Function words that say something at the end of a wish: `pens that work better`."""
_EMPTY = frozenset("it this that them these those you me us him her what which and or the a an something anything".split())
_BARE_INTENTS = frozenset(("ask", "compare"))
_BARE_ANSWERS = frozenset(("why", "accept", "reject", "small_talk"))
"""Intents whose words are no wish; of those, what a person may say only of what was shown before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Understood:
    """What one turn says.

    text            what was read: spaces tidied, cut at `MOST_READ`; places in mentions are places in it
    filter          what must hold for an item; None when nothing was asked
    mentions        all items named, in order of place; also in `liked`, `disliked` or `seen`, if it says so
    need            words that no filter and no mention took, for a search; may be empty
    without         words that are refused and that no filter took: items whose text says them are not wanted
    question_about  the attribute that a question asks for; empty for the item as a whole, or no question
    steers          wishes relative to what was shown
    unknown         words in quotation marks that name no item and no value
    unmet           what numbers that are asked for mean (`price`), where the catalogue has no such attribute
    """

    text: str
    intent: Intent
    filter: Filter | None = None
    mentions: tuple[Mention, ...] = ()
    liked: tuple[Mention, ...] = ()
    disliked: tuple[Mention, ...] = ()
    seen: tuple[Mention, ...] = ()
    need: str = ""
    without: tuple[str, ...] = ()
    question_about: str = ""
    steers: tuple[Steer, ...] = ()
    unknown: tuple[str, ...] = ()
    unmet: tuple[Role, ...] = ()


class Parser:
    """Reads turns over one catalogue; without a linker no items are found. Safe to share among threads."""

    def __init__(self, vocabulary: Vocabulary, linker: FindsItems | None = None) -> None:
        self._vocabulary = vocabulary
        self._linker = linker

    def parse(self, text: str, *, ongoing: bool = False, asked: str = "") -> Understood:
        """Any text is read; none is an error. `ongoing`: something was recommended before, so constraints refine; `asked`: the
        attribute that the answer before asked for.
        """
        text = tidied(text)
        low = lowered(text)
        words = words_of(text)
        mentions = self._linker.link(text) if self._linker else []
        quantities = quantities_in(low)
        elements = self._elements(text, low, words, mentions, quantities, asked)
        no = refused(elements, words, text)
        made = Combiner(elements, no, words, text, self._vocabulary).filter()
        steering = steering_in(low, [(one.start, one.end) for one in elements], self._vocabulary)
        spans = [(one.start, one.end) for one in (*elements, *mentions)] + list(steering.spans)
        unknown = [found for found in _QUOTED.finditer(text) if _covered(found.span(), spans) < KNOWN_SHARE]
        unmet = [*unmet_in(low, quantities, self._vocabulary), *steering.unmet]
        spans += [found.span() for found in unknown] + [(start, end) for start, end, _ in unmet]
        questioned = unmet_question(low, self._vocabulary)
        without = excluded(low, words, spans, self._vocabulary.named)
        spans += without
        spans += self._names(words, elements)
        need = _need(text, low, words, spans, no_cues=bool(elements))
        felt = attitudes(text, low, mentions)
        masked = _masked(low, mentions)
        placed = any(one.kind == "place" for one in mentions)
        short = 0 < len(need.split()) <= SHORT and not mentions and not _NEW.search(low)
        asks = made is not None or bool(without or (steering.steers and not steering.relative))
        found = Found(asks, steering.relative, bool(need), len(mentions), "liked" in felt, placed, short)
        intent = intent_of(masked, found, ongoing=ongoing)
        if intent in _BARE_INTENTS or (ongoing and intent in _BARE_ANSWERS):
            need = ""
        return Understood(
            text=text,
            intent=intent,
            filter=made,
            mentions=tuple(mentions),
            liked=tuple(one for one, how in zip(mentions, felt, strict=True) if how == "liked"),
            disliked=tuple(one for one, how in zip(mentions, felt, strict=True) if how == "disliked"),
            seen=tuple(one for one, how in zip(mentions, felt, strict=True) if how == "seen"),
            need=need,
            without=tuple(" ".join(word.key for word in words_of(text[start:end])) for start, end in without),
            question_about=asked_attribute(low, self._vocabulary) if intent == "ask" else "",
            steers=steering.steers,
            unknown=tuple(found[0][1:-1].strip() for found in unknown),
            unmet=tuple(dict.fromkeys((*(role for *_, role in unmet), *(questioned if intent == "ask" else ())))),
        )

    def _names(self, words: Sequence[Word], elements: Sequence[Element]) -> list[tuple[int, int]]:
        """Where attributes stand by name, with a value (`another actor, Tom Hanks`) or without one (`another actor`)."""
        names = {stem(part) for one in elements for part in name_words(one.attribute)}
        spans = [(word.start, word.end) for word in words if stem(word.key) in names]
        for before, word in pairwise(words):
            if before.key in _OTHER and stem(word.key) in self._vocabulary.named:
                spans.append((word.start, word.end))
        return spans

    def _elements(
        self,
        text: str,
        low: str,
        words: Sequence[Word],
        mentions: Sequence[Mention],
        quantities: Sequence[Quantity],
        asked: str,
    ) -> list[Element]:
        sure = [(one.start, one.end) for one in mentions if one.score >= MASKING]
        bounds = [
            bound
            for bound in bounds_of(low, quantities, self._vocabulary, asked=asked)
            if not any(start < bound.end and bound.start < end for start, end in sure)
        ]
        spans = sure + [(bound.start, bound.end) for bound in bounds]
        taken = {place for place, word in enumerate(words) if any(start < word.end and word.start < end for start, end in spans)}
        found = values_in(words, text, self._vocabulary, taken)
        for bound in bounds:
            inside = [place for place, word in enumerate(words) if bound.start < word.end and word.start < bound.end]
            if inside:
                found.append(
                    Element(
                        first=inside[0],
                        last=inside[-1] + 1,
                        start=bound.start,
                        end=bound.end,
                        attribute=bound.attribute,
                        values=(),
                        filter=bound.filter,
                        number=True,
                    )
                )
        placed = low
        for start, end in sure:
            placed = placed[:start] + NAMED + " " * (end - start - 1) + placed[end:]
        meant = [one for one in found if one.attribute == asked or not describes(placed, one.start)]
        return sorted(meant, key=lambda one: one.first)


def tidied(text: str) -> str:
    """Runs of spaces as one, lines kept, no surrogates or controls, at most `MOST_READ` characters."""
    if len(text) > 20 * MOST_READ:
        text = text[: 10 * MOST_READ] + "\n" + text[-10 * MOST_READ :]
    text = re.sub(r"[\ud800-\udfff\x00-\x08\x0e-\x1f\x7f\ue000]", "", text)
    text = re.sub(r"[^\S\n]+", " ", text)
    text = re.sub(r" ?\n[\n ]*", "\n", text).strip()
    if len(text) > MOST_READ:
        text = f"{text[: MOST_READ // 2]}\n{text[-MOST_READ // 2 + 1 :]}"
    return text


def _about(words: Sequence[Word], covered: Sequence[int]) -> str:
    """Function words that stand for themselves behind `about`: `something about now and then`."""
    first = next((place + 1 for place, word in enumerate(words) if word.key == "about" and not covered[word.start]), len(words))
    said = [word.shown for word in words[first:] if not covered[word.start] and word.key not in _EMPTY]
    return " ".join(said)


def _covered(span: tuple[int, int], spans: Sequence[tuple[int, int]]) -> float:
    """The share of a span that others cover."""
    start, end = span
    return sum(max(0, min(end, b) - max(start, a)) for a, b in spans) / (end - start)


def _is_refused(word: Word, reach: Reach) -> bool:
    """Whether a refusal stands just before: `not too violent` is no wish for violence. Far from it anything may be meant."""
    cue = reach.cue(word.start)
    return cue is not None and len(words_of(reach.low[cue[1] : word.start])) <= REFUSED_WORDS


def _masked(low: str, mentions: Sequence[Mention]) -> str:
    parts, place = [], 0
    for mention in mentions:
        parts += [low[place : mention.start], NAMED]
        place = mention.end
    return "".join([*parts, low[place:]])


def _need(text: str, low: str, words: Sequence[Word], spans: Sequence[tuple[int, int]], *, no_cues: bool) -> str:
    """The words that nothing else took; empty when they say nothing by themselves."""
    gone = [*spans, *(found.span() for pattern in (_REQUEST, _LESS_OF) for found in pattern.finditer(low))]
    if no_cues:
        gone += [found.span() for found in REFUSING.finditer(low)] + [found.span() for found in NOT_REFUSING.finditer(low)]
    covered = bytearray(len(text))
    for start, end in gone:
        covered[start:end] = b"\x01" * (min(end, len(text)) - start)
    reach = reach_of(text)
    left = [word for word in words if not covered[word.start] and not _is_refused(word, reach)]
    empty = [word.key in FUNCTION or word.key in _GENERIC for word in left]
    if all(empty):
        return _about(words, covered)
    first, last = empty.index(False), len(left) - empty[::-1].index(False)
    while first and left[first - 1].key in _TELLING:
        first -= 1
    last = max([last, *(place + 1 for place in range(last, len(left)) if left[place].key in _TELLING)])
    return " ".join(word.shown for word in left[first:last])
