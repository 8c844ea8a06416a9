"""What captions change: search, filters, lists, reasons. And that all say which words were generated."""

import json
from pathlib import Path
from typing import Any

import pytest

from genrec.recommender import Recommender
from genrec.types import Item, StoredCaption
from genrec.workspace.folder import Workspace
from tests import shop
from tests.captions.world import ALL, ALONE, BEHAVIOUR
from tests.cli.command import genrec as command

TITLE, TEXT = "Zanzibar Lighthouse", "A lighthouse keeper in Zanzibar."
OTHER = "A wedding in Rome."
CAPTION = StoredCaption(item_id=ALONE, title=TITLE, text=TEXT, tags=("lighthouse",), model="m", made_at=1.0)


@pytest.fixture
def captioned(blanked: Path) -> Path:
    with Workspace.open(blanked) as workspace:
        workspace.store.put_captions(
            [CAPTION, *(StoredCaption(item_id=one, title=f"Film of {one}", text=OTHER) for one in BEHAVIOUR)]
        )
    return blanked


def test_a_captioned_item_is_found_by_words_and_filters_once_built(captioned: Path) -> None:
    options: dict[str, Any] = {"rank": "off", "explain": "template"}
    with Recommender.open(captioned) as genrec:
        before = genrec.recommend(shop.COLD, 5, query="lighthouse in Zanzibar", **options)
        assert before[0].item.item_id != ALONE
        first, second = genrec.build(), genrec.build()
        assert 0 < first.encoded["text"] < 20  # the others are as they were
        assert second.encoded["text"] == 0
        found = genrec.recommend(shop.COLD, 5, query="lighthouse in Zanzibar", **options)
        assert found[0].item.item_id == ALONE
        assert found[0].item.generated == ("title", "text", "tags")
        assert found[0].reason.generated == (ALONE,)
        (only,) = genrec.recommend("u00", 5, filter='tags has "lighthouse"', **options)
        assert only.item.item_id == ALONE
        with Workspace.open(captioned) as workspace:  # a person's words are nobody's but theirs
            workspace.store.put_captions([StoredCaption(item_id=ALONE, source="human", title="Mine", text="By me.", tags=())])
        shown = genrec.recommend(shop.COLD, 60, query="lighthouse", **options)
        assert {row.item.item_id: row.item.generated for row in shown}[ALONE] == ()


def test_lists_mark_what_was_generated(captioned: Path) -> None:
    done = command("build", "-w", captioned)
    assert done.code == 0
    asked = (
        "recommend",
        "-w",
        captioned,
        "-u",
        shop.COLD,
        "--query",
        "lighthouse in Zanzibar",
        "-k",
        "3",
        "--explain",
        "template",
    )
    rows = [json.loads(line) for line in command(*asked, "--json").out.splitlines()]
    assert rows[0]["title"] == TITLE
    assert rows[0]["item"]["generated"] == ["title", "text", "tags"]
    assert rows[0]["reason"]["generated"] == [ALONE]
    done = command(*asked)
    assert f"{TITLE} *" in " ".join(done.out.split())
    assert "* with words that genrec wrote" in done.err
    done = command("recommend", "-w", captioned, "-u", "u00", "-k", "1", "--explain", "off", "--filter", 'country = "France"')
    assert "genrec wrote" not in done.err


@pytest.mark.parametrize("describe", [True, False])
def test_a_reason_by_template_may_quote_a_caption_as_generated(captioned: Path, describe: bool) -> None:
    with Workspace.open(captioned) as workspace:
        workspace.store.put_items(
            [Item(item_id=item.item_id, title=item.title) for batch in workspace.store.all_items(given=True) for item in batch]
        )
    assert command("build", "-w", captioned).code == 0
    with Recommender.open(captioned, settings={"reasons": {"describe": describe}}) as genrec:
        rows = genrec.recommend("u00", 60, rank="off", explain="template")
        told = [row for row in rows if "Described by genrec as:" in row.reason.text]
        described = {row.item.item_id for row in told}
        assert described == ({ALONE, *BEHAVIOUR} & {row.item.item_id for row in rows} if describe else set())
        for row in told:
            assert row.reason.text.endswith(f'Described by genrec as: "{row.item.text.rstrip(".")}".')
            assert row.reason.evidence[-1].kind == "caption"
            assert row.item.item_id in row.reason.generated
        assert rows


def test_python_writes_captions_and_lists_show_them_at_once(blanked: Path) -> None:
    with Recommender.open(blanked, settings={"caption": {"write": "template"}}) as genrec:
        done = genrec.caption(items=BEHAVIOUR)
        assert (done.written, done.sources) == (2, {"template": 2})
        assert all(item.title for item in genrec.workspace.store.items(BEHAVIOUR).values())
        assert genrec.caption(only="text", build=True).written == len(ALL) - len(BEHAVIOUR) - 1
        assert genrec.caption().written == 1
        built = (blanked / "build.json").read_bytes()
        assert genrec.caption(new=True).written == 0
        assert (blanked / "build.json").read_bytes() == built
        assert genrec.caption(new=True, build=True).written == 0
        assert (blanked / "build.json").read_bytes() != built  # the last captions were not in it
        assert genrec.caption(rewrite=True, limit=2).written == 2
