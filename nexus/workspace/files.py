"""The files of a workspace whose work tree is a folder of this host."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import anyio.from_thread

from nexus.errors import FsError, InvalidArgument, PathNotADirectory, PathNotFound
from nexus.models.files import Edit, EditResult, Etag, FileInfo, FileKind, TransferResult
from nexus.workspace import files_read, files_remove, files_transfer, files_write
from nexus.workspace.glob_pattern import GlobPattern
from nexus.workspace.tree_access import TreeAccess


class FileSystem:
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

    def __repr__(self) -> str:
        return f"<FileSystem {self._access.root}>"

    # Reading --------------------------------------------------------------------------------------------------------

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
        return await self._access.do(path, lambda tree: files_read.read(tree, path, offset, limit))

    async def read_text(self, path: str, *, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return a file's text, line ends unchanged.

        Args:
            path: The file.
            encoding: A codec's name.
            errors: What to do with bytes that are no text, as for :meth:`bytes.decode`.

        Raises:
            FsError: When it is no text in that encoding; otherwise as :meth:`read_bytes`.
            InvalidArgument: When there is no such codec.
        """
        data = await self.read_bytes(path)
        try:
            return data.decode(encoding, errors)
        except UnicodeDecodeError as error:
            raise FsError(
                f"{path} is no {encoding} text: byte {error.start} is {data[error.start]:#04x}",
                path=path,
                hint="read it with read_bytes, or with errors='replace'",
            ) from error
        except LookupError as error:
            raise InvalidArgument(str(error)) from error

    async def stat(self, path: str, *, follow: bool = True) -> FileInfo:
        """Return what is at a path.

        Args:
            path: The path.
            follow: Whether a symbolic link at the end is followed.

        Raises:
            PathNotFound: When there is nothing, or a followed link leads to nothing.
        """
        return await self._access.do(path, lambda tree: files_read.look(tree, path, follow=follow))

    async def exists(self, path: str) -> bool:
        """Return whether there is something, links followed."""
        return await self._kind(path) is not None

    async def is_file(self, path: str) -> bool:
        """Return whether it is a regular file, links followed."""
        return await self._kind(path) is FileKind.FILE

    async def is_dir(self, path: str) -> bool:
        """Return whether it is a folder, links followed."""
        return await self._kind(path) is FileKind.DIRECTORY

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

    # Writing --------------------------------------------------------------------------------------------------------

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
        """Give a file this text, line ends unchanged; otherwise as :meth:`write_bytes`.

        Raises:
            InvalidArgument: When the text cannot be written in that encoding, or there is no such codec.
        """
        try:
            data = text.encode(encoding)
        except (UnicodeEncodeError, LookupError) as error:
            raise InvalidArgument(f"the text for {path} cannot be written as {encoding}: {error}") from error
        return await self.write_bytes(path, data, mode=mode, if_match=if_match, parents=parents)

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

    async def _kind(self, path: str) -> FileKind | None:
        try:
            return (await self.stat(path)).kind
        except (PathNotFound, PathNotADirectory):
            return None


def _patterns(exclude: Sequence[str]) -> tuple[str, ...]:
    if isinstance(exclude, str):
        raise InvalidArgument("exclude takes a list of patterns, not one text", hint=f"write [{exclude!r}]")
    return tuple(exclude)
