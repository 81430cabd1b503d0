"""Files of the worktree as streams of a simulated process. Nothing outside the worktree is ever opened."""

from __future__ import annotations

from pathlib import Path

import anyio.to_thread

from nexus.providers.mock.pipes import Bytes, Null, Sink, Source
from nexus.providers.mock.process import ProgramCall


class FileSink(Null):
    """Appends to a file. It holds no descriptor between two writes, so there is nothing to leak."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def send(self, data: bytes) -> None:
        """Append the bytes."""
        await anyio.to_thread.run_sync(self._append, data)

    def _append(self, data: bytes) -> None:
        with self._path.open("ab") as file:
            file.write(data)


async def open_sink(call: ProgramCall, path: str, *, append: bool) -> Sink:
    """Return a sink for a file, made or emptied as ``>`` and ``>>`` do it; raises ``OSError`` as the system would."""
    if path == "/dev/null":
        return Null()

    def open_() -> Path:
        host = Path(call.kernel.host_path(path, call.cwd))
        with host.open("ab" if append else "wb"):
            return host

    return FileSink(await anyio.to_thread.run_sync(open_))


async def open_source(call: ProgramCall, path: str) -> Source:
    """Return a source of a file's bytes as they are now; raises ``OSError`` as the system would."""
    return Null() if path == "/dev/null" else Bytes(await read_file(call, path))


async def read_file(call: ProgramCall, path: str) -> bytes:
    """Return a file's bytes; raises ``OSError`` as the system would."""

    def read() -> bytes:
        return Path(call.kernel.host_path(path, call.cwd)).read_bytes()

    return await anyio.to_thread.run_sync(read)


async def kind(call: ProgramCall, path: str) -> str:
    """Return ``file``, ``folder`` or, for a path that is not there or lies outside the worktree, an empty string."""

    def look() -> str:
        try:
            host = Path(call.kernel.host_path(path, call.cwd))
        except OSError:
            return ""
        return "folder" if host.is_dir() else "file" if host.exists() else ""

    return await anyio.to_thread.run_sync(look)
