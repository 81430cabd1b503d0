"""``${localEnv:NAME}`` and the other variables of ``devcontainer.json``. Pure.

What is known when the file is read is put in. Where a tree stands is known only inside a workspace, so a script finds it out there,
and other values that need it are left out. Nothing of this host's environment is ever put in.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

_VARIABLE: Final = re.compile(r"\$\{([A-Za-z]+)(?::([^:{}]*))?(?::([^{}]*))?\}")
_QUOTES: Final = re.compile(r"\\.|['\"]", re.DOTALL)
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_FOLDERS: Final = frozenset({"localWorkspaceFolder", "containerWorkspaceFolder"})
_BASENAMES: Final = frozenset({f"{name}Basename" for name in _FOLDERS})

TREE: Final = "workspaceFolder"
"""The variable of a script that holds where the tree stands."""
ID: Final = "workspace"
"""What ``${devcontainerId}`` comes to: names with it in are a workspace's own as it is."""


@dataclass(frozen=True, slots=True)
class Substituted:
    """A text with its variables put in."""

    text: str | None
    """``None`` where one cannot be."""
    reasons: tuple[str, ...] = ()
    """What was not as the file asks, each the end of a sentence about the value."""


@dataclass(slots=True)
class Variables:
    """What can be put in."""

    folder: str
    """Name of the project's folder."""
    container: Mapping[str, str] = field(default_factory=dict)
    """The container's environment as far as the file says it."""

    def value(self, text: str) -> Substituted:
        """Return a value: of an environment variable, a mount, a build argument."""
        reasons: list[str] = []
        usable = True

        def put(match: re.Match[str]) -> str:
            nonlocal usable
            name, argument, default = match[1], match[2] or "", match[3]
            if name in _BASENAMES:
                return self.folder
            if name == "devcontainerId":
                return ID
            if name in _FOLDERS:
                reasons.append(
                    f"needs to know where the tree stands ({match[0]}), which differs from workspace to workspace"
                )
            elif name in {"localEnv", "env"}:
                reasons.append(_host(argument, default))
            elif name == "containerEnv" and argument in self.container:
                return self.container[argument]
            elif name == "containerEnv":
                reasons.append(f"builds on the image's variable {argument[:40]!r}, which is not known")
            else:
                return match[0]
            usable = usable and default is not None
            return default or ""

        result = _VARIABLE.sub(put, text)
        return Substituted(result if usable else None, tuple(reasons))

    def script(self, text: str) -> Substituted:
        """Return a command for a shell, in which :data:`TREE` holds where the tree stands.

        A variable stands between the quotes that it is in, so that it means the same in single quotes, in double ones and bare.
        """
        reasons: list[str] = []
        parts: list[str] = []
        quote, position = "", 0
        for match in _VARIABLE.finditer(text):
            before = text[position : match.start()]
            quote = _open_quote(before, quote)
            parts += [before, self._in_script(match, quote, reasons)]
            position = match.end()
        return Substituted("".join((*parts, text[position:])), tuple(reasons))

    def argument(self, text: str) -> Substituted:
        """Return one argument of a program, quoted for a shell."""
        reasons: list[str] = []
        parts: list[str] = []
        position = 0
        for match in (*_VARIABLE.finditer(text), None):
            before = text[position : match.start() if match else len(text)]
            parts.append(shlex.quote(before) if before else "")
            if match is not None:
                filled = self._in_script(match, '"', reasons)
                parts.append(f'"{filled}"' if filled.startswith("${") and filled != match[0] else shlex.quote(filled))
                position = match.end()
        return Substituted("".join(parts) or "''", tuple(reasons))

    @staticmethod
    def _in_script(match: re.Match[str], quote: str, reasons: list[str]) -> str:
        name, argument, default = match[1], match[2] or "", match[3]
        if name == "devcontainerId":
            return ID
        if name in {"localEnv", "env"}:
            reasons.append(_host(argument, default))
            return default or ""
        if name in _FOLDERS:
            value = f"${{{TREE}}}"
        elif name in _BASENAMES:
            value = f"${{{TREE}##*/}}"
        elif name == "containerEnv" and _NAME.fullmatch(argument):
            value = f"${{{argument}-}}"
            if default:
                reasons.append(f"has a default for {argument[:40]!r}, which has no counterpart in a script")
        else:
            return match[0]
        return {"'": f"'\"{value}\"'", '"': value}.get(quote, f'"{value}"')


def _open_quote(text: str, quote: str) -> str:
    """Return the quote that is open after a piece of shell, given the one that was open before it."""
    for match in _QUOTES.finditer(text):
        char = match[0]
        if quote == "'" and char == "\\'":  # a backslash means nothing in single quotes
            char = "'"
        if char == quote:
            quote = ""
        elif not quote and len(char) == 1:
            quote = char
    return quote


def _host(name: str, default: str | None) -> str:
    what = "its default counts" if default is not None else "it has no value"
    return f"asks for the variable {name[:40]!r} of this host, which a clone cannot read; {what}"
