r"""What a program says about its terminal: its title (``OSC 0`` and ``OSC 2``) and its folder (``OSC 7``). Pure.

``ESC ] number ; text`` ended by ``BEL`` or ``ESC \``. The text is whatever a program inside likes to send, so it is bounded, decoded with
care and stripped of everything that does not show.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

LONGEST: Final = 4096
"""Bytes of a text; a longer one is passed over."""
LONGEST_TITLE: Final = 256
"""Characters of a title that are kept."""

_BEGIN: Final = b"\x1b]"
_END: Final = re.compile(rb"[\x07\x18\x1a\x1b]")
_TITLES: Final = frozenset({b"0", b"2"})
_FOLDER: Final = b"7"


class Told(NamedTuple):
    """What was said; ``None`` where nothing was."""

    title: str | None = None
    cwd: str | None = None


class TitleReader:
    """Reads a stream, however it is cut, and keeps no more of it than one text of :data:`LONGEST` bytes."""

    def __init__(self) -> None:
        self._held = b""
        """The beginning of a sequence that is not complete: a lone ``ESC``, or from ``ESC ]`` on."""
        self._skipping = False
        """Whether the sequence that is on its way is too long: its end is still to be found."""

    def feed(self, data: bytes) -> Told:
        """Take the next piece and return what was said last in it."""
        told = Told()
        data, self._held = self._held + data, b""
        at = 0
        while True:
            if not self._skipping:
                at = data.find(_BEGIN, at)
                if at < 0:
                    self._held = b"\x1b" if data.endswith(b"\x1b") else b""
                    return told
                begin = at + len(_BEGIN)
            else:
                begin = at
            end = _END.search(data, begin)
            if end is None or (end[0] == b"\x1b" and end.end() == len(data)):
                self._hold(data[at:])
                return told
            closed = end[0] == b"\x07" or data[end.start() : end.start() + 2] == b"\x1b\\"
            if closed and not self._skipping and end.start() - begin <= LONGEST:
                told = _add(told, data[begin : end.start()])
            self._skipping = False
            # An ESC that ends nothing may begin something.
            at = end.end() if closed or end[0] != b"\x1b" else end.start()

    def _hold(self, rest: bytes) -> None:
        if self._skipping or len(rest) > LONGEST + len(_BEGIN) + 1:
            self._skipping = True
            rest = b"\x1b" if rest.endswith(b"\x1b") else b""
        self._held = rest


def clean_title(data: bytes) -> str:
    """Return text that may be shown anywhere: no control characters, nothing that turns its direction, and not long."""
    text = data.decode("utf-8", "replace")
    return "".join(character for character in text if character.isprintable())[:LONGEST_TITLE].strip()


def folder_of(data: bytes) -> str | None:
    """Return the folder that a ``file:`` address names; ``None`` when it names none."""
    if not data.startswith(b"file://"):
        return None
    slash = data.find(b"/", len(b"file://"))
    path = unquote_to_bytes(data[slash:]) if slash >= 0 else b""
    try:
        text = path.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if text and all(character.isprintable() for character in text) else None


def _add(told: Told, text: bytes) -> Told:
    number, separator, rest = text.partition(b";")
    if not separator:
        return told
    if number in _TITLES:
        return told._replace(title=clean_title(rest))
    folder = folder_of(rest) if number == _FOLDER else None
    return told if folder is None else told._replace(cwd=folder)
