"""Filling a new worktree in one pass, and knowing its index when done.

A file comes from the main checkout where that checkout's index proves that it still holds the wanted content; else from the
object database. Folders are made first and symbolic links last, and nothing that exists is ever opened for writing: there is no
moment at which a link could lead a write out of the tree.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from dulwich.config import Config

from nexus.errors import GitError
from nexus.git import beneath
from nexus.git.attributes import Attributes
from nexus.git.copying import Copier, create
from nexus.git.eol import PLAIN, smudge
from nexus.git.index_file import EXECUTABLE, LINK, SUBMODULE, IndexEntry, IndexFile, entry_for, is_settled
from nexus.git.objects import Blobs
from nexus.git.threads import Stop
from nexus.git.trees import TreeFile, folders_of, shown
from nexus.models.workspace import Repository

Report: TypeAlias = "Callable[[int, int], None]"
"""Told how many files of how many are written."""

_BATCH: Final = 256
_MAX_THREADS: Final = 8
_SLOW: Final = 50e-6
"""Seconds for one file, above which it is the system that takes the time and not the interpreter."""
_SHOWN: Final = 3


class Checkout(NamedTuple):
    """What is now in the tree."""

    entries: list[IndexEntry]
    notes: tuple[str, ...]


class Source(NamedTuple):
    """The checkout that files may be copied from."""

    root: Path
    index_file: IndexFile


class _Batch(NamedTuple):
    folder: bytes
    files: list[TreeFile]


def check_out(
    repository: Repository,
    files: list[TreeFile],
    target: Path,
    *,
    config: Config,
    source: Source | None,
    stop: Stop,
    report: Report | None = None,
    verbatim: frozenset[bytes] = frozenset(),
) -> Checkout:
    """Write files into an empty folder.

    Args:
        repository: Where their objects are.
        files: The files of one commit, sorted by path.
        target: The folder; has nothing in it but ``.git``.
        config: The configuration.
        source: A checkout to copy from.
        stop: Asked between batches.
        report: Told how it goes.
        verbatim: Paths that are written as they are stored, whatever the attributes say.

    Returns:
        The index entries, and what was left unconverted.

    Raises:
        GitError: When a path is hostile, an object is missing, or the file system refuses.
        Stopped: When asked to stop. What was written is left for the caller to remove.
    """
    folders = folders_of(files)
    root = os.fsencode(target)
    with Blobs(repository) as blobs:
        attributes = _attributes_of(files, blobs, config, repository)
        work = _Work(root, blobs, attributes, config, source, verbatim=verbatim)
        try:
            for folder in folders:
                os.mkdir(b"%s/%s" % (root, folder))  # noqa: PTH102  a Path costs more than the call
            plain = [file for file in files if file.mode not in {LINK, SUBMODULE} or work.is_file(file)]
            others = [file for file in files if file.mode in {LINK, SUBMODULE}]
            entries = _write_all(work, plain, stop, report)
            for file in others:
                if file.mode == SUBMODULE:
                    (target / os.fsdecode(file.path)).mkdir()
                    entries.append(entry_for(*file, None))
                elif not work.is_file(file):
                    entries.append(work.link(file))
        except OSError as error:
            raise _told(error, target) from error
    return Checkout(entries, work.notes())


def _told(error: OSError, target: Path) -> GitError:
    where = shown(os.fsencode(error.filename)) if error.filename is not None else str(target)
    if error.errno == errno.EEXIST:
        return GitError(
            f"two files of the commit have one name on this file system: {where}",
            hint="the file system takes upper and lower case for the same; check out on one that does not",
            details={"path": where},
        )
    return GitError(f"{where} cannot be written: {error.strerror}", details={"path": where})


def _attributes_of(
    files: Iterable[TreeFile], blobs: Blobs, config: Config, repository: Repository
) -> Attributes | None:
    """Return the attributes of the commit; ``None`` when they convert nothing."""
    named = {
        file.path.rpartition(b"/")[0]: file
        for file in files
        if file.path.endswith(b".gitattributes")
        and file.path.rpartition(b"/")[2] == b".gitattributes"
        and file.mode not in {LINK, SUBMODULE}
    }

    def read(folder: bytes) -> bytes | None:
        file = named.get(folder)
        return None if file is None else blobs.read(file.sha, shown(file.path))

    attributes = Attributes(read, config, repository)
    return None if attributes.all_plain(set(named)) else attributes


def _write_all(work: _Work, files: list[TreeFile], stop: Stop, report: Report | None) -> list[IndexEntry]:
    """Write every plain file: alone while the file system is quick, with more threads when it is what we wait for.

    Where a file takes little longer than the interpreter's own share of it, threads only get in each other's way.
    """
    entries: list[IndexEntry] = []
    groups = _groups(files)
    for group in groups:
        stop.check()
        begun = time.perf_counter()
        entries.extend(work.write(group))
        if report is not None:
            report(len(entries), len(files))
        if time.perf_counter() - begun > _SLOW * _BATCH:
            break
    _in_parallel(work, list(groups), entries, stop, lambda done: report(done, len(files)) if report else None)
    return entries


def _in_parallel(
    work: _Work,
    groups: list[list[_Batch]],
    entries: list[IndexEntry],
    stop: Stop,
    report: Callable[[int], None],
) -> None:
    if not groups:
        return
    with ThreadPoolExecutor(_threads(), thread_name_prefix="nexus-checkout") as pool:
        waiting: set[Future[list[IndexEntry]]] = {pool.submit(work.write, group) for group in groups}
        try:
            while waiting:
                done, waiting = wait(waiting, timeout=0.1, return_when=FIRST_COMPLETED)
                for future in done:
                    entries.extend(future.result())
                stop.check()
                if done:
                    report(len(entries))
        except BaseException:
            work.stopped = True
            pool.shutdown(cancel_futures=True)
            raise


def _threads() -> int:
    return min(_MAX_THREADS, os.cpu_count() or 1)


def _groups(files: list[TreeFile]) -> Iterator[list[_Batch]]:
    """Cut the files into pieces of about equal size, keeping a folder's files together."""
    group: list[_Batch] = []
    size = 0
    for file in files:
        folder = file.path.rpartition(b"/")[0]
        if not group or group[-1].folder != folder:
            group.append(_Batch(folder, []))
        group[-1].files.append(file)
        size += 1
        if size == _BATCH:
            yield group
            group, size = [], 0
    if group:
        yield group


