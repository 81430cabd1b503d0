"""What all connections of one daemon share."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import anyio
from anyio.abc import TaskGroup

from nexus.abc.files import FileAccess, PromptFiles
from nexus.abc.service import WorkspaceService
from nexus.daemon.event_log import EventLog
from nexus.daemon.execs import Execs
from nexus.daemon.feeds import Feeds, Source
from nexus.daemon.keyed import KeyedWork
from nexus.daemon.patience import DEFAULT_PATIENCE, Patience
from nexus.daemon.principal import Authenticator, Principal
from nexus.daemon.session import Sessions
from nexus.daemon.typists import Typists
from nexus.errors import ScopeDenied, WorkspaceNotFound
from nexus.models.events import StatusChanged, WorkspaceEvent
from nexus.models.workspace import WorkspaceInfo, WorkspaceStatus
from nexus.wire.limits import DEFAULT_LIMITS, Limits

_FRESH_SECONDS: Final = 2.0
"""How long it is believed which workspace a name means: asking takes a question to its backend."""
_MOST_KNOWN: Final = 1024


@dataclass(frozen=True, slots=True)
class _Known:
    info: WorkspaceInfo
    files: FileAccess
    prompt: PromptFiles | None
    until: float


class Hub:
    """The service, and what goes on in it for all clients.

    Args:
        service: What is served.
        authenticator: Decides who somebody is.
        group: Where work runs that outlives a connection.
        limits: What every connection may take.
        patience: How long a client is waited for.
        on_shutdown: Has the daemon stop when somebody who may asks for it; ``None`` where that is not to be had.
        version: Ours, for those who ask.
        repository: The repository, for those who ask.
    """

    def __init__(
        self,
        service: WorkspaceService,
        authenticator: Authenticator,
        group: TaskGroup,
        *,
        limits: Limits = DEFAULT_LIMITS,
        patience: Patience = DEFAULT_PATIENCE,
        on_shutdown: Callable[[], None] | None = None,
        version: str,
        repository: str,
    ) -> None:
        self._group = group
        self.service = service
        self.authenticator = authenticator
        self.limits = limits
        self.patience = patience
        self.on_shutdown = on_shutdown
        self.version = version
        self.repository = repository
        self.since = time.monotonic()
        self.connections = 0
        self.requests = 0
        """Requests that are being worked on, on all connections."""
        self.draining = False
        """Whether no new ones are taken: the daemon ends."""
        self._settled = anyio.Event()
        self.events = EventLog()
        self.execs = Execs(group)
        self.feeds = Feeds()
        self.typists = Typists(group)
        self.work = KeyedWork(group)
        self.sessions = Sessions(group, limits.session_grace_ms / 1000, self._session_ended)
        self._places: dict[str, _Known] = {}
        self.events.watchers.append(self._forget_changed)

    def _session_ended(self, session: str) -> None:
        self.execs.end_session(session)
        self.feeds.close_all(session)
        self.typists.end_session(session)

    def began(self) -> None:
        """Count a request that is worked on."""
        self.requests += 1

    def ended(self) -> None:
        """Count one that is answered."""
        self.requests -= 1
        if not self.requests:
            self._settled.set()

    async def settle(self) -> None:
        """Take no new request, and return when those that are worked on have ended."""
        self.draining = True
        while self.requests:
            self._settled = anyio.Event()
            await self._settled.wait()

    def start(self, feed: Source) -> None:
        """Read a log or file from now on; it ends with its session."""
        self.feeds.add(feed)
        self._group.start_soon(feed.run)

    async def info(self, ref: str, principal: Principal) -> WorkspaceInfo:
        """Return which workspace a name or id means, as it was a moment ago.

        Raises:
            WorkspaceNotFound: When there is none.
            ScopeDenied: When the token is not for it.
        """
        return (await self._known(ref, principal)).info

    async def files(self, ref: str, principal: Principal) -> FileAccess:
        """Return access to a workspace's files.

        Raises:
            WorkspaceNotFound, ScopeDenied: As :meth:`info`.
        """
        return (await self._known(ref, principal)).files

    def prompt_files(self, ref: str, principal: Principal) -> PromptFiles | None:
        """Return access to what is in memory of a workspace's files; ``None`` where it has to be asked first which workspace that is.

        Raises:
            ScopeDenied: When the token is not for it.
        """
        known = self._places.get(ref)
        if known is None or known.prompt is None or known.until < time.monotonic():
            return None
        principal.require_workspace(known.info.name, known.info.id)
        return known.prompt

    def forget(self, info: WorkspaceInfo) -> None:
        """Ask again which workspace these names mean."""
        for ref in (info.id, info.name):
            self._places.pop(ref, None)

    async def _known(self, ref: str, principal: Principal) -> _Known:
        known = self._places.get(ref)
        now = time.monotonic()
        if known is None or known.until < now:
            known = await self._look(ref, principal, now)
        principal.require_workspace(known.info.name, known.info.id)
        return known

    async def _look(self, ref: str, principal: Principal, now: float) -> _Known:
        try:
            info = await self.service.get(ref)
        except WorkspaceNotFound:
            if principal.workspaces == "*" or ref in principal.workspaces:
                raise
            # Whether others have a workspace of this name is not told to those whom it does not concern.
            principal.require_workspace(ref, ref)
            raise
        if len(self._places) >= _MOST_KNOWN:
            self._places.clear()
        files = self.service.files(info)
        prompt = files if isinstance(files, PromptFiles) else None
        known = self._places[ref] = _Known(info, files, prompt, now + _FRESH_SECONDS)
        return known

    def _forget_changed(self, event: WorkspaceEvent) -> None:
        if isinstance(event, StatusChanged) and event.status in {WorkspaceStatus.DESTROYED, WorkspaceStatus.PENDING}:
            self._places.pop(event.workspace, None)
            self._places.pop(event.name, None)


def require_all(principal: Principal, method: str) -> None:
    """Return when a token is for all workspaces.

    Raises:
        ScopeDenied: When it is for some only.
    """
    if principal.workspaces != "*":
        raise ScopeDenied(
            f"{method} is about the whole repository, and the token of {principal.subject} is for some workspaces only",
            hint="ask for a token for all workspaces",
            details={"workspace": "*", "subject": principal.subject},
        )
