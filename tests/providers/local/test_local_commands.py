from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import anyio
import pytest

from nexus.errors import ExecStartError, InvalidArgument, Unsupported
from nexus.models.execution import ExecResult, Exited, Output, SpawnRequest, Started
from nexus.models.instances import InstanceSpec
from nexus.providers.local.instance import LocalInstance
from nexus.providers.local.keeper import tree

Run: TypeAlias = Callable[..., Awaitable[ExecResult]]
Eventually: TypeAlias = Callable[[Callable[[], bool]], Awaitable[None]]


def descriptors(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def gone(pid: int) -> bool:
    process = tree.read(pid)
    return process is None or process.ended


async def first_line(handle: object) -> bytes:
    """Receive until a whole line has come; what came with it is dropped."""
    line = b""
    while b"\n" not in line:
        event = await handle.receive()  # type: ignore[attr-defined]
        if isinstance(event, Output):
            line += event.data
        else:
            assert isinstance(event, Started), event
    return line.partition(b"\n")[0]


async def test_output_of_both_streams_and_the_status(run: Run) -> None:
    done = await run("sh", "-c", "printf out; printf err >&2; exit 7")
    assert (done.stdout_bytes, done.stderr_bytes, done.exit_code, done.signal) == (b"out", b"err", 7, None)


async def test_streams_keep_their_order_of_arrival(running: LocalInstance) -> None:
    script = "for i in 1 2 3 4 5; do echo o$i; read -r _; echo e$i >&2; read -r _; done"
    handle = await running.spawn(SpawnRequest(argv=("sh", "-c", script), stdin=True))
    printed = b""
    while not isinstance(event := await handle.receive(), Exited):
        if isinstance(event, Output):
            printed += event.data
            await handle.write(b"\n" * event.data.count(b"\n"))  # no sooner does it print the next
    assert printed == b"".join(b"o%d\ne%d\n" % (i, i) for i in range(1, 6))
    await handle.aclose()


async def test_a_thousand_short_commands_lose_no_byte_and_no_status(
    running: LocalInstance, run: Run, eventually: Eventually
) -> None:
    keeper = (await running.status()).process
    assert keeper is not None
    before = descriptors(keeper.pid)
    own = descriptors(os.getpid())
    wrong: list[tuple[int, ExecResult]] = []

    async def worker(numbers: range) -> None:
        for number in numbers:
            done = await run("sh", "-c", f"echo ok {number}; exit {number % 200}")
            if (done.stdout_bytes, done.exit_code) != (b"ok %d\n" % number, number % 200):
                wrong.append((number, done))

    async with anyio.create_task_group() as group:
        for start in range(10):
            group.start_soon(worker, range(start, 1000, 10))
    assert wrong == []
    await eventually(lambda: descriptors(keeper.pid) == before)
    assert descriptors(os.getpid()) <= own + 1


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (1, 1), (126, 126), (127, 127), (255, 255)])
async def test_every_status_is_passed_on(run: Run, code: int, expected: int) -> None:
    assert (await run("sh", "-c", f"exit {code}")).exit_code == expected


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGHUP])
async def test_an_end_by_signal_says_which(run: Run, number: signal.Signals) -> None:
    done = await run("sh", "-c", f"kill -{int(number)} $$")
    assert (done.exit_code, done.signal) == (128 + number, number)


async def test_bytes_that_are_no_text_come_through(run: Run) -> None:
    done = await run(sys.executable, "-c", "import os; os.write(1, bytes(range(256)) * 40)")
    assert done.stdout_bytes == bytes(range(256)) * 40


async def test_words_and_variables_come_through_unchanged(run: Run) -> None:
    odd = "x\ny=\udcfez"
    words = ["", " ", "a\nb", "*", "$HOME", "ä€", "\udcff", "-n", "'\""]
    script = "import os, sys; print(ascii(sys.argv[1:])); print(ascii(os.environ['ODD']))"
    done = await run(sys.executable, "-X", "utf8", "-c", script, *words, env={"ODD": odd})
    assert done.stdout == f"{words!a}\n{odd!a}\n"


async def test_words_that_no_program_can_take_are_refused(run: Run) -> None:
    with pytest.raises(InvalidArgument):
        await run("echo", "\ud800")


async def test_long_command_lines(run: Run) -> None:
    words = ["x" * 1000] * 200
    done = await run("sh", "-c", 'echo $# "$(echo "$*" | wc -c)"', "sh", *words)
    assert done.stdout.split() == ["200", str(200 * 1001)]


