"""A daemon for one client that started it: it talks over standard input and output, and ends with them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue

import nexus.app
from nexus.daemon.daemon import Daemon
from nexus.daemon.principal import ALL_SCOPES
from nexus.daemon.stdio import open_stdio
from nexus.providers.registry import ProviderRegistry


async def serve_stdio(
    path: str | os.PathLike[str] = ".",
    *,
    flags: Mapping[str, JsonValue] | None = None,
    env: Mapping[str, str] | None = None,
    providers: ProviderRegistry | None = None,
    reading: int = 0,
    writing: int = 1,
) -> None:
    """Serve the workspaces of a repository to whoever is at the other end of two pipes, until they are closed.

    Whoever started this process is let in without a token: they could do everything themselves.

    Args:
        path: Any folder in the repository.
        flags: Settings that rank above every file, by dotted key.
        env: As for :func:`nexus.open`.
        providers: As for :func:`nexus.open`.
        reading: Descriptor of a pipe, socket or terminal.
        writing: Another one, or the same.

    Raises:
        NotARepository, BareRepository, UnbornHead, ConfigError, StateError: When the repository cannot be opened.
        InvalidArgument: When a descriptor is a plain file.

    Cancellation: the connection is ended; workspaces run on.
    """
    async with (
        nexus.app.open(Path(path), flags=flags, env=env, providers=providers) as nx,
        Daemon(nx, host=None) as daemon,
    ):
        token = daemon.issue_token(subject="stdio", scopes=ALL_SCOPES)
        async with open_stdio(reading, writing, token=token) as transport:
            await daemon.serve_transport(transport)
