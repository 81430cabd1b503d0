"""One daemon for each repository: who is second is told who is first."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from anyio import to_thread

from nexus.daemon.discovery import Announcement, announced
from nexus.daemon.places import Places
from nexus.daemon.private_file import own_folder
from nexus.errors import Busy
from nexus.state import lock

_TAKEN_WITHIN: Final = 0.5
"""Seconds to wait for the lock: a daemon that is just ending lets go of it."""


@asynccontextmanager
async def single(places: Places, root: Path) -> AsyncIterator[None]:
    """Be the one daemon of a repository for the block. The kernel holds the lock: whoever is killed lets go of it.

    Raises:
        Busy: When there is one; ``details["pid"]`` names its process.
        StateError: When the runtime folder is not this user's own.
    """
    await to_thread.run_sync(_make_runtime_folder, places)
    try:
        async with AsyncExitStack() as held:
            await held.enter_async_context(lock(places.lock, purpose=f"daemon of {root}", timeout=_TAKEN_WITHIN))
            keep = held.pop_all()
    except Busy as error:
        raise _second(root, error, await to_thread.run_sync(announced, places)) from error
    async with keep:
        yield


def _make_runtime_folder(places: Places) -> None:
    with own_folder(places.anchor, places.folder, create=True):
        pass


def _second(root: Path, error: Busy, first: Announcement | None) -> Busy:
    holder = error.details.get("holder")
    pid = first.pid if first is not None else holder.get("pid") if isinstance(holder, Mapping) else None
    who = f"process {pid}" if pid is not None else "a process that has not said who it is yet"
    return Busy(
        f"a daemon for {root} runs already: {who}",
        hint="use it, or end it first: boulder daemon stop",
        details={"pid": pid if isinstance(pid, int) else None, "root": str(root)},
    )
