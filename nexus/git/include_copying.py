"""Copying chosen files from the main checkout into a new tree: by reflink where the file system can, in several threads.

Both trees are entered folder by folder without following a link, and nothing that exists is opened for writing.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Final, NamedTuple

from nexus.errors import GitError
from nexus.git import beneath
from nexus.git.checkout import Report
from nexus.git.copying import Copier
from nexus.git.threads import Stop, Stopped
from nexus.git.trees import shown

_BATCH: Final = 128
_MAX_THREADS: Final = 8
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_BITS: Final = 0o777
"""What is kept of a mode: never the bits that lend a program its owner's rights."""
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS})


class Come(NamedTuple):
    """A file, folder or link that comes along, as it was when it was chosen."""

    path: bytes
    status: os.stat_result


class Brought(NamedTuple):
    """What came along."""

    files: int
    size: int
    left_out: list[str]


def copy_all(source: int, target: int, come: list[Come], *, limit: int, stop: Stop, report: Report | None) -> Brought:
    """Copy everything.

    Args:
        source: Descriptor of the main checkout.
        target: Descriptor of the new tree.
        come: What to copy, sorted by path.
        limit: Bytes that it may take; a file may have grown since it was chosen.
        stop: Asked between files.
        report: Told how many files of how many are copied.

    Raises:
        GitError: When the limit is passed or the disk refuses.
        Stopped: When asked to stop.
    """
    work = _Work(source, target, limit, stop)
    folders = [item for item in come if stat.S_ISDIR(item.status.st_mode)]
    plain = [item for item in come if stat.S_ISREG(item.status.st_mode)]
    links = [item for item in come if stat.S_ISLNK(item.status.st_mode)]
    try:
        made = _make_folders(target, come, {item.path: item.status for item in folders})
        _in_parallel(work, plain, stop, report)
        for item in links:
            work.link(item)
        for path, status in reversed(made):
            _finish_folder(target, path, status)
    except OSError as error:
        raise GitError(f"the ignored files cannot be copied into the new tree: {error.strerror}") from error
    return Brought(work.files, work.size, work.left_out)


def _make_folders(
    target: int, come: list[Come], statuses: dict[bytes, os.stat_result]
) -> list[tuple[bytes, os.stat_result | None]]:
    """Make every folder that is needed and not there; return those that were made, parents first."""
    needed: set[bytes] = set(statuses)
    for item in come:
        parent = item.path.rpartition(b"/")[0]
        while parent and parent not in needed:
            needed.add(parent)
            parent = parent.rpartition(b"/")[0]
    made: list[tuple[bytes, os.stat_result | None]] = []
    for path in sorted(needed):
        parent, _, name = path.rpartition(b"/")
        with beneath.folder(target, parent) as at, suppress(FileExistsError):
            os.mkdir(name, dir_fd=at)
            made.append((path, statuses.get(path)))
    return made


def _finish_folder(target: int, path: bytes, status: os.stat_result | None) -> None:
    """Give a folder its mode and time, when nothing is written into it any more."""
    if status is None:
        return
    with beneath.folder(target, path) as at:
        # Always one that its owner can empty again.
        os.fchmod(at, status.st_mode & _BITS | 0o700)
        os.utime(at, ns=(status.st_mtime_ns, status.st_mtime_ns))


def _in_parallel(work: _Work, files: list[Come], stop: Stop, report: Report | None) -> None:
    threads = min(_MAX_THREADS, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads, thread_name_prefix="nexus-include") as pool:
        waiting: set[Future[int]] = {pool.submit(work.copy, batch) for batch in _batches(files)}
        copied = 0
        try:
            while waiting:
                done, waiting = wait(waiting, timeout=0.1, return_when=FIRST_COMPLETED)
                copied += sum(future.result() for future in done)
                stop.check()
                if report is not None and done:
                    report(copied, len(files))
        except BaseException:
            work.stopped = True
            pool.shutdown(cancel_futures=True)
            raise


