"""Starting, stopping and removing the place of one workspace, each under its lock."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread

from nexus.errors import Busy, CleanupError, PortInUse, ProviderError, ProviderUnavailable, RecordDamaged, WorkspaceGone
from nexus.models.ids import WorkspaceId
from nexus.models.instances import InstanceState
from nexus.models.ports import PortMapping
from nexus.providers.local import cgroups, freezing, secret_files
from nexus.providers.local.channel import KeeperAway, call
from nexus.providers.local.contact import send_exactly, stopped
from nexus.providers.local.folders import Folders
from nexus.providers.local.keeper.standing import NAME as RUN_NAME
from nexus.providers.local.launch import launch
from nexus.providers.local.leftovers import end_leftovers
from nexus.providers.local.limits import apply_limits
from nexus.providers.local.locks import locked
from nexus.providers.local.observe import Sight, observe
from nexus.providers.local.record import Description, Run, read_run

_GRACE: Final = 5.0
"""Seconds between TERM and KILL for what a killed keeper has left behind."""
_MARGIN: Final = 10.0
_FAREWELL: Final = 5.0
_ATTEMPTS: Final = 5


async def start(folders: Folders, folder: Path, env: Mapping[str, str], *, processes: int) -> None:
    """Start the keeper, unless it runs; resume it when it is paused. What an earlier keeper left running is ended first.

    Args:
        folders: The backend's folders.
        folder: The workspace's own.
        env: This program's environment.
        processes: How many processes it may have, where the system can keep that.

    Raises:
        WorkspaceGone: When the folder is not there.
        RecordDamaged: When the description cannot be understood.
        PortInUse: When somebody listens on one of its ports.
        ProviderError: When the worktree is missing or the keeper does not come up; nothing is left running then.
        Busy: When another process holds the lock for long.

    Cancellation: it runs, or it does not; both can be started again.
    """
    async with locked(folder):
        sight = await to_thread.run_sync(observe, folder)
        if sight.alive and sight.run is not None and sight.run.state == "stopping":
            await _wait_until_gone(sight.run, _MARGIN)
            sight = await to_thread.run_sync(observe, folder)
        if sight.state is InstanceState.PAUSED and sight.run is not None:
            await _resume(sight.run)
            return
        if sight.state is InstanceState.RUNNING:
            return
        if sight.state is InstanceState.GONE:
            raise stopped(sight.state, sight.detail)
        if sight.description is None:
            raise RecordDamaged(sight.detail, hint="destroy the workspace's place and make it again")
        await _end_leftovers(folder, sight.description.id, grace=_GRACE)
        await to_thread.run_sync(check_ports, sight.description.ports)
        await to_thread.run_sync(_clear, folder, sight.run)
        await to_thread.run_sync(folders.runtime.secure)
        try:
            with anyio.CancelScope(shield=True):  # bounded by the launch itself; half a launch helps nobody
                await to_thread.run_sync(launch, sight.description, folder, folders.socket(sight.description.id), env)
                await to_thread.run_sync(_limit, sight.description, folder, processes)
        except ProviderError:
            with anyio.CancelScope(shield=True):
                await _end_leftovers(folder, sight.description.id, grace=0)
            raise


def _limit(description: Description, folder: Path, processes: int) -> None:
    run = read_run(folder)
    if run is not None and description.resources is not None:
        kept = cgroups.limit(description.id, run.pid, folder, description.resources, processes)
        apply_limits(description.id, run.pid, description.resources, but=kept)
    if run is not None:
        freezing.prepare(folder, run.pid)


async def stop(folder: Path, *, workspace: WorkspaceId, grace: float) -> None:
    """End everything of a workspace. Not running, or not there: nothing.

    Raises:
        CleanupError: When a process does not end although it was killed.
        Busy: When another process holds the lock for long.

    Cancellation: the keeper goes on ending the processes.
    """
    sight = await to_thread.run_sync(observe, folder)
    if sight.alive and sight.run is not None:
        await _end_keeper(sight.run, grace)
        sight = await to_thread.run_sync(observe, folder)
        grace = 0
    if sight.state in {InstanceState.GONE, InstanceState.STOPPED} and sight.run is None:
        await to_thread.run_sync(_remove_groups, folder)
        return
    with suppress(WorkspaceGone):
        async with locked(folder):
            await _tidy(folder, workspace, grace)


async def destroy(folders: Folders, folder: Path, *, workspace: WorkspaceId) -> None:
    """Remove a workspace's place: its processes, its socket, its folder, and what a crash may have left of them. Idempotent.

    Raises:
        CleanupError: When a process does not end although it was killed.
        Busy: When another process holds the lock for long, or starts it again and again.

    Cancellation: asking again goes on.
    """
    for _ in range(_ATTEMPTS):
        await stop(folder, workspace=workspace, grace=_GRACE)
        try:
            async with locked(folder):
                if (await to_thread.run_sync(observe, folder)).alive:
                    continue
                # Also those whose folder somebody removed while they ran.
                await _end_leftovers(folder, workspace, grace=_GRACE)
                await to_thread.run_sync(_remove, folders, folder, workspace)
                return
        except WorkspaceGone:
            await _end_leftovers(folder, workspace, grace=_GRACE)
            await to_thread.run_sync(_remove, folders, folder, workspace)
            return
    raise Busy("the workspace is started again as soon as it was stopped", details={"holder": "unknown"})


def check_ports(mappings: Iterable[PortMapping]) -> None:
    """Make sure that programs will be able to listen on the workspace's ports. Blocking, briefly.

    Raises:
        PortInUse: When somebody else does already.
    """
    for mapping in mappings:
        kind = socket.SOCK_DGRAM if mapping.protocol == "udp" else socket.SOCK_STREAM
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind == socket.SOCK_STREAM:
                # As servers do: connections of the last run that the system still remembers are no obstacle.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((mapping.bind_address, mapping.host_port))
            except OSError as exc:
                raise PortInUse(
                    f"port {mapping.host_port} ({mapping.name}) cannot be used: {exc.strerror}",
                    hint=f"see who has it with: ss -lptn 'sport = :{mapping.host_port}'",
                    details={"port": mapping.host_port, "holder": None},
                ) from exc


async def _resume(run: Run) -> None:
    try:
        await call(run, "resume")
    except KeeperAway as exc:
        raise ProviderError("the workspace's keeper ended while it was resumed", hint="start it again") from exc


async def _end_keeper(run: Run, grace: float) -> None:
    """Have the keeper end everything and itself; end it by force when it does not answer."""
    left: object = None
    answered = False
    # One of another release cannot be asked, but SIGTERM means the same to all of them.
    with anyio.move_on_after(grace + _MARGIN), suppress(KeeperAway, ProviderUnavailable):
        _, answer = await call(run, "stop", grace=grace)
        left = answer.get("left")
        answered = True
    if left and isinstance(left, list):
        raise CleanupError(
            f"{len(left)} processes of the workspace do not end although they were killed",
            hint="they wait for the kernel, for example for a disk that does not answer",
            details={"left": [str(pid) for pid in left]},
        )
    if not answered and await to_thread.run_sync(send_exactly, run, signal.SIGTERM):
        await _wait_until_gone(run, grace + _MARGIN)
    if not await _wait_until_gone(run, _FAREWELL):
        await to_thread.run_sync(send_exactly, run, signal.SIGKILL)
        await _wait_until_gone(run, _FAREWELL)


async def _wait_until_gone(run: Run, timeout: float) -> bool:
    """Wait for the end of exactly this keeper; return whether it came."""
    if sys.platform != "linux":
        return True
    try:
        process = os.pidfd_open(run.pid)
    except OSError:
        return True
    try:
        if not await to_thread.run_sync(send_exactly, run, 0):
            return True
        with anyio.move_on_after(timeout) as scope:
            await anyio.wait_readable(process)
        return not scope.cancelled_caught
    finally:
        os.close(process)


async def _tidy(folder: Path, workspace: WorkspaceId, grace: float) -> None:
    """Clear up after a keeper that did not leave in good order. The caller holds the lock."""
    sight: Sight = await to_thread.run_sync(observe, folder)
    if not sight.alive:
        await _end_leftovers(folder, workspace, grace=grace)
        await to_thread.run_sync(_clear, folder, sight.run)


async def _end_leftovers(folder: Path, workspace: WorkspaceId, *, grace: float) -> None:
    await to_thread.run_sync(freezing.thaw, folder)
    await end_leftovers(workspace, grace=grace)


def _remove_groups(folder: Path) -> None:
    freezing.remove(folder)  # it may lie in one of the others
    cgroups.remove(folder)


def _clear(folder: Path, run: Run | None) -> None:
    _remove_groups(folder)
    if run is not None:
        Path(run.socket).unlink(missing_ok=True)
    (folder / RUN_NAME).unlink(missing_ok=True)


def _remove(folders: Folders, folder: Path, workspace: WorkspaceId) -> None:
    folders.socket(workspace).unlink(missing_ok=True)
    secret_files.remove(secret_files.place_of(folders, workspace))
    _remove_groups(folder)
    if folder.is_dir():
        # Moved first, so that nobody ever sees half a folder.
        aside = Path(tempfile.mkdtemp(prefix=f".gone-{folder.name}-", dir=folder.parent))
        folder.rename(aside / folder.name)
    for prefix in (".gone", ".new"):
        for rest in folder.parent.glob(f"{prefix}-{folder.name}-*"):
            shutil.rmtree(rest, ignore_errors=True)
