"""Free attributes: they come back with their types, and the catalogue's schema follows them."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genrec.store.records import Changes
from genrec.store.store import Store
from genrec.types import AttributeValue, Item

from .test_contract import FULL, typed

scalars = st.one_of(
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20),
)
names = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=20)
attribute_maps = st.dictionaries(names, st.one_of(scalars, st.lists(scalars, max_size=4).map(tuple)), max_size=6)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(attributes=attribute_maps)
def test_any_attributes_come_back_typed(store: Store, attributes: dict[str, AttributeValue]) -> None:
    store.put_items([Item(item_id="x", attributes=attributes)])
    assert typed(store.item("x").attributes) == typed(attributes)
    again = dict(reversed(attributes.items()))
    assert store.put_items([Item(item_id="x", attributes=again)]) == Changes(unchanged=1)  # their order is no content
    schema = store.schema()
    for name, value in attributes.items():
        assert value == () or (name in schema and schema[name][1] >= isinstance(value, tuple))


class TestSchema:
    def test_types_of_the_attributes_seen(self, store: Store) -> None:
        store.put_items([FULL])
        assert store.schema() == {
            "colour": ("boolean", False),
            "genres": ("text", True),
            "odd.name[0]": ("text", False),
            "score": ("number", False),
            "year": ("number", False),
        }

    @pytest.mark.parametrize(
        ("first", "second", "result"),
        [
            (1, 2.5, ("number", False)),
            (1, "x", ("text", False)),
            (True, 1, ("text", False)),
            ("x", ("y",), ("text", True)),
            ((1,), 2, ("number", True)),
            ((), 2, ("number", False)),
            ((1, "x"), (), ("text", True)),
        ],
    )
    def test_widens_within_a_call_and_across_calls(
        self, store: Store, first: AttributeValue, second: AttributeValue, result: tuple
    ) -> None:
        store.put_items([Item(item_id="1", attributes={"one": first}), Item(item_id="2", attributes={"one": second})])
        store.put_items([Item(item_id="1", attributes={"two": first})])
        store.put_items([Item(item_id="2", attributes={"two": second})])
        assert store.schema() == {"one": result, "two": result}

    def test_thousands_of_attributes(self, store: Store) -> None:
        wide = {f"a{number}": number for number in range(10_000)}
        store.put_items([Item(item_id="wide", attributes=wide)])
        assert store.item("wide").attributes == wide
        assert len(store.schema()) == 10_000
