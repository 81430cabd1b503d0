"""``initialize``: versions, capabilities, and who is asking. Nothing else is done before."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pydantic import ValidationError

from nexus.daemon.capabilities import capabilities
from nexus.daemon.principal import Principal
from nexus.daemon.session import Session
from nexus.errors import AuthError, NexusError, VersionMismatch
from nexus.wire.connection import Event
from nexus.wire.failures import fault_of
from nexus.wire.limits import OLDEST_PROTOCOL, PROTOCOL
from nexus.wire.messages import INVALID_REQUEST, NOT_INITIALIZED, Fault, Request
from nexus.wire.methods.session import INITIALIZE, Initialize, Initialized, Software

if TYPE_CHECKING:
    from nexus.daemon.connection import ServedConnection

_TOO_EARLY = Fault(
    NOT_INITIALIZED, "the first message is 'initialize'", {"code": "UNAUTHENTICATED", "retryable": False}
)
_TWICE = Fault(
    INVALID_REQUEST, "this connection is initialized already", {"code": "PROTOCOL_ERROR", "retryable": False}
)


async def greet(connection: ServedConnection) -> None:
    """Read until the client has said who it is; everything else is refused until then.

    Raises:
        AuthError, VersionMismatch: When it is not accepted; it has been told.
        ConnectionLost, ProtocolError: As the transport and the protocol have it.
    """
    while connection.principal is None:
        events = connection.wire.receive(await connection.transport.receive())
        for event in events:
            await _take(connection, event)
        connection.flush()
        await connection.calm()


async def _take(connection: ServedConnection, event: Event) -> None:
    if not isinstance(event, Request):
        return
    if connection.principal is not None or event.method != INITIALIZE.name:
        connection.wire.fail(event.id, _TWICE if connection.principal is not None else _TOO_EARLY)
        return
    try:
        answer = await _initialize(connection, event)
    except (AuthError, VersionMismatch) as error:
        connection.wire.fail(event.id, fault_of(error))
        await _last_words(connection)
        raise
    except (NexusError, ValidationError) as error:
        connection.wire.fail(event.id, fault_of(error))
        return
    connection.wire.respond(event.id, answer)


async def _last_words(connection: ServedConnection) -> None:
    """Send the refusal by hand: the writer ends with the connection, perhaps before its turn."""
    for message in connection.wire.take_outgoing():
        await connection.transport.send(message)


async def _initialize(connection: ServedConnection, request: Request) -> Initialized:
    params = Initialize.model_validate(request.params, by_alias=True, by_name=False)
    if not (params.protocol.min <= PROTOCOL and params.protocol.max >= OLDEST_PROTOCOL):
        raise VersionMismatch(
            f"the client speaks versions {params.protocol.min} to {params.protocol.max} of the protocol, "
            f"this daemon {OLDEST_PROTOCOL} to {PROTOCOL}",
            hint="install the same version of Nexus on both sides",
            details={
                "client": [params.protocol.min, params.protocol.max],
                "daemon": [OLDEST_PROTOCOL, PROTOCOL],
            },
        )
    hub, peer = connection.hub, connection.transport.peer
    token = params.auth.token if params.auth is not None else peer.token
    principal = await hub.authenticator.admit(peer, token)
    session, resumed = _session(connection, params, principal)
    connection.session, connection.principal = session, principal
    connection.wire.text_only = params.capabilities.get("binaryFrames") is False
    return Initialized(
        protocol=min(PROTOCOL, params.protocol.max),
        server=Software(name="nexus", version=hub.version),
        session_id=session.id,
        resume_token=session.renew_token(),
        resumed=resumed,
        subject=principal.subject,
        scopes=tuple(sorted(str(scope) for scope in principal.scopes)),
        workspaces="*" if principal.workspaces == "*" else tuple(sorted(principal.workspaces)),
        expires_at=principal.expires_at,
        server_time_ms=round(time.time() * 1000),
        capabilities=await capabilities(hub.service, text_only=connection.wire.text_only),
        limits=hub.limits,
    )


def _session(connection: ServedConnection, params: Initialize, principal: Principal) -> tuple[Session, bool]:
    sessions, wanted = connection.hub.sessions, params.resume
    if wanted is not None:
        found = sessions.resume(wanted.session_id, wanted.resume_token, principal.subject, connection)
        if found is not None:
            return found, True
    return sessions.begin(principal.subject, connection), False
