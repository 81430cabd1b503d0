"""A running command as its user holds it."""

from __future__ import annotations

import signal as signals
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Final, Literal, Self, overload

import anyio

from nexus.abc.provider import ProcessHandle
from nexus.errors import InvalidArgument, ProcessLost, StdinClosed
from nexus.handles.beside import beside
from nexus.handles.collect import DEFAULT_LIMIT
from nexus.handles.lines import StreamLines
from nexus.handles.reading import EventSource, Reader
from nexus.models.execution import ExecEvent, ExecResult, OutputLimit, SpawnRequest, Stream
from nexus.models.ids import ExecId

_PIECE: Final = 64 * 1024


class Process:
    """A command that was started, and everything it prints.

    ``async for event in process`` gives its events, ``Exited`` last; not taking them slows the command down, nothing is lost.
    One task reads at a time. Everything that is read, by whom ever, is also gathered for :meth:`wait`, within the limit.

    Args:
        handle: The provider's end of it.
        request: What was asked for.
        limit: How much output is gathered.
    """

    def __init__(self, handle: ProcessHandle, request: SpawnRequest, *, limit: OutputLimit = DEFAULT_LIMIT) -> None:
        self._source = EventSource(handle, request, limit)

    def __repr__(self) -> str:
        state = "running" if self._source.exited is None else f"exit_code={self.exit_code}"
        return f"<Process {self.exec_id} {self.argv[0]!r} {state}>"

    @property
    def exec_id(self) -> ExecId:
        """The command's id."""
        return self._source.handle.exec_id

    @property
    def argv(self) -> tuple[str, ...]:
        """The program and its arguments."""
        return self._source.request.argv

    @property
    def pid(self) -> int | None:
        """Its process id inside the workspace: known once the first event was read, and only where the backend tells."""
        return self._source.pid

    @property
    def exit_code(self) -> int | None:
        """Its status; ``None`` until ``Exited`` was read, and for ever when its end was not seen."""
        return self._source.exited.exit_code if self._source.exited else None

    def __aiter__(self) -> AsyncIterator[ExecEvent]:
        """Give the events that nobody has read yet; ``Exited`` is the last.

        Raises:
            Conflict: When another task is reading.
        """
        return _Events(self._source)

    @overload
    def lines(self, *, merge: Literal[True] = True) -> AsyncIterator[str]: ...
    @overload
    def lines(self, *, merge: Literal[False]) -> AsyncIterator[tuple[Stream, str]]: ...
    def lines(self, *, merge: bool = True) -> AsyncIterator[str] | AsyncIterator[tuple[Stream, str]]:
        r"""Give the output as complete lines of text, without ``\n`` or ``\r\n``; a last line that never ended comes at the end.

        A line of more than 1 Mi characters comes in pieces of that length. Bytes that are no UTF-8 become U+FFFD.

        Args:
            merge: Give the lines of both streams as they are completed; otherwise each together with its stream.

        Raises:
            Conflict: When another task is reading.
        """
        tagged = _TaggedLines(self._source)
        return _MergedLines(tagged) if merge else tagged

    async def write(self, data: bytes | str) -> None:
        """Write to standard input; text goes as UTF-8.

        Raises:
            StdinClosed: When the command no longer reads, or standard input was not asked for.

        Cancellation: a part of the data may have been written.
        """
        await _write(self._source.handle, data)

    async def write_eof(self) -> None:
        """Tell the command that its standard input has ended. Twice is fine."""
        await self._source.handle.close_stdin()

    async def signal(self, number: signals.Signals | int) -> None:
        """Send a signal to the command and all of its process group. One that has ended is fine.

        Raises:
            InvalidArgument: When there is no such signal.
        """
        if not 1 <= number < signals.NSIG:
            raise InvalidArgument(f"there is no signal {number}")
        await self._source.handle.signal(int(number))

    async def resize(self, rows: int, cols: int) -> None:
        """Tell the command's terminal its new size in character cells. Without a terminal: nothing.

        Raises:
            InvalidArgument: When a size is not between 1 and 65535.
        """
        if not (1 <= rows <= 0xFFFF and 1 <= cols <= 0xFFFF):
            raise InvalidArgument(f"a terminal cannot have {rows} rows and {cols} columns")
        await self._source.handle.resize(rows, cols)

    async def wait(self, limit: OutputLimit | None = None) -> ExecResult:
        """Wait for the end, reading what nobody else reads, and return everything since the start. Again: the same result.

        While another task iterates, that task goes on reading and this one waits.

        Args:
            limit: How much output the result keeps; what was dropped before under the process's own limit stays dropped.

        Returns:
            The result, whatever the status. ``exit_code`` is ``None`` when the command's end was not seen.

        Raises:
            OutputLimitExceeded: When the limit says ``raise``; the command has been ended.

        Cancellation: the command runs on, nothing is lost; wait again.
        """
        source = self._source
        if limit is not None:
            source.relimit(limit)
        await source.read_to_end(stop_when_exceeded=source.limit.on_exceed == "raise")
        return await source.conclude()

    async def terminate(self, grace: float = 5.0) -> ExecResult:
        """End the command: TERM for its process group, and KILL when it still runs after ``grace`` seconds.

        Its last output is read meanwhile, so that it can say goodbye.

        Cancellation: TERM has been sent, KILL may not; call again or :meth:`aclose`.
        """
        if self._source.exited is None:
            await self.signal(signals.SIGTERM)
            with anyio.move_on_after(grace):
                await self._source.read_to_end()
        if self._source.exited is None:
            await self.signal(signals.SIGKILL)
            await self._source.read_to_end()
        return self._source.result()

    async def aclose(self) -> None:
        """Let go of the command; when it still runs its group is ended: TERM, the request's ``grace``, KILL. Twice is fine.

        What the command prints while it is ended may be lost in part; :meth:`terminate` reads it all.

        Raises:
            CleanupError: When the provider could not do it in time.

        Cancellation: goes through with it all the same.
        """
        await self._source.let_go()


