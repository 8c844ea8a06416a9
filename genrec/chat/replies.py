"""The plain sentences of an answer. Titles and values in them come from the catalogue alone."""

from collections.abc import Sequence

from genrec.filters import Filter
from genrec.prompts import data, listed
from genrec.types import AttributeValue, Item, scalars
from genrec.understanding.constraint_changes import number_of
from genrec.understanding.filter_text import in_words, number, spoken
from genrec.understanding.synonyms import Role
from genrec.understanding.titles import year_of
from genrec.understanding.vocabulary import Vocabulary

TITLE_CHARS = 80
VALUE_CHARS = 60
TEXT_CHARS = 400
MOST_VALUES = 6
MOST_ATTRIBUTES = 8
_UNITS: dict[Role, str] = {"duration": " minutes"}


def quoted(item: Item) -> str:
    """An item's title in quotation marks; its id where it has none."""
    return f'"{plain_title(item)}"'


def plain_title(item: Item) -> str:
    return data(item.title, TITLE_CHARS).replace('"', "'") or data(item.item_id, TITLE_CHARS) or "untitled"


def value_text(attribute: str, value: AttributeValue, vocabulary: Vocabulary) -> str:
    """The values of an attribute in words; empty where it has none."""
    numbers = vocabulary.numbers.get(attribute)
    unit = _UNITS.get(numbers.role, "") if numbers is not None and numbers.minutes == 1.0 else ""
    texts = []
    for one in scalars(value):
        if isinstance(one, bool):
            texts.append("yes" if one else "no")
        else:
            texts.append(data(one, VALUE_CHARS) if isinstance(one, str) else number(one) + unit)
    texts = [one for one in texts if one]
    if len(texts) > MOST_VALUES:
        return f"{', '.join(texts[:MOST_VALUES])} and {len(texts) - MOST_VALUES} more"
    return listed(texts) if texts else ""


def attribute_line(item: Item, attribute: str, vocabulary: Vocabulary) -> str:
    """The answer to a question about one attribute."""
    said = value_text(attribute, item.attributes.get(attribute, ()), vocabulary)
    if not said:
        return f"The catalogue does not say the {spoken(attribute)} of {quoted(item)}."
    return f"{quoted(item)}: {spoken(attribute)} {said}."


def description(item: Item, vocabulary: Vocabulary) -> str:
    """An item in a few lines: its attributes, then its text."""
    said = _attributes(item, vocabulary)[:MOST_ATTRIBUTES]
    first = f"{quoted(item)}: {'; '.join(f'{spoken(name)} {value}' for name, value in said)}." if said else ""
    text = data(item.text, TEXT_CHARS)
    if text:
        first += ("\n" if first else f"{quoted(item)}: ") + (f"(written by genrec) {text}" if "text" in item.generated else text)
    return first or f"Of {quoted(item)} the catalogue has no more than the title."


def comparison(items: Sequence[Item], vocabulary: Vocabulary) -> str:
    """What differs between items, attribute by attribute, then what they share."""
    names = [name for name in vocabulary.schema if not _is_id(name) and any(name in item.attributes for item in items)]
    differ, same = [], []
    for name in names:
        values = [value_text(name, item.attributes.get(name, ()), vocabulary) for item in items]
        if not any(values) or any(len(value) > 200 for value in values):
            continue
        if len(set(values)) == 1:
            same.append(f"{spoken(name)} {values[0]}")
        else:
            differ.append((spoken(name), values))
    if not differ:
        return "\n".join(description(item, vocabulary) for item in items)
    lines = [
        f"{quoted(item)}: "
        + "; ".join(f"{name} {values[place] or 'not given'}" for name, values in differ[:MOST_ATTRIBUTES])
        + "."
        for place, item in enumerate(items)
    ]
    if same:
        lines.append(f"{'Both' if len(items) == 2 else 'All'}: {'; '.join(same[:MOST_ATTRIBUTES])}.")
    return "\n".join(lines)


