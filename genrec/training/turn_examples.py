"""Examples of turns and what they say: read from files, varied from pass to pass, and how right a reading of them is."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from genrec.data.example_files import checked, checked_object, checked_texts, read_lines
from genrec.errors import DataError
from genrec.filters import AttributeType, Field
from genrec.llm.protocol import WriteRequest
from genrec.prompts import Prompts, shipped_folder
from genrec.types import Item, Scalar
from genrec.understanding.linking import Linker
from genrec.understanding.llm_reader import Context, prompt, request_of
from genrec.understanding.parser import Parser, Understood, tidied
from genrec.understanding.turn_schema import ALL, FEELINGS, TurnReading, View, line, reading_of, view_of
from genrec.understanding.vocabulary import Vocabulary

EVERY = 10
"""Of so many catalogues, in the order of their names, one is held out to choose by, and one that is only measured on."""
_TYPES: Mapping[str, AttributeType] = {"text": "text", "number": "number", "boolean": "boolean"}


@dataclass(frozen=True)
class Shop:
    """A small catalogue: `attributes` as the file gives them, name → {type, list, values}; `titles` of its items."""

    name: str
    attributes: Mapping[str, Mapping[str, Any]]
    titles: tuple[str, ...]

    @cached_property
    def vocabulary(self) -> Vocabulary:
        schema = {name: Field(_TYPES[told["type"]], bool(told.get("list"))) for name, told in self.attributes.items()}
        return Vocabulary(schema, {name: _counted(told) for name, told in self.attributes.items()})

    @cached_property
    def linker(self) -> Linker:
        return Linker([Item(item_id=str(place), title=title) for place, title in enumerate(self.titles)])


@dataclass(frozen=True)
class Turn:
    """One example. `out`: what is to be written, as `hearing.line` writes it."""

    shop: Shop
    text: str
    context: Context
    out: Mapping[str, Any]

    @cached_property
    def view(self) -> View:
        return view_of(self.shop.vocabulary, self.text)

    @cached_property
    def heard(self) -> TurnReading:
        """What the turn says. Raises ValueError where `out` is not of this catalogue or not of the turn's words."""
        return reading_of(line(self.out), self.view, self.shop.vocabulary, self.text, strict=True)

    @cached_property
    def parsed(self) -> Understood:
        parser = Parser(self.shop.vocabulary, self.shop.linker)
        return parser.parse(self.text, ongoing=bool(self.context.shown), asked=self.context.asked)

    def prompt(self, prompts: Prompts) -> tuple[str, str]:
        """(prefix, rest) as serving asks an adapter. Raises PromptError."""
        return prompt(prompts, self.view, self.text, self.context, tuned=True)

    def target(self) -> str:
        return f"{line(self.out)}\n"

    def request(self, prompts: Prompts, adapter: str) -> WriteRequest:
        return request_of(prompts, self.view, self.text, self.context, adapter=adapter)


def shipped_turns() -> list[Path]:
    """The examples of turns that come with genrec."""
    return sorted((shipped_folder() / "examples").glob("converse*.jsonl"))


def read_turns(paths: Sequence[Path]) -> list[Turn]:
    """Read JSON lines of catalogues and turns (docs/training.md). Raises TableError, or RowError with file and line, also for a
    turn that its catalogue cannot bear out: an adapter learns what it is shown.
    """
    shops: dict[str, Shop] = {}

    def take(row: Any) -> Turn | None:
        if "turn" in checked_object(row, "the line"):
            return _turn(row, shops)
        shop = _shop(row)
        if shop.name in shops:
            raise ValueError(f"there is a catalogue {shop.name!r:.60} already")
        shops[shop.name] = shop
        return None

    found = [one for one in read_lines(paths, take) if one is not None]
    if not found:
        raise DataError("there are no turns", hint="Give --examples files of JSON lines.")
    return found


def parted(turns: Sequence[Turn]) -> tuple[list[Turn], list[Turn], list[Turn]]:
    """(learned from, chosen by, only measured), by whole catalogues: what is measured on was never seen."""
    names = sorted({one.shop.name for one in turns})
    place = {name: number % EVERY for number, name in enumerate(names)}
    chosen, measured = EVERY - 1, EVERY // 2 - 1
    return (
        [one for one in turns if place[one.shop.name] not in (chosen, measured)],
        [one for one in turns if place[one.shop.name] == chosen],
        [one for one in turns if place[one.shop.name] == measured],
    )


def summary(turns: Sequence[Turn]) -> dict[str, Any]:
    """For the card."""
    return {"turns": len(turns), "catalogues": len({one.shop.name for one in turns})}


def _shop(row: dict[str, Any]) -> Shop:
    attributes = checked(row, "attributes", dict)
    for name, told in attributes.items():
        kind = checked(checked_object(told, name), "type", str)
        values = checked(told, "values", list) if kind != "boolean" else []
        wanted: type | tuple[type, ...] = str if kind == "text" else (int, float)
        if kind not in _TYPES or not all(isinstance(one, wanted) for one in values) or (kind != "boolean" and not values):
            raise ValueError(f"attributes: {name} is {told!r:.80}, it must have a type and values of it")
        if kind == "text" and len(values) > ALL:
            raise ValueError(f"attributes: {name} has {len(values)} values, at most {ALL} are shown")
    return Shop(checked(row, "catalogue", str), attributes, checked_texts(row, "titles"))


def _turn(row: dict[str, Any], shops: Mapping[str, Shop]) -> Turn:
    name = checked(row, "catalogue", str)
    if name not in shops:
        raise ValueError(f"no catalogue {name!r:.60} stands above it")
    shop, text = shops[name], checked(row, "turn", str)
    if text != tidied(text):
        raise ValueError("the turn has spaces or signs that are taken out of what people say")
    shown = checked_texts(row, "shown") if "shown" in row else ()
    asked = checked(row, "asked", str) if "asked" in row else ""
    if unknown := sorted({*shown} - {*shop.titles}):
        raise ValueError(f"shown: the catalogue has no {unknown[0]!r:.60}")
    if asked and asked not in shop.attributes:
        raise ValueError(f"asked: the catalogue has no attribute {asked!r:.60}")
    turn = Turn(shop, text, Context(shown=shown, asked=asked), checked_object(row.get("out"), "out"))
    heard = turn.heard
    if heard.about and heard.intent != "ask":
        raise ValueError("about is of questions alone")
    _titled(turn, heard)
    return turn


def _titled(turn: Turn, heard: TurnReading) -> None:
    """Raises ValueError for a title that is no part of one of the catalogue's."""
    known = [_letters(title) for title in turn.shop.titles]
    for title in (one for name in FEELINGS for one in getattr(heard, name)):
        words = [_letters(word) for word in title.split() if word not in ("from", "one", "the", "and")]
        if not any(all(word in whole for word in words) for whole in known):
            raise ValueError(f"no title of the catalogue is {title!r:.60}")


def _letters(text: str) -> str:
    return "".join(letter for letter in text.casefold() if letter.isalnum())


def _counted(told: Mapping[str, Any]) -> dict[Scalar, int]:
    """Values to how often they occur: the first one most often."""
    values: Iterable[Scalar] = (True, False) if told["type"] == "boolean" else told["values"]
    return {value: 100 - place for place, value in enumerate(values)}
