"""One terminal in this process: what it printed, who looks at it, and the program in it, one after another when it is opened again."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import Final

import anyio

from nexus.abc import Clock, ProcessHandle
from nexus.errors import Busy, StdinClosed, WorkspaceStopped
from nexus.models.execution import Exited, Gap, Output, Pty, Started
from nexus.models.ids import TerminalId, WorkspaceId
from nexus.models.terminals import (
    AttachRequest,
    ResizeMark,
    TerminalExit,
    TerminalInfo,
    TerminalState,
    check_size,
)
from nexus.terminals.modes import ScreenModes
from nexus.terminals.replay import ResizeMarks
from nexus.terminals.scrollback import Scrollback
from nexus.terminals.session import Session
from nexus.terminals.titles import TitleReader

_WINDOW: Final = 256 * 1024
"""Bytes that a controller may be behind before the program has to wait for it."""
PATIENCE: Final = 30.0
"""Seconds for which the program waits for a controller that does not read."""
_OPENING: Final = 5.0
"""Seconds for which a new terminal's program waits for whoever opened it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a terminal was opened with."""

    id: TerminalId
    workspace: WorkspaceId
    argv: tuple[str, ...]
    user: str | None
    opened_in: str | None
    scrollback: int
    keep_alive: float
    created_at: datetime
    env: dict[str, str] = dataclasses.field(default_factory=dict, repr=False)
    rerun: bool = False


