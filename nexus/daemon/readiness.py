"""How a daemon tells whoever started it that it is ready, or why it is not: a pipe of our own, and systemd's socket."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from contextlib import suppress
from io import RawIOBase

from pydantic import JsonValue, ValidationError

from nexus.daemon.discovery import Announcement
from nexus.errors import DaemonUnavailable, NexusError
from nexus.models.base import Model
from nexus.wire.failures import error_of, fault_of
from nexus.wire.messages import Fault


class Failed(Model):
    """Why a daemon did not start, as the protocol tells of errors."""

    number: int
    message: str
    data: Mapping[str, JsonValue] = {}

    def error(self) -> NexusError:
        """Return it as it was raised."""
        return error_of(Fault(self.number, self.message, self.data))


class Report(Model):
    """One line on the pipe: first the process, then how it went."""

    pid: int | None = None
    ready: Announcement | None = None
    failed: Failed | None = None


def report(starter: RawIOBase, what: Report) -> None:
    """Write one line; whoever started us may have gone, or have been told already."""
    if not starter.closed:
        with suppress(OSError):
            starter.write(what.model_dump_json().encode() + b"\n")


def failed(error: BaseException) -> Report:
    """Return an error as a report."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if not isinstance(error, NexusError):
        error = DaemonUnavailable(f"the daemon failed while it started: {type(error).__name__}: {error}")
    fault = fault_of(error)
    return Report(failed=Failed.model_validate({"number": fault.number, "message": fault.message, "data": fault.data}))


def read_report(line: bytes) -> Report | None:
    """Return what a line says, ``None`` when it is none of ours."""
    with suppress(ValidationError, json.JSONDecodeError):
        return Report.model_validate_json(line)
    return None


def notify(env: Mapping[str, str], *lines: str) -> None:
    """Tell systemd how we are (``sd_notify(3)``), where it wants to know. Never fails.

    Args:
        env: ``NOTIFY_SOCKET`` is read.
        lines: For example ``READY=1``.
    """
    address = env.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.sendto("\n".join(lines).encode(), address)
