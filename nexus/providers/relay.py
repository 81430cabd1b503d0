"""A TCP connection made from inside, by a program that is there anyway: its input and output are the connection.

Nothing of ours is put inside. What listens on the loopback address there is reached like everything else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import anyio
from anyio.abc import ByteStream
from typing_extensions import override

from nexus.abc import ProcessHandle
from nexus.errors import NexusError, PortNotOpen, StdinClosed, Unsupported
from nexus.models.execution import Exited, Output, SpawnRequest, Stream

_READY: Final = b"+"
_NO_PROGRAM: Final = frozenset({112, 126, 127})
_PYTHON: Final = """
import os, socket, sys, threading
try: s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 10)
except OSError: sys.exit(111)
s.settimeout(None); os.write(1, b'+')
def up():
    try:
        while True:
            b = os.read(0, 65536)
            if not b: break
            s.sendall(b)
        s.shutdown(socket.SHUT_WR)
    except OSError: pass
threading.Thread(target=up, daemon=True).start()
try:
    while True:
        b = s.recv(65536)
        if not b: break
        while b: b = b[os.write(1, b):]
except OSError: pass
"""
# In order of preference. The first tells of a refusal itself; the others are only used where something is known to listen. Not every
# netcat ends its writing side with its input, so those come last.
_SCRIPT: Final = r"""
has() { command -v "$1" >/dev/null 2>&1; }
for python in python3 python; do has $python && exec $python -c "$3" "$1" "$2"; done
case $1 in *:*) address="[$1]" ;; *) address=$1 ;; esac
if has socat; then printf +; exec socat -t 3600 - "TCP:$address:$2"; fi
if has nc; then printf +; exec nc "$1" "$2"; fi
if has bash; then
  exec bash -c 'exec 3<>"/dev/tcp/$0/$1" || exit 111; printf +; cat <&3 & cat >&3; wait' "$1" "$2"
fi
exit 112
"""
_DEADLINE: Final = 20.0


class RelayedConnection(ByteStream):
    """A connection whose bytes pass through a program inside.

    Args:
        process: The program, connected.
    """

    def __init__(self, process: ProcessHandle) -> None:
        self._process = process
        self._rest = b""
        self._status: int | None = None
        self._ended = False

    @property
    def status(self) -> int | None:
        """What the program ended with, once it has."""
        return self._status

    @override
    async def receive(self, max_bytes: int = 65536) -> bytes:
        while not self._rest:
            if self._ended:
                raise anyio.EndOfStream
            event = await self._process.receive()
            if isinstance(event, Output) and event.stream is Stream.STDOUT:
                self._rest = event.data
            elif isinstance(event, Exited):
                self._ended, self._status = True, event.exit_code
        data, self._rest = self._rest[:max_bytes], self._rest[max_bytes:]
        return data

    @override
    async def send(self, item: bytes) -> None:
        try:
            await self._process.write(item)
        except StdinClosed as error:
            raise anyio.BrokenResourceError from error

    @override
    async def send_eof(self) -> None:
        await self._process.close_stdin()

    @override
    async def aclose(self) -> None:
        with anyio.CancelScope(shield=True), anyio.move_on_after(_DEADLINE):
            await self._process.aclose()


async def relayed(
    spawn: Callable[[SpawnRequest], Awaitable[ProcessHandle]], port: int, *, address: str, workspace: str
) -> RelayedConnection:
    """Connect to a port by a program inside: Python, socat, netcat or bash, whichever there is.

    Args:
        spawn: Starts a command inside.
        port: The port.
        address: Where the program that is wanted listens, as seen inside.
        workspace: Its name, for errors.

    Raises:
        PortNotOpen: When it refuses.
        Unsupported: When there is no program that could connect.
        NexusError: What starting a command raised.

    Cancellation: the program is ended.
    """
    request = SpawnRequest(
        argv=("sh", "-c", _SCRIPT, "nexus-connect", address, str(port), _PYTHON), stdin=True, keeps_awake=False
    )
    process = await spawn(request)
    stream = RelayedConnection(process)
    try:
        with anyio.fail_after(_DEADLINE):
            connected = await _connected(stream)
    except TimeoutError as error:
        await stream.aclose()
        raise not_open(workspace, port) from error
    except BaseException:
        await stream.aclose()
        raise
    if connected:
        return stream
    await stream.aclose()
    raise no_way(workspace, port) if stream.status in _NO_PROGRAM else not_open(workspace, port)


async def _connected(stream: RelayedConnection) -> bool:
    """Wait until the program says that it is connected, or has ended."""
    try:
        return await stream.receive(1) == _READY
    except anyio.EndOfStream:
        return False


def not_open(workspace: str, port: int) -> PortNotOpen:
    """Return the error for a port on which nothing accepts connections."""
    return PortNotOpen(
        f"nothing in workspace {workspace!r} listens on port {port}",
        hint="start the program that should, or wait for it: ws.wait_open(port)",
        details={"port": port},
    )


def no_way(workspace: str, port: int) -> NexusError:
    """Return the error for a place that has nothing to connect with."""
    return Unsupported(
        f"port {port} of workspace {workspace!r} cannot be reached: it is open to programs inside only, and none of them can connect",
        hint="let the program listen on 0.0.0.0, or have python3, socat or nc in the image",
        details={"capability": "connect", "provider": None, "port": port},
    )
