"""What a program has switched on about its terminal, so that a client that comes later can be brought into the same state. Pure."""

from __future__ import annotations

import re
from typing import Final

from nexus.models.terminals import SOFT_RESET

_PRIVATE: Final = re.compile(rb"\x1b\[\?([0-9;]{1,64})([hl])")
_CUT: Final = re.compile(rb"\x1b(?:\[(?:\?[0-9;]{0,64})?)?\Z")
_KNOWN: Final = (1049, 1047, 47, 1, 7, 25, 66, 1000, 1002, 1003, 1004, 1005, 1006, 1015, 2004)
"""Alternate screens, cursor keys, wrap, cursor, keypad, mouse, focus, bracketed paste; in the order in which they are set again."""
_ON_AT_FIRST: Final = frozenset({7, 25})
_RESETS: Final = (b"\x1b[!p", b"\x1bc")


class ScreenModes:
    """Follows a stream and remembers, for each mode, how it is set and since which offset."""

    def __init__(self) -> None:
        self._held = b""
        self._set: dict[int, tuple[bool, int]] = {}

    def feed(self, data: bytes, offset: int) -> None:
        """Take the next piece, whose first byte has this offset."""
        whole, base = self._held + data, offset - len(self._held)
        for found in _PRIVATE.finditer(whole):
            for number in found[1].split(b";"):
                mode = int(number or b"0")
                if mode in _KNOWN:
                    self._set[mode] = (found[2] == b"h", base + found.end())
        last = max((whole.rfind(reset) for reset in _RESETS), default=-1)
        if last >= 0:  # everything before it was switched off
            self._set = {mode: known for mode, known in self._set.items() if known[1] > base + last}
        cut = _CUT.search(whole[-80:])
        self._held = cut[0] if cut else b""

    def clear(self) -> None:
        """Forget everything: another program begins, after a reset."""
        self._held, self._set = b"", {}

    def prefix(self, start: int) -> bytes:
        """Return what brings a screen of any state to where what follows ``start`` can be shown.

        Modes that are switched after ``start`` are left out: what follows switches them itself.
        """
        settings = [
            b"\x1b[?%d%s" % (mode, b"h" if on else b"l")
            for mode in _KNOWN
            if mode in self._set
            for on, since in [self._set[mode]]
            if since <= start and on is not (mode in _ON_AT_FIRST)
        ]
        return SOFT_RESET + b"".join(settings)
