"""The process of a daemon: a repository opened, its workspaces served, signals followed."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread
from pydantic import JsonValue

import nexus.app
from nexus.abc import Clock
from nexus.config import ConfigStack
from nexus.daemon.attending import told
from nexus.daemon.discovery import Announcement
from nexus.daemon.log import DaemonLog, logging_to
from nexus.daemon.places import places, state_folder
from nexus.daemon.process import Control, DaemonProcess, Reread
from nexus.daemon.readiness import notify
from nexus.daemon.single import single
from nexus.daemon.sockets import handed_over
from nexus.git import find_repository
from nexus.loading import load_all
from nexus.providers.registry import ProviderRegistry
from nexus.serving.composing import environment, load
from nexus.serving.matching import fingerprint, inputs
from nexus.serving.tokens import daemon_of
from nexus.state.clock import SystemClock
from nexus.workspace import operations
from nexus.workspace.manager import WorkspaceManager

_log: Final = logging.getLogger("nexus.daemon")


class Serving:
    """The daemon's process: opens the repository and serves its workspaces until it is told to stop.

    Args:
        path: Any folder in the repository.
        flags: Settings that rank above every file, by dotted key.
        env: The environment; this process's when absent.
        providers: As for :func:`nexus.open`.
        clock: As for :func:`nexus.open`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] = ".",
        *,
        flags: Mapping[str, JsonValue] | None = None,
        env: Mapping[str, str] | None = None,
        providers: ProviderRegistry | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._path = Path(path).expanduser()
        self._flags = flags
        self._env = environment(env)
        self._providers = providers
        self._clock = clock or SystemClock()
        self._control: Control | None = None
        self._scope: anyio.CancelScope | None = None

    async def run(
        self,
        *,
        ready: Callable[[Announcement], None] = lambda _announcement: None,
        handed: Sequence[socket.socket] | None = None,
        show_log: bool = False,
    ) -> None:
        """Serve until :meth:`stop`.

        Args:
            ready: Called once it can be connected to.
            handed: Sockets to listen on in place of those that the settings name; those that systemd hands over when absent.
            show_log: Whether the log goes to standard error too.

        Raises:
            Busy: When a daemon for the repository runs already; ``details["pid"]`` names its process.
            NotARepository, ConfigError, PortInUse, InvalidArgument, StateError: When it cannot start.

        Cancellation: connections are ended at once; workspaces run on.
        """
        self._control = Control()
        with anyio.CancelScope() as self._scope:
            await to_thread.run_sync(load_all, operations)
            repository = await find_repository(self._path)
            stack = await load(repository.root, self._flags, self._env)
            settings, name = stack.settings.daemon, places(repository.root, self._env).name
            log_path = state_folder(stack.settings.state_dir) / f"{name}.log"
            limits = {"size": settings.log_size, "files": settings.log_files}
            with logging_to(log_path, **limits, also_to_stderr=show_log) as log:
                try:
                    await self._serve(repository.root, stack, log, log_path, ready=ready, handed=handed)
                except Exception as error:
                    _log.error("the daemon ends: %s", told(error))
                    raise

    async def _serve(
        self,
        root: Path,
        stack: ConfigStack,
        log: DaemonLog,
        log_path: Path,
        *,
        ready: Callable[[Announcement], None],
        handed: Sequence[socket.socket] | None,
    ) -> None:
        where = places(root, self._env)
        async with (
            single(where, root),
            nexus.app.open(root, config=stack, env=self._env, providers=self._providers, clock=self._clock) as nx,
            daemon_of(nx, stack, self._clock, self.stop) as daemon,
        ):
            process = DaemonProcess(
                places=where,
                root=root,
                settings=stack.settings.daemon,
                served=daemon,
                door=daemon.door,
                tokens=daemon.tokens,
                clock=self._clock,
                handed=handed_over(os.environ) if handed is None else handed,
                log_path=log_path,
                fingerprint=fingerprint(stack, self._env),
                inputs=await inputs(root, stack, self._flags, self._env),
            )
            await process.run(
                self._control or Control(),
                ready=partial(self._ready, ready),
                reread=partial(self._reread, root, nx),
                log=log,
                background={"watching idleness": nx.watch_idle, "watching ports": nx.watch_ports},
            )

    def stop(self) -> None:
        """Have it end what is under way and stop; called again, it ends at once."""
        if self._control is None or self._scope is None:
            return
        if self._control.stopping.is_set():
            self._scope.cancel()
        notify(self._env, "STOPPING=1")
        self._control.stop()

    def reload(self) -> None:
        """Have it read all settings and its certificate again. Those that are decided on opening take a restart, and it says so."""
        if self._control is not None:
            self._control.reload()

    async def signalled(self, number: signal.Signals) -> None:
        """Do what a signal asks for: ``SIGHUP`` reloads, every other one that ends programs stops."""
        if number == signal.SIGHUP:
            self.reload()
        elif number in {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT}:
            self.stop()

    async def follow_signals(self) -> None:
        """Do what the signals of this process ask for, until cancelled."""
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as received:
            async for number in received:
                await self.signalled(number)

    def _ready(self, ready: Callable[[Announcement], None], announcement: Announcement) -> None:
        ready(announcement)
        notify(self._env, "READY=1", f"STATUS=serving {announcement.workspace_folders[0]}")

    async def _reread(self, root: Path, nx: WorkspaceManager) -> Reread:
        stack = await load(root, self._flags, self._env)
        return Reread(
            settings=stack.settings.daemon,
            fingerprint=fingerprint(stack, self._env),
            inputs=await inputs(root, stack, self._flags, self._env),
            adopt=partial(nx.reconfigure, stack),
        )