def _batches(files: list[Come]) -> Iterator[list[Come]]:
    for start in range(0, len(files), _BATCH):
        yield files[start : start + _BATCH]


def stays_inside(path: bytes, target: bytes) -> bool:
    """Return whether a link at ``path`` says a place inside the tree, outside ``.git`` and ``.nexus``.

    ``..`` counts only at the start of a target: after a name it could undo another link.
    """
    if not target or target.startswith(b"/"):
        return False
    parts = [part for part in target.split(b"/") if part not in {b"", b"."}]
    up = next((at for at, part in enumerate(parts) if part != b".."), len(parts))
    folders = path.split(b"/")[:-1]
    if up > len(folders) or b".." in parts[up:]:
        return False
    place = [*folders[: len(folders) - up], *parts[up:]]
    return not (place and place[0].lower() in {b".git", b".nexus"})


class _Work:
    """What the threads share."""

    def __init__(self, source: int, target: int, limit: int, stop: Stop) -> None:
        self._source = source
        self._target = target
        self._limit = limit
        self._stop = stop
        self._copier = Copier()
        self._counting = threading.Lock()
        self.files = 0
        self.size = 0
        self.left_out: list[str] = []
        self.stopped = False

    def copy(self, batch: list[Come]) -> int:
        """Copy some files; run by the threads."""
        for item in batch:
            if self.stopped or self._stop:
                raise Stopped
            parent, _, name = item.path.rpartition(b"/")
            try:
                with beneath.folder(self._source, parent) as source, beneath.folder(self._target, parent) as target:
                    self._one(item, name, source, target)
            except OSError as error:
                if error.errno in _FULL:
                    raise
                self._leave_out(item, error)
        return len(batch)

    def _one(self, item: Come, name: bytes, source: int, target: int) -> None:
        reading = os.open(name, beneath.FILE, dir_fd=source)
        try:
            before = os.fstat(reading)
            if not stat.S_ISREG(before.st_mode):
                raise OSError(errno.EINVAL, "no longer a regular file")
            self._count(item, before.st_size)
            writing = os.open(name, _CREATE, 0o600, dir_fd=target)
            try:
                self._copier.fill(reading, writing, before.st_size)
                os.fchmod(writing, before.st_mode & _BITS)
                os.utime(writing, ns=(before.st_mtime_ns, before.st_mtime_ns))
                with self._counting:
                    self.files += 1
            except OSError:
                # Half a file is worse than none.
                os.unlink(name, dir_fd=target)
                raise
            finally:
                os.close(writing)
        finally:
            os.close(reading)

    def _count(self, item: Come, size: int) -> None:
        with self._counting:
            if self.size + size > self._limit:
                raise GitError(
                    f"the ignored files that come along grew past the limit while they were copied: {shown(item.path)}",
                    hint="try again when nothing writes them, or raise defaults.worktree_include_max",
                    details={"path": shown(item.path), "limit": self._limit},
                )
            self.size += size

    def _leave_out(self, item: Come, error: OSError) -> None:
        with self._counting:
            self.left_out.append(f"{shown(item.path)} ({error.strerror})")

    def link(self, item: Come) -> None:
        """Make a symbolic link, when everything else is there: nothing is written after it."""
        parent, _, name = item.path.rpartition(b"/")
        try:
            target = beneath.read_link(self._source, item.path)
            if not stays_inside(item.path, target):
                raise OSError(errno.EXDEV, "a symbolic link that leads out of the tree")
            with beneath.folder(self._target, parent) as at:
                os.symlink(target, name, dir_fd=at)
                os.utime(name, ns=(item.status.st_mtime_ns,) * 2, dir_fd=at, follow_symlinks=False)
        except OSError as error:
            if error.errno in _FULL:
                raise
            self._leave_out(item, error)
        else:
            self.files += 1