def extreme(items: Sequence[Item], attribute: str, direction: str, vocabulary: Vocabulary) -> str:
    """Which of the items has the least (`<`) or the most of a number; empty where none has it."""
    values = {item: value for item in items if (value := number_of(item, attribute)) is not None}
    if not values:
        return ""
    best = min(values.values()) if direction == "<" else max(values.values())
    found = [item for item, value in values.items() if value == best]
    said = value_text(attribute, found[0].attributes[attribute], vocabulary)
    return f"{listed([quoted(item) for item in found])}: {spoken(attribute)} {said}{', alike' if len(found) > 1 else ''}."


def _attributes(item: Item, vocabulary: Vocabulary) -> list[tuple[str, str]]:
    said = [(name, value_text(name, item.attributes[name], vocabulary)) for name in vocabulary.schema if name in item.attributes]
    return [(name, value) for name, value in said if value and not value.startswith(("http", "www")) and not _is_id(name)]


def _is_id(name: str) -> bool:
    return name == "id" or name.endswith(("_id", "Id", "_url", "ASIN", "_uri"))


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
    """A wish for numbers that no item has."""
    return f"The catalogue does not say {' or '.join(_NOT_TOLD[role] for role in roles)}, so I cannot go by that."


def not_in_catalogue(roles: Sequence[str]) -> str:
    """The answer to a question about numbers that no item has."""
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
    """What a list was made by: items to be like, words to match, constraints, which `count` items fit.

    `without`: words that are in the text of none of them; `again`: they were shown before.
    """
    said = [f"like {listed([quoted(item) for item in like])}"] if like else []
    said += ["close to what you describe"] if words else []
    said += [f"without {quoted_words(without)} in the text"] if without else []
    said += [f"{in_words(parts, vocabulary)}: {count} {'item fits' if count == 1 else 'items fit'}"] if parts else []
    made_by = "; ".join(said)
    first = f"{made_by[0].upper()}{made_by[1:]}. " if made_by else ""
    return first + ("Nothing of it is new, I have shown:" if again else "I would suggest:")


def quoted_words(refused: Sequence[str]) -> str:
    """Words as a person refused them."""
    return either([f"‘{one}’" for one in refused])


def either(texts: Sequence[str]) -> str:
    """`a, b or c`."""
    *first, last = texts
    return f"{', '.join(first)} or {last}" if first else last


def not_left_out(refused: Sequence[str]) -> str:
    """Refused words that all items that fit have in their text."""
    return f"All that fits has {quoted_words(refused)} in the text, so I left that out."


def constraints_dropped(dropped: Sequence[Filter], left: Sequence[Filter], vocabulary: Vocabulary) -> str:
    """Constraints that were dropped because nothing fits all of them."""
    beside = f" with {in_words(left, vocabulary)}" if left else ""
    return f"Nothing fits {in_words(dropped, vocabulary)}{beside}, so I left that out."


def nothing_fits(parts: Sequence[Filter], vocabulary: Vocabulary) -> str:
    return f"Nothing fits {in_words(parts, vocabulary)}."


def ambiguous(choices: Sequence[Item]) -> str:
    """Which of several items of the same name is meant."""
    alike = len({item.title for item in choices}) < len(choices)
    shown = [f"{quoted(item)} ({year_of(item)})" if alike and year_of(item) else quoted(item) for item in choices]
    return f"Which one do you mean: {either(shown)}?"


def accepted(items: Sequence[Item]) -> str:
    return f"Good choice: {listed([quoted(item) for item in items])}." if items else "Good!"


def small_talk(low: str, *, ongoing: bool) -> str:
    """An answer to small talk."""
    words = set(low.replace(",", " ").replace("!", " ").replace(".", " ").split())
    if words & {"bye", "goodbye", "night"} or "see you" in low:
        return BYE
    if words & {"thanks", "thank", "thx", "cheers"}:
        return THANKS
    return HELLO if words or not ongoing else EMPTY
