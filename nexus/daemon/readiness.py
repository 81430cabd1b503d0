"""How a daemon tells whoever started it that it is ready, or why it is not: a pipe of our own, and systemd's socket."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from pydantic import ValidationError

from nexus.daemon.discovery import Announcement
from nexus.errors import NexusError
from nexus.models.base import Model

_UNEXPECTED: Final = "DAEMON_FAILED"


class Failed(Model):
    """Why a daemon did not start."""

    code: str
    message: str
    hint: str | None = None


class Report(Model):
    """One line on the pipe: first the process, then how it went."""

    pid: int | None = None
    ready: Announcement | None = None
    failed: Failed | None = None


def report(descriptor: int, what: Report) -> None:
    """Write one line; whoever started us may have gone."""
    with suppress(OSError):
        os.write(descriptor, what.model_dump_json().encode() + b"\n")


def failed(error: BaseException) -> Report:
    """Return an error as a report."""
    if isinstance(error, NexusError):
        return Report(failed=Failed(code=error.code, message=error.message, hint=error.hint))
    return Report(failed=Failed(code=_UNEXPECTED, message=f"{type(error).__name__}: {error}"))


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
