"""What a script prints, on its way to the log, the events and the progress line: without the values of secrets, bounded in memory."""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol

from nexus.abc import ProgressCallback
from nexus.models.execution import Output, Stream
from nexus.models.hooks import HookName
from nexus.state import HookLog
from nexus.workspace.lines import LineSplitter

LAST_LINES: Final = 12
"""Lines of its output that an error shows."""
_LONGEST_LINE: Final = 500
_SHORTEST_SECRET: Final = 4
_HIDDEN: Final = b"***"


class OutputFilter(Protocol):
    """Takes the values of secrets out of one stream of bytes."""

    def feed(self, data: bytes) -> bytes:
        """Take the next piece and return what is certain by now."""

    def finish(self) -> bytes:
        """Return what was held back: the stream has ended."""


class Masking:
    """Replaces values by ``***``, wherever the stream is cut. Values of fewer than four bytes occur by chance and stay.

    Args:
        values: The secrets.
    """

    def __init__(self, values: Iterable[str]) -> None:
        encoded = {value.encode("utf-8", "surrogateescape") for value in values}
        self._values = sorted((value for value in encoded if len(value) >= _SHORTEST_SECRET), key=len, reverse=True)
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Take the next piece and return what is certain by now."""
        if not self._values:
            return data
        text = self._mask(self._held + data)
        keep = max(map(len, self._values)) - 1
        cut = max(0, len(text) - keep)
        self._held = text[cut:]
        return text[:cut]

    def finish(self) -> bytes:
        """Return what was held back: the stream has ended."""
        held, self._held = self._held, b""
        return held

    def _mask(self, text: bytes) -> bytes:
        for value in self._values:
            text = text.replace(value, _HIDDEN)
        return text


def output_filter(secrets: Mapping[str, str]) -> OutputFilter:
    """Return what takes these variables' values out of a stream. The one place where output that is kept is cleaned."""
    return Masking(secrets.values())


class HookRecorder:
    """Hands on what one script prints.

    Args:
        name: Which.
        log: Where it is kept.
        secrets: Variables whose values are not.
        report: Told the last line.
        publish: Told each piece, as text.
    """

    def __init__(
        self,
        name: HookName,
        log: HookLog,
        secrets: Mapping[str, str],
        *,
        report: ProgressCallback,
        publish: Callable[[Stream, str], None],
    ) -> None:
        self._name = name
        self._log = log
        self._report = report
        self._publish = publish
        self._filters = {stream: output_filter(secrets) for stream in Stream}
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
