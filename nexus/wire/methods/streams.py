"""Pieces of streams as notifications, for clients that cannot send or take binary messages."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from nexus.wire.frames import MAX_STREAM
from nexus.wire.limits import MAX_SAFE_INTEGER
from nexus.wire.methods.table import Notice, Params

_Offset = Annotated[int, Field(ge=0, le=MAX_SAFE_INTEGER)]


class OfStream(Params):
    """A stream, and a place in it."""

    stream: Annotated[int, Field(ge=0, le=MAX_STREAM)]
    offset: _Offset = 0


class StreamPiece(OfStream):
    """Bytes at their offset; none: what lies before the offset is lost."""

    data: str = ""
    """Base64."""


class StreamEnd(OfStream):
    """The stream ends here; `offset` is its length."""

    failed: bool = False
    """Whether `stream.failed` has said why."""


class StreamWindow(OfStream):
    """Everything before `offset` was taken; one window more may follow. On stream 0 for the connection as a whole."""


class StreamOver(OfStream):
    """The stream is given up."""

    code: str


DATA: Final = Notice("stream.data", StreamPiece, "`DATA` for clients without binary messages; goes both ways.")
END: Final = Notice("stream.end", StreamEnd, "`END` for clients without binary messages; goes both ways.")
WINDOW: Final = Notice("stream.window", StreamWindow, "`WINDOW` for clients without binary messages; goes both ways.")
RESET: Final = Notice("stream.reset", StreamOver, "`RESET` for clients without binary messages; goes both ways.")
NOTICES: Final = (DATA, END, WINDOW, RESET)
