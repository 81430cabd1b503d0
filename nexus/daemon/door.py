"""The door: who may come in, who waits, and who has to go. Every refusal is logged with who and why, never with a secret."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Final

from nexus.abc.clock import Clock
from nexus.abc.transport import Peer
from nexus.daemon.failures import Failures, counted_as
from nexus.daemon.principal import Principal
from nexus.daemon.tokens import Tokens
from nexus.errors import AuthError, Unauthenticated

MAX_STRANGERS: Final = 64
"""Connections that have not shown a valid token yet."""
MAX_STRANGERS_EACH: Final = 32
"""Those of them that may come from one peer."""
MAX_WAITING_EACH: Final = 8
"""Failures of one peer that wait for their answer at the same time; further ones are answered at once."""

_log: Final = logging.getLogger("nexus.daemon")


class Door:
    """Lets people in by their token. Implements :class:`~nexus.daemon.principal.Authenticator`.

    A valid token is never made to wait: guessing 256 bits is hopeless, and whoever fails on purpose must not keep others out.

    Args:
        tokens: What verifies them.
        clock: The time that failures are counted and answered by.
    """

    def __init__(self, tokens: Tokens, clock: Clock) -> None:
        self._tokens = tokens
        self._clock = clock
        self._failures = Failures()
        self._waiting: Counter[str] = Counter()
        self._strangers: dict[str, str] = {}

    def __len__(self) -> int:
        """Return how many strangers there are."""
        return len(self._strangers)

    def verify(self, token: str) -> Principal:
        """Return whose token this is.

        Raises:
            TokenExpired, Unauthenticated: As :meth:`Tokens.verify`.
        """
        return self._tokens.verify(token)

    def check(self, principal: Principal) -> None:
        """Return while the token behind a principal still holds.

        Raises:
            TokenExpired, Unauthenticated: As :meth:`Tokens.check`.
        """
        self._tokens.check(principal)

    async def admit(self, peer: Peer, token: str | None) -> Principal:
        """Verify a token for a connection, which is no stranger any more then.

        Raises:
            TokenExpired, Unauthenticated: When it does not hold, or there is none; after a while where this peer failed often.
        """
        try:
            principal = self._accepted(token)
        except AuthError as error:
            await self._refuse(peer, error)
            raise
        if self._strangers.pop(peer.address, None) is not None:
            _log.info(
                "%s comes in as %s with token %s", peer.address, _plain(principal.subject), _plain(principal.token_id)
            )
        return principal

    def arrive(self, peer: Peer) -> bool:
        """Return whether there is room for one more that has not shown a token; each that got in calls :meth:`leave` later.

        Args:
            peer: Who. Its address is its own: no two connections that are open have the same.
        """
        who = counted_as(peer)
        crowd = sum(1 for other in self._strangers.values() if other == who)
        if len(self._strangers) >= MAX_STRANGERS or crowd >= MAX_STRANGERS_EACH:
            _log.warning("refused %s: %d connections without a token are open", peer.address, len(self._strangers))
            return False
        self._strangers[peer.address] = who
        return True

    def leave(self, peer: Peer) -> None:
        """Forget a connection that has ended."""
        self._strangers.pop(peer.address, None)

    def is_stranger(self, peer: Peer) -> bool:
        """Return whether a connection has arrived and has not shown a valid token yet."""
        return peer.address in self._strangers

    def _accepted(self, token: str | None) -> Principal:
        if token is None:
            raise Unauthenticated("there is no token", hint="get one: boulder daemon token")
        return self._tokens.verify(token)

    async def _refuse(self, peer: Peer, error: AuthError) -> None:
        who = counted_as(peer)
        delay = self._failures.failed(who, self._clock.now())
        if delay and self._waiting[who] >= MAX_WAITING_EACH:
            delay = 0.0
        _log.warning("refused %s: %s%s", peer.address, error.message, f" (answered after {delay:g} s)" if delay else "")
        if not delay:
            return
        self._waiting[who] += 1
        try:
            await self._clock.sleep(delay)
        finally:
            self._waiting[who] -= 1
            if not self._waiting[who]:
                del self._waiting[who]


def _plain(text: str) -> str:
    """Return what a token says as one harmless line."""
    return "".join(char if char.isprintable() else "?" for char in text)
