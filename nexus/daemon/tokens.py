"""Tokens: JSON Web Tokens signed by this installation, for this installation (RFC 7519, RFC 8725).

One algorithm, HS256, is pinned; the type has to be ``nexus+jwt``; every claim that is read is required. No message quotes a token.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal

import jwt
from pydantic import Field, ValidationError

from nexus.abc.clock import Clock
from nexus.daemon.keys import Keys, KeySet
from nexus.daemon.principal import Principal, Scope, WorkspaceAudience
from nexus.daemon.revocation import Revocations
from nexus.errors import InvalidArgument, NexusError, StateError, TokenExpired, Unauthenticated
from nexus.models.base import Model
from nexus.models.units import format_duration, parse_duration

TYPE: Final = "nexus+jwt"
ALGORITHM: Final = "HS256"
ISSUER: Final = "nexus"
DEFAULT_LIFE: Final = timedelta(hours=1)
LONGEST_LIFE: Final = timedelta(hours=24)
LEEWAY: Final = timedelta(seconds=30)
"""How far the clocks of those who issue and those who verify may be apart."""
GRACE: Final = timedelta(seconds=60)
"""How long an open connection is still served when its token has ended, so that it can show a new one."""
MAX_LENGTH: Final = 8192

_REQUIRED: Final = ("exp", "iss", "aud", "sub", "jti", "iat")
_ANOTHER: Final = "get another one: boulder daemon token"


class IssuedToken(Model):
    """A new token."""

    token: Annotated[str, Field(repr=False)]
    """The secret itself. It is shown once and kept nowhere."""
    token_id: str
    """What it is revoked by."""
    subject: str
    scopes: tuple[Scope, ...]
    workspaces: Literal["*"] | tuple[str, ...]
    expires_at: datetime

    def __str__(self) -> str:
        return f"<token {self.token_id} of {self.subject}>"


class _Claims(Model):
    """What a token says, beside what PyJWT has checked."""

    sub: Annotated[str, Field(min_length=1, max_length=200)]
    jti: Annotated[str, Field(min_length=1, max_length=100)]
    exp: Annotated[int, Field(strict=True, ge=0, lt=1 << 40)]
    iat: Annotated[int, Field(strict=True, ge=0, lt=1 << 40)]
    iss: str
    aud: str
    scope: Annotated[str, Field(max_length=1000)]
    ws: Literal["*"] | Annotated[tuple[str, ...], Field(max_length=1000)]


class Tokens:
    """Issues, verifies and revokes.

    Args:
        keys: What tokens are signed with.
        revocations: Which of them were taken back.
        clock: The time they are judged by.
    """

    def __init__(self, keys: Keys, revocations: Revocations, clock: Clock) -> None:
        self._keys = keys
        self._revocations = revocations
        self._clock = clock

    def issue(
        self,
        *,
        subject: str,
        scopes: Iterable[Scope | str],
        workspaces: Iterable[str] | Literal["*"] = "*",
        ttl: float | timedelta | str = DEFAULT_LIFE,
    ) -> IssuedToken:
        """Return a new token.

        Args:
            subject: Who it is for; for people and logs.
            scopes: What it allows.
            workspaces: Names or ids of the workspaces it is for.
            ttl: How long it holds: seconds, a span, or text such as ``45m``. At most 24 hours.

        Raises:
            InvalidArgument: When a scope is unknown, none is given, or the time is not between a second and 24 hours.
            StateError: When there is no key and none can be made.
        """
        if not 1 <= len(subject) <= 200:
            raise InvalidArgument("the subject of a token has 1 to 200 characters")
        chosen = _scopes(scopes)
        audience: Literal["*"] | tuple[str, ...] = "*" if workspaces == "*" else tuple(sorted(set(workspaces)))
        if not audience:
            raise InvalidArgument("a token for no workspace allows nothing", hint="name one, or give '*' for all")
        issued_at = self._clock.now().astimezone(UTC).replace(microsecond=0)
        expires_at = issued_at + _life(ttl)
        keys = self._keys.ensure()
        token_id = f"{keys.current.kid}-{secrets.token_hex(12)}"
        claims = _Claims(
            iss=ISSUER,
            aud=_audience(keys),
            sub=subject,
            jti=token_id,
            iat=int(issued_at.timestamp()),
            exp=int(expires_at.timestamp()),
            scope=" ".join(chosen),
            ws=audience,
        )
        token = jwt.encode(
            claims.model_dump(),
            keys.current.secret,
            algorithm=ALGORITHM,
            headers={"typ": TYPE, "kid": keys.current.kid},
        )
        if len(token) > MAX_LENGTH:
            raise InvalidArgument(
                f"a token for {len(audience)} workspaces is longer than the {MAX_LENGTH} characters that are read",
                hint="name fewer, or give '*' for all",
            )
        return IssuedToken(
            token=token,
            token_id=token_id,
            subject=subject,
            scopes=chosen,
            workspaces=audience,
            expires_at=expires_at,
        )

    def verify(self, token: str) -> Principal:
        """Return whose token this is.

        Raises:
            TokenExpired: When its time is over.
            Unauthenticated: When it is no token of ours, or was revoked.
        """
        claims = self._claims(token)
        now = self._clock.now()
        expires_at = datetime.fromtimestamp(claims.exp, UTC)
        if now >= expires_at + LEEWAY:
            raise _expired()
        if datetime.fromtimestamp(claims.iat, UTC) > now + LEEWAY:
            raise Unauthenticated("the token was issued in the future", hint="set the clocks of both machines")
        if claims.exp - claims.iat > LONGEST_LIFE.total_seconds():
            raise Unauthenticated(f"the token holds longer than {format_duration(LONGEST_LIFE)}", hint=_ANOTHER)
        self._not_revoked(claims.jti)
        known = {str(scope): scope for scope in Scope}
        audience: WorkspaceAudience = "*" if claims.ws == "*" else frozenset(claims.ws)
        return Principal(
            subject=claims.sub,
            # A newer release may have more of them; they mean nothing here.
            scopes=frozenset(known[name] for name in claims.scope.split() if name in known),
            workspaces=audience,
            expires_at=expires_at,
            token_id=claims.jti,
        )

    def check(self, principal: Principal) -> None:
        """Return while the token behind a principal still holds.

        Raises:
            TokenExpired: When its time has been over for a minute.
            Unauthenticated: When it was revoked, or its key forgotten.
        """
        if principal.expires_at is None:
            return
        if self._clock.now() >= principal.expires_at + GRACE:
            raise _expired()
        if self._current().find(principal.token_id.partition("-")[0]) is None:
            raise Unauthenticated("the key of the token was replaced", hint=_ANOTHER)
        self._not_revoked(principal.token_id)

    def revoke(self, token_id: str) -> None:
        """Take a token back, for every process of this installation.

        Raises:
            StateError: When it cannot be remembered.
        """
        self._revocations.revoke(token_id, self._clock.now() + LONGEST_LIFE + GRACE)

    def rotate(self, *, forget: bool = False) -> None:
        """Make a new key that signs from now on.

        Args:
            forget: Whether every token that was issued before is void at once; otherwise they hold until the next rotation.

        Raises:
            StateError: When it cannot be kept; the old one still holds.
        """
        self._keys.rotate(forget=forget)

    def _claims(self, token: str) -> _Claims:
        if len(token) > MAX_LENGTH or not token.isascii():
            raise _foreign()
        keys = self._current()
        try:
            header = jwt.get_unverified_header(token)
            kid = header.get("kid")
            if header.get("typ") != TYPE or header.get("alg") != ALGORITHM or "crit" in header or type(kid) is not str:
                raise _foreign()
            key = keys.find(kid)
            if key is None:
                raise _foreign()
            found = jwt.decode(
                token,
                key.secret,
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                audience=_audience(keys),
                # Times are judged below, by our own clock.
                options={"require": list(_REQUIRED), "verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
            claims = _Claims.model_validate(found)
        except (jwt.PyJWTError, ValidationError, ValueError, RecursionError):
            raise _foreign() from None  # the cause may quote the token
        if not claims.jti.startswith(f"{kid}-"):
            raise _foreign()
        return claims

    def _current(self) -> KeySet:
        try:
            keys = self._keys.read()
        except StateError as error:
            raise _unreadable(error) from error
        if keys is None:
            raise _foreign()
        return keys

    def _not_revoked(self, token_id: str) -> None:
        try:
            taken_back = self._revocations.has(token_id)
        except StateError as error:
            raise _unreadable(error) from error
        if taken_back:
            raise Unauthenticated("the token was revoked", hint=_ANOTHER)


def _scopes(given: Iterable[Scope | str]) -> tuple[Scope, ...]:
    try:
        chosen = {Scope(scope) for scope in given}
    except ValueError as error:
        raise InvalidArgument(f"{error}; there are: {', '.join(Scope)}") from None
    if not chosen:
        raise InvalidArgument("a token without a scope allows nothing", hint=f"there are: {', '.join(Scope)}")
    return tuple(scope for scope in Scope if scope in chosen)


def _life(ttl: float | timedelta | str) -> timedelta:
    life = parse_duration(ttl)
    if not timedelta(seconds=1) <= life <= LONGEST_LIFE:
        raise InvalidArgument(
            f"a token holds between 1s and {format_duration(LONGEST_LIFE)}, not {format_duration(life)}",
            hint="whoever needs it for longer asks for another one before it ends",
        )
    return life


def _audience(keys: KeySet) -> str:
    return f"nexus:{keys.install}"


def _expired() -> NexusError:
    return TokenExpired("the time of the token is over", hint=_ANOTHER)


def _foreign() -> NexusError:
    return Unauthenticated("this is no token of this installation", hint=_ANOTHER)


def _unreadable(error: StateError) -> NexusError:
    return Unauthenticated(f"no token can be verified: {error.message}", hint=error.hint)
