"""Looking for lines in a whole tree, step by step. Nothing is open between two steps, and no step takes long."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import closing
from typing import Final, NamedTuple, TypeAlias

from nexus.errors import FsError, InvalidArgument, PathNotFound
from nexus.git.ignoring import IgnorePattern, is_ignored, parse_patterns
from nexus.handles.glob_pattern import Exclusion
from nexus.models.files import GrepMatch
from nexus.workspace.beneath import Tree
from nexus.workspace.files_read import named, open_file
from nexus.workspace.folders import open_below
from nexus.workspace.grep_pattern import Line, Needle
from nexus.workspace.replacing import is_temporary
from nexus.workspace.tree_access import TreeAccess

_PIECE: Final = 64 * 1024
"""Bytes that the engine gets at once; a line that is longer is looked at in parts."""
_STEP: Final = 4 * 1024 * 1024
"""Bytes after which a step ends, so that a cancelled search ends soon."""
_NAMES: Final = 500
"""Files after which it ends."""
_FOUND: Final = 100
"""Matches after which it ends, so that they come soon."""
_SHOWN: Final = 1000
"""Bytes of a line that are given."""
_IGNORE_LIMIT: Final = 1 << 20
_MOST_FOLDERS: Final = 1_000_000

_Levels: TypeAlias = "tuple[tuple[int, tuple[IgnorePattern, ...]], ...]"


class Wanted(NamedTuple):
    """Which files to look into."""

    include: Exclusion
    """Only these, where it names any."""
    exclude: Exclusion
    ignored: bool
    """Also what ``.gitignore`` files of the tree say git ignores."""

    def takes(self, above: bytes, path: tuple[bytes, ...], levels: _Levels, *, folder: bool) -> bool:
        """Return whether to look into something.

        Args:
            above: The path from the root to the folder that is searched, with ``/`` at its end.
            path: The path from there.
            levels: What ignore files say.
            folder: Whether it is a folder.
        """
        names = tuple(os.fsdecode(part) for part in path)
        if path[-1] == b".git" or is_temporary(path[-1]) or names in self.exclude:
            return False
        if not self.ignored and is_ignored(above + b"/".join(path), levels, is_folder=folder):
            return False
        return folder or not (self.include.names or self.include.paths) or names in self.include


class _Folder(NamedTuple):
    below: tuple[bytes, ...]
    levels: _Levels


class _File(NamedTuple):
    folder: tuple[bytes, ...]
    name: bytes


class _Progress:
    """How far one large file has been looked into."""

    def __init__(self, file: _File, identity: tuple[int, int], size: int) -> None:
        self.file = file
        self.identity = identity
        self.size = size
        self.offset = 0
        self.lines = 0


class _OpenFolder:
    """The folder that files are opened in, kept open from one file of it to the next.

    Args:
        top: Descriptor of the folder that is searched.
    """

    def __init__(self, top: int) -> None:
        self._top = top
        self._below: tuple[bytes, ...] | None = None
        self._fd = -1

    def descriptor(self, below: tuple[bytes, ...]) -> int:
        """Return the descriptor of a folder.

        Raises:
            OSError: When it is gone, or a link by now.
        """
        if below != self._below:
            self.close()
            self._fd = open_below(self._top, below)
            self._below = below
        return self._fd

    def close(self) -> None:
        """Let go of it."""
        if self._below is not None:
            self._below = None
            os.close(self._fd)


class Search:
    """One search. :meth:`step` goes on with it and gives what it found.

    Args:
        needle: What to look for.
        start: The folder or file, as the caller wrote it.
        wanted: Which files.
    """

    def __init__(self, needle: Needle, start: str, wanted: Wanted) -> None:
        self._needle = needle
        self._start = start
        self._wanted = wanted
        self._folders = [_Folder((), ())]
        self._files: deque[_File] = deque()
        self._within: _Progress | None = None
        self._begun = False
        self._budget = 0

    def step(self, tree: Tree) -> list[GrepMatch] | None:
        """Look into some more files; ``None`` when there are none left.

        Raises:
            OSError: When the start is not there.
        """
        self._budget = _STEP
        with tree.found(self._start) as top:
            shown = tree.parts(self._start)
            if not stat.S_ISDIR(os.fstat(top).st_mode):
                return self._single(tree, top)
            if not self._begun:
                self._begun = True
                self._folders = [_Folder((), () if self._wanted.ignored else _from_above(tree, shown))]
            with closing(_OpenFolder(top)) as opened:
                return self._go_on(top, shown, opened)

    def _go_on(self, top: int, shown: tuple[bytes, ...], opened: _OpenFolder) -> list[GrepMatch] | None:
        found: list[GrepMatch] = []
        for _ in range(_NAMES):
            if self._budget <= 0 or len(found) >= _FOUND:
                return found
            if self._within is None and not self._files:
                if not self._folders:
                    return found or None
                self._list(top, shown, self._folders.pop())
                continue
            found += self._next(opened, shown)
        return found

    def _single(self, tree: Tree, file: int) -> list[GrepMatch] | None:
        """Look into the one file that the search is about."""
        if self._begun and self._within is None:
            return None
        self._begun = True
        fd = open_file(file, self._start)
        try:
            return list(self._search(fd, _File((), b""), named(tree.parts(self._start))))
        finally:
            os.close(fd)

    def _next(self, opened: _OpenFolder, shown: tuple[bytes, ...]) -> list[GrepMatch]:
        file = self._within.file if self._within is not None else self._files.popleft()
        try:
            found = os.open(file.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=opened.descriptor(file.folder))
            try:
                fd = open_file(found, "")
            finally:
                os.close(found)
        except (OSError, FsError):
            self._within = None
            return []  # it is gone, closed to us, or something else by now
        try:
            return list(self._search(fd, file, named((*shown, *file.folder, file.name))))
        except OSError:
            self._within = None
            return []
        finally:
            os.close(fd)

    def _search(self, fd: int, file: _File, path: str) -> Iterator[GrepMatch]:
        """Go on with a file until its end or until the step has done enough."""
        status = os.fstat(fd)
        identity = (status.st_dev, status.st_ino)
        at = self._within
        if at is None or at.identity != identity:
            # What is written to it from now on is not looked at: a file may grow for ever.
            at = self._within = _Progress(file, identity, status.st_size)
        while self._budget > 0:
            piece = os.pread(fd, min(_PIECE, max(at.size - at.offset, 0)), at.offset)
            self._budget -= max(len(piece), 1)
            if not piece or b"\0" in piece:
                self._within = None
                return  # the end, or no text
            if at.offset + len(piece) < at.size:
                piece = piece[: piece.rfind(b"\n") + 1] or piece
            for line in self._needle.lines(piece):
                yield told(path, at.lines + line.number + 1, line)
            at.offset += len(piece)
            if at.offset >= at.size:
                self._within = None
                return
            at.lines += piece.count(b"\n")

    def _list(self, top: int, shown: tuple[bytes, ...], folder: _Folder) -> None:
        """Note what is in a folder; one that is gone or closed to us has nothing."""
        try:
            fd = open_below(top, folder.below, os.O_RDONLY)
        except OSError:
            return
        try:
            with os.scandir(fd) as entries:
                here = sorted(
                    (os.fsencode(entry.name), entry.is_dir(follow_symlinks=False))
                    for entry in entries
                    if not entry.is_symlink()
                )
            levels = folder.levels
            if not self._wanted.ignored and (b".gitignore", False) in here:
                levels = _deeper(fd, (*shown, *folder.below), levels)
        except OSError:
            return
        finally:
            os.close(fd)
        inner: list[_Folder] = []
        above = b"".join(part + b"/" for part in shown)
        for name, is_folder in here:
            path = (*folder.below, name)
            if not self._wanted.takes(above, path, levels, folder=is_folder):
                continue
            if is_folder:
                inner.append(_Folder(path, levels))
            else:
                self._files.append(_File(folder.below, name))
        self._folders += reversed(inner)
        if len(self._folders) > _MOST_FOLDERS:
            raise FsError(
                f"there are more than {_MOST_FOLDERS} folders to search",
                path=self._start,
                hint="leave some out: exclude=",
            )


def _from_above(tree: Tree, shown: Sequence[bytes]) -> _Levels:
    """Return what the ignore files say of the folders above the one that is searched."""
    levels: _Levels = ()
    for depth in range(len(shown)):
        try:
            folder = open_below(tree.fd, shown[:depth])
        except OSError:
            return levels  # the path leads through a link or upwards: what lies above it is another story
        try:
            levels = _deeper(folder, shown[:depth], levels)
        finally:
            os.close(folder)
    return levels


def _deeper(fd: int, path: Sequence[bytes], levels: _Levels) -> _Levels:
    """Add what a folder's ignore file says; one that cannot be read ignores nothing.

    Args:
        fd: The folder.
        path: Its path from the root.
        levels: What the folders above say.
    """
    try:
        found = os.open(b".gitignore", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        try:
            file = open_file(found, ".gitignore")
        finally:
            os.close(found)
        try:
            content = os.pread(file, _IGNORE_LIMIT, 0)
        finally:
            os.close(file)
    except (OSError, FsError):
        return levels
    patterns = parse_patterns(content, ignore_case=False)
    return (*levels, (sum(len(part) + 1 for part in path), patterns)) if patterns else levels


def told(path: str, number: int, line: Line) -> GrepMatch:
    """Return a match as users see it: text, of a very long line the part around the match."""
    first = max(0, min(line.start - _SHOWN // 4, len(line.text) - _SHOWN))
    cut = line.text[first : first + _SHOWN]
    start, end = line.start - first, min(line.end - first, len(cut))
    before, match = (part.decode("utf-8", "replace") for part in (cut[:start], cut[start:end]))
    return GrepMatch(
        path=path,
        line=number,
        text=before + match + cut[end:].removesuffix(b"\r").decode("utf-8", "replace"),
        start=len(before),
        end=len(before) + len(match),
    )


async def grep(
    access: TreeAccess, needle: Needle, path: str, wanted: Wanted, limit: int
) -> AsyncGenerator[GrepMatch, None]:
    """Give the lines that match, file after file, at most ``limit``."""
    if limit < 1:
        raise InvalidArgument(f"limit has to be at least one: {limit}")
    search = Search(needle, path, wanted)
    left, begun = limit, False
    while True:
        try:
            found = await access.do(path, search.step)
        except PathNotFound:
            if begun:
                return  # it was removed while it was searched
            raise
        begun = True
        if found is None:
            return
        for match in found[:left]:
            yield match
        left -= len(found[:left])
        if left <= 0:
            return
