"""From a request to its answer: who may, with what, for how long; and what becomes of it when nobody waits any more."""

from __future__ import annotations

import logging
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import anyio

from nexus.daemon.attending import told
from nexus.daemon.call import Call, Route, Routes
from nexus.daemon.hub import require_all
from nexus.daemon.keyed import Report, Work
from nexus.daemon.principal import Principal, Scope
from nexus.daemon.rate import RateLimit
from nexus.errors import AuthError, Busy, DaemonUnavailable, NexusError, OperationTimeout, Unauthenticated, Unsupported
from nexus.models.base import Model
from nexus.wire.failures import fault_of
from nexus.wire.messages import CANCELLED, METHOD_NOT_FOUND, Fault, MessageId, Params, Request
from nexus.wire.methods.table import Effect, KeyedParams, OfWorkspace

if TYPE_CHECKING:
    from nexus.daemon.connection import ServedConnection

_PER_SECOND: Final = 20_000.0
_BURST: Final = 40_000.0
_LATER: Final = "connect again in a moment"
_log: Final = logging.getLogger("nexus.daemon")


@dataclass(slots=True)
class Running:
    """A request that is worked on."""

    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    unwanted: bool = False
    """Whether its client has cancelled it."""
    deadline: anyio.CancelScope | None = None

    @property
    def given_up(self) -> bool:
        """Whether nobody wants it any more. Otherwise, when it is cancelled, only the connection was lost."""
        return self.unwanted or (self.deadline is not None and self.deadline.cancel_called)


