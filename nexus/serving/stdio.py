"""A daemon for one client that started it: it talks over standard input and output, and ends with them.

Where the daemon of the repository runs with the same settings, it is that one which answers: this process only carries messages.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from anyio import to_thread
from pydantic import JsonValue

import nexus.app
from nexus.abc.transport import Transport
from nexus.client.dialer import dial
from nexus.daemon.daemon import Daemon
from nexus.daemon.discovery import Announcement
from nexus.daemon.principal import ALL_SCOPES
from nexus.daemon.stdio import open_stdio
from nexus.daemon.tokens import LONGEST_LIFE
from nexus.errors import DaemonUnavailable, Unauthenticated
from nexus.providers.registry import ProviderRegistry
from nexus.serving.bridging import carry
from nexus.serving.composing import environment, load
from nexus.serving.finding import matching_daemon
from nexus.serving.tokens import tokens_of
from nexus.state.clock import SystemClock

_DIALLING: Final = 10.0
_SUBJECT: Final = "stdio"


async def serve_stdio(
    path: str | os.PathLike[str] = ".",
    *,
    flags: Mapping[str, JsonValue] | None = None,
    env: Mapping[str, str] | None = None,
    providers: ProviderRegistry | None = None,
    reading: int = 0,
    writing: int = 1,
    alone: bool = False,
) -> None:
    """Serve the workspaces of a repository to whoever is at the other end of two pipes, until they are closed.

    Where a daemon runs that would do the same (:func:`matching_daemon`), messages are carried to it and back, so that there is one
    place where terminals, commands and idleness are looked after. Otherwise this process serves, for as long as it is talked to.

    Whoever started this process is let in without a token: they could do everything themselves. After a day they have to show one
    (``auth.refresh``).

    Args:
        path: Any folder in the repository.
        flags: Settings that rank above every file, by dotted key.
        env: As for :func:`nexus.open`.
        providers: As for :func:`nexus.open`; with providers of its own, this process serves by itself.
        reading: Descriptor of a pipe, socket or terminal.
        writing: Another one, or the same.
        alone: Serve by itself, whatever runs.

    Raises:
        NotARepository, BareRepository, UnbornHead, ConfigError, StateError: When the repository cannot be opened.
        InvalidArgument: When a descriptor is a plain file.
        ConnectionLost: When the daemon that messages were carried to has ended.

    Cancellation: the connection is ended; workspaces run on.
    """
    far = None if alone or providers is not None else await _daemon(Path(path), flags, env)
    if far is None:
        await _serve(Path(path), flags, env, providers, (reading, writing))
        return
    try:
        async with open_stdio(reading, writing) as near:
            await carry(near, far)
    finally:
        await far.aclose()


async def _daemon(path: Path, flags: Mapping[str, JsonValue] | None, env: Mapping[str, str] | None) -> Transport | None:
    """Return a connection to the daemon that would do the same; ``None`` when none does, or it is just ending."""
    found = await matching_daemon(path, flags=flags, env=env)
    if found is None:
        return None
    try:
        return await dial(found.socket or found.url or "", token=await _token(found, flags, env), timeout=_DIALLING)
    except (DaemonUnavailable, Unauthenticated):
        return None


async def _token(found: Announcement, flags: Mapping[str, JsonValue] | None, env: Mapping[str, str] | None) -> str:
    stack = await load(found.workspace_folders[0], flags, environment(env))
    tokens = tokens_of(stack, SystemClock())
    issued = await to_thread.run_sync(lambda: tokens.issue(subject=_SUBJECT, scopes=ALL_SCOPES, ttl=LONGEST_LIFE))
    return issued.token


async def _serve(
    path: Path,
    flags: Mapping[str, JsonValue] | None,
    env: Mapping[str, str] | None,
    providers: ProviderRegistry | None,
    pipes: tuple[int, int],
) -> None:
    async with (
        nexus.app.open(path, flags=flags, env=env, providers=providers) as nx,
        Daemon(nx, host=None) as daemon,
    ):
        token = daemon.issue_token(subject=_SUBJECT, scopes=ALL_SCOPES, ttl=LONGEST_LIFE)
        async with open_stdio(*pipes, token=token) as transport:
            await daemon.serve_transport(transport)
