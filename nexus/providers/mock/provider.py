"""The provider itself: makes, finds and removes simulated instances."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from types import TracebackType
from typing import Final, Self

import anyio
from pydantic import JsonValue, ValidationError

from nexus.abc import ProgressCallback
from nexus.errors import CheckpointDamaged, InvalidArgument, Unsupported, WorkspaceGone, WrongLoop
from nexus.models.base import Model
from nexus.models.checkpoints import KeptPlace
from nexus.models.ids import CheckpointId, WorkspaceId
from nexus.models.instances import Capability, InstanceRef, InstanceSpec, InstanceStatus, ProviderInfo
from nexus.models.units import Duration
from nexus.providers.mock.instance import MockInstance
from nexus.providers.mock.programs import PROGRAMS
from nexus.providers.mock.script import CallName, MockScript, RecordedCall
from nexus.providers.mock.shell import sh
from nexus.providers.mock.tasks import Tasks
from nexus.providers.mock.world import Kept, Machine, MockWorld, RunningMachine

CAPABILITIES: Final = frozenset(
    {
        Capability.PAUSE,
        Capability.LOGS,
        Capability.STATS,
        Capability.PTY,
        Capability.SIGNALS,
        Capability.HOST_TREE,
        Capability.CHECKPOINTS,
        Capability.HIBERNATION,
    }
)
"""What the mock can do. It has no network, no users and no limits."""
_PROGRAMS: Final = {**PROGRAMS, "sh": sh, "bash": sh, "dash": sh}


class MockOptions(Model):
    """The settings of the mock backend."""

    latency: Duration = timedelta()
    """How long every call takes."""
    without: frozenset[Capability] = frozenset()
    """Capabilities that it is to be without."""


class MockProvider:
    """A backend in memory, for tests and demonstrations: no process is started, no file touched outside the worktree.

    It keeps every promise of ``nexus.abc.provider``. What it does is decided by its script alone, so that a test can play
    slowness, failures and outages; what a command prints by the script's programs, and by a few of its own.

    Args:
        options: Settings, as :class:`MockOptions` has them.
        script: What it is to do; a fresh one, which does nothing unusual, when absent.
        world: Where its instances are. Give two providers the same world, and they see the same instances.

    Raises:
        InvalidArgument: When an option is unknown or has a value that cannot be used.
    """

    def __init__(
        self,
        options: Mapping[str, JsonValue] | None = None,
        *,
        script: MockScript | None = None,
        world: MockWorld | None = None,
    ) -> None:
        try:
            settings = MockOptions.model_validate(dict(options or {}))
        except ValidationError as exc:
            first = exc.errors(include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise InvalidArgument(f"option {place!r} of the mock backend: {first['msg']}") from exc
        self._script = script or MockScript()
        self._world = world or MockWorld()
        self._latency = settings.latency.total_seconds()
        self._capabilities = CAPABILITIES - settings.without
        self._tasks = Tasks()
        self._opened = 0

    @property
    def name(self) -> str:
        """``mock``."""
        return "mock"

    @property
    def script(self) -> MockScript:
        """What it is to do."""
        return self._script

    @property
    def world(self) -> MockWorld:
        """Where its instances are."""
        return self._world

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What it can do."""
        return self._capabilities

    async def __aenter__(self) -> Self:
        """Open."""
        self._opened += 1
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close: commands that this provider started are ended, as when a connection breaks. Instances stay as they are."""
        self._opened -= 1
        if self._opened == 0:
            with anyio.CancelScope(shield=True):
                await self._tasks.aclose()

    async def probe(self) -> ProviderInfo:
        """Return what it can do; not available while the script says that it is down."""
        async with self._playing("probe"):
            down = self._script.down
            return ProviderInfo(
                name=self.name,
                available=down is None,
                version="1",
                capabilities=self._capabilities if down is None else frozenset(),
                detail="simulated, in memory" if down is None else down,
                hint=None if down is None else "set MockScript.down to None",
            )

    async def prepare(self, spec: InstanceSpec, *, progress: ProgressCallback | None = None) -> InstanceSpec:
        """Return the spec itself: there is nothing to pull or build."""
        async with self._playing("prepare", spec.id):
            if progress is not None:
                progress("image", "nothing to prepare", 1, 1)
            return spec

    async def create(self, spec: InstanceSpec, *, progress: ProgressCallback | None = None) -> MockInstance:
        """Make an instance, stopped; the same one for the same id."""
        async with self._playing("create", spec.id):
            machine = self._world.machines.setdefault(spec.id, Machine(spec))
            if progress is not None:
                progress("create", f"{spec.name} is made", 1, 1)
            return MockInstance(self, machine.status.ref)

    async def attach(self, ref: InstanceRef) -> MockInstance:
        """Return the instance, whether it is there or not."""
        async with self._playing("attach", ref.id):
            return MockInstance(self, ref)

    async def list(self, labels: Mapping[str, str] | None = None) -> tuple[InstanceStatus, ...]:
        """Return the instances of its world that carry all these labels, oldest first."""
        async with self._playing("list"):
            wanted = (labels or {}).items()
            return tuple(
                machine.status for machine in self._world.machines.values() if wanted <= machine.labels.items()
            )

    async def destroy(self, ref: InstanceRef) -> None:
        """Remove the instance and kill its processes. A missing one is fine."""
        async with self._playing("destroy", ref.id):
            machine = self._world.machines.get(ref.id)
            self._world.remove(ref.id)
            if machine is not None:
                for group in tuple(machine.groups):
                    await group.empty()

    async def keep_place(
        self, ref: InstanceRef, key: CheckpointId, labels: Mapping[str, str], *, processes: bool = False
    ) -> KeptPlace:
        """Keep the log, which is all that a simulated machine has besides its tree.

        Raises:
            WorkspaceGone: When there is no such instance.
            Unsupported: When processes are asked for.
        """
        async with self._playing("keep_place", ref.id):
            machine = self._world.machines.get(ref.id)
            if machine is None:
                raise WorkspaceGone(f"there is no instance {ref.name or ref.id}")
            if processes:
                raise Unsupported(
                    "processes of the mock backend cannot be kept",
                    hint="leave them out",
                    details={"capability": str(Capability.CHECKPOINTS), "provider": self.name},
                )
            self._world.kept[key] = Kept(labels=dict(labels), log=tuple(machine.log))
            return KeptPlace(key=key, image=f"mock-{key}", size=sum(map(len, machine.log)))

    async def make_from(
        self,
        spec: InstanceSpec,
        place: KeptPlace,
        volumes: Mapping[str, str],
        *,
        progress: ProgressCallback | None = None,
    ) -> MockInstance:
        """Make an instance with the log that was kept, stopped; one of the same id is removed first.

        Raises:
            CheckpointDamaged: When nothing is kept under its key.
        """
        del volumes  # a simulated machine mounts none
        async with self._playing("make_from", spec.id):
            kept = self._world.kept.get(place.key)
            if kept is None:
                raise CheckpointDamaged(f"nothing is kept under {place.key}")
        await self.destroy(InstanceRef(id=spec.id, name=spec.name))
        instance = await self.create(spec, progress=progress)
        self._world.machines[spec.id].log = list(kept.log)
        return instance

    async def drop_place(self, key: CheckpointId) -> None:
        """Forget what is kept under a key. Nothing there: nothing."""
        async with self._playing("drop_place"):
            self._world.kept.pop(key, None)

    async def kept_places(self, labels: Mapping[str, str] | None = None) -> Mapping[CheckpointId, Mapping[str, str]]:
        """Return the keys under which anything is kept that carries all these labels."""
        async with self._playing("kept_places"):
            wanted = (labels or {}).items()
            return {key: kept.labels for key, kept in self._world.kept.items() if wanted <= kept.labels.items()}

    def calling(
        self, call: CallName, ref: InstanceRef, argv: tuple[str, ...] = ()
    ) -> AbstractAsyncContextManager[None]:
        """Play the script around one call of an instance."""
        return self._playing(call, ref.id, argv)

    def kernel(self, machine: Machine) -> RunningMachine:
        """Return the machine as its processes see it."""
        return RunningMachine(machine, self._script, _PROGRAMS, self._tasks)

    @asynccontextmanager
    async def _playing(
        self, call: CallName, instance: WorkspaceId | None = None, argv: tuple[str, ...] = ()
    ) -> AsyncGenerator[None, None]:
        if self._opened == 0:
            raise WrongLoop("the mock provider is not open", hint="use it inside 'async with provider:'")
        async with self._script.playing(RecordedCall(name=call, id=instance, argv=argv), latency=self._latency):
            yield
