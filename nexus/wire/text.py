"""Text that need not be Unicode, as JSON that every implementation can read.

A file's name is bytes. Python shows those that are no UTF-8 as lone surrogates, which much of the world refuses to decode: one hostile
name would make a whole listing unreadable. So byte ``0xNN`` from 0x80 on, where it is no part of valid UTF-8, is the character
U+F7NN (private use) on the wire; a character of that range in the name itself is written as its three bytes. That is reversible.
"""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, PlainSerializer

_BASE: Final = 0xF700
_FIRST: Final = 0xF780
_LAST: Final = 0xF7FF
_SURROGATE: Final = 0xDC00
# Compiled on first use: nearly all text is ASCII.
_TO_ESCAPE: Final = "[\udc80-\udcff\uf780-\uf7ff]"
_ESCAPED: Final = "[\uf780-\uf7ff]"
_UNPAIRED: Final = "[\ud800-\udfff]"


def to_wire(text: str) -> str:
    """Return text, in which bytes may be lone surrogates, as the wire has it. Other lone surrogates become U+FFFD."""
    if text.isascii():
        return text
    return re.sub(_UNPAIRED, "\ufffd", re.sub(_TO_ESCAPE, _escape, text))


def from_wire(text: str) -> str:
    """Return what :func:`to_wire` was given."""
    if text.isascii() or not re.search(_ESCAPED, text):
        return text
    raw = b"".join(_raw(part) for part in re.split(f"({_ESCAPED})", text))
    return raw.decode("utf-8", "surrogateescape")


def _escape(found: re.Match[str]) -> str:
    return "".join(chr(_BASE + byte) for byte in found[0].encode("utf-8", "surrogateescape"))


def _raw(part: str) -> bytes:
    if len(part) == 1 and _FIRST <= ord(part) <= _LAST:
        return bytes([ord(part) - _BASE])
    return part.encode("utf-8")


WireText = Annotated[
    str, AfterValidator(from_wire), PlainSerializer(to_wire, return_type=str, when_used="json-unless-none")
]
"""Text that may hold bytes that are no UTF-8: a path, an argument, a variable."""
