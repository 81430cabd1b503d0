"""The door to the disk: where the three files are, and how they are read without trusting what is there."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

from nexus.config import usual_files
from nexus.config.layers import Branch, Place
from nexus.config.problems import Problems
from nexus.config.usual_files import FILE, MAX_BYTES
from nexus.errors import ConfigError
from nexus.grounds import repository_around

_BOM: Final = b"\xef\xbb\xbf"
_FOREIGN_BOMS: Final = (b"\xff\xfe", b"\xfe\xff")


def expand_home(text: str, home: Path | None) -> Path | None:
    """Return the path with a leading ``~`` replaced; ``None`` where there is no home folder, or it is another user's."""
    if text == "~" or text.startswith("~/"):
        return None if home is None else home / text[2:]
    return None if text.startswith("~") else Path(text)


def node_source(node_file: Path | None) -> tuple[Path | None, tuple[str, ...]]:
    """Return the node's file, and what there is to say about the choice."""
    if node_file is not None:
        return node_file, ()
    there = [path for path in usual_files.NODE_FILES if os.path.lexists(path)]
    ignored = tuple(f"{path}:1:1: this file is ignored, because {there[0]} is there" for path in there[1:])
    return (there[0] if there else None), ignored


def project_root(start: Path, user_file: Path | None) -> Path:
    """Return the root of the project that ``start`` is in.

    That is the nearest folder, from ``start`` upwards, with a ``.nexus/config.yaml`` or a ``.git``; ``start`` itself when
    there is none. Inside a worktree of ours (``<root>/.nexus/worktrees/<name>``, or elsewhere: see :mod:`nexus.grounds`) it is
    ``<root>``, whatever lies in the worktree: its ``.git`` pointer too may have been written by a program that ran there.

    Args:
        start: A folder.
        user_file: The user's own file, which makes its folder no project.

    Raises:
        ConfigError: When ``start`` is not a folder.
    """
    try:
        start = start.resolve()
        if not start.is_dir():
            raise ConfigError(f"{start} is not a folder", hint="name the project's folder, or any folder inside it")
    except (OSError, ValueError, RuntimeError) as error:  # a loop of links is a RuntimeError up to Python 3.12
        raise ConfigError(f"the project's folder cannot be used: {error}") from error
    around = repository_around(start)
    if around is not None:
        return around
    own = _real(user_file)
    for folder in (start, *start.parents):
        main = _main_root(folder)
        if main is not None:
            return main
        if os.path.lexists(folder / ".git"):
            return folder
        if os.path.lexists(folder / FILE) and _real(folder / FILE) != own:
            return folder
    return start


def _main_root(folder: Path) -> Path | None:
    if folder.parent.name != "worktrees" or folder.parent.parent.name != ".nexus" or (folder / ".git").is_dir():
        return None
    root = folder.parents[2]
    return root if os.path.lexists(root / ".git") else None


def _real(path: Path | None) -> Path | None:
    try:
        return None if path is None else path.resolve()
    except (OSError, ValueError, RuntimeError):
        return path


def same_file(one: Path, other: Path | None) -> bool:
    """Return whether both paths lead to one place."""
    return other is not None and _real(one) == _real(other)


def read_file(
    path: Path, problems: Problems, *, project: Path | None = None, start: Path | None = None
) -> Branch | None:
    """Return the tree of a file; ``None`` when there is no such file, or it cannot be read. Arguments as for :func:`read_text`."""
    text = read_text(path, problems, project=project, start=start)
    if text is None:
        return None
    from nexus.config.places import read_tree  # noqa: PLC0415 - loads yaml

    return read_tree(text, str(path), problems)


def read_text(path: Path, problems: Problems, *, project: Path | None = None, start: Path | None = None) -> str | None:
    """Return the text of a file; ``None`` when there is no such file, or it cannot be read.

    Only ordinary files of at most 1 MiB are opened, never a pipe or a device.

    Args:
        path: The file.
        problems: Gets why it cannot be read.
        project: For a project's file its root, which the file must really be in.
        start: For a project's file the folder the search began at.
    """
    place = Place(str(path), 1, 1)
    try:
        status = path.stat()
        refusal = _refusal(path, status, project, start)
        data = b"" if refusal else _content(path)
    except FileNotFoundError:
        if path.is_symlink():
            problems.add(place, f"this symbolic link leads nowhere: its target {str(path.readlink())!r} does not exist")
        return None
    except (OSError, ValueError, RuntimeError) as error:
        problems.add(place, _unreadable(error))
        return None
    if refusal or len(data) > MAX_BYTES:
        problems.add(place, refusal or f"the file is larger than {MAX_BYTES // 1024} KiB")
        return None
    return _decoded(data, str(path), problems)


def _refusal(path: Path, status: os.stat_result, project: Path | None, start: Path | None) -> str | None:
    if stat.S_ISDIR(status.st_mode):
        return "this is a folder; a file is needed here"
    if not stat.S_ISREG(status.st_mode):
        return "this is not an ordinary file (a pipe, a socket or a device)"
    if project is not None and not path.resolve().is_relative_to(project):
        return "a symbolic link leads out of the project, so what it names is not read"
    trusted = {0, os.geteuid()} | ({start.stat().st_uid} if start is not None else set())
    if project is not None and status.st_uid not in trusted:
        return f"the file belongs to another user (uid {status.st_uid}), so it is not used for a folder that does not"
    return None


def _content(path: Path) -> bytes:
    # Not blocking, in case the file became a pipe since it was looked at; checked again for the same reason.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not an ordinary file")
        return file.read(MAX_BYTES + 1)


def _unreadable(error: Exception) -> str:
    match error:
        case PermissionError():
            return "the file cannot be read: permission denied"
        case NotADirectoryError():
            return "the file cannot be read: something above it is a file, not a folder"
        case OSError(strerror=str() as reason):
            return f"the file cannot be read: {reason.lower()}"
        case _:
            return f"the file cannot be read: {error}"


def _decoded(data: bytes, source: str, problems: Problems) -> str | None:
    hint = "save the file as UTF-8"
    if data.startswith(_FOREIGN_BOMS):
        problems.add(Place(source, 1, 1), "the file is UTF-16, not UTF-8", hint=hint)
        return None
    data = data.removeprefix(_BOM)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        byte = data[error.start]
        problems.add(Place(source, line, column), f"the file is not UTF-8: byte 0x{byte:02x} cannot be here", hint=hint)
        return None
