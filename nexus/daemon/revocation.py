"""Tokens that were taken back before their time: their ids, kept until the tokens would have ended by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final, Literal, Protocol

from nexus.abc.clock import Clock
from nexus.daemon.private_file import PrivateFile
from nexus.errors import StateError
from nexus.models.base import Model

MAX_REVOKED: Final = 4096
_MAX_FILE: Final = 1024 * 1024


class RevokedTokens(Model):
    """Ids of tokens, each with the time until which it has to be remembered."""

    format: Literal["nexus-revoked"] = "nexus-revoked"
    version: Literal[1] = 1
    until: Mapping[str, datetime] = {}


def revoked(tokens: RevokedTokens | None, token_id: str, until: datetime, now: datetime) -> RevokedTokens:
    """Return the tokens with one more, and without those that have ended by themselves.

    Args:
        tokens: Those of before.
        token_id: Whose time is over.
        until: When it would have ended by itself.
        now: The time.

    Raises:
        StateError: When too many are remembered already.
    """
    live = {known: end for known, end in (tokens or RevokedTokens()).until.items() if end > now}
    live[token_id] = max(until, live.get(token_id, until))
    if len(live) > MAX_REVOKED:
        raise StateError(
            f"{MAX_REVOKED} tokens are revoked already, and no more can be remembered one by one",
            hint="take back all of them: boulder daemon revoke --all",
        )
    return RevokedTokens(until=live)


class Revocations(Protocol):
    """Remembers which tokens were taken back."""

    def has(self, token_id: str) -> bool:
        """Return whether a token was taken back. Asked for every request, so it has to be cheap.

        Raises:
            StateError: When that cannot be known.
        """

    def revoke(self, token_id: str, until: datetime) -> None:
        """Take a token back.

        Args:
            token_id: Its id.
            until: When it would have ended by itself.

        Raises:
            StateError: When it cannot be remembered.
        """


class RevocationFile:
    """Revocations in a file of the user's: one by any process holds for all of them from the next request on.

    Args:
        state: The folder of the daemon's state, which may not be there yet.
        clock: The time by which those are dropped that have ended by themselves.
    """

    def __init__(self, state: Path, clock: Clock) -> None:
        self._file = PrivateFile(RevokedTokens, state.parent, state.name, "revoked.json", limit=_MAX_FILE)
        self._clock = clock

    def has(self, token_id: str) -> bool:
        """Return whether a token was taken back."""
        tokens = self._file.read()
        return tokens is not None and token_id in tokens.until

    def revoke(self, token_id: str, until: datetime) -> None:
        """Take a token back."""
        self._file.update(lambda tokens: revoked(tokens, token_id, until, self._clock.now()))


class MemoryRevocations:
    """Revocations that end with this process.

    Args:
        clock: As for :class:`RevocationFile`.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tokens = RevokedTokens()

    def has(self, token_id: str) -> bool:
        """Return whether a token was taken back."""
        return token_id in self._tokens.until

    def revoke(self, token_id: str, until: datetime) -> None:
        """Take a token back."""
        self._tokens = revoked(self._tokens, token_id, until, self._clock.now())
