"""Where the local backend keeps what it has to know, and the check that nobody else can write there.

- The *state* folder (``state_dir``, by default ``$XDG_STATE_HOME/nexus/local`` or ``~/.local/state/nexus/local``) has one folder for
  each workspace: its description, what its keeper says of itself, and its log. It survives a restart of the machine.
- The *runtime* folder (``runtime_dir``, by default ``$XDG_RUNTIME_DIR/nexus/local`` or ``/tmp/nexus-<uid>/local``) has only sockets.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import JsonValue

from nexus.errors import InvalidArgument, ProviderForbidden
from nexus.models.ids import WorkspaceId

if sys.platform != "win32":
    import pwd

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class Place:
    """A folder of ours below one that is somebody else's affair.

    ``anchor`` may be reached through symbolic links; of what is below it, every single folder has to be our own.
    """

    anchor: Path
    below: tuple[str, ...]

    @property
    def path(self) -> Path:
        """The folder itself."""
        return self.anchor.joinpath(*self.below)

    def secure(self) -> Path:
        """Make the folder where it is missing, and return it once it is sure that only this user writes there.

        Raises:
            ProviderForbidden: When a folder on the way belongs to somebody else, is a symbolic link, or others may write to it.
        """
        self.anchor.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._walk(make=True) or self.path

    def check(self) -> Path | None:
        """Return the folder when it is there, ``None`` when it is not. Makes nothing.

        Raises:
            ProviderForbidden: As :meth:`secure`.
        """
        return self._walk(make=False)

    def _walk(self, *, make: bool) -> Path | None:
        try:
            here = os.open(self.anchor, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise self._forbidden(self.anchor, exc.strerror or str(exc)) from exc
        path = self.anchor
        try:
            for part in self.below:
                path /= part
                try:
                    here, before = self._step(here, part, path, make=make), here
                except FileNotFoundError:
                    return None
                os.close(before)
        finally:
            os.close(here)
        return path

    def _step(self, parent: int, part: str, path: Path, *, make: bool) -> int:
        if make:
            try:
                os.mkdir(part, 0o700, dir_fd=parent)
            except FileExistsError:
                pass
            except OSError as exc:
                raise self._forbidden(path, exc.strerror or str(exc)) from exc
        try:
            folder = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        except FileNotFoundError:
            raise
        except OSError as exc:
            link = exc.errno in {errno.ELOOP, errno.ENOTDIR}
            reason = "it is a symbolic link or no folder" if link else exc.strerror or str(exc)
            raise self._forbidden(path, reason) from exc
        found = os.fstat(folder)
        reason = ""
        if found.st_uid != os.getuid():
            reason = f"it belongs to user {found.st_uid}"
        elif found.st_mode & _OTHERS_WRITE:
            reason = "other users may write to it"
        if reason:
            os.close(folder)
            raise self._forbidden(path, reason)
        return folder

    @staticmethod
    def _forbidden(path: Path, reason: str) -> ProviderForbidden:
        return ProviderForbidden(
            f"the local backend does not use {path}: {reason}",
            hint="remove it, or name other folders with the backend's options state_dir and runtime_dir",
            details={"path": str(path)},
        )


@dataclass(frozen=True, slots=True)
class Folders:
    """Both folders."""

    state: Place
    runtime: Place

    def of(self, workspace: WorkspaceId) -> Path:
        """Return a workspace's own folder.

        Raises:
            InvalidArgument: When the id could name anything but a folder right here.
        """
        return self.state.path / checked(workspace)

    def socket(self, workspace: WorkspaceId) -> Path:
        """Return where a workspace's keeper listens; short, because socket paths have to be."""
        return self.runtime.path / f"{hashlib.sha256(workspace.encode()).hexdigest()[:16]}.sock"


def checked(workspace: str) -> WorkspaceId:
    """Return an id that may be part of a path.

    Raises:
        InvalidArgument: When it may not.
    """
    if not _ID.fullmatch(workspace):
        raise InvalidArgument(f"{workspace!r} is not the id of a workspace")
    return WorkspaceId(workspace)


class Account(NamedTuple):
    """An entry of the system's list of users; empty for a user that has none."""

    name: str
    home: str


def own_account() -> Account:
    """Return this user's entry. Variables such as ``LOGNAME`` are not asked: they may still be another user's."""
    try:
        entry = pwd.getpwuid(os.getuid())
    except KeyError:
        return Account("", "")
    return Account(entry.pw_name, entry.pw_dir)


def resolve(options: Mapping[str, JsonValue], env: Mapping[str, str]) -> Folders:
    """Return the folders that options and environment ask for; nothing is made.

    Raises:
        InvalidArgument: When an option is not the text of an absolute path, or a default needs a home folder and there is none.
    """
    return Folders(
        state=_chosen(options, "state_dir") or _state(env), runtime=_chosen(options, "runtime_dir") or _runtime(env)
    )


def _chosen(options: Mapping[str, JsonValue], key: str) -> Place | None:
    value = options.get(key)
    if value is None:
        return None
    path = Path(value).expanduser() if isinstance(value, str) and value else None
    if path is None or not path.is_absolute() or ".." in path.parts or not path.name:
        raise InvalidArgument(f"the local backend's option {key} has to be an absolute path, not {value!r}")
    return Place(path.parent, (path.name,))


def _state(env: Mapping[str, str]) -> Place:
    chosen = env.get("XDG_STATE_HOME", "")
    if chosen.startswith("/"):
        return Place(Path(chosen), ("nexus", "local"))
    home = env.get("HOME", "")
    if not home.startswith("/"):
        home = own_account().home
    if not home.startswith("/"):
        raise InvalidArgument(
            "this user has no home folder, so the local backend has no place for what it keeps",
            hint="set HOME, or the backend's option state_dir",
        )
    return Place(Path(home, ".local", "state"), ("nexus", "local"))


def _runtime(env: Mapping[str, str]) -> Place:
    chosen = env.get("XDG_RUNTIME_DIR", "")
    if chosen.startswith("/"):
        try:
            found = Path(chosen).stat()
        except OSError:
            pass
        else:
            # After "su" or "sudo" the variable may still name another user's.
            if found.st_uid == os.getuid() and not found.st_mode & _OTHERS_WRITE:
                return Place(Path(chosen), ("nexus", "local"))
    return Place(Path("/tmp"), (f"nexus-{os.getuid()}", "local"))  # noqa: S108 - every folder below is checked
