"""A simulated instance: start, stop, pause, run commands, read its log and its use of the machine."""

from __future__ import annotations

import posixpath
import signal
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import anyio

from nexus.errors import ExecStartError, PortInUse, StateConflict, Unsupported, WorkspaceGone, WorkspaceStopped
from nexus.models.activity import Listener, RunningCommand
from nexus.models.execution import SpawnRequest, Stream
from nexus.models.ids import new_exec_id
from nexus.models.instances import (
    Capability,
    InstanceDescription,
    InstanceRef,
    InstanceState,
    InstanceStatus,
    ResourceStats,
    Woken,
)
from nexus.models.ports import PortMapping
from nexus.models.resources import ResourceAllocation
from nexus.providers.mock.handle import MockProcess
from nexus.providers.mock.pipes import Null, Outlet, Pipe
from nexus.providers.mock.process import ProcessGroup, Program, ProgramCall
from nexus.providers.mock.script import CallName, MockScript
from nexus.providers.mock.world import Machine, MockWorld, RunningMachine

_PROCESS_BYTES = 1024 * 1024
"""Memory that one simulated process is booked with."""
_PATH = "/usr/local/bin:/usr/bin:/bin"


class Host(Protocol):
    """What an instance needs of the provider that gave it out."""

    @property
    def name(self) -> str:
        """The provider's name."""

    @property
    def script(self) -> MockScript:
        """What the test wants."""

    @property
    def world(self) -> MockWorld:
        """Where the instances are."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What it can do."""

    def calling(
        self, call: CallName, ref: InstanceRef, argv: tuple[str, ...] = ()
    ) -> AbstractAsyncContextManager[None]:
        """Play the script around one call."""

    def kernel(self, machine: Machine) -> RunningMachine:
        """Return the machine as its processes see it."""


