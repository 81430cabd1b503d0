"""JSON-RPC 2.0: exactly one message in a text frame.

There are no batches: they make order and cancellation ambiguous, and a connection that stays open has no use for them. An array is
answered with an error that says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias

from pydantic import BaseModel
from pydantic_core import from_json, to_json

from nexus.wire.limits import MAX_SAFE_INTEGER

MessageId: TypeAlias = int | str
Params: TypeAlias = Mapping[str, object]

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
NOT_INITIALIZED: Final = -32002
CANCELLED: Final = -32800
SERVER_CANCELLED: Final = -32802

_LONGEST_ID: Final = 128
_LONGEST_METHOD: Final = 128
_BRACKETS: Final = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[\]{}]')


class Fault(NamedTuple):
    """The error of a response."""

    number: int
    message: str
    data: Mapping[str, object] = MappingProxyType({})


class Request(NamedTuple):
    """Asks for a response."""

    id: MessageId
    method: str
    params: Params


class Notification(NamedTuple):
    """Tells, and is not answered."""

    method: str
    params: Params


class Success(NamedTuple):
    """Answers a request."""

    id: MessageId
    result: object


class Failure(NamedTuple):
    """Answers a request that failed, or that could not be understood (``id`` is ``None``)."""

    id: MessageId | None
    fault: Fault


Message: TypeAlias = Request | Notification | Success | Failure


class Malformed(Exception):
    """A text frame is no message. ``failure`` is what its sender is to be told."""

    def __init__(self, number: int, sentence: str, *, id: MessageId | None = None) -> None:  # noqa: A002 - JSON-RPC's word
        super().__init__(sentence)
        self.failure = Failure(id, Fault(number, sentence, {"code": "PROTOCOL_ERROR", "retryable": False}))


def parse(text: str, *, most: int, depth: int) -> Message:
    """Return the message in a text frame.

    Args:
        text: The frame.
        most: Characters at most.
        depth: Objects and arrays inside each other at most.

    Raises:
        Malformed: When it is none, or breaks a limit. Limits are checked before anything is built from the text.
    """
    if len(text) > most:
        raise Malformed(INVALID_REQUEST, f"a message of {len(text)} characters is too large; the most is {most}")
    if too_deep(text, depth):
        raise Malformed(INVALID_REQUEST, f"a message holds more than {depth} objects and arrays inside each other")
    try:
        value = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise Malformed(PARSE_ERROR, f"this is no JSON: {error}") from None
    if isinstance(value, list):
        raise Malformed(INVALID_REQUEST, "batches are not part of this protocol; send one message in each frame")
    if not isinstance(value, dict) or value.get("jsonrpc") != "2.0":
        raise Malformed(INVALID_REQUEST, "a message is an object with 'jsonrpc': '2.0'")
    return _message(value)


def too_deep(text: str, depth: int) -> bool:
    """Return whether JSON nests deeper than that. Takes time in proportion to the text, and no memory."""
    if text.count("{") + text.count("[") <= depth:
        return False
    level = 0
    for found in _BRACKETS.finditer(text):
        if found[0] in "[{":
            level += 1
            if level > depth:
                return True
        elif found[0] in "]}":
            level -= 1
    return False


def _message(value: dict[str, object]) -> Message:
    known = _as_id(value.get("id"))
    if "method" in value:
        method, params = value["method"], value.get("params", {})
        if not isinstance(method, str) or not 0 < len(method) <= _LONGEST_METHOD:
            raise Malformed(INVALID_REQUEST, "a method's name is text", id=known)
        if not isinstance(params, dict):
            raise Malformed(INVALID_PARAMS, "'params' is an object; parameters have names here", id=known)
        if "id" not in value:
            return Notification(method, params)
        if known is None:
            raise Malformed(INVALID_REQUEST, "the id of a request is short text or a whole number below 2^53")
        return Request(known, method, params)
    if "error" in value:
        return Failure(known, _fault(value["error"]))
    if "result" in value and known is not None:
        return Success(known, value["result"])
    raise Malformed(INVALID_REQUEST, "a message has a method, a result or an error", id=known)


def _as_id(value: object) -> MessageId | None:
    if isinstance(value, str):
        return value if len(value) <= _LONGEST_ID else None
    if isinstance(value, int) and not isinstance(value, bool):
        return value if abs(value) <= MAX_SAFE_INTEGER else None
    return None


def _fault(value: object) -> Fault:
    found = value if isinstance(value, dict) else {}
    number, message, data = found.get("code"), found.get("message"), found.get("data")
    if not isinstance(number, int) or not isinstance(message, str):
        raise Malformed(INVALID_REQUEST, "an error has a whole number as its code, and a message")
    return Fault(number, message, data if isinstance(data, dict) else {})


def serialise(message: Message) -> str:
    """Return a message as text. Models are written with the names that the wire has."""
    match message:
        case Success(id=id, result=result):
            # The common case by hand: the result is written straight into its place, not built as a tree first.
            body = (
                result.__pydantic_serializer__.to_json(result, by_alias=True)
                if isinstance(result, BaseModel)
                else _json(result)
            )
            return f'{{"jsonrpc":"2.0","id":{_json(id).decode()},"result":{body.decode()}}}'
        case Failure(id=id, fault=fault):
            error: dict[str, object] = {"code": fault.number, "message": fault.message}
            if fault.data:
                error["data"] = fault.data
            return _json({"jsonrpc": "2.0", "id": id, "error": error}).decode()
        case Request(id=id, method=method, params=params):
            return (
                f'{{"jsonrpc":"2.0","id":{_json(id).decode()},"method":"{method}","params":{_json(params).decode()}}}'
            )
        case Notification(method=method, params=params):
            return f'{{"jsonrpc":"2.0","method":"{method}","params":{_json(params).decode()}}}'


def _json(value: object) -> bytes:
    return to_json(value, by_alias=True)
