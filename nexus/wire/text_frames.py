"""Frames of streams as notifications, for clients that cannot send or take binary messages. Slower: use it where there is no other way."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from pydantic import ValidationError

from nexus.errors import ProtocolError
from nexus.wire.frames import Flag, Frame, Kind, decode
from nexus.wire.messages import Notification, serialise
from nexus.wire.methods.streams import DATA, END, RESET, WINDOW, StreamEnd, StreamOver, StreamPiece, StreamWindow
from nexus.wire.methods.table import Notice, Params

P = TypeVar("P", bound=Params)


def said(frame: Frame) -> str:
    """Return a frame as a text message."""
    match frame.kind:
        case Kind.DATA:
            data = base64.b64encode(frame.payload).decode()
            return _text(DATA, StreamPiece(stream=frame.stream, offset=frame.offset, data=data))
        case Kind.END:
            failed = bool(frame.flags & Flag.FAILED)
            return _text(END, StreamEnd(stream=frame.stream, offset=frame.offset, failed=failed))
        case Kind.WINDOW:
            return _text(WINDOW, StreamWindow(stream=frame.stream, offset=frame.offset))
        case Kind.RESET:
            code = frame.payload.decode("utf-8", "replace")
            return _text(RESET, StreamOver(stream=frame.stream, offset=frame.offset, code=code))


def _text(notice: Notice[P], params: P) -> str:
    return serialise(Notification(notice.name, params.model_dump(mode="json", by_alias=True)))


def heard(method: str, params: Mapping[str, object], *, most: int) -> Frame | None:
    """Return the frame that a notification is; ``None`` for every other one.

    Args:
        method: The notification.
        params: Its parameters.
        most: Bytes of payload at most.

    Raises:
        ProtocolError: When it should be one and is none.
    """
    read = _READERS.get(method)
    if read is None:
        return None
    try:
        return decode(read(params).encode(), most=most)
    except (ValidationError, binascii.Error) as error:
        raise ProtocolError(f"{method} is no piece of a stream") from error


def _data(params: Mapping[str, object]) -> Frame:
    read = StreamPiece.model_validate(params, by_alias=True, by_name=False)
    payload = base64.b64decode(read.data, validate=True)
    return Frame(Kind.DATA, read.stream, read.offset, payload, Flag.NONE if payload else Flag.SKIP)


def _end(params: Mapping[str, object]) -> Frame:
    read = StreamEnd.model_validate(params, by_alias=True, by_name=False)
    return Frame(Kind.END, read.stream, read.offset, flags=Flag.FAILED if read.failed else Flag.NONE)


def _window(params: Mapping[str, object]) -> Frame:
    read = StreamWindow.model_validate(params, by_alias=True, by_name=False)
    return Frame(Kind.WINDOW, read.stream, read.offset)


def _reset(params: Mapping[str, object]) -> Frame:
    read = StreamOver.model_validate(params, by_alias=True, by_name=False)
    return Frame(Kind.RESET, read.stream, read.offset, read.code.encode()[:256])


_READERS: Final[Mapping[str, Callable[[Mapping[str, object]], Frame]]] = {
    DATA.name: _data,
    END.name: _end,
    WINDOW.name: _window,
    RESET.name: _reset,
}
