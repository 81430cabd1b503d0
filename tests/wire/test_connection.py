from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.errors import ProtocolError
from nexus.wire.connection import Cancelled, Connection, Progressed, RoomGranted, StreamReset
from nexus.wire.frames import Frame, Kind
from nexus.wire.limits import Limits
from nexus.wire.messages import Failure, Fault, Notification, Request, Success


def pair() -> tuple[Connection, Connection]:
    return Connection(), Connection()


def pass_on(sender: Connection, receiver: Connection) -> list[object]:
    return [event for message in sender.take_outgoing() for event in receiver.receive(message)]


def test_a_request_is_answered_once_whatever_the_order() -> None:
    client, daemon = pair()
    first, second = client.request("fs.stat", {"path": "a"}), client.request("fs.stat", {"path": "b"})

    assert pass_on(client, daemon) == [
        Request(first, "fs.stat", {"path": "a"}),
        Request(second, "fs.stat", {"path": "b"}),
    ]
    daemon.respond(second, {"n": 2})
    daemon.fail(first, Fault(2001, "no such file: a"))
    daemon.respond(first, {"late": True})

    assert pass_on(daemon, client) == [Success(second, {"n": 2}), Failure(first, Fault(2001, "no such file: a"))]
    assert client.asked == daemon.answering == 0


def test_a_cancelled_request_is_answered_all_the_same() -> None:
    client, daemon = pair()
    asked = client.request("workspace.create", {})
    client.cancel(asked)

    assert pass_on(client, daemon)[1:] == [Cancelled(asked)]
    daemon.fail(asked, Fault(-32800, "cancelled"))
    assert pass_on(daemon, client) == [Failure(asked, Fault(-32800, "cancelled"))]
    client.cancel(asked)
    assert client.take_outgoing() == []


def test_progress_is_told_until_the_answer() -> None:
    client, daemon = pair()
    asked = client.request("workspace.create", {}, progress=True)
    (request,) = pass_on(client, daemon)
    assert isinstance(request, Request)
    assert request.params == {"_meta": {"progressToken": asked}}
    daemon.progress(asked, asked, {"kind": "report"})
    daemon.respond(asked, {})
    daemon.progress(asked, asked, {"kind": "late"})

    assert pass_on(daemon, client) == [Progressed(asked, {"kind": "report"}), Success(asked, {})]


def test_an_answer_that_nobody_waits_for_breaks_the_protocol() -> None:
    client, _ = pair()

    with pytest.raises(ProtocolError, match="nobody waits"):
        client.receive('{"jsonrpc":"2.0","id":7,"result":{}}')


def test_an_id_that_is_in_use_is_refused_and_its_request_still_answered() -> None:
    daemon = Connection()
    text = '{"jsonrpc":"2.0","id":7,"method":"a"}'

    assert daemon.receive(text) == (Request(7, "a", {}),)
    assert daemon.receive(text) == ()
    (answer,) = daemon.take_outgoing()
    assert json.loads(answer)["id"] is None
    assert daemon.respond(7, {}) > 0


def test_what_is_no_message_is_answered_and_the_connection_goes_on() -> None:
    daemon = Connection()

    assert daemon.receive("{") == ()
    assert json.loads(daemon.take_outgoing()[0])["error"]["code"] == -32700
    assert daemon.receive('{"jsonrpc":"2.0","method":"later"}') == (Notification("later", {}),)


def test_a_result_that_is_too_large_can_still_be_answered_with_an_error() -> None:
    daemon = Connection(Limits(text_frame=200))
    daemon.receive('{"jsonrpc":"2.0","id":7,"method":"a"}')

    with pytest.raises(ProtocolError, match="at most 200"):
        daemon.respond(7, {"a": "x" * 200})
    assert daemon.fail(7, Fault(1602, "too large")) > 0


def test_cancelling_and_progress_of_unknown_requests_mean_nothing() -> None:
    daemon = Connection()

    for text in (
        '{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":5}}',
        '{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":[5]}}',
        '{"jsonrpc":"2.0","method":"$/cancelRequest"}',
        '{"jsonrpc":"2.0","method":"$/progress","params":{"token":1,"value":{}}}',
    ):
        assert daemon.receive(text) == ()
    assert daemon.take_outgoing() == []


def test_a_stream_is_given_up_from_either_end() -> None:
    client, daemon = pair()
    daemon.open_sending(1)
    client.open_receiving(1)
    client.reset(1, "NOT_WANTED")

    assert pass_on(client, daemon) == [StreamReset(1, "NOT_WANTED")]
    assert daemon.room(1) == 0
    assert client.receive(Frame(Kind.DATA, 1, 0, b"late").encode()) == ()


def test_a_grant_says_how_far_the_other_end_is() -> None:
    client, daemon = pair()
    daemon.open_sending(1)
    client.open_receiving(1)
    client.receive(daemon.data(1, b"hello"))
    client.taken(1, 3)
    assert client.take_outgoing() == []  # half of the window is not used yet
    client.taken(1, 5, at_once=True)

    assert pass_on(client, daemon) == [RoomGranted(1, 5)]


@given(st.lists(st.one_of(st.text(max_size=80), st.binary(max_size=80)), max_size=20))
def test_whatever_comes_is_taken_answered_or_ends_the_connection(messages: list[str | bytes]) -> None:
    connection = Connection(Limits(text_frame=64, data_frame=32))
    connection.open_sending(1)
    connection.open_receiving(2)
    for message in messages:
        try:
            connection.receive(message)
        except ProtocolError:
            return
    assert all(json.loads(answer)["jsonrpc"] for answer in connection.take_outgoing() if isinstance(answer, str))


@given(st.data())
def test_a_bent_exchange_is_taken_answered_or_ends_the_connection(data: st.DataObject) -> None:
    """Messages that are nearly right reach further in than noise does."""
    connection = Connection()
    connection.open_sending(1)
    connection.open_receiving(2)
    good: list[str | bytes] = [
        '{"jsonrpc":"2.0","id":7,"method":"fs.readFile","params":{"workspace":"a","path":"b"}}',
        '{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":7}}',
        '{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"m"}}',
        Frame(Kind.DATA, 2, 0, b"hello").encode(),
        Frame(Kind.WINDOW, 1, 0).encode(),
        Frame(Kind.END, 2, 5).encode(),
        Frame(Kind.RESET, 1, 0, b"x").encode(),
    ]
    for _ in range(data.draw(st.integers(1, 8))):
        message = bytearray(_raw(data.draw(st.sampled_from(good))))
        for _ in range(data.draw(st.integers(0, 3))):
            message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
        text = data.draw(st.booleans())
        try:
            connection.receive(message.decode("utf-8", "replace") if text else bytes(message))
        except ProtocolError:
            return


def _raw(message: str | bytes) -> bytes:
    return message.encode() if isinstance(message, str) else message
