"""The marks by which the shell above a command reports, and how they are taken out of its output."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, TypeAlias

from nexus.errors import ExecStartError
from nexus.models.execution import SpawnRequest

_RS: Final = b"\x1e"


@dataclass(frozen=True, slots=True)
class Began:
    """The command runs."""

    pid: int
    group: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The command could not be started."""

    reason: str
    exit_code: int

    def explain(self, request: SpawnRequest) -> ExecStartError:
        """Return the error that says so."""
        program, folder = request.argv[0], request.cwd
        sentence, hint = {
            "missing": (f"program {program} does not exist inside the workspace", "install it there, or see PATH"),
            "denied": (f"{program} is not executable inside the workspace", f"chmod +x {program}"),
            "directory": (f"{program} is a folder, not a program", None),
            "folder-missing": (f"folder {folder} does not exist inside the workspace", None),
            "folder-is-file": (f"{folder} is not a folder inside the workspace", None),
            "folder-denied": (f"folder {folder} cannot be entered inside the workspace", None),
        }.get(self.reason, (f"{program} could not be started", None))
        return ExecStartError(sentence, exit_code=self.exit_code, hint=hint)


@dataclass(frozen=True, slots=True)
class Ended:
    """The command has ended; what it printed may still be on its way."""

    status: int
    oom: bool


@dataclass(frozen=True, slots=True)
class Ready:
    """A prepared shell has the command's text and waits for the word to go."""


@dataclass(frozen=True, slots=True)
class Idle:
    """A prepared shell waits for the next command: nothing of the last one holds this stream, and all of it is before this."""


Mark: TypeAlias = Began | Refused | Ended | Ready | Idle


class MarkScanner:
    """Takes the marks out of a stream of bytes, wherever the pieces were cut.

    Args:
        nonce: What the shell was told to sign its marks with.
    """

    def __init__(self, nonce: str) -> None:
        self._start = _RS + nonce.encode() + b" "
        self._held = b""

    def feed(self, data: bytes) -> list[bytes | Mark]:
        """Return output and marks in order. Bytes that may be the beginning of a mark are kept until that is known."""
        found: list[bytes | Mark] = []
        rest = self._held + data
        while True:
            at = rest.find(self._start)
            if at < 0:
                keep = self._tail(rest)
                self._held = rest[len(rest) - keep :]
                self._add(found, rest[: len(rest) - keep])
                return found
            end = rest.find(b"\n", at, at + len(self._start) + _LONGEST)
            if end < 0 and len(rest) - at >= len(self._start) + _LONGEST:
                # Nobody but the command itself can have printed this; it is output.
                self._add(found, rest[: at + len(self._start)])
                rest = rest[at + len(self._start) :]
                continue
            if end < 0:
                self._held = rest[at:]
                self._add(found, rest[:at])
                return found
            mark = _read_mark(rest[at + len(self._start) : end])
            self._add(found, rest[:at] if mark is not None else rest[: end + 1])
            if mark is not None:
                found.append(mark)
            rest = rest[end + 1 :]

    def finish(self) -> bytes:
        """Return what was kept: the stream has ended."""
        held, self._held = self._held, b""
        return held

    @property
    def clean(self) -> bool:
        """Whether nothing is kept."""
        return not self._held

    @staticmethod
    def _add(found: list[bytes | Mark], data: bytes) -> None:
        if data:
            found.append(data)

    def _tail(self, data: bytes) -> int:
        """Return how many bytes at the end may be the beginning of a mark."""
        longest = min(len(self._start) - 1, len(data))
        return next((size for size in range(longest, 0, -1) if data.endswith(self._start[:size])), 0)


_LONGEST: Final = 80
_MARK: Final = re.compile(rb"(?:s (\d{1,10}) (\d{1,10})|e ([a-z-]{1,32}) (\d{1,3})|x (\d{1,3}) ([01])|([ri]))\x1e\r?")


def _read_mark(text: bytes) -> Mark | None:
    match = _MARK.fullmatch(text)
    if match is None:
        return None
    pid, group, reason, code, status, oom, waits = match.groups()
    if pid is not None:
        return Began(int(pid), int(group))
    if reason is not None:
        return Refused(reason.decode(), int(code))
    if waits is not None:
        return Ready() if waits == b"r" else Idle()
    return Ended(int(status), oom == b"1")
