"""Values of the catalogue in a text: which attribute they belong to, and which words are no values after all."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from genrec.filters import And, Compare, Filter, Has, In, Not
from genrec.understanding.phrases import Hit
from genrec.understanding.synonyms import NAMED_BY
from genrec.understanding.vocabulary import Known, Vocabulary, name_words
from genrec.understanding.words import FUNCTION, Word, begins_sentence, fold, is_common, stem

LONG_SURNAME = 8
"""Letters from which a surname is still known with a typo."""
_RANK = {"value": 0, "meaning": 1, "part": 2, "surname": 3}
_PEOPLE_CUES = frozenset(
    "by with starring stars star featuring director directed actor actress and or no without from like".split()
)
_JOINING = frozenset("and or no without from like with".split())
_LOWER = frozenset("lower below under less younger milder easier smaller".split())
_HIGHER = frozenset("higher above over more older harder bigger up larger".split())
_AT_MOST = (
    ("at", "most"),
    ("up", "to"),
    ("max",),
    ("maximum",),
    ("no", "more", "than"),
    ("nothing", "above"),
    ("nothing", "over"),
)
_AT_LEAST = (("at", "least"), ("min",), ("minimum",), ("nothing", "below"), ("nothing", "under"))
_UNITS = frozenset(
    "hour hours minute minutes min mins second seconds day days week weeks month months year years dollar dollars bucks euros "
    "pounds star stars percent kids children people times or and to".split()
)
_COMPARED = frozenset("under below over above than about around most least between to and only".split())
_COUNTS = frozenset("count quantity pieces number amount".split())
"""Attributes whose values are numbers of things: `2 mugs`."""
_NON = frozenset({"non", "not", "isnt", "arent", "no"})


@dataclass(frozen=True, slots=True)
class Element:
    """One thing asked for: words [first, last), at [start, end) of the text. `filter` is meant without any negation around.

    `settled`: the words of negation are already in `filter`; `number`: it is about a number.
    """

    first: int
    last: int
    start: int
    end: int
    attribute: str
    values: tuple[str, ...]
    filter: Filter
    plural: bool = False
    number: bool = False
    settled: bool = False


def values_in(words: Sequence[Word], text: str, vocabulary: Vocabulary, taken: Collection[int]) -> list[Element]:
    """The values that the words outside `taken` (places) stand for, in order of place."""
    keys = vocabulary.index.keys(words)
    hits = list(vocabulary.index.exact(keys))
    covered = set(taken) | {place for hit in hits for place in range(hit.first, hit.last)}
    correct = {place for place, word in enumerate(words) if word.key in vocabulary.correct}
    hits += [hit for hit in vocabulary.index.mistyped(keys, covered) if not _right(hit, words, correct, keys, vocabulary)]
    spans: dict[tuple[int, int], list[Hit]] = defaultdict(list)
    for hit in hits:
        if not any(place in taken for place in range(hit.first, hit.last)):
            spans[hit.first, hit.last].append(hit)
    found: list[Element] = []
    used: set[int] = set()
    order = sorted(spans, key=lambda span: (span[0] - span[1], min(hit.typos for hit in spans[span]), span[0]))
    for span in order:
        if used.isdisjoint(range(*span)):
            known = _acceptable(spans[span], words, text, vocabulary)
            if known:
                used.update(range(*span))
                found.append(_element(span, known, words, vocabulary))
    found += _booleans(words, keys, vocabulary, used | set(taken))
    return _again(sorted(found, key=lambda one: one.first), words, spans, text, vocabulary)


def _right(hit: Hit, words: Sequence[Word], correct: set[int], keys: Sequence[str], vocabulary: Vocabulary) -> bool:
    """Whether the words that would have to be wrong are words of the catalogue's own texts, so no typing errors."""
    phrase = vocabulary.index.phrases[hit.phrase]
    wrong = [place for place, key in zip(range(hit.first, hit.last), phrase, strict=True) if keys[place] != key]
    if 0 < len(wrong) < len(phrase) and any(known.attribute in vocabulary.people for known in vocabulary.known[hit.phrase]):
        return False  # a name of which the other words are right: `Jim Carey`
    return all(place in correct or words[place].key in FUNCTION for place in wrong)


