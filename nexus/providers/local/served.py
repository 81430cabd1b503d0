"""Services of a workspace on this host: each a supervised process of its keeper, with a folder for its log and its state."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncGenerator, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

import anyio
from anyio import to_thread
from pydantic import ValidationError

from nexus.abc import ProgressCallback
from nexus.errors import InvalidArgument, ServiceFailed, ServiceNotFound, Unsupported
from nexus.models.base import Model
from nexus.models.execution import Exited, Output, SpawnRequest
from nexus.models.instances import Capability, InstanceState
from nexus.models.services import Health, Healthcheck, ServiceSpec, ServiceState, ServiceStatus
from nexus.models.workspace import ProcessState
from nexus.processes import is_alive
from nexus.providers.local import environment
from nexus.providers.local.contact import stopped
from nexus.providers.local.instance import LocalInstance
from nexus.providers.local.keeper import supervisor, tree
from nexus.providers.local.logs import read_log
from nexus.providers.local.process import LocalProcess
from nexus.providers.local.record import Description

_PROGRAM: Final = Path(supervisor.__file__)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", re.ASCII)
_SERVICES: Final = "services"
_START: Final = 30.0
_KILLED: Final = 10.0
"""Seconds after KILL until a supervisor that does not end is left to the keeper."""
_CHANGED: Final = 10.0
"""Seconds between TERM and KILL for a service that is made anew."""


class _Order(Model):
    """What the supervisor was told, and what it need not know."""

    argv: tuple[str, ...]
    cwd: str
    restart: str
    check: Mapping[str, tuple[str, ...] | float | int] | None = None
    env: Mapping[str, str] = {}
    fingerprint: str = ""


class _State(Model):
    """What the supervisor says of its service. It may be long gone: only its identity tells."""

    pid: int
    start_time: int
    boot_id: str
    state: Literal["running", "restarting", "exited"]
    health: Health | None = None
    exit_code: int | None = None

    @property
    def process(self) -> ProcessState:
        return ProcessState(pid=self.pid, start_time=self.start_time, boot_id=self.boot_id)


class ServedInstance(LocalInstance):
    """Implements ``SupportsServices`` with plain processes. Pausing and stopping the workspace pauses and ends them too."""

    def _place(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise InvalidArgument(f"{name!r} cannot be the name of a service")
        return self._folder / _SERVICES / name

    async def services(self) -> tuple[ServiceStatus, ...]:
        """Return the services that were started once, by name."""
        sight = await self._contact.sight()
        return await to_thread.run_sync(_statuses, self._folder / _SERVICES, sight.state is InstanceState.PAUSED)

    async def prepare_service(self, service: ServiceSpec, *, progress: ProgressCallback | None = None) -> ServiceSpec:  # noqa: ARG002
        """Return the service itself: there is nothing to pull or build.

        Raises:
            Unsupported: When it has no command, or mounts something.
        """
        if service.command is None or service.mounts:
            lacks = "images" if service.command is None else "mounts"
            raise Unsupported(
                f"service {service.name!r} cannot run on this host: the local backend has no {lacks}",
                hint="give it a command that runs here and no volumes, or use a container backend",
                details={"capability": str(Capability.SERVICES), "provider": "local", "service": service.name},
            )
        return service

    async def start_service(self, service: ServiceSpec, *, secrets: Mapping[str, str]) -> None:
        """Start its supervisor, which starts it. One that runs as it is described stays as it is.

        Cancelled: it runs, or it does not; both can be started again.

        Raises:
            WorkspaceStopped: When the workspace does not run, or is paused.
            ServiceFailed: When its program cannot be started.
            Unsupported: When it is to run as another user.
        """
        sight = await self._contact.sight()
        if sight.state is not InstanceState.RUNNING or sight.description is None:
            raise stopped(sight.state, sight.detail)
        place = self._place(service.name)
        env = {**_port(sight.description, service.name), **service.env}
        order = _order(service, sight.description, env, secrets)
        state = await to_thread.run_sync(_read_state, place)
        if state is not None and is_alive(state.process):
            if await to_thread.run_sync(_same, place, order):
                return
            await self.stop_service(service.name, grace=_CHANGED)
        await to_thread.run_sync(_write_order, place, order)
        argv = (sys.executable, "-I", "-S", "-X", "utf8", str(_PROGRAM), str(place))
        process = await self.spawn(
            SpawnRequest(argv=argv, cwd=order.cwd, env={**env, **secrets}, user=service.user, timeout=_START)
        )
        reason, code = await _ended(process)
        if code != 0:
            raise ServiceFailed(
                f"service {service.name!r} could not be started: {reason.strip() or f'status {code}'}",
                service=service.name,
                hint="see its command and working_dir",
            )

    async def stop_service(self, name: str, *, grace: float) -> None:
        """End it: TERM to its whole group, ``grace`` seconds, KILL. While the workspace is paused it ends with the workspace."""
        if (await self._contact.sight()).state is not InstanceState.RUNNING:
            return
        state = await to_thread.run_sync(_read_state, self._place(name))
        if state is None or not await to_thread.run_sync(_send, state, signal.SIGUSR1):
            return
        if not await _gone(state, grace) and await to_thread.run_sync(_send, state, signal.SIGUSR2):
            await _gone(state, _KILLED)

    async def remove_service(self, name: str) -> None:
        """End it and remove its log."""
        await self.stop_service(name, grace=_CHANGED)
        await to_thread.run_sync(shutil.rmtree, self._place(name), True)

    async def pause_services(self, names: Collection[str] | None = None) -> None:
        """Nothing: the workspace's pause freezes them."""

    async def resume_services(self, names: Collection[str] | None = None) -> None:
        """Nothing: the workspace's resume lets them go on."""

    async def spawn_in_service(self, name: str, request: SpawnRequest) -> LocalProcess:
        """Start a command with the service's folder and plain variables.

        Raises:
            ServiceNotFound: When it was never started.
            WorkspaceStopped: When the workspace does not run, or is paused.
        """
        order = await to_thread.run_sync(_read_order, self._place(name))
        if order is None:
            raise _unknown(name)
        return await self.spawn(replace(request, cwd=request.cwd or order.cwd, env={**order.env, **request.env}))

    async def service_logs(
        self, name: str, *, follow: bool = False, tail: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Give what the service printed, and lines that say when it ended.

        Raises:
            ServiceNotFound: When it was never started.
        """
        place = self._place(name)
        if await to_thread.run_sync(_read_order, place) is None:
            raise _unknown(name)

        async def ended() -> bool:
            state = await to_thread.run_sync(_read_state, place)
            return state is None or not is_alive(state.process)

        reading = read_log(place, follow=follow, tail=tail, ended=ended)
        try:
            async for chunk in reading:
                yield chunk
        finally:
            await reading.aclose()


def _unknown(name: str) -> ServiceNotFound:
    return ServiceNotFound(
        f"there is no service {name!r} that was started",
        hint="'boulder ws show' names the services of a workspace",
        details={"service": name},
    )


def _port(description: Description, service: str) -> dict[str, str]:
    """Return the variable that tells a service where to listen, as the other ports are told."""
    own = next((mapping for mapping in description.ports if mapping.name == service), None)
    return {} if own is None else {"PORT": str(own.host_port)}


def _order(
    service: ServiceSpec, description: Description, env: Mapping[str, str], secrets: Mapping[str, str]
) -> _Order:
    argv = (*(service.entrypoint or ()), *(service.command or ()))
    known = json.dumps([service.fingerprint, sorted(env.items()), sorted(secrets.items())])
    return _Order(
        argv=argv,
        cwd=environment.folder(description, service.working_dir),
        restart=service.restart,
        check=None if service.healthcheck is None else _check(service.healthcheck),
        env=env,
        fingerprint=hashlib.sha256(known.encode()).hexdigest()[:32],
    )


def _check(check: Healthcheck) -> Mapping[str, tuple[str, ...] | float | int] | None:
    if check.disabled or not check.test:
        return None
    kind, *words = check.test
    return {
        "argv": ("/bin/sh", "-c", *words) if kind == "CMD-SHELL" else tuple(words),
        "interval": check.interval.total_seconds(),
        "timeout": check.timeout.total_seconds(),
        "retries": check.retries,
        "start_period": check.start_period.total_seconds(),
    }


def _write_order(place: Path, order: _Order) -> None:
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    (place / supervisor.STATE).unlink(missing_ok=True)
    supervisor.replace(str(place / supervisor.ORDER), order.model_dump(mode="json"))


def _read_order(place: Path) -> _Order | None:
    try:
        return _Order.model_validate_json((place / supervisor.ORDER).read_bytes())
    except (OSError, ValidationError):
        return None


def _read_state(place: Path) -> _State | None:
    try:
        return _State.model_validate_json((place / supervisor.STATE).read_bytes())
    except (OSError, ValidationError):
        return None


def _same(place: Path, order: _Order) -> bool:
    known = _read_order(place)
    return known is not None and known.fingerprint == order.fingerprint


def _statuses(folder: Path, paused: bool) -> tuple[ServiceStatus, ...]:
    places = sorted(folder.iterdir()) if folder.is_dir() else []
    return tuple(_status(place, paused=paused) for place in places)


def _status(place: Path, *, paused: bool) -> ServiceStatus:
    state = _read_state(place)
    if state is None:
        return ServiceStatus(name=place.name, state=ServiceState.CREATED)
    if not is_alive(state.process):
        # One that was killed together with its supervisor could not say so.
        code = state.exit_code if state.state == "exited" else 128 + signal.SIGKILL
        return ServiceStatus(name=place.name, state=ServiceState.EXITED, exit_code=code)
    seen = ServiceState.PAUSED if paused else ServiceState(state.state)
    return ServiceStatus(name=place.name, state=seen, health=state.health, exit_code=state.exit_code)


def _send(state: _State, number: int) -> bool:
    process = tree.read(state.pid)
    return (
        is_alive(state.process)
        and process is not None
        and process.start_time == state.start_time
        and tree.send(process, number)
    )


async def _gone(state: _State, timeout: float) -> bool:
    """Wait for the end of exactly this supervisor; return whether it came."""
    try:
        process = os.pidfd_open(state.pid)
    except OSError:
        return True
    try:
        if not await to_thread.run_sync(is_alive, state.process):
            return True
        with anyio.move_on_after(timeout) as scope:
            await anyio.wait_readable(process)
        return not scope.cancelled_caught
    finally:
        os.close(process)


async def _ended(process: LocalProcess) -> tuple[str, int | None]:
    said = bytearray()
    try:
        while True:
            event = await process.receive()
            if isinstance(event, Output):
                said += event.data
            elif isinstance(event, Exited):
                return said.decode("utf-8", "replace"), event.exit_code
    finally:
        await process.aclose()
