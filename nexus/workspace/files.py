"""The files of a workspace whose work tree is a folder of this host."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

import anyio.from_thread
import anyio.lowlevel
from typing_extensions import override

from nexus.abc.files import FileReader, FileWriter, Watch
from nexus.errors import InvalidArgument, PathNotADirectory, PathNotFound
from nexus.handles.derived_files import DerivedFiles
from nexus.handles.glob_pattern import Exclusion, GlobPattern
from nexus.models.files import Edit, EditResult, Etag, FileInfo, FolderPage, GrepMatch, TransferResult
from nexus.workspace import files_grep, files_read, files_remove, files_stream, files_transfer, files_watch, files_write
from nexus.workspace.beneath import Tree
from nexus.workspace.files_at_once import CachedFiles
from nexus.workspace.files_watch import Wish
from nexus.workspace.grep_pattern import Case, Needle
from nexus.workspace.tree_access import TreeAccess

_IN_A_ROW: Final = 8
"""Reads that wait for nothing before other tasks have their turn."""


class FileSystem(DerivedFiles):
    """Reads and changes the files of one work tree.

    A path is relative to the tree's root, or absolute below one of the names that the root has. No path leads out of the tree,
    neither by ``..`` nor by a symbolic link, whatever programs inside change at the same time. Links that stay inside are
    followed. FIFOs, sockets and devices are listed and removed, never opened. The tree's ``.git`` is read and never changed: what
    git runs on this host believes it. Names that are no UTF-8 come with surrogates, as :func:`os.fsdecode` gives them.

    Every call raises ``WorkspaceGone`` when the tree is not there, ``PathEscape`` for a path that leads out, and otherwise the
    classes under ``FsError``, each with the system's ``errno``. A call that is cancelled returns when the step at hand is done:
    a write has then happened wholly or not at all.

    Args:
        root: The work tree.
        aliases: Further absolute paths that mean the root, such as the one it has inside.
    """

    def __init__(self, root: Path, *, aliases: Sequence[str] = ()) -> None:
        self._access = TreeAccess(root, tuple(aliases))
        self._cached = CachedFiles(root)
        self._reads = 0

    def __repr__(self) -> str:
        return f"<FileSystem {self._access.root}>"

    # Reading --------------------------------------------------------------------------------------------------------

    @override
    async def read_bytes(self, path: str, *, offset: int = 0, limit: int | None = None) -> bytes:
        """Return a file's bytes.

        Args:
            path: The file.
            offset: Bytes to leave out at the beginning; beyond the end there is nothing.
            limit: Bytes to read at most; all when absent.

        Raises:
            PathNotFound: When there is nothing.
            PathIsADirectory: When it is a folder.
            InvalidArgument: When a number is negative.
        """
        if offset < 0 or (limit is not None and limit < 0):
            raise InvalidArgument(f"offset and limit cannot be negative: offset={offset}, limit={limit}")
        at_once = self._cached.read(path, offset, limit)
        if at_once is not None:
            await self._let_others()
            return at_once
        return await self._access.do(path, lambda tree: self._read(tree, path, offset, limit))

    async def _let_others(self) -> None:
        """Be a place where a cancellation is seen, and let other tasks run now and then: often enough, seldom enough to stay quick."""
        self._reads = (self._reads + 1) % _IN_A_ROW
        if self._reads == 0:
            await anyio.lowlevel.checkpoint()
        else:
            await anyio.lowlevel.checkpoint_if_cancelled()

    def _read(self, tree: Tree, path: str, offset: int, limit: int | None) -> bytes:
        self._cached.learn()
        return files_read.read(tree, path, offset, limit)

    @override
    async def stat(self, path: str, *, follow: bool = True) -> FileInfo:
        """Return what is at a path.

        Args:
            path: The path.
            follow: Whether a symbolic link at the end is followed.

        Raises:
            PathNotFound: When there is nothing, or a followed link leads to nothing.
        """
        return await self._access.do(path, lambda tree: files_read.look(tree, path, follow=follow))

    @override
    async def realpath(self, path: str) -> str:
        """Return where a path leads when every link on it is followed, relative to the root.

        Raises:
            PathNotFound: When there is nothing.
        """
        return await self._access.do(path, lambda tree: files_read.real_path(tree, path))

    @override
    async def scan(
        self, path: str = ".", *, recursive: bool = False, hidden: bool = True
    ) -> AsyncGenerator[FileInfo, None]:
        """Give what is in a folder, by name; with ``recursive`` folder after folder.

        Links are given as links and not followed. What disappears meanwhile is left out. A folder below that may not be read is
        given itself, without what it holds.

        Args:
            path: The folder.
            recursive: Also give what is in the folders below.
            hidden: Also give names that begin with a dot, and what is below them.

        Raises:
            PathNotFound, PathNotADirectory, PathDenied: When the folder cannot be read.
        """
        async for _, info in self._access.walk(path, hidden=hidden, descend=lambda _: recursive):
            yield info

    @override
    async def list_page(
        self, path: str = ".", *, after: str | None = None, limit: int = 1000, hidden: bool = True
    ) -> FolderPage:
        """Return some of what is in a folder, by name: for folders that are too large to be given at once.

        Args:
            path: The folder.
            after: Begin after this name: the ``next`` of the page before. It need not be there any more.
            limit: Entries at most.
            hidden: Also give names that begin with a dot.

        Raises:
            PathNotFound, PathNotADirectory, PathDenied: When the folder cannot be read.
            InvalidArgument: When the limit is less than one.
        """
        if limit < 1:
            raise InvalidArgument(f"limit has to be at least one: {limit}")
        return await self._access.do(
            path, lambda tree: files_read.list_page(tree, path, after=after, limit=limit, hidden=hidden)
        )

    @override
    async def glob(self, pattern: str) -> AsyncGenerator[str, None]:
        """Give the paths that match: ``*``, ``?`` and ``[…]`` within a name, ``**`` for any number of folders.

        Hidden names match like others. Wildcards do not follow links to folders.

        Args:
            pattern: Relative to the root.

        Raises:
            InvalidArgument: When the pattern is empty, absolute, or goes up.
        """
        parsed = GlobPattern.parse(pattern)
        start = "/".join(parsed.prefix) or "."

        def names(below: Sequence[bytes]) -> list[str]:
            return [os.fsdecode(part) for part in below]

        try:
            async for below, info in self._access.walk(
                start, descend=lambda below: parsed.may_match_below(names(below))
            ):
                if parsed.matches(names(below)):
                    yield info.path
        except (PathNotFound, PathNotADirectory):
            return

    @override
    def grep(
        self,
        pattern: str,
        *,
        path: str = ".",
        regex: bool = True,
        case: Case = "sensitive",
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        ignored: bool = False,
        limit: int = 1000,
    ) -> AsyncGenerator[GrepMatch, None]:
        """Give the lines in which a pattern matches, file after file, each line once.

        Files that hold a NUL character near what is looked at are no text and are left out; so are links and ``.git``. No pattern
        and no content can keep the search busy: it takes time in proportion to the size of the files.

        Args:
            pattern: A regular expression in RE2's syntax, without look-around and back-references; it matches within a line.
            path: Look into this folder, or file.
            regex: Off: the pattern is looked for word for word.
            case: ``insensitive``, or ``smart``: insensitive unless the pattern holds a capital letter.
            include: Only files with these names (``*.py``), or paths from the top of ``path`` (``src/**``).
            exclude: Files and folders to leave out, as for :meth:`upload`.
            ignored: Also look into what the tree's ``.gitignore`` files name.
            limit: Lines at most.

        Raises:
            InvalidArgument: When the pattern cannot be used, with what is wrong with it.
            Unsupported: When the RE2 engine (``nexus-workspace[search]``) is not installed.
            PathNotFound: When ``path`` is not there.

        Cancellation: the search ends soon.
        """
        needle = Needle.parse(pattern, regex=regex, case=case)
        wanted = files_grep.Wanted(Exclusion.parse(include), Exclusion.parse(exclude), ignored)
        return files_grep.grep(self._access, needle, path, wanted, limit)

    @override
    def open_read(self, path: str, *, offset: int = 0) -> AbstractAsyncContextManager[FileReader]:
        """Read a file in pieces, whatever its size: ``async with fs.open_read(path) as file: async for chunk in file: …``.

        Args:
            path: The file.
            offset: Bytes to leave out at the beginning.

        Raises:
            PathNotFound, PathIsADirectory, InvalidArgument: On entering, as :meth:`read_bytes`.
        """
        return files_stream.open_read(self._access, path, offset)

    @override
    def watch(
        self, path: str = ".", *, recursive: bool = True, exclude: Sequence[str] = (), mode: Wish = "auto"
    ) -> AbstractAsyncContextManager[Watch]:
        """Learn of what changes: ``async with fs.watch("src") as watch: async for batch in watch: …``.

        Links are told of and not followed; ``.git`` and files that are being written here are left out. A folder that is moved
        away is told as one deletion, one that comes as the creation of everything in it. Where the kernel's limit of watches is
        reached the tree is looked at again and again instead, and ``watch.notice`` says so.

        Args:
            path: A folder, or a single file. A file may be replaced by another one; a folder ends the watch when it goes.
            recursive: Also what happens in the folders below.
            exclude: Files and folders to leave out, as for :meth:`upload`.
            mode: ``native`` or ``poll`` to have it one way only.

        Raises:
            PathNotFound: When it is not there.
            FsError: With ``native``, when the kernel refuses; when it is too large to be polled.
        """
        return files_watch.watch(self._access, path, recursive=recursive, exclude=exclude, mode=mode)

    # Writing --------------------------------------------------------------------------------------------------------

    @override
    async def write_bytes(
        self, path: str, data: bytes, *, mode: int | None = None, if_match: Etag | None = None, parents: bool = True
    ) -> FileInfo:
        """Give a file this content, in one step: whoever reads sees the old content or the new one.

        An existing file keeps its permissions and its owner. It is a new file nevertheless: other hard links keep the old content.
        A symbolic link is followed and stays a link. The disk is not waited for.

        Args:
            path: The file.
            data: The content.
            mode: Permission bits; as they are, or the user's default, when absent.
            if_match: Write only when the file still has this etag; ``ABSENT``: only when there is none. Among all who write through
                this class exactly one wins; a program that writes in place in that very instant is not noticed.
            parents: Make the folders that are missing.

        Returns:
            The file as it is now; its etag serves the next write.

        Raises:
            ContentModified: When ``if_match`` does not match.
            PathIsADirectory: When it is a folder.
            PathDenied: When the system refuses, or it belongs to git.
        """
        return await self._access.do(
            path,
            lambda tree: files_write.write(tree, path, bytes(data), mode=mode, if_match=if_match, parents=parents),
        )

    @override
    def open_write(
        self, path: str, *, mode: int | None = None, if_match: Etag | None = None, parents: bool = True
    ) -> AbstractAsyncContextManager[FileWriter]:
        """Write a file in pieces: ``async with fs.open_write(path) as file: await file.send(data)``.

        It takes its place in one step when the block is left without an error; until then nobody sees it, and a block that
        fails or is cancelled leaves nothing. A program that is killed may leave a file ``.nexus-….tmp`` beside it.

        Args:
            path: The file.
            mode: As for :meth:`write_bytes`, like all that follow.
            if_match: Looked at when the block begins and again when it ends.
            parents: See there.

        Raises:
            ContentModified: When ``if_match`` does not match, or does not any more; otherwise as :meth:`write_bytes`.
        """
        return files_stream.open_write(self._access, path, mode=mode, if_match=if_match, parents=parents)

    @override
    async def set_mode(self, path: str, mode: int) -> FileInfo:
        """Set permission bits, links followed.

        Args:
            path: A file or folder.
            mode: ``0o000`` to ``0o777``.

        Raises:
            InvalidArgument: When the mode has other bits: set-user-id is not given here.
            PathDenied: When the system refuses, or it belongs to git.
        """
        return await self._access.do(path, lambda tree: files_write.set_mode(tree, path, mode))

    @override
    async def edit(self, path: str, edits: Sequence[Edit], *, if_match: Etag | None = None) -> EditResult:
        """Replace pieces of a file's text, one edit after the other; all of them or none.

        Args:
            path: The file.
            edits: What to replace; each has to match exactly, and once unless it says ``all``.
            if_match: Edit only when the file still has this etag.

        Raises:
            InvalidArgument: When a text is not there, or more than once; ``details["edit"]`` says which, counted from one.
            ContentModified: When ``if_match`` does not match.
        """
        return await self._access.do(path, lambda tree: files_write.edit(tree, path, edits, if_match=if_match))

    @override
    async def make_dir(self, path: str, *, parents: bool = True, exist_ok: bool = True) -> None:
        """Make a folder.

        Args:
            path: The folder.
            parents: Also make those around it.
            exist_ok: One that is there already is fine.

        Raises:
            PathExists: When something else is there, or ``exist_ok`` is not set.
        """
        await self._access.do(path, lambda tree: files_write.make_dir(tree, path, parents=parents, exist_ok=exist_ok))

    @override
    async def remove(self, path: str, *, recursive: bool = False, missing_ok: bool = False) -> None:
        """Remove a file, a link (not what it leads to), or a folder.

        Args:
            path: What to remove.
            recursive: Also a folder that is not empty.
            missing_ok: Nothing there is fine.

        Raises:
            PathNotFound: When there is nothing.
            FsError: With ``errno.ENOTEMPTY`` for a folder that is not empty.

        Cancellation: stops between two folders; what was removed by then stays removed.
        """
        check = anyio.from_thread.check_cancelled
        await self._access.do(
            path,
            lambda tree: files_remove.remove(tree, path, recursive=recursive, missing_ok=missing_ok, check=check),
        )

    @override
    async def rename(self, src: str, dst: str, *, replace: bool = False) -> None:
        """Give a file, link or folder another name, in one step.

        Args:
            src: What to rename; a link itself is renamed.
            dst: The new name, in a folder that is there.
            replace: Take the place of a file that has the name, or of an empty folder.

        Raises:
            PathExists: When the name is taken and ``replace`` is not set.
        """
        await self._access.do(src, lambda tree: files_remove.rename(tree, src, dst, replace=replace), dst)

    # Copying --------------------------------------------------------------------------------------------------------

    @override
    async def copy(self, src: str, dst: str, *, replace: bool = False) -> TransferResult:
        """Copy a file, a link (as a link), or a folder with everything in it.

        Args:
            src: What to copy.
            dst: Its new name, in a folder that is there.
            replace: Let files take the place of files, and merge folders.

        Raises:
            PathExists: When the name is taken and ``replace`` is not set.
            InvalidArgument: When a folder would be copied into itself.

        Cancellation: stops between two files; what was copied by then stays.
        """
        check = anyio.from_thread.check_cancelled
        return await self._access.do(
            src, lambda tree: files_transfer.copy(tree, src, dst, replace=replace, check=check), dst
        )

    @override
    async def upload(
        self, local: str | os.PathLike[str], remote: str, *, exclude: Sequence[str] = ()
    ) -> TransferResult:
        """Copy a file or folder of this host into the workspace. A folder is merged into ``remote``, files replace files.

        Args:
            local: What to copy.
            remote: What it is called inside; folders around it are made.
            exclude: Names (``node_modules``, ``*.pyc``), or paths from the top of ``local`` (``docs/build``), to leave out.

        Raises:
            PathDenied: When it would change the tree's ``.git``.

        Cancellation: stops between two files; what was copied by then stays.
        """
        check, leave_out = anyio.from_thread.check_cancelled, _patterns(exclude)
        return await self._access.do(
            remote, lambda tree: files_transfer.upload(tree, Path(local), remote, exclude=leave_out, check=check)
        )

    @override
    async def download(
        self, remote: str, local: str | os.PathLike[str], *, exclude: Sequence[str] = ()
    ) -> TransferResult:
        """Copy a file or folder of the workspace to this host. A folder is merged into ``local``, files replace files.

        Symbolic links that lead out of what is copied, FIFOs, sockets, devices, and the tree's own ``.git`` are left out and named in
        the result.

        Args:
            remote: What to copy.
            local: What it is called here, in a folder that is there.
            exclude: As for :meth:`upload`.

        Cancellation: stops between two files; what was copied by then stays.
        """
        check, leave_out = anyio.from_thread.check_cancelled, _patterns(exclude)
        return await self._access.do(
            remote, lambda tree: files_transfer.download(tree, remote, Path(local), exclude=leave_out, check=check)
        )


def _patterns(exclude: Sequence[str]) -> tuple[str, ...]:
    if isinstance(exclude, str):
        raise InvalidArgument("exclude takes a list of patterns, not one text", hint=f"write [{exclude!r}]")
    return tuple(exclude)
