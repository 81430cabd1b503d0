"""``fs.*``: what goes on after its answer: streams of files, and watches."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import uuid4

import anyio

from nexus.abc.files import FileAccess, FileReader, FileWriter, Watch
from nexus.daemon.call import Call, Routes
from nexus.daemon.feeds import Source
from nexus.daemon.handlers.files import bits, told
from nexus.daemon.handlers.session import owner_of
from nexus.daemon.inlets import Inlet
from nexus.errors import InvalidArgument, NotFound, QuotaExceeded
from nexus.models.files import Etag, FileInfo, WatchBatch
from nexus.wire.failures import fault_of
from nexus.wire.methods import files as methods
from nexus.wire.methods.table import Nothing

ROUTES: Final = Routes()
_MOST_WATCHES: Final = 64
_MOST_UPLOADS: Final = 16


@ROUTES.on(methods.OPEN_READ)
async def open_read(call: Call, params: methods.OpenRead) -> methods.ReadStream:
    """Send a file. What is sent is the file that was opened, whatever takes its name meanwhile."""
    files = await call.files(params.workspace)
    opened: list[FileReader] = []
    ready, failed = anyio.Event(), list[BaseException]()

    @asynccontextmanager
    async def reading() -> AsyncGenerator[AsyncIterator[bytes], None]:
        try:
            async with files.open_read(params.path, offset=params.offset) as reader:
                opened.append(reader)
                ready.set()
                yield reader
        except Exception as error:
            failed.append(error)
            raise
        finally:
            ready.set()

    feed = Source(reading, call.hub.limits.scrollback, owner_of(call))
    call.hub.start(feed)
    await ready.wait()
    if not opened:
        call.hub.feeds.close(feed.id, feed.owner)
        raise failed[0] if failed else NotFound(f"{params.path} could not be opened")
    outlet = call.connection.streams.attach(feed, {}, owner=True)
    outlet.wake()
    return methods.ReadStream(stat=told(opened[0].info), feed=feed.id, stream=outlet.streams["data"])


class Upload:
    """A file that is being sent.

    Args:
        workspace: Where it goes.
    """

    def __init__(self, workspace: str) -> None:
        self.workspace = workspace
        self.inlet = Inlet()
        self.opened = anyio.Event()
        self.ended = anyio.Event()
        self.scope = anyio.CancelScope()
        self.info: FileInfo | None = None
        self.error: BaseException | None = None
        self._size: int | None = None
        self._told = anyio.Event()

    def commit(self, size: int) -> None:
        """Take note that this many bytes are all."""
        self._size = size
        self._told.set()

    async def run(self, files: FileAccess, params: methods.OpenWrite) -> None:
        """Write what comes; the file takes its place when all of it has come and the client has said that this is all."""
        match = Etag(params.if_match) if params.if_match is not None else None
        try:
            with self.scope:
                async with files.open_write(
                    params.path, mode=bits(params.mode), if_match=match, parents=params.parents
                ) as writer:
                    self.opened.set()
                    await self._take(writer)
                self.info = writer.info
        except Exception as error:  # noqa: BLE001 - whoever waits for the file is told
            self.error = error
        finally:
            if self.info is None and self.error is None:
                self.error = NotFound("this upload was given up")
            self.opened.set()
            self.ended.set()

    async def _take(self, writer: FileWriter) -> None:
        try:
            while True:
                data = await self.inlet.receive()
                await writer.send(data)
                self.inlet.done(len(data))
        except anyio.EndOfStream:
            await self._told.wait()
        if self._size != self.inlet.received:
            raise InvalidArgument(f"{self.inlet.received} bytes of the file have come; it was to have {self._size}")


@ROUTES.on(methods.OPEN_WRITE)
async def open_write(call: Call, params: methods.OpenWrite) -> methods.Upload:
    """Begin to take a file. It ends with the connection, and leaves nothing then."""
    files = await call.files(params.workspace)
    uploads = call.connection.uploads
    if len(uploads) >= _MOST_UPLOADS:
        raise QuotaExceeded(f"{_MOST_UPLOADS} files are being sent already", hint="commit or abort some")
    upload, id = Upload(params.workspace), f"up_{uuid4().hex[:16]}"  # noqa: A001
    uploads[id] = upload
    call.connection.group.start_soon(upload.run, files, params)
    await upload.opened.wait()
    if upload.error is not None:
        del uploads[id]
        raise upload.error
    return methods.Upload(upload=id, stream=call.connection.streams.receive_into(upload.inlet))


@ROUTES.on(methods.COMMIT)
async def commit(call: Call, params: methods.Commit) -> methods.Stat:
    """Let the file take its place."""
    upload = _upload(call, params.upload, params.workspace)
    upload.commit(params.size)
    await upload.ended.wait()
    call.connection.uploads.pop(params.upload, None)
    if upload.info is None:
        raise upload.error or NotFound("this upload was given up")
    return told(upload.info)


@ROUTES.on(methods.ABORT)
async def abort(call: Call, params: methods.Abort) -> Nothing:
    """Leave nothing of it."""
    upload = _upload(call, params.upload, params.workspace)
    call.connection.uploads.pop(params.upload, None)
    upload.scope.cancel()
    await upload.ended.wait()
    return Nothing()


def _upload(call: Call, id: str, workspace: str) -> Upload:  # noqa: A002
    upload = call.connection.uploads.get(id)
    if upload is None or upload.workspace != workspace:
        raise NotFound(f"there is no upload {id!r} on this connection", hint="begin again with fs.openWrite")
    return upload


class Watcher:
    """Tells one connection of one watch's changes.

    Args:
        call: Who asked.
        params: What is watched.
    """

    def __init__(self, call: Call, params: methods.Watch) -> None:
        self.id = f"wa_{uuid4().hex[:16]}"
        self.scope = anyio.CancelScope()
        self.begun = anyio.Event()
        self.go = anyio.Event()
        """Set when the client learns of the watch: nothing is told before."""
        self.answer: methods.Watching | None = None
        self.error: BaseException | None = None
        self._call = call
        self._params = params

    async def run(self, files: FileAccess) -> None:
        """Watch until it is ended, by whomever."""
        params = self._params
        try:
            with self.scope:
                async with files.watch(
                    params.path, recursive=params.recursive, exclude=params.exclude, mode=params.mode
                ) as watch:
                    self.answer = methods.Watching(watch=self.id, mode=watch.mode, notice=watch.notice)
                    self.begun.set()
                    await self.go.wait()
                    await self._tell(watch)
        except Exception as error:  # noqa: BLE001 - the client is told
            self._fail(error)
        finally:
            self.begun.set()
            self._call.connection.stops.pop(self.id, None)

    async def _tell(self, watch: Watch) -> None:
        connection, seq = self._call.connection, 0
        while True:
            await connection.calm()  # changes are gathered where they come from meanwhile
            batch = await watch.receive()
            seq += 1
            connection.notify(methods.DID_CHANGE.name, _changes(self.id, seq, batch))

    def _fail(self, error: BaseException) -> None:
        self.error = error
        if self.begun.is_set():
            fault = fault_of(error)
            told_error: dict[str, object] = {"code": fault.number, "message": fault.message, "data": dict(fault.data)}
            failed = methods.WatchFailed(watch=self.id, error=told_error)
            self._call.connection.notify(methods.WATCH_FAILED.name, failed)


def _changes(id: str, seq: int, batch: WatchBatch) -> methods.DidChange:  # noqa: A002
    events = tuple(methods.Change.model_construct(kind=event.kind, path=event.path) for event in batch.events)
    return methods.DidChange.model_construct(watch=id, seq=seq, events=events, overflow=batch.overflow)


@ROUTES.on(methods.WATCH)
async def watch(call: Call, params: methods.Watch) -> methods.Watching:
    """Begin to tell of changes."""
    files, stops = await call.files(params.workspace), call.connection.stops
    if len(stops) >= _MOST_WATCHES:
        raise QuotaExceeded(f"this connection has {_MOST_WATCHES} watches already", hint="end some, or watch a parent")
    watcher = Watcher(call, params)
    stops[watcher.id] = watcher.scope.cancel
    call.connection.group.start_soon(watcher.run, files)
    await watcher.begun.wait()
    if watcher.answer is None:
        raise watcher.error or NotFound(f"{params.path} could not be watched")
    watcher.go.set()
    return watcher.answer


@ROUTES.on(methods.UNWATCH)
async def unwatch(call: Call, params: methods.Unwatch) -> Nothing:
    """End a watch; one that has ended is fine."""
    stop = call.connection.stops.pop(params.watch, None)
    if stop is not None:
        stop()
    return Nothing()
