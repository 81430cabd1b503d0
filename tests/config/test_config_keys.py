from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.config.layers import Branch, Leaf, Place, child, join_key, plain, printable, split_key, with_child, without

NAMES = st.text(min_size=1, max_size=12)


@given(st.lists(NAMES, min_size=1, max_size=5).map(tuple))
def test_a_joined_key_splits_into_the_same_names(path: tuple[str, ...]) -> None:
    assert split_key(join_key(path)) == path


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("defaults.image", ("defaults", "image")),
        ('workspaces."next.js".path', ("workspaces", "next.js", "path")),
        ("port", ("port",)),
        ("", None),
        (".", None),
        ("a.", None),
        (".a", None),
        ("a..b", None),
        ('a."b', None),
        ('"a"b', None),
    ],
)
def test_keys_are_cut_at_dots_outside_quotes(key: str, path: tuple[str, ...] | None) -> None:
    assert split_key(key) == path


@given(st.text())
def test_printable_text_cannot_move_a_cursor(text: str) -> None:
    assert printable(text).isprintable()


def test_what_is_put_into_a_tree_is_found_and_can_be_taken_out() -> None:
    place = Place("f", 3, 4)
    empty = Branch({}, Place("f"))
    tree = with_child(empty, ("a", "b", "c"), Leaf(1, place))
    assert plain(tree) == {"a": {"b": {"c": 1}}}
    assert child(tree, "a", "b", "c") == Leaf(1, place)
    assert child(tree, "a", "b", "c", "d") is None
    assert plain(without(tree, "a", "b", "c")) == {"a": {"b": {}}}
    assert without(tree, "x", "y") == tree
    assert plain(empty) == {}
    assert str(place) == "f:3:4"
    assert str(Place("env NEXUS_IMAGE")) == "env NEXUS_IMAGE"
