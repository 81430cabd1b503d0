"""The simulated world: machines that stay when the provider that made them is closed.

Two providers that share a world see the same instances, as two processes see the same container engine. Methods here change
the world behind everybody's back: what a user's ``rm``, a crash or a full disk would do.
"""

from __future__ import annotations

import os.path
import signal
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from nexus.models.activity import Listener, RunningCommand
from nexus.models.ids import CheckpointId, WorkspaceId
from nexus.models.instances import (
    LABEL_NAME,
    LABEL_NODE,
    LABEL_WORKSPACE,
    InstanceRef,
    InstanceSpec,
    InstanceState,
    InstanceStatus,
)
from nexus.providers.mock.pipes import Bell
from nexus.providers.mock.process import ProcessGroup, Program, ProgramCall
from nexus.providers.mock.script import MockScript
from nexus.providers.mock.tasks import Tasks

MAIN_PID: Final = 1
_PROGRAM_FOLDERS: Final = ("", "/bin", "/usr/bin", "/usr/local/bin")


class Machine:
    """One instance: its state, its processes, its log. Everything here is in memory except the worktree."""

    def __init__(self, spec: InstanceSpec) -> None:
        self.spec = spec
        self.state = InstanceState.STOPPED
        self.detail = ""
        self.bell = Bell()
        self.log: list[bytes] = []
        self.groups: set[ProcessGroup] = set()
        self.processes: dict[int, ProgramCall] = {}
        self.cpu_seconds = 0.0
        self.commands: dict[int, RunningCommand] = {}
        self.listeners: set[Listener] = set()
        self.removed = False
        self.stopping = False
        self.kept = False
        """Whether its main process is kept while it is stopped."""
        self._next_pid = MAIN_PID + 1

    @property
    def frozen(self) -> bool:
        """Whether every process stands still."""
        return self.state is InstanceState.PAUSED

    @property
    def alive(self) -> bool:
        """Whether it has processes at all."""
        return self.state in {InstanceState.RUNNING, InstanceState.PAUSED}

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels asked for, and those that every backend puts on what it makes."""
        own = {LABEL_WORKSPACE: self.spec.id, LABEL_NAME: self.spec.name, LABEL_NODE: self.spec.node}
        return {**self.spec.labels, **own}

    @property
    def status(self) -> InstanceStatus:
        """What a backend would answer now."""
        return InstanceStatus(
            ref=InstanceRef(id=self.spec.id, name=self.spec.name, handle=f"mock-{self.spec.id}"),
            state=InstanceState.GONE if self.removed else self.state,
            detail=self.detail,
            ports=self.spec.ports,
            labels=self.labels,
        )

    def become(self, state: InstanceState, detail: str = "") -> None:
        """Change the state; whoever waits for it looks again, and thawed processes take the signals that waited."""
        thawing = self.frozen and state is InstanceState.RUNNING
        self.state = state
        self.detail = detail
        self.kept = False
        if thawing:
            for process in tuple(self.processes.values()):
                process.thawed()
        self.bell.ring()

    def print(self, data: bytes) -> None:
        """Let the main process print this."""
        self.log.append(data)
        self.bell.ring()

    def admit(self, process: ProgramCall) -> int:
        """Enter a new process; returns its id."""
        pid = self._next_pid
        self._next_pid += 1
        self.processes[pid] = process
        self.groups.add(process.group)
        # Simulated time has no processor behind it: every process is booked a millisecond, so that readings grow.
        self.cpu_seconds += 0.001
        return pid

    def dismiss(self, process: ProgramCall) -> None:
        """Strike out a process that has ended."""
        self.processes.pop(process.pid, None)
        self.commands.pop(process.pid, None)
        if process.group.members <= {process}:
            self.groups.discard(process.group)

    def kill_all(self) -> None:
        """Kill every process."""
        for group in tuple(self.groups):
            group.deliver(signal.SIGKILL)

    def path(self, path: str, cwd: str) -> Path:
        """Return where a path inside is on the host.

        Raises:
            FileNotFoundError: Outside the worktree; a mock machine has no other files. A symbolic link may not lead out of it.
        """
        tree = self.spec.worktree
        inside = os.path.normpath(os.path.join(self.spec.workdir, cwd, path))  # noqa: PTH118 - a path of the mock machine
        for root in (str(tree), self.spec.workdir):
            if inside == root or inside.startswith(f"{root.rstrip('/')}/"):
                found = tree / inside[len(root) :].lstrip("/")
                if found.resolve().is_relative_to(tree.resolve()):
                    return found
        raise FileNotFoundError(2, "No such file or directory", path)


class RunningMachine:
    """A machine, with the programs and tasks of the provider that runs commands on it: what a process takes for its kernel."""

    def __init__(self, machine: Machine, script: MockScript, programs: Mapping[str, Program], tasks: Tasks) -> None:
        self.machine = machine
        self._script = script
        self._programs = programs
        self._tasks = tasks

    @property
    def frozen(self) -> bool:
        """Whether every process stands still."""
        return self.machine.frozen

    @property
    def bell(self) -> Bell:
        """Rings when ``frozen`` changes."""
        return self.machine.bell

    def admit(self, process: ProgramCall) -> int:
        """Enter a new process; returns its id."""
        return self.machine.admit(process)

    def dismiss(self, process: ProgramCall) -> None:
        """Strike out a process that has ended."""
        self.machine.dismiss(process)

    def find(self, pid: int) -> ProgramCall | None:
        """Return the process with this id, when it has not ended."""
        return self.machine.processes.get(pid)

    def program(self, name: str) -> Program | None:
        """Return the program of this name, or of its path in one of the usual folders."""
        folder, _, base = name.rpartition("/")
        if ("/" in name and not folder) or folder not in _PROGRAM_FOLDERS:
            return None
        return self._script.programs.get(base) or self._programs.get(base)

    def start(self, work: Callable[[], Coroutine[object, object, None]]) -> None:
        """Run a task of the provider's."""
        self._tasks.start(work)

    def host_path(self, path: str, cwd: str) -> str:
        """Return where a path inside is on the host; raises ``FileNotFoundError`` outside the worktree."""
        return str(self.machine.path(path, cwd))


