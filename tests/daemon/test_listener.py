"""Real handshakes over real sockets: what comes in, and everything that does not."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import anyio
import pytest
from anyio import to_thread
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from nexus.daemon.door import MAX_STRANGERS_EACH
from nexus.daemon.handshake import MAX_HEADER_BYTES, HandshakePolicy, bearer_subprotocol
from nexus.daemon.websocket import MAX_DATA_BYTES, MAX_TEXT_BYTES
from tests.daemon.conftest import Echo, Listening, greeting, until


@pytest.fixture(params=["tcp", "unix"])
def unix(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "unix")


async def reply(echo: Echo, data: bytes) -> str:
    """Send bytes and return everything that comes until the daemon closes."""

    def talk() -> str:
        with echo.raw() as plain:
            plain.sendall(data)
            answer = b""
            while piece := _read(plain):
                answer += piece
                if b" 101 " in answer:
                    break
            return answer.decode()

    return await to_thread.run_sync(talk)


def _read(plain: socket.socket) -> bytes:
    try:
        return plain.recv(65536)
    except ConnectionResetError:
        return b""


async def test_a_token_in_a_header_in_a_subprotocol_or_in_the_first_message(listening: Listening, unix: bool) -> None:
    async with listening(unix=unix) as echo:
        token = echo.token()
        async with echo.connect(token) as one:
            assert await greeting(one) == "hello ann"
            await one.send(b"\x00\xff")
            assert await one.recv() == b"\x00\xff"
        async with echo.connect(subprotocols=[bearer_subprotocol(token), "nexus.v1"]) as two:
            assert two.subprotocol == "nexus.v1"
            assert await greeting(two) == "hello ann"
            assert two.response is not None
            assert token not in str(two.response)
        async with echo.connect() as three:
            await three.send(token)
            assert await greeting(three) == "hello ann"
            assert "Server" not in (three.response.headers if three.response else {})
            assert "Sec-WebSocket-Extensions" not in (three.response.headers if three.response else {})


async def test_the_kernel_tells_who_is_at_the_other_end(listening: Listening) -> None:
    async with listening(unix=True) as echo, echo.connect(echo.token()) as connection:
        await greeting(connection)
        peer = echo.seen[0].peer

    assert (peer.uid, peer.pid) == (os.getuid(), os.getpid())
    assert peer.address.startswith(f"unix:{os.getpid()}#")


async def test_tokens_that_do_not_hold(
    listening: Listening, echo: Echo, unix: bool, caplog: pytest.LogCaptureFixture
) -> None:
    expired = echo.token(ttl=1)
    echo.clock.jump(60)
    revoked = echo.tokens.issue(subject="bob", scopes=["exec"])
    echo.tokens.revoke(revoked.token_id)
    cases = {expired: "over", revoked.token: "revoked", "e30.e30.canary": "no token"}
    async with listening(unix=unix) as _:
        for token, why in cases.items():
            with pytest.raises(InvalidStatus) as caught:
                await echo.connect(token)
            assert caught.value.response.status_code == 401
            assert why in (caught.value.response.body or b"").decode()
            assert why in caplog.text
        assert not echo.seen
        echo.clock.jump(120)  # so that nobody is made to wait
        old = echo.token()
        echo.tokens.rotate()
        async with echo.connect(old) as connection:
            assert await greeting(connection) == "hello ann"
        echo.tokens.rotate()
        with pytest.raises(InvalidStatus):
            await echo.connect(old)
    for token in (*cases, old):
        assert token not in caplog.text
    assert "canary" not in caplog.text


async def test_a_web_page_of_a_stranger(listening: Listening, unix: bool, caplog: pytest.LogCaptureFixture) -> None:
    policy = HandshakePolicy(origins=frozenset({"https://editor.example"}), any_host=unix)
    async with listening(unix=unix, policy=policy) as echo:
        with pytest.raises(InvalidStatus) as caught:
            await echo.connect(echo.token(), origin="https://evil.example")
        async with echo.connect(echo.token(), origin="https://editor.example") as connection:
            assert await greeting(connection) == "hello ann"

    assert caught.value.response.status_code == 403
    assert "Access-Control-Allow-Origin" not in caught.value.response.headers
    assert "origin 'https://evil.example' is not allowed" in caplog.text


async def test_a_name_that_was_rebound(listening: Listening, caplog: pytest.LogCaptureFixture) -> None:
    async with listening() as echo:
        token = echo.token()
        for path in ("/v1/rpc", "/healthz"):
            answer = await reply(echo, echo.handshake(f"Authorization: Bearer {token}", host="evil.example", path=path))
            assert answer.startswith("HTTP/1.1 421 ")

    assert "'evil.example'" in caplog.text


async def test_health_and_nothing_else(listening: Listening, unix: bool) -> None:
    async with listening(unix=unix) as echo:
        health = await reply(echo, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        missing = await reply(echo, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        posted = await reply(echo, b"POST /v1/rpc HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")

    assert health.startswith("HTTP/1.1 200 ")
    assert health.endswith("\r\n\r\nok\n")
    assert missing.startswith("HTTP/1.1 404 ")
    assert posted.startswith("HTTP/1.1 405 ") or posted == ""  # older releases of websockets hang up without a word
    for answer in (health, missing, posted):
        assert "server:" not in answer.lower()
        assert "python" not in answer.lower()


async def test_a_token_in_the_query_is_not_read_and_not_logged(
    listening: Listening, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with listening() as echo:
            token = echo.token()
            answer = await reply(echo, echo.handshake(path=f"/v1/rpc?token={token}"))
            await reply(echo, echo.handshake(path=f"/other?token={token}"))
            assert " 101 " in answer
            assert echo.seen == [] or echo.seen[0].peer.token is None

    ours = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("nexus"))
    assert "another path" in ours
    assert token not in ours


async def test_headers_that_never_end(listening: Listening, unix: bool, caplog: pytest.LogCaptureFixture) -> None:
    async with listening(unix=unix) as echo:
        many = "".join(f"X-{number}: {'y' * 1000}\r\n" for number in range(MAX_HEADER_BYTES // 1000 + 1))
        answer = await reply(echo, echo.handshake()[:-2] + many.encode())

    assert answer.startswith("HTTP/1.1 431 ") or answer == ""
    assert "headers are too large" in caplog.text
    assert not echo.seen


@pytest.mark.parametrize("data", [b"", b"GET /v1/rpc HT", b"GET /v1/rpc HTTP/1.1\r\nHost: localhost\r\nX: y"], ids=len)
async def test_a_handshake_that_does_not_go_on_is_ended(listening: Listening, data: bytes) -> None:
    async with listening(patience=0.05) as echo:
        assert await reply(echo, data) == ""
        assert len(echo.door) == 0

    assert not echo.seen


async def test_a_stranger_who_says_nothing_is_sent_away(
    listening: Listening, unix: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(unix=unix, patience=0.05) as echo, echo.connect() as connection:
        with pytest.raises(ConnectionClosed):
            await connection.recv()
        assert connection.close_code == 4001

    assert "showed no token within" in caplog.text


async def test_whoever_is_in_is_not_hurried(listening: Listening) -> None:
    async with listening(patience=0.2) as echo, echo.connect(echo.token()) as connection:
        await greeting(connection)
        stranger = await echo.connect()
        await stranger.wait_closed()
        await connection.send("still here")
        assert await connection.recv() == "still here"


async def test_there_is_room_for_so_many_strangers(listening: Listening, caplog: pytest.LogCaptureFixture) -> None:
    async with listening() as echo:
        crowd = [echo.raw() for _ in range(MAX_STRANGERS_EACH)]
        await until(lambda: len(echo.door) == MAX_STRANGERS_EACH)
        assert await reply(echo, echo.handshake()) == ""
        assert "without a token are open" in caplog.text
        for plain in crowd:
            plain.close()
        await until(lambda: len(echo.door) == 0)
        async with echo.connect(echo.token()) as connection:
            assert await greeting(connection) == "hello ann"


@pytest.mark.parametrize(
    "message",
    ["x" * (MAX_TEXT_BYTES + 1), b"x" * (MAX_TEXT_BYTES + 1), b"x" * (MAX_DATA_BYTES + 1)],
    ids=["text", "very-long-data", "long-data"],
)
async def test_messages_have_a_size(listening: Listening, message: str | bytes) -> None:
    async with listening() as echo, echo.connect(echo.token()) as connection:
        await greeting(connection)
        with suppress(ConnectionClosed):
            await connection.send(message)
        with pytest.raises(ConnectionClosed):
            await connection.recv()
        assert connection.close_code == 1009


async def test_a_frame_is_refused_by_its_header_before_its_content_comes(listening: Listening) -> None:
    async with listening() as echo:
        head = bytes([0x82, 0x80 | 127]) + (1 << 40).to_bytes(8, "big") + b"mask"

        def talk() -> bytes:
            with echo.raw() as plain:
                plain.sendall(echo.handshake(f"Authorization: Bearer {echo.token()}"))
                seen = b""
                while b"hello ann" not in seen:
                    seen += plain.recv(65536)
                plain.sendall(head)
                while piece := _read(plain):
                    seen += piece
                return seen

        assert (1009).to_bytes(2, "big") in await to_thread.run_sync(talk)


async def test_a_failure_ends_one_connection_and_is_logged_without_what_it_says(
    listening: Listening, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening() as echo, echo.connect(token := echo.token()) as one, echo.connect(token) as other:
        await greeting(one)
        await greeting(other)
        await one.send("boom")
        with pytest.raises(ConnectionClosed):
            await one.recv()
        assert one.close_code == 1011
        await other.send("fine")
        assert await other.recv() == "fine"

    assert "ValueError at conftest.py" in caplog.text
    assert token not in caplog.text


async def test_leaving_ends_connections_and_refusing_does_not(listening: Listening, unix: bool) -> None:
    async with listening(unix=unix) as echo:
        connection = await echo.connect(echo.token())
        await greeting(connection)
        assert echo.listener is not None
        echo.listener.refuse()
        with pytest.raises((OSError, InvalidHandshake)):
            await echo.connect(echo.token())
        await connection.send("still here")
        assert await connection.recv() == "still here"
    with pytest.raises(ConnectionClosed):
        await connection.recv()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
async def test_another_user_is_refused_on_the_unix_socket(
    listening: Listening, caplog: pytest.LogCaptureFixture
) -> None:
    program = (
        "import os, socket, sys\n"
        "plain = socket.socket(socket.AF_UNIX)\n"
        "plain.connect(sys.argv[1])\n"  # as root, so that only the check of the daemon is left
        "os.setuid(12345)\n"
        "other = socket.socket(socket.AF_UNIX)\n"
        "try:\n"
        "    other.connect(sys.argv[1])\n"
        "except PermissionError:\n"
        "    print('no way in')\n"
    )
    late = (
        "import os, socket, sys\n"
        "os.setuid(12345)\n"
        "plain = socket.socket(socket.AF_UNIX)\n"
        "plain.connect(sys.argv[1])\n"
        "plain.settimeout(30)\n"
        "try:\n"
        "    plain.sendall(b'GET /healthz HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n')\n"
        "    print(plain.recv(100))\n"
        "except OSError:\n"
        "    print(b'')\n"
    )
    async with listening(unix=True) as echo:
        path = Path(str(echo.address))
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        closed = await anyio.run_process([sys.executable, "-c", program, str(path)], stderr=subprocess.STDOUT)
        # Somebody opened the way: the credentials still tell.
        path.chmod(0o666)
        shared = Path(tempfile.gettempdir())
        for folder in path.parents:
            if folder != shared and folder.is_relative_to(shared):
                folder.chmod(0o755)
        opened = await anyio.run_process([sys.executable, "-c", late, str(path)], stderr=subprocess.STDOUT)

    assert closed.stdout == b"no way in\n"
    assert opened.stdout == b"b''\n"
    assert "process of another user (uid 12345)" in caplog.text