class Terminal:
    """A terminal that this process serves. Everything but :meth:`read` and what writes returns at once.

    Args:
        plan: What it was opened with.
        name: What its user calls it.
        size: Its size now.
        kept: What it showed before.
        clock: Says when somebody types.
    """

    def __init__(self, plan: Plan, *, name: str, size: Pty, kept: Scrollback, clock: Clock) -> None:
        self.plan = plan
        self.kept = kept
        self.marks = ResizeMarks(ResizeMark(at_offset=kept.oldest, rows=size.rows, cols=size.cols))
        self.state = TerminalState.KEPT
        self.exit: TerminalExit | None = None
        self.ended_at: datetime | None = None
        self.cwd: str | None = plan.opened_in
        self.title = ""
        self.pid: int | None = None
        self.restored: str | None = None
        self.survives = False
        self.base = kept.newest
        """Offset of the present program's first byte."""
        self.handle: ProcessHandle | None = None
        self.closed = False
        """Whether this process serves it no longer."""
        self.stopping = False
        """Whether its workspace is being stopped, so that its program's end is not its own."""
        self.forgotten = False
        """Whether it is never to be written down again."""
        self.saving = anyio.Lock()
        """Held while it is written down or forgotten, so that neither overtakes the other."""
        self.leftover = False
        """Whether an earlier program of it may still run that nobody can join."""
        self.version = 0
        self.news = anyio.Event()
        self.patience = PATIENCE
        self._rest: Output | None = None
        """What has come and is not shown yet."""
        self._expecting = False
        """Whether whoever opened it is expected to look."""
        self._name = name
        self._term = size.term
        self._clock = clock
        self._sessions: list[Session] = []
        self._controller: Session | None = None
        self._typed_at: datetime | None = None
        self.modes = ScreenModes()
        self.modes.feed(kept.read(kept.oldest)[1], kept.oldest)
        self._titles = TitleReader()
        self._moved = anyio.Event()
        self._writing = anyio.Lock()
        self._resizing = anyio.Lock()
        self._wanted = (size.rows, size.cols)

    # What it is -----------------------------------------------------------------------------------------------------

    @property
    def id(self) -> TerminalId:
        """Its id."""
        return self.plan.id

    @property
    def size(self) -> Pty:
        """Its size now."""
        return Pty(rows=self.marks.current.rows, cols=self.marks.current.cols, term=self._term)

    @property
    def watched(self) -> bool:
        """Whether anybody is attached."""
        return bool(self._sessions)

    @property
    def info(self) -> TerminalInfo:
        """What is known of it now."""
        plan = self.plan
        return TerminalInfo(
            id=plan.id,
            workspace=plan.workspace,
            name=self._name,
            state=self.state,
            argv=plan.argv,
            cwd=self.cwd,
            user=plan.user,
            title=self.title,
            size=self.size,
            pid=self.pid,
            controller=self._controller.client if self._controller else None,
            viewers=len(self._sessions) - (self._controller is not None),
            created_at=plan.created_at,
            last_input_at=self._typed_at,
            exit=self.exit,
            oldest=self.kept.oldest,
            newest=self.kept.newest,
            scrollback=plan.scrollback,
            keep_alive=plan.keep_alive,
            restored=self.restored,
            survives=self.survives,
        )

    def changed(self) -> None:
        """Tell everybody that something about it is different."""
        self.version += 1
        self.tell()

    def tell(self) -> None:
        """Wake everybody who waits for something to happen."""
        news, self.news = self.news, anyio.Event()
        news.set()

    def call(self, name: str) -> None:
        """Give it another name."""
        self._name = name
        self.changed()

    def locate(self, cwd: str | None) -> None:
        """Note the folder that its program is in."""
        if cwd is not None and cwd != self.cwd:
            self.cwd = cwd
            self.changed()

    # Its program ----------------------------------------------------------------------------------------------------

    def begin(self, handle: ProcessHandle, *, survives: bool, base: int | None = None) -> None:
        """Have a program in it. What it prints comes by :meth:`read`.

        Args:
            handle: The program.
            survives: Whether it can outlive this process.
            base: Offset of its first byte; here and now when absent.
        """
        self.handle, self.survives, self._rest = handle, survives, None
        self.base = self.kept.newest if base is None else base
        self.state, self.exit, self.ended_at, self.pid = TerminalState.RUNNING, None, None, None
        self.stopping = self.leftover = False
        self._titles = TitleReader()
        self.changed()

    async def read(self) -> Exited:
        """Take what the program prints, until it has ended; its end is told to nobody yet.

        Cancellation: nothing is lost; read again.
        """
        handle = self.handle
        assert handle is not None  # noqa: S101 - read by whoever has begun it
        while True:
            await self._room()
            rest, self._rest = self._rest, None
            event = rest or await handle.receive()
            match event:
                case Started(pid=pid):
                    self.pid = pid
                    self.changed()
                case Output(stream=stream, offset=offset, data=data):
                    most = max(
                        1, min(_WINDOW // 2, self.kept.capacity // 2)
                    )  # no more than fits beside what waits already
                    if len(data) > most:
                        self._rest = Output(stream=stream, offset=offset + most, data=data[most:])
                    self.show(data[:most], at=self.base + offset)
                case Gap(end=end):
                    self.kept.skip_to(max(self.kept.newest, self.base + end))
                    self.tell()
                case Exited():
                    return event

    def show(self, data: bytes, *, at: int | None = None) -> None:
        """Take bytes that were printed.

        Args:
            data: The bytes.
            at: Their offset, where that is known better: what is known already of them is left out.
        """
        if at is not None:
            data = data[max(0, self.kept.newest - at) :]
        self.modes.feed(data, self.kept.newest)
        self.kept.append(data)
        self.marks.drop_before(self.kept.oldest)
        told = self._titles.feed(data)
        title, cwd = (told.title if told.title is not None else self.title), told.cwd or self.cwd
        if (title, cwd) != (self.title, self.cwd):
            self.title, self.cwd = title, cwd
            self.version += 1
        self.tell()

    def end(self, state: TerminalState, how: TerminalExit | None) -> None:
        """Note that no program runs in it any more."""
        self.state, self.exit, self.handle, self.pid = state, how, None, None
        self.ended_at = self._clock.now()
        self.changed()

    def close(self) -> None:
        """Serve nobody any more: those that are attached come to the end of what there is."""
        self.closed = True
        self.tell()

    # Who looks ------------------------------------------------------------------------------------------------------

    def attach(self, request: AttachRequest) -> Session:
        """Let somebody look.

        Raises:
            Busy: When somebody else is the controller, and is not to be taken over from.
        """
        if request.role == "controller" and self._controller is not None:
            if not request.takeover:
                raise Busy(
                    f"terminal {self._name} has a controller already: {self._controller.client}",
                    hint="look on as a viewer, or take over",
                    details={"terminal": self.id, "holder": self._controller.client},
                )
            self._controller.role = "viewer"
            self._controller = None
        session = Session(self, request)
        self._sessions.append(session)
        self._expecting = False
        if request.role == "controller":
            self._controller = session
        self._let_go_on()
        self.changed()
        session.admitted()
        return session

    def leave(self, session: Session) -> None:
        """Let somebody go."""
        if session in self._sessions:
            self._sessions.remove(session)
            if self._controller is session:
                self._controller = None
            self._let_go_on()
            self.changed()

    def advanced(self, session: Session) -> None:
        """Note that somebody has read on."""
        if session is self._controller:
            self._let_go_on()

    def _let_go_on(self) -> None:
        moved, self._moved = self._moved, anyio.Event()
        moved.set()

    def expect(self) -> None:
        """Have the program wait for somebody to look, for a while: whoever opens a terminal sees it from the first byte on."""
        self._expecting = True

    def _behind(self) -> bool:
        controller = self._controller
        if controller is None:
            waited_for = self.base if self._expecting else self.kept.newest
        else:
            waited_for = self.kept.newest if controller.slow else controller.offset
        return self.kept.newest - waited_for > min(_WINDOW, max(1, self.kept.capacity // 2))

    async def _room(self) -> None:
        """Wait for a controller that is behind: for a while, so that one that hangs does not hold up the program for ever."""
        while self._behind():
            expecting = self._expecting
            with anyio.move_on_after(min(_OPENING, self.patience) if expecting else self.patience):
                while self._behind() and self._expecting is expecting:
                    await self._moved.wait()
                continue
            self._expecting = False
            if self._controller is not None:
                self._controller.slow = True

    # What is done to it ---------------------------------------------------------------------------------------------

    async def write(self, data: bytes) -> None:
        """Type.

        Raises:
            StdinClosed: When the program has ended.
            WorkspaceStopped: When it is only kept.
        """
        async with self._writing:
            await self._running().write(data)
        now = self._clock.now()
        self._typed_at = now

    async def resize(self, rows: int, cols: int) -> None:
        """Give it another size. Of many at once the last one is what counts; those in between need not be seen by the program.

        Raises:
            InvalidArgument: When a number is not between 1 and 65535.
        """
        check_size(rows, cols)
        self._wanted = (rows, cols)
        async with self._resizing:
            wanted = self._wanted
            if wanted == (self.marks.current.rows, self.marks.current.cols):
                return
            if self.handle is not None:
                await self.handle.resize(*wanted)
            mark = ResizeMark(at_offset=self.kept.newest, rows=wanted[0], cols=wanted[1])
            if self.marks.add(mark):
                self.changed()

    def _running(self) -> ProcessHandle:
        if self.handle is not None:
            return self.handle
        if self.state is TerminalState.EXITED:
            raise StdinClosed(f"the program in terminal {self._name} has ended")
        raise WorkspaceStopped(
            f"no program runs in terminal {self._name}: its workspace was stopped", hint="start the workspace"
        )
