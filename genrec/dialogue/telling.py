"""What the catalogue says about items, in words: answers to questions, comparisons; nothing that an item does not have."""

from collections.abc import Sequence

from genrec.dialogue.critiques import number_of
from genrec.dialogue.filter_text import number, spoken
from genrec.dialogue.meanings import Role
from genrec.dialogue.vocabulary import Vocabulary
from genrec.prompts import data, listed
from genrec.types import AttributeValue, Item, scalars

TITLE_CHARS = 80
VALUE_CHARS = 60
TEXT_CHARS = 400
MOST_VALUES = 6
MOST_ATTRIBUTES = 8
_UNITS: dict[Role, str] = {"duration": " minutes"}


def named(item: Item) -> str:
    """An item's title in quotation marks; its id where it has none."""
    return f'"{plain_title(item)}"'


def plain_title(item: Item) -> str:
    return data(item.title, TITLE_CHARS).replace('"', "'") or data(item.item_id, TITLE_CHARS) or "untitled"


def valued(attribute: str, value: AttributeValue, vocabulary: Vocabulary) -> str:
    """The values of an attribute in words, empty where there is none to say."""
    numbers = vocabulary.numbers.get(attribute)
    unit = _UNITS.get(numbers.role, "") if numbers is not None and numbers.minutes == 1.0 else ""
    said = []
    for one in scalars(value):
        if isinstance(one, bool):
            said.append("yes" if one else "no")
        elif isinstance(one, str):
            said.append(data(one, VALUE_CHARS))
        else:
            said.append(number(one) + unit)
    said = [one for one in said if one]
    more = f" and {len(said) - MOST_VALUES} more" if len(said) > MOST_VALUES else ""
    return ", ".join(said[:MOST_VALUES]) + more if more else listed(said) if said else ""


def told(item: Item, attribute: str, vocabulary: Vocabulary) -> str:
    """The answer to a question about one attribute."""
    said = valued(attribute, item.attributes.get(attribute, ()), vocabulary)
    if not said:
        return f"The catalogue does not say the {spoken(attribute)} of {named(item)}."
    return f"{named(item)}: {spoken(attribute)} {said}."


def described(item: Item, vocabulary: Vocabulary) -> str:
    """All that is worth saying about an item in a few lines."""
    said = _attributes(item, vocabulary)[:MOST_ATTRIBUTES]
    first = f"{named(item)}: {'; '.join(f'{spoken(name)} {value}' for name, value in said)}." if said else ""
    text = data(item.text, TEXT_CHARS)
    if text:
        first += ("\n" if first else f"{named(item)}: ") + (f"(written by genrec) {text}" if "text" in item.generated else text)
    return first or f"Of {named(item)} the catalogue has no more than the title."


def compared(items: Sequence[Item], vocabulary: Vocabulary) -> str:
    """What differs between items, attribute by attribute, then what they share."""
    names = [name for name in vocabulary.schema if not _is_id(name) and any(name in item.attributes for item in items)]
    differ, same = [], []
    for name in names:
        values = [valued(name, item.attributes.get(name, ()), vocabulary) for item in items]
        if not any(values) or any(len(value) > 200 for value in values):
            continue
        if len(set(values)) == 1:
            same.append(f"{spoken(name)} {values[0]}")
        else:
            differ.append((spoken(name), values))
    if not differ:
        return "\n".join(described(item, vocabulary) for item in items)
    lines = [
        f"{named(item)}: "
        + "; ".join(f"{name} {values[place] or 'not given'}" for name, values in differ[:MOST_ATTRIBUTES])
        + "."
        for place, item in enumerate(items)
    ]
    if same:
        lines.append(f"{'Both' if len(items) == 2 else 'All'}: {'; '.join(same[:MOST_ATTRIBUTES])}.")
    return "\n".join(lines)


def foremost(items: Sequence[Item], attribute: str, direction: str, vocabulary: Vocabulary) -> str:
    """Which of the items has least (`<`) or most of a number; empty where none has it."""
    values = {item: value for item in items if (value := number_of(item, attribute)) is not None}
    if not values:
        return ""
    best = min(values.values()) if direction == "<" else max(values.values())
    found = [item for item, value in values.items() if value == best]
    said = valued(attribute, found[0].attributes[attribute], vocabulary)
    return f"{listed([named(item) for item in found])}: {spoken(attribute)} {said}{', alike' if len(found) > 1 else ''}."


def _attributes(item: Item, vocabulary: Vocabulary) -> list[tuple[str, str]]:
    said = [(name, valued(name, item.attributes[name], vocabulary)) for name in vocabulary.schema if name in item.attributes]
    return [(name, value) for name, value in said if value and not value.startswith(("http", "www")) and not _is_id(name)]


def _is_id(name: str) -> bool:
    return name == "id" or name.endswith(("_id", "Id", "_url", "ASIN", "_uri"))
