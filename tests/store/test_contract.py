"""What a store promises, on every database it runs on."""

import threading
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from genrec.errors import DataError, StoreError, UnknownItemError, UnknownUserError
from genrec.store.records import Changes, Counts, Forgotten
from genrec.store.store import Store
from genrec.types import AttributeValue, Event, Item, User

Open = Callable[[str], Store]

FULL = Item(
    item_id="m1",
    platform="films",
    title="Amélie",
    text="Un conte\nà Montmartre — \u200fקסם",
    attributes={"year": 2001, "score": 8.0, "colour": True, "genres": ("Comedy", "Romance"), "odd.name[0]": "x", "none": ()},
    image="media/ab/cd.jpg",
    audio="a.ogg",
    video="v.webm",
)


def content(item: Item) -> tuple:
    return (item.item_id, item.platform, item.title, item.text, typed(item.attributes), item.image, item.audio, item.video)


def typed(attributes) -> list:
    """Attributes with the type of every part: 1, 1.0 and True are equal in Python."""
    return [
        (name, type(value), [(type(part), part) for part in (value if isinstance(value, tuple) else (value,))])
        for name, value in attributes.items()
    ]


def event(user: str, item: str, time: float, value: float | None = None, kind: str = "rating") -> Event:
    return Event(user_id=user, item_id=item, timestamp=time, value=value, kind=kind)


def items_of(events: list[Event]) -> list[str]:
    return [one.item_id for one in events]


