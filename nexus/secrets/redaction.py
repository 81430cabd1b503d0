"""Taking the values of secrets out of what is kept or shown: as they are, and as programs commonly write them down."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from typing import Final, Self
from urllib.parse import quote, quote_plus

from pydantic import SecretStr

from nexus.masking import Masker, mask_text

SHORTEST: Final = 4
"""Values with fewer characters are not redacted: they occur in any text by chance, and masking them would tell them."""
_SHORTEST_LINE: Final = 8
_SHORTEST_ENCODED: Final = 6


def spellings(value: str) -> frozenset[str]:
    """Return the ways in which a value is looked for.

    As it is; in JSON; in a URL; in base64, both alphabets, at each of the three places in a group of bytes that it may begin at;
    as a Python literal; and, when it has more than one line, as a terminal shows it and each of its longer lines alone.

    Args:
        value: The value; one that is too short has no spellings.
    """
    if len(value) < SHORTEST:
        return frozenset()
    found = {value, *_quoted(value), *_base64(value)}
    lines = value.splitlines()
    if len(lines) > 1:
        found.add("\r\n".join(lines))
        found.update(line for line in map(str.strip, lines) if len(line) >= _SHORTEST_LINE)
        stripped = value.strip("\r\n")
        if len(stripped) >= SHORTEST:
            found.add(stripped)
    return frozenset(found)


def _quoted(value: str) -> Iterator[str]:
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield repr(value)[1:-1]
    data = value.encode("utf-8", "surrogateescape") if _escapable(value) else value.encode("utf-8", "surrogatepass")
    for written in (quote(data), quote(data, safe=""), quote_plus(data)):
        yield written
        yield _lower_hex(written)


def _lower_hex(written: str) -> str:
    head, *rest = written.split("%")
    return "%".join((head, *(part[:2].lower() + part[2:] for part in rest)))


def _base64(value: str) -> Iterator[str]:
    data = value.encode("utf-8", "surrogateescape") if _escapable(value) else value.encode("utf-8", "surrogatepass")
    for before in range(3):
        written = base64.b64encode(b"\0" * before + data).decode("ascii")
        # Characters that bytes before or after it have a part in are left out: they differ from text to text.
        first = -(-before * 8 // 6)
        last = (before + len(data)) * 8 // 6
        piece = written[first:last]
        if len(piece) >= _SHORTEST_ENCODED:
            yield piece
            yield piece.replace("+", "-").replace("/", "_")


def _escapable(value: str) -> bool:
    try:
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


class Redactor:
    """Replaces the values of secrets by ``***``, in text and in a stream of bytes.

    One redactor follows one stream; :meth:`another` is for the next. Values of fewer than four characters are not redacted.
    A value that a program changes (reverses, encrypts, spells in hexadecimal) is not recognised: redaction is the last line of
    defence, not the first.

    Args:
        values: The secrets.
    """

    __slots__ = ("_bytes", "_masker", "_text")

    def __init__(self, values: Iterable[SecretStr] = ()) -> None:
        found = {spelling for value in values for spelling in spellings(value.get_secret_value())}
        # Longest first is only for speed of reading; which runs are masked does not depend on it.
        self._text = tuple(sorted(found, key=lambda spelling: (-len(spelling), spelling)))
        self._bytes = tuple(
            spelling.encode("utf-8", "surrogateescape" if _escapable(spelling) else "surrogatepass")
            for spelling in self._text
        )
        self._masker = Masker(self._bytes)

    def feed(self, data: bytes) -> bytes:
        """Take the next piece of the stream and return what is certain by now.

        What may be the beginning of a secret is held back until the next call; how the stream is cut changes nothing of the
        result.
        """
        return self._masker.feed(data)

    def finish(self) -> bytes:
        """Return what was held back: the stream has ended."""
        return self._masker.finish()

    def redact(self, text: str) -> str:
        """Return ``text``, a whole of its own, without the secrets. The stream is not touched."""
        return mask_text(text, self._text)

    def redact_bytes(self, data: bytes) -> bytes:
        """Return ``data``, a whole of its own, without the secrets. The stream is not touched."""
        whole = Masker(self._bytes)
        return whole.feed(data) + whole.finish()

    def another(self) -> Self:
        """Return a redactor of the same secrets for another stream."""
        made = type(self)()
        made._text, made._bytes = self._text, self._bytes  # noqa: SLF001 - of its own class
        made._masker = Masker(self._bytes)  # noqa: SLF001
        return made

    def __bool__(self) -> bool:
        """Return whether there is anything to redact."""
        return bool(self._text)

    def __repr__(self) -> str:
        return "Redactor(…)"