class _Events:
    def __init__(self, source: EventSource) -> None:
        self._reader = Reader(source)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ExecEvent:
        event = await self._reader.receive()
        if event is None:
            raise StopAsyncIteration
        return event


class _TaggedLines:
    # A class, not a generator: a loop that is left drops it at once, while a generator would stay until the loop's own cleanup.
    def __init__(self, source: EventSource) -> None:
        self._reader = Reader(source)
        self._lines = StreamLines()
        self._ready: deque[tuple[Stream, str]] = deque()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[Stream, str]:
        while not self._ready:
            event = await self._reader.receive()
            self._ready.extend(self._lines.flush() if event is None else self._lines.feed(event))
            if event is None and not self._ready:
                raise StopAsyncIteration
        return self._ready.popleft()


class _MergedLines:
    def __init__(self, tagged: _TaggedLines) -> None:
        self._tagged = tagged

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        return (await anext(self._tagged))[1]


async def run(
    handle: ProcessHandle,
    request: SpawnRequest,
    *,
    input: bytes | str | None = None,  # noqa: A002 - subprocess.run has taught everybody this name
    check: bool = False,
    on_event: Callable[[ExecEvent], None] | None = None,
    limit: OutputLimit = DEFAULT_LIMIT,
) -> ExecResult:
    """Take a command that was just started to its end.

    Args:
        handle: The command; the call ends it in every case.
        request: What was asked for; ``stdin`` has to be set for ``input``.
        input: Given to standard input, followed by end of file. A command that does not read it all is fine.
        check: Raise for a status other than zero.
        on_event: Called with each event as it comes; must return at once. What it raises ends the command and goes on.
        limit: How much output the result keeps.

    Raises:
        ExecTimeout: When the command was killed at its time limit; ``result`` holds the output until then.
        OutputLimitExceeded: When it printed more than a limit that says ``raise``; it was ended.
        ProcessLost: When the place it ran in went away.
        ExecFailed: With ``check``, for a status other than zero.

    Cancellation: the command's process group has been ended when the call returns.
    """
    source = EventSource(handle, request, limit)

    async def feed() -> None:
        if not request.stdin:
            return
        try:
            await _write(handle, input or b"")
            await handle.close_stdin()
        except StdinClosed:
            pass  # a command need not read what it is given, and its status says how it fared

    try:
        if input is not None and not request.stdin:
            raise InvalidArgument("input was given for a command that was started without standard input")
        stop = limit.on_exceed == "raise"
        await beside(lambda: source.read_to_end(on_event=on_event, stop_when_exceeded=stop), feed)
        result = await source.conclude()
    except BaseException as error:
        await source.let_go(error)
        raise
    await source.let_go()
    if source.exited is not None and source.exited.lost:
        raise ProcessLost(f"the place where {request.argv[0]} ran went away before it ended", result=result)
    if result.timed_out or check:
        result.check()
    return result


async def _write(handle: ProcessHandle, data: bytes | str) -> None:
    raw = data.encode() if isinstance(data, str) else data
    for start in range(0, len(raw), _PIECE):
        await handle.write(raw[start : start + _PIECE])
