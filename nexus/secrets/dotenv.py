r"""Files of variables. Pure.

One ``NAME=value`` in a line; ``export`` before it is allowed. A value without quotes ends at `` #`` or at the end of the line and is
trimmed. Between single quotes everything stands for itself; between double quotes ``\n``, ``\r``, ``\t``, ``\"``, ``\\`` and ``\$``
are escapes. Both may go over several lines. Nothing is ever looked up or run: ``$NAME`` and ``$(command)`` are plain text.
"""

from __future__ import annotations

import re
from typing import Final

from nexus.errors import SecretError

_NAME: Final = re.compile(r"(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]{0,254})[ \t]*(=)?[ \t]*", re.ASCII)
_BARE: Final = re.compile(r"[^\n]*")
_COMMENT: Final = re.compile(r"(?:^|[ \t])#.*")
_REST: Final = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)")
_ESCAPE: Final = re.compile(r"\\([nrt\"\\$])")
_ESCAPED: Final = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$"}
_CLOSED: Final = {
    "'": re.compile(r"'([^']*)'"),
    '"': re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL),
}


def parse_dotenv(data: bytes, source: str) -> dict[str, str]:
    """Return the variables of a file; of a name that is there twice the last value.

    Args:
        data: The file's content.
        source: What errors call the file.

    Raises:
        SecretError: When a line cannot be understood: ``file:line:column``, never the line itself.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _wrong(source, data[: error.start].decode("utf-8", "replace"), "this is not UTF-8 text") from None
    text = text.replace("\r\n", "\n")
    if "\0" in text:
        raise _wrong(source, text[: text.index("\0")], "a NUL character cannot be part of a variable")
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        if text[at] in " \t\n":
            at += 1
        elif text[at] == "#":
            at = _end_of_line(text, at)
        else:
            name, value, at = _assignment(text, at, source)
            found[name] = value
    return found


def _assignment(text: str, at: int, source: str) -> tuple[str, str, int]:
    match = _NAME.match(text, at)
    if match is None:
        raise _wrong(source, text[:at], "this is not NAME=value, with a name of letters, digits and '_'")
    if match[2] is None:
        raise _wrong(source, text[: match.end()], "there is no '=' after the name, so nothing says what its value is")
    name, start = match[1], match.end()
    quote = text[start : start + 1]
    if quote not in _CLOSED:
        bare = _BARE.match(text, start)
        line = bare[0] if bare is not None else ""
        return name, _COMMENT.sub("", line).strip(), start + len(line)
    closed = _CLOSED[quote].match(text, start)
    if closed is None:
        raise _wrong(source, text[:start], f"the {quote} that opens here is never closed")
    rest = _REST.match(text, closed.end())
    if rest is None:
        raise _wrong(source, text[: closed.end()], f"something follows the closing {quote}")
    value = closed[1] if quote == "'" else _ESCAPE.sub(lambda escape: _ESCAPED[escape[1]], closed[1])
    return name, value, rest.end()


def _end_of_line(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1


def _wrong(source: str, before: str, sentence: str) -> SecretError:
    line = before.count("\n") + 1
    column = len(before) - (before.rfind("\n") + 1) + 1
    place = f"{source}:{line}:{column}"
    return SecretError(f"{place}: {sentence}", hint="correct that line", details={"place": place})
