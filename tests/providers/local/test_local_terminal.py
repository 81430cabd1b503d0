from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import anyio
import pytest

from nexus.errors import InvalidArgument
from nexus.models.execution import ExecResult, Output, Pty, SpawnRequest
from nexus.processes import identify
from nexus.providers.local.instance import LocalInstance
from nexus.providers.local.process import LocalProcess

Run: TypeAlias = Callable[..., Awaitable[ExecResult]]


async def until(handle: LocalProcess, pattern: bytes) -> bytes:
    seen = b""
    with anyio.fail_after(60):
        while not re.search(pattern, seen, re.DOTALL):
            event = await handle.receive()
            seen += event.data if isinstance(event, Output) else b""
            assert not hasattr(event, "exit_code"), seen
    return seen


async def test_a_terminal_of_its_own_with_its_size_from_the_start(run: Run) -> None:
    done = await run(
        "sh", "-c", "stty size; echo $TERM; tty; echo err >&2; ps -o tty= -p $$", pty=Pty(rows=41, cols=133)
    )
    lines = done.stdout.replace("\r\n", "\n").splitlines()
    assert lines[0] == "41 133"
    assert lines[1] == "xterm-256color"
    assert lines[2] == f"/dev/{lines[4]}"
    assert lines[3] == "err", "a terminal has one stream"
    assert done.stderr_bytes == b""


async def test_typing_and_resizing(running: LocalInstance) -> None:
    handle = await running.spawn(
        SpawnRequest(
            argv=("bash", "--norc", "-i"), stdin=True, pty=Pty(rows=10, cols=40), env={"PS1": "at-prompt "}, grace=0.5
        )
    )
    await handle.write(b"echo $((40+2))-; trap 'echo win-$(stty size)-' WINCH; echo ready-$?\n")
    await until(handle, b"ready-0.*at-prompt")  # while it prepares the prompt, bash sets the size that it has just read
    await handle.resize(rows=55, cols=99)
    await handle.write(b"\n")
    await until(handle, b"win-55 99-")
    await handle.write(b"sh -c 'echo up-$((1+1)); exec sleep 1000'\n")
    await until(handle, b"up-2")
    await handle.write(b"\x03")
    await until(handle, rb"\^C")
    await handle.write(b"echo after-$?\n")
    await until(handle, b"after-130")
    await handle.write(b"exit 9\n")
    while not hasattr(event := await handle.receive(), "exit_code"):
        pass
    assert event.exit_code == 9
    await handle.resize(rows=1, cols=1)
    await handle.aclose()


async def test_an_interactive_shell_is_gone_long_before_the_grace_is_over(running: LocalInstance) -> None:
    handle = await running.spawn(SpawnRequest(argv=("bash", "--norc", "-i"), stdin=True, pty=Pty(), grace=1000))
    await handle.write(b"echo =$$=\n")
    shell = re.search(rb"=(\d+)=", await until(handle, rb"=\d+="))
    assert shell is not None
    with anyio.fail_after(30):
        await handle.aclose()
    assert identify(int(shell[1])) is None


async def test_the_end_of_input_is_typed(running: LocalInstance, drain: Run) -> None:
    for text, expected in ((b"one\ntwo", b"7"), (b"one\n", b"4"), (b"", b"0")):
        handle = await running.spawn(
            SpawnRequest(argv=("sh", "-c", "stty -echo; echo ok; exec wc -c"), stdin=True, pty=Pty())
        )
        await until(handle, b"ok")
        await handle.write(text)
        await handle.close_stdin()
        seen = b""
        while not hasattr(event := await handle.receive(), "exit_code"):
            seen += getattr(event, "data", b"")
        assert seen.split()[-1] == expected
        await handle.aclose()


async def test_nobody_at_the_terminal_means_end_of_input(run: Run) -> None:
    with anyio.fail_after(30):
        done = await run("cat", pty=Pty())
    assert done.exit_code == 0


async def test_all_output_arrives_before_the_end(run: Run) -> None:
    done = await run("sh", "-c", "seq 20000", pty=Pty())
    assert done.stdout_bytes == b"".join(b"%d\r\n" % number for number in range(1, 20001))


async def test_sizes_that_no_terminal_has_are_refused(running: LocalInstance) -> None:
    handle = await running.spawn(SpawnRequest(argv=("sleep", "1000"), pty=Pty(), grace=0.1))
    for rows, cols in ((0, 80), (24, 0), (70000, 80)):
        with pytest.raises(InvalidArgument):
            await handle.resize(rows, cols)
    await handle.aclose()


def _written(pid: int) -> int | None:
    """Return how many bytes a program has written; ``None`` when it has ended."""
    try:
        return int(Path(f"/proc/{pid}/io").read_text().split("wchar: ")[1].split()[0])
    except (OSError, IndexError):
        return None


async def test_a_slow_reader_gets_the_last_of_what_a_terminal_printed(running: LocalInstance, run: Run) -> None:
    async def printing(size: str) -> tuple[LocalProcess, int, int | None]:
        """Start a program that prints so many bytes, read by nobody, and return how far it comes."""
        argv = ("sh", "-c", f"stty raw; echo $$; exec head -c {size} /dev/zero")
        handle = await running.spawn(SpawnRequest(argv=argv, pty=Pty(), grace=0.1))
        seen = b""
        while (found := re.search(rb"(\d+)\n(.*)", seen, re.DOTALL)) is None:
            event = await handle.receive()
            seen += event.data if isinstance(event, Output) else b""
        program, last = int(found[1]), -1
        while (now := _written(program)) is not None and (now != last or now == 0):
            last = now
            await anyio.sleep(0.05)
        return handle, found[2].count(0), now

    endless, _, most = await printing("9G")
    assert most is not None
    await endless.aclose()
    # What the last of it prints that can end is still in the kernel then, which has more than it tells.
    sizes = [most - missing * 1024 for missing in range(48, 0, -3)]
    some = [(size, *await printing(str(size))) for size in sizes]
    await run(
        "sleep", "0.5"
    )  # by the same keeper, which has stopped to wait for background children of the others by then
    ended = 0
    for size, handle, already, written in some:
        count = already
        while written is None and not hasattr(event := await handle.receive(), "exit_code"):
            count += event.data.count(0) if isinstance(event, Output) else 0
        assert written is not None or count == size
        ended += written is None
        await handle.aclose()
    assert ended, "one of them at least ended without a reader"
