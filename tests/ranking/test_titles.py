"""How far titles are read: the shortest start that no other title has, up to a word's end."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.errors import ConfigError
from genrec.llm.fake import FakeLLM
from genrec.llm.protocol import Likelihood
from genrec.prompts import Prompts
from genrec.ranking.prompter import Profile, Prompter, Titles
from genrec.ranking.ranker import Ranker
from genrec.settings.sections import RankSettings
from genrec.types import Item
from tests.ranking.lists import a_list

FILMS = (" Alien\n", " Aliens\n", " Star Trek: First Contact\n", " Star Trek: Generations\n", " Star Wars\n", " The Fly\n")


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (" Alien\n", " Alien\n"),  # `Aliens` begins with ` Alien`
        (" Aliens\n", " Aliens"),
        (" Star Trek: First Contact\n", " Star Trek: First"),
        (" Star Wars\n", " Star Wars"),
        (" The Fly\n", " The"),
        (" Star Trek: First Contact II\n", " Star Trek: First Contact II"),  # no title of the catalogue
        (" Zodiac\n", " Zodiac"),
    ],
)
def test_a_title_is_read_until_it_is_told_from_the_others(line: str, wanted: str) -> None:
    assert Titles(FILMS).distinct(line) == wanted


def test_the_same_title_twice_is_one() -> None:
    assert Titles([*FILMS, *FILMS]).distinct(" Star Wars\n") == " Star Wars"


def test_a_catalogue_of_one_title() -> None:
    assert Titles([" The Fly\n"]).distinct(" The Fly\n") == " The"


LINES = st.lists(st.text("ab \u00a0", min_size=1, max_size=8).map(lambda text: f" {text}\n"), min_size=1, max_size=20)


@given(LINES)
def test_no_other_line_begins_so_and_nothing_shorter_would_do(lines: list[str]) -> None:
    titles = Titles(lines)
    for line in lines:
        read = titles.distinct(line)
        others = [other for other in lines if other != line]
        assert line.startswith(read)
        assert read
        if read != line:
            assert not any(other.startswith(read) for other in others)
            assert line[len(read)].isspace()  # whole words
        ends = [at for at in range(1, len(read)) if line[at].isspace() and not line[at - 1].isspace()]
        assert all(any(other.startswith(line[:end]) for other in others) for end in ends)


def items(*titles: str) -> list[Item]:
    return [Item(item_id=f"i{n}", title=title) for n, title in enumerate(titles)]


def test_requests_ask_for_the_start_and_show_the_whole() -> None:
    catalogue = items("Star Wars", "Star Trek", "The Fly")
    prompter = Prompter(Prompts(), history=4, title_chars=80, catalogue=catalogue)
    request = prompter.request("likelihood", Profile(history=(catalogue[2],)), catalogue)
    assert isinstance(request, Likelihood)
    assert request.continuations == (" Star Wars", " Star Trek", " The")
    assert "The Fly" in request.context
    plain = Prompter(Prompts(), history=4, title_chars=80).request("likelihood", Profile(), catalogue)
    assert isinstance(plain, Likelihood)
    assert plain.continuations == (" Star Wars\n", " Star Trek\n", " The Fly\n")


async def test_a_ranker_reads_its_catalogue_if_it_is_told_to() -> None:
    asked = a_list(titles=["Star Wars", "Star Trek", "The Fly"])
    told = RankSettings(method="likelihood", unique_prefix=True, per_token=False)
    ranker = Ranker(FakeLLM(), Prompts(), told, catalogue=lambda: asked.candidates)
    whole = Ranker(FakeLLM(), Prompts(), told.model_copy(update={"unique_prefix": False}), catalogue=lambda: asked.candidates)
    ((short,), (long,)) = await ranker.rank([asked]), await whole.rank([asked])
    assert short.prompt_tokens < long.prompt_tokens
    assert not np.allclose(short.llm, long.llm)
    # an item that is no candidate counts, too: "The" is no longer enough
    more = Ranker(
        FakeLLM(), Prompts(), told, catalogue=lambda: [*asked.candidates, replace_title(asked.candidates[2], "The Thing")]
    )
    (longer,) = await more.rank([asked])
    assert short.prompt_tokens < longer.prompt_tokens


def replace_title(item: Item, title: str) -> Item:
    return replace(item, item_id="another", title=title)


def test_without_a_catalogue_it_is_refused() -> None:
    with pytest.raises(ConfigError, match="unique_prefix") as caught:
        Ranker(FakeLLM(), Prompts(), RankSettings(unique_prefix=True))
    assert caught.value.hint
