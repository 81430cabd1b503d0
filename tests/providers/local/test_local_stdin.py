# A test may block its own loop.
from __future__ import annotations

import hashlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import anyio
import pytest

from nexus.errors import StdinClosed
from nexus.models.execution import ExecResult, SpawnRequest
from nexus.providers.local.instance import LocalInstance

Run: TypeAlias = Callable[..., Awaitable[ExecResult]]


async def test_without_standard_input_it_is_at_its_end(run: Run, running: LocalInstance) -> None:
    assert (await run("wc", "-c")).stdout.strip() == "0"
    handle = await running.spawn(SpawnRequest(argv=("sleep", "1000"), grace=0.1))
    with pytest.raises(StdinClosed):
        await handle.write(b"x")
    await handle.close_stdin()
    await handle.aclose()


async def test_what_is_written_arrives_and_its_end_too(running: LocalInstance, drain: Run) -> None:
    handle = await running.spawn(SpawnRequest(argv=("cat",), stdin=True))
    await handle.write(b"a\x00b")
    await handle.write(b"")
    await handle.write(b"\xff\n")
    await handle.close_stdin()
    await handle.close_stdin()
    with pytest.raises(StdinClosed):
        await handle.write(b"late")
    done = await drain(handle)
    assert (done.stdout_bytes, done.exit_code) == (b"a\x00b\xff\n", 0)


async def test_much_goes_both_ways_at_once(running: LocalInstance) -> None:
    data = os.urandom(1024 * 1024) * 8
    handle = await running.spawn(SpawnRequest(argv=("cat",), stdin=True))
    digest = hashlib.sha256()

    async def feed() -> None:
        await handle.write(data)
        await handle.close_stdin()

    async with anyio.create_task_group() as group:
        group.start_soon(feed)
        while not hasattr(event := await handle.receive(), "exit_code"):
            digest.update(getattr(event, "data", b""))
    await handle.aclose()
    assert digest.digest() == hashlib.sha256(data).digest()


async def test_a_command_that_never_reads_stops_the_writer_and_still_hears_signals(running: LocalInstance) -> None:
    keeper = (await running.status()).process
    assert keeper is not None
    handle = await running.spawn(SpawnRequest(argv=("sleep", "1000"), stdin=True))
    written = 0
    with anyio.move_on_after(0.5) as scope:
        for _ in range(32):
            await handle.write(bytes(1024 * 1024))
            written += 1
    assert scope.cancelled_caught, "32 MiB cannot fit anywhere on the way"
    assert written < 4
    status = Path(f"/proc/{keeper.pid}/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
    assert peak < 48 * 1024
    await handle.signal(15)
    while not hasattr(event := await handle.receive(), "exit_code"):
        pass
    assert getattr(event, "signal", None) == 15
    with pytest.raises(StdinClosed):
        await handle.write(bytes(1024 * 1024))
    await handle.close_stdin()
    await handle.aclose()


async def test_a_command_that_ends_early_frees_a_waiting_writer_and_keeps_its_result(
    running: LocalInstance, drain: Run
) -> None:
    handle = await running.spawn(SpawnRequest(argv=("sh", "-c", "head -c 3; exit 4"), stdin=True))
    with anyio.fail_after(30), pytest.raises(StdinClosed):
        await handle.write(b"abc" + bytes(32 * 1024 * 1024))
    done = await drain(handle)
    assert (done.stdout_bytes, done.exit_code) == (b"abc", 4)


async def test_a_command_that_only_closes_its_input_frees_a_waiting_writer(running: LocalInstance, drain: Run) -> None:
    handle = await running.spawn(
        SpawnRequest(argv=("sh", "-c", "exec <&-; echo closed; sleep 1000"), stdin=True, grace=0.1)
    )
    with anyio.fail_after(30), pytest.raises(StdinClosed):
        await handle.write(bytes(32 * 1024 * 1024))
    await handle.aclose()


async def test_a_cancelled_write_tears_nothing(running: LocalInstance) -> None:
    """The keeper must find every later frame: what arrives are whole pieces, then what is written next, then the end."""
    script = "read go < gate; exec wc -c"
    handle = await running.spawn(SpawnRequest(argv=("sh", "-c", f"mkfifo gate; {script}"), stdin=True))
    with anyio.move_on_after(0.3) as scope:
        await handle.write(bytes(16 * 1024 * 1024))
    assert scope.cancelled_caught
    output = b""

    async def finish() -> None:
        await handle.write(b"tail")
        await handle.close_stdin()

    async with anyio.create_task_group() as group:
        group.start_soon(finish)
        opener = await running.spawn(SpawnRequest(argv=("sh", "-c", "echo go > gate")))
        while not hasattr(event := await handle.receive(), "exit_code"):
            output += getattr(event, "data", b"")
    await opener.aclose()
    await handle.aclose()
    assert (int(output) - len(b"tail")) % (64 * 1024) == 0
    assert int(output) > 64 * 1024
