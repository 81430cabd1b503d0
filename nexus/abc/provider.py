"""What a backend implements: a ``Provider`` makes, finds and removes instances; an ``Instance`` acts.

A capability that not every backend has is a small protocol of its own on the instance, named in
:class:`~nexus.models.instances.Capability`: ``isinstance`` says that the driver could, the probed set says that this host can.
There is no optional method that raises ``NotImplementedError``.

Requests are frozen objects with defaults, so a field added later does not break an older provider.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from anyio.abc import ByteStream
from pydantic import SecretStr

from nexus import models
from nexus.models.execution import ExecEvent, SpawnRequest
from nexus.models.ids import ExecId


class ProgressCallback(Protocol):
    """Told how a long step moves on. Called on the event loop; must return at once and never raise."""

    def __call__(self, step: str, message: str, done: int | None = None, total: int | None = None, /) -> None:
        """Take one report: the step's name, one line for people, and work done and in all where known."""


@runtime_checkable
class ProcessHandle(Protocol):
    """One running command.

    The contract, which ``nexus.testing.check_provider`` proves:

    - :meth:`receive` gives ``Started``, then ``Output`` in order of arrival, then ``Exited`` exactly once, then raises
      ``anyio.EndOfStream``. Not receiving stops the producer (back-pressure), it never loses bytes. A cancelled ``receive``
      loses nothing.
    - ``Exited`` comes when the leader has ended and all its output has been given, but at most 250 ms after the end: a
      background child that keeps the pipe open does not hold it up.
    - After ``timeout`` seconds the whole process group is ended (TERM, ``grace`` seconds, KILL) and ``Exited`` says ``timed_out``.
    """

    @property
    def exec_id(self) -> ExecId:
        """The command's id."""

    async def receive(self) -> ExecEvent:
        """Return the next event.

        Raises:
            anyio.EndOfStream: After ``Exited`` was returned.
        """

    async def write(self, data: bytes) -> None:
        """Write to standard input; returns when the bytes are handed over.

        Raises:
            StdinClosed: When the command no longer reads, or standard input was not asked for.
        """

    async def close_stdin(self) -> None:
        """Send end of file to standard input. Closing twice is fine."""

    async def signal(self, number: int) -> None:
        """Send a signal to the command's whole process group. A command that has ended is fine."""

    async def resize(self, rows: int, cols: int) -> None:
        """Tell the command's terminal its new size in character cells. Without a terminal: nothing."""

    async def aclose(self) -> None:
        """Let go of the command: if it still runs its group is ended as at a time-out. Never raises for an ended command."""


@runtime_checkable
class Instance(Protocol):
    """The place where one workspace runs. Getting one never starts or wakes anything."""

    @property
    def ref(self) -> models.instances.InstanceRef:
        """How to find it again."""

    async def status(self) -> models.instances.InstanceStatus:
        """Return what the backend sees now; ``GONE`` when it was removed, ``UNKNOWN`` when the backend cannot be asked."""

    async def start(self) -> None:
        """Make it run. Running already: nothing. Paused: it is resumed.

        Raises:
            WorkspaceGone: When it was removed.
            PortInUse: When a published port is taken.
        """

    async def stop(self, *, grace: float = 10.0) -> None:
        """End all its processes: TERM, ``grace`` seconds, KILL. Stopped already: nothing. Works on a paused one."""

    async def spawn(self, request: SpawnRequest) -> ProcessHandle:
        """Start a command.

        Raises:
            ExecStartError: When the program is not there (127) or cannot be executed (126), or the folder is missing.
            WorkspaceStopped: When the instance does not run, or is paused.
            WorkspaceGone: When it was removed.
            Unsupported: When the request asks for something that this backend cannot do (user, terminal).
        """


@runtime_checkable
class SupportsPause(Protocol):
    """Capability ``pause``: processes are frozen in memory."""

    async def pause(self) -> None:
        """Freeze every process. Paused already: nothing.

        Raises:
            WorkspaceStopped: When it does not run.
        """

    async def resume(self) -> None:
        """Let frozen processes go on. Running already: nothing.

        Raises:
            WorkspaceStopped: When it does not run.
        """


