r"""What git does to content between repository and tree, as far as no program is needed for it: line ends and ``$Id$``.

``smudge`` is the way out (repository to tree), ``clean`` the way back. The rules are git's (``convert.c``): the ``text``,
``crlf`` and ``eol`` attributes decide, ``core.autocrlf`` and ``core.eol`` where they are silent; with ``auto`` content that looks
binary, or that already holds a carriage return, is left alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final, NamedTuple, TypeAlias

from dulwich.config import Config

Value: TypeAlias = "bytes | bool"
"""An attribute's value: set, unset, or a string."""

_BARE_LF: Final = re.compile(rb"(?<!\r)\n")
_ID: Final = re.compile(rb"\$Id(?::[^$\n]*)?\$")
_PRINTABLE_CONTROLS: Final = b"\b\t\x1b\x0c"
_PRINTABLE: Final = bytes(range(32, 127)) + bytes(range(128, 256)) + _PRINTABLE_CONTROLS
_END_OF_FILE: Final = b"\x1a"


class Eol(Enum):
    """What happens to line ends."""

    NONE = "none"
    INPUT = "input"
    """CRLF becomes LF on the way in."""
    CRLF = "crlf"
    """Also, LF becomes CRLF on the way out."""


class EolSettings(NamedTuple):
    """What the configuration says about line ends."""

    autocrlf: bytes = b"false"
    eol_is_crlf: bool = False

    @classmethod
    def read(cls, config: Config) -> EolSettings:
        """Read ``core.autocrlf`` and ``core.eol``."""
        autocrlf = _get(config, b"autocrlf", b"false").lower()
        if autocrlf != b"input":
            autocrlf = b"true" if autocrlf in {b"true", b"yes", b"on", b"1", b""} else b"false"
        eol = _get(config, b"eol", b"native").lower()
        crlf = eol == b"crlf" or (eol == b"native" and os.linesep == "\r\n")
        return cls(autocrlf, autocrlf == b"true" or (crlf and autocrlf != b"input"))


class Conversion(NamedTuple):
    """What happens to one path's content."""

    eol: Eol = Eol.NONE
    auto: bool = False
    """Whether content that looks binary is left alone."""
    ident: bool = False
    program: str | None = None
    """What would be needed beyond this module: a filter program or another text encoding. It is never run."""


PLAIN: Final = Conversion()


def conversion_for(attributes: Mapping[bytes, Value], settings: EolSettings) -> Conversion:
    """Return what git would do to a path with these attributes."""
    eol, auto = _eol(attributes, settings)
    ident = attributes.get(b"ident") is True
    program = None
    driver = attributes.get(b"filter")
    encoding = attributes.get(b"working-tree-encoding")
    if isinstance(driver, bytes):
        program = f"the filter {driver.decode('utf-8', 'backslashreplace')!r}"
    elif isinstance(encoding, bytes) and encoding.upper() not in {b"UTF-8", b"UTF8"}:
        program = f"the encoding {encoding.decode('utf-8', 'backslashreplace')!r}"
    return PLAIN if (eol, ident, program) == (Eol.NONE, False, None) else Conversion(eol, auto, ident, program)


def _eol(attributes: Mapping[bytes, Value], settings: EolSettings) -> tuple[Eol, bool]:
    text = attributes.get(b"text")
    if text not in {True, False, b"auto", b"input"}:
        text = attributes.get(b"crlf")
    if text is False:
        return Eol.NONE, False
    auto = text == b"auto"
    eol = attributes.get(b"eol")
    if eol in {b"lf", b"crlf"}:
        # An `eol` without `text` counts as `text`.
        return (Eol.CRLF if eol == b"crlf" else Eol.INPUT), auto
    if text == b"input":
        return Eol.INPUT, False
    if text is True or auto:
        return (Eol.CRLF if settings.eol_is_crlf else Eol.INPUT), auto
    if settings.autocrlf == b"false":
        return Eol.NONE, False
    return (Eol.CRLF if settings.autocrlf == b"true" else Eol.INPUT), True


def smudge(content: bytes, how: Conversion, sha: bytes) -> bytes:
    """Return content as it is written to the tree.

    Args:
        content: The object's content.
        how: What happens to the path.
        sha: The object's raw id, for ``$Id$``.
    """
    if how.ident and b"$Id" in content:
        content = _ID.sub(b"$Id: %s $" % sha.hex().encode(), content)
    if how.eol is not Eol.CRLF or b"\n" not in content:
        return content
    if how.auto and (b"\r" in content or looks_binary(content)):
        return content
    return _BARE_LF.sub(b"\r\n", content)


def clean(content: bytes, how: Conversion, committed: Callable[[], bytes | None]) -> bytes:
    """Return content as it would be stored.

    Args:
        content: The file's content.
        how: What happens to the path.
        committed: Gives what the index holds for the path; asked only when it matters. Content that was once stored with CRLF keeps it.
    """
    if how.eol is not Eol.NONE and b"\r\n" in content and not (how.auto and _stays(content, committed)):
        content = content.replace(b"\r\n", b"\n")
    if how.ident and b"$Id" in content:
        content = _ID.sub(b"$Id$", content)
    return content


def _stays(content: bytes, committed: Callable[[], bytes | None]) -> bool:
    if looks_binary(content):
        return True
    stored = committed()
    return stored is not None and b"\r\n" in stored and not looks_binary(stored)


def looks_binary(content: bytes) -> bool:
    """Return git's guess: a lone CR, a NUL, or more than one unprintable byte in 128 printable ones."""
    if b"\0" in content or content.count(b"\r") != content.count(b"\r\n"):
        return True
    others = content.translate(None, _PRINTABLE)
    line_ends = others.count(b"\n") + others.count(b"\r")
    unprintable = len(others) - line_ends
    if content.endswith(_END_OF_FILE):
        unprintable -= 1
    return (len(content) - len(others)) >> 7 < unprintable


def _get(config: Config, name: bytes, default: bytes) -> bytes:
    try:
        return config.get((b"core",), name)
    except KeyError:
        return default