class TestItems:
    def test_comes_back_as_it_was(self, store: Store) -> None:
        assert store.put_items([FULL]) == Changes(added=1)
        assert content(store.item("m1")) == content(FULL)

    def test_written_again_replaces_the_content_as_a_whole(self, store: Store) -> None:
        store.put_items([FULL, Item(item_id="m2", title="Other")])
        changes = store.put_items([Item(item_id="m1", title="Amelie"), Item(item_id="m2", title="Other"), Item(item_id="m3")])
        assert changes == Changes(added=1, updated=1, unchanged=1)
        assert content(store.item("m1")) == content(Item(item_id="m1", title="Amelie"))

    @pytest.mark.parametrize("field", ["platform", "title", "text", "image", "audio", "video", "attributes"])
    def test_a_change_in_any_field_is_an_update(self, store: Store, field: str) -> None:
        store.put_items([Item(item_id="m1")])
        value: Any = {"a": 1} if field == "attributes" else "new"
        changed = Item(item_id="m1", **{field: value})
        assert store.put_items([changed]) == Changes(updated=1)
        assert getattr(store.item("m1"), field) == value
        assert store.put_items([changed]) == Changes(unchanged=1)

    def test_a_change_of_an_attributes_type_is_an_update(self, store: Store) -> None:
        values: list[AttributeValue] = [1, 1.0, True, "1", (1,)]
        for before, after in pairwise(values):
            store.put_items([Item(item_id="m1", attributes={"a": before})])
            assert store.put_items([Item(item_id="m1", attributes={"a": after})]) == Changes(updated=1)
            assert typed(store.item("m1").attributes) == typed({"a": after})

    def test_the_last_of_equal_ids_wins_and_every_record_is_counted(self, store: Store) -> None:
        first, last = Item(item_id="m1", title="first"), Item(item_id="m1", title="last")
        assert store.put_items([first, last, last]) == Changes(added=1, updated=1, unchanged=1)
        assert store.item("m1").title == "last"

    def test_unknown_item_names_its_neighbours(self, store: Store) -> None:
        store.put_items([Item(item_id=one) for one in ("tt0111161", "tt0068646", "book-9")])
        with pytest.raises(UnknownItemError, match="tt0111611") as caught:
            store.item("tt0111611")
        assert "'tt0111161'" in caught.value.hint
        assert "book-9" not in caught.value.hint
        with pytest.raises(UnknownItemError) as caught:
            store.item("100%_\\")
        assert "mean" not in caught.value.hint

    @pytest.mark.parametrize("odd", ["", "\x00", "\ud800", "x" * 100_000])
    def test_asking_for_what_cannot_be_an_id(self, store: Store, odd: str) -> None:
        with pytest.raises(UnknownItemError):
            store.item(odd)
        with pytest.raises(UnknownUserError):
            store.user(odd)
        assert store.items([odd]) == {}
        assert store.histories([odd]) == {odd: []}
        assert store.get_meta(odd) is None
        assert store.forget(odd) == Forgotten(events=0, profile=False)

    def test_items_come_in_the_order_asked_without_the_unknown(self, store: Store) -> None:
        store.put_items([Item(item_id=str(number)) for number in range(12_000)])
        asked = [str(number) for number in range(12_500, -1, -1)]
        found = store.items([*asked, "5"])
        assert list(found) == asked[501:]
        assert all(key == item.item_id for key, item in found.items())

    def test_all_items_in_batches_by_code_point(self, store: Store) -> None:
        ids = ["b", "B", "a", "ä", "Z", "10", "9", "_", "é", "😀"]
        store.put_items([Item(item_id=one) for one in ids])
        batches = list(store.all_items(batch=4))
        assert [len(batch) for batch in batches] == [4, 4, 2]
        assert [item.item_id for batch in batches for item in batch] == sorted(ids) == store.item_ids()
        with pytest.raises(ValueError, match="batch"):
            next(store.all_items(batch=0))

    def test_writing_while_reading_all_items(self, store: Store) -> None:
        store.put_items([Item(item_id=f"{number:03}") for number in range(10)])
        batches = store.all_items(batch=3)
        assert [item.item_id for item in next(batches)] == ["000", "001", "002"]
        store.put_items([Item(item_id="000b"), Item(item_id="004b")])
        rest = [item.item_id for batch in batches for item in batch]
        assert rest == ["003", "004", "004b", "005", "006", "007", "008", "009"]

    @pytest.mark.parametrize(
        ("record", "field"),
        [
            (Item(item_id=""), "item_id"),
            (Item(item_id="x" * 257), "item_id"),
            (Item(item_id="a\x00b"), "item_id"),
            (Item(item_id="\ud800"), "item_id"),
            (Item(item_id="a", platform="p" * 65), "platform"),
            (Item(item_id="a", title="\x00"), "title"),
            (Item(item_id="a", text="\udfff"), "text"),
            (Item(item_id="a", image="\x00"), "image"),
            (Item(item_id="a", attributes={"": 1}), "name of an attribute"),
            (Item(item_id="a", attributes={"x": float("nan")}), "attribute 'x'"),
            (Item(item_id="a", attributes={"x": (1, float("inf"))}), "attribute 'x'"),
            (Item(item_id="a", attributes={"x": None}), "attribute 'x'"),  # type: ignore[dict-item]
            (Item(item_id="a", attributes={"x": {"y": 1}}), "attribute 'x'"),  # type: ignore[dict-item]
            (Item(item_id="a", attributes={"x": ("\x00",)}), "attribute 'x'"),
            (Item(item_id=7), "item_id"),  # type: ignore[arg-type]
        ],
    )
    def test_what_cannot_be_stored_is_named_and_nothing_is_kept(self, store: Store, record: Item, field: str) -> None:
        with pytest.raises(DataError, match=field) as caught:
            store.put_items([Item(item_id="good"), record])
        assert caught.value.hint
        assert store.item_ids() == []

    def test_longest_ids_fit(self, store: Store) -> None:
        longest = "".join(chr(0x1F300 + number % 256) for number in range(256))  # 4 bytes each
        store.put_items([Item(item_id=longest)])
        one = Event(user_id=longest, item_id=longest, kind=longest[:64], platform=longest[:64])
        assert store.add_events([one]) == Changes(added=1)
        assert store.history(longest) == [one]
        assert store.add_events([one]) == Changes(unchanged=1)


