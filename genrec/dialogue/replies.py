"""The plain sentences of an answer. Titles and values in them come from the catalogue alone."""

from collections.abc import Sequence

from genrec.dialogue.filter_text import in_words
from genrec.dialogue.telling import named
from genrec.dialogue.titles import year_of
from genrec.dialogue.vocabulary import Vocabulary
from genrec.filters import Filter
from genrec.prompts import listed
from genrec.types import Item

HELLO = "Hello! Tell me what you are looking for, or name something that you liked."
THANKS = "You are welcome. Tell me if you want to see something else."
BYE = "Goodbye!"
EMPTY = "Tell me what you are looking for, or name something that you liked."
UNDONE = "I have taken that back."
NOTHING_TO_UNDO = "There is nothing to take back."
RESET = "Let us start again. What are you looking for?"
WHICH = "Which item do you mean? Name it, or say its place in the list."
NOTHING_LEFT = "I have nothing more to offer: everything was shown, seen or put aside."
NO_LIST = "I have not recommended anything yet. Tell me what you are looking for."
NOT_RECOMMENDED = "I have not recommended it."
UNKNOWN = "The catalogue has no item of that name."
NOT_IN_TEXTS = "No text here speaks of that, so there was nothing to leave out."
UNSAID = "The catalogue does not say. What it says:"
_NOT_TOLD = {"price": "prices", "duration": "how long things take"}
LIKE_WHAT = "What is it like? Name something similar, or what it should have."


def unmet(roles: Sequence[str]) -> str:
    """A word about numbers that were asked for and that no item has."""
    return f"The catalogue does not say {' or '.join(_NOT_TOLD[role] for role in roles)}, so I cannot go by that."


def untold(roles: Sequence[str]) -> str:
    """The answer to a question about what no item has."""
    return f"The catalogue does not say {' or '.join(_NOT_TOLD[role] for role in roles)}."


def opening(
    parts: Sequence[Filter],
    like: Sequence[Item],
    words: bool,
    vocabulary: Vocabulary,
    count: int,
    *,
    without: Sequence[str] = (),
    again: bool = False,
) -> str:
    """What the list goes by: constraints, which `count` items fit, items to be like, words to match.

    `without`: what the text of none of them says; `again`: they were shown before.
    """
    said = [f"like {listed([named(item) for item in like])}"] if like else []
    said += ["close to what you describe"] if words else []
    said += [f"without {unsaid(without)} in the text"] if without else []
    said += [f"{in_words(parts, vocabulary)}: {count} {'item fits' if count == 1 else 'items fit'}"] if parts else []
    goes_by = "; ".join(said)
    first = f"{goes_by[0].upper()}{goes_by[1:]}. " if goes_by else ""
    return first + ("Nothing of it is new, I have shown:" if again else "I would suggest:")


def unsaid(refused: Sequence[str]) -> str:
    """Words as a person refused them."""
    said = [f"‘{one}’" for one in refused]
    return " or ".join([*([", ".join(said[:-1])] if len(said) > 1 else []), said[-1]])


def everywhere(refused: Sequence[str]) -> str:
    """A word about refusals that all that fits would fall under."""
    return f"All that fits has {unsaid(refused)} in the text, so I left that out."


def loosened(dropped: Sequence[Filter], left: Sequence[Filter], vocabulary: Vocabulary) -> str:
    """A word about constraints that were dropped because nothing fits all of them."""
    kept = f" with {in_words(left, vocabulary)}" if left else ""
    return f"Nothing fits {in_words(dropped, vocabulary)}{kept}, so I left that out."


def nothing_fits(parts: Sequence[Filter], vocabulary: Vocabulary) -> str:
    return f"Nothing fits {in_words(parts, vocabulary)}."


def ambiguous(choices: Sequence[Item]) -> str:
    """Which of several items of the same name is meant."""
    alike = len({item.title for item in choices}) < len(choices)
    shown = [f"{named(item)} ({year_of(item)})" if alike and year_of(item) else named(item) for item in choices]
    return f"Which one do you mean: {', '.join(shown[:-1])} or {shown[-1]}?"


def accepted(items: Sequence[Item]) -> str:
    return f"Good choice: {listed([named(item) for item in items])}." if items else "Good!"


def talk(low: str, *, ongoing: bool) -> str:
    """An answer to small talk."""
    words = set(low.replace(",", " ").replace("!", " ").replace(".", " ").split())
    if words & {"bye", "goodbye", "night"} or "see you" in low:
        return BYE
    if words & {"thanks", "thank", "thx", "cheers"}:
        return THANKS
    return HELLO if words or not ongoing else EMPTY
