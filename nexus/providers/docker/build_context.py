"""A build's files as one tar archive, always the same bytes for the same content. Blocking: runs in worker threads.

The tree may hold hostile content, and an agent may change it meanwhile. Folders are walked by descriptor, symbolic links are
stored as links and never followed, and only plain files, folders and links are taken.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, Final

from nexus.errors import BuildFailed
from nexus.providers.docker.dockerignore import IgnoreRules

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_MTIME: Final = 315_532_800
"""1980-01-01, for every file: a fresh checkout of the same content is the same build."""
_SIZE_LIMIT: Final = 4 * 1024**3
_TEXT_LIMIT: Final = 1024 * 1024
_BY_DEFAULT: Final = ".git\n"
"""It changes with every commit and every workspace, and each time the same sources would be built again; ``!.git`` takes it back in."""


@dataclass(frozen=True, slots=True)
class BuildSource:
    """What to build from."""

    context: Path
    """The folder that the build sees."""
    dockerfile: str
    """The Dockerfile's path inside it, with slashes."""
    rules: IgnoreRules
    withheld: frozenset[str] = frozenset()
    """What it does not see whatever the rules say, with all below: paths inside it, with slashes."""


def open_source(dockerfile: Path, context: Path | None, withheld: Sequence[Path] = ()) -> BuildSource:
    """Return what to build from; the Dockerfile's own folder is the context when none is named.

    Args:
        dockerfile: The file.
        context: The folder that the build sees.
        withheld: Files and folders that stay out of it, by the paths named here and by where links lead them.

    Raises:
        BuildFailed: When the Dockerfile is missing, is no plain file, or lies outside the context by itself or by a link.
    """
    folder = context if context is not None else dockerfile.parent
    if not folder.is_dir():
        raise BuildFailed(f"the build context {folder} is not a folder", details={"context": str(folder)})
    root = folder.resolve()
    # Only the folders above may be links (a checkout below one is common); the file itself must be what it seems.
    inside = dockerfile.parent.resolve() / dockerfile.name
    if not inside.is_relative_to(root):
        raise BuildFailed(
            f"the Dockerfile {dockerfile} lies outside its build context {folder}",
            hint="move it inside, or set the build context to a folder that holds it",
        )
    relative = inside.relative_to(root)
    _read_text(root, relative, missing=f"the Dockerfile {dockerfile} does not exist")
    rules = _rules(root, relative)
    return BuildSource(root, relative.as_posix(), rules, _inside(root, folder, withheld))


def _inside(root: Path, folder: Path, withheld: Sequence[Path]) -> frozenset[str]:
    found: set[str] = set()
    for path in withheld:
        if path.is_relative_to(folder):
            found.add(Path(os.path.normpath(path.relative_to(folder))).as_posix())
        real = Path(os.path.realpath(path))
        if real.is_relative_to(root):
            found.add(real.relative_to(root).as_posix())
    return frozenset(found)


def _rules(root: Path, dockerfile: Path) -> IgnoreRules:
    for name in (dockerfile.with_name(f"{dockerfile.name}.dockerignore"), Path(".dockerignore")):
        if (root / name).is_file():
            return IgnoreRules.parse(_BY_DEFAULT + _read_text(root, name, missing="").removeprefix("\ufeff"))
    return IgnoreRules.parse(_BY_DEFAULT)


def _read_text(root: Path, relative: Path, *, missing: str) -> str:
    path = root / relative
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as exc:
        raise BuildFailed(missing or f"{path} does not exist", details={"path": str(path)}) from exc
    except OSError as exc:
        raise BuildFailed(f"{path} cannot be read, or is a symbolic link: {exc.strerror}") from exc
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BuildFailed(f"{path} is not a plain file")
    with os.fdopen(descriptor, "rb") as file:
        return file.read(_TEXT_LIMIT).decode("utf-8", "replace")


class _Hashed(io.RawIOBase):
    """Writes through to a file, or nowhere, and hashes what passes."""

    def __init__(self, target: BinaryIO | None) -> None:
        super().__init__()
        self._target = target
        self.digest = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer) -> int:
        view = memoryview(data)
        self.digest.update(view)
        if self._target is not None:
            self._target.write(view)
        return view.nbytes


def pack(source: BuildSource, target: BinaryIO | None) -> str:
    """Write the archive to ``target``, or nowhere, and return the hash that names the build.

    Raises:
        BuildFailed: When a file cannot be read, or the context is larger than 4 GiB.
    """
    sink = _Hashed(target)
    total = 0
    with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for entry, file in _entries(source):
            total += entry.size
            if total > _SIZE_LIMIT:
                raise BuildFailed(
                    f"the build context {source.context} is larger than 4 GiB",
                    hint="list what is not needed in .dockerignore",
                )
            archive.addfile(entry, file)
    sink.digest.update(b"\0" + source.dockerfile.encode("utf-8", "surrogateescape"))
    return sink.digest.hexdigest()[:32]


def _entries(source: BuildSource) -> Iterator[tuple[tarfile.TarInfo, BinaryIO | None]]:
    # The engine needs these two whatever the rules say.
    needed = {source.dockerfile, ".dockerignore"}
    for folder, folders, files, descriptor in os.fwalk(source.context, follow_symlinks=False, onerror=_unreadable):
        base = PurePosixPath(Path(folder).relative_to(source.context).as_posix())
        folders.sort()
        for name in list(folders):
            path = str(base / name)
            if path in source.withheld:
                folders.remove(name)
                continue
            ignored = source.rules.ignores(path)
            if ignored and not (source.rules.may_take_back or any(one.startswith(f"{path}/") for one in needed)):
                folders.remove(name)
            if not ignored:
                yield from _entry(path, name, descriptor)
        for name in sorted(files):
            path = str(base / name)
            if path not in source.withheld and (path in needed or not source.rules.ignores(path)):
                yield from _entry(path, name, descriptor)


def _unreadable(error: OSError) -> None:
    if isinstance(error, FileNotFoundError):
        return  # removed while we looked
    raise BuildFailed(f"{error.filename} cannot be read: {error.strerror}", hint="list it in .dockerignore") from error


def _entry(path: str, name: str, folder: int) -> Iterator[tuple[tarfile.TarInfo, BinaryIO | None]]:
    entry = tarfile.TarInfo(path)
    entry.mtime = _MTIME
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISLNK(found.st_mode):
            entry.type, entry.mode, entry.linkname = tarfile.SYMTYPE, 0o777, os.readlink(name, dir_fd=folder)
            yield entry, None
        elif stat.S_ISDIR(found.st_mode):
            entry.type, entry.mode = tarfile.DIRTYPE, stat.S_IMODE(found.st_mode)
            yield entry, None
        elif stat.S_ISREG(found.st_mode):
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
            with os.fdopen(descriptor, "rb") as file:
                opened = os.fstat(file.fileno())
                if stat.S_ISREG(opened.st_mode):
                    entry.size, entry.mode = opened.st_size, stat.S_IMODE(opened.st_mode)
                    yield entry, file
    except FileNotFoundError:
        return  # removed while we looked
    except OSError as exc:
        raise BuildFailed(f"{path} cannot be read: {exc.strerror or exc}", hint="list it in .dockerignore") from exc
