"""Whole folders to a workspace behind a daemon, and from it. Links are left out and told: over the wire there are only files."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

import anyio.to_thread

from nexus.abc.files import FileAccess
from nexus.errors import FsError, InvalidArgument, ProtocolError
from nexus.handles.glob_pattern import Exclusion
from nexus.models.files import FileInfo, FileKind, TransferResult

_PIECE: Final = 256 * 1024


@dataclass(slots=True)
class _Count:
    """What was copied so far."""

    files: int = 0
    directories: int = 0
    size: int = 0
    skipped: list[str] = field(default_factory=list)

    def result(self) -> TransferResult:
        return TransferResult(
            files=self.files, directories=self.directories, size=self.size, skipped=tuple(self.skipped)
        )


async def upload(
    files: FileAccess, local: str | os.PathLike[str], remote: str, *, exclude: Sequence[str]
) -> TransferResult:
    """Copy a file or folder of this host into the workspace.

    Raises:
        FsError: When something cannot be read here or written there; what was copied before stays.
    """
    excluded, count, start = Exclusion.parse(exclude), _Count(), Path(local)
    found = await anyio.to_thread.run_sync(_look, start)
    if not stat.S_ISDIR(found.st_mode):
        await _upload_file(files, start, remote, found.st_mode, count)
        return count.result()
    await files.make_dir(remote)
    for below, mode in await anyio.to_thread.run_sync(lambda: list(_walk(start, (), excluded))):
        target = str(PurePosixPath(remote, *below))
        if stat.S_ISDIR(mode):
            await files.make_dir(target)
            count.directories += 1
        elif stat.S_ISREG(mode):
            await _upload_file(files, start.joinpath(*below), target, mode, count)
        else:
            count.skipped.append(f"{'/'.join(below)}: {_kind(mode)}")
    count.directories += 1
    return count.result()


def _look(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise FsError(f"{path}: {error.strerror}", path=str(path)) from error


def _walk(folder: Path, below: tuple[str, ...], excluded: Exclusion) -> Iterator[tuple[tuple[str, ...], int]]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        path = (*below, entry.name)
        if path in excluded:
            continue
        mode = entry.stat(follow_symlinks=False).st_mode
        yield path, mode
        if stat.S_ISDIR(mode):
            yield from _walk(folder / entry.name, path, excluded)


def _kind(mode: int) -> str:
    return "a symbolic link" if stat.S_ISLNK(mode) else "no file or folder"


async def _upload_file(files: FileAccess, local: Path, remote: str, mode: int, count: _Count) -> None:
    with ExitStack() as stack:
        source = await anyio.to_thread.run_sync(lambda: stack.enter_context(local.open("rb")))
        async with files.open_write(remote, mode=stat.S_IMODE(mode) & 0o777) as writer:
            while data := await anyio.to_thread.run_sync(source.read, _PIECE):
                await writer.send(data)
                count.size += len(data)
    count.files += 1


async def download(
    files: FileAccess, remote: str, local: str | os.PathLike[str], *, exclude: Sequence[str]
) -> TransferResult:
    """Copy a file or folder of the workspace to this host.

    Raises:
        FsError: When something cannot be read there or written here; what was copied before stays.
    """
    excluded, count, target = Exclusion.parse(exclude), _Count(), Path(local)
    if not target.name:
        raise InvalidArgument(f"{local} names no file or folder to download to")
    found = await files.stat(remote)
    if found.kind is not FileKind.DIRECTORY:
        await _download_file(files, found, target, count)
        return count.result()
    await anyio.to_thread.run_sync(lambda: target.mkdir(exist_ok=True))
    await _Download(files, excluded, count).folder(found.path, target, ())
    return count.result()


@dataclass(frozen=True, slots=True)
class _Download:
    """A folder on its way here."""

    files: FileAccess
    excluded: Exclusion
    count: _Count

    async def folder(self, remote: str, local: Path, below: tuple[str, ...]) -> None:
        """Copy what is in a folder."""
        self.count.directories += 1
        after: str | None = None
        while True:
            page = await self.files.list_page(remote, after=after)
            for info in page.entries:
                path = (*below, _safe(info))
                if path not in self.excluded and not (remote == "." and info.name == ".git"):
                    await self._entry(info, local / info.name, path)
            if page.next is None:
                return
            after = page.next

    async def _entry(self, info: FileInfo, local: Path, path: tuple[str, ...]) -> None:
        if info.kind is FileKind.DIRECTORY:
            await anyio.to_thread.run_sync(lambda: local.mkdir(exist_ok=True))
            await self.folder(info.path, local, path)
        elif info.kind is FileKind.FILE:
            await _download_file(self.files, info, local, self.count)
        else:
            self.count.skipped.append(f"{'/'.join(path)}: a {info.kind}")


def _safe(info: FileInfo) -> str:
    """Return the last part of a path. A daemon that lies must not write elsewhere."""
    if not info.name or info.name in {".", ".."} or "\0" in info.name:
        raise ProtocolError(f"the daemon told of a file called {info.name!r}")
    return info.name


async def _download_file(files: FileAccess, info: FileInfo, local: Path, count: _Count) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC

    def opened() -> int:
        try:
            return os.open(local, flags, info.mode & 0o777)
        except OSError as error:
            raise FsError(f"{local}: {error.strerror}", path=str(local)) from error

    target = await anyio.to_thread.run_sync(opened)
    with os.fdopen(target, "wb") as file:
        async with files.open_read(info.path) as reader:
            async for piece in reader:
                await anyio.to_thread.run_sync(file.write, piece)
                count.size += len(piece)
    count.files += 1
