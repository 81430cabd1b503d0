"""Errors about backends, images, services and ports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

from typing_extensions import override

from nexus.errors.base import Detail, NexusError, lines


class ProviderError(NexusError):
    """A provider failed in a way that no other class names."""

    code = "PROVIDER_ERROR"


class ProviderUnavailable(ProviderError):
    """The provider's service is absent, stopped, or does not answer in time."""

    code = "PROVIDER_UNAVAILABLE"
    retryable: ClassVar[bool | None] = True


class ProviderForbidden(ProviderError, PermissionError):
    """The provider's service refuses this user."""

    code = "PROVIDER_FORBIDDEN"
    retryable: ClassVar[bool | None] = False


class ImageNotFound(ProviderError):
    """The image is neither here nor in its registry."""

    code = "IMAGE_NOT_FOUND"
    retryable: ClassVar[bool | None] = False


class ImagePullFailed(ProviderError):
    """The image could not be pulled."""

    code = "IMAGE_PULL_FAILED"
    retryable: ClassVar[bool | None] = True


class BuildFailed(ProviderError):
    """An image could not be built; ``details["log_tail"]`` holds the end of the log."""

    code = "BUILD_FAILED"
    retryable: ClassVar[bool | None] = False


class ServiceFailed(NexusError):
    """A service did not start, ended, or does not become healthy; ``details`` holds ``service`` and ``log_tail``.

    Args:
        message: What happened.
        service: Its name.
        log_tail: The last lines that it printed.
        hint: The next step.
    """

    code = "SERVICE_FAILED"

    def __init__(self, message: str, *, service: str, log_tail: Sequence[str] = (), hint: str | None = None) -> None:
        self.service: str = service
        self.log_tail: tuple[str, ...] = tuple(log_tail)
        super().__init__(message, hint=hint, details={"service": service, "log_tail": list(log_tail)})

    @classmethod
    @override
    def revive(cls, message: str, hint: str | None, details: Mapping[str, Detail]) -> Self:
        return cls(message, service=str(details["service"]), log_tail=lines(details.get("log_tail")), hint=hint)


class PortError(NexusError):
    """A host port cannot be had."""

    code = "PORT_ERROR"


class PortInUse(PortError, OSError):
    """A fixed host port is held by somebody; ``details`` holds ``port`` and ``holder``."""

    code = "PORT_IN_USE"


class PortsExhausted(PortError):
    """No free block of ports is left in the range."""

    code = "PORTS_EXHAUSTED"


class PortNotOpen(PortError, ConnectionRefusedError):
    """Nothing inside the workspace accepts connections on the port; ``details`` holds ``port``."""

    code = "PORT_NOT_OPEN"
    retryable: ClassVar[bool | None] = True