def _acceptable(hits: Sequence[Hit], words: Sequence[Word], text: str, vocabulary: Vocabulary) -> list[Known]:
    first, last = hits[0].first, hits[0].last
    least = min(hit.typos for hit in hits)
    known = [one for hit in hits if hit.typos == least for one in vocabulary.known[hit.phrase]]
    return _best([one for one in known if _is_meant(one, words, first, last, text)], words, first, last)


def _is_meant(known: Known, words: Sequence[Word], first: int, last: int, text: str) -> bool:
    """Whether these words are said of this attribute at all: short and everyday values need a sign."""
    inside = words[first:last]
    shown = "".join(word.shown for word in inside)
    named = _named(known.attribute, words, first, last, near=1)
    if known.form == "surname":
        before = words[first - 1].key if first else ""
        exact = inside[0].key == fold(known.value.split()[-1])
        if inside[0].key in FUNCTION or not (exact or len(inside[0].key) >= LONG_SURNAME):
            return False
        capital = inside[0].shown[0].isupper() and (not begins_sentence(text, inside[0].start) or len(words) <= 4)
        if is_common(inside[0].key):
            return before in _PEOPLE_CUES - _JOINING and capital
        return capital or before in _PEOPLE_CUES
    if len(shown) == 1 and not shown.isdigit():
        return named and shown == known.value
    if len(shown) == 2 and shown.isalpha():
        return shown.lower() not in FUNCTION or shown == known.value.replace(" ", "")
    if all(word.key in FUNCTION for word in inside) and known.form != "meaning":
        return named or _counts(words, first, last)
    if all(word.key.isdigit() for word in inside):
        return named or (last < len(words) and bool(_COUNTS & set(name_words(known.attribute))) and _counts(words, first, last))
    return True


def _counts(words: Sequence[Word], first: int, last: int) -> bool:
    """Whether a number word counts things: not `one`, no hours or dollars, nothing compared."""
    word = words[first]
    after = words[last].key if last < len(words) else ""
    before = words[first - 1].key if first else ""
    number = last - first == 1 and stem(word.key).isdigit() and word.key != "one"
    return number and after not in _UNITS and before not in _COMPARED


def _best(known: Sequence[Known], words: Sequence[Word], first: int, last: int) -> list[Known]:
    """The values of one attribute: the one that the words around name, else said in the plainest form, else the most frequent."""
    if not known:
        return []
    top = max(
        known, key=lambda one: (_named(one.attribute, words, first, last), -_RANK[one.form], one.count, one.attribute, one.value)
    )
    if top.all_of:
        return [one for one in known if one.all_of and one.attribute == top.attribute]
    if top.form == "surname":
        others = sorted((one.count for one in known if one.form == "surname" and one.attribute == top.attribute), reverse=True)
        return [top] if len(others) < 2 or others[0] >= 2 * others[1] or len(others) <= 2 else []
    return [one for one in known if one.attribute == top.attribute and one.form == top.form]


def _named(attribute: str, words: Sequence[Word], first: int, last: int, near: int = 3) -> bool:
    """Whether words around say that this attribute is meant."""
    own = {stem(word) for word in name_words(attribute)}
    cues: set[str] = set()
    for part in own:
        cues |= NAMED_BY.get(part, frozenset())
    around = [word.key for word in (*words[max(0, first - near) : first], *words[last : last + near])]
    before = [word.key for word in words[max(0, first - near) : first]]
    roots = tuple(part[:4] for part in own if len(part) >= 4)
    return (
        any(key in cues for key in before)
        or any(stem(key) in own or (roots and key.startswith(roots)) for key in around)
        or (any(key in cues - {"by", "with", "in", "from", "of"} for key in around))
    )