class TestUsers:
    def test_profile_comes_back_and_is_replaced(self, store: Store) -> None:
        user = User(user_id="u1", interests=("jazz", "نقد"), attributes={"age": 30, "tags": ("a", 1.0)})
        assert store.put_users([user]) == Changes(added=1)
        found = store.user("u1")
        assert (found.interests, typed(found.attributes)) == (user.interests, typed(user.attributes))
        assert store.put_users([user, User(user_id="u2")]) == Changes(added=1, unchanged=1)
        assert store.put_users([User(user_id="u1", interests=("blues",))]) == Changes(updated=1)
        assert (store.user("u1").interests, store.user("u1").attributes) == (("blues",), {})

    def test_a_user_is_known_by_events_alone(self, store: Store) -> None:
        store.put_users([User(user_id="b")])
        store.add_events([event("a", "i", 1), event("b", "i", 1), event("Z", "i", 1)])
        assert store.user("a").interests == ()
        assert store.user_ids() == ["Z", "a", "b"]
        with pytest.raises(UnknownUserError, match="'c'") as caught:
            store.user("c")
        assert caught.value.hint

    def test_refuses_bad_profiles(self, store: Store) -> None:
        with pytest.raises(DataError, match="interest"):
            store.put_users([User(user_id="a", interests=("\x00",))])
        with pytest.raises(DataError, match="attribute 'x'"):
            store.put_users([User(user_id="a", attributes={"x": float("nan")})])
        with pytest.raises(DataError, match="user_id"):
            store.put_users([User(user_id="")])


