"""The secrets that tokens are signed with: this installation's own, at most two at a time."""

from __future__ import annotations

import secrets
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal, Protocol

from pydantic import Base64Bytes, Field

from nexus.abc.clock import Clock
from nexus.daemon.private_file import PrivateFile
from nexus.models.base import Model

SECRET_BYTES: Final = 32
_MAX_FILE: Final = 16 * 1024


class SigningKey(Model):
    """One secret and the name that tokens call it by."""

    kid: Annotated[str, Field(pattern="^[0-9a-f]{8}$")]
    secret: Annotated[Base64Bytes, Field(min_length=SECRET_BYTES, max_length=SECRET_BYTES, repr=False)]
    created_at: datetime


class KeySet(Model):
    """The keys of an installation."""

    format: Literal["nexus-keys"] = "nexus-keys"
    version: Literal[1] = 1
    install: Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
    """Names the installation in every token."""
    keys: Annotated[tuple[SigningKey, ...], Field(min_length=1, max_length=2)]
    """The newest first: it signs, and all of them verify."""

    @property
    def current(self) -> SigningKey:
        """The key that signs."""
        return self.keys[0]

    def find(self, kid: str) -> SigningKey | None:
        """Return the key with this name."""
        return next((key for key in self.keys if key.kid == kid), None)


def new_key(now: datetime) -> SigningKey:
    """Return a fresh random key."""
    secret = secrets.token_bytes(SECRET_BYTES)
    return SigningKey.model_construct(kid=secrets.token_hex(4), secret=secret, created_at=now)


def first_keys(now: datetime) -> KeySet:
    """Return the keys of a new installation."""
    return KeySet(install=secrets.token_hex(8), keys=(new_key(now),))


def rotated(keys: KeySet, now: datetime, *, forget: bool = False) -> KeySet:
    """Return the keys with a new one that signs.

    Args:
        keys: Those of now.
        now: The time.
        forget: Whether what was signed before is void at once; otherwise the key of now verifies until the next rotation.
    """
    return keys.model_copy(update={"keys": (new_key(now), *(() if forget else keys.keys[:1]))})


class Keys(Protocol):
    """Where keys are kept."""

    def read(self) -> KeySet | None:
        """Return the keys, ``None`` when there are none yet. Asked for every token, so it has to be cheap.

        Raises:
            StateError: When they cannot be read.
        """

    def ensure(self) -> KeySet:
        """Return the keys; make them when there are none.

        Raises:
            StateError: When they cannot be read or kept.
        """

    def rotate(self, *, forget: bool = False) -> KeySet:
        """Make a new key, as :func:`rotated` does.

        Raises:
            StateError: When it cannot be kept; the old ones still hold.
        """


class KeyFile:
    """Keys in a file of the user's (mode 0600): a rotation by any process holds for all of them from the next token on.

    Args:
        state: The folder of the daemon's state, which may not be there yet.
        clock: The time that keys are dated by.
    """

    def __init__(self, state: Path, clock: Clock) -> None:
        self._file = PrivateFile(KeySet, state.parent, state.name, "keys.json", limit=_MAX_FILE)
        self._clock = clock

    def read(self) -> KeySet | None:
        """Return the keys, ``None`` when there are none yet."""
        return self._file.read()

    def ensure(self) -> KeySet:
        """Return the keys; make them when there are none."""
        return self._file.read() or self._file.update(lambda keys: keys or first_keys(self._clock.now()))

    def rotate(self, *, forget: bool = False) -> KeySet:
        """Make a new key."""

        def change(keys: KeySet | None) -> KeySet:
            now = self._clock.now()
            return first_keys(now) if keys is None else rotated(keys, now, forget=forget)

        return self._file.update(change)


class MemoryKeys:
    """Keys that end with this process.

    Args:
        clock: As for :class:`KeyFile`.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._keys: KeySet | None = None

    def read(self) -> KeySet | None:
        """Return the keys, ``None`` when there are none yet."""
        return self._keys

    def ensure(self) -> KeySet:
        """Return the keys; make them when there are none."""
        self._keys = self._keys or first_keys(self._clock.now())
        return self._keys

    def rotate(self, *, forget: bool = False) -> KeySet:
        """Make a new key."""
        self._keys = rotated(self.ensure(), self._clock.now(), forget=forget)
        return self._keys
