"""The life of a daemon: alone, listening, announced, until it is told to stop; then it ends what is under way and leaves no trace."""

from __future__ import annotations

import logging
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

import anyio
from anyio import to_thread

import nexus
from nexus.abc.clock import Clock
from nexus.abc.transport import Transport
from nexus.config import DaemonSettings
from nexus.daemon import plan, tls
from nexus.daemon.attending import told
from nexus.daemon.discovery import Announcement, Inputs, announce, withdraw
from nexus.daemon.door import Door
from nexus.daemon.log import DaemonLog
from nexus.daemon.places import Places
from nexus.daemon.principal import ALL_SCOPES
from nexus.daemon.sockets import bind_tcp, bind_unix, remove_unix
from nexus.daemon.tokens import DEFAULT_LIFE, IssuedToken, Tokens
from nexus.daemon.websocket import Listener, listen
from nexus.errors import NexusError
from nexus.models.workspace import ProcessState
from nexus.processes import identify

_AGAIN_AFTER: Final = 30.0
_LOOK_AGAIN: Final = 60.0

_log: Final = logging.getLogger("nexus.daemon")


class Served(Protocol):
    """What a daemon serves."""

    async def serve(self, transport: Transport) -> None:
        """Serve one connection until it ends. Its peer is admitted by the door before anything is done for it."""

    async def drain(self) -> None:
        """Take no new request, and return when those that are under way have ended."""

    def dismiss(self) -> None:
        """Close every connection, and tell each client that the daemon ends."""


@dataclass(frozen=True, slots=True)
class Reread:
    """Settings that were read again."""

    settings: DaemonSettings
    fingerprint: str
    inputs: Inputs | None
    """What they were made from, where that is certain."""
    adopt: Callable[[], None]
    """Lets what is served go by them; raises when it cannot."""


class Control:
    """How a daemon is told what to do. Its methods may be called from signal handlers of the event loop."""

    def __init__(self) -> None:
        self.stopping = anyio.Event()
        self._reload = anyio.Event()

    def stop(self) -> None:
        """Have it end what is under way and stop."""
        self.stopping.set()

    def reload(self) -> None:
        """Have it read its settings again."""
        self._reload.set()

    async def told_to_reload(self) -> None:
        """Return when it is to read its settings again."""
        await self._reload.wait()
        self._reload = anyio.Event()