class MockInstance:
    """A ``nexus.abc.Instance`` in memory, with pause, logs, stats and change of ports."""

    def __init__(self, host: Host, ref: InstanceRef) -> None:
        self._host = host
        self._ref = ref
        self._reading: tuple[float, float] | None = None

    @property
    def ref(self) -> InstanceRef:
        """How to find it again."""
        return self._ref

    async def status(self) -> InstanceStatus:
        """Return what the world holds now; ``UNKNOWN`` while the script says that the backend is down."""
        async with self._host.calling("status", self._ref):
            if self._host.script.down is not None:
                return InstanceStatus(ref=self._ref, state=InstanceState.UNKNOWN, detail=self._host.script.down)
            machine = self._host.world.machines.get(self._ref.id)
            if machine is None:
                return InstanceStatus(ref=self._ref, state=InstanceState.GONE, detail="there is no such instance")
            return machine.status

    async def describe(self) -> InstanceDescription:
        """Return its image and variables.

        Raises:
            WorkspaceGone: When it was removed.
        """
        spec = self._machine().spec
        return InstanceDescription(image=spec.image, env=spec.env)

    async def start(self) -> None:
        """Make it run. Running already: nothing. Paused: it is resumed.

        Raises:
            WorkspaceGone: When it was removed.
            PortInUse: When another running instance of the same world publishes one of its ports.
        """
        async with self._host.calling("start", self._ref):
            machine = self._machine()
            if machine.state is InstanceState.RUNNING:
                return
            if machine.state is not InstanceState.PAUSED:
                self._claim_ports(machine)
                machine.print(f"{machine.spec.name} started\n".encode())
            machine.become(InstanceState.RUNNING)

    def _claim_ports(self, machine: Machine) -> None:
        for mapping in machine.spec.ports:
            holder = self._host.world.holder(mapping.host_port, besides=machine.spec.id)
            if holder is not None:
                raise PortInUse(
                    f"port {mapping.host_port} ({mapping.name}) is held by workspace {holder}",
                    details={"port": mapping.host_port, "holder": holder},
                )

    async def stop(self, *, grace: float = 10.0) -> None:
        """End all its processes: TERM, ``grace`` seconds, KILL. Cancelled: it runs on, its processes have had TERM."""
        async with self._host.calling("stop", self._ref):
            machine = self._machine()
            if not machine.alive:
                machine.become(InstanceState.STOPPED)
                return
            machine.stopping = True
            try:
                await _end_all(machine, grace)
            finally:
                machine.stopping = False
            # Somebody may have removed it while its processes ended.
            if not machine.removed:
                machine.become(InstanceState.STOPPED)

    async def pause(self) -> None:
        """Freeze every process. Paused already: nothing.

        Raises:
            WorkspaceStopped: When it does not run.
        """
        async with self._host.calling("pause", self._ref):
            self._need(Capability.PAUSE)
            machine = self._live()
            machine.become(InstanceState.PAUSED)

    async def resume(self) -> None:
        """Let frozen processes go on. Running already: nothing.

        Raises:
            WorkspaceStopped: When it does not run.
        """
        async with self._host.calling("resume", self._ref):
            self._need(Capability.PAUSE)
            machine = self._live()
            machine.become(InstanceState.RUNNING)

    async def hibernate(self) -> None:
        """Keep its main process and end the rest. Hibernating already: nothing.

        Raises:
            WorkspaceStopped: When it does not run, and nothing is kept.
        """
        async with self._host.calling("hibernate", self._ref):
            self._need(Capability.HIBERNATION)
            machine = self._machine()
            if machine.kept:
                return
            machine = self._live()
            await _end_all(machine, 0.0)
            if not machine.removed:
                machine.become(InstanceState.STOPPED)
                machine.kept = True

    async def wake(self) -> Woken:
        """Let its main process go on; it says nothing, as one that was never ended."""
        async with self._host.calling("wake", self._ref):
            machine = self._machine()
            if machine.alive:
                return Woken()
            if not machine.kept:
                return Woken(lost={"": "they are not kept any more"})
            self._claim_ports(machine)
            machine.become(InstanceState.RUNNING)
            return Woken()

    async def forget(self) -> None:
        """Keep nothing any more."""
        async with self._host.calling("forget", self._ref):
            self._machine().kept = False

    async def change_ports(self, ports: tuple[PortMapping, ...]) -> MockInstance:
        """Publish these ports instead; the instance stays the same one.

        Raises:
            StateConflict: When it is running.
        """
        async with self._host.calling("change_ports", self._ref):
            machine = self._machine()
            if machine.alive:
                raise StateConflict(
                    f"{machine.spec.name} is {machine.state}; its ports can be changed only while it is stopped",
                    hint="stop it first",
                    details={"state": str(machine.state), "allowed": [str(InstanceState.STOPPED)]},
                )
            machine.spec = machine.spec.model_copy(update={"ports": ports})
            return self

    async def stats(self) -> ResourceStats:
        """Return the simulated use: a millisecond of processor and a mebibyte for each process, whatever it does.

        Raises:
            WorkspaceStopped: When it does not run.
        """
        async with self._host.calling("stats", self._ref):
            self._need(Capability.STATS)
            machine = self._live()
            now, used = anyio.current_time(), machine.cpu_seconds
            before, self._reading = self._reading, (now, used)
            percent = None if before is None or now <= before[0] else 100 * (used - before[1]) / (now - before[0])
            processes = 1 + len(machine.processes)
            return ResourceStats(
                cpu_seconds=used,
                cpu_percent=percent,
                memory_bytes=processes * _PROCESS_BYTES,
                memory_limit=machine.spec.resources.memory_limit,
                processes=processes,
            )

    async def commands(self) -> tuple[RunningCommand, ...]:
        """Return the commands that run, whichever provider of its world started them."""
        async with self._host.calling("commands", self._ref):
            machine = self._host.world.machines.get(self._ref.id)
            return tuple(machine.commands.values()) if machine is not None and machine.alive else ()

    async def listeners(self) -> tuple[Listener, ...] | None:
        """Return what :meth:`MockWorld.listen` said."""
        async with self._host.calling("listeners", self._ref):
            machine = self._host.world.machines.get(self._ref.id)
            found = machine.listeners if machine is not None and machine.alive else ()
            return tuple(sorted(found, key=lambda one: one.port))

    async def resize(self, resources: ResourceAllocation) -> None:
        """Give it these resources from now on."""
        async with self._host.calling("resize", self._ref):
            machine = self._machine()
            machine.spec = machine.spec.model_copy(update={"resources": resources})

    async def logs(self, *, follow: bool = False, tail: int | None = None) -> AsyncGenerator[bytes, None]:
        """Give what the main process printed: a line for each start, and what ``MockWorld.print`` added.

        Raises:
            WorkspaceGone: When it was removed.
        """
        async with self._host.calling("logs", self._ref):
            self._need(Capability.LOGS)
            machine = self._machine()
        seen = len(machine.log)
        if past := _last_lines(b"".join(machine.log), tail):
            yield past
        while follow:
            while seen < len(machine.log):
                seen += 1
                yield machine.log[seen - 1]
            if not machine.alive:
                return
            await machine.bell.wait()

    async def spawn(self, request: SpawnRequest) -> MockProcess:
        """Start a command: a program of the script, or one of the mock's own.

        Raises:
            ExecStartError: When there is no such program (127), it is a file that cannot be executed (126), or the folder is missing.
            WorkspaceStopped: When the instance does not run, or is paused.
            WorkspaceGone: When it was removed.
            Unsupported: When a user is asked for, or a terminal that the mock was told not to have.
        """
        async with self._host.calling("spawn", self._ref, request.argv):
            kernel = self._host.kernel(self._ready())
            if request.user is not None:
                self._need(Capability.EXEC_USER)
            if request.pty is not None:
                self._need(Capability.PTY)
            cwd = posixpath.normpath(posixpath.join(kernel.machine.spec.workdir, request.cwd or "."))
            if request.cwd is not None:
                await _check_folder(kernel.machine, cwd)
            program = kernel.program(request.argv[0])
            if program is None:
                raise await _not_found(kernel.machine, request.argv[0], cwd)
            self._ready()  # it may have been stopped while the folder was looked up
            return self._spawn(kernel, request, cwd, program)

    def _spawn(self, kernel: RunningMachine, request: SpawnRequest, cwd: str, program: Program) -> MockProcess:
        group = ProcessGroup(request.pty)
        outlet = Outlet(group.bell)
        terminal = request.pty is not None
        stdin = Pipe(isatty=terminal) if request.stdin or terminal else None
        errors = Stream.STDOUT if terminal else Stream.STDERR
        leader = ProgramCall(
            kernel,
            group,
            argv=request.argv,
            env=_environment(kernel.machine, request, cwd),
            cwd=cwd,
            streams=(
                stdin.reader if stdin is not None else Null(),
                outlet.sink(Stream.STDOUT, isatty=terminal),
                outlet.sink(errors, isatty=terminal),
            ),
        )
        process = MockProcess(new_exec_id(), request, leader, outlet, stdin)
        leader.begin(program)
        kernel.machine.commands[leader.pid] = RunningCommand(
            program=posixpath.basename(request.argv[0]), interactive=terminal, keeps_awake=request.keeps_awake
        )
        if request.timeout is not None:
            kernel.start(process.watch)
        return process

    def _machine(self) -> Machine:
        machine = self._host.world.machines.get(self._ref.id)
        if machine is None:
            raise WorkspaceGone(
                f"the mock instance of {self._ref.name or self._ref.id} was removed", details={"id": self._ref.id}
            )
        return machine

    def _live(self) -> Machine:
        machine = self._machine()
        if not machine.alive:
            raise WorkspaceStopped(f"{machine.spec.name} is {machine.state}", hint="start it first")
        return machine

    def _ready(self) -> Machine:
        machine = self._machine()
        if machine.state is not InstanceState.RUNNING or machine.stopping:
            raise WorkspaceStopped(
                f"{machine.spec.name} is {'being stopped' if machine.stopping else machine.state}",
                hint="resume it first" if machine.frozen else "start it first",
            )
        return machine

    def _need(self, capability: Capability) -> None:
        if capability not in self._host.capabilities:
            raise Unsupported(
                f"the {self._host.name} provider cannot do this: {capability}",
                details={"capability": str(capability), "provider": self._host.name},
            )


