"""What a script prints, on its way to the log, the events and the progress line: without the values of secrets, bounded in memory."""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Callable
from typing import Final

from nexus.abc import ProgressCallback
from nexus.handles.lines import LineSplitter
from nexus.models.execution import Output, Stream
from nexus.models.hooks import HookName
from nexus.secrets import Redactor
from nexus.state import HookLog

LAST_LINES: Final = 12
"""Lines of its output that an error shows."""
_LONGEST_LINE: Final = 500


class HookRecorder:
    """Hands on what one script prints.

    Args:
        name: Which.
        log: Where it is kept.
        redactor: Takes the values of secrets out.
        report: Told the last line.
        publish: Told each piece, as text.
    """

    def __init__(
        self,
        name: HookName,
        log: HookLog,
        redactor: Redactor,
        *,
        report: ProgressCallback,
        publish: Callable[[Stream, str], None],
    ) -> None:
        self._name = name
        self._log = log
        self._report = report
        self._publish = publish
        self._filters = {stream: redactor.another() for stream in Stream}
        self._decoders = {stream: codecs.getincrementaldecoder("utf-8")("replace") for stream in Stream}
        self._splitters = {stream: LineSplitter() for stream in Stream}
        self._tail: deque[str] = deque(maxlen=LAST_LINES)

    @property
    def tail(self) -> tuple[str, ...]:
        """The last lines."""
        return tuple(self._tail)

    def take(self, event: Output) -> None:
        """Hand on a piece."""
        self._hand_on(event.stream, self._filters[event.stream].feed(event.data))

    def finish(self) -> None:
        """Hand on what was held back."""
        for stream in Stream:
            self._hand_on(stream, self._filters[stream].finish(), final=True)

    def _hand_on(self, stream: Stream, data: bytes, *, final: bool = False) -> None:
        if data:
            self._log.put(data)
        text = self._decoders[stream].decode(data, final=final)
        if text:
            self._publish(stream, text)
        lines = self._splitters[stream].feed(data) + (self._splitters[stream].flush() if final else [])
        shown = [line[:_LONGEST_LINE] for line in lines if line.strip()]
        self._tail.extend(shown)
        if shown:
            self._report(self._name, shown[-1])
