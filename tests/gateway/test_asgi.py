"""The daemon inside another server: driven by hand, and by uvicorn where that is installed."""

from __future__ import annotations

from collections.abc import MutableMapping

import anyio
import pytest
import uvicorn
from anyio.abc import TaskGroup
from websockets.exceptions import InvalidStatus

from nexus.gateway.asgi import MAX_MESSAGE_BYTES, Application, asgi_app
from tests.daemon.conftest import Echo, echo, greeting, until

__all__ = ["echo"]

Message = MutableMapping[str, object]


class Driver:
    """One WebSocket connection as a server would hand it to the application."""

    def __init__(self, app: Application, **scope: object) -> None:
        self._app = app
        self._scope: Message = {
            "type": "websocket",
            "path": "/v1/rpc",
            "root_path": "",
            "headers": [(b"host", b"localhost"), (b"sec-websocket-protocol", b"nexus.v1")],
            "client": ("192.0.2.1", 0),
            **scope,
        }
        self.to_app, self._inbox = anyio.create_memory_object_stream[Message](10)
        self._outbox, self.from_app = anyio.create_memory_object_stream[Message](10)

    async def run(self) -> None:
        async with self.to_app, self._inbox, self._outbox:
            await self._app(self._scope, self._inbox.receive, self._outbox.send)

    async def __call__(self, group: TaskGroup) -> Message:
        """Begin, and return what the application answers to the handshake."""
        group.start_soon(self.run)
        await self.to_app.send({"type": "websocket.connect"})
        return await self.from_app.receive()

    async def said(self) -> object:
        event = await self.from_app.receive()
        return event.get("text", event.get("bytes", event.get("code")))

    def close(self) -> None:
        self.from_app.close()


def with_header(name: bytes, value: bytes) -> list[tuple[bytes, bytes]]:
    kept = [(b"host", b"localhost"), (b"sec-websocket-protocol", b"nexus.v1")]
    return [*((key, old) for key, old in kept if key != name), (name, value)]


async def test_a_connection(echo: Echo) -> None:
    token = echo.token().encode()
    app = asgi_app(echo.door, echo.serve)
    driver = Driver(app, headers=with_header(b"authorization", b"Bearer " + token))
    async with anyio.create_task_group() as group:
        assert await driver(group) == {"type": "websocket.accept", "subprotocol": "nexus.v1"}
        assert await driver.said() == "hello ann"
        await driver.to_app.send({"type": "websocket.receive", "bytes": b"\x00", "text": None})
        assert await driver.said() == b"\x00"
        await driver.to_app.send({"type": "websocket.receive", "text": "é"})
        assert await driver.said() == "é"
        await driver.to_app.send({"type": "websocket.disconnect", "code": 1001})
    driver.close()
    assert len(echo.door) == 0


async def test_where_it_is_mounted_does_not_matter(echo: Echo) -> None:
    app = asgi_app(echo.door, echo.serve, domains=["dev.example.com"])
    driver = Driver(
        app, path="/nexus/v1/rpc", root_path="/nexus", headers=with_header(b"host", b"dev.example.com"), client=None
    )
    async with anyio.create_task_group() as group:
        assert (await driver(group))["type"] == "websocket.accept"
        await driver.to_app.send({"type": "websocket.receive", "text": echo.token()})
        assert await driver.said() == "hello ann"
        group.cancel_scope.cancel()
    driver.close()


@pytest.mark.parametrize(
    ("scope", "code"),
    [
        ({"headers": with_header(b"host", b"evil.example")}, 4003),
        ({"headers": with_header(b"origin", b"https://evil.example")}, 4003),
        ({"headers": with_header(b"sec-websocket-protocol", b"other")}, 4003),
        ({"path": "/"}, 4003),
        ({"headers": with_header(b"authorization", b"Bearer e30.e30.e30")}, 4001),
    ],
    ids=str,
)
async def test_what_is_refused_before_it_is_accepted(echo: Echo, scope: dict[str, object], code: int) -> None:
    driver = Driver(asgi_app(echo.door, echo.serve), **scope)
    async with anyio.create_task_group() as group:
        assert await driver(group) == {"type": "websocket.close", "code": code}
    driver.close()
    assert not echo.seen
    assert len(echo.door) == 0


async def test_a_stranger_who_says_nothing_is_sent_away(echo: Echo) -> None:
    driver = Driver(asgi_app(echo.door, echo.serve, patience=0.01))
    async with anyio.create_task_group() as group:
        assert (await driver(group))["type"] == "websocket.accept"
        assert await driver.said() == 4001
        await driver.to_app.send({"type": "websocket.disconnect", "code": 4001})
    driver.close()


async def test_messages_have_a_size(echo: Echo) -> None:
    token = echo.token().encode()
    driver = Driver(asgi_app(echo.door, echo.serve), headers=with_header(b"authorization", b"Bearer " + token))
    async with anyio.create_task_group() as group:
        await driver(group)
        await driver.said()
        await driver.to_app.send({"type": "websocket.receive", "text": "x" * (MAX_MESSAGE_BYTES + 1)})
        assert await driver.said() == 1009
    driver.close()


async def test_in_a_real_server(echo: Echo) -> None:
    server = uvicorn.Server(
        uvicorn.Config(
            asgi_app(echo.door, echo.serve),
            port=0,
            lifespan="on",
            ws="websockets-sansio",
            log_level="error",
            loop="none",
        )
    )
    async with anyio.create_task_group() as group:
        group.start_soon(server.serve)
        await until(lambda: server.started)
        echo.address = server.servers[0].sockets[0].getsockname()[:2]
        async with echo.connect(echo.token()) as connection:
            assert await greeting(connection) == "hello ann"
            await connection.send(b"\x00\xff")
            assert await connection.recv() == b"\x00\xff"
        with pytest.raises(InvalidStatus) as refused:
            await echo.connect(echo.token(), origin="https://evil.example")
        assert refused.value.response.status_code == 403
        server.should_exit = True


@pytest.mark.parametrize(("path", "status"), [("/healthz", 200), ("/", 404), ("/v1/rpc", 400)])
async def test_plain_requests(echo: Echo, path: str, status: int) -> None:
    driver = Driver(
        asgi_app(echo.door, echo.serve), type="http", method="GET", path=path, headers=[(b"host", b"localhost")]
    )
    async with anyio.create_task_group() as group:
        group.start_soon(driver.run)
        assert (await driver.from_app.receive())["status"] == status
        await driver.from_app.receive()
    driver.close()


async def test_the_server_may_ask_for_a_lifespan(echo: Echo) -> None:
    driver = Driver(asgi_app(echo.door, echo.serve), type="lifespan")
    async with anyio.create_task_group() as group:
        group.start_soon(driver.run)
        for moment in ("startup", "shutdown"):
            await driver.to_app.send({"type": f"lifespan.{moment}"})
            assert (await driver.from_app.receive())["type"] == f"lifespan.{moment}.complete"
    driver.close()
