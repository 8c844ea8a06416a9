"""What a turn leaves of the wishes before it."""

import pytest

from genrec.dialogue.critiques import Command
from genrec.dialogue.linking import Linker
from genrec.dialogue.parsing import Parser
from genrec.dialogue.policy import drafted
from genrec.dialogue.state import Turn, state_of
from tests.dialogue import catalogues

ITEMS = catalogues.films()
PARSER = Parser(catalogues.FILMS, Linker(ITEMS))


@pytest.mark.parametrize(
    ("text", "needs"),
    [
        ("No, something about submarines.", ("whales", "submarines")),
        ("Hmm, not quite. Make it about submarines.", ("whales", "submarines")),
        ("Not those. I'd like something about submarines.", ("whales", "submarines")),
        ("Can you recommend a film about submarines?", ("submarines",)),
    ],
)
def test_a_fault_found_adds_to_what_is_searched_and_a_new_request_begins_anew(text: str, needs: tuple[str, ...]) -> None:
    state = state_of([Turn(text="something about whales", intent="recommend", needs=("whales",), shown=(ITEMS[0].item_id,))])
    understood = PARSER.parse(text, ongoing=True)
    draft = drafted(understood, state, Command(), {ITEMS[0].item_id: ITEMS[0]}, lambda _: 0.0, catalogues.FILMS)
    assert draft.turn.needs == needs
