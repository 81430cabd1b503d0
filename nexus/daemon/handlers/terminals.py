"""``terminal.*``: handed on to the service; a look at a terminal is a feed of its connection."""

from __future__ import annotations

import base64
import binascii
from typing import Final
from uuid import uuid4

import anyio
from typing_extensions import override

from nexus.abc.terminals import TerminalAccess, TerminalSession
from nexus.daemon.call import Call, Routes
from nexus.daemon.feeds import Feed
from nexus.daemon.handlers.session import owner_of
from nexus.errors import InvalidArgument, NotFound, QuotaExceeded
from nexus.models.execution import Pty
from nexus.models.terminals import (
    AttachRequest,
    TerminalChanged,
    TerminalExit,
    TerminalExited,
    TerminalGap,
    TerminalInfo,
    TerminalOutput,
    TerminalRequest,
    TerminalResized,
)
from nexus.wire.messages import Notification
from nexus.wire.methods import terminals as methods
from nexus.wire.methods.execs import TerminalSize
from nexus.wire.methods.table import Nothing, OfWorkspace

ROUTES: Final = Routes()
_NOTHING: Final = Nothing()
_MOST: Final = 64
_CLOSING: Final = 5.0
_GATHERING: Final = 0.1
"""Seconds between two notifications of one look that something about its terminal is different: with hundreds that come to look, each
would be told of each."""


async def _terminals(call: Call, ref: str) -> TerminalAccess:
    return call.service.terminals(await call.info(ref))


def _pty(size: TerminalSize) -> Pty:
    return Pty(rows=size.rows, cols=size.cols, term=size.term)


@ROUTES.on(methods.OPEN)
async def open_terminal(call: Call, params: methods.Open) -> TerminalInfo:
    """Open one."""
    request = TerminalRequest(
        argv=params.argv,
        size=_pty(params.size),
        cwd=params.cwd,
        env=params.env,
        user=params.user,
        name=params.name,
        scrollback=params.scrollback,
        keep_alive=params.keep_alive_ms / 1000,
        rerun=params.rerun,
    )
    return await (await _terminals(call, params.workspace)).open(request)


@ROUTES.on(methods.LIST)
async def list_all(call: Call, params: OfWorkspace) -> methods.TerminalList:
    """Return them."""
    return methods.TerminalList(items=await (await _terminals(call, params.workspace)).list())


@ROUTES.on(methods.GET)
async def get(call: Call, params: methods.OfTerminal) -> TerminalInfo:
    """Return one."""
    return await (await _terminals(call, params.workspace)).get(params.terminal)


@ROUTES.on(methods.WAIT)
async def wait(call: Call, params: methods.OfTerminal) -> TerminalExit:
    """Wait for its end."""
    return await (await _terminals(call, params.workspace)).wait(params.terminal)


@ROUTES.on(methods.KILL)
async def kill(call: Call, params: methods.Kill) -> TerminalInfo:
    """End one."""
    return await (await _terminals(call, params.workspace)).kill(params.terminal, grace=params.grace_ms / 1000)


@ROUTES.on(methods.RENAME)
async def rename(call: Call, params: methods.Rename) -> TerminalInfo:
    """Rename one."""
    return await (await _terminals(call, params.workspace)).rename(params.terminal, params.name)


