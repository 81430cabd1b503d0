from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import pytest
from anyio import to_thread
from anyio.lowlevel import checkpoint

from nexus.abc.transport import Transport
from nexus.daemon.framing import Unframer, framed
from nexus.daemon.stdio import StdioTransport, open_stdio
from nexus.errors import ConnectionLost, InvalidArgument, ProtocolError


@asynccontextmanager
async def pipes() -> AsyncGenerator[tuple[StdioTransport, int, int]]:
    """A transport, and the descriptors at the other ends: the one to write to and the one to read from."""
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    try:
        async with open_stdio(ours_in, ours_out, token="t") as transport:
            yield transport, theirs_out, theirs_in
        assert os.get_blocking(ours_in)
        assert os.get_blocking(ours_out)
    finally:
        for descriptor in (theirs_in, ours_out, ours_in, theirs_out):
            os.close(descriptor)


async def test_messages_go_both_ways() -> None:
    async with pipes() as (transport, to_it, from_it):
        assert isinstance(transport, Transport)
        os.write(to_it, framed("hé") + framed(b"\xff"))
        assert await transport.receive() == "hé"
        assert await transport.receive() == b"\xff"
        await transport.send("yes")
        unframer = Unframer()
        unframer.feed(os.read(from_it, 1000))
        assert unframer.take() == "yes"
        assert (transport.peer.uid, transport.peer.token) == (os.getuid(), "t")


async def test_a_cancelled_receive_loses_nothing() -> None:
    async with pipes() as (transport, to_it, _):
        message = framed("whole")
        os.write(to_it, message[:10])
        with anyio.move_on_after(0.01):
            await transport.receive()
        os.write(to_it, message[10:])
        assert await transport.receive() == "whole"


async def test_large_messages_wait_for_a_slow_reader() -> None:
    async with pipes() as (transport, _, from_it):
        sent = "x" * 1_000_000
        unframer = Unframer()

        async with anyio.create_task_group() as group:
            group.start_soon(transport.send, sent)
            got: str | bytes | None = None
            while got is None:
                unframer.feed(await to_thread.run_sync(os.read, from_it, 65536))
                got = unframer.take()
        assert got == sent


async def test_the_end_of_the_pipe_is_the_end() -> None:
    ours_in, theirs_out = os.pipe()
    theirs_in, ours_out = os.pipe()
    async with open_stdio(ours_in, ours_out) as transport:
        os.close(theirs_out)
        with pytest.raises(ConnectionLost):
            await transport.receive()
        os.close(theirs_in)
        with suppress(ConnectionLost):
            await transport.send("the system may notice only now")
        await checkpoint()
        with pytest.raises(ConnectionLost):
            await transport.send("x")
        await transport.aclose()
        await transport.aclose()
    os.close(ours_in)
    os.close(ours_out)


async def test_noise_ends_it_and_stays_ended() -> None:
    async with pipes() as (transport, to_it, _):
        os.write(to_it, framed("good") + b"noise\r\n\r\n")
        assert await transport.receive() == "good"
        for _ in range(2):
            with pytest.raises(ProtocolError):
                await transport.receive()


async def test_a_plain_file_is_no_connection(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(framed("x"))
    descriptor = os.open(tmp_path / "in", os.O_RDONLY)
    with pytest.raises(InvalidArgument, match="pipes, sockets or terminals"):
        async with open_stdio(descriptor, descriptor):
            pass
    os.close(descriptor)
