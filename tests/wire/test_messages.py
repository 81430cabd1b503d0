from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.models.base import Model
from nexus.wire.messages import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    PARSE_ERROR,
    Failure,
    Fault,
    Malformed,
    Message,
    Notification,
    Request,
    Success,
    parse,
    serialise,
    too_deep,
)
from nexus.wire.text import from_wire, to_wire

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
IDS = st.one_of(st.integers(-(2**53) + 1, 2**53 - 1), st.text(st.characters(exclude_categories=["Cs"]), max_size=100))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(TEXT, JSON, max_size=4)
METHODS = st.from_regex(r"[a-z$/]{1,10}\.[a-zA-Z]{1,20}", fullmatch=True)
MESSAGES = st.one_of(
    st.builds(Request, IDS, METHODS, OBJECTS),
    st.builds(Notification, METHODS, OBJECTS),
    st.builds(Success, IDS, JSON),
    st.builds(Failure, st.none() | IDS, st.builds(Fault, st.integers(-40000, 10000), TEXT, OBJECTS)),
)


def read(text: str, *, most: int = 1 << 20, depth: int = 64) -> Message:
    return parse(text, most=most, depth=depth)


@given(MESSAGES)
def test_what_is_written_is_read_back(message: Message) -> None:
    assert read(serialise(message)) == message


@given(MESSAGES)
def test_what_is_written_is_json_for_everybody(message: Message) -> None:
    assert json.loads(serialise(message))["jsonrpc"] == "2.0"


@given(st.one_of(st.text(), JSON.map(json.dumps), OBJECTS.map(lambda value: json.dumps({"jsonrpc": "2.0", **value}))))
def test_any_text_is_a_message_or_refused_with_an_answer(text: str) -> None:
    try:
        read(text)
    except Malformed as error:
        answer = json.loads(serialise(error.failure))
    else:
        return
    assert answer["error"]["code"] in {PARSE_ERROR, INVALID_REQUEST, INVALID_PARAMS}


def refusal(text: str, **limits: int) -> Fault:
    with pytest.raises(Malformed) as caught:
        read(text, **limits)
    return caught.value.failure.fault


def test_batches_are_refused_in_words() -> None:
    fault = refusal('[{"jsonrpc":"2.0","id":1,"method":"a"}]')

    assert (fault.number, fault.data["code"]) == (INVALID_REQUEST, "PROTOCOL_ERROR")
    assert "batches" in fault.message


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("{", PARSE_ERROR),
        ("NaN", PARSE_ERROR),
        ("{}", INVALID_REQUEST),
        ('{"jsonrpc":"1.0","id":1,"method":"a"}', INVALID_REQUEST),
        ('{"jsonrpc":"2.0","id":1}', INVALID_REQUEST),
        ('{"jsonrpc":"2.0","id":1.5,"method":"a"}', INVALID_REQUEST),
        ('{"jsonrpc":"2.0","id":null,"method":"a"}', INVALID_REQUEST),
        ('{"jsonrpc":"2.0","id":true,"method":"a"}', INVALID_REQUEST),
        ('{"jsonrpc":"2.0","id":9007199254740993,"method":"a"}', INVALID_REQUEST),
        ('{"jsonrpc":"2.0","id":1,"method":7}', INVALID_REQUEST),
        ('{"jsonrpc":"2.0","id":1,"method":""}', INVALID_REQUEST),
        ('{"jsonrpc":"2.0","id":1,"method":"a","params":[1]}', INVALID_PARAMS),
        ('{"jsonrpc":"2.0","id":1,"error":{"code":"x","message":"m"}}', INVALID_REQUEST),
        ('{"jsonrpc":"2.0","id":null,"result":1}', INVALID_REQUEST),
    ],
)
def test_what_is_no_message_is_refused(text: str, number: int) -> None:
    assert refusal(text).number == number


def test_the_id_is_told_where_it_can_be() -> None:
    with pytest.raises(Malformed) as caught:
        read('{"jsonrpc":"2.0","id":"seven","method":"a","params":3}')
    assert caught.value.failure.id == "seven"


def test_size_and_depth_are_checked_before_anything_is_built() -> None:
    assert "too large" in refusal("x" * 101, most=100).message
    assert "inside each other" in refusal("[" * 1_000_000, most=2_000_000).message
    deep = '{"jsonrpc":"2.0","id":1,"method":"a","params":' + '{"a":' * 70 + "1" + "}" * 71
    assert "inside each other" in refusal(deep).message


def test_brackets_in_text_do_not_count() -> None:
    wide = json.dumps({"a": "[[[[" * 100, "b": [[1]] * 100, 'c"[': '\\"[[[[[[[['})

    assert not too_deep(wide, 3)
    assert too_deep(wide, 2)


@given(JSON)
def test_depth_is_what_it_says(value: object) -> None:
    def depth(inner: object) -> int:
        if isinstance(inner, dict):
            return 1 + max(map(depth, inner.values()), default=0)
        return 1 + max(map(depth, inner), default=0) if isinstance(inner, list) else 0

    text = json.dumps(value)
    assert not too_deep(text, depth(value))
    assert depth(value) == 0 or too_deep(text, depth(value) - 1)


class Sample(Model):
    some_name: int


def test_values_have_camel_case_names() -> None:
    assert serialise(Success(1, Sample(some_name=2))) == '{"jsonrpc":"2.0","id":1,"result":{"someName":2}}'
    assert '"params":{"x":{"someName":2}}' in serialise(Request(1, "a", {"x": Sample(some_name=2)}))


@given(st.binary(max_size=40))
def test_any_file_name_is_unicode_on_the_wire_and_comes_back(name: bytes) -> None:
    text = name.decode("utf-8", "surrogateescape")

    to_wire(text).encode("utf-8")  # raises where it is no Unicode
    assert from_wire(to_wire(text)) == text


@given(TEXT)
def test_text_is_itself_but_for_our_own_range(text: str) -> None:
    assert from_wire(to_wire(text)) == text
    assert to_wire(text) == text or any("\uf780" <= char <= "\uf7ff" for char in text)
