"""One workspace's container: what it does."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Final
from weakref import WeakValueDictionary

import aiohttp
from anyio.abc import ByteStream
from pydantic import SecretStr

from nexus.abc import Instance, ProcessHandle
from nexus.errors import ExecStartError, NexusError, ProviderError, ProviderUnavailable, WorkspaceGone, WorkspaceStopped
from nexus.models.activity import Listener, RunningCommand
from nexus.models.execution import Exited, Output, SpawnRequest, Stream
from nexus.models.instances import (
    LABEL_SERVICE,
    LABEL_WORKSPACE,
    InstanceDescription,
    InstanceRef,
    InstanceState,
    InstanceStatus,
    ResourceStats,
)
from nexus.models.mounts import VolumeMount
from nexus.models.ports import PortMapping
from nexus.models.resources import ResourceAllocation
from nexus.providers.docker.client import Engine, parse
from nexus.providers.docker.container_config import HOME, limits_of
from nexus.providers.docker.exec_script import passes_shell
from nexus.providers.docker.exec_stream import FrameDecoder
from nexus.providers.docker.facts import (
    LABEL_COPYING,
    LABEL_NAMED,
    LABEL_SHELL,
    Container,
    HostConfig,
    Image,
    Listed,
    described,
    status_of,
)
from nexus.providers.docker.failures import EngineRefused, network_missing, not_running, taken_port
from nexus.providers.docker.freezing import StartGate
from nexus.providers.docker.networks import connect, disconnect, ensure_network
from nexus.providers.docker.options import DockerOptions
from nexus.providers.docker.prepared import ShellPool
from nexus.providers.docker.process import DockerProcess
from nexus.providers.docker.reaching import reach
from nexus.providers.docker.republish import Change, make_again
from nexus.providers.docker.secret_files import FOLDER, write_files
from nexus.providers.docker.spawning import Place, Site, spawn
from nexus.providers.docker.usage import Counters, Reading, stats_of
from nexus.providers.docker.watching import TABLES, listeners_on_host, running_commands, without_resolver
from nexus.providers.listening import listeners_in

_START_DEADLINE: Final = 120.0
_CHANGE_DEADLINE: Final = 60.0
_FREEZE_PATIENCE: Final = 20.0
_SETTLING: Final = 2.0
"""Seconds in which the engine learns by itself that a container which it has resumed is no longer paused."""
_SETTLING_PAUSE: Final = 0.02
_STARTING_AT_ONCE: Final = 16
_LOOK_DEADLINE: Final = 10.0
_LARGEST_TABLE: Final = 4 * 1024 * 1024


class Shared:
    """What the instances of one opened provider have in common.

    Args:
        engine: The engine.
        options: The backend's settings.
    """

    def __init__(self, engine: Engine, options: DockerOptions) -> None:
        self.engine = engine
        self.options = options
        self.turn = asyncio.Semaphore(_STARTING_AT_ONCE)
        self.processes: set[DockerProcess] = set()
        self.readings: dict[str, Reading] = {}
        self.pools: dict[str, ShellPool] = {}
        self.untested: set[str] = set()
        """Containers whose health the engine never tests."""
        self._gates: dict[str, StartGate] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def turn_of(self, number: str) -> asyncio.Lock:
        """Return the lock under which things are made for one workspace. It lives as long as somebody holds or awaits it."""
        lock = self._turns.get(number)
        if lock is None:
            lock = self._turns[number] = asyncio.Lock()
        return lock

    def pool_of(self, container: str) -> ShellPool:
        """Return the prepared shells of a container."""
        pool = self.pools.get(container)
        if pool is None:
            size = self.options.prepared_shells
            pool = self.pools[container] = ShellPool(self.engine, container, self.gate_of(container), size)
        return pool

    def gate_of(self, container: str) -> StartGate:
        """Return what keeps a container from being frozen while something starts in it."""
        return self._gates.setdefault(container, StartGate())

    def site(self, place: Place) -> Site:
        """Return what starting commands there takes."""
        return Site(
            engine=self.engine,
            place=place,
            pool=self.pool_of(place.container),
            gate=self.gate_of(place.container),
            turn=self.turn,
            keep=self.processes.add,
            gone=self.processes.discard,
        )

    async def drop_pool(self, container: str) -> None:
        """End the shells that wait in a container, which stops or goes."""
        self._gates.pop(container, None)
        pool = self.pools.pop(container, None)
        if pool is not None:
            await pool.aclose()


async def find_container(engine: Engine, ref: InstanceRef) -> Container | None:
    """Return the container of a workspace; ``None`` when there is none.

    A handle alone is not believed: it comes from a record, and the container it names has to carry the workspace's label.
    """
    if ref.handle:
        found = await _describe(engine, ref.handle)
        if found is not None and found.labels.get(LABEL_WORKSPACE) == ref.id and LABEL_SERVICE not in found.labels:
            return found
    for listed in await list_containers(engine, {LABEL_WORKSPACE: ref.id}):
        found = await _describe(engine, listed.id)
        if found is not None:
            return found
    return None


async def _describe(engine: Engine, number: str) -> Container | None:
    if not number.isalnum():
        return None
    try:
        async with engine.door("look at a container") as docker:
            raw = await docker.containers.container(number).show()
    except EngineRefused as exc:
        if exc.status == 404:
            return None
        raise
    return parse(Container, raw)


async def list_containers(
    engine: Engine, labels: dict[str, str], *, services: bool = False, copying: bool = False
) -> list[Listed]:
    """Return every container that carries these labels; an empty value matches any.

    Those of services only when asked for, and those that are there for copying volumes only with ``copying``, alone then.
    """
    wanted = [f"{key}={value}" if value else key for key, value in labels.items()]
    async with engine.door("list containers", deadline=30.0) as docker:
        found = await docker.containers.list(all=True, filters={"label": wanted})
        every = [parse(Listed, {key: one[key] for key in ("Id", "State", "Status", "Labels")}) for one in found]
    every = [one for one in every if (LABEL_COPYING in (one.labels or {})) is copying]
    return every if services else [one for one in every if LABEL_SERVICE not in (one.labels or {})]


class DockerInstance:
    """A workspace in a container.

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
        return (await self._find_place()).container

    async def _find_place(self) -> Place:
        if self._place is None:
            found = await find_container(self._engine, self._ref)
            if found is None:
                raise self._gone()
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

    async def change_ports(self, ports: tuple[PortMapping, ...]) -> Instance:
        """Publish these ports instead; see :func:`nexus.providers.docker.republish.make_again`.

        Cancelled: the container is found by its label, with the old ports or with the new ones.

        Raises:
            StateConflict: When it is running.
            WorkspaceGone: When it was removed.
        """
        return type(self)(self._shared, await make_again(self._engine, self._ref, Change(ports=ports)))

    async def change_mounts(self, folder: str, mounts: tuple[VolumeMount, ...]) -> Instance:
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
            async with (
                self._shared.gate_of(number).alone(patience=_FREEZE_PATIENCE),
                self._engine.door("pause the container", deadline=_CHANGE_DEADLINE) as docker,
            ):
                await docker.containers.container(number).pause()

        await self._freeze(act, already="already paused")

    async def resume(self) -> None:
        """Let frozen processes go on. Running already: nothing.

        Raises:
            WorkspaceStopped: When it does not run.
        """

        async def act(number: str) -> None:
            async with self._engine.door("resume the container", deadline=_CHANGE_DEADLINE) as docker:
                await docker.containers.container(number).unpause()

        await self._freeze(act, already="is not paused")
        self._resumed_at = asyncio.get_running_loop().time()

    async def _freeze(self, act: Callable[[str], Awaitable[None]], *, already: str) -> None:
        try:
            await self._act(act)
        except EngineRefused as exc:
            stopped = not_running(exc, self._name)
            if already in exc.text or (stopped is not None and "is paused" in exc.text):
                # The engine says "not paused" of a stopped container too.
                if (await self.status()).state in {InstanceState.RUNNING, InstanceState.PAUSED}:
                    return
                raise self._stopped() from exc
            if stopped is not None:
                raise stopped from exc
            raise

    def _stopped(self) -> WorkspaceStopped:
        return WorkspaceStopped(f"workspace {self._name!r} is not running", hint="start it first")

    async def spawn(self, request: SpawnRequest) -> ProcessHandle:
        """Start a command; see :func:`nexus.providers.docker.spawning.spawn`.

        An image without ``/bin/sh``, and a variable whose name no shell passes on, are run by the engine alone. Such a command
        can be signalled only when the engine runs on this host.

        Raises:
            ExecStartError: When the program is not there (127) or cannot be executed (126), or the folder is missing.
            WorkspaceStopped: When the container does not run, or is paused.
            WorkspaceGone: When it was removed.
        """
        place = await self._find_place()
        until = self._resumed_at + _SETTLING
        while True:
            try:
                return await spawn(self._shared.site(place), request)
            except EngineRefused as exc:
                # For a moment the engine may go on taking what was resumed for paused.
                if "is paused" not in exc.text or asyncio.get_running_loop().time() > until:
                    raise await self._explain(exc) from exc
            await asyncio.sleep(_SETTLING_PAUSE)

    def secret_path(self, name: str) -> str:
        """Return where a secret of this name is found inside."""
        return f"{FOLDER}/{name}"

    async def write_secrets(self, files: Mapping[str, SecretStr]) -> None:
        """Write secrets into the container's memory; see :mod:`nexus.providers.docker.secret_files`.

        Raises:
            WorkspaceStopped: When the container does not run, or is paused.
            Unsupported: When it has no folder in memory, or no shell.
            SecretError: When one could not be written.
        """
        await write_files(self.spawn, files, workspace=self._name)

    async def _explain(self, refusal: EngineRefused) -> NexusError:
        stopped = not_running(refusal, self._name)
        if stopped is not None:
            return stopped
        match (await self.status()).state:
            case InstanceState.GONE:
                return self._gone()
            case InstanceState.STOPPED | InstanceState.FAILED:
                return self._stopped()
            case _:
                return refusal

    async def commands(self) -> tuple[RunningCommand, ...]:
        """Return the commands that run now, by the engine's own list: also those that other programs have started.

        Raises:
            ProviderUnavailable: When the engine cannot be asked.
        """
        found = await find_container(self._engine, self._ref)
        if found is None or status_of(found).state is not InstanceState.RUNNING:
            return ()
        return await running_commands(self._engine, found.id, found.exec_ids or ())

    async def listeners(self) -> tuple[Listener, ...] | None:
        """Return where programs in it listen.

        Read from this host's view of the container's network; where the engine is elsewhere, by ``cat`` inside, if it has one.

        Raises:
            ProviderUnavailable: When the engine cannot be asked.
        """
        found = await find_container(self._engine, self._ref)
        if found is None or status_of(found).state is not InstanceState.RUNNING:
            return ()
        seen = await listeners_on_host(found.state.pid, found.id)
        return await self._listeners_inside() if seen is None else seen

    async def connect(self, port: int) -> ByteStream:
        """Connect to a TCP port of the container, by its own address or from inside; see :mod:`nexus.providers.docker.reaching`.

        Raises:
            PortNotOpen: When nothing accepts connections there.
            WorkspaceStopped: When the container does not run, or is paused.
            WorkspaceGone: When it was removed.
            Unsupported: When it is open to programs inside only, and none of them can connect.
        """
        found = await find_container(self._engine, self._ref)
        if found is None:
            raise self._gone()
        if status_of(found).state is not InstanceState.RUNNING:
            raise self._stopped()
        return await reach(
            port,
            listeners=await self.listeners(),
            attachments=(found.network_settings.networks or {}).values(),
            spawn=self.spawn,
            workspace=self._name,
        )

    async def _listeners_inside(self) -> tuple[Listener, ...] | None:
        request = SpawnRequest(argv=("cat", *TABLES), timeout=_LOOK_DEADLINE, keeps_awake=False)
        text = bytearray()
        try:
            process = await self.spawn(request)
            try:
                while not isinstance(event := await process.receive(), Exited):
                    if isinstance(event, Output) and event.stream is Stream.STDOUT and len(text) < _LARGEST_TABLE:
                        text += event.data
            finally:
                await process.aclose()
        except (ExecStartError, WorkspaceStopped, WorkspaceGone):
            return None
        return without_resolver(listeners_in([text.decode("ascii", "replace")]))

    async def logs(self, *, follow: bool = False, tail: int | None = None) -> AsyncGenerator[bytes, None]:
        """Give what the container's main process printed, in chunks.

        Args:
            follow: Go on until the container ends.
            tail: Only the last lines, this many.

        Raises:
            WorkspaceGone: When it was removed.
        """
        number = await self._container()
        params = {
            "stdout": "1",
            "stderr": "1",
            "follow": "1" if follow else "0",
            "tail": "all" if tail is None else str(max(0, tail)),
        }
        decoder = FrameDecoder()
        try:
            async with self._engine.stream(
                "read the log", "GET", f"containers/{number}/logs", params=params, deadline=None if follow else 60.0
            ) as reply:
                async for piece in reply.content.iter_any():
                    for _, data in decoder.feed(piece):
                        yield data
        except EngineRefused as exc:
            if exc.status == 404:
                raise self._gone() from exc
            raise
        except ProviderUnavailable as exc:
            # A container that is removed while it is followed ends the log without the proper end of the reply.
            if not (follow and isinstance(exc.__cause__, aiohttp.ClientPayloadError)):
                raise

    async def stats(self) -> ResourceStats:
        """Return what it uses now; the processor's share is that since the previous call on this provider.

        Raises:
            WorkspaceStopped: When it does not run.
            WorkspaceGone: When it was removed.
        """
        number = await self._container()
        params = {"stream": "false", "one-shot": "true"}
        try:
            async with self._engine.stream(
                "count what is used", "GET", f"containers/{number}/stats", params=params
            ) as reply:
                counters = parse(Counters, await reply.json(content_type=None))
        except EngineRefused as exc:
            raise await self._explain(exc) from exc
        if counters.empty:
            raise self._stopped()
        now = asyncio.get_running_loop().time()
        stats, self._shared.readings[number] = stats_of(counters, now, self._shared.readings.get(number))
        found = await find_container(self._engine, self._ref)
        limits = found.host_config if found is not None else HostConfig()
        return stats.model_copy(update={"cpu_limit": limits.cores, "processes_limit": limits.processes})

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
