"""What of file access follows from the rest, the same for every implementation: text from bytes, questions from ``stat``."""

from __future__ import annotations

from nexus.abc.files import FileAccess
from nexus.errors import FsError, InvalidArgument, PathNotADirectory, PathNotFound
from nexus.models.files import Etag, FileInfo, FileKind


class DerivedFiles(FileAccess):
    """Base of file access: its subclass does the work, this class what can be said in terms of it."""

    async def read_text(self, path: str, *, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return a file's text, line ends unchanged.

        Args:
            path: The file.
            encoding: A codec's name.
            errors: What to do with bytes that are no text, as for :meth:`bytes.decode`.

        Raises:
            FsError: When it is no text in that encoding; otherwise as ``read_bytes``.
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

    async def exists(self, path: str) -> bool:
        """Return whether there is something, links followed."""
        return await self._kind(path) is not None

    async def is_file(self, path: str) -> bool:
        """Return whether it is a regular file, links followed."""
        return await self._kind(path) is FileKind.FILE

    async def is_dir(self, path: str) -> bool:
        """Return whether it is a folder, links followed."""
        return await self._kind(path) is FileKind.DIRECTORY

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
        """Give a file this text, line ends unchanged; otherwise as ``write_bytes``.

        Raises:
            InvalidArgument: When the text cannot be written in that encoding, or there is no such codec.
        """
        try:
            data = text.encode(encoding)
        except (UnicodeEncodeError, LookupError) as error:
            raise InvalidArgument(f"the text for {path} cannot be written as {encoding}: {error}") from error
        return await self.write_bytes(path, data, mode=mode, if_match=if_match, parents=parents)

    async def _kind(self, path: str) -> FileKind | None:
        try:
            return (await self.stat(path)).kind
        except (PathNotFound, PathNotADirectory):
            return None
