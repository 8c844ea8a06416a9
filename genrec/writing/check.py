"""The checker: a written reason is shown only when all that it says occurs in the facts.

It works from the closed side: a word is either part of a fact or one of the plain words below, which claim nothing about an
item; everything else refuses the text. So a name, number, genre or judgement that was not computed cannot get through.
"""

import re
from collections.abc import Iterable

from genrec.writing.facts import Facts

PLAIN = frozenset(
    """
    a again also an and another are as at be because both choice choose chose close could enjoy fit fits for from go
    goes good has if in interest interests is it its just kind like likes looking made make makes match matches may
    might more much near next note of on other our own perhaps pick picked picks related same search searched seem seems
    share shares similar since so some something suggested suit suits that the their them then these they this to too
    try very want wanted was well were which why will wish with you your
    """.split()
)
LIKED = frozenset({"liked", "enjoyed"})
TITLE = "\x00"
MAX_CHARS = 320
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_SENTENCE_END = re.compile(r"[.!?](?:\s|$)")


def fault(text: str, facts: Facts) -> str:
    """Why `text` may not be shown, or an empty string when it may."""
    shape = _shape_fault(text)
    if shape:
        return shape
    rest, cited = _without_titles(text, facts.past)
    if '"' in rest or "“" in rest or "”" in rest:
        return "it quotes something that is not a cited title"
    if facts.past and not cited:
        return "it cites none of the past items"
    if any(count > 1 for count in cited.values()):
        return "it names a title twice"
    words = [word.lower() for word in _WORD.findall(rest)]
    allowed = PLAIN | _words_of_facts(facts) | (LIKED if facts.liked else frozenset())
    for word in words:
        if word not in allowed:
            return f"`{word}` is not in the evidence"
    if sum(word in LIKED or word == "chose" for word in words) > 1:
        return "it says twice that something was chosen"
    if facts.shared and not _words_of([value for _, values in facts.shared for value in values]).intersection(words):
        return "it names none of the shared values"
    if not facts.past and not _words_of_facts(facts).intersection(words):
        return "it says nothing of the evidence"
    if len(facts.past) < 2 and "both" in words:
        return "it says `both` of one thing"
    return _nothing_but_history(words, facts)


def _shape_fault(text: str) -> str:
    if not text or text != text.strip() or "\n" in text:
        return "it is not one line of text"
    if len(text) > MAX_CHARS:
        return f"it is longer than {MAX_CHARS} characters"
    if text[-1] not in ".!":
        return "it does not end as a sentence"
    if len(_SENTENCE_END.findall(re.sub(r'"[^"]*"', TITLE, text))) > 2:
        return "it is more than two sentences"
    return ""


def _nothing_but_history(words: Iterable[str], facts: Facts) -> str:
    """A sentence that only repeats what was chosen says nothing of the item."""
    if facts.past and "it" not in words and "another" not in words and "more" not in words:
        return "it says nothing about the item"
    return ""


def _without_titles(text: str, titles: tuple[str, ...]) -> tuple[str, dict[str, int]]:
    """`text` with each quoted title replaced by a mark, and how often each was cited; longest titles first."""
    cited: dict[str, int] = {}
    for name in sorted(titles, key=len, reverse=True):
        quoted = f'"{name}"'
        count = text.count(quoted)
        if count:
            cited[name] = count
            text = text.replace(quoted, TITLE)
    # a title's own full stop or a comma inside the quotes is a different title
    return text, cited


def _words_of_facts(facts: Facts) -> frozenset[str]:
    texts = [*facts.words, *facts.interests]
    for name, values in facts.shared:
        texts += [name, name.removesuffix("s"), *values]
    return _words_of(texts)


def _words_of(texts: Iterable[str]) -> frozenset[str]:
    return frozenset(word.lower() for text in texts for word in _WORD.findall(text))
