"""What turns are understood by: the catalogue's titles and values, read once from the store."""

from collections.abc import Mapping
from dataclasses import dataclass

from genrec.dialogue.linking import Linker
from genrec.dialogue.parsing import Parser
from genrec.dialogue.vocabulary import Vocabulary
from genrec.filters import Field
from genrec.store.store import Store


@dataclass(frozen=True, slots=True)
class Lexicon:
    """`popularity`: how many people chose an item."""

    linker: Linker
    vocabulary: Vocabulary
    popularity: Mapping[str, int]

    @classmethod
    def read(cls, store: Store, schema: Mapping[str, Field]) -> "Lexicon":
        """About 3 seconds for 100,000 items. Raises StoreError."""
        items = [item for batch in store.all_items() for item in batch]
        popularity = dict(store.popularity())
        made = cls(Linker(items, popularity), Vocabulary.of(items, schema), popularity)
        Parser(made.vocabulary, made.linker).parse("anything")  # its tables are made by the first turn: not a person's
        return made
