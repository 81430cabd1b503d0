"""The docker backend: each workspace is a container on an engine that speaks Docker's API (Docker, Podman's compatible socket).

:class:`DockerProvider` is loaded on first use, so that importing this package needs no driver. asyncio only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nexus.providers.docker.provider import DockerProvider

__all__ = ["DockerProvider"]


def __getattr__(name: str) -> object:
    if name == "DockerProvider":
        from nexus.providers.docker.provider import DockerProvider  # noqa: PLC0415 - the driver is heavy

        return DockerProvider
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