def _settled(index: IndexFile) -> dict[bytes, IndexEntry]:
    written = index.written_ns
    return {entry.path: entry for entry in index.entries if entry.stage == 0 and is_settled(entry, written)}


class _Work:
    """What the threads share."""

    def __init__(
        self,
        root: bytes,
        blobs: Blobs,
        attributes: Attributes | None,
        config: Config,
        source: Source | None,
        *,
        verbatim: frozenset[bytes],
    ) -> None:
        self._verbatim = verbatim
        self._root = root
        self._blobs = blobs
        self._attributes = attributes
        self._links = config.get_boolean((b"core",), b"symlinks", True) is not False
        self._executables = config.get_boolean((b"core",), b"filemode", True) is not False
        self._from = None if source is None else os.fsencode(source.root)
        self._known = {} if source is None else _settled(source.index_file)
        self._copier = Copier()
        # Older than the index will be, so that git need not suspect the file of having changed since.
        self._mtime_ns = (int(time.time()) - 2) * 1_000_000_000
        self._left: dict[str, list[str]] = {}
        self.stopped = False

    def is_file(self, file: TreeFile) -> bool:
        """Return whether a link becomes a file that holds the target, as it is without ``core.symlinks``."""
        return file.mode == LINK and not self._links

    def write(self, group: list[_Batch]) -> list[IndexEntry]:
        """Write some files; run by the threads."""
        entries: list[IndexEntry] = []
        for folder, files in group:
            if self.stopped:
                break
            target = os.open(b"%s/%s" % (self._root, folder), beneath.FOLDER)
            source = self._open_source(folder)
            try:
                entries.extend([self._one(file, source, target) for file in files])
            finally:
                os.close(target)
                if source is not None:
                    os.close(source)
        return entries

    def _open_source(self, folder: bytes) -> int | None:
        if self._from is None:
            return None
        try:
            return os.open(b"%s/%s" % (self._from, folder), beneath.FOLDER)
        except OSError:
            return None

    def _one(self, file: TreeFile, source: int | None, target: int) -> IndexEntry:
        path, mode, sha = file
        name = path.rpartition(b"/")[2]
        bits = 0o777 if mode == EXECUTABLE and self._executables else 0o666
        plain = path in self._verbatim
        if source is not None and mode != LINK and not plain:
            known = self._known.get(path)
            if known is not None and known.sha == sha and known.mode == mode:
                status = self._copier.copy(name, known, source, target, bits)
                if status is not None:
                    return entry_for(path, mode, sha, status)
        content = self._blobs.read(sha, shown(path))
        if self._attributes is not None and mode != LINK and not plain:
            how = self._attributes.conversion(path)
            if how is not PLAIN:
                content = smudge(content, how, sha)
                if how.program is not None:
                    self._left.setdefault(how.program, []).append(shown(path))
        return entry_for(path, mode, sha, create(name, content, target, bits, self._mtime_ns))

    def link(self, file: TreeFile) -> IndexEntry:
        """Make a symbolic link, as the last thing: nothing is written after it."""
        path = b"%s/%s" % (self._root, file.path)
        target = self._blobs.read(file.sha, shown(file.path))
        try:
            os.symlink(target, path)  # noqa: PTH211  both are bytes, which a Path cannot be
        except ValueError as error:
            raise GitError(f"the symbolic link {shown(file.path)!r} has a target that no system takes") from error
        times = (self._mtime_ns, self._mtime_ns)
        os.utime(path, ns=times, follow_symlinks=False)
        return entry_for(*file, os.lstat(path))

    def notes(self) -> tuple[str, ...]:
        """Return, for people, what a program would have had to convert."""
        return tuple(_note(program, sorted(paths)) for program, paths in sorted(self._left.items()))


def _note(program: str, paths: list[str]) -> str:
    names = ", ".join(paths[:_SHOWN]) + (f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else "")
    inside = "; 'git lfs pull' inside brings the content" if "lfs" in program.casefold() else ""
    return f"left as stored, because {program} is not run on the host: {names}{inside}"