class TestEvents:
    def test_comes_back_as_it_was(self, store: Store) -> None:
        exact = Event(user_id="u", item_id="i", timestamp=874965758.123456, kind="view", value=0.1, platform="tv")
        bare = Event(user_id="u", item_id="i", timestamp=-1.5)
        assert store.add_events([exact, bare]) == Changes(added=2)
        assert store.history("u") == [bare, exact]

    def test_a_repeat_takes_the_new_value(self, store: Store) -> None:
        store.add_events([event("u", "i", 1, 3.0), event("u", "j", 1)])
        repeat = [event("u", "i", 1, 4.0), event("u", "j", 1), event("u", "k", 1)]
        assert store.add_events(repeat) == Changes(added=1, updated=1, unchanged=1)
        assert [(one.item_id, one.value) for one in store.history("u")] == [("i", 4.0), ("j", None), ("k", None)]
        assert store.add_events([event("u", "i", 1, None)]) == Changes(updated=1)
        assert store.history("u")[0].value is None

    def test_repeats_within_a_call(self, store: Store) -> None:
        same = [event("u", "i", 0.0, value) for value in (1.0, 2.0, 2.0)]
        assert store.add_events([*same, event("u", "i", -0.0, 2.0)]) == Changes(added=1, updated=1, unchanged=2)
        assert [one.value for one in store.history("u")] == [2.0]

    def test_each_part_of_the_key_makes_another_event(self, store: Store) -> None:
        key: dict = {"user_id": "u", "item_id": "i", "timestamp": 1.0, "kind": "k", "platform": "p"}
        others = [Event(**{**key, name: 2.0 if name == "timestamp" else "other"}) for name in key]
        assert store.add_events([Event(**key), *others]) == Changes(added=6)

    def test_history_is_by_time_then_insertion(self, store: Store) -> None:
        store.add_events([event("u", item, 5) for item in ("z", "a", "m")])
        store.add_events([event("u", "late", 9), event("u", "early", 1), event("u", "b", 5), event("v", "other", 5)])
        assert items_of(store.history("u")) == ["early", "z", "a", "m", "b", "late"]
        assert items_of(store.history("u", limit=4)) == ["a", "m", "b", "late"]
        assert store.history("u", limit=0) == []
        assert store.history("nobody") == []
        with pytest.raises(ValueError, match="limit"):
            store.history("u", limit=-1)

    def test_a_repeat_keeps_its_place(self, store: Store) -> None:
        store.add_events([event("u", "first", 5, 1.0), event("u", "second", 5)])
        store.add_events([event("u", "first", 5, 2.0)])
        assert items_of(store.history("u")) == ["first", "second"]

    @pytest.mark.parametrize("limit", [None, 2])
    def test_histories_of_many_are_those_of_each(self, store: Store, limit: int | None) -> None:
        store.add_events([event(f"u{number % 6000}", f"i{number}", -number) for number in range(20_000)])
        asked = [f"u{number}" for number in range(6_001)]
        found = store.histories(asked, limit)
        assert list(found) == asked
        assert found["u6000"] == []
        assert sum(map(len, found.values())) == (20_000 if limit is None else 12_000)
        for user_id in ("u0", "u5999", "u1234"):
            assert found[user_id] == store.history(user_id, limit)

    def test_interactions_are_the_histories_as_arrays(self, store: Store) -> None:
        rng = np.random.default_rng(3)
        given_ = [
            replace(
                event(
                    f"u{rng.integers(20)}", f"i{rng.integers(50)}", float(rng.integers(5)), [None, 2.5][rng.integers(2)], f"k{n}"
                ),
                platform=("", "shop", "Shop")[n % 3],
            )
            for n in range(500)
        ]
        store.add_events(given_)
        table = store.interactions()
        assert len(table) == 500
        columns = (table.users, table.items, table.values, table.timestamps, table.kinds, table.platforms)
        assert [column.dtype.name for column in columns] == ["int32", "int32", "float32", "float64", "int16", "int16"]
        assert (table.kind_names, table.platform_names) == (sorted(f"k{n}" for n in range(500)), ["", "Shop", "shop"])
        assert (table.user_ids, table.item_ids) == (store.user_ids(), sorted({one.item_id for one in given_}))
        told = [
            Event(
                user_id=table.user_ids[user],
                item_id=table.item_ids[item],
                value=None if np.isnan(value) else float(value),
                timestamp=float(time),
                kind=table.kind_names[kind],
                platform=table.platform_names[platform],
            )
            for user, item, value, time, kind, platform in zip(*columns, strict=True)
        ]
        assert told == [one for past in store.histories(store.user_ids()).values() for one in past]

    def test_too_many_kinds_of_event_for_arrays(self, sqlite_url: str, opened: Open) -> None:
        store = opened(sqlite_url)
        store.add_events([event("u", "i", 1, kind=f"k{n}") for n in range(32_768)])
        assert len(store.interactions().kind_names) == 32_768
        store.add_events([event("u", "i", 1, kind="one more")])
        with pytest.raises(StoreError, match=r"more than 32,768 distinct kinds or platforms") as raised:
            store.interactions()
        assert "map columns with few distinct values" in raised.value.hint

    def test_popularity_counts_people(self, store: Store) -> None:
        store.add_events([event("u", "b", 1), event("u", "b", 2), event("u", "c", 1), event("v", "c", 1), event("v", "a", 1)])
        assert store.popularity() == [("c", 2), ("a", 1), ("b", 1)]
        assert store.popularity(limit=1) == [("c", 2)]
        with pytest.raises(ValueError, match="limit"):
            store.popularity(limit=-1)

    @pytest.mark.parametrize(
        ("record", "field"),
        [
            (event("", "i", 1), "user_id"),
            (event("u", "", 1), "item_id"),
            (event("u", "i", float("nan")), "timestamp"),
            (event("u", "i", float("inf")), "timestamp"),
            (event("u", "i", 1, float("nan")), "value"),
            (event("u", "i", 1, kind="k" * 65), "kind"),
            (Event(user_id="u", item_id="i", platform="\x00"), "platform"),
            (Event(user_id="u", item_id="i", timestamp=None), "timestamp"),  # type: ignore[arg-type]
        ],
    )
    def test_what_cannot_be_stored_is_named_and_nothing_is_kept(self, store: Store, record: Event, field: str) -> None:
        with pytest.raises(DataError, match=field):
            store.add_events([event("u", "good", 1), record])
        assert store.counts().events == 0