@runtime_checkable
class SupportsHibernation(Protocol):
    """Capability ``hibernation``: processes leave the memory for a disk, and go on later where they were.

    Commands that were started inside end with it, as when it is stopped. What is kept belongs to the instance: it is gone with it, and
    worth nothing once it was started in another way.
    """

    async def hibernate(self) -> None:
        """Keep the processes of the instance and of its services, and end them. Hibernating already: nothing. Paused: the same.

        All of them are kept, or all of them go on. Called again after it was cut short, it goes on with what still runs.
        Cancelled: it is carried out all the same.

        Raises:
            Unsupported: When the backend cannot, or not with what runs in it; it says why.
            WorkspaceStopped: When nothing runs, and nothing is kept.
            WorkspaceGone: When it was removed.
        """

    async def wake(self) -> models.instances.Woken:
        """Let what is kept go on, and say what does not come back. Nothing kept: everything is named as lost.

        Where the place itself is lost, nothing of it runs, and what was kept of it is gone. Called again after it was cut short, it
        goes on with what does not run yet.

        Raises:
            WorkspaceGone: When it was removed.
        """

    async def forget(self) -> None:
        """Remove what is kept. Nothing there: nothing."""


@runtime_checkable
class SupportsPortChange(Protocol):
    """Its host ports can be replaced while it is stopped, and nothing else about it changes."""

    async def change_ports(self, ports: tuple[models.ports.PortMapping, ...]) -> Instance:
        """Publish these ports instead. Files that programs wrote inside are kept.

        Returns:
            The instance as it is from now on; its ``ref`` may have another handle.

        Raises:
            StateConflict: When it is running.
        """


@runtime_checkable
class SupportsPrebuilds(Protocol):
    """A provider whose workspaces begin from images, and that can make one of a workspace's own files."""

    async def image_identity(self, image: str) -> str | None:
        """Return what an image's name stands for now; ``None`` when it is not there."""

    async def prebuilds(self, labels: Mapping[str, str]) -> tuple[models.prebuilds.Prebuild, ...]:
        """Return the prebuilt images that carry these labels, the newest first."""

    async def keep_prebuild(
        self, ref: models.instances.InstanceRef, prebuild: models.prebuilds.Prebuild
    ) -> models.prebuilds.Prebuild:
        """Keep a stopped workspace's own files (no mount, no memory) as an image of this key, and return it as it is then.

        Cancellation: it is made whole, or not at all.
        """

    async def remove_prebuild(self, key: str) -> bool:
        """Remove the image of this key; say whether one was removed. One that a workspace began from stays as long as that."""


@runtime_checkable
class SupportsBuiltImages(Protocol):
    """A provider that builds images on the way to workspaces. They are kept for the next one, and can be built again."""

    async def built_images(self) -> tuple[models.built_images.BuiltImage, ...]:
        """Return those there are, whichever repository they were built for, the oldest first."""

    async def remove_built_image(self, name: str) -> bool:
        """Remove one; say whether it is gone. One that a workspace is made from stays."""


@runtime_checkable
class SupportsSecretFiles(Protocol):
    """It has a place in memory where programs inside find secrets as files: never on a disk, gone when it stops."""

    def secret_path(self, name: str) -> str:
        """Return where a secret of this name is found inside."""

    async def write_secrets(self, files: Mapping[str, SecretStr]) -> None:
        """Write these secrets, readable by the workspace's own user alone; those of the same names are replaced.

        Raises:
            WorkspaceStopped: When it does not run.
            Unsupported: When this instance has no such place.
        """


@runtime_checkable
class SupportsMountChange(Protocol):
    """What is mounted in one of its folders can be replaced while it is stopped, and nothing else about it changes."""

    async def change_mounts(self, folder: str, mounts: tuple[models.mounts.VolumeMount, ...]) -> Instance:
        """Mount these in place of everything that is mounted at or below ``folder``. Files that programs wrote inside are kept.

        Returns:
            The instance as it is from now on; its ``ref`` may have another handle.

        Raises:
            StateConflict: When it is running.
        """


@runtime_checkable
class SupportsDescription(Protocol):
    """Its backend remembers what it was made from, so that a record which was lost can be written again."""

    async def describe(self) -> models.instances.InstanceDescription:
        """Return what it was made from. Starts nothing.

        Raises:
            WorkspaceGone: When it was removed.
        """


@runtime_checkable
class SupportsActivity(Protocol):
    """It knows which commands run, whoever started them: also those of a program that has ended since."""

    async def commands(self) -> tuple[models.activity.RunningCommand, ...]:
        """Return the commands that run now; none while it does not run."""


@runtime_checkable
class KeptProcess(ProcessHandle, Protocol):
    """A command that need not end with its caller; its request said so with ``keep``."""

    async def leave(self) -> None:
        """Let go of the command and leave it running. What it prints from now on is kept, the last ``keep`` bytes of it."""


