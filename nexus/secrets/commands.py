"""A secret that a program prints: a password manager's command line, as a rule. Only a user's own file names one."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

import anyio
from anyio.abc import ByteReceiveStream, Process

from nexus.errors import SecretError

TIMEOUT: Final = 60.0
"""Seconds that a command may take, with whatever it asks its user meanwhile."""
_ENDING: Final = 5.0
_KEPT_OF_ERRORS: Final = 4096


async def command_output(
    argv: Sequence[str],
    *,
    name: str,
    environment: Mapping[str, str],
    limit: int,
    place: str,
    timeout: float = TIMEOUT,
) -> bytes:
    """Run a command and return what it printed. It runs as it is, without a shell, in a session of its own.

    Args:
        argv: Program and arguments.
        name: The secret's name, for errors.
        environment: The command's environment.
        limit: The most bytes that it may print.
        place: Where the command is named, for errors.
        timeout: Seconds until it is killed with everything it started.

    Raises:
        SecretError: When it cannot be started, fails, prints more, or takes longer. What it printed is never part of the error.

    Cancellation: the command is killed.
    """

    def failed(what: str, hint: str) -> SecretError:
        return SecretError(
            f"{place}: the command for secret {name} {what}", hint=hint, details={"name": name, "place": place}
        )

    try:
        process = await anyio.open_process(
            argv,
            stdin=subprocess.DEVNULL,
            env=dict(environment),
            cwd=environment.get("HOME") or "/",
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its words cannot be passed on"
        raise failed(f"cannot be started: {reason}", "is the program installed, and in PATH?") from error
    collected: list[bytes] = [b"", b""]
    try:
        with anyio.move_on_after(timeout) as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(_collect, process.stdout, collected, 0, limit + 1)
                group.start_soon(_collect, process.stderr, collected, 1, _KEPT_OF_ERRORS)
            await process.wait()
    finally:
        await _end(process)
    if scope.cancelled_caught:
        raise failed(f"did not end within {timeout:g} s and was killed", "run it by hand: does it wait for an answer?")
    if len(collected[0]) > limit:
        raise failed(f"printed more than {limit // 1024} KiB", "a secret is short")
    if process.returncode != 0:
        # Its standard error may quote what it was about to print, so people are told how to see it instead.
        raise failed(f"ended with status {process.returncode}", "run it by hand to see what it says")
    return collected[0]


async def _collect(stream: ByteReceiveStream | None, into: list[bytes], index: int, most: int) -> None:
    """Read to the end, and keep the first bytes. Reading on lets a command that prints too much end by itself."""
    if stream is None:
        return
    with suppress(anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
        while True:
            piece = await stream.receive()
            into[index] += piece[: max(0, most - len(into[index]))]
            if index == 0 and len(into[index]) >= most:
                return


async def _end(process: Process) -> None:
    """Kill what is left of the command's group, and let go of its pipes."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with anyio.move_on_after(_ENDING, shield=True):
        await process.aclose()