@pytest.mark.parametrize("words", [["x" * 200_000], ["x" * 1000] * 20_000], ids=["one", "all"])
async def test_a_command_line_that_is_too_long_is_a_typed_error(run: Run, words: list[str]) -> None:
    with pytest.raises(ExecStartError, match="longer than the system takes") as caught:
        await run("echo", *words)
    assert caught.value.exit_code == 126
    assert (await run("echo", "still here")).stdout == "still here\n"


async def test_programs_that_do_not_start(running: LocalInstance, run: Run, spec: InstanceSpec) -> None:
    script = spec.worktree / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    plain = spec.worktree / "plain"
    plain.write_text("no program\n")
    binary = spec.worktree / "binary"
    binary.write_bytes(b"\x00\x01\x02")
    binary.chmod(0o755)
    cases = {
        "no-such-program-anywhere": (127, "no such program in PATH"),
        "./no-such-program": (127, "no such program"),
        "./plain": (126, "cannot be executed"),
        "./script": (126, "interpreter"),
        "./binary": (126, "no program for this system"),
        "/": (126, "cannot be executed"),
    }
    for program, (code, words) in cases.items():
        with pytest.raises(ExecStartError, match=words) as caught:
            await run(program)
        assert caught.value.exit_code == code, program
    keeper = (await running.status()).process
    assert keeper is not None
    assert tree.descendants(keeper.pid) == []


@pytest.mark.parametrize("cwd", ["no/such", "file", "/no/such"])
async def test_a_missing_folder_is_not_taken_for_a_missing_program(run: Run, spec: InstanceSpec, cwd: str) -> None:
    (spec.worktree / "file").write_text("")
    with pytest.raises(ExecStartError, match="cannot start in") as caught:
        await run("true", cwd=cwd)
    assert caught.value.exit_code == 126


async def test_where_commands_start(run: Run, spec: InstanceSpec, tmp_path: Path) -> None:
    (spec.worktree / "sub").mkdir()
    (spec.worktree / "sub" / "tool").symlink_to("/bin/pwd")
    assert (await run("pwd")).stdout == f"{spec.worktree}\n"
    assert (await run("./tool", cwd="sub")).stdout == f"{spec.worktree}/sub\n"
    assert (await run("pwd", cwd=str(tmp_path))).stdout == f"{tmp_path}\n"


async def test_the_path_of_the_request_finds_the_program(run: Run, spec: InstanceSpec) -> None:
    tool = spec.worktree / "only-here"
    tool.write_text("#!/bin/sh\necho found\n")
    tool.chmod(0o755)
    assert (await run("only-here", env={"PATH": f"{spec.worktree}:/bin"})).stdout == "found\n"


async def test_the_hosts_secrets_do_not_come_along(run: Run) -> None:
    done = await run("env")
    assert "canary" not in done.stdout
    assert "MY_PROXY" not in done.stdout


async def test_programs_start_with_nothing_of_the_keepers(run: Run) -> None:
    done = await run("sh", "-c", "ls /proc/self/fd | wc -l; ulimit -n; grep Sig[BI] /proc/self/status")
    lines = done.stdout.splitlines()
    assert lines[0] == "4", "standard streams and the one that ls itself opens"
    assert int(lines[1]) == _soft_limit()
    # Signals 32 and 33 are the C library's own: whoever started the tests may have them ignored, and nobody can change that.
    masks = [int(line.split()[1], 16) & ~(0b11 << 31) for line in lines[2:]]
    assert masks == [0, 0], "no signal blocked, none ignored"


def _soft_limit() -> int:
    import resource

    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


async def test_a_broken_pipe_ends_a_program_as_in_any_shell(run: Run) -> None:
    done = await run("bash", "-c", "yes | head -n 1; echo ${PIPESTATUS[0]}")
    assert done.stdout == "y\n141\n"


async def test_a_child_that_keeps_the_pipe_does_not_hold_up_the_end(
    run: Run, running: LocalInstance, eventually: Eventually
) -> None:
    started = time.monotonic()
    done = await run("sh", "-c", "sleep 1000 & echo $!; echo last words")
    assert time.monotonic() - started < 100, "the end was told long before the child's"
    pid, words = done.stdout.split("\n", 1)
    assert words == "last words\n"
    assert done.exit_code == 0
    assert not gone(int(pid)), "a background child outlives its command"
    await running.stop()
    assert gone(int(pid))


