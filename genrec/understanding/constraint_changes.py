"""What a turn does to the constraints that stand: adds, replaces, frees, takes back."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from genrec.filters import Compare, Filter, Has, In, Not
from genrec.types import Item, Scalar, scalars
from genrec.understanding.attribute_values import one_of
from genrec.understanding.filter_text import attributes_of, pairs_of, parts_of
from genrec.understanding.quantities import lowered
from genrec.understanding.relative_wishes import Steer
from genrec.understanding.vocabulary import Vocabulary, name_words
from genrec.understanding.words import stem, words_of

_UNDO = re.compile(
    r"^\W*(?:please\s+|oh\s+|no[,.]?\s+|sorry[,.]?\s+|wait[,.]?\s+|actually[,.]?\s+)*(?:undo(?:\s+(?:that|it|this|the\s+last\s+one))?|(?:forget|ignore|scratch|cancel|drop|"
    r"take\s+back)\s+(?:that|it|this|what\s+i\s+(?:just\s+)?said|my\s+last\s+\w+)|never\s*mind(?:\s+that)?|go\s+back(?:\s+one(?:\s+step)?)?|i\s+take\s+(?:that|it)\s+back)"
    r"(?:[,\s]+(?:please|then|again|sorry|thanks?))*\W*$"
)
_RESET = re.compile(
    r"\b(?:start\s+(?:over|again|anew|afresh|from\s+scratch)|begin\s+again|reset(?:\s+(?:everything|all|it))?\s*[.!]*$|new\s+search|forget\s+(?:everything|all(?:\s+of)?\s+(?:that|it|this))|"
    r"something\s+(?:completely|totally|entirely)\s+(?:different|else)|clean\s+slate)\b"
)
_INSTEAD = re.compile(
    r"\b(?:instead|rather|actually|change\s+(?:it|that)\s+to|switch|what\s+about|how\s+about|make\s+(?:it|that))\b"
)
_ALSO = re.compile(r"\b(?:also|too|as\s+well|and|plus|additionally|with)\b")
_ANY = re.compile(
    r"\bany\s+(?P<any>\w+(?:\s\w+)?)(?:\s+(?:is|will\s+be|would\s+be)\s+(?:fine|ok|okay|good))?|\b(?:the\s+)?(?P<matter>\w+)\s+(?:does\s*n['’]?t|do\s+not|does\s+not|don['’]?t)\s+matter"
    r"|\b(?:don['’]?t|do\s+not)\s+(?:care|mind)\s+(?:about\s+)?(?:the\s+|which\s+|what\s+)?(?P<care>\w+)|\b(?:forget|drop|ignore|never\s*mind)\s+(?:about\s+)?the\s+(?P<drop>\w+)"
    r"|\b(?P<whatever>whatever|regardless\s+of)\s+(?:the\s+)?(?P<of>\w+)"
)
_INDIFFERENT = (
    r"(?:i\s+)?(?:(?:really\s+)?(?:don['’]?t|do\s+not)\s+(?:care|mind|know)|no\s+(?:preference|idea|matter)|(?:it\s+)?(?:does\s*n['’]?t|does\s+not)\s+matter"
    r"|either(?:\s+(?:one|is\s+fine|way))?|any(?:thing|\s+of\s+(?:them|those))?|whatever|idk|dunno|(?:you|u)\s+(?:choose|decide|pick)|up\s+to\s+(?:you|u)"
    r"|your\s+(?:choice|call|pick)|surprise\s+me|not\s+sure|both|all\s+of\s+them|none)(?:[\s,]+(?:really|thanks?|please|pls|is\s+fine|to\s+me))*"
)
_NO_MATTER = re.compile(rf"^\W*{_INDIFFERENT}(?:[\s,.;]+{_INDIFFERENT})*\W*$")


_SAME_AS = re.compile(r"\bsame\s+(?P<what>[^\W\d_]+)|\bby\s+(?:that|this|the\s+same)\s+(?P<who>[^\W\d_]+)")
_ELSE_OF = re.compile(
    r"\b(?:what|anything|something)\s+else\b.{0,12}\b(?:he|she|they)\b.{0,12}\b(?P<did>direct|made|make|do(?:ne)?\b|writ|wrote|play|star|been|act)"
)
_FILMS, _BOOKS, _CAST = (
    ("director", "directors", "author", "artist", "brand"),
    ("author", "authors", "writer", "writers"),
    ("actors", "actor", "cast", "star"),
)
_WORK = {"direct": _FILMS, "ma": _FILMS, "do": _FILMS, "wr": _BOOKS, "play": _CAST, "star": _CAST, "been": _CAST, "act": _CAST}
"""Beginning of a word for what somebody did → attributes that name them."""
_DROPPED = re.compile(
    r"\b(?:cancel|forget|drop|skip|ignore|leave\s+out|never\s*mind|no\s+need\s+for)\s+(?:about\s+)?(?:the\s+|those\s+|these\s+|that\s+)?(?P<what>[^\W\d_]{3,})"
)


_MEASURE = re.compile(r"\d+(?:[.,/]\d+)?\s*-?\s*(?P<unit>[^\W\d_]+)")
_OTHER = re.compile(r"\b(?:(?:an)?other|different)\s+(?P<what>[^\W\d_]+)")
_OR = re.compile(r"^\W*or\b")
_TAKEN_BACK = re.compile(r"\b(?:forget|drop|skip|ignore|never\s*mind)\s+(?:about\s+)?(?:the|those|these|that)\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """`undo`: take the last turn back; `reset`: begin anew; `free`: attributes that no longer matter; `indifferent`: no answer to
    a question back.
    """

    undo: bool = False
    reset: bool = False
    free: frozenset[str] = frozenset()
    indifferent: bool = False


def command_of(text: str, vocabulary: Vocabulary, *, asked: str = "") -> Command:
    """What the words of `text` do to what was said before. `asked`: the attribute that the last answer asked for."""
    low = lowered(text).strip()
    free = frozenset(name for found in _ANY.finditer(low) for name in _attributes(found, vocabulary))
    indifferent = bool(_NO_MATTER.match(low)) or (bool(asked) and asked in free)
    return Command(undo=bool(_UNDO.match(low)) and not free, reset=bool(_RESET.search(low)), free=free, indifferent=indifferent)


def without_reset(text: str) -> str:
    """The text without the words that begin anew."""
    return _RESET.sub(" ", lowered(text)) if _RESET.search(lowered(text)) else text


def _attributes(found: re.Match[str], vocabulary: Vocabulary) -> Iterable[str]:
    said = {stem(word) for name in ("any", "matter", "care", "drop", "of") if found[name] for word in found[name].split()}
    for name in vocabulary.schema:
        own = {stem(word) for word in name_words(name)}
        role = {stem(vocabulary.numbers[name].role)} if name in vocabulary.numbers else set()
        if (own & said) or (role & said):
            yield name


def merged(standing: Sequence[Filter], made: Filter | None, text: str, *, fresh: bool = False) -> tuple[Filter, ...]:
    """The constraints after a turn that asks for `made`, in words `text`. `fresh`: the turn is a request of its own.

    A bound takes the place of the bound on the same side; one that leaves no room takes the place of both. A value of a text
    takes the place of the value before; a value of a list is added, unless the words say `instead`, or the request is fresh.
    What contradicts goes: `no horror` after `horror`, and the other way round.
    """
    new = parts_of(made)
    low = lowered(text)
    instead = bool(_INSTEAD.search(low)) or (fresh and not _ALSO.match(low.strip()))
    parts = [part for part in standing if not any(_replaces(one, part, instead) for one in new)]
    parts += [one for one in new if one not in parts]
    return tuple(part for part in parts if not _without_room(part, new, parts))


def _replaces(new: Filter, old: Filter, instead: bool) -> bool:
    if new == old:
        return False
    shared = attributes_of(new) & attributes_of(old)
    if not shared:
        return False
    if isinstance(new, Not) or isinstance(old, Not):
        if isinstance(new, Not) and isinstance(old, Not):
            return False
        inner, other = (new.part, old) if isinstance(new, Not) else (new, old.part if isinstance(old, Not) else old)
        return bool({*pairs_of(inner)} & {*pairs_of(other)}) and attributes_of(inner) == attributes_of(other)
    if isinstance(new, Compare) and isinstance(old, Compare) and new.op not in ("==", "!=") and old.op not in ("==", "!="):
        return new.op[0] == old.op[0]
    if isinstance(new, Has) and isinstance(old, Has):
        return instead
    if isinstance(new, Has) and isinstance(old, In) and new.value in old.values:  # one of two that were fine
        return True
    if attributes_of(old) == shared:
        return instead or not isinstance(new, Has)
    return False


def _without_room(part: Filter, new: Sequence[Filter], parts: Sequence[Filter]) -> bool:
    """An older bound that with a newer one on the other side leaves nothing between."""
    if not isinstance(part, Compare) or part in new or part.op in ("==", "!="):
        return False
    for one in parts:
        if isinstance(one, Compare) and one in new and one.field == part.field and one.op[0] != part.op[0]:
            low, high = (part, one) if part.op[0] == ">" else (one, part)
            if one.op not in ("==", "!=") and float(low.value) > float(high.value):
                return True
    return False


def freed(standing: Sequence[Filter], attributes: Iterable[str]) -> tuple[Filter, ...]:
    """The constraints that name none of the attributes."""
    gone = frozenset(attributes)
    return tuple(part for part in standing if not attributes_of(part) & gone)


def steered(steers: Sequence[Steer], shown: Sequence[Item], vocabulary: Vocabulary) -> list[Filter]:
    """`something shorter` as a bound: below the middle of what was shown, or of the catalogue where nothing was."""
    bounds: list[Filter] = []
    for steer in steers:
        values = [value for item in shown if (value := number_of(item, steer.attribute)) is not None]
        middle = median(values) if values else vocabulary.numbers[steer.attribute].middle
        value = int(middle) if float(middle).is_integer() else middle
        bounds.append(Compare(steer.attribute, "<" if steer.direction == "<" else ">", value))
    return bounds


def alike(low: str, item: Item, vocabulary: Vocabulary) -> Filter | None:
    """What `the same colour` or `what else has she written` asks for, said of `item`; None where it asks for no such thing."""
    names: list[str] = []
    if same := _SAME_AS.search(low):
        said = stem(same["what"] or same["who"])
        names = [name for name in vocabulary.schema if said in {stem(word) for word in name_words(name)}]
    elif made := _ELSE_OF.search(low):
        names = [name for name in _WORK[next(key for key in _WORK if key in made["did"])] if name in vocabulary.schema]
    for name in names:
        values = tuple(one for one in scalars(item.attributes.get(name, ())) if isinstance(one, str))
        if values:
            return one_of(name, values, vocabulary)
    return None


def unlike(low: str, standing: Sequence[Filter], items: Sequence[Item], vocabulary: Vocabulary) -> Filter | None:
    """What `in another colour` asks for: none of the values that were asked for, else none of those of `items`."""
    found = _OTHER.search(low)
    said = stem(found["what"]) if found else ""
    for name in vocabulary.schema:
        if said and said in {stem(word) for word in name_words(name)}:
            asked = [value for part in standing for field, value in pairs_of(part) if field == name]
            shown = [value for item in items for value in scalars(item.attributes.get(name, ()))]
            values = [value for value in dict.fromkeys(asked or shown) if isinstance(value, str)]
            return Not(one_of(name, values, vocabulary)) if values else None
    return None


def either(low: str, standing: Sequence[Filter], made: Sequence[Filter]) -> list[Filter]:
    """`or green` after `blue`: both are fine. A value of an attribute that something stands of joins it."""
    if not _OR.search(low):
        return list(made)
    joined: list[Filter] = []
    for part in made:
        name, values = _values(part)
        before = [value for one in standing if _values(one)[0] == name for value in _values(one)[1]]
        joined.append(In(name, (*before, *values)) if name and before else part)
    return joined


def _values(part: Filter) -> tuple[str, tuple[Scalar, ...]]:
    """(attribute, the values of which one will do); an empty name for another kind of filter."""
    match part:
        case Has(name, value) | Compare(name, "==", value):
            return name, (value,)
        case In(name, values):
            return name, values
        case _:
            return "", ()


def without_parts(low: str, standing: Sequence[Filter], made: Sequence[Filter]) -> tuple[tuple[Filter, ...], list[Filter]]:
    """(what stands, what is asked for) without what the turn takes back by its value: `forget the eighties`."""
    if not _TAKEN_BACK.search(low):
        return tuple(standing), list(made)
    refused = [one for one in made if isinstance(one, Not) and set(parts_of(one.part)) <= set(standing)]
    taken = refused or [one for one in made if one in standing]  # `drop the eighties` is no refusal by its words
    gone = {part for one in taken for part in parts_of(one.part if isinstance(one, Not) else one)}
    return tuple(part for part in standing if part not in gone), [one for one in made if one not in taken]


def without_dropped(low: str, needs: tuple[str, ...]) -> tuple[str, ...]:
    """The wishes without those that the turn takes back: `cancel the subtitles`."""
    gone = {stem(found["what"]) for found in _DROPPED.finditer(low)}
    return tuple(one for one in needs if not gone & {stem(word.key) for word in words_of(one)})


def without_measure(needs: Iterable[str], need: str) -> tuple[str, ...]:
    """The wishes without a measure in the unit of `need`: `2 inch` after `3 inch`."""
    new = _MEASURE.fullmatch(need.lower())
    return tuple(
        one for one in needs if not (new and (old := _MEASURE.fullmatch(one.lower())) and stem(old["unit"]) == stem(new["unit"]))
    )


def number_of(item: Item, attribute: str) -> float | None:
    value = item.attributes.get(attribute)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
