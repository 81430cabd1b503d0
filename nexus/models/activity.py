"""What keeps a workspace awake: commands that run in it, and holds that somebody has taken."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Final

from pydantic import Field

from nexus.models.base import Model
from nexus.models.ids import WorkspaceId
from nexus.models.ports import PortNumber, PortProtocol, Visibility
from nexus.models.units import Duration

HoldName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$")]

FROM_THE_FUTURE: Final = timedelta(minutes=5)
"""A time that lies further ahead than this was written under another clock, and proves nothing."""


class RunningCommand(Model):
    """A command that runs in a workspace now, whoever started it."""

    program: str
    """Its program, without arguments: they may hold what is nobody's business."""
    interactive: bool = False
    """Whether it has a terminal. One that only waits for its user is no work; what the user types is."""
    keeps_awake: bool = True
    """Whether whoever started it means it to keep the workspace awake."""


class Hold(Model):
    """A reason to stay awake that somebody has named. It ends by itself unless it is renewed."""

    schema_version: int = 1
    workspace: WorkspaceId
    name: HoldName
    """One workspace's holds have different names; taking one again renews it."""
    reason: Annotated[str, Field(max_length=500)] = ""
    holder: Annotated[str, Field(max_length=300)] = ""
    """Who took it: user, host and process."""
    ttl: Duration
    """How long it lasts from its renewal on."""
    taken_at: datetime
    renewed_at: datetime

    @property
    def expires_at(self) -> datetime:
        """When it ends."""
        return self.renewed_at + self.ttl

    def counts(self, now: datetime) -> bool:
        """Return whether it keeps its workspace awake. A clock that was set back must not make it last for ever."""
        return self.renewed_at - FROM_THE_FUTURE <= now < self.expires_at


class Listener(Model):
    """A socket inside a workspace that waits for connections."""

    port: PortNumber
    protocol: PortProtocol = "tcp"
    address: str = "0.0.0.0"  # noqa: S104 - what somebody else listens on
    """Where it listens, as seen inside."""

    @property
    def local_only(self) -> bool:
        """Whether only programs inside can reach it."""
        return self.address == "::1" or self.address.startswith("127.")


class PortView(Model):
    """A port of a workspace as it is now: declared, listened on, or both."""

    name: str | None = None
    """The name it was declared by; ``None`` for one that a program opened unasked."""
    container_port: PortNumber
    """The number inside."""
    protocol: PortProtocol = "tcp"
    host_port: PortNumber | None = None
    """The host port that leads to it; ``None`` when nothing does."""
    url: str | None = None
    visibility: Visibility | None = None
    """Who may reach it; ``None`` for one that was not declared."""
    fixed: bool = False
    """Whether the configuration named the host port."""
    listening: bool | None = None
    """Whether a program listens; ``None`` where that cannot be found out."""
    note: str = ""
    """What stands between it and whoever wants to reach it, in one sentence."""