class Kept(NamedTuple):
    """What is kept of a machine for a checkpoint."""

    labels: Mapping[str, str]
    log: tuple[bytes, ...]


class MockWorld:
    """All the machines there are. Share one between providers to see instances outlive the provider that made them."""

    def __init__(self) -> None:
        self.machines: dict[WorkspaceId, Machine] = {}
        self.kept: dict[CheckpointId, Kept] = {}

    def remove(self, instance: WorkspaceId) -> None:
        """Remove an instance by hand, as somebody else would: its processes are killed, it is ``GONE``. A missing one is fine."""
        machine = self.machines.pop(instance, None)
        if machine is not None:
            machine.removed = True
            machine.kill_all()
            machine.become(InstanceState.GONE)

    def crash(self, instance: WorkspaceId, detail: str = "the main process ended with status 1") -> None:
        """Let an instance end by itself: its processes are killed, it is ``FAILED``."""
        machine = self.machines[instance]
        machine.kill_all()
        machine.become(InstanceState.FAILED, detail)

    def listen(self, instance: WorkspaceId, port: int, *, address: str = "0.0.0.0", on: bool = True) -> None:  # noqa: S104
        """Let a program of an instance listen on a port, or no longer."""
        listeners, one = self.machines[instance].listeners, Listener(port=port, address=address)
        if on:
            listeners.add(one)
        else:
            listeners.discard(one)

    def print(self, instance: WorkspaceId, data: bytes) -> None:
        """Let the main process of an instance print this; it ends up in the instance's log."""
        self.machines[instance].print(data)

    def holder(self, port: int, *, besides: WorkspaceId) -> str | None:
        """Return the name of the live instance that publishes this host port, other than ``besides``."""
        for machine in self.machines.values():
            if (
                machine.alive
                and machine.spec.id != besides
                and any(each.host_port == port for each in machine.spec.ports)
            ):
                return machine.spec.name
        return None
