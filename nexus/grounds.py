"""Where a repository's trees are when they are not below it, as on a node that several users share.

::

    <workspace_root>/<user>/                             closed to the others
    <workspace_root>/<user>/<repository>-<hash>/         the grounds of one repository
        repository                                       whose they are: the path of its main work tree
        worktrees/<name>/  trash/  kept/<name>/<time>/   as below .nexus otherwise
    <common>/info/nexus-grounds                          where they are

The two notes have to name each other. What a clone brings along cannot be below ``.git/info``, and a container sees that folder
read-only; so nothing that somebody planted leads to another place, and a tree leads back to its own repository whatever the
pointer in it says.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from nexus.errors import StateError

NOTE: Final = "nexus-grounds"
OWNER: Final = "repository"
TREES: Final = "worktrees"

_LIMIT: Final = 1 << 14
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]+", re.ASCII)
_LONGEST: Final = 60


def grounds_for(workspace_root: Path, user: str, root: Path) -> Path:
    """Return the folder for one repository's trees. Pure: the same repository has the same folder each time.

    Args:
        workspace_root: The folder that the node's file names.
        user: Whose repository it is.
        root: Its main work tree.
    """
    digest = hashlib.sha256(os.fsencode(root)).hexdigest()[:8]
    return workspace_root / _word(user) / f"{_word(root.name)}-{digest}"


def _word(text: str) -> str:
    return _UNSAFE.sub("-", text)[:_LONGEST].strip("-") or "root"


def owner_of(common_dir: Path) -> tuple[int, int, str]:
    """Return whose workspaces a repository's are, as user id, group id and name: its owner's where root looks after it, else ours."""
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        status = common_dir.stat()
        uid, gid = status.st_uid, status.st_gid
    try:
        return uid, gid, pwd.getpwuid(uid).pw_name
    except KeyError:
        return uid, gid, str(uid)


def noted(root: Path, common_dir: Path) -> Path | None:
    """Return where a repository's trees were put; ``None`` when they are below it, or the two notes do not name each other."""
    named = _read(common_dir / "info" / NOTE)
    if named is None or not Path(named).is_absolute():
        return None
    return Path(named) if _read(Path(named) / OWNER) == str(root) else None


def write_notes(root: Path, common_dir: Path, grounds: Path | None) -> None:
    """Write both notes, or take the repository's own away where its trees are below it.

    Raises:
        OSError: When one cannot be written.
    """
    own = common_dir / "info" / NOTE
    if grounds is None:
        own.unlink(missing_ok=True)
        return
    for file, text in ((grounds / OWNER, str(root)), (own, str(grounds))):
        if _read(file) != text:
            _write(file, text)


def repository_around(place: Path) -> Path | None:
    """Return the main work tree of the repository that a folder inside such a tree belongs to; ``None`` when it is in none.

    Args:
        place: An absolute path without symbolic links.
    """
    parts = place.parts
    for position in range(len(parts) - 2, 0, -1):
        if parts[position] != TREES:
            continue
        grounds = Path(*parts[:position])
        named = _read(grounds / OWNER)
        if named is not None and Path(named).is_absolute() and _names(Path(named), grounds):
            return Path(named)
    return None


def _names(root: Path, grounds: Path) -> bool:
    git_dir = root / ".git"
    if not git_dir.is_dir():
        pointer = _read(git_dir)
        if pointer is None or not pointer.startswith("gitdir: "):
            return False
        git_dir = root / pointer.removeprefix("gitdir: ")
    return _read(git_dir / "info" / NOTE) == str(grounds)


@contextlib.contextmanager
def opened_grounds(grounds: Path, *, owner: tuple[int, int], private: bool, make: bool) -> Iterator[int | None]:
    """Open the grounds, having seen that the user's folder and they are real folders of the user's, and closed to others.

    Args:
        grounds: What :func:`grounds_for` returned.
        owner: User id and group id that they have to belong to.
        private: Whether they are closed to others.
        make: Whether to make what is missing; then it belongs to the owner from its first moment.

    Yields:
        A descriptor; ``None`` when they are not there and not to be made.

    Raises:
        StateError: When they cannot be made, or something else is in their place: a link, or another user's folder.
    """
    top = grounds.parents[1]
    if make and not top.exists():
        _make_top(top, grounds.parent.name)
    with contextlib.ExitStack() as stack:
        above: int | None = None
        for path in (grounds.parent, grounds):
            try:
                above = _own_folder(path, above, owner=owner, private=private, make=make)
            except OSError as error:
                raise _refused(path, error.strerror or str(error), grounds) from error
            if above is None:
                break
            stack.callback(os.close, above)
        yield above


def _make_top(top: Path, user: str) -> None:
    try:
        top.mkdir(parents=True, exist_ok=True, mode=0o755)
    except OSError as error:
        raise _refused(top, error.strerror or str(error), top / user / "x") from error


def _own_folder(path: Path, above: int | None, *, owner: tuple[int, int], private: bool, make: bool) -> int | None:
    name = path if above is None else Path(path.name)
    made = False
    if make:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700 if private else 0o755, dir_fd=above)
            made = True
    try:
        descriptor = os.open(name, _FOLDER, dir_fd=above)
    except FileNotFoundError:
        return None
    try:
        if made and os.geteuid() != owner[0]:
            os.fchown(descriptor, *owner)
        status = os.fstat(descriptor)
        if status.st_uid != owner[0]:
            raise PermissionError(
                1, f"it belongs to the user with id {status.st_uid}, not to the one with id {owner[0]}"
            )
        if private and stat.S_IMODE(status.st_mode) & 0o077:
            os.fchmod(descriptor, 0o700)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _refused(path: Path, why: str, grounds: Path) -> StateError:
    return StateError(
        f"the folder {path}, which 'multi_user.workspace_root' asks for, cannot be used: {why}",
        hint=f"as root: install -d -m 700 -o {grounds.parent.name} {grounds.parent}",
        details={"path": str(path)},
    )


def _read(file: Path) -> str | None:
    """Return what a small file says; ``None`` when it is not there, or no small regular file."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as reading:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        return os.fsdecode(reading.read(_LIMIT)).rstrip("\n")


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(exist_ok=True)
    draft = file.with_name(f".{file.name}.{secrets.token_hex(6)}")
    try:
        with draft.open("xb") as writing:
            writing.write(os.fsencode(f"{text}\n"))
            writing.flush()
            os.fsync(writing.fileno())
        draft.replace(file)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
