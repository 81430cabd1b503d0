"""Development workspaces: a name, a git branch in its own worktree, and a place where that tree runs.

::

    async with nexus.open("~/code/app") as nx:              # WorkspaceManager
        async with nx.create("try-1") as ws:                # Workspace; the block owns it
            done = await ws.exec("pytest", "-q", timeout=300)
        await nx.switch("feature-auth")

The map: :func:`open` gives a :class:`WorkspaceManager` for a repository; ``create`` and ``attach`` give a :class:`Workspace`;
``exec``, ``shell`` and ``spawn`` run commands in it and give an :class:`ExecResult` or a :class:`Process`; ``fs`` holds its files,
``terminals`` its terminals, ``git`` its history; ``connect`` and ``open_port`` lead to what listens inside. :mod:`nexus.notebook`
shows all of it in notebooks.
:class:`ConfigStack` reads the five layers of configuration, :class:`PortAllocator` leases host ports, :class:`Provider` is what a
backend implements, and :class:`NexusError` the root of every error. Everything else lives in :mod:`nexus.errors`,
:mod:`nexus.models`, :mod:`nexus.abc`, :mod:`nexus.config` and :mod:`nexus.testing`.

Names are loaded on first use, so ``import nexus`` costs little and loads no driver.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from nexus.abc import FileAccess, GitAccess, Instance, ProcessHandle, Provider
    from nexus.abc.service import WorkspaceService
    from nexus.app import connect, discover, list_everywhere, open  # noqa: A004
    from nexus.client.backoff import Backoff
    from nexus.client.service import NexusClient
    from nexus.config import ConfigStack
    from nexus.daemon.daemon import Daemon
    from nexus.daemon.discovery import DaemonInfo
    from nexus.daemon.tokens import Tokens
    from nexus.errors import NexusError
    from nexus.gateway.asgi import asgi_app
    from nexus.handles.operation import Operation
    from nexus.handles.process import Process
    from nexus.handles.terminal import Terminal, Terminals
    from nexus.handles.workspace import Workspace
    from nexus.models.execution import ExecResult, Exited, Gap, Output, OutputLimit, Pty, Started, Stream
    from nexus.models.ids import slugify
    from nexus.models.ports import OpenedPort, PortMapping
    from nexus.models.terminals import TerminalInfo
    from nexus.models.workspace import WorkspaceInfo, WorkspaceStatus
    from nexus.ports import PortAllocator
    from nexus.secrets import SecretStore
    from nexus.serving.finding import find_daemon, matching_daemon, start_daemon, stop_daemon
    from nexus.serving.process import Serving
    from nexus.serving.stdio import serve_stdio
    from nexus.serving.tokens import daemon_tokens
    from nexus.state import NodeRegistry
    from nexus.workspace.files import FileSystem
    from nexus.workspace.manager import WorkspaceManager

_HOMES = {
    "Backoff": "nexus.client.backoff",
    "ConfigStack": "nexus.config",
    "Daemon": "nexus.daemon.daemon",
    "DaemonInfo": "nexus.daemon.discovery",
    "ExecResult": "nexus.models.execution",
    "Exited": "nexus.models.execution",
    "FileAccess": "nexus.abc",
    "FileSystem": "nexus.workspace.files",
    "Gap": "nexus.models.execution",
    "GitAccess": "nexus.abc",
    "Instance": "nexus.abc",
    "NexusClient": "nexus.client.service",
    "NexusError": "nexus.errors",
    "NodeRegistry": "nexus.state",
    "OpenedPort": "nexus.models.ports",
    "Operation": "nexus.handles.operation",
    "Output": "nexus.models.execution",
    "OutputLimit": "nexus.models.execution",
    "PortAllocator": "nexus.ports",
    "PortMapping": "nexus.models.ports",
    "Process": "nexus.handles.process",
    "ProcessHandle": "nexus.abc",
    "Provider": "nexus.abc",
    "Pty": "nexus.models.execution",
    "SecretStore": "nexus.secrets",
    "Serving": "nexus.serving.process",
    "Started": "nexus.models.execution",
    "Stream": "nexus.models.execution",
    "Terminal": "nexus.handles.terminal",
    "TerminalInfo": "nexus.models.terminals",
    "Terminals": "nexus.handles.terminal",
    "Tokens": "nexus.daemon.tokens",
    "Workspace": "nexus.handles.workspace",
    "WorkspaceInfo": "nexus.models.workspace",
    "WorkspaceManager": "nexus.workspace.manager",
    "WorkspaceService": "nexus.abc.service",
    "WorkspaceStatus": "nexus.models.workspace",
    "connect": "nexus.app",
    "asgi_app": "nexus.gateway.asgi",
    "daemon_tokens": "nexus.serving.tokens",
    "discover": "nexus.app",
    "find_daemon": "nexus.serving.finding",
    "list_everywhere": "nexus.app",
    "matching_daemon": "nexus.serving.finding",
    "open": "nexus.app",
    "serve_stdio": "nexus.serving.stdio",
    "slugify": "nexus.models.ids",
    "start_daemon": "nexus.serving.finding",
    "stop_daemon": "nexus.serving.finding",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        msg = f"module 'nexus' has no attribute {name!r}"
        raise AttributeError(msg)
    value: object = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


__all__ = [  # noqa: RUF022 - grouped by what one wants to do
    # Open a repository
    "WorkspaceManager",
    "WorkspaceService",
    "discover",
    "list_everywhere",
    "open",
    # Serve it, and use it from elsewhere
    "Backoff",
    "Daemon",
    "NexusClient",
    "connect",
    # Work in a workspace
    "FileAccess",
    "FileSystem",
    "GitAccess",
    "OpenedPort",
    "Operation",
    "Process",
    "Terminal",
    "TerminalInfo",
    "Terminals",
    "Workspace",
    "WorkspaceInfo",
    "WorkspaceStatus",
    # Commands
    "ExecResult",
    "Exited",
    "Gap",
    "Output",
    "OutputLimit",
    "Pty",
    "Started",
    "Stream",
    # Configuration, secrets, ports, backends
    "ConfigStack",
    "Instance",
    "NodeRegistry",
    "PortAllocator",
    "PortMapping",
    "ProcessHandle",
    "Provider",
    "SecretStore",
    # The daemon
    "DaemonInfo",
    "Serving",
    "Tokens",
    "asgi_app",
    "daemon_tokens",
    "find_daemon",
    "matching_daemon",
    "serve_stdio",
    "start_daemon",
    "stop_daemon",
    # The rest
    "NexusError",
    "slugify",
]
