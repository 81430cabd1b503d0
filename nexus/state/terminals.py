"""Terminals on disk: ``<root>/state/terminals/<workspace id>/<terminal id>.term``, what is known of one and then what it showed.

One file for both, so that they are always of the same moment: a line of JSON, and the bytes behind it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Final

from anyio import to_thread
from pydantic import Field, ValidationError

from nexus.models.base import Model
from nexus.models.execution import Pty
from nexus.models.ids import ExecId, TerminalId, WorkspaceId
from nexus.models.terminals import MAX_SCROLLBACK, ResizeMark, TerminalExit, TerminalState
from nexus.models.workspace import ProcessState
from nexus.state.files import UnfitFile, open_folder, read_small, remove, sweep, translated, write_atomic
from nexus.state.threads import run_whole

SHOWN: Final = 1024 * 1024
"""Bytes of what one terminal showed that are kept on disk."""
MOST: Final = 64
"""Terminals of one workspace, so that no workspace fills the disk."""

_SUFFIX: Final = ".term"
_HEADER: Final = 256 * 1024
_PIECE: Final = 8 * 1024
_WORKSPACE: Final = re.compile(r"[0-9a-f-]{36}", re.ASCII)
_TERMINAL: Final = re.compile(r"tm_[0-9a-f]{16}", re.ASCII)


class SavedTerminal(Model):
    """A terminal as it was when it was last written down. Without its environment, and without the values of secrets."""

    schema_version: int = 1
    id: TerminalId
    workspace: WorkspaceId
    name: str
    state: TerminalState
    argv: tuple[str, ...]
    user: str | None = None
    opened_in: str | None = None
    """The folder it was opened in; ``None``: the tree's root."""
    cwd: str | None = None
    """The folder it was in last, where that is known."""
    title: str = ""
    size: Pty
    scrollback: Annotated[int, Field(ge=1, le=MAX_SCROLLBACK)]
    keep_alive: Annotated[float, Field(ge=0)]
    created_at: datetime
    saved_at: datetime
    ended_at: datetime | None = None
    exit: TerminalExit | None = None
    newest: Annotated[int, Field(ge=0)]
    """Offset after the last byte that had been printed."""
    resizes: tuple[ResizeMark, ...] = ()
    exact: bool = True
    """Whether the bytes are those that were printed; otherwise secrets were masked in them."""
    owner: ProcessState | None = None
    """The process that serves it, while one does."""
    exec_id: ExecId | None = None
    """Its command, where that can be joined again."""
    base: Annotated[int, Field(ge=0)] = 0
    """Offset of that command's first byte."""
    pid: int | None = None
    survives: bool = False
    restored: str | None = None


