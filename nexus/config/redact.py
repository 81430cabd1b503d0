"""What is shown in place of values that look like secrets."""

from __future__ import annotations

import re
from typing import Final

from pydantic import JsonValue

from nexus.config.layers import KeyPath

HIDDEN: Final = "***"

_SECRET_NAME: Final = re.compile(
    r"api_?key|access_?key|private_?key|secret|token|passw|passphrase|credential|authorization", re.IGNORECASE
)
_REFERENCE: Final = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_URL_PASSWORD: Final = re.compile(r"(?<=://)([^/\s:@]*):[^/\s]+@")


def reference_name(text: str) -> str | None:
    """Return the variable that a reference ``env:NAME`` names, ``None`` when the text is no reference."""
    return text[len("env:") :] if _REFERENCE.fullmatch(text) else None


def looks_secret(path: KeyPath) -> bool:
    """Return whether the key's name says that its value is a secret. Section ``secrets`` holds references alone."""
    return path[:1] != ("secrets",) and any(_SECRET_NAME.search(name) for name in path)


def redacted(path: KeyPath, value: JsonValue) -> JsonValue:
    """Return ``value`` with what looks like a secret hidden. References stay: they say where a secret is, not what it is."""
    match value:
        case dict():
            return {name: redacted((*path, name), below) for name, below in value.items()}
        case list():
            return [redacted(path, below) for below in value]
        case str():
            if looks_secret(path):
                return value if reference_name(value) else HIDDEN
            return _URL_PASSWORD.sub(rf"\1:{HIDDEN}@", value)
        case None | bool():
            return value
        case _:
            return HIDDEN if looks_secret(path) else value
