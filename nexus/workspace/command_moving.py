"""Copying by pieces, where files are reached by commands alone: within a tree, into it and out of it."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread

from nexus.errors import InvalidArgument, PathDenied, PathExists, PathNotADirectory, PathNotFound
from nexus.handles.glob_pattern import Exclusion
from nexus.models.files import FileInfo, FileKind, TransferResult
from nexus.workspace.beneath import GIT_POINTER
from nexus.workspace.command_place import Entry
from nexus.workspace.path_errors import told
from nexus.workspace.replacing import is_temporary
from nexus.workspace.transfer_count import TransferCount

if TYPE_CHECKING:
    from nexus.workspace.files_by_command import FilesByCommand

_PIECE: Final = 256 * 1024


async def copy(files: FilesByCommand, source: str, target: str, *, replace: bool) -> TransferResult:
    """Copy within the tree; see :meth:`nexus.FileSystem.copy`."""
    info = await files.stat(source, follow=False)
    count = TransferCount()
    if not replace and await _there(files, target):
        raise PathExists(f"there is already a {target}", path=target)
    if info.kind is not FileKind.DIRECTORY:
        await _copy_one(files, info, source, target, count)
        return count.result()
    start, end = await files.realpath(source), target.strip("/")
    if f"{end}/".startswith("" if start == "." else f"{start}/"):
        raise InvalidArgument(f"{source} cannot be copied into itself ({target})")
    entries = await files.list_below(source, deep=True)
    await files.make_dir(target, parents=False)
    count.directories += 1
    for entry in entries:
        below = os.fsdecode(b"/".join(entry.below))
        if is_temporary(entry.below[-1]):
            continue
        if entry.info.kind is FileKind.DIRECTORY:
            await files.make_dir(f"{target}/{below}")
            count.directories += 1
        else:
            await _copy_one(files, entry.info, f"{source}/{below}", f"{target}/{below}", count)
    return count.result()


async def _there(files: FilesByCommand, path: str) -> bool:
    try:
        await files.stat(path, follow=False)
    except (PathNotFound, PathNotADirectory):
        return False
    return True


async def _copy_one(files: FilesByCommand, info: FileInfo, source: str, target: str, count: TransferCount) -> None:
    if info.kind is FileKind.SYMLINK:
        await files.make_link(target, info.target or "", replace=True)
        count.symlinks += 1
    elif info.kind is FileKind.FILE:
        async with (
            files.open_read(source) as reader,
            files.open_write(target, mode=info.mode & 0o777, parents=False) as writer,
        ):
            async for piece in reader:
                await writer.send(piece)
                count.size += len(piece)
        count.files += 1
    else:
        count.skipped.append(f"{info.path}: a FIFO, socket or device")


async def upload(files: FilesByCommand, local: Path, remote: str, excluded: Exclusion) -> TransferResult:
    """Copy from this host; see :meth:`nexus.FileSystem.upload`."""
    count = TransferCount()
    with told(str(local)):
        status = await anyio.to_thread.run_sync(os.stat, local)
    if not stat.S_ISDIR(status.st_mode):
        await _send(files, local, status, remote, count)
        return count.result()
    await files.make_dir(remote)
    top = await files.realpath(remote) == "."
    waiting: list[tuple[bytes, ...]] = [()]
    while waiting:
        below = waiting.pop()
        folder = local.joinpath(*map(os.fsdecode, below))
        for name in sorted(await anyio.to_thread.run_sync(os.listdir, folder)):
            path = (*below, os.fsencode(name))
            if tuple(map(os.fsdecode, path)) in excluded or is_temporary(path[-1]):
                continue
            if top and path[0].lower() == GIT_POINTER:
                raise PathDenied(
                    f"{name} belongs to git and cannot be changed through the workspace's files",
                    path=name,
                    hint="leave it out: exclude=['.git']",
                )
            target = "/".join([remote, *map(os.fsdecode, path)])
            status = await anyio.to_thread.run_sync(os.lstat, folder / name)
            if stat.S_ISDIR(status.st_mode):
                await files.make_dir(target)
                count.directories += 1
                waiting.append(path)
            else:
                await _send(files, folder / name, status, target, count)
    return count.result()


async def _send(files: FilesByCommand, local: Path, status: os.stat_result, remote: str, count: TransferCount) -> None:
    if stat.S_ISLNK(status.st_mode):
        await files.make_link(remote, str(await anyio.to_thread.run_sync(os.readlink, local)), replace=True)
        count.symlinks += 1
    elif stat.S_ISREG(status.st_mode):
        async with (
            await anyio.open_file(local, "rb") as file,
            files.open_write(remote, mode=stat.S_IMODE(status.st_mode) & 0o777) as writer,
        ):
            while piece := await file.read(_PIECE):
                await writer.send(piece)
                count.size += len(piece)
        count.files += 1
    else:
        count.skipped.append(f"{local}: a FIFO, socket or device")


async def download(files: FilesByCommand, remote: str, local: Path, excluded: Exclusion) -> TransferResult:
    """Copy to this host; see :meth:`nexus.FileSystem.download`. Nothing is written through a link that was there."""
    count = TransferCount()
    if not local.name:
        raise InvalidArgument(f"{local} names no file or folder to download to")
    info = await files.stat(remote)
    if info.kind is not FileKind.DIRECTORY:
        await _fetch(files, info, remote, local, count)
        return count.result()
    with told(str(local)):
        await anyio.Path(local).mkdir(exist_ok=True)
    own_git = await files.realpath(remote) == "."
    left_out: set[tuple[bytes, ...]] = set()
    links: list[Entry] = []
    for entry in await files.list_below(remote, deep=True):
        names = tuple(map(os.fsdecode, entry.below))
        outside = any(entry.below[:depth] in left_out for depth in range(1, len(entry.below)))
        if outside or names in excluded or (own_git and entry.below[0] == GIT_POINTER) or is_temporary(entry.below[-1]):
            left_out.add(entry.below)
            continue
        target = local.joinpath(*names)
        if entry.info.kind is FileKind.DIRECTORY:
            with told(str(target)):
                await anyio.Path(target).mkdir(exist_ok=True)
            count.directories += 1
        elif entry.info.kind is FileKind.SYMLINK:
            links.append(entry)
        else:
            await _fetch(files, entry.info, f"{remote}/{'/'.join(names)}", target, count)
    for entry in links:  # last: nothing is written through one
        await _link(entry.below, entry.info, local.joinpath(*map(os.fsdecode, entry.below)), count)
    return count.result()


async def _link(below: tuple[bytes, ...], info: FileInfo, target: Path, count: TransferCount) -> None:
    """Make a link that stays inside of what is copied; others are left out, as they would lead anywhere on this host."""
    parts = (info.target or "").split("/")
    ups = next((at for at, part in enumerate(parts) if part != ".."), len(parts))
    # Upwards only from the link's own folder, which is a real one: after a name it may be upwards from anywhere.
    if not info.target or not parts[0] or ups > len(below) - 1 or ".." in parts[ups:]:
        count.skipped.append(f"{info.path}: a link that leads out of what is copied")
        return
    await anyio.Path(target).unlink(missing_ok=True)
    await anyio.Path(target).symlink_to(info.target)
    count.symlinks += 1


async def _fetch(files: FilesByCommand, info: FileInfo, remote: str, local: Path, count: TransferCount) -> None:
    if info.kind is not FileKind.FILE:
        count.skipped.append(f"{info.path}: a FIFO, socket or device")
        return
    draft = local.with_name(f".nexus-{os.urandom(12).hex()}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        with told(str(local)):
            async with files.open_read(remote) as reader:
                descriptor = await anyio.to_thread.run_sync(os.open, draft, flags, 0o600)
                async with await anyio.open_file(descriptor, "wb") as file:
                    async for piece in reader:
                        await file.write(piece)
                        count.size += len(piece)
            await anyio.Path(draft).chmod(info.mode & 0o777)
            await anyio.Path(draft).rename(local)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.Path(draft).unlink(missing_ok=True)
    count.files += 1
