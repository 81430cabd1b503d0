"""The ``backends.docker`` settings, checked."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, JsonValue, PlainSerializer, ValidationError, field_validator

from nexus.errors import ConfigError
from nexus.models.base import Model
from nexus.models.units import Duration, parse_duration

_WORKSPACE_PREFIX: Final = 28
"""Sixteen addresses for each workspace: the gateway, the workspace and a dozen services."""


def _network(value: object) -> IPv4Network:
    return IPv4Network(str(value))


class DockerOptions(Model):
    """Settings of the docker backend. Keys that other parts of Nexus read (``image``, ``dockerfile``) are let through."""

    socket: str | None = None
    """Path or address of the engine; found as the ``docker`` program does when absent."""
    network: Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,31}$")] = "nexus"
    """What the name of every network begins with."""
    storage_driver: str | None = None
    """The storage driver that the engine must have."""
    subnet_pool: Annotated[IPv4Network, BeforeValidator(_network), PlainSerializer(str)] = IPv4Network("10.213.0.0/16")
    """Private addresses to cut the workspaces' networks from, sixteen each."""
    user: Annotated[str, Field(pattern=r"^(host|image|\d{1,10}:\d{1,10})$")] = "host"
    """Who runs inside: the host's user, the image's user, or a fixed ``uid:gid``."""
    pids_limit: Annotated[int, Field(ge=16, le=4_194_304)] = 4096
    """How many processes a workspace may have."""
    prepared_shells: Annotated[int, Field(ge=0, le=16)] = 2
    """How many shells wait in a running workspace for the next command; 0: every command is started by the engine."""
    pull_timeout: Duration = parse_duration("30m")
    build_timeout: Duration = parse_duration("1h")

    @field_validator("subnet_pool")
    @classmethod
    def _usable_pool(cls, pool: IPv4Network) -> IPv4Network:
        if pool.prefixlen > _WORKSPACE_PREFIX - 2 or not pool.is_private:
            msg = f"{pool} is not a private network of at least 64 addresses"
            raise ValueError(msg)
        return pool

    @property
    def subnet_prefix(self) -> int:
        """The length of the prefix of one workspace's network."""
        return _WORKSPACE_PREFIX


_SAME: Final[Mapping[str, str]] = {"overlayfs": "overlay2"}
"""What engines that keep images in containerd call the kernel's overlay, by what the others call it."""


def stores_as(wanted: str | None, found: str) -> bool:
    """Return whether an engine stores with the driver that is set; an engine that does not say is believed."""
    return wanted is None or not found or _SAME.get(wanted, wanted) == _SAME.get(found, found)


_FOREIGN: Final = frozenset({"image", "dockerfile", "build_context"})


def parse_options(options: Mapping[str, JsonValue] | None) -> DockerOptions:
    """Return the checked settings.

    Raises:
        ConfigError: When a key is unknown or a value cannot be used; every problem is listed.
    """
    given = {key: value for key, value in (options or {}).items() if key not in _FOREIGN and value is not None}
    try:
        return DockerOptions.model_validate(given)
    except ValidationError as exc:
        problems = [
            f"backends.docker.{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
            for problem in exc.errors()
        ]
        known = ", ".join(DockerOptions.model_fields)
        raise ConfigError(problems[0], problems=problems, hint=f"the settings are: {known}") from exc
