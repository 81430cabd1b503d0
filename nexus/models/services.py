"""Services: programs that run beside a workspace, and what is seen of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field

from nexus.models.base import Model
from nexus.models.mounts import VolumeMount
from nexus.models.ports import PortNumber, PortProtocol
from nexus.models.resources import Cores
from nexus.models.units import Duration, Size, parse_duration

Condition: TypeAlias = Literal["service_started", "service_healthy", "service_completed_successfully"]
"""What a service waits for in one that it depends on."""

Health: TypeAlias = Literal["starting", "healthy", "unhealthy"]

RESTART_PATTERN: Final = r"^(no|always|unless-stopped|on-failure(:[0-9]{1,4})?)$"


class ServiceBuild(Model):
    """How a service's image is built."""

    context: Path
    """Folder that the build sees. Absolute."""
    dockerfile: Path
    """Absolute."""
    args: Mapping[str, str] = {}
    target: str | None = None
    withheld: tuple[Path, ...] = ()
    """Files and folders of this host that stay out of it, absolute; chosen when it is built."""


class Healthcheck(Model):
    """How one finds out that a service works."""

    test: tuple[str, ...] = ()
    """``CMD`` and a program, ``CMD-SHELL`` and a script, or ``NONE``; empty: the image's own."""
    interval: Duration = parse_duration("5s")
    """Time between two tests, once it works."""
    timeout: Duration = parse_duration("30s")
    """Time after which a test has failed."""
    retries: Annotated[int, Field(ge=1, le=1000)] = 3
    """Failures in a row that make it unhealthy."""
    start_period: Duration = parse_duration("30s")
    """Time from its start in which failures do not count; it is tested more often then."""

    @property
    def disabled(self) -> bool:
        """Whether nothing is tested, not even what the image says."""
        return self.test[:1] == ("NONE",)


class ServicePort(Model):
    """A port that a service listens on."""

    container: PortNumber
    preferred: PortNumber | None = None
    """The host port to take when it is free; another is leased when it is not."""
    protocol: PortProtocol = "tcp"


class ServiceSpec(Model):
    """A service as it is to run."""

    name: Annotated[str, Field(min_length=1, max_length=63)]
    image: str | None = None
    build: ServiceBuild | None = None
    command: tuple[str, ...] | None = None
    """The program and its arguments; the image's own when absent."""
    entrypoint: tuple[str, ...] | None = None
    env: Mapping[str, str] = {}
    ports: tuple[ServicePort, ...] = ()
    mounts: tuple[VolumeMount, ...] = ()
    tree: Path | None = None
    """The workspace's tree on this host: a mount from below it is never resolved outside the service."""
    healthcheck: Healthcheck | None = None
    depends_on: Mapping[str, Condition] = {}
    restart: Annotated[str, Field(pattern=RESTART_PATTERN)] = "no"
    working_dir: str | None = None
    user: str | None = None
    cpu: Cores | None = None
    """Cores that it may use, where that is less than its workspace may."""
    memory: Size | None = None
    """Bytes that it may use, where that is less than its workspace may."""

    @property
    def fingerprint(self) -> str:
        """A digest of everything that decides what runs. What it waits for is not part of it."""
        fields = self.model_dump(mode="json", exclude={"depends_on", "ports"})
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:32]


class ServiceState(StrEnum):
    """What is seen of a service."""

    ABSENT = "absent"
    """It was not made, or was removed."""
    CREATED = "created"
    """Made, never started."""
    RUNNING = "running"
    RESTARTING = "restarting"
    """It ended by itself and is being started again."""
    PAUSED = "paused"
    EXITED = "exited"


class ServiceStatus(Model):
    """One service as it is now."""

    name: str
    state: ServiceState
    health: Health | None = None
    """``None`` where nobody tests it."""
    exit_code: int | None = None
    """Of the last run that ended, where that is known."""
    image: str | None = None

    @property
    def trouble(self) -> str | None:
        """What is wrong with it while its workspace runs, as a clause; ``None`` when nothing is. One that has done its work is fine."""
        match self.state:
            case ServiceState.ABSENT | ServiceState.CREATED:
                return "does not run"
            case ServiceState.RESTARTING:
                return f"ends again and again (status {self.exit_code})"
            case ServiceState.EXITED:
                return None if self.exit_code == 0 else f"ended with status {self.exit_code}"
            case ServiceState.PAUSED:
                return "is paused"
            case ServiceState.RUNNING:
                return "is unhealthy" if self.health == "unhealthy" else None


class KeptVolume(Model):
    """A named volume, as its backend lists it."""

    name: str
    """The backend's own name for it: ``nexus-<id>-<name>``."""
    workspace: str
    """Id of the workspace that it was made for."""
    workspace_name: str = ""
    repository: str = ""
    created: str = ""
    """When it was made, ISO 8601, where the backend says so."""
