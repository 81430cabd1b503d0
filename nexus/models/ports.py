"""Ports of a workspace and the numbers of the host they are reached by."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from nexus.models.base import Model
from nexus.models.display import Bundle, bundle, fields

PortNumber = Annotated[int, Field(ge=1, le=65535)]
PortProtocol = Literal["tcp", "udp"]
Visibility = Literal["private", "public", "org"]


class PortRange(Model):
    """A closed range of host ports."""

    start: PortNumber
    end: PortNumber

    @model_validator(mode="after")
    def _ordered(self) -> PortRange:
        if self.end < self.start:
            msg = f"the range ends ({self.end}) before it starts ({self.start})"
            raise ValueError(msg)
        return self

    def __contains__(self, port: object) -> bool:
        return isinstance(port, int) and self.start <= port <= self.end


RESERVED_PORTS: Final = PortRange(start=32768, end=32799)
"""Host ports that are kept for Nexus itself: no workspace, fixed port or user's range may use them."""


class PortRequest(Model):
    """A port that a workspace wants to be reachable by."""

    name: Annotated[str, Field(min_length=1, max_length=63)]
    """The service: ``ssh``, ``web``, ``api``, ``database``, ``cache``, or any other name."""
    container: PortNumber
    """The number that the program inside listens on."""
    host: PortNumber | None = None
    """A fixed host port; chosen from the workspace's block when absent."""
    preferred: PortNumber | None = None
    """A host port to take when it is free; without effect beside a fixed one."""
    protocol: PortProtocol = "tcp"
    visibility: Visibility = "private"


class PortMapping(Model):
    """A port that is reachable from the host."""

    name: str
    protocol: PortProtocol = "tcp"
    container_port: PortNumber
    host_port: PortNumber
    visibility: Visibility = "private"
    fixed: bool = False
    """Whether the configuration named the host port, so that it may never be replaced by another."""
    address: str | None = None
    """The host address it is bound to, where that is the node's choice (``org``)."""
    url: str | None = None
    """``http://127.0.0.1:32801`` for a TCP port; ``None`` where a URL makes no sense."""

    @property
    def bind_address(self) -> str:
        """The host address to listen on: every one for ``public``, the node's own choice for ``org``, else this machine only.

        For ``public`` it is what a program is told that listens itself; an engine publishes on both address families.
        """
        if self.address is not None:
            return self.address
        return "0.0.0.0" if self.visibility == "public" else "127.0.0.1"  # noqa: S104 - asked for by name

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> Bundle:  # noqa: ARG002 - Jupyter's own
        """Show it in a notebook."""
        shown = self.url or f"{self.bind_address}:{self.host_port}/{self.protocol}"
        return bundle(
            f"{self.name}: {shown}",
            fields(self.name, {"address": shown, "inside": str(self.container_port), "visibility": self.visibility}),
        )


class PortChange(Model):
    """A leased port that somebody else took while the workspace was down, and the one that replaces it."""

    name: str
    old: PortNumber
    new: PortNumber


class OpenedPort(Model):
    """A port of a running workspace that was made reachable from the host, for as long as whoever opened it lives."""

    container_port: PortNumber
    """The number that the program inside listens on."""
    host_port: PortNumber
    visibility: Visibility = "private"
    address: str = "127.0.0.1"
    """The host address that it is reached by."""
    url: str
    """``http://127.0.0.1:40017``."""

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> Bundle:  # noqa: ARG002 - Jupyter's own
        """Show it in a notebook."""
        rows = {"address": self.url, "visibility": self.visibility}
        return bundle(f"port {self.container_port}: {self.url}", fields(f"port {self.container_port}", rows))
