"""The local backend: plain processes of this user, in the worktree, on this host."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from anyio import to_thread
from pydantic import JsonValue

from nexus.abc.provider import ProgressCallback
from nexus.errors import InvalidArgument, ProviderForbidden, ProviderUnavailable, Unsupported
from nexus.models.ids import WorkspaceId
from nexus.models.instances import Capability, InstanceRef, InstanceSpec, InstanceStatus, ProviderInfo
from nexus.models.mounts import VolumeMount
from nexus.providers.local import cgroups, freezing, lifecycle
from nexus.providers.local.cgroups import processes_limit
from nexus.providers.local.environment import passed_names
from nexus.providers.local.folders import Folders, resolve
from nexus.providers.local.launch import missing_interpreter
from nexus.providers.local.observe import observe_all
from nexus.providers.local.record import create, describe
from nexus.providers.local.served import ServedInstance
from nexus.providers.local.usage import Reading

CAPABILITIES: Final = frozenset(
    {
        Capability.PAUSE,
        Capability.LOGS,
        Capability.STATS,
        Capability.PTY,
        Capability.SIGNALS,
        Capability.HOST_TREE,
        Capability.KEEPING,
        Capability.SERVICES,
    }
)
"""No isolation, limits as far as :func:`nexus.providers.local.cgroups.available` says, no port mapping: a program listens on the host
port that it is told."""


class LocalProvider:
    """Implements :class:`nexus.abc.Provider`. It does not isolate: programs inside can do whatever this user can.

    Each started workspace has a keeper, a small process of its own that outlives this program. Linux only.

    Args:
        options: ``state_dir`` and ``runtime_dir`` (absolute paths, see :mod:`nexus.providers.local.folders`), ``pass_env``
            (names of variables that commands get from this program's environment) and ``pids_limit`` (how many processes a workspace
            may have, where the system can keep that). Others are not looked at.
        env: This program's environment; ``os.environ`` when absent.
    """

    def __init__(self, options: Mapping[str, JsonValue] | None = None, *, env: Mapping[str, str] | None = None) -> None:
        self._options = dict(options or {})
        self._env = env
        self._readings: dict[WorkspaceId, Reading] = {}

    @property
    def name(self) -> str:
        """The name it is registered under."""
        return "local"

    async def __aenter__(self) -> Self:
        """Open. There is nothing to connect to."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close. Workspaces go on running."""

    async def probe(self) -> ProviderInfo:
        """Return whether workspaces can run here. Makes nothing, and never raises."""
        reason, hint = await to_thread.run_sync(self._obstacle)
        if reason:
            return ProviderInfo(name=self.name, available=False, detail=reason, hint=hint)
        return ProviderInfo(
            name=self.name,
            available=True,
            version=platform.release(),
            capabilities=CAPABILITIES,
            detail=f"programs run as plain processes of this user: nothing is isolated; {await to_thread.run_sync(_limited)}",
            hint="use a container backend for code that you do not trust",
        )

    async def prepare(self, spec: InstanceSpec, *, progress: ProgressCallback | None = None) -> InstanceSpec:  # noqa: ARG002
        """Return the specification itself: there is nothing to pull or build.

        Raises:
            Unsupported: When it mounts something where nothing is.
        """
        await to_thread.run_sync(_check_mounts, spec.mounts)
        return spec

    async def create(self, spec: InstanceSpec, *, progress: ProgressCallback | None = None) -> ServedInstance:  # noqa: ARG002
        """Write down how to start the workspace. Image and mounts have no meaning here and are not applied.

        Raises:
            Unsupported: When it mounts something where nothing is.
            InvalidArgument: When its id cannot name a folder, or an option is wrong.
            ProviderUnavailable: When this is not Linux.
            ProviderForbidden: When the backend's folders are not this user's own.
            StateError: When they cannot be written.

        Cancellation: it is made, or it is not.
        """
        if sys.platform != "linux":
            raise ProviderUnavailable("the local backend works on Linux only", hint="use another backend")
        instance = self._instance(InstanceRef(id=spec.id, name=spec.name))
        await to_thread.run_sync(self._create, spec)
        return instance

    async def attach(self, ref: InstanceRef) -> ServedInstance:
        """Return the instance, whether it is there or not.

        Raises:
            InvalidArgument: When the id cannot name a folder, or an option is wrong.
        """
        return self._instance(ref)

    async def list(self, labels: Mapping[str, str] | None = None) -> tuple[InstanceStatus, ...]:
        """Return every workspace that carries all these labels, whoever's record knows it.

        Raises:
            ProviderForbidden: When the state folder is not this user's own.
        """
        return await to_thread.run_sync(observe_all, self._folders(), dict(labels or {}))

    async def destroy(self, ref: InstanceRef) -> None:
        """End its processes and remove its folder and socket; the worktree is not touched. Idempotent.

        Raises:
            InvalidArgument: When the id cannot name a folder.
            CleanupError: When a process does not end although it was killed.
            Busy: When another process works on it for long.

        Cancellation: asking again goes on.
        """
        folders = self._folders()
        await lifecycle.destroy(folders, folders.of(ref.id), workspace=ref.id)
        self._readings.pop(ref.id, None)

    def _environment(self) -> Mapping[str, str]:
        return os.environ if self._env is None else self._env

    def _folders(self) -> Folders:
        return resolve(self._options, self._environment())

    def _instance(self, ref: InstanceRef) -> ServedInstance:
        return ServedInstance(
            ref,
            self._folders(),
            env=self._environment(),
            passed=passed_names(self._options),
            processes=processes_limit(self._options),
            readings=self._readings,
        )

    def _create(self, spec: InstanceSpec) -> None:
        _check_mounts(spec.mounts)
        folders = self._folders()
        folders.state.secure()
        create(folders.of(spec.id), describe(spec))

    def _obstacle(self) -> tuple[str, str | None]:
        """Return why no workspace can run here and what to do about it; an empty reason when one can."""
        if sys.platform != "linux":
            return f"the local backend works on Linux only, and this is {sys.platform}", "use another backend"
        try:
            os.close(os.pidfd_open(os.getpid()))
        except OSError as error:
            return f"the kernel has no pidfd_open: {error.strerror}", "Linux 5.3 or later is needed"
        reason = missing_interpreter()
        if reason is not None:
            return f"the local backend cannot start programs: {reason}", None
        try:
            folders = self._folders()
            passed_names(self._options)
            processes_limit(self._options)
            folders.state.check()
            folders.runtime.check()
        except (InvalidArgument, ProviderForbidden) as error:
            return error.message, error.hint
        return "", None


def _limited() -> str:
    """Say what is limited here, what is not, and how a pause is kept."""
    kept = cgroups.available()
    words = {
        "cpu": ("processor time", "the choice of processors"),
        "memory": ("memory", "the memory of each process"),
        "pids": ("the number of processes", None),
    }
    limited = [group if name in kept else alone for name, (group, alone) in words.items()]
    not_limited = [
        "disk space",
        *(group for name, (group, alone) in words.items() if alone is None and name not in kept),
    ]
    how = "a control group's freezer" if freezing.available() else "signals"
    return f"limited are {', '.join(filter(None, limited))}; not limited: {', '.join(not_limited)}; paused by {how}"


def _check_mounts(mounts: tuple[VolumeMount, ...]) -> None:
    """Everything of the host is where it is; a program that needs something at another path would not find it."""
    for mount in mounts:
        if not Path(mount.target).exists():
            raise Unsupported(
                f"the local backend has no mounts, and nothing is at {mount.target}",
                hint="use a container backend, or put what is needed there",
                details={"capability": str(Capability.ISOLATION), "provider": "local"},
            )
