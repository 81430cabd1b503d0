"""The browser page: its files, each under one exact path, and what is said with every one of them.

Names, logs and titles come from strangers. The page sets them as text; the headers see to it that even a mistake in that runs nothing:
scripts come from files of this daemon alone, and nothing is loaded from, sent to or shown inside anybody else's page.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Final

_SCRIPT: Final = "text/javascript; charset=utf-8"
_STYLE: Final = "text/css; charset=utf-8"
_SCRIPTS: Final = (
    "boot.js",
    "dom.js",
    "frames.js",
    "line.js",
    "log.js",
    "page.js",
    "ports.js",
    "rpc.js",
    "tabs.js",
    "terminal.js",
    "token.js",
    "typist.js",
    "workspaces.js",
    "vendor/xterm.mjs",
    "vendor/addon-fit.mjs",
)
_STYLES: Final = ("page.css", "vendor/xterm.css")

INDEX: Final = "index.html"
PAGE_FILES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "/": INDEX,
        "/page/icon.svg": "icon.svg",
        **{f"/page/{name}": name for name in (*_SCRIPTS, *_STYLES)},
    }
)
"""The file for each path that is answered. Nothing else of the folder is ever read."""

_POLICY: Final = (
    "default-src 'none'; "
    "script-src 'self'; "
    "style-src 'self' 'unsafe-inline'; "  # the terminal writes its colours into style elements of its own
    "img-src 'self'; "
    "connect-src 'self'; "
    "base-uri 'none'; "
    "form-action 'none'; "
    "frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; "
    "trusted-types 'none'"
)

PAGE_HEADERS: Final = (
    ("Content-Security-Policy", _POLICY),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-store"),
)
"""What is said with every file of the page."""


@cache
def page_file(name: str) -> bytes:
    """Return a file of :data:`PAGE_FILES`; it is read once. Blocks for the moment that takes."""
    return resources.files(__name__).joinpath(*name.split("/")).read_bytes()


def media_type(name: str) -> str:
    """Return what a file is."""
    if name in _SCRIPTS:
        return _SCRIPT
    if name in _STYLES:
        return _STYLE
    return "text/html; charset=utf-8" if name == INDEX else "image/svg+xml"