async def test_all_that_the_leader_wrote_comes_before_its_end_also_when_a_child_goes_on_writing(run: Run) -> None:
    script = "(while :; do echo noise; done) & head -c 300000 /dev/zero | tr '\\0' x >&2; kill -9 $$"
    done = await run("bash", "-c", script)
    assert done.signal == signal.SIGKILL
    assert len(done.stderr_bytes) == 300_000


async def test_a_child_that_detached_belongs_to_the_workspace(run: Run, running: LocalInstance) -> None:
    script = (
        "import os, sys, time\n"
        "if os.fork(): sys.exit()\n"
        "os.setsid()\n"
        "if os.fork(): os._exit(0)\n"
        "null = os.open('/dev/null', os.O_RDWR)\n"
        "open('daemon', 'w').write(str(os.getpid()) + '\\n')\n"
        "[os.dup2(null, n) for n in range(3)]\n"
        "time.sleep(1000)\n"
    )
    done = await run(
        "sh", "-c", f'{sys.executable} -c "$1"; while [ ! -s daemon ]; do sleep 0.01; done; cat daemon', "sh", script
    )
    daemon = int(done.stdout)
    keeper = (await running.status()).process
    assert keeper is not None
    assert daemon in {process.pid for process in tree.descendants(keeper.pid)}
    await running.stop()
    assert gone(daemon)


async def test_after_the_time_limit_the_whole_group_is_gone_and_the_output_is_there(run: Run) -> None:
    script = "trap '' TERM; sleep 1000 & echo $! $$; wait; sleep 1000"
    done = await run("sh", "-c", script, timeout=2, grace=0.2)
    assert done.timed_out
    assert done.signal == signal.SIGKILL
    assert [gone(int(pid)) for pid in done.stdout.split()] == [True, True]


async def test_a_member_of_the_group_that_ignores_term_does_not_survive_a_leader_that_obeys(run: Run) -> None:
    script = "(trap '' TERM; sleep 1000 & wait; sleep 1000) & echo $!; exec sleep 1000"
    done = await run("sh", "-c", script, timeout=2, grace=0.2)
    assert done.timed_out
    assert done.signal == signal.SIGTERM
    assert gone(int(done.stdout))


async def test_a_command_that_obeys_is_not_killed(run: Run) -> None:
    done = await run("sh", "-c", "trap 'echo bye; exit 5' TERM; echo up; sleep 1000 & wait", timeout=2, grace=30)
    assert (done.stdout, done.exit_code, done.timed_out) == ("up\nbye\n", 5, True)


async def test_a_command_that_ends_in_time_is_not_called_late(run: Run) -> None:
    done = await run("true", timeout=60)
    assert (done.exit_code, done.timed_out) == (0, False)


async def test_a_signal_reaches_a_whole_pipeline(running: LocalInstance, eventually: Eventually) -> None:
    handle = await running.spawn(SpawnRequest(argv=("sh", "-c", "sleep 1000 | cat & echo $!; sleep 1000 | sleep 1000")))
    keeper = (await running.status()).process
    assert keeper is not None
    while not isinstance(await handle.receive(), Output):
        pass
    members = tree.descendants(keeper.pid)
    assert len({member.group for member in members}) == 1
    await handle.signal(signal.SIGKILL)
    while not hasattr(event := await handle.receive(), "exit_code"):
        pass
    assert getattr(event, "signal", None) == signal.SIGKILL
    await eventually(lambda: all(gone(member.pid) for member in members))
    await handle.aclose()
    await handle.signal(signal.SIGTERM)  # ended: fine


async def test_signals_that_do_not_exist_are_refused(running: LocalInstance) -> None:
    handle = await running.spawn(SpawnRequest(argv=("true",)))
    for number in (0, -1, 65):
        with pytest.raises(InvalidArgument):
            await handle.signal(number)
    await handle.aclose()


async def test_closing_ends_the_group_and_tells_the_end(running: LocalInstance) -> None:
    handle = await running.spawn(
        SpawnRequest(
            argv=("sh", "-c", "trap '' TERM; sleep 1000 & echo $! $$; while :; do sleep 1000; done"), grace=0.1
        )
    )
    pids = [int(word) for word in (await first_line(handle)).split()]
    await handle.aclose()
    assert [gone(pid) for pid in pids] == [True, True]
    event = await handle.receive()
    assert getattr(event, "signal", None) == signal.SIGKILL
    with pytest.raises(anyio.EndOfStream):
        await handle.receive()
    await handle.aclose()


