"""A daemon's listener around a service that echoes, and clients that no library would send for us."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import anyio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.asyncio.client import ClientConnection, connect, unix_connect

from nexus.abc.transport import Transport
from nexus.daemon.door import Door
from nexus.daemon.handshake import HandshakePolicy
from nexus.daemon.keys import MemoryKeys
from nexus.daemon.revocation import MemoryRevocations
from nexus.daemon.sockets import bind_tcp, bind_unix
from nexus.daemon.tokens import Tokens
from nexus.daemon.websocket import Listener, listen
from nexus.testing.clock import ManualClock

_LOOPBACK = ipaddress.ip_address("127.0.0.1")
HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Protocol: {protocols}\r\n{more}\r\n"
)


@dataclass
class Echo:
    """A listener, and what is at its door."""

    door: Door
    tokens: Tokens
    clock: ManualClock
    address: tuple[str, int] | str = ""
    listener: Listener | None = None
    seen: list[Transport] = field(default_factory=list)

    async def serve(self, transport: Transport) -> None:
        """Admit by the token of the handshake, else by the first message, and echo; ``boom`` fails."""
        self.seen.append(transport)
        token = transport.peer.token
        if token is None:
            first = await transport.receive()
            token = first if isinstance(first, str) else ""
        who = await self.door.admit(transport.peer, token)
        await transport.send(f"hello {who.subject}")
        while True:
            message = await transport.receive()
            if message == "boom":
                raise ValueError(f"unexpected, and quotes {token}")
            await transport.send(message)

    def token(self, **more: object) -> str:
        return self.tokens.issue(**{"subject": "ann", "scopes": ["exec"], **more}).token  # type: ignore[arg-type]

    def connect(self, token: str | None = None, **more: object) -> connect:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        options = {"subprotocols": ["nexus.v1"], "additional_headers": headers, "proxy": None, **more}
        if isinstance(self.address, str):
            return unix_connect(self.address, "ws://localhost/v1/rpc", **options)
        host, port = self.address
        scheme = "wss" if "ssl" in more else "ws"
        return connect(f"{scheme}://{host}:{port}/v1/rpc", **options)  # type: ignore[arg-type]

    def raw(self) -> socket.socket:
        """A plain connection."""
        if isinstance(self.address, str):
            plain = socket.socket(socket.AF_UNIX)
            plain.connect(self.address)
        else:
            plain = socket.create_connection(self.address)
        plain.settimeout(30)
        return plain

    def handshake(
        self, *more: str, path: str = "/v1/rpc", host: str = "localhost", protocols: str = "nexus.v1"
    ) -> bytes:
        lines = "".join(f"{line}\r\n" for line in more)
        return HANDSHAKE.format(path=path, host=host, protocols=protocols, more=lines).encode()


@pytest.fixture
def echo() -> Echo:
    clock = ManualClock()
    tokens = Tokens(MemoryKeys(clock), MemoryRevocations(clock), clock)
    tokens.issue(subject="nobody", scopes=["exec"])
    return Echo(Door(tokens, clock), tokens, clock)


class Listening(Protocol):
    """Listens."""

    def __call__(
        self,
        *,
        unix: bool = ...,
        policy: HandshakePolicy | None = ...,
        tls: ssl.SSLContext | None = ...,
        patience: float = ...,
    ) -> AbstractAsyncContextManager[Echo]: ...


@pytest.fixture
def listening(echo: Echo, tmp_path: Path) -> Listening:
    """Listen: on TCP, or on a Unix socket with ``unix=True``."""

    @asynccontextmanager
    async def start(
        *,
        unix: bool = False,
        policy: HandshakePolicy | None = None,
        tls: ssl.SSLContext | None = None,
        patience: float = 30.0,
    ) -> AsyncGenerator[Echo, None]:
        (tmp_path / "run").mkdir(mode=0o700, exist_ok=True)
        bound = bind_unix(tmp_path / "run", "nexus", "d.sock") if unix else bind_tcp("127.0.0.1", 0)
        echo.address = str(tmp_path / "run" / "nexus" / "d.sock") if unix else bound.getsockname()[:2]
        rules = policy or HandshakePolicy(any_host=unix)
        async with listen(bound, echo.serve, door=echo.door, policy=rules, tls=tls, patience=patience) as listener:
            echo.listener = listener
            yield echo

    return start


async def until(condition: Callable[[], bool]) -> None:
    """Return once it holds; the test's own time limit ends the waiting."""
    while not condition():  # noqa: ASYNC110 - nothing rings for it
        await anyio.sleep(0.01)


async def greeting(connection: ClientConnection) -> str:
    """What the service says once somebody is in."""
    said = await connection.recv()
    assert isinstance(said, str)
    return said


@dataclass(frozen=True)
class Certificate:
    cert: Path
    key: Path

    def trusting(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.cert))


@pytest.fixture
def certify(tmp_path: Path) -> Callable[[str], Certificate]:
    """Make a certificate for this machine that signs itself."""

    def make(name: str) -> Certificate:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.UTC)
        names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(_LOOPBACK)])
        cert = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(names, critical=False)
            .sign(key, hashes.SHA256())
        )
        made = Certificate(tmp_path / f"{name}.crt", tmp_path / f"{name}.key")
        made.cert.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        made.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        made.key.chmod(0o600)
        return made

    return make
