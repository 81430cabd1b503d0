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

from typing import TYPE_CHECKING

from nexus.loading import on_first_use

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
    from nexus.handles.commands import Commands
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
    from nexus.serving.controlling import start_daemon, stop_daemon
    from nexus.serving.finding import find_daemon, matching_daemon
    from nexus.serving.process import Serving
    from nexus.serving.stdio import serve_stdio
    from nexus.serving.tokens import daemon_tokens
    from nexus.state import NodeRegistry
    from nexus.workspace.files import FileSystem
    from nexus.workspace.manager import WorkspaceManager

__getattr__, __dir__ = on_first_use(
    __name__,
    {
        "nexus.abc": ["FileAccess", "GitAccess", "Instance", "ProcessHandle", "Provider"],
        "nexus.abc.service": ["WorkspaceService"],
        "nexus.app": ["connect", "discover", "list_everywhere", "open"],
        "nexus.client.backoff": ["Backoff"],
        "nexus.client.service": ["NexusClient"],
        "nexus.config": ["ConfigStack"],
        "nexus.daemon.daemon": ["Daemon"],
        "nexus.daemon.discovery": ["DaemonInfo"],
        "nexus.daemon.tokens": ["Tokens"],
        "nexus.errors": ["NexusError"],
        "nexus.gateway.asgi": ["asgi_app"],
        "nexus.handles.commands": ["Commands"],
        "nexus.handles.operation": ["Operation"],
        "nexus.handles.process": ["Process"],
        "nexus.handles.terminal": ["Terminal", "Terminals"],
        "nexus.handles.workspace": ["Workspace"],
        "nexus.models.execution": ["ExecResult", "Exited", "Gap", "Output", "OutputLimit", "Pty", "Started", "Stream"],
        "nexus.models.ids": ["slugify"],
        "nexus.models.ports": ["OpenedPort", "PortMapping"],
        "nexus.models.terminals": ["TerminalInfo"],
        "nexus.models.workspace": ["WorkspaceInfo", "WorkspaceStatus"],
        "nexus.ports": ["PortAllocator"],
        "nexus.secrets": ["SecretStore"],
        "nexus.serving.controlling": ["start_daemon", "stop_daemon"],
        "nexus.serving.finding": ["find_daemon", "matching_daemon"],
        "nexus.serving.process": ["Serving"],
        "nexus.serving.stdio": ["serve_stdio"],
        "nexus.serving.tokens": ["daemon_tokens"],
        "nexus.state": ["NodeRegistry"],
        "nexus.workspace.files": ["FileSystem"],
        "nexus.workspace.manager": ["WorkspaceManager"],
    },
)

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
    "Commands",
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
