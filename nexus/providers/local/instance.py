"""One workspace on this host."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Mapping, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

import anyio
from anyio import to_thread
from anyio.abc import ByteStream
from pydantic import SecretStr

from nexus.errors import InvalidArgument, RecordDamaged, StateConflict, WorkspaceGone
from nexus.models.activity import Listener, RunningCommand
from nexus.models.execution import SpawnRequest
from nexus.models.ids import ExecId, WorkspaceId
from nexus.models.instances import InstanceDescription, InstanceRef, InstanceState, InstanceStatus, ResourceStats
from nexus.models.ports import PortMapping
from nexus.models.resources import ResourceAllocation
from nexus.providers.local import cgroups, commands, environment, lifecycle, secret_files
from nexus.providers.local.contact import Contact, stopped
from nexus.providers.local.folders import Folders
from nexus.providers.local.limits import processors_of
from nexus.providers.local.listening import listeners_below
from nexus.providers.local.locks import locked
from nexus.providers.local.logs import read_log
from nexus.providers.local.observe import status_of
from nexus.providers.local.process import LocalProcess
from nexus.providers.local.record import read_description, replace_description
from nexus.providers.local.usage import Reading, measure
from nexus.providers.relay import not_open

_CONNECT: Final = 5.0
_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what somebody else listens on


class LocalInstance:
    """A workspace as plain processes.

    Implements ``Instance``, ``SupportsPause``, ``SupportsLogs``, ``SupportsStats``, ``SupportsPortChange``, ``SupportsSecretFiles``,
    ``SupportsActivity``, ``SupportsKeeping``, ``SupportsListening`` and ``SupportsConnect``.

    Args:
        ref: Which workspace.
        folders: Where the backend keeps what it knows.
        env: The environment of this program.
        passed: Variables that commands get from it beyond :data:`nexus.providers.local.environment.KEPT`.
        processes: How many processes it may have, where the system can keep that.
        readings: The last reading of each workspace's processor time, shared by all instances of one provider.
    """

    def __init__(
        self,
        ref: InstanceRef,
        folders: Folders,
        *,
        env: Mapping[str, str],
        passed: frozenset[str],
        processes: int,
        readings: MutableMapping[WorkspaceId, Reading],
    ) -> None:
        self._folder = folders.of(ref.id)
        self._ref = InstanceRef(id=ref.id, name=ref.name, handle=str(self._folder))
        self._folders = folders
        self._env = env
        self._inherited = environment.base(env, passed)
        self._processes = processes
        self._readings = readings
        self._contact = Contact(self._folder)

    @property
    def ref(self) -> InstanceRef:
        """How to find it again."""
        return self._ref

    async def status(self) -> InstanceStatus:
        """Return what is to be seen now; ``FAILED`` says that the keeper was killed, and ``stop`` clears up after it."""
        return status_of(self._ref, self._folder, await self._contact.sight())

    async def start(self) -> None:
        """Start the workspace's keeper. Running already: nothing. Paused: it is resumed.

        Raises:
            WorkspaceGone: When the workspace's folder was removed.
            PortInUse: When somebody else listens on one of its ports.
            ProviderError: When the worktree is missing or the keeper does not come up.
            RecordDamaged: When the description cannot be understood.
            Busy: When another process works on it for long.

        Cancellation: it runs, or it does not; both can be started again.
        """
        await lifecycle.start(self._folders, self._folder, self._env, processes=self._processes)

    async def stop(self, *, grace: float = 10.0) -> None:
        """End all its processes: TERM, ``grace`` seconds, KILL. Stopped already: nothing. Works on a paused one.

        Raises:
            InvalidArgument: When the grace is negative or not finite.
            CleanupError: When a process does not end although it was killed.

        Cancellation: the processes are ended all the same.
        """
        if not math.isfinite(grace) or grace < 0:
            raise InvalidArgument(f"the grace must be a number of seconds, not {grace!r}")
        await lifecycle.stop(self._folder, workspace=self._ref.id, grace=grace)
        await to_thread.run_sync(secret_files.remove, secret_files.place_of(self._folders, self._ref.id))

    def secret_path(self, name: str) -> str:
        """Return where a secret of this name is found."""
        return str(secret_files.place_of(self._folders, self._ref.id).path / name)

    async def write_secrets(self, files: Mapping[str, SecretStr]) -> None:
        """Write secrets into the runtime folder; see :mod:`nexus.providers.local.secret_files`.

        Raises:
            WorkspaceStopped: When it does not run.
            Unsupported: When that folder is on a disk.
            SecretError: When one cannot be written.
        """
        _, channel = await self._contact.connect()
        channel.close()
        place = secret_files.place_of(self._folders, self._ref.id)
        content = {name: value.get_secret_value().encode("utf-8", "surrogateescape") for name, value in files.items()}
        await to_thread.run_sync(secret_files.write, place, content)

    async def spawn(self, request: SpawnRequest) -> LocalProcess:
        """Start a command in a session and process group of its own.

        Raises:
            ExecStartError: 127 when the program is not there; 126 when it cannot be executed, the folder is missing or cannot be
                entered, or the arguments are too long.
            WorkspaceStopped: When the workspace does not run, or is paused.
            WorkspaceGone: When its folder was removed.
            Unsupported: When another user is asked for.
            InvalidArgument: When a word cannot be passed to a program.
            ProviderUnavailable: When the keeper does not answer.

        Cancellation: the command was not started, or is ended.
        """
        return await commands.start(self._contact, self._inherited, request)

    async def commands(self) -> tuple[RunningCommand, ...]:
        """Return the commands that run now, whichever program started them. What a command left behind is none.

        Raises:
            ProviderUnavailable: When the keeper does not answer.
        """
        return await commands.running(self._contact)

    async def kept(self) -> frozenset[ExecId]:
        """Return the terminals' commands that can be joined.

        Raises:
            ProviderUnavailable: When the keeper does not answer.
        """
        return await commands.kept(self._contact)

    async def rejoin(self, exec_id: ExecId, request: SpawnRequest, *, offset: int) -> LocalProcess:
        """Take over a terminal's command that runs on by itself, or what is left of it.

        Raises:
            NotFound: When the keeper knows no such command, or is of a release that keeps none.
            WorkspaceStopped, WorkspaceGone, ProviderUnavailable: As :meth:`spawn`.

        Cancellation: the command runs on.
        """
        return await commands.join(self._contact, exec_id, request, offset=offset)

    async def listeners(self) -> tuple[Listener, ...] | None:
        """Return where its processes listen: those sockets of this host that one of them has open."""
        sight = await self._contact.sight()
        if not sight.alive or sight.run is None:
            return ()
        return await to_thread.run_sync(listeners_below, sight.run.pid)

    async def connect(self, port: int) -> ByteStream:
        """Connect to a port on which one of its processes listens. What else listens on this host is not reached.

        Raises:
            PortNotOpen: When none of its processes accepts connections there.
            WorkspaceStopped: When it does not run, or is paused.
        """
        state = (await self.status()).state
        if state is not InstanceState.RUNNING:
            raise stopped(state, "")
        for listener in await self.listeners() or ():
            if listener.port != port or listener.protocol != "tcp":
                continue
            address = _LOOPBACK.get(listener.address, listener.address)
            with suppress(OSError, TimeoutError), anyio.fail_after(_CONNECT):
                return await anyio.connect_tcp(address, port)
        raise not_open(self._ref.name or self._ref.id, port)

    async def pause(self) -> None:
        """Freeze every process. Paused already: nothing. Time limits of commands stand still meanwhile.

        Raises:
            WorkspaceStopped: When it does not run.
            WorkspaceGone: When its folder was removed.

        Cancellation: it is paused, or it is not.
        """
        await self._contact.ask("pause")

    async def resume(self) -> None:
        """Let exactly those processes go on that ``pause`` has frozen. Running already: nothing.

        Raises:
            WorkspaceStopped: When it does not run.
            WorkspaceGone: When its folder was removed.

        Cancellation: it is resumed, or it is not.
        """
        await self._contact.ask("resume")

    async def logs(self, *, follow: bool = False, tail: int | None = None) -> AsyncGenerator[bytes, None]:
        """Give the log in chunks: the last ``tail`` lines or all; with ``follow`` until the workspace ends.

        It says when the workspace was started, paused and stopped, and holds what background processes printed after their command
        had ended.

        Raises:
            InvalidArgument: When ``tail`` is negative.
            WorkspaceGone: When its folder was removed.
        """
        if tail is not None and tail < 0:
            raise InvalidArgument(f"tail counts lines, so it cannot be {tail}")
        if not await to_thread.run_sync(self._folder.is_dir):
            raise WorkspaceGone("the workspace's place is gone", hint="start the workspace to have it made again")

        async def ended() -> bool:
            return not (await self._contact.sight()).alive

        reading = read_log(self._folder, follow=follow, tail=tail, ended=ended)
        try:
            async for chunk in reading:
                yield chunk
        finally:
            await reading.aclose()

    async def stats(self) -> ResourceStats:
        """Return what its processes use now, the keeper left out, and the limits that the kernel keeps for all of them together.

        Raises:
            WorkspaceStopped: When it does not run.
            WorkspaceGone: When its folder was removed.
        """
        sight = await self._contact.sight()
        if not sight.alive or sight.run is None:
            raise stopped(sight.state, sight.detail)
        stats, reading = await to_thread.run_sync(measure, sight.run.pid, self._readings.get(self._ref.id))
        self._readings[self._ref.id] = reading
        kept = await to_thread.run_sync(cgroups.held, sight.run.pid)
        return stats.model_copy(
            update={
                "cpu_limit": processors_of(sight.run.pid) if kept.cpu is None else kept.cpu,
                "memory_limit": kept.memory,
                "processes_limit": kept.processes,
            }
        )

    async def resize(self, resources: ResourceAllocation) -> None:
        """Apply these limits from the next start on; see :mod:`nexus.providers.local.cgroups`.

        Raises:
            WorkspaceGone: When its folder was removed.
            RecordDamaged: When its description cannot be understood.
        """
        async with locked(self._folder):
            await to_thread.run_sync(_replace, self._folder, {"resources": resources})

    async def describe(self) -> InstanceDescription:
        """Return its variables; there is no image.

        Raises:
            WorkspaceGone: When its folder was removed.
            RecordDamaged: When its description cannot be understood.
        """
        description = await to_thread.run_sync(read_description, self._folder)
        if description is None:
            raise WorkspaceGone("the workspace's place is gone", hint="start the workspace to have it made again")
        return InstanceDescription(env=description.env)

    async def change_ports(self, ports: tuple[PortMapping, ...]) -> Self:
        """Tell programs these ports from the next start on.

        Raises:
            StateConflict: When it is running.
            WorkspaceGone: When its folder was removed.
            RecordDamaged: When its description cannot be understood.

        Cancellation: the ports are changed, or they are not.
        """
        async with locked(self._folder):
            sight = await self._contact.sight()
            if sight.alive:
                raise StateConflict(
                    "the ports of a running workspace cannot be changed",
                    hint="stop it first",
                    details={"state": str(sight.state), "allowed": [str(InstanceState.STOPPED)]},
                )
            await to_thread.run_sync(_replace, self._folder, {"ports": ports})
        return self


def _replace(folder: Path, changes: Mapping[str, object]) -> None:
    description = read_description(folder)
    if description is None:
        raise RecordDamaged(f"{folder} has just been removed")
    replace_description(folder, description.model_copy(update=changes))