class TestWholeStore:
    def test_empty(self, store: Store) -> None:
        assert store.put_items([]) == store.put_users([]) == store.add_events([]) == Changes()
        assert store.counts() == Counts(items=0, users=0, events=0, platforms=0, triples=0)
        assert (store.item_ids(), store.user_ids(), store.popularity(), list(store.all_items())) == ([], [], [], [])
        assert (store.items([]), store.histories([]), store.schema()) == ({}, {}, {})
        table = store.interactions()
        assert (len(table), table.user_ids, table.item_ids, table.values.dtype) == (0, [], [], np.float32)
        assert (table.kind_names, table.platform_names, table.kinds.dtype, table.platforms.dtype) == ([], [], np.int16, np.int16)

    def test_counts(self, store: Store) -> None:
        store.put_items([Item(item_id="1", platform="a"), Item(item_id="2", platform="b"), Item(item_id="3")])
        store.put_users([User(user_id="u"), User(user_id="v")])
        store.add_events([Event(user_id="v", item_id="1", platform="c"), Event(user_id="w", item_id="1", platform="a")])
        assert store.counts() == Counts(items=3, users=3, events=2, platforms=3, triples=0)

    def test_forgets_a_person_and_no_other(self, store: Store) -> None:
        store.put_users([User(user_id="u", interests=("x",)), User(user_id="v")])
        store.add_events([event("u", "i", 1), event("u", "j", 2), event("v", "i", 1)])
        assert store.forget("u") == Forgotten(events=2, profile=True)
        assert store.forget("u") == Forgotten(events=0, profile=False)
        assert (store.user_ids(), store.history("u"), items_of(store.history("v"))) == (["v"], [], ["i"])
        with pytest.raises(UnknownUserError):
            store.user("u")

    def test_meta(self, store: Store) -> None:
        value = {"list": [1, 1.5, True, None, "é"], "nested": {"a": {}}}
        assert store.get_meta("k") is None
        store.set_meta("k", value)
        store.set_meta("other", 0)
        assert (store.get_meta("k"), store.get_meta("other")) == (value, 0)
        store.set_meta("k", "new")
        assert store.get_meta("k") == "new"
        store.set_meta("k", None)
        assert store.get_meta("k") is None
        for bad in (object(), float("nan"), "\ud800", {"a": {1, 2}}):
            with pytest.raises(DataError, match="meta 'k'"):
                store.set_meta("k", bad)
        with pytest.raises(DataError, match="meta key"):
            store.set_meta("", 1)

    def test_all_is_there_after_reopening(self, url: str, opened: Open) -> None:
        with Store.open(url) as first:
            first.put_items([FULL])
            first.put_users([User(user_id="u", interests=("x",))])
            first.add_events([event("u", "m1", 1, 5.0)])
            first.set_meta("k", 1)
        with pytest.raises(StoreError, match="closed"):
            first.counts()
        second = opened(url)
        assert content(second.item("m1")) == content(FULL)
        assert (second.user("u").interests, second.history("u")[0].value, second.get_meta("k")) == (("x",), 5.0, 1)
        assert second.schema()["genres"] == ("text", True)

    def test_two_stores_and_many_threads_write_at_once(self, url: str, opened: Open) -> None:
        stores = [opened(url), opened(url)]
        totals: list[Changes] = []
        faults: list[BaseException] = []

        def work(number: int) -> None:
            mine = stores[number % 2]
            order = range(40) if number % 2 else range(39, -1, -1)  # opposite orders provoke deadlocks
            try:
                for turn in range(6):
                    totals.append(mine.add_events([event("shared", f"i{one}", turn) for one in order]))
                    mine.put_items([Item(item_id=f"{number}-{turn}", attributes={f"a{number}": turn})])
            except StoreError as error:
                faults.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert faults == []
        total = sum(totals, Changes())
        assert (total.added, total.unchanged) == (240, 5 * 240)  # each event was new to exactly one writer
        assert stores[0].counts() == Counts(items=36, users=1, events=240, platforms=0, triples=0)
        assert len(stores[1].schema()) == 6
