"""The connection itself: tokens, sessions, events, streams, and what there is."""

from __future__ import annotations

import logging
import time
from functools import cache
from typing import Final, cast

from anyio import to_thread

from nexus.daemon.call import Call, Routes
from nexus.daemon.event_log import EventOutlet
from nexus.daemon.principal import Scope
from nexus.errors import ScopeDenied, Unsupported
from nexus.models.events import WorkspaceEvent
from nexus.wire.limits import PROTOCOL
from nexus.wire.methods import events as told
from nexus.wire.methods import session as methods
from nexus.wire.methods.table import AnyMethod, Nothing
from nexus.wire.openrpc import document

ROUTES: Final = Routes()
_NOTHING: Final = Nothing()
_log: Final = logging.getLogger("nexus.daemon")


@ROUTES.on(methods.REFRESH)
async def refresh(call: Call, params: methods.Auth) -> methods.Authenticated:
    """Take a new token. It has to be the same subject's: a session does not change hands."""
    principal = await call.hub.authenticator.admit(call.connection.transport.peer, params.token)
    if principal.subject != call.principal.subject:
        raise ScopeDenied(
            f"the new token is of {principal.subject}, and this session is of {call.principal.subject}",
            hint="connect again with it",
            details={"subject": principal.subject},
        )
    call.connection.principal = principal
    return methods.Authenticated(
        expires_at=principal.expires_at, scopes=tuple(sorted(str(scope) for scope in principal.scopes))
    )


@ROUTES.on(methods.CLOSE)
async def close(call: Call, _params: Nothing) -> Nothing:
    """End the session."""
    if call.connection.session is not None:
        call.hub.sessions.end(call.connection.session)
    return _NOTHING


@ROUTES.on(methods.INFO)
async def info(call: Call, _params: Nothing) -> methods.DaemonInfo:
    """Tell how the daemon fares."""
    hub = call.hub
    return methods.DaemonInfo(
        version=hub.version,
        protocol=PROTOCOL,
        repository=hub.repository,
        uptime_ms=round((time.monotonic() - hub.since) * 1000),
        connections=hub.connections,
        sessions=len(hub.sessions),
        execs=len(hub.execs),
    )


@ROUTES.on(methods.SHUTDOWN)
async def shutdown(call: Call, _params: Nothing) -> Nothing:
    """Have the daemon stop."""
    if call.hub.on_shutdown is None:
        raise Unsupported(
            "this daemon is part of another program, which ends it", hint="end that program, or close its daemon there"
        )
    _log.warning("%s tells the daemon to stop", call.principal.subject)
    call.hub.on_shutdown()
    return _NOTHING


@ROUTES.on(methods.SUBSCRIBE)
async def subscribe(call: Call, params: methods.Subscribe) -> methods.Subscribed:
    """Begin to send events. A second subscription takes the place of the first."""
    connection, log = call.connection, call.hub.events
    await log.listening.wait()
    if connection.events is not None:
        connection.events.close()
    since = log.newest if params.since is None else min(params.since, log.newest)
    outlet: EventOutlet
    outlet = EventOutlet(log, since, lambda event: _may_know(call, event), lambda: connection.ready(outlet))
    connection.events = outlet
    connection.ready(outlet)
    return methods.Subscribed(oldest=log.oldest, newest=log.newest, lost=since + 1 < log.oldest)


def _may_know(call: Call, event: WorkspaceEvent) -> bool:
    principal = call.connection.principal or call.principal
    return principal.allows(Scope.WORKSPACE_READ) and principal.reaches(event.name, event.workspace)


@ROUTES.on(methods.UNSUBSCRIBE)
async def unsubscribe(call: Call, _params: Nothing) -> Nothing:
    """Send no more events."""
    if call.connection.events is not None:
        call.connection.events.close()
        call.connection.events = None
    return _NOTHING


@ROUTES.on(told.REPLAY)
async def replay(call: Call, params: told.Replay) -> told.Replayed:
    """Return events that are kept."""
    log, seq = call.hub.events, params.since
    items: list[told.NumberedEvent] = []
    while len(items) < params.limit and (found := log.after(seq)) is not None:
        seq, event = found
        if _may_know(call, event):
            items.append(told.NumberedEvent(seq=seq, event=event))
    return told.Replayed(items=tuple(items), newest=log.newest, lost=params.since + 1 < log.oldest)


@ROUTES.on(methods.ATTACH_STREAM)
async def attach_stream(call: Call, params: methods.AttachFeed) -> methods.Attached:
    """Go on with a log or file."""
    feed = call.hub.feeds.find(params.feed, owner_of(call))
    call.connection.streams.detach(feed)
    outlet = call.connection.streams.attach(feed, {"data": params.offset}, owner=True)
    outlet.wake()
    return methods.Attached(
        stream=outlet.streams["data"], oldest=feed.log.oldest["data"], newest=feed.log.newest["data"]
    )


@ROUTES.on(methods.CLOSE_STREAM)
async def close_stream(call: Call, params: methods.FeedRef) -> Nothing:
    """Let go of a log or file."""
    call.hub.feeds.close(params.feed, owner_of(call))
    return _NOTHING


def owner_of(call: Call) -> str:
    """Return the session that what this call makes belongs to."""
    session = call.connection.session
    return session.id if session is not None else ""


def describe(routes: Routes) -> None:
    """Let a table describe itself."""

    @cache
    def described(version: str) -> methods.Document:
        return document((cast("AnyMethod", methods.INITIALIZE), *routes.methods), version=version)

    @routes.on(methods.DISCOVER)
    async def discover(call: Call, _params: Nothing) -> methods.Document:
        # It takes a while and never changes.
        return await to_thread.run_sync(described, call.hub.version)