class DaemonProcess:
    """Listens, announces, and serves until it is told to stop.

    Args:
        places: Where its files are.
        root: The repository whose workspaces it serves.
        settings: Where it listens, and whom it talks to.
        served: What is served.
        door: Who may come in.
        tokens: Issues the token of the announcement.
        clock: The time by which that is renewed.
        handed: Sockets to listen on in place of those that the settings name.
        log_path: Where its log is, to be announced.
        fingerprint: Of its settings, to be announced.
        inputs: What they were made from, to be announced.
    """

    def __init__(
        self,
        *,
        places: Places,
        root: Path,
        settings: DaemonSettings,
        served: Served,
        door: Door,
        tokens: Tokens,
        clock: Clock,
        handed: Sequence[socket.socket] = (),
        log_path: Path | None = None,
        fingerprint: str = "",
        inputs: Inputs | None = None,
    ) -> None:
        self._places = places
        self._root = root
        self._settings = settings
        self._served = served
        self._door = door
        self._tokens = tokens
        self._clock = clock
        self._handed = tuple(handed)
        self._log_path = log_path
        self._fingerprint = fingerprint
        self._inputs = inputs
        self._tls: ssl.SSLContext | None = None
        self._listeners: list[tuple[Listener, bool]] = []
        self._socket: Path | None = None
        self._url: str | None = None
        self._me = identify() or ProcessState(pid=os.getpid(), start_time=0, boot_id="")
        self._identity: tuple[int, int] | None = None

    async def run(
        self,
        control: Control,
        *,
        ready: Callable[[Announcement], None] = lambda _announcement: None,
        reread: Callable[[], Awaitable[Reread]] | None = None,
        log: DaemonLog | None = None,
        background: Mapping[str, Callable[[], Awaitable[None]]] | None = None,
    ) -> None:
        """Serve until ``control`` says stop. The caller holds :func:`~nexus.daemon.single.single`.

        Args:
            control: Tells it what to do.
            ready: Called once it can be connected to.
            reread: Reads the settings again.
            log: Resized with them.
            background: What runs beside, by its name. One that fails is logged and begun again.

        Raises:
            PortInUse, ConfigError, InvalidArgument, StateError: When it cannot listen. Nothing is left then.

        Cancellation: connections are ended at once, and nothing is left of it but what it served.
        """
        started_at = self._clock.now()
        async with AsyncExitStack() as opened:
            await self._listen(opened)
            opened.callback(withdraw, self._places, self._me)
            ready(await self._announce(started_at))
            _log.info("serving %s on %s", self._root, " and ".join(filter(None, (str(self._socket), self._url))))
            async with anyio.create_task_group() as group:
                group.start_soon(self._renew, started_at)
                group.start_soon(self._stay, control)
                if reread is not None:
                    group.start_soon(self._reload, control, reread, log, started_at)
                for name, task in (background or {}).items():
                    group.start_soon(_kept_going, name, task, self._clock)
                await control.stopping.wait()
                await self._drain()
                group.cancel_scope.cancel()
        _log.info("stopped")

    async def _listen(self, opened: AsyncExitStack) -> None:
        settings = self._settings
        if settings.tls is not None and (settings.tcp or self._handed):
            self._tls = await to_thread.run_sync(tls.server_context, settings.tls.cert, settings.tls.key)
        for bound in self._handed or await to_thread.run_sync(self._bind):
            opened.callback(bound.close)
            await self._listen_on(bound, opened)

    def _bind(self) -> tuple[socket.socket, ...]:
        bound = []
        if self._settings.tcp:
            plan.check_exposure(self._settings, self._settings.host)
            bound.append(bind_tcp(self._settings.host, self._settings.port))
        try:
            bound.append(bind_unix(self._places.anchor, self._places.folder, self._places.socket.name))
        except BaseException:
            for one in bound:
                one.close()
            raise
        return tuple(bound)

    async def _listen_on(self, bound: socket.socket, opened: AsyncExitStack) -> None:
        if bound.family == socket.AF_UNIX:
            policy, context = plan.unix_policy(self._settings), None
            ours = bound not in self._handed
            self._socket = self._places.socket if ours else Path(bound.getsockname())
            if ours:
                self._identity = _file_at(self._places.socket)
                opened.callback(self._remove_socket)
        else:
            host, port = bound.getsockname()[:2]
            plan.check_exposure(self._settings, host)
            if self._settings.exposed:
                _log.warning("%s is reached by other machines, and nothing is encrypted", host)
            policy, context = plan.tcp_policy(self._settings), self._tls
            self._url = plan.tcp_url(self._settings, host, port)
        serving = listen(bound, self._served.serve, door=self._door, policy=policy, tls=context)
        listener = await opened.enter_async_context(serving)
        self._listeners.append((listener, bound.family == socket.AF_UNIX))

    async def _announce(self, started_at: datetime) -> Announcement:
        issued = await to_thread.run_sync(self._issue)
        announcement = Announcement(
            version=nexus.__version__,
            pid=self._me.pid,
            start_time=self._me.start_time,
            boot_id=self._me.boot_id,
            started_at=started_at,
            socket=self._socket,
            url=self._url,
            page=plan.page_address(self._url) if self._url is not None and self._settings.page else None,
            token=issued.token,
            expires_at=issued.expires_at,
            workspace_folders=(self._root,),
            log=self._log_path,
            fingerprint=self._fingerprint,
            inputs=self._inputs,
        )
        await to_thread.run_sync(announce, self._places, announcement)
        return announcement

    def _issue(self) -> IssuedToken:
        return self._tokens.issue(subject="local", scopes=ALL_SCOPES, ttl=DEFAULT_LIFE)

    async def _renew(self, started_at: datetime) -> None:
        """Announce another token long before the last one ends, and announce again what a tidy program has removed."""
        while True:
            await self._clock.sleep((DEFAULT_LIFE / 2).total_seconds())
            try:
                await self._announce(started_at)
            except NexusError as error:
                _log.warning("the daemon could not be announced again: %s", error.message)

    async def _stay(self, control: Control) -> None:
        """Stop once nobody finds the daemon any more: the runtime folder goes with its user's last session."""
        while self._identity is not None:
            await self._clock.sleep(_LOOK_AGAIN)
            if _file_at(self._places.socket) != self._identity:
                _log.warning("the socket %s was removed, so that nobody can connect any more", self._socket)
                control.stop()
                return

    def _remove_socket(self) -> None:
        if _file_at(self._places.socket) == self._identity:  # another daemon's may be there by now
            remove_unix(self._places.anchor, self._places.folder, self._places.socket.name)

    async def _drain(self) -> None:
        _log.info("stopping: requests have %g s to end", self._settings.drain.total_seconds())
        withdraw(self._places, self._me)
        for listener, _ in self._listeners:
            listener.refuse()
        with anyio.move_on_after(self._settings.drain.total_seconds()) as limit:
            await self._served.drain()
        if limit.cancelled_caught:
            _log.warning("some requests have not ended in time; they are cancelled")
        self._served.dismiss()

    async def _reload(
        self,
        control: Control,
        reread: Callable[[], Awaitable[Reread]],
        log: DaemonLog | None,
        started_at: datetime,
    ) -> None:
        while True:
            await control.told_to_reload()
            try:
                found = await reread()
                await to_thread.run_sync(self._renew_tls, found.settings)
                found.adopt()
                self._go_by(found.settings, log)
                self._fingerprint, self._inputs = found.fingerprint, found.inputs
                await self._announce(started_at)
            except NexusError as error:
                _log.error("the settings were not read again, and stay as they are: %s", error.message)
            else:
                _log.info("the settings were read again")

    def _go_by(self, settings: DaemonSettings, log: DaemonLog | None) -> None:
        before, self._settings = self._settings, settings
        if (settings.tcp, settings.host, settings.port) != (before.tcp, before.host, before.port):
            _log.warning("where the daemon listens has changed, which takes a restart")
        for listener, is_unix in self._listeners:
            listener.renew(plan.unix_policy(settings) if is_unix else plan.tcp_policy(settings))
        if log is not None:
            log.resize(settings.log_size, settings.log_files)

    def _renew_tls(self, settings: DaemonSettings) -> None:
        if self._tls is not None and settings.tls is not None:
            tls.renew(self._tls, settings.tls.cert, settings.tls.key)
        elif (self._tls is None) != (settings.tls is None):
            _log.warning("whether connections are encrypted has changed, which takes a restart")


def _file_at(path: Path) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


async def _kept_going(name: str, task: Callable[[], Awaitable[None]], clock: Clock) -> None:
    while True:
        try:
            await task()
        except Exception as error:  # noqa: BLE001 - what runs beside must not end the daemon
            _log.error("%s failed and is begun again in %g s: %s", name, _AGAIN_AFTER, told(error))
        await clock.sleep(_AGAIN_AFTER)