async def test_a_cancelled_block_leaves_no_process(running: LocalInstance) -> None:
    pids: list[int] = []
    with anyio.CancelScope() as scope:
        handle = await running.spawn(SpawnRequest(argv=("sh", "-c", "echo $$; sleep 1000"), grace=1))
        try:
            pids.append(int(await first_line(handle)))
            scope.cancel()
            await handle.receive()
        finally:
            await handle.aclose()
    assert scope.cancelled_caught
    assert gone(pids[0])


async def test_a_cancelled_spawn_leaves_no_process(running: LocalInstance, eventually: Eventually) -> None:
    keeper = (await running.status()).process
    assert keeper is not None
    for delay in range(12):
        handle = None
        with anyio.move_on_after(delay / 4000):
            handle = await running.spawn(SpawnRequest(argv=("sleep", "1000"), grace=0.1))
        if handle is not None:
            await handle.aclose()
    await eventually(lambda: tree.descendants(keeper.pid) == [])


async def test_a_cancelled_receive_loses_nothing(running: LocalInstance) -> None:
    handle = await running.spawn(SpawnRequest(argv=("sh", "-c", "for i in $(seq 2000); do echo line $i; done")))
    received = bytearray()
    tries = 0
    while True:
        tries += 1
        event = None
        with anyio.move_on_after(0.0002 * (tries % 3)):
            event = await handle.receive()
        if isinstance(event, Output):
            received += event.data
        elif event is not None and not isinstance(event, Started):
            break
    assert received == b"".join(b"line %d\n" % number for number in range(1, 2001))
    await handle.aclose()


async def test_two_readers_share_the_events(running: LocalInstance) -> None:
    handle = await running.spawn(SpawnRequest(argv=("sh", "-c", "seq 20000")))
    pieces: list[Output] = []
    ended: list[int] = []

    async def read() -> None:
        try:
            while True:
                event = await handle.receive()
                if isinstance(event, Output):
                    pieces.append(event)
        except anyio.EndOfStream:
            ended.append(1)

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        group.start_soon(read)
    assert ended == [1, 1]
    text = b"".join(piece.data for piece in sorted(pieces, key=lambda piece: piece.offset))
    assert text == b"".join(b"%d\n" % number for number in range(1, 20001))
    await handle.aclose()


async def test_endless_output_to_a_slow_reader_stays_out_of_memory(running: LocalInstance) -> None:
    keeper = (await running.status()).process
    assert keeper is not None
    handle = await running.spawn(SpawnRequest(argv=("sh", "-c", "echo $$; exec cat /dev/zero"), grace=0.1))
    writer = int(await first_line(handle))
    # The writer stops when everything between it and this reader is full.
    written = -1
    while (now := _written(writer)) != written or now == 0:
        written = now
        await anyio.sleep(0.05)
    assert written < 2 * 1024 * 1024
    assert _peak(keeper.pid) < 48 * 1024 * 1024
    await handle.aclose()
    assert gone(writer)


async def test_a_quarter_gigabyte_goes_through_a_small_keeper(running: LocalInstance) -> None:
    keeper = (await running.status()).process
    assert keeper is not None
    size = 256 * 1024 * 1024
    handle = await running.spawn(SpawnRequest(argv=("head", "-c", str(size), "/dev/zero")))
    total = 0
    while not hasattr(event := await handle.receive(), "exit_code"):
        if isinstance(event, Output):
            assert event.offset == total
            total += len(event.data)
    await handle.aclose()
    assert total == size
    assert _peak(keeper.pid) < 48 * 1024 * 1024


def _written(pid: int) -> int:
    for line in Path(f"/proc/{pid}/io").read_text().splitlines():
        if line.startswith("wchar:"):
            return int(line.split()[1])
    raise AssertionError


def _peak(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError


async def test_another_user_is_not_to_be_had(run: Run) -> None:
    assert (await run("id", "-u", user=str(os.getuid()))).stdout == f"{os.getuid()}\n"
    with pytest.raises(Unsupported):
        await run("id", user="somebody-else")


async def test_ids_are_unique(running: LocalInstance) -> None:
    handles = [await running.spawn(SpawnRequest(argv=("true",))) for _ in range(5)]
    assert len({handle.exec_id for handle in handles}) == 5
    for handle in handles:
        await handle.aclose()
