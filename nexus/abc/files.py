"""The files of a workspace, wherever they are. :class:`nexus.FileSystem` is the one for a tree on this host."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol, Self, runtime_checkable

from nexus.models.files import (
    Edit,
    EditResult,
    Etag,
    FileInfo,
    FolderPage,
    GrepMatch,
    TransferResult,
    WatchBatch,
    WatchMode,
)


class FileReader(Protocol):
    """A file that is being read from beginning to end, in pieces; ``async for chunk in reader`` gives them all."""

    @property
    def info(self) -> FileInfo:
        """The file as it was when it was opened. It is this file that is read, whatever takes its name meanwhile."""

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return the next bytes, never none.

        Raises:
            anyio.EndOfStream: At the end of the file.
        """

    def __aiter__(self) -> Self:
        """Give the pieces."""

    async def __anext__(self) -> bytes:
        """Return the next piece."""


class FileWriter(Protocol):
    """A file that is being written in pieces. Nobody sees it before its block is left without an error."""

    @property
    def info(self) -> FileInfo:
        """The file as it was written, once the block is left.

        Raises:
            InvalidArgument: Before that.
        """

    async def send(self, data: bytes) -> None:
        """Write the next bytes; returns when they are handed over."""


class Watch(Protocol):
    """What changes in a folder, in batches; ``async for batch in watch`` gives them as they come."""

    @property
    def mode(self) -> WatchMode:
        """How changes are learned of."""

    @property
    def notice(self) -> str | None:
        """Why it is not the way that was hoped for, for people; ``None`` when it is."""

    async def receive(self) -> WatchBatch:
        """Wait for the next batch. A cancelled call loses none.

        Raises:
            WorkspaceGone: When the work tree was removed.
            PathNotFound: When the folder that is watched was removed or renamed.
        """

    def __aiter__(self) -> Self:
        """Give the batches."""

    async def __anext__(self) -> WatchBatch:
        """Return the next batch."""


@runtime_checkable
class PromptFiles(Protocol):
    """Access to files that can give what is in memory anyway, to callers that cannot wait."""

    def read_now(self, path: str, *, offset: int = 0, limit: int | None = None) -> bytes | None:
        """Return a file's bytes, as ``FileAccess.read_bytes`` does; ``None`` where that takes waiting, or does not work. Never waits.

        Args:
            path: The file.
            offset: Bytes to leave out at the beginning.
            limit: Bytes to read at most; all when absent.
        """


@runtime_checkable
class FileAccess(Protocol):
    """Reads and changes the files of one work tree, and of nothing else.

    A path is relative to the tree's root, or absolute below one of the names that the root has. One that leads out of the tree
    raises ``PathEscape``; otherwise errors are the classes under ``FsError``.
    """

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

    async def read_text(self, path: str, *, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return a file's text, line ends unchanged."""

    async def stat(self, path: str, *, follow: bool = True) -> FileInfo:
        """Return what is at a path.

        Args:
            path: The path.
            follow: Whether a symbolic link at the end is followed.

        Raises:
            PathNotFound: When there is nothing, or a followed link leads to nothing.
        """

    async def exists(self, path: str) -> bool:
        """Return whether there is something, links followed."""

    async def is_file(self, path: str) -> bool:
        """Return whether it is a regular file, links followed."""

    async def is_dir(self, path: str) -> bool:
        """Return whether it is a folder, links followed."""

    def scan(self, path: str = ".", *, recursive: bool = False, hidden: bool = True) -> AsyncGenerator[FileInfo, None]:
        """Give what is in a folder, by name; links are given as links and not followed."""

    async def list_page(
        self, path: str = ".", *, after: str | None = None, limit: int = 1000, hidden: bool = True
    ) -> FolderPage:
        """Return what is in a folder by name, ``limit`` entries of it: the first ones, or those ``after`` a name."""

    def glob(self, pattern: str) -> AsyncGenerator[str, None]:
        """Give the paths that match: ``*``, ``?`` and ``[…]`` within a name, ``**`` for any number of folders.

        Hidden names match like others. Wildcards do not follow links to folders.

        Args:
            pattern: Relative to the root.

        Raises:
            InvalidArgument: When the pattern is empty, absolute, or goes up.
        """

    async def realpath(self, path: str) -> str:
        """Return where a path leads when every link on it is followed, relative to the root.

        Raises:
            PathNotFound: When there is nothing.
        """

    def open_read(self, path: str, *, offset: int = 0) -> AbstractAsyncContextManager[FileReader]:
        """Read a file in pieces, whatever its size: ``async with fs.open_read(path) as file: async for chunk in file: …``.

        Args:
            path: The file.
            offset: Bytes to leave out at the beginning.

        Raises:
            PathNotFound, PathIsADirectory, InvalidArgument: On entering, as :meth:`read_bytes`.
        """

    def grep(
        self,
        pattern: str,
        *,
        path: str = ".",
        regex: bool = True,
        case: Literal["sensitive", "insensitive", "smart"] = "sensitive",
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        ignored: bool = False,
        limit: int = 1000,
    ) -> AsyncGenerator[GrepMatch, None]:
        """Give the lines in which a pattern matches, file after file, at most ``limit``."""

    def watch(
        self,
        path: str = ".",
        *,
        recursive: bool = True,
        exclude: Sequence[str] = (),
        mode: Literal["auto", "native", "poll"] = "auto",
    ) -> AbstractAsyncContextManager[Watch]:
        """Learn of what changes in a folder: ``async with fs.watch("src") as watch: async for batch in watch``."""

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

    async def write_text(
        self,
        path: str,
        text: str,
        *,
        encoding: str = "utf-8",
        mode: int | None = None,
        if_match: Etag | None = None,
        parents: bool = True,
    ) -> FileInfo:
        """Give a file this text; otherwise as :meth:`write_bytes`."""

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

    async def set_mode(self, path: str, mode: int) -> FileInfo:
        """Set permission bits, links followed.

        Args:
            path: A file or folder.
            mode: ``0o000`` to ``0o777``.

        Raises:
            InvalidArgument: When the mode has other bits: set-user-id is not given here.
            PathDenied: When the system refuses, or it belongs to git.
        """

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

    async def make_dir(self, path: str, *, parents: bool = True, exist_ok: bool = True) -> None:
        """Make a folder.

        Args:
            path: The folder.
            parents: Also make those around it.
            exist_ok: One that is there already is fine.

        Raises:
            PathExists: When something else is there, or ``exist_ok`` is not set.
        """

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

    async def rename(self, src: str, dst: str, *, replace: bool = False) -> None:
        """Give a file, link or folder another name, in one step.

        Args:
            src: What to rename; a link itself is renamed.
            dst: The new name, in a folder that is there.
            replace: Take the place of a file that has the name, or of an empty folder.

        Raises:
            PathExists: When the name is taken and ``replace`` is not set.
        """

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
