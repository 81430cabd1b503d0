from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from nexus.config import places
from nexus.config.bounds import MAX_DEPTH, MAX_NODES
from nexus.config.layers import Branch, Items, child, key_place, plain
from nexus.config.places import read_scalar, read_tree
from nexus.config.problems import Problems


@pytest.fixture(params=["CSafeLoader", "SafeLoader"], autouse=True)
def _each_parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The C parser where PyYAML has it, and the one in Python, must say the same."""
    if not hasattr(yaml, request.param):
        pytest.skip("PyYAML is built without libyaml")
    monkeypatch.setattr(places, "_LOADER", getattr(yaml, request.param))


def read(text: str) -> Branch:
    problems = Problems()
    tree = read_tree(text, "f", problems)
    assert problems.lines() == ()
    assert tree is not None
    return tree


def refused(text: str) -> tuple[str, ...]:
    problems = Problems()
    read_tree(text, "f", problems)
    assert problems
    return problems.lines()


def test_every_value_and_every_name_has_its_place() -> None:
    tree = read("# comment\na:\n  b: 1\n  'c': [x,  y]\nd: |\n  text\n")
    places_of = {key: str(node.place) for key in ("b", "c") if (node := child(tree, "a", key))}
    assert places_of == {"b": "f:3:6", "c": "f:4:8"}
    inner = child(tree, "a")
    assert isinstance(inner, Branch)
    assert str(key_place(inner, "c")) == "f:4:3"
    items = child(tree, "a", "c")
    assert isinstance(items, Items)
    assert [str(item.place) for item in items.items] == ["f:4:9", "f:4:13"]
    assert plain(tree) == {"a": {"b": 1, "c": ["x", "y"]}, "d": "text\n"}


def test_columns_count_characters_not_bytes() -> None:
    node = child(read('{"größe": ü}'), "größe")
    assert node is not None
    assert str(node.place) == "f:1:11"


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n", "---\n# x\n...\n", "~", "null"])
def test_a_file_without_values_says_nothing(text: str) -> None:
    assert plain(read(text)) == {}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-7", -7),
        ("0755", 755),
        ("0o17", 15),
        ("0x1F", 31),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("yes", "yes"),
        ("on", "on"),
        ("12:30", "12:30"),
        ("1_000", "1_000"),
        ("2026-01-01", "2026-01-01"),
        (".inf", ".inf"),
        ("nan", "nan"),
        ("1e999", "1e999"),
        ("9" * 5000, "9" * 5000),
        ("30m", "30m"),
        ("=", "="),
    ],
)
def test_scalars_follow_the_core_schema(text: str, value: object) -> None:
    got = read_scalar(text)
    assert (got, type(got)) == (value, type(value))


def test_quotes_make_text() -> None:
    assert plain(read("a: '1'\nb: \"true\"\nc: |-\n  null\n")) == {"a": "1", "b": "true", "c": "null"}


def test_keys_are_text_whatever_they_look_like() -> None:
    assert plain(read("3000: a\ntrue: b\n1.50: c\n")) == {"3000": "a", "true": "b", "1.50": "c"}


def test_an_alias_is_its_anchor_at_its_own_place() -> None:
    tree = read("a: &x {p: 1}\nb: *x\n")
    assert plain(tree) == {"a": {"p": 1}, "b": {"p": 1}}
    node = child(tree, "b")
    assert node is not None
    assert str(node.place) == "f:2:4"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\na: 2\n", "f:2:1: the key 'a' is here twice; the first is in line 1"),
        ("a:\n  b: 1\n  c: 2\n  b: 3\n", "f:4:3: the key 'b' is here twice; the first is in line 2"),
        ("a:\n\tb: 1\n", "f:2:1: a tab cannot indent YAML; use spaces"),
        ("a:\n  b: 1\n  \tc: 2\n", "f:3:3: a tab cannot indent YAML; use spaces"),
        ("- a\n- b\n", "f:1:1: the file must hold 'key: value' lines at its top, not a list"),
        ("hello", "f:1:1: the file must hold 'key: value' lines at its top, not a single value"),
        ("a: 1\n---\nb: 2\n", "f:2:1: a second document ('---') starts here; a file holds one"),
        (
            "a: !!python/object/apply:os.system [id]\n",
            "f:1:4: the tag 'tag:yaml.org,2002:python/object/apply:os.system'",
        ),
        ("a: !env HOME\n", "f:1:4: the tag '!env' cannot be used; write plain values"),
        ("a: &x\n  b: *x\n", "f:2:6: the alias '*x' stands inside what it names"),
        ("a: *x\n", "f:1:4: the alias '*x' has no anchor before it"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", "f:3:3: merge keys ('<<') cannot be used; write the keys out"),
        ("? [a]\n: 1\n", "f:1:3: a key must be plain text, not a map or a list"),
        ("'': 1\n", "f:1:1: a key is empty"),
        ('a: "\\0"\n', "f:1:4: a NUL character"),
        ("a: 1\nb: \x01\n", "f:2:4: the character U+0001 cannot be used here"),
        ("a: [1, 2\n", "bad YAML"),
        ("a: b: c\n", "f:1:5: bad YAML"),
        ("a: 'x\n", "bad YAML"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_place(text: str, problem: str) -> None:
    assert problem in refused(text)[0]


def test_a_name_that_is_there_twice_does_not_hide_other_problems() -> None:
    assert len(refused("a: 1\na: 2\nb: !x 1\nb: 3\n")) == 3


def test_tabs_are_fine_where_they_do_not_indent() -> None:
    assert plain(read("a: |\n  x\n  \ty\n")) == {"a": "x\n\ty\n"}


@pytest.mark.parametrize("make", [lambda n: "[" * n + "]" * n, lambda n: "{a: " * n + "}" * n])
def test_depth_is_bounded(make: Any) -> None:
    assert plain(read("a: " + make(MAX_DEPTH - 1)))
    assert f"nested deeper than {MAX_DEPTH} levels" in refused("a: " + make(MAX_DEPTH))[0]
    assert "nested deeper" in refused("a: " + make(20_000))[0]


def test_aliases_count_by_what_they_stand_for() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for level in range(1, 12):
        bomb += f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n"
    assert f"more than {MAX_NODES} values" in refused(bomb)[0]


def test_aliases_cannot_nest_deeper_than_values() -> None:
    deep = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, MAX_DEPTH + 2))
    assert "nested deeper" in refused(deep)[0]


def test_the_number_of_values_is_bounded() -> None:
    assert f"more than {MAX_NODES} values" in refused("a: [" + "x, " * MAX_NODES + "x]")[0]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.text(st.characters(min_codepoint=1, max_codepoint=0xD7FF)),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text("abcxyz_", min_size=1), below, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), JSON, max_size=4))
def test_json_is_read_as_json(value: dict[str, object]) -> None:
    assert plain(read(json.dumps(value))) == value