def _element(span: tuple[int, int], known: Sequence[Known], words: Sequence[Word], vocabulary: Vocabulary) -> Element:
    first, last = span
    attribute = known[0].attribute
    values = tuple(dict.fromkeys(one.value for one in known))
    every = known[0].all_of
    plural = words[last - 1].key.endswith("s") and not values[0].lower().endswith("s")
    made: Filter = one_of(attribute, values, vocabulary)
    settled = False
    if every:
        made = And(tuple(one_of(attribute, (value,), vocabulary) for value in values))
    elif len(values) == 1:
        graded = _graded(attribute, values[0], words, first, last, vocabulary)
        if graded is not None:
            made, first, last, settled = graded
    start, end = words[first].start, words[last - 1].end
    return Element(first, last, start, end, attribute, values, made, plural=plural, settled=settled)


def one_of(attribute: str, values: Sequence[str], vocabulary: Vocabulary) -> Filter:
    """`attribute` has one of the values."""
    if len(values) > 1:
        return In(attribute, tuple(values))
    return Has(attribute, values[0]) if vocabulary.schema[attribute].is_list else Compare(attribute, "==", values[0])


def _graded(
    attribute: str, value: str, words: Sequence[Word], first: int, last: int, vocabulary: Vocabulary
) -> tuple[Filter, int, int, bool] | None:
    """`PG or lower`: the values up to (from) this one on its scale, and the words that say so."""
    scale = vocabulary.scale(attribute, value)
    if scale is None:
        return None
    steps, place = scale
    keys = [word.key for word in words]
    lower = higher = 0
    if keys[last : last + 1] and keys[last] in ("or", "and") and keys[last + 1 : last + 2]:
        lower, higher = 2 * (keys[last + 1] in _LOWER), 2 * (keys[last + 1] in _HIGHER)
    for phrase in _AT_MOST[:4]:
        lower = lower or len(phrase) * (tuple(keys[last : last + len(phrase)]) == phrase)
    if lower or higher:
        chosen = steps[: place + 1] if lower else steps[place:]
        return one_of(attribute, chosen, vocabulary), first, last + (lower or higher), False
    for phrases, chosen in ((_AT_MOST, steps[: place + 1]), (_AT_LEAST, steps[place:])):
        for phrase in phrases:
            before = [key for key in keys[max(0, first - 5) : first] if key not in ("rated", "a", "an", "rating", "of")]
            if tuple(before[-len(phrase) :]) == phrase:
                back = next(back for back in range(first - 1, -1, -1) if keys[back] == phrase[0])
                return one_of(attribute, chosen, vocabulary), back, last, True
    return None


def _booleans(words: Sequence[Word], keys: Sequence[str], vocabulary: Vocabulary, taken: Collection[int]) -> Iterable[Element]:
    for name, attribute in vocabulary.booleans.items():
        for first in range(len(keys) - len(name) + 1):
            last = first + len(name)
            if tuple(keys[first:last]) != name or any(place in taken for place in range(first, last)):
                continue
            negative = first > 0 and words[first - 1].key in _NON
            begin = first - 1 if negative else first
            made = Compare(attribute, "==", not negative)
            yield Element(begin, last, words[begin].start, words[last - 1].end, attribute, (), made, settled=negative)


def _again(
    found: list[Element],
    words: Sequence[Word],
    spans: dict[tuple[int, int], list[Hit]],
    text: str,
    vocabulary: Vocabulary,
) -> list[Element]:
    """A value joined by `or` or `and` to one before it is of that one's attribute, where it can be."""
    for place in range(1, len(found)):
        before, one = found[place - 1], found[place]
        between = [word.key for word in words[before.last : one.first]]
        if before.attribute == one.attribute or between not in (["or"], ["and"], ["nor"]) or not before.values:
            continue
        if not _named(before.attribute, words, before.first, before.last) or _named(
            one.attribute, words, one.first, one.last, near=1
        ):
            continue
        hits = spans.get((one.first, one.last), [])
        known = [known for hit in hits for known in vocabulary.known[hit.phrase] if known.attribute == before.attribute]
        known = [entry for entry in known if _is_meant(entry, words, one.first, one.last, text)]
        if known:
            found[place] = _element((one.first, one.last), known[:1], words, vocabulary)
    return found


def negated(made: Filter) -> Filter:
    """The opposite; `refillable` turns into false, so that items of which it is not known do not pass."""
    match made:
        case Compare(attribute, "==", bool(value)):
            return Compare(attribute, "==", not value)
        case Not(part):
            return part
        case _:
            return Not(made)
