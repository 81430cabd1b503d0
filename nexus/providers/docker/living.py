"""One workspace's container: what it does, and how it is started, stopped, frozen and changed."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Final, Self

from nexus.errors import ProviderError, WorkspaceGone, WorkspaceStopped
from nexus.models.instances import (
    InstanceDescription,
    InstanceRef,
    InstanceState,
    InstanceStatus,
)
from nexus.models.mounts import VolumeMount
from nexus.models.ports import PortMapping
from nexus.models.resources import ResourceAllocation
from nexus.providers.docker.client import parse
from nexus.providers.docker.container_config import HOME, limits_of
from nexus.providers.docker.exec_script import passes_shell
from nexus.providers.docker.facts import (
    LABEL_NAMED,
    LABEL_SHELL,
    Container,
    Image,
    described,
    status_of,
)
from nexus.providers.docker.failures import EngineRefused, network_missing, not_running, taken_port
from nexus.providers.docker.finding import find_container
from nexus.providers.docker.networks import connect, disconnect, ensure_network
from nexus.providers.docker.pausing import freeze, goes_on, thaw
from nexus.providers.docker.republish import Change, make_again
from nexus.providers.docker.shared import Shared
from nexus.providers.docker.spawning import Place

_START_DEADLINE: Final = 120.0
_CHANGE_DEADLINE: Final = 60.0
_FREEZE_PATIENCE: Final = 20.0


class LivingContainer:
    """A workspace's container, as far as it is looked at and brought from one state into another.

    Args:
        shared: The provider's parts.
        ref: Which workspace.
    """

    def __init__(self, shared: Shared, ref: InstanceRef) -> None:
        self._shared = shared
        self._engine = shared.engine
        self._ref = ref
        self._place: Place | None = None
        self._resumed_at = -math.inf

    @property
    def ref(self) -> InstanceRef:
        """How to find it again."""
        return self._ref

    async def status(self) -> InstanceStatus:
        """Return what the engine sees now; ``GONE`` when it was removed, ``UNKNOWN`` when the engine cannot be asked."""
        try:
            found = await find_container(self._engine, self._ref)
        except ProviderError as exc:
            return InstanceStatus(ref=self._ref, state=InstanceState.UNKNOWN, detail=exc.message)
        if found is None:
            self._place = None
            return InstanceStatus(ref=self._ref, state=InstanceState.GONE, detail="its container was removed")
        self._learn(found)
        return status_of(found)

    async def describe(self) -> InstanceDescription:
        """Return image and variables.

        Raises:
            WorkspaceGone: When it was removed.
        """
        found = await find_container(self._engine, self._ref)
        if found is None:
            raise self._gone()
        try:
            async with self._engine.door("look at an image") as docker:
                image = parse(Image, await docker.images.inspect(found.image))
        except EngineRefused as exc:
            if exc.status != 404:
                raise
            image = None
        name = found.labels.get(LABEL_NAMED, "").partition(":")[0]
        return described(found, image, {f"HOME={HOME}", f"USER={name}"})

    async def _container(self) -> str:
        """Return the container's id, proved once to be this workspace's."""
        if self._place is None and self._ref.handle in self._shared.made:
            self._shared.made.discard(self._ref.handle)
            return self._ref.handle
        return (await self._find_place()).container

    async def _find_place(self) -> Place:
        if self._place is None:
            found = await find_container(self._engine, self._ref)
            if found is None:
                raise self._gone()
            return self._learn(found)
        return self._place

    def _learn(self, found: Container) -> Place:
        """Remember where it is: what a container is made from never changes."""
        if self._place is None or self._place.container != found.id:
            shell = found.labels.get(LABEL_SHELL) != "none" and passes_shell(found.env_names)
            self._place = Place(found.id, found.config.working_dir or "/", shell)
            self._ref = self._ref.model_copy(update={"handle": found.id})
        return self._place

    def _gone(self) -> WorkspaceGone:
        return WorkspaceGone(
            f"the container of workspace {self._name!r} was removed",
            hint="start the workspace to make it again around its worktree, or destroy it",
        )

    @property
    def _name(self) -> str:
        return self._ref.name or self._ref.id

    async def _act(self, act: Callable[[str], Awaitable[None]]) -> None:
        """Do something to the container, and read a refusal."""
        number = await self._container()
        try:
            await act(number)
        except EngineRefused as exc:
            if exc.status == 404 and "container" in exc.text.lower():
                self._place = None
                raise self._gone() from exc
            raise

    async def start(self) -> None:
        """Make it run. Running already: nothing. Paused: it is resumed.

        Cancelled: it may or may not run.

        Raises:
            WorkspaceGone: When it was removed.
            PortInUse: When a published port is taken.
        """
        await self._act(self._start)

    async def _start(self, number: str) -> None:
        try:
            await self._start_once(number)
        except EngineRefused as exc:
            taken = taken_port(exc)
            if taken is not None:
                raise taken from exc
            if "paused" in exc.text:
                await self.resume()
                return
            if not network_missing(exc):
                raise
            await self._reconnect(number)
            await self._start_once(number)

    async def _start_once(self, number: str) -> None:
        async with self._engine.busy_door("start the container", deadline=_START_DEADLINE) as docker:
            await docker.containers.container(number).start()

    async def _reconnect(self, number: str) -> None:
        """Make the network again that somebody removed, and put the container on it."""
        found = await find_container(self._engine, self._ref)
        if found is None:
            raise self._gone()
        ours = {key: value for key, value in found.labels.items() if key.startswith("dev.nexus.")}
        async with self._shared.turn_of(self._ref.id):
            chosen = await ensure_network(
                self._engine, self._shared.options, name=self._name, number=self._ref.id, labels=ours
            )
        # The container still remembers the old network's number under the same name, and would ask for that.
        await disconnect(self._engine, chosen.name, number)
        await connect(self._engine, chosen.name, number)

    async def change_ports(self, ports: tuple[PortMapping, ...]) -> Self:
        """Publish these ports instead; see :func:`nexus.providers.docker.republish.make_again`.

        Cancelled: the container is found by its label, with the old ports or with the new ones.

        Raises:
            StateConflict: When it is running.
            WorkspaceGone: When it was removed.
        """
        return type(self)(self._shared, await make_again(self._engine, self._ref, Change(ports=ports)))

    async def change_mounts(self, folder: str, mounts: tuple[VolumeMount, ...]) -> Self:
        """Mount these in place of what is mounted below ``folder``; see :func:`nexus.providers.docker.republish.make_again`.

        Cancelled: the container is found by its label, with the old mounts or with the new ones.

        Raises:
            StateConflict: When it is running.
            WorkspaceGone: When it was removed.
        """
        change = Change(folder=folder, mounts=mounts)
        return type(self)(self._shared, await make_again(self._engine, self._ref, change))

    async def stop(self, *, grace: float = 10.0) -> None:
        """End all its processes: TERM, ``grace`` seconds (rounded up to whole ones), KILL. Stopped already: nothing.

        A paused one goes on for as long as it takes to end. Cancelled: it ends all the same.
        """

        async def act(number: str) -> None:
            await self._shared.drop_pool(number)
            seconds = math.ceil(max(0.0, grace))
            async with self._engine.door("stop the container", deadline=seconds + _CHANGE_DEADLINE) as docker:
                container = docker.containers.container(number)
                try:
                    await container.unpause()
                except Exception as exc:
                    if getattr(exc, "status", None) not in {404, 409, 500}:
                        raise
                await container.stop(t=seconds)

        await self._act(act)

    async def pause(self) -> None:
        """Freeze every process. Paused already: nothing.

        Raises:
            WorkspaceStopped: When it does not run.
            Busy: When a command has been starting for long; freezing it half started would harm the engine.
        """

        async def act(number: str) -> None:
            async with self._shared.gate_of(number).alone(patience=_FREEZE_PATIENCE):
                await freeze(self._engine, number, doing="pause the container")

        await self._freeze(act)

    async def resume(self) -> None:
        """Let frozen processes go on. Running already: nothing.

        Raises:
            WorkspaceStopped: When it does not run.
        """

        async def act(number: str) -> None:
            await thaw(self._engine, number, doing="resume the container")

        await self._freeze(act)
        self._resumed_at = asyncio.get_running_loop().time()

    async def _freeze(self, act: Callable[[str], Awaitable[None]]) -> None:
        try:
            await self._act(act)
        except EngineRefused as exc:
            stopped = not_running(exc, self._name)
            if goes_on(exc) or (stopped is not None and "is paused" in exc.text):
                # The engine says "not paused" of a stopped container too.
                if (await self.status()).state in {InstanceState.RUNNING, InstanceState.PAUSED}:
                    return
                raise self._stopped() from exc
            if stopped is not None:
                raise stopped from exc
            raise

    def _stopped(self) -> WorkspaceStopped:
        return WorkspaceStopped(f"workspace {self._name!r} is not running", hint="start it first")

    async def resize(self, resources: ResourceAllocation) -> None:
        """Let the container have this much processor and memory from now on. Disk space is fixed when it is made.

        Raises:
            WorkspaceGone: When it was removed.
            ProviderError: When the engine refuses, for example less memory than is in use.
        """
        info = await self._engine.info()

        async def act(number: str) -> None:
            async with self._engine.stream(
                "change the limits",
                "POST",
                f"containers/{number}/update",
                json=limits_of(resources, info, changing=True),
                deadline=_CHANGE_DEADLINE,
            ):
                pass

        await self._act(act)