async def _end_all(machine: Machine, grace: float) -> None:
    groups = tuple(machine.groups)
    for group in groups:
        group.deliver(signal.SIGTERM)
    if machine.frozen:  # frozen processes take the signal when they thaw
        machine.become(InstanceState.RUNNING)
    with anyio.move_on_after(grace):
        for group in groups:
            await group.empty()
    while machine.groups:
        machine.kill_all()
        for group in tuple(machine.groups):
            await group.empty()


async def _check_folder(machine: Machine, cwd: str) -> None:
    try:
        found = await anyio.to_thread.run_sync(lambda: machine.path(cwd, "/").is_dir())
    except OSError:
        found = False
    if not found:
        raise ExecStartError(f"there is no folder {cwd} in {machine.spec.name}", hint="give a cwd that exists there")


async def _not_found(machine: Machine, name: str, cwd: str) -> ExecStartError:
    there = False
    if "/" in name:
        try:
            there = await anyio.to_thread.run_sync(lambda: machine.path(name, cwd).exists())
        except OSError:
            there = False
    if there:
        return ExecStartError(
            f"{name} cannot be executed", exit_code=126, hint="a mock instance runs registered programs"
        )
    return ExecStartError(
        f"there is no program {name}", exit_code=127, hint="teach it to the mock: MockScript.program(name, function)"
    )


def _environment(machine: Machine, request: SpawnRequest, cwd: str) -> Mapping[str, str]:
    terminal = {"TERM": request.pty.term} if request.pty is not None else {}
    base = {"PATH": _PATH, "HOME": machine.spec.workdir, "PWD": cwd}
    return {**base, **terminal, **machine.spec.env, **request.env}


def _last_lines(text: bytes, count: int | None) -> bytes:
    if count is None:
        return text
    return b"".join(text.splitlines(keepends=True)[-count:]) if count > 0 else b""
