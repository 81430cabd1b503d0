"""The docker backend: each workspace is a container on an engine that speaks Docker's API (Docker, Podman's compatible socket).

:class:`DockerProvider` is loaded on first use, so that importing this package needs no driver. asyncio only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nexus.loading import on_first_use

if TYPE_CHECKING:
    from nexus.providers.docker.provider import DockerProvider

__getattr__, __dir__ = on_first_use(__name__, {"nexus.providers.docker.provider": ["DockerProvider"]})

__all__ = ["DockerProvider"]