class Look(Feed):
    """One client's look at one terminal, sent on its connection.

    Args:
        session: The look itself.
        call: Who asked.
        workspace: The workspace, as they named it.
    """

    def __init__(self, session: TerminalSession, call: Call, workspace: str) -> None:
        super().__init__(f"tl_{uuid4().hex[:16]}", ("data",), call.hub.limits.stream_window * 2, "block")
        self.session = session
        self.workspace = workspace
        self.scope = anyio.CancelScope()
        self.typing = anyio.Lock()
        self._connection = call.connection
        self._exit: TerminalExit | None = None
        self._untold: TerminalInfo | None = None
        self._telling = False
        self.log.lose("data", session.point.start)
        self.own({"data": session.point.start})

    async def run(self) -> None:
        """Hand on what the terminal prints, until it or the connection ends."""
        try:
            with self.scope:
                while self._exit is None:
                    await self._take()
        except anyio.EndOfStream:
            pass
        except Exception as error:  # noqa: BLE001 - the client is told
            self.end(error)
        finally:
            self._connection.looks.pop(self.id, None)
            with anyio.CancelScope(shield=True), anyio.move_on_after(_CLOSING):
                await self.session.detach()
            self.end(self.error)

    async def _take(self) -> None:
        match await self.session.receive():
            case TerminalOutput(offset=offset, data=data):
                self.log.lose("data", offset)
                await self.put("data", data)
            case TerminalGap(start=start, end=end, prefix=prefix):
                told = methods.DidSkip(session=self.id, start=start, end=end, prefix=base64.b64encode(prefix).decode())
                self._connection.notify(methods.DID_SKIP.name, told)
                self.log.lose("data", end)
                self.wake()  # what comes next may have to wait until the client knows of this
            case TerminalResized(mark=mark):
                self._connection.notify(methods.DID_RESIZE.name, methods.DidResize(session=self.id, mark=mark))
            case TerminalChanged(info=info):
                self._untold = info
                if not self._telling:
                    self._telling = True
                    self._connection.group.start_soon(self._tell_now_and_then)
            case TerminalExited(exit=exit):
                self._tell()
                self._exit = exit

    async def _tell_now_and_then(self) -> None:
        """Tell what has changed: at once, and what changes soon afterwards together."""
        while self._untold is not None and not self.ended.is_set():
            self._tell()
            with anyio.move_on_after(_GATHERING):
                await self.ended.wait()
        self._telling = False

    def _tell(self) -> None:
        if self._untold is not None:
            changed = methods.DidChange(session=self.id, info=self._untold, role=self.session.role)
            self._untold = None
            self._connection.notify(methods.DID_CHANGE.name, changed)

    @override
    def refused(self) -> None:
        self.scope.cancel()

    @override
    def last_words(self) -> Notification | None:
        if self._exit is None:
            return None
        told = methods.DidExit(session=self.id, exit=self._exit)
        return Notification(methods.DID_EXIT.name, told.model_dump(mode="json", by_alias=True))


@ROUTES.on(methods.ATTACH)
async def attach(call: Call, params: methods.Attach) -> methods.Attached:
    """Look at one. The look ends with the connection; the terminal does not."""
    looks = call.connection.looks
    if len(looks) >= _MOST:
        raise QuotaExceeded(f"this connection looks at {_MOST} terminals already", hint="detach from some")
    request = AttachRequest(
        since=params.since,
        role=params.role,
        replay=params.replay,
        takeover=params.takeover,
        size=None if params.size is None else _pty(params.size),
        client=params.client or call.principal.subject,
    )
    session = await (await _terminals(call, params.workspace)).attach(params.terminal, request)
    look = Look(session, call, params.workspace)
    try:
        outlet = call.connection.streams.attach(look, {"data": session.point.start}, owner=True)
    except BaseException:
        with anyio.CancelScope(shield=True), anyio.move_on_after(_CLOSING):
            await session.detach()
        raise
    looks[look.id] = look
    call.connection.group.start_soon(look.run)
    point = session.point
    return methods.Attached(
        session=look.id,
        stream=outlet.streams["data"],
        info=session.info,
        role=session.role,
        start=point.start,
        oldest=point.oldest,
        newest=point.newest,
        gap=point.gap,
        prefix=base64.b64encode(point.prefix).decode(),
        resizes=point.resizes,
    )


def _look(call: Call, params: methods.OfSession) -> Look:
    look = call.connection.looks.get(params.session)
    if look is None or look.workspace != params.workspace:
        raise NotFound("this look at a terminal is over", hint="attach again", details={"session": params.session})
    return look


@ROUTES.on(methods.INPUT)
async def type_in(call: Call, params: methods.Input) -> Nothing:
    """Type. What a typist has begun to type goes on when the connection is lost, since it comes again over the next one."""
    try:
        data = base64.b64decode(params.data, validate=True)
    except binascii.Error as error:
        raise InvalidArgument(f"'data' is no base64: {error}") from None
    look = _look(call, params)
    if params.typist is None:
        async with look.typing:
            await look.session.write(data)
        return _NOTHING
    typist = call.hub.typists.of(owner_of(call), (params.workspace, look.session.info.id, params.typist))
    await typist.type(params.offset, data, look.session.write, lambda: not call.connection.ending)
    return _NOTHING


@ROUTES.on(methods.RESIZE)
async def resize(call: Call, params: methods.Resize) -> Nothing:
    """Give it another size."""
    await _look(call, params).session.resize(params.rows, params.cols)
    return _NOTHING


@ROUTES.on(methods.DETACH)
async def detach(call: Call, params: methods.OfSession) -> methods.Detached:
    """Look no longer."""
    look = _look(call, params)
    call.connection.streams.detach(look)
    look.scope.cancel()
    return methods.Detached(offset=await look.session.detach())
