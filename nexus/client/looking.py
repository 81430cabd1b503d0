"""One look at a terminal behind a daemon."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable, Mapping
from typing import TypeAlias

import anyio

from nexus.client.arrivals import Arrivals
from nexus.client.line import Line
from nexus.client.link import Link
from nexus.client.streams import error_in
from nexus.client.typist import Typist
from nexus.errors import Busy, ConnectionLost, NexusError, NotController, NotFound, StdinClosed
from nexus.models.execution import Pty
from nexus.models.ids import TerminalId
from nexus.models.terminals import (
    AttachPoint,
    AttachRequest,
    Role,
    TerminalChanged,
    TerminalEvent,
    TerminalExited,
    TerminalGap,
    TerminalInfo,
    TerminalOutput,
    TerminalResized,
    check_size,
)
from nexus.wire.methods import terminals as methods
from nexus.wire.methods.execs import TerminalSize
from nexus.wire.methods.session import STREAM_FAILED
from nexus.wire.reading import read_result

Listener: TypeAlias = Callable[[Mapping[str, object]], None]


def terminal_size(size: Pty) -> TerminalSize:
    """Return a size as the wire has it."""
    return TerminalSize(rows=size.rows, cols=size.cols, term=size.term)


class RemoteTerminalSession:
    """Implements :class:`~nexus.abc.terminals.TerminalSession`. After a lost connection it looks again from where it was.

    Args:
        line: The connection.
        workspace: The workspace's id.
        terminal: The terminal.
        request: How to look at it.
    """

    def __init__(self, line: Line, workspace: str, terminal: TerminalId, request: AttachRequest) -> None:
        self._line = line
        self._workspace = workspace
        self._terminal = terminal
        self._request = request
        self._link: Link | None = None
        self._id = ""
        self._stream = 0
        self._found: methods.Attached | None = None
        self._role: Role = request.role
        self._info: TerminalInfo | None = None
        self._offset = 0
        self._arrived = Arrivals()
        self._exit_told = False
        self._over = False
        self._detached = False
        self._error: NexusError | None = None
        self._something = anyio.Event()
        self._turned = anyio.Event()
        """Set when it looks again, and when it never will."""
        self._typist = Typist(line, workspace, self._typing_place)

    async def begin(self) -> None:
        """Attach.

        Cancellation: nobody is attached.
        """
        try:
            await self._line.call(methods.ATTACH, self._params(self._request), on_result=self._begun, again=True)
        except BaseException:
            self._leave()
            raise

    def _params(self, request: AttachRequest) -> methods.Attach:
        return methods.Attach(
            workspace=self._workspace,
            terminal=self._terminal,
            since=request.since,
            role=request.role,
            replay=request.replay,
            takeover=request.takeover,
            size=None if request.size is None else terminal_size(request.size),
            client=request.client,
        )

    def _begun(self, found: methods.Attached) -> None:
        link = self._line.current
        if link is None:
            return
        if self._detached:  # while this was on its way
            link.post(methods.DETACH, methods.OfSession(workspace=self._workspace, session=found.session))
            return
        if self._found is None:
            self._found, self._offset, self._info = found, found.start, found.info
            self._arrived.begin(found)
        else:
            self._arrived.begin_again(found)
        self._role = found.role
        self._link, self._id, self._stream = link, found.session, found.stream
        link.wire.open_receiving(found.stream, found.start)
        link.sinks[found.stream] = self
        self._line.follow(self)
        for method, listener in self._listeners():
            self._line.listen(method, self._id, listener)
        self._line.listen(STREAM_FAILED.name, str(found.stream), self._failed)
        self._news()

    def _listeners(self) -> tuple[tuple[str, Listener], ...]:
        return (
            (methods.DID_RESIZE.name, self._resized),
            (methods.DID_CHANGE.name, self._changed),
            (methods.DID_SKIP.name, self._skipped),
            (methods.DID_EXIT.name, self._exited),
        )

    # What is known --------------------------------------------------------------------------------------------------

    @property
    def info(self) -> TerminalInfo:
        """The terminal as this session last heard of it."""
        if self._info is None:
            raise ConnectionLost("this session has not begun")
        return self._info

    @property
    def point(self) -> AttachPoint:
        """Where this attachment begins."""
        if self._found is None:
            raise ConnectionLost("this session has not begun")
        found = self._found
        return AttachPoint(
            start=found.start,
            oldest=found.oldest,
            newest=found.newest,
            gap=found.gap,
            prefix=base64.b64decode(found.prefix),
            resizes=found.resizes,
        )

    @property
    def role(self) -> Role:
        """``controller``, or ``viewer``: also after somebody else took over."""
        return self._role

    @property
    def offset(self) -> int:
        """Offset of the next byte: where to attach again."""
        return self._offset

    # Looking --------------------------------------------------------------------------------------------------------

    async def receive(self) -> TerminalEvent:
        """Return the next event. A cancelled call loses none.

        Raises:
            anyio.EndOfStream: After ``TerminalExited`` was returned, and after :meth:`detach`.
            TransportError: When the connection is lost for good; the terminal goes on.
        """
        while self._detached or not self._arrived:
            if self._detached or self._over:
                raise anyio.EndOfStream
            if self._error is not None:
                raise self._error
            self._something = anyio.Event()
            await self._something.wait()
        event = self._arrived.take()
        match event:
            case TerminalOutput(offset=offset, data=data):
                self._advance(offset + len(data))
            case TerminalGap(end=end):
                self._advance(end)
            case TerminalChanged(info=info):
                self._info = info
            case TerminalExited():
                self._close()
            case TerminalResized():
                pass
        return event

    def _advance(self, offset: int) -> None:
        self._offset = offset
        link = self._link
        if link is not None and not link.lost.is_set():
            link.wire.taken(self._stream, offset)
            link.flush()

    def data(self, stream: int, offset: int, data: bytes) -> None:
        """Bytes came."""
        if stream == self._stream:
            self._arrived.data(offset, data)
            self._something.set()

    def gap(self, stream: int, start: int, end: int) -> None:
        """Bytes are not given."""
        if stream == self._stream:
            self._arrived.gap(start, end)
            self._something.set()

    def end(self, stream: int, *, failed: bool) -> None:
        """Everything was given."""

    def reset(self, stream: int, code: str) -> None:  # noqa: ARG002 - which stream is clear
        """The daemon gave it up."""
        self.give_up(ConnectionLost(f"the daemon gave a terminal's stream up: {code}"))

    def room(self, stream: int, taken: int) -> None:
        """Nothing is sent on it."""

    def _resized(self, params: Mapping[str, object]) -> None:
        self._arrived.resize(read_result(methods.DidResize, params).mark)
        self._something.set()

    def _changed(self, params: Mapping[str, object]) -> None:
        told = read_result(methods.DidChange, params)
        self._role = told.role
        self._arrived.change(told.info)
        self._something.set()

    def _skipped(self, params: Mapping[str, object]) -> None:
        told = read_result(methods.DidSkip, params)
        self._arrived.skip(told.end, base64.b64decode(told.prefix))

    def _exited(self, params: Mapping[str, object]) -> None:
        self._arrived.exit(read_result(methods.DidExit, params).exit)
        self._something.set()
        self._exit_told = True
        self._forget()

    def _failed(self, params: Mapping[str, object]) -> None:
        self.give_up(error_in(params))

    # Acting ---------------------------------------------------------------------------------------------------------

    async def write(self, data: bytes) -> None:
        """Type; returns when the bytes are handed over. While the connection is made again, it waits for that; each byte is typed once.

        Raises:
            ConnectionLost: When the daemon itself was replaced before it was clear whether they were: look at the screen.
        """
        try:
            await self._typist.write(data)
        except NotFound:
            raise self._ended() from None

    async def _typing_place(self) -> tuple[Link, str]:
        while await self._looking():
            if self._link is not None:
                return self._link, self._id
        raise self._ended()

    async def resize(self, rows: int, cols: int) -> None:
        """Give the terminal another size."""
        check_size(rows, cols)
        while await self._looking():
            params = methods.Resize(workspace=self._workspace, session=self._id, rows=rows, cols=cols)
            link = self._link
            try:
                await self._line.call(methods.RESIZE, params)
            except NotFound:
                break
            except ConnectionLost:
                if link is None or not link.lost.is_set():
                    raise
            else:
                return
        raise self._finished()

    async def _looking(self) -> bool:
        """Return when this look is known on the connection that there is; ``False`` when the program has ended.

        Raises:
            NotController: When the end was told, or this session has detached.
            TransportError: When the connection is lost for good.
        """
        while not self._exit_told or self._over:
            if self._over or self._detached:
                raise self._finished()
            if self._error is not None:
                raise self._error
            if self._link is await self._line.link():
                return True
            await self._turned.wait()
        return False

    def _ended(self) -> StdinClosed:
        return StdinClosed("the terminal's program has ended")

    def _finished(self) -> NotController:
        return NotController(
            "this session at a terminal is over", hint="attach again", details={"terminal": self._terminal}
        )

    async def detach(self) -> int:
        """Look no longer; the program runs on. Twice is fine."""
        link, was = self._link, self._detached or self._over or self._error is not None
        self._leave()
        if not was and link is not None and not link.lost.is_set():  # the look ends with its connection
            params = methods.OfSession(workspace=self._workspace, session=self._id)
            with contextlib.suppress(NotFound, ConnectionLost):  # then it is over already
                await link.call(methods.DETACH, params)
        await anyio.lowlevel.checkpoint()
        return self._offset

    def _leave(self) -> None:
        """Take nothing more, whatever is on its way."""
        self._detached = True
        self._close()

    def _close(self) -> None:
        self._over = True
        self._forget()
        self._news()
        if self._link is not None:
            self._link.sinks.pop(self._stream, None)
            self._link.wire.forget(self._stream)

    def _news(self) -> None:
        self._something.set()
        turned, self._turned = self._turned, anyio.Event()
        turned.set()

    def _forget(self) -> None:
        self._line.unfollow(self)
        self._unlisten()

    def _unlisten(self) -> None:
        for method, _ in self._listeners():
            self._line.unlisten(method, self._id)
        self._line.unlisten(STREAM_FAILED.name, str(self._stream))

    # The connection -------------------------------------------------------------------------------------------------

    async def resume(self, link: Link, *, same_session: bool) -> None:  # noqa: ARG002 - terminals outlive sessions
        """Look again from where it was. Who controlled does so again, unless somebody else does by now: then it looks on."""
        self._unlisten()
        holder = self._info.controller if self._info is not None else None
        try:
            await self._again(link, self._role, takeover=False)
        except Busy as busy:
            mine = busy.details.get("holder") == holder  # the look that was lost, which the daemon has not missed yet
            await self._again(link, "controller" if mine else "viewer", takeover=mine)

    async def _again(self, link: Link, role: Role, *, takeover: bool) -> None:
        request = AttachRequest(since=self._arrived.received, role=role, takeover=takeover, client=self._request.client)
        await link.call(methods.ATTACH, self._params(request), on_result=self._begun)

    def give_up(self, error: NexusError) -> None:
        """There will be no other connection."""
        if self._error is None:
            self._error = error
        self._news()
