"""Cases about what not every provider has: pause, terminals, logs, use of the machine, published ports."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from contextlib import aclosing

import anyio
import anyio.to_thread

from nexus.abc import (
    Instance,
    KeptProcess,
    SupportsKeeping,
    SupportsLogs,
    SupportsPause,
    SupportsPortChange,
    SupportsStats,
)
from nexus.errors import NotFound, PortInUse, StateConflict, Unsupported, WorkspaceStopped
from nexus.models.execution import Pty, SpawnRequest
from nexus.models.instances import Capability, InstanceSpec, InstanceState
from nexus.models.ports import PortMapping
from nexus.testing.expecting import ExpectationFailed, eventually, expect, expect_equal, expect_error
from nexus.testing.provider_suite.case import Check, NotApplicable, case, expect_state, finish, read_until

_QUIET = 0.4
"""Seconds of silence that count as frozen."""


def _pausable(instance: Instance) -> SupportsPause:
    if not isinstance(instance, SupportsPause):
        raise ExpectationFailed("an instance with the capability pause has pause and resume")
    return instance


@case(Capability.PAUSE)
async def pause_freezes_commands(check: Check) -> None:
    """Nothing runs while paused; after ``resume`` commands go on where they were, and nothing is lost."""
    instance = await check.running()
    process = await check.spawn(instance, SpawnRequest(argv=("cat",), stdin=True))
    await process.write(b"before\n")
    await read_until(process, b"before\n")
    await _pausable(instance).pause()
    await expect_state(instance, InstanceState.PAUSED)
    await process.write(b"during\n")
    with anyio.move_on_after(_QUIET):
        event = await process.receive()
        raise ExpectationFailed(f"a paused instance prints nothing, but {event} came")
    await _pausable(instance).resume()
    await expect_state(instance, InstanceState.RUNNING)
    await read_until(process, b"during\n")


@case(Capability.PAUSE)
async def pause_twice_resume_twice(check: Check) -> None:
    """``pause`` of a paused and ``resume`` of a running instance change nothing."""
    instance = await check.running()
    await _pausable(instance).resume()
    await expect_state(instance, InstanceState.RUNNING)
    for _ in range(2):
        await _pausable(instance).pause()
        await expect_state(instance, InstanceState.PAUSED)
    for _ in range(2):
        await _pausable(instance).resume()
        await expect_state(instance, InstanceState.RUNNING)
    expect_equal((await check.sh(instance, "echo awake")).stdout, b"awake\n", "what a command printed")


@case(Capability.PAUSE)
async def a_stopped_instance_cannot_be_paused(check: Check) -> None:
    """``pause`` and ``resume`` of an instance that does not run raise ``WorkspaceStopped``."""
    instance = await check.created()
    await expect_error(WorkspaceStopped, _pausable(instance).pause, "pause before the first start")
    await expect_error(WorkspaceStopped, _pausable(instance).resume, "resume before the first start")
    await expect_state(instance, InstanceState.STOPPED)


@case(Capability.PAUSE)
async def a_paused_instance_runs_nothing_new(check: Check) -> None:
    """A command in a paused instance raises ``WorkspaceStopped``, and does not wake it."""
    instance = await check.running()
    await _pausable(instance).pause()
    await check.refused(WorkspaceStopped, instance, SpawnRequest(argv=("true",)), "a command in a paused instance")
    attached = await check.provider.attach(instance.ref)
    await expect_state(attached, InstanceState.PAUSED)


@case(Capability.PAUSE)
async def start_wakes_a_paused_instance(check: Check) -> None:
    """``start`` of a paused instance resumes it, with its commands."""
    instance = await check.running()
    process = await check.spawn(instance, SpawnRequest(argv=("cat",), stdin=True))
    await _pausable(instance).pause()
    await instance.start()
    await expect_state(instance, InstanceState.RUNNING)
    await process.write(b"kept\n")
    await read_until(process, b"kept\n")


@case(Capability.PAUSE)
async def stop_works_on_a_paused_instance(check: Check) -> None:
    """``stop`` of a paused instance ends its commands."""
    instance = await check.running()
    process = await check.spawn(instance, SpawnRequest(argv=("sleep", "300")))
    await _pausable(instance).pause()
    await instance.stop(grace=1.0)
    await expect_state(instance, InstanceState.STOPPED)
    ran = await finish(process)
    expect(ran.status != 0 or ran.exited.lost, f"a command that was ended did not succeed: {ran.exited}")


@case(Capability.PTY)
async def a_terminal_is_a_terminal(check: Check) -> None:
    """With ``pty`` all three streams are a terminal of the size asked for, and ``TERM`` is set."""
    instance = await check.running()
    request = SpawnRequest(
        argv=("sh", "-c", 'test -t 0 && test -t 1 && test -t 2 && stty size && echo "$TERM"'),
        stdin=True,
        pty=Pty(rows=31, cols=97, term="vt100"),
    )
    ran = await check.run(instance, request)
    expect_equal(ran.status, 0, f"the status; it printed {ran.stdout!r}")
    expect_equal(ran.stdout.split(), [b"31", b"97", b"vt100"], "rows, columns and TERM")
    expect_equal(ran.stderr, b"", "standard error: a terminal has one stream")


@case(Capability.PTY)
async def a_terminal_can_be_resized(check: Check) -> None:
    """``resize`` changes the size that the command sees."""
    instance = await check.running()
    request = SpawnRequest(argv=("sh", "-c", "echo ready; read line; stty size; echo end"), stdin=True, pty=Pty())
    process = await check.spawn(instance, request)
    await read_until(process, b"ready")
    await process.resize(44, 123)
    await process.write(b"\n")
    expect(b"44 123" in await read_until(process, b"end"), "the command sees the new size")


@case(Capability.PTY)
async def a_terminal_turns_keys_into_signals(check: Check) -> None:
    """``^C`` typed into a terminal interrupts the command; what is typed is echoed."""
    instance = await check.running()
    request = SpawnRequest(argv=("sh", "-c", "echo ready; exec cat"), stdin=True, pty=Pty())
    process = await check.spawn(instance, request)
    await read_until(process, b"ready")
    await process.write(b"typed\n")
    # Once as the terminal's echo, once as what cat prints.
    seen = await read_until(process, b"typed")
    if seen.count(b"typed") < 2:
        await read_until(process, b"typed")
    await process.write(b"\x03")
    expect_equal((await finish(process)).status, 130, "the status")


@case(Capability.PTY)
async def a_terminals_input_ends(check: Check) -> None:
    """The end of the input ends a command that reads from a terminal, also in the middle of a line; without input it is there at once."""
    instance = await check.running()
    process = await check.spawn(instance, SpawnRequest(argv=("cat",), stdin=True, pty=Pty()))
    await process.write(b"half a line")
    await process.close_stdin()
    expect_equal((await finish(process)).status, 0, "the status of a command whose input was closed")
    ran = await check.run(instance, SpawnRequest(argv=("cat",), pty=Pty()))
    expect_equal(ran.status, 0, "the status of a command without input")


@case(Capability.PTY, Capability.KEEPING)
async def a_kept_command_outlives_whoever_started_it(check: Check) -> None:
    """A command on a terminal that is left runs on, and whoever joins it gets what it printed since an offset, and its end."""
    instance = await check.running()
    if not isinstance(instance, SupportsKeeping):
        raise ExpectationFailed("an instance with the capability keeping has kept and rejoin")
    request = SpawnRequest(
        argv=("sh", "-c", "printf one; read x; printf two; read x; exit 3"), stdin=True, pty=Pty(), keep=4096
    )
    first = await check.spawn(instance, request)
    if not isinstance(first, KeptProcess):
        raise ExpectationFailed("a command that is to be kept has leave")
    await read_until(first, b"one")
    await first.write(b"\n")
    await first.leave()
    expect(first.exec_id in await instance.kept(), "it is named among those that can be joined")
    second = await instance.rejoin(first.exec_id, request, offset=len(b"one"))
    check.cleanup.push_async_callback(second.aclose)
    expect(b"one" not in await read_until(second, b"two"), "what is known already is not given again")
    await second.write(b"\n")
    expect_equal((await finish(second)).status, 3, "the status")
    await second.aclose()
    expect(first.exec_id not in await instance.kept(), "one that was let go of cannot be joined")
    await expect_error(NotFound, lambda: instance.rejoin(first.exec_id, request, offset=0), "joining it all the same")


@case(lacks=Capability.PTY)
async def a_terminal_is_refused(check: Check) -> None:
    """A provider without terminals refuses one, instead of running the command on pipes."""
    instance = await check.running()
    await check.refused(Unsupported, instance, SpawnRequest(argv=("true",), pty=Pty()), "a command on a terminal")


@case(Capability.LOGS)
async def logs_can_be_read(check: Check) -> None:
    """``logs`` ends by itself, ``tail`` is its end, and ``follow`` ends when the instance does."""
    instance = await check.running()
    if not isinstance(instance, SupportsLogs):
        raise ExpectationFailed("an instance with the capability logs has logs")
    everything = await _read(instance.logs())
    last = await _read(instance.logs(tail=1))
    expect(everything.endswith(last), f"the tail {last!r} is the end of the log {everything[-200:]!r}")
    expect(last.rstrip(b"\n").count(b"\n") == 0, f"one line is asked for: {last!r}")
    expect_equal(await _read(instance.logs(tail=0)), b"", "a tail of no lines")

    followed: list[bytes] = []

    async def follow() -> None:
        followed.append(await _read(instance.logs(follow=True)))

    async with anyio.create_task_group() as group:
        group.start_soon(follow)
        await instance.stop(grace=1.0)
    expect(followed[0].startswith(everything), "following gives the log from its beginning")


async def _read(chunks: AsyncGenerator[bytes, None]) -> bytes:
    data = bytearray()
    async with aclosing(chunks):
        async for chunk in chunks:
            data += chunk
    return bytes(data)


@case(Capability.STATS)
async def stats_tell_the_use(check: Check) -> None:
    """``stats`` counts processes and memory of a running instance, and raises ``WorkspaceStopped`` for another."""
    instance = await check.created()
    if not isinstance(instance, SupportsStats):
        raise ExpectationFailed("an instance with the capability stats has stats")
    await expect_error(WorkspaceStopped, instance.stats, "stats before the first start")
    await instance.start()
    before = await instance.stats()
    expect(before.memory_bytes >= 0 and before.cpu_seconds >= 0, f"nothing is negative: {before}")
    for _ in range(3):
        await check.spawn(instance, SpawnRequest(argv=("sleep", "300")))

    async def grown() -> bool:
        return (await instance.stats()).processes >= before.processes + 3

    await eventually(grown, "three more processes are counted")
    now = await instance.stats()
    expect(now.memory_bytes > 0, f"processes use memory: {now}")
    expect(now.cpu_seconds >= before.cpu_seconds, f"processor time does not run backwards: {before}, then {now}")


async def _with_port(check: Check) -> tuple[InstanceSpec, PortMapping]:
    port = await _free_port()
    mapping = PortMapping(name="web", container_port=port, host_port=port, url=f"http://127.0.0.1:{port}")
    return check.spec(ports=(mapping,)), mapping


async def _free_port() -> int:
    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    return await anyio.to_thread.run_sync(find)


@case()
async def ports_are_reported(check: Check) -> None:
    """The status of a running instance names its ports."""
    spec, mapping = await _with_port(check)
    instance = await check.running(spec)
    ports = (await instance.status()).ports
    expect_equal(
        [(port.name, port.container_port, port.host_port) for port in ports],
        [("web", mapping.container_port, mapping.host_port)],
        "the ports",
    )


@case(Capability.PORTS)
async def published_ports_are_reachable(check: Check) -> None:
    """A program that listens inside is reached by the host port."""
    if check.subject.listener is None:
        raise NotApplicable("the subject has no program that listens")
    spec, mapping = await _with_port(check)
    instance = await check.running(spec)
    await check.spawn(instance, SpawnRequest(argv=check.subject.listener(mapping.container_port)))

    async def answered() -> bool:
        try:
            async with await anyio.connect_tcp("127.0.0.1", mapping.host_port) as stream:
                return (await stream.receive()).startswith(b"here")
        except (OSError, anyio.EndOfStream, anyio.BrokenResourceError):
            return False

    await eventually(answered, f"the program inside answers on port {mapping.host_port}")


@case(Capability.PORTS)
async def a_taken_port_is_an_error(check: Check) -> None:
    """``start`` raises ``PortInUse`` when somebody holds a published port, and works when that one has let go."""
    spec, mapping = await _with_port(check)
    instance = await check.created(spec)
    async with await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=mapping.host_port):
        await expect_error(PortInUse, instance.start, "start with a port that is taken")
    await instance.start()
    await expect_state(instance, InstanceState.RUNNING)


@case()
async def ports_can_be_changed_while_stopped(check: Check) -> None:
    """Where ports can be replaced: only of a stopped instance, the new ones are reported, files inside stay."""
    spec, mapping = await _with_port(check)
    instance = await check.running(spec)
    if not isinstance(instance, SupportsPortChange):
        raise NotApplicable("its instances have no change_ports")
    other = mapping.model_copy(update={"host_port": await _free_port()})
    await expect_error(StateConflict, lambda: instance.change_ports((other,)), "a change while it runs")
    await check.sh(instance, "echo kept > kept.txt")
    await instance.stop(grace=1.0)
    changed = await instance.change_ports((other,))
    check.cleanup.push_async_callback(check.provider.destroy, changed.ref)
    expect_equal(changed.ref.id, spec.id, "the id after the change")
    await expect_state(changed, InstanceState.STOPPED)
    await changed.start()
    expect_equal([port.host_port for port in (await changed.status()).ports], [other.host_port], "the host ports")
    expect_equal((await check.sh(changed, "cat kept.txt")).stdout, b"kept\n", "the file that was written before")


CASES = (
    pause_freezes_commands,
    pause_twice_resume_twice,
    a_stopped_instance_cannot_be_paused,
    a_paused_instance_runs_nothing_new,
    start_wakes_a_paused_instance,
    stop_works_on_a_paused_instance,
    a_terminal_is_a_terminal,
    a_terminal_can_be_resized,
    a_terminal_turns_keys_into_signals,
    a_terminals_input_ends,
    a_kept_command_outlives_whoever_started_it,
    a_terminal_is_refused,
    logs_can_be_read,
    stats_tell_the_use,
    ports_are_reported,
    published_ports_are_reachable,
    a_taken_port_is_an_error,
    ports_can_be_changed_while_stopped,
)
