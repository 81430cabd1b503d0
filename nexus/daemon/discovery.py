"""How clients find a daemon and come in without a question: a file that it writes while it runs, for its own user alone."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

from pydantic import ConfigDict, Field, ValidationError

from nexus.daemon.places import Places
from nexus.daemon.private_file import own_folder
from nexus.errors import DaemonUnavailable, StateError
from nexus.models.base import Model
from nexus.models.process_state import ProcessState
from nexus.processes import is_alive
from nexus.state.files import UnfitFile, read_small, remove, translated, write_atomic

_MAX_BYTES: Final = 64 * 1024


class DaemonInfo(Model):
    """A daemon that runs."""

    # A newer daemon may say more.
    model_config = ConfigDict(extra="ignore")

    protocol: int = 1
    version: str
    """The daemon's release."""
    pid: int
    start_time: int
    """Together with ``pid`` and ``boot_id`` it tells this process from every other."""
    boot_id: str
    started_at: datetime
    socket: Path | None = None
    """Its Unix socket."""
    url: str | None = None
    """Its address over TCP."""
    page: str | None = None
    """Address of its page for browsers, which a token has to be added to."""
    workspace_folders: tuple[Path, ...]
    """The repository whose workspaces it serves."""
    log: Path | None = None
    """Its log."""
    fingerprint: str = ""
    """Of the settings that it was started with; equal where a manager opened now would have the same."""

    def page_url(self, token: str) -> str:
        """Return the address of its page with a token, which stands behind the ``#``: browsers send that to nobody.

        Raises:
            DaemonUnavailable: When it shows no page.
        """
        if self.page is None:
            raise DaemonUnavailable(
                "the daemon that runs shows no page",
                hint="stop it and start it again: boulder daemon stop; boulder daemon start --page",
            )
        return f"{self.page}#token={token}"

    @property
    def process(self) -> ProcessState:
        """Which process it is."""
        return ProcessState(pid=self.pid, start_time=self.start_time, boot_id=self.boot_id)


class Inputs(Model):
    """What a daemon's settings were made from; see :mod:`nexus.serving.inputs`."""

    digest: str
    variables: tuple[str, ...] = ()
    """The names of the variables that the settings refer to."""


class Announcement(DaemonInfo):
    """What a daemon says of itself to its own user, in a file that spells the names in camel case."""

    token: Annotated[str, Field(repr=False)]
    """For this user, with every scope; another one is written before it ends."""
    expires_at: datetime
    """When that one ends."""
    inputs: Inputs | None = None
    """Of the settings that it was started with, where it is certain."""

    @property
    def info(self) -> DaemonInfo:
        """The same without the secret, to be shown."""
        return DaemonInfo.model_validate(self.model_dump(exclude={"token", "expires_at", "inputs"}))


def announce(places: Places, announcement: Announcement) -> None:
    """Write it, in one step. Blocks.

    Raises:
        StateError: When it cannot be written.
    """
    path = places.announcement
    data = announcement.model_dump_json(by_alias=True, indent=2).encode()
    with own_folder(places.anchor, places.folder, create=True) as folder, translated("announce the daemon", path):
        write_atomic(folder, path.name, data, durable=False)


def withdraw(places: Places, process: ProcessState) -> None:
    """Remove it, where it still is this process's own. Blocks.

    Args:
        places: Where it is.
        process: This process, which runs.
    """
    with suppress(OSError, StateError), own_folder(places.anchor, places.folder) as folder:
        found = announced(places)
        if found is not None and found.process == process:
            remove(folder, places.announcement.name, durable=False)


def announced(places: Places) -> Announcement | None:
    """Return what the daemon that runs says of itself, ``None`` when none runs. One that was killed leaves its file; it counts not.

    Blocks for as long as reading a small file takes.

    Raises:
        StateError: When the folder is not this user's own.
    """
    try:
        with own_folder(places.anchor, places.folder) as folder:
            data = read_small(folder, places.announcement.name, _MAX_BYTES)
        found = Announcement.model_validate_json(data, by_alias=True, by_name=False)
    except (FileNotFoundError, UnfitFile, ValidationError):
        return None
    return found if is_alive(found.process) else None
