from __future__ import annotations

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from nexus.config.assignments import tree_of
from nexus.config.layers import Branch, Layer, LayerKind, Place, leaves, plain
from nexus.config.merge import merge_branches, merge_layers, prune

NAMES = st.sampled_from(["a", "b", "c"])
SCALARS = st.integers(0, 3) | st.text(max_size=2) | st.booleans() | st.lists(st.integers(0, 3), max_size=2)


def maps(values: st.SearchStrategy[object], depth: int = 3) -> st.SearchStrategy[dict[str, object]]:
    below = values if depth == 1 else values | maps(values, depth - 1)
    return st.dictionaries(NAMES, below, max_size=3)


ANYTHING = maps(SCALARS | st.none())
# Every key has one shape in all trees: maps at the first two levels, values at the third.
SAME_SHAPE = st.dictionaries(NAMES, st.dictionaries(NAMES, SCALARS | st.none(), max_size=3), max_size=3)


def branch(value: object, source: str = "test") -> Branch:
    node = tree_of(value, Place(source))  # type: ignore[arg-type]
    assert isinstance(node, Branch)
    return node


def merged(*values: object) -> JsonValue:
    kinds = list(LayerKind)
    return plain(merge_layers(Layer(kinds[index], branch(value)) for index, value in enumerate(values)))


def test_maps_merge_lists_replace_scalars_override() -> None:
    low = {"map": {"x": 1, "y": 2}, "list": [1, 2], "scalar": "low", "only": True}
    high = {"map": {"y": 3, "z": 4}, "list": [3], "scalar": "high"}
    assert merged(low, high) == {"map": {"x": 1, "y": 3, "z": 4}, "list": [3], "scalar": "high", "only": True}


def test_null_removes_and_a_higher_layer_may_set_again() -> None:
    assert merged({"a": {"x": 1}, "b": 2}, {"a": None, "b": None}) == {}
    assert merged({"a": {"x": 1}}, {"a": None}, {"a": {"y": 2}}) == {"a": {"y": 2}}
    assert merged({"a": {"x": 1, "y": 2}}, {"a": {"x": None}}) == {"a": {"y": 2}}


def test_a_scalar_replaces_a_map_and_the_other_way_round() -> None:
    assert merged({"a": {"x": 1}}, {"a": "small"}) == {"a": "small"}
    assert merged({"a": "small"}, {"a": {"x": 1}}) == {"a": {"x": 1}}


@given(ANYTHING)
def test_an_empty_layer_changes_nothing(value: object) -> None:
    assert merged(value, {}) == merged(value) == merged({}, value)


@given(ANYTHING)
def test_merging_a_layer_twice_is_merging_it_once(value: object) -> None:
    assert merged(value, value) == merged(value)


@given(SAME_SHAPE, SAME_SHAPE, SAME_SHAPE)
def test_merging_is_associative_where_shapes_agree(a: object, b: object, c: object) -> None:
    low, middle, high = branch(a), branch(b), branch(c)
    left = merge_branches(merge_branches(low, middle), high)
    right = merge_branches(low, merge_branches(middle, high))
    assert plain(prune(left)) == plain(prune(right))


@given(ANYTHING, ANYTHING)
def test_every_value_of_the_highest_layer_holds(low: object, high: object) -> None:
    result = merge_branches(branch(low, "low"), branch(high, "high"))
    kept = dict(leaves(result))
    for path, leaf in leaves(branch(high, "high")):
        assert plain(kept[path]) == plain(leaf)
        assert kept[path].place == Place("high")


@given(ANYTHING, ANYTHING)
def test_no_value_comes_from_nowhere(low: object, high: object) -> None:
    below = branch(low), branch(high)
    known = {id(leaf) for tree in below for _, leaf in leaves(tree)}
    assert {id(leaf) for _, leaf in leaves(prune(merge_branches(*below)))} <= known


@given(ANYTHING, ANYTHING)
def test_nothing_removed_is_left(low: object, high: object) -> None:
    result = prune(merge_branches(branch(low), branch(high)))
    assert all(plain(leaf) is not None for _, leaf in leaves(result))


def test_layers_and_merge_touch_nothing_outside() -> None:
    program = """
import sys
sys.addaudithook(lambda event, args: blocked and event in ("open", "socket.connect", "subprocess.Popen") and sys.exit(event))
blocked = False
from nexus.config.layers import Branch, Layer, LayerKind, Leaf, Place, join_key, split_key
from nexus.config.merge import merge_layers
blocked = True
place = Place("x")
layer = Layer(LayerKind.NODE, Branch({"a": Leaf(1, place)}, place))
assert merge_layers([layer, layer]).children and split_key(join_key(("a", "b.c"))) == ("a", "b.c")
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
