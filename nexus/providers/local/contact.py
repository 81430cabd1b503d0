"""Reaching the keeper of one workspace: the live one, or the error that says why there is none."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread
from pydantic import JsonValue

from nexus.errors import NexusError, ProviderUnavailable, RecordDamaged, WorkspaceGone, WorkspaceStopped
from nexus.models.instances import InstanceState
from nexus.providers.local.channel import Channel, KeeperAway, ask
from nexus.providers.local.keeper import frames, tree
from nexus.providers.local.observe import Sight, observe
from nexus.providers.local.record import Description, Run

_DEADLINE: Final = 15.0
_RETRY: Final = 0.02


@dataclass(frozen=True, slots=True)
class Known:
    """A workspace whose keeper runs."""

    description: Description
    run: Run


class Contact:
    """Remembers the keeper between calls; who answers is compared at every connection."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: Known | None = None

    async def sight(self) -> Sight:
        """Return what there is to see now."""
        return await to_thread.run_sync(observe, self.folder)

    async def connect(self) -> tuple[Known, Channel]:
        """Connect to the keeper.

        Raises:
            WorkspaceStopped: When none runs.
            WorkspaceGone: When the workspace's folder is not there.
            RecordDamaged: When its description cannot be understood.
            ProviderUnavailable: When it runs and does not answer.
        """
        if self._known is not None:
            try:
                return self._known, await Channel.connect(self._known.run)
            except KeeperAway:
                self._known = None
        asked_again = False
        with anyio.move_on_after(_DEADLINE):
            while True:
                known = await self._look()
                try:
                    channel = await Channel.connect(known.run)
                except KeeperAway:
                    # It runs, but its socket is gone: folders such as /run/user are cleared at a logout.
                    if not asked_again:
                        asked_again = await to_thread.run_sync(send_exactly, known.run, signal.SIGHUP)
                    await anyio.sleep(_RETRY)
                else:
                    self._known = known
                    return known, channel
        raise _silent()

    async def ask(self, operation: str, **arguments: JsonValue) -> Mapping[str, JsonValue]:
        """Ask the keeper for one thing.

        Raises:
            WorkspaceStopped: When none runs, or it is being stopped.
            WorkspaceGone, RecordDamaged, ProviderUnavailable: As :meth:`connect`.
        """
        _, channel = await self.connect()
        with anyio.move_on_after(_DEADLINE):
            try:
                kind, answer = await ask(channel, operation, **arguments)
            except KeeperAway as exc:
                raise stopped(InstanceState.FAILED, "its keeper has just ended") from exc
            if kind == frames.REFUSED:
                raise stopped(InstanceState.STOPPED, "it is being stopped")
            return answer
        raise _silent()

    async def _look(self) -> Known:
        sight = await self.sight()
        if not sight.alive or sight.run is None:
            raise stopped(sight.state, sight.detail)
        if sight.description is None:
            raise RecordDamaged(sight.detail, hint="stop the workspace and make its place again")
        return Known(sight.description, sight.run)


def stopped(state: InstanceState, detail: str) -> NexusError:
    """Return the error for a workspace that cannot act in this state."""
    if state is InstanceState.GONE:
        return WorkspaceGone("the workspace's place is gone", hint="start the workspace to have it made again")
    if state is InstanceState.PAUSED:
        return WorkspaceStopped("the workspace is paused", hint="resume it first")
    reason = f": {detail}" if detail else ""
    return WorkspaceStopped(f"the workspace is not running{reason}", hint="start it first")


def send_exactly(run: Run, number: int) -> bool:
    """Send a signal to the keeper, if that is still exactly this process. Blocking, briefly."""
    process = tree.read(run.pid)
    return process is not None and process.start_time == run.start_time and tree.send(process, number)


def _silent() -> ProviderUnavailable:
    return ProviderUnavailable(
        "the workspace's keeper runs but does not answer", hint="stop the workspace; it is killed when it does not end"
    )