class Requests:
    """The requests of one connection.

    Args:
        connection: The connection.
        routes: What carries out each method.
    """

    def __init__(self, connection: ServedConnection, routes: Routes) -> None:
        self._connection = connection
        self._routes = routes
        self._running: dict[MessageId, Running] = {}
        self._rate = RateLimit(_PER_SECOND, _BURST)

    def begin(self, request: Request) -> Running | None:
        """Take note of a request, to be worked on at the same time as others; ``None`` when it is answered already.

        That is one that is refused, and one whose answer takes no waiting.
        """
        why = self._refusal()
        if why is not None:
            self._connection.wire.fail(request.id, fault_of(why))
            return None
        result = self._at_once(request)
        if result is not None:
            self._respond(request, result)
            return None
        running = self._running[request.id] = Running()
        self._connection.hub.began()
        return running

    def _refusal(self) -> NexusError | None:
        hub = self._connection.hub
        most = hub.limits.in_flight
        if hub.draining:
            return DaemonUnavailable("the daemon is stopping", hint=_LATER)
        if len(self._running) >= most:
            return Busy(f"{most} requests are being worked on")
        return None if self._rate.take(time.monotonic()) else Busy("too many requests")

    def _at_once(self, request: Request) -> Model | None:
        """Return the result of a request for which nothing has to be waited; every error is left to the ordinary way, which tells of it."""
        route, principal = self._routes.find(request.method), self._connection.principal
        if route is None or route.prompt is None or principal is None:
            return None
        try:
            params = self._permitted(request, route, principal)
            return route.prompt(Call(self._connection.hub, principal, self._connection, None), params)
        except Exception:  # noqa: BLE001 - as it says
            return None

    def cancel(self, id: MessageId) -> None:  # noqa: A002 - JSON-RPC's word
        """Take note that the answer to a request is not wanted any more."""
        running = self._running.get(id)
        if running is not None:
            running.unwanted = True
            running.scope.cancel()

    async def answer(self, request: Request, running: Running) -> None:
        """Carry a request out, and send the answer."""
        wire = self._connection.wire
        try:
            with running.scope:
                result = await self._outcome(request, running)
                self._respond(request, result)
            if running.scope.cancelled_caught and running.unwanted:
                wire.fail(request.id, Fault(CANCELLED, "the request was cancelled", {"code": "CANCELLED"}))
        finally:
            self._running.pop(request.id, None)
            self._connection.hub.ended()
        self._connection.flush()

    def _respond(self, request: Request, result: Model | Fault) -> None:
        wire = self._connection.wire
        if isinstance(result, Fault):
            wire.fail(request.id, result)
            return
        try:
            wire.respond(request.id, result)
        except NexusError as error:
            wire.fail(request.id, fault_of(error))

    async def _outcome(self, request: Request, running: Running) -> Model | Fault:
        try:
            return await self._carry_out(request, running)
        except NexusError as error:
            if isinstance(error, AuthError):
                self._refused(request, error)
            fault = fault_of(error, request_id=str(request.id))
            unknown = isinstance(error, Unsupported) and self._routes.find(request.method) is None
            return Fault(METHOD_NOT_FOUND, fault.message, fault.data) if unknown else fault
        except Exception as error:  # noqa: BLE001 - it is logged, and the client is told that there was one
            id = f"rq_{uuid.uuid4().hex[:12]}"  # noqa: A001
            fault = fault_of(error, request_id=id)
            if fault.data.get("code") == "INTERNAL":
                _log.error("request %s (%s) failed: %s", id, request.method[:64], told(error))
            return fault

    def _refused(self, request: Request, error: AuthError) -> None:
        principal = self._connection.principal
        who = principal.subject if principal is not None else "nobody"
        _log.warning(
            "refused %s of %s from %s: %s", request.method[:64], who, self._connection.transport.peer, error.code
        )

    async def _carry_out(self, request: Request, running: Running) -> Model:
        connection = self._connection
        principal, hub = connection.principal, connection.hub
        if principal is None:
            raise Unauthenticated("the first message is 'initialize'")
        route = self._routes.find(request.method)
        if route is None:
            raise Unsupported(f"there is no method {request.method!r}", hint="rpc.discover lists them")
        params = self._permitted(request, route, principal)
        if isinstance(params, OfWorkspace) and principal.workspaces != "*":
            await hub.info(params.workspace, principal)
        limit = _limit(request.params)
        if limit is None:
            return await self._act(request, route, params, principal, running)
        with anyio.move_on_after(limit) as running.deadline:
            return await self._act(request, route, params, principal, running)
        raise OperationTimeout(f"{route.method.name} did not end within {limit:g} s")

    def _permitted(self, request: Request, route: Route, principal: Principal) -> Model:
        """Return the parameters of a request that may be made, as far as the request itself says."""
        self._connection.hub.authenticator.check(principal)
        if route.method.scope is not None:
            principal.require(Scope(route.method.scope))
        if route.method.whole:
            require_all(principal, route.method.name)
        return route.method.params.model_validate(request.params, by_alias=True, by_name=False)

    async def _act(
        self, request: Request, route: Route, params: Model, principal: Principal, running: Running
    ) -> Model:
        connection, hub = self._connection, self._connection.hub
        report = self._report(request)
        if route.method.effect is not Effect.KEYED:
            return await route.handler(Call(hub, principal, connection, report), params)

        async def act(work: Work[Model]) -> Model:
            return await route.handler(Call(hub, principal, connection, work.progress), params)

        key = params.idempotency_key if isinstance(params, KeyedParams) else None
        return await hub.work.do(
            (principal.subject, route.method.name, key), params, act, report=report, unwanted=lambda: running.given_up
        )

    def _report(self, request: Request) -> Report | None:
        """Return what tells the client how its request moves on, when it has asked for that."""
        meta = request.params.get("_meta")
        token = meta.get("progressToken") if isinstance(meta, dict) else None
        if not isinstance(token, int | str):
            return None

        def report(step: str, message: str, done: int | None = None, total: int | None = None, /) -> None:
            value = {"kind": "report", "step": step, "message": message, "done": done, "total": total}
            self._connection.wire.progress(request.id, token, value)
            self._connection.flush()

        return report


def _limit(params: Params) -> float | None:
    """Return the time that a client gives a request, in seconds."""
    meta = params.get("_meta")
    limit = meta.get("timeoutMs") if isinstance(meta, dict) else None
    return limit / 1000 if isinstance(limit, int) and limit > 0 else None