@runtime_checkable
class SupportsKeeping(Protocol):
    """Capability ``keeping``: its commands can outlive whoever started them, and be joined again by another program."""

    async def kept(self) -> frozenset[ExecId]:
        """Return the commands that can be joined: those that run, and some that have ended; none while it does not run."""

    async def rejoin(self, exec_id: ExecId, request: SpawnRequest, *, offset: int) -> KeptProcess:
        """Take a kept command over, from whoever has it. Its events begin with ``Started`` as if it had just been started.

        Args:
            exec_id: The command.
            request: What it was started with, as far as that is still known.
            offset: How many bytes of its output are known already. What was dropped of the rest is told by a ``Gap``.

        Raises:
            NotFound: When no such command is kept any more.
            WorkspaceStopped, WorkspaceGone: When the instance does not run.
        """


@runtime_checkable
class SupportsListening(Protocol):
    """It can tell where programs inside listen."""

    async def listeners(self) -> tuple[models.activity.Listener, ...] | None:
        """Return where programs listen now, TCP only; ``None`` when this cannot be found out here."""


@runtime_checkable
class SupportsConnect(Protocol):
    """A TCP port inside it can be reached from here."""

    async def connect(self, port: int) -> ByteStream:
        """Connect to a port inside. A program that listens on the loopback address inside is reached, too.

        Raises:
            PortNotOpen: When nothing accepts connections there.
            WorkspaceStopped: When it does not run, or is paused.
            Unsupported: When it cannot be reached from here after all.
        """


@runtime_checkable
class SupportsResize(Protocol):
    """What it is given can be changed later."""

    async def resize(self, resources: models.resources.ResourceAllocation) -> None:
        """Apply these limits instead, from now on or from the next start on."""


@runtime_checkable
class SupportsLogs(Protocol):
    """Capability ``logs``: what the instance's own main process printed."""

    def logs(self, *, follow: bool = False, tail: int | None = None) -> AsyncGenerator[bytes, None]:
        """Give the log in chunks: the last ``tail`` lines or all; with ``follow`` until the instance ends."""


@runtime_checkable
class SupportsStats(Protocol):
    """Capability ``stats``."""

    async def stats(self) -> models.instances.ResourceStats:
        """Return what the instance uses now.

        Raises:
            WorkspaceStopped: When it does not run.
        """


@runtime_checkable
class SupportsMakingAhead(Protocol):
    """Of a provider: a part of an instance can be made while its tree is not there yet."""

    async def make_ahead(self, spec: models.instances.InstanceSpec) -> None:
        """Make what does not need it, a network for example; ``spec`` has no mounts. Made already: nothing.

        ``create`` may be called, and return, while this goes on; whoever starts the instance has awaited both. ``destroy`` removes
        it by the id alone, whether or not ``create`` was ever called.
        """


@runtime_checkable
class Provider(Protocol):
    """Makes, finds and removes instances. The constructor only stores; ``async with`` opens and closes connections.

    Every call has a deadline of its own and raises ``ProviderUnavailable`` when the backend does not answer in time.
    """

    @property
    def name(self) -> str:
        """The name it is registered under."""

    async def __aenter__(self) -> Self:
        """Open. Succeeds even when the backend is down: :meth:`probe` tells."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close connections. Destroys nothing."""

    async def probe(self) -> models.instances.ProviderInfo:
        """Return what the backend is and can do, in under a second and without a side effect. Never raises for a backend that is down."""

    async def prepare(
        self, spec: models.instances.InstanceSpec, *, progress: ProgressCallback | None = None
    ) -> models.instances.InstanceSpec:
        """Have everything slow ready that does not need the worktree: pull or build the image.

        Returns the spec to create from (an image that was built has its name filled in). Nothing to prepare: the spec itself.

        Raises:
            ImageNotFound, ImagePullFailed, BuildFailed: As they say.
        """

    async def create(
        self, spec: models.instances.InstanceSpec, *, progress: ProgressCallback | None = None
    ) -> Instance:
        """Make an instance, stopped. Called twice with the same ``spec.id``: the second call returns the first one's instance.

        A call that fails or is cancelled leaves nothing behind, or something that carries our labels and that
        :meth:`destroy` removes by the id alone.
        """

    async def attach(self, ref: models.instances.InstanceRef) -> Instance:
        """Return the instance. Never starts or wakes it, and asks nothing: a missing one shows in its ``status``."""

    async def list(self, labels: Mapping[str, str] | None = None) -> tuple[models.instances.InstanceStatus, ...]:
        """Return everything of ours that carries all these labels, whoever's record knows it."""

    async def destroy(self, ref: models.instances.InstanceRef) -> None:
        """Remove the instance and all that was made with it. Legal in every state; a missing one is fine. Idempotent."""
