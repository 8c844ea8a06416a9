"""Catalogues as unkind as other people's tables: names that look like paths, values of the wrong type, and filters over them."""

from hypothesis import strategies as st

from genrec.filters import And, AttributeType, Compare, Field, Filter, Has, In, Not, Or
from genrec.types import AttributeValue, Item, Scalar

NAMES = ["a", "a.b", "a[]", "a[0].b", "f0", "id", 'x"y', "x y", "", "日本", "a`b", "a\n", "__proto__", "item_id "]
VALUES: dict[str, st.SearchStrategy[Scalar]] = {
    "text": st.sampled_from(["", "a", "A", "a b", "é", "1", "true", "x" * 300]),
    "number": st.sampled_from([0, -0.0, 1, 1.5, -2, 1e300, 2**53, 0.1 + 0.2, 0.3]),
    "boolean": st.booleans(),
}


TYPES: list[AttributeType] = ["text", "number", "boolean"]
HOSTILE = {name: Field(TYPES[n % 3], is_list=n % 2 == 0) for n, name in enumerate(NAMES)}
"""Names that an engine could read as a path, with each type as scalar and as list."""


@st.composite
def catalogue(draw: st.DrawFn) -> tuple[list[Item], list[Filter]]:
    """Items that may lack or mistype any attribute of HOSTILE, and filters over them."""
    schema = {name: HOSTILE[name] for name in draw(st.sets(st.sampled_from(NAMES), min_size=1, max_size=4))}
    any_value = st.one_of(*VALUES.values())

    def attribute(field: Field) -> st.SearchStrategy[AttributeValue]:
        own = VALUES[field.type]
        return (
            st.one_of(own, st.lists(own, max_size=3).map(tuple), any_value) if field.is_list else st.one_of(own, own, any_value)
        )

    attributes = st.fixed_dictionaries({}, optional={name: attribute(field) for name, field in schema.items()})
    items = [Item(item_id=f"i{n}", attributes=draw(attributes)) for n in range(draw(st.integers(1, 5)))]

    def leaf(name: str) -> st.SearchStrategy[Filter]:
        own = VALUES[schema[name].type]
        operators = ["==", "!="] + (["<", "<=", ">", ">="] if schema[name].type == "number" else [])
        return st.one_of(
            st.builds(Compare, st.just(name), st.sampled_from(operators), own),
            st.builds(Has, st.just(name), own),
            st.builds(In, st.just(name), st.lists(own, max_size=3).map(tuple)),
        )

    tree = st.recursive(
        st.sampled_from(sorted(schema)).flatmap(leaf),
        lambda inner: st.one_of(
            st.builds(And, st.lists(inner, max_size=3).map(tuple)),
            st.builds(Or, st.lists(inner, max_size=3).map(tuple)),
            st.builds(Not, inner),
        ),
        max_leaves=6,
    )
    return items, draw(st.lists(tree, min_size=1, max_size=6))
