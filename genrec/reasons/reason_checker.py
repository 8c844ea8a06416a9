"""The checker of reasons: a written reason is shown only if all that it says occurs in the facts.

It works with a closed vocabulary: each word of a sentence is part of a fact, letter for letter, or one of the plain words below,
which claim nothing about an item; any other word refuses the text. So a name, number, genre or judgement that was not computed
cannot get through.
"""

import re
from collections import Counter
from dataclasses import dataclass

from genrec.reasons.facts import WORD, Facts, alternation, quoted_description

PLAIN = frozenset(
    """
    a again also an and another are as at be because both choice choose close could enjoy fit fits for from go
    goes good has if in is it item its itself just kind like likes make makes match matches may might more much near next
    of on other our own perhaps pick picks related same seem seems share shares similar since so some something
    suggested suit suits that the their them then these they this those to too try type very well which why will with you your
    """.split()
)
ASKED = frozenset("interest interests looking search searched want wanted wish".split())
"""Plain where the person asked for something."""
CHOSE = frozenset("chose picked was were".split())
"""Plain where past items are cited."""
LIKED = frozenset({"liked", "enjoyed"})
"""Plain where every cited item was liked."""
POPULAR = frozenset("chose people person popular".split())
NOTHING = frozenset("fills history list nothing points".split())
ANY_PLAIN = PLAIN | ASKED | CHOSE | LIKED | POPULAR | NOTHING
TITLE, FACT = "\x00", "\x01"
MAX_CHARS = 400
"""Without the cited titles."""
_POSSESSIVE = re.compile(r"['’]s$")
_SENTENCE_END = re.compile(r"[.!?](?:\s|$)")
_CHOSE_IT = re.compile(r"\b(?:liked|enjoyed|chose|picked)\s+(?:it|this|that|these|those|them)\b", re.IGNORECASE)
_IS_TITLE = re.compile(
    rf"\b(?:(?:it|this|that)(?:['’]s|\s+is)|another|more)\s+(?:(?:of|the|your|an?|another|more)\s+)*{TITLE}", re.IGNORECASE
)
_LIKES_TITLE = re.compile(rf"(?<!\bif )\byou(?:\s+\w+)?\s+(?:like|enjoy)\s+{TITLE}", re.IGNORECASE)
_WHICH_TITLE = re.compile(rf"\b(?:which|that)\s+you\s+(?:liked|enjoyed|chose|picked)\s+{TITLE}", re.IGNORECASE)
_JUDGED = re.compile(rf"\b(?:good|very)\s+{FACT}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Masked:
    """A reason whose titles and facts are masked by `TITLE` and `FACT`.

    cited        quoted titles, with how often each is cited
    facts        names and values in lower case, in the order of the text
    wrong_pair   why a value that follows an attribute's name is none of it, or an empty string
    """

    text: str
    cited: Counter[str]
    facts: tuple[str, ...]
    wrong_pair: str


def fault(text: str, facts: Facts) -> str:
    """Why `text` may not be shown, or an empty string when it may."""
    if not text or text != text.strip() or min(text) < " ":
        return "it is not one line of text"
    if added := quoted_description(facts):  # the quotation is marked as generated: it is no claim of the reason
        text = text.removesuffix(added)
    masked = _mask(text, facts)
    words = [word.lower() for word in WORD.findall(masked.text)]
    return (
        _shape_fault(masked.text)
        or _title_fault(masked, facts)
        or _word_fault(words, facts)
        or _claim_fault(masked, words, facts)
    )


def _shape_fault(text: str) -> str:
    if len(text) > MAX_CHARS:
        return f"it is longer than {MAX_CHARS} characters"
    if text[-1] not in ".!":
        return "it does not end as a sentence"
    if len(_SENTENCE_END.findall(text)) > 2:
        return "it is more than two sentences"
    if found := re.search(rf"[^\w\s.,;:!'’{TITLE}{FACT}-]|_", text):
        return f"it has the sign {found[0]} outside of titles"
    return ""


def _title_fault(masked: _Masked, facts: Facts) -> str:
    if facts.past and f'"{facts.past[0]}"' not in masked.cited:
        return "it does not cite the past item that counts most"
    if any(count > 1 for count in masked.cited.values()):
        return "it names a title twice"
    if _WHICH_TITLE.search(masked.text):
        return "it has `which you liked` before the title instead of behind it"
    if _IS_TITLE.search(masked.text):
        return "it takes the item for a past one"
    if not facts.liked and _LIKES_TITLE.search(masked.text):
        return "it says `like` of what was only chosen"
    return ""


def _word_fault(words: list[str], facts: Facts) -> str:
    allowed = PLAIN | (CHOSE if facts.past else frozenset()) | (LIKED if facts.liked else frozenset())
    if facts.words or facts.interests:
        allowed |= ASKED
    elif not facts.past:
        allowed |= POPULAR if facts.people else NOTHING
    for word in words:
        if word not in allowed:
            return f"`{word}` is not in the evidence"
    return ""


def _claim_fault(masked: _Masked, words: list[str], facts: Facts) -> str:
    asked = {word.lower() for word in (*facts.words, *facts.interests)}
    counted = facts.people and not facts.past and not asked
    values = {value.lower() for _, values in facts.shared for value in values}
    if sum(word in LIKED | CHOSE - {"was", "were"} for word in words) > 1:
        return "it says twice that something was chosen"
    if not counted and _CHOSE_IT.search(masked.text):
        return "it says that the item itself was chosen"
    if _JUDGED.search(masked.text):
        return "it judges"
    if masked.wrong_pair:
        return masked.wrong_pair
    if values and not values.intersection(masked.facts) and not asked:
        return "it names none of the shared values"
    for name, own in facts.shared:
        spoken = {*_forms(name.lower())}.difference(ANY_PLAIN, asked, values).intersection(masked.facts)
        if spoken and not {*map(str.lower, own)}.intersection(masked.facts):
            return f"it says `{name}` and none of its values"
    if asked and not (asked | values).intersection(masked.facts):
        return "it names nothing of what was asked for"
    if counted and str(facts.people) not in masked.facts:
        return "it does not say how many people"
    if len(facts.past) < 2 and "both" in words:
        return "it says `both` of one thing"
    if facts.past and not {"it", "another", "more"}.intersection([*words, *masked.facts]):
        return "it says nothing about the item"
    return ""


def _mask(text: str, facts: Facts) -> _Masked:
    """Mask what is fact, from left to right, the longest first: quoted titles, and names and values as whole phrases."""
    names = {form for name, _ in facts.shared for form in _forms(name)}
    values = {value for _, values in facts.shared for value in values}
    titles = [f'"{name}"' for name in facts.past]
    bare = {_POSSESSIVE.sub("", value): value for value in values}  # `Children's` may be said as `children`
    bare = {word: value for word, value in bare.items() if word.lower() not in PLAIN}
    phrases = {*names, *values, *bare, *facts.words, *facts.interests, str(facts.people or "")} - {""}
    meant = {phrase.lower(): value.lower() for phrase, value in bare.items()}
    # a title is cited letter for letter, the case of a fact does not matter
    pattern = rf"(?P<title>{alternation(titles)})|(?<![^\W_])(?P<fact>(?i:{alternation(phrases)}))(?![^\W_])"
    cited: Counter[str] = Counter()
    found_facts: list[str] = []
    parts, wrong, before, done = [], "", "", 0
    for found in re.finditer(pattern, text):
        between, done, title, fact = text[done : found.start()], found.end(), found["title"], (found["fact"] or "").lower()
        fact = meant.get(fact, fact)
        parts += [between, TITLE if title else FACT]
        if title:
            cited[title] += 1
        else:
            found_facts.append(fact)
            # an attribute may be called `and`: a plain word says nothing of what follows it
            if before and before not in ANY_PLAIN and not between.strip(" ,:") and not _fits(facts, before, fact):
                wrong = f"`{fact}` is no {before}"
        before = fact
    return _Masked("".join([*parts, text[done:]]), cited, tuple(found_facts), wrong)


def _forms(name: str) -> tuple[str, ...]:
    """An attribute's name in the singular and the plural; what is `rated` has a rating."""
    noun = (f"{name[:-2]}ing", f"{name[:-2]}ings") if name.endswith("ed") and len(name) > 4 else ()
    return (name, name.removesuffix("s"), name + "s", *noun)


def _fits(facts: Facts, name: str, value: str) -> bool:
    """Whether `value` may follow `name`: not where `name` is one attribute's and `value` only another's."""
    of_name = [values for other, values in facts.shared if name in _forms(other.lower())]
    others = [values for _, values in facts.shared if values not in of_name]
    is_value = any(value == one.lower() for values in others for one in values)
    return not of_name or not is_value or any(value == one.lower() for values in of_name for one in values)