class TerminalStore:
    """The terminals of one repository's workspaces.

    The constructor only stores. A file that is not one of ours is passed over: a clone may bring what it likes, but it cannot know the
    id of a workspace that is made later.

    Args:
        root: ``<repository>/.nexus``. Made on the first write.
    """

    def __init__(self, root: Path) -> None:
        self.root: Path = root

    async def save(self, terminal: SavedTerminal, shown: bytes, *, durable: bool = False) -> None:
        """Store a terminal in place of what was stored of it before.

        Args:
            terminal: What is known of it.
            shown: What it printed last; no more than the last :data:`SHOWN` bytes are kept.
            durable: Whether it has to be on the disk when the call returns.

        Raises:
            StateError: When it cannot be written. What was stored before is intact.

        Cancellation: what was stored before or the new is on the disk, whole.
        """
        await run_whole(partial(self._save, terminal, shown[-SHOWN:], durable))

    async def known(self, workspace: WorkspaceId) -> tuple[SavedTerminal, ...]:
        """Return what is known of a workspace's terminals, the oldest first, without what they showed.

        Raises:
            StateError: When the folder is not usable.
        """
        return await to_thread.run_sync(self._known, workspace)

    async def load(self, workspace: WorkspaceId, terminal: TerminalId) -> tuple[SavedTerminal, bytes] | None:
        """Return a terminal and what it showed; ``None`` when nothing that can be understood is stored.

        Raises:
            StateError: When the folder is not usable.
        """
        return await to_thread.run_sync(self._load, workspace, terminal)

    async def delete(self, workspace: WorkspaceId, terminal: TerminalId) -> None:
        """Remove a terminal. None there: nothing.

        Raises:
            StateError: When it cannot be removed.
        """
        await run_whole(partial(self._delete, workspace, terminal))

    async def clear(self, workspace: WorkspaceId) -> None:
        """Remove all terminals of a workspace. None there: nothing.

        Raises:
            StateError: When one cannot be removed.
        """
        await run_whole(partial(self._clear, workspace))

    def lock_path(self, terminal: TerminalId) -> Path:
        """Return the lock that whoever takes a terminal over holds meanwhile."""
        return self.root / "state" / "locks" / "terminals" / f"{terminal}.lock"

    def _save(self, terminal: SavedTerminal, shown: bytes, durable: bool) -> None:
        parts = _parts(terminal.workspace)
        with (
            translated(f"keep terminal {terminal.id}", self.root.joinpath(*parts)),
            open_folder(self.root, *parts, create=True) as folder,
        ):
            content = terminal.model_dump_json().encode() + b"\n" + shown
            write_atomic(folder, _file(terminal.id), content, durable=durable)

    def _known(self, workspace: WorkspaceId) -> tuple[SavedTerminal, ...]:
        found: list[SavedTerminal] = []
        try:
            with open_folder(self.root, *_parts(workspace)) as folder, translated("list the terminals", self.root):
                names = sorted(os.listdir(folder))  # noqa: PTH208 - a descriptor, not a path
                sweep(folder, names)
                for name in _ours(names):
                    read = _peek(folder, workspace, name)
                    found += [] if read is None else [read]
        except FileNotFoundError:
            return ()
        return tuple(sorted(found, key=lambda terminal: (terminal.created_at, terminal.id)))

    def _load(self, workspace: WorkspaceId, terminal: TerminalId) -> tuple[SavedTerminal, bytes] | None:
        if not _TERMINAL.fullmatch(terminal):
            return None
        try:
            with open_folder(self.root, *_parts(workspace)) as folder:
                return _read(folder, workspace, _file(terminal))
        except FileNotFoundError:
            return None

    def _delete(self, workspace: WorkspaceId, terminal: TerminalId) -> None:
        try:
            with open_folder(self.root, *_parts(workspace)) as folder, translated("forget a terminal", self.root):
                remove(folder, _file(terminal), durable=False)
        except FileNotFoundError:
            return

    def _clear(self, workspace: WorkspaceId) -> None:
        *above, own = _parts(workspace)
        try:
            with open_folder(self.root, *above, own) as folder, translated("forget the terminals", self.root):
                for name in os.listdir(folder):  # noqa: PTH208 - a descriptor, not a path
                    remove(folder, name, durable=False)
            with open_folder(self.root, *above) as folder, translated("forget the terminals", self.root):
                os.rmdir(own, dir_fd=folder)
        except FileNotFoundError:
            return


def _parts(workspace: str) -> tuple[str, ...]:
    if not _WORKSPACE.fullmatch(workspace):
        msg = f"{workspace!r} is no workspace id"
        raise ValueError(msg)
    return ("state", "terminals", workspace)


def _file(terminal: str) -> str:
    if not _TERMINAL.fullmatch(terminal):
        msg = f"{terminal!r} is no terminal id"
        raise ValueError(msg)
    return f"{terminal}{_SUFFIX}"


def _ours(names: Sequence[str]) -> list[str]:
    return [name for name in names if name.endswith(_SUFFIX) and _TERMINAL.fullmatch(name.removesuffix(_SUFFIX))][:MOST]


def _read(folder: int, workspace: WorkspaceId, name: str) -> tuple[SavedTerminal, bytes] | None:
    try:
        header, _, shown = read_small(folder, name, _HEADER + SHOWN).partition(b"\n")
    except (FileNotFoundError, UnfitFile):
        return None
    terminal = _understood(header, workspace, name, len(shown))
    return None if terminal is None else (terminal, shown)


def _peek(folder: int, workspace: WorkspaceId, name: str) -> SavedTerminal | None:
    """Return what is known of a terminal, without reading what it showed."""
    try:
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return None
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _HEADER + SHOWN:
            return None
        begun = b""
        while b"\n" not in begun and len(begun) < _HEADER and (more := os.read(handle, _PIECE)):
            begun += more
    except OSError:
        return None
    finally:
        os.close(handle)
    header = begun.partition(b"\n")[0]
    return _understood(header, workspace, name, status.st_size - len(header) - 1)


def _understood(header: bytes, workspace: WorkspaceId, name: str, shown: int) -> SavedTerminal | None:
    """Return what a header says; ``None`` when it is not one of ours, or does not fit the bytes behind it."""
    try:
        terminal = SavedTerminal.model_validate_json(header)
    except ValidationError:
        return None
    moments = (terminal.created_at, terminal.saved_at, terminal.ended_at)
    aware = all(moment is None or moment.tzinfo is not None for moment in moments)
    honest = terminal.workspace == workspace and _file(terminal.id) == name and aware
    return terminal if honest and 0 <= shown <= terminal.newest else None
