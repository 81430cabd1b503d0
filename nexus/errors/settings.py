"""Errors about settings, secrets and trust."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

from typing_extensions import override

from nexus.errors.base import Detail, NexusError, lines


class ConfigError(NexusError):
    """One or more configuration values are wrong; ``problems`` lists each with its place.

    Args:
        message: The first problem, with its place.
        problems: Every problem found, one line each: ``file:line:column: sentence``.
        hint: The next step.
    """

    code = "CONFIG_INVALID"
    retryable: ClassVar[bool | None] = False

    def __init__(self, message: str, *, problems: Sequence[str] = (), hint: str | None = None) -> None:
        self.problems: tuple[str, ...] = tuple(problems) or (message,)
        super().__init__(message, hint=hint, details={"problems": list(self.problems)})

    @classmethod
    @override
    def revive(cls, message: str, hint: str | None, details: Mapping[str, Detail]) -> Self:
        return cls(message, problems=lines(details.get("problems")), hint=hint)


class SecretError(NexusError):
    """A secret's value cannot be had or kept. No error ever holds a value."""

    code = "SECRET_ERROR"


class SecretNotFound(SecretError, LookupError):
    """What a reference names does not exist: a variable, a file, an entry of the keychain or of the encrypted store."""

    code = "SECRET_NOT_FOUND"
    retryable: ClassVar[bool | None] = False


class SecretRefused(SecretError, PermissionError):
    """A project's file refers to something of its user's that the user has not allowed it to read."""

    code = "SECRET_REFUSED"
    retryable: ClassVar[bool | None] = False


class SecretsLocked(SecretError):
    """The encrypted store needs a passphrase: none was given, or a wrong one."""

    code = "SECRETS_LOCKED"
    retryable: ClassVar[bool | None] = False


class SecretStoreDamaged(SecretError):
    """The encrypted store cannot be understood, or somebody changed it; the file is left as it is."""

    code = "SECRETS_DAMAGED"
    retryable: ClassVar[bool | None] = False


class KeychainUnavailable(SecretError):
    """This system's keychain cannot be used: there is none, or it does not answer."""

    code = "KEYCHAIN_UNAVAILABLE"


class NotTrusted(NexusError, PermissionError):
    """Something that a project brings along would act on this host, and its user has not approved it.

    Args:
        message: What was refused.
        unapproved: One line for each piece: what it is, where it is written, how it begins.
        hint: The command that approves.
    """

    code = "NOT_TRUSTED"
    retryable: ClassVar[bool | None] = False

    def __init__(self, message: str, *, unapproved: Sequence[str] = (), hint: str | None = None) -> None:
        self.unapproved: tuple[str, ...] = tuple(unapproved)
        super().__init__(message, hint=hint, details={"unapproved": list(self.unapproved)})

    @classmethod
    @override
    def revive(cls, message: str, hint: str | None, details: Mapping[str, Detail]) -> Self:
        return cls(message, unapproved=lines(details.get("unapproved")), hint=hint)
