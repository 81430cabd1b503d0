"""JSON as dev containers are written: comments, commas too many, places, and whatever else is in such a file."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from nexus.config.adopting.jsonc import read_json
from nexus.config.layers import Branch, Items, Leaf, plain
from nexus.config.problems import Problems

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
NUMBERS = st.integers(-(10**17), 10**17) | st.floats(allow_nan=False, allow_infinity=False, width=32)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda below: st.lists(below, max_size=4) | st.dictionaries(TEXTS, below, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=4)
BETWEEN = st.lists(st.sampled_from([" ", "\n", "\t", '/* { " */', "// [,]\n", "/***/"]), max_size=3).map("".join)


def read(text: str) -> tuple[Branch | None, tuple[str, ...]]:
    problems = Problems()
    return read_json(text, "f.json", problems), problems.lines()


@given(value=OBJECTS, data=st.data())
def test_comments_and_last_commas_change_nothing(value: dict[str, JsonValue], data: st.DataObject) -> None:
    def write(value: JsonValue) -> str:
        def gap() -> str:
            return data.draw(BETWEEN)

        last = data.draw(st.sampled_from(["", ","]))
        match value:
            case dict() if value:
                entries = (f"{gap()}{json.dumps(k)}{gap()}:{gap()}{write(v)}{gap()}" for k, v in value.items())
                return "{" + ",".join(entries) + last + gap() + "}"
            case list() if value:
                return "[" + ",".join(f"{gap()}{write(item)}{gap()}" for item in value) + last + gap() + "]"
            case _:
                return json.dumps(value, ensure_ascii=data.draw(st.booleans()))

    tree, problems = read(f"{data.draw(BETWEEN)}{write(value)}{data.draw(BETWEEN)}")
    assert problems == ()
    assert tree is not None
    assert plain(tree) == value


@given(value=OBJECTS)
def test_every_value_knows_its_place(value: dict[str, JsonValue]) -> None:
    text = json.dumps(value, indent=1)
    lines = text.split("\n")

    def check(node: Branch | Items | Leaf) -> None:
        assert node.place.line is not None
        assert node.place.column is not None
        rest = lines[node.place.line - 1][node.place.column - 1 :]
        match node:
            case Branch():
                assert rest.startswith("{")
                for name, below in node.children.items():
                    key = node.keys[name]
                    assert lines[(key.line or 0) - 1][(key.column or 0) - 1 :].startswith(json.dumps(name))
                    check(below)
            case Items():
                assert rest.startswith("[")
                for item in node.items:
                    check(item)
            case Leaf():
                assert rest.startswith(json.dumps(node.value))

    tree, problems = read(text)
    assert problems == ()
    assert tree is not None
    check(tree)


@given(st.text(alphabet='{}[]:,"\\/*\n ae01.tnul-', max_size=40))
def test_any_text_is_read_or_refused_with_a_place(text: str) -> None:
    tree, problems = read(text)
    assert (tree is None) <= bool(problems)
    assert all(line.startswith("f.json:") and line.isprintable() for line in problems)
    try:
        strict = json.loads(text, object_pairs_hook=list)
    except ValueError:
        return
    if isinstance(strict, list) and text.lstrip().startswith("{") and "\\u" not in text and not problems:
        assert tree is not None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "1:1: bad JSON: a value is due here, not the end of the text"),
        ("[1]", "1:1: the file must hold one object, '{ … }', at its top"),
        ('{"a": 1 "b": 2}', "1:9: bad JSON: ',' or '}' is due here (the bracket is in 1:1)"),
        ('{"a" 1}', "1:6: bad JSON: ':' is due after the key 'a'"),
        ("{\n  a: 1}", "2:3: bad JSON: a key in double quotes is due here"),
        ('{"a": yes}', "1:7: bad JSON: a value is due here, not 'yes'"),
        ('{"a": 01}', "1:7: bad JSON: a value is due here, not '0'"),
        ('{"a": 1e999}', "1:7: bad JSON: this number is too large"),
        ('{"a": "\\x"}', "1:7: bad JSON: this text has no end in its line, or a '\\' that means nothing"),
        ('{"a": "\n"}', "1:7: bad JSON: this text has no end in its line, or a '\\' that means nothing"),
        ('{"a": "\\ud800"}', "1:7: a NUL character or half of a surrogate pair cannot be used"),
        ("{} {}", "1:4: bad JSON: the text goes on after its end"),
        ("{/* }", "1:2: bad JSON: this comment has no end"),
        ('{"a": 1,\n "a": 2}', "2:2: the key 'a' is here twice; the first is in line 1"),
        ('{"a":' + "[" * 40, "1:37: nested deeper than 32 levels"),
        ('{"a":[' + "0," * 20_000 + "]}", "1:20001: more than 10000 values"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, problem: str) -> None:
    assert read(text)[1] == (f"f.json:{problem}",)
