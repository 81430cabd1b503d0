"""What the engine's description of a container means. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Final

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from nexus.models.ids import WorkspaceId
from nexus.models.instances import (
    LABEL_CHECKPOINT,
    LABEL_NAME,
    LABEL_WORKSPACE,
    InstanceDescription,
    InstanceRef,
    InstanceState,
    InstanceStatus,
)
from nexus.models.ports import PortMapping
from nexus.providers.docker.client import Answer

LABEL_PORTS: Final = "dev.nexus.docker.ports"
"""Label that keeps the names of the published ports, which the engine has no place for."""
LABEL_SHELL: Final = "dev.nexus.docker.shell"
"""Label with ``none`` for an image without ``/bin/sh``."""

LABEL_NAMED: Final = "dev.nexus.docker.named"
"""On images in which a user has been given the host user's ids, and on containers of them: ``name:uid:gid``."""
LABEL_FROM: Final = "dev.nexus.docker.from"
"""On containers: the image that was asked for, which may not be the one that they are made from."""
LABEL_COPYING: Final = "dev.nexus.docker.copying"
"""On containers that only mount a volume for copying, and are never started; the checkpoint's id. They belong to no workspace."""
LABEL_TRIAL: Final = "dev.nexus.docker.trial"
"""On a container that is there to find out whether the engine keeps processes. It carries the label above as well."""
LABEL_BASE: Final = "dev.nexus.docker.base"
"""On images that hold a container's files: the id of the image that it was made from at first."""
LABEL_TARGET: Final = "dev.nexus.docker.target"
"""On volumes that a service's image asked for, and that were copied: where it mounts them."""

LABEL_STATE: Final = "dev.nexus.state"
"""On images that hold one workspace's files and go with it; its id."""

_ORDERLY: Final = frozenset({0, 130, 137, 143, 255})
"""Statuses of a container that was stopped: by itself on TERM, by INT, by KILL, by TERM, by the end of its engine."""
_PORTS: Final = TypeAdapter(tuple[PortMapping, ...], config=ConfigDict(defer_build=True))
_EXITED: Final = re.compile(r"Exited \((\d+)\)")


class State(Answer):
    """The ``State`` of a container."""

    status: str = ""
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = Field(default=False, alias="OOMKilled")
    pid: int = 0
    """Its main process, as the engine's host numbers it."""


class Config(Answer):
    """The ``Config`` of a container."""

    labels: Mapping[str, str] | None = None
    env: tuple[str, ...] | None = None
    image: str = ""
    working_dir: str = ""
    user: str = ""


class Image(Answer):
    """An image, as ``GET /images/{name}/json`` describes it."""

    id: str = ""
    config: Config | None = None


class HostConfig(Answer):
    """The limits of a container, as the engine enforces them; zero or nothing means none."""

    nano_cpus: int = Field(default=0, alias="NanoCpus")
    pids_limit: int | None = None

    @property
    def cores(self) -> float | None:
        """Cores that it may use at most."""
        return self.nano_cpus / 1e9 if self.nano_cpus > 0 else None

    @property
    def processes(self) -> int | None:
        """How many processes it may have."""
        return self.pids_limit if self.pids_limit is not None and self.pids_limit > 0 else None


class Attachment(Answer):
    """A network that a container is on."""

    network_id: str = Field(default="", alias="NetworkID")
    ip_address: str = Field(default="", alias="IPAddress")


class NetworkSettings(Answer):
    """The networks of a container, by name."""

    networks: Mapping[str, Attachment] | None = None


class Container(Answer):
    """A container, as ``GET /containers/{id}/json`` describes it."""

    id: str
    name: str = ""
    image: str = ""
    """The image's id."""
    state: State = State()
    config: Config = Config()
    host_config: HostConfig = HostConfig()
    exec_ids: tuple[str, ...] | None = Field(default=None, alias="ExecIDs")
    """The commands that run in it besides its main process."""
    network_settings: NetworkSettings = NetworkSettings()

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels."""
        return self.config.labels or {}

    @property
    def env_names(self) -> tuple[str, ...]:
        """The names of the variables in its environment."""
        return tuple(entry.partition("=")[0] for entry in self.config.env or ())


class Listed(Answer):
    """A container, as ``GET /containers/json`` lists it."""

    id: str
    state: str = ""
    status: str = ""
    labels: Mapping[str, str] | None = None


def described(container: Container, image: Image | None, added: Collection[str] = ()) -> InstanceDescription:
    """Return what a container was made from, without the variables that were added to what was asked for.

    Nothing where that cannot be told: its image is gone, or holds the container's own files and variables since its ports changed.
    """
    labels = (image.config.labels if image is not None and image.config is not None else None) or {}
    if image is None or image.config is None or labels.keys() & {LABEL_STATE, LABEL_CHECKPOINT}:
        return InstanceDescription()
    inherited = {*(image.config.env or ()), *added}
    own = [entry.partition("=") for entry in container.config.env or () if entry not in inherited]
    asked = container.labels.get(LABEL_FROM) or container.config.image
    return InstanceDescription(image=asked or None, env={name: value for name, _, value in own})


def status_of(container: Container) -> InstanceStatus:
    """Return a container as its workspace's status."""
    state = container.state
    code = state.exit_code if state.status == "exited" else None
    return _status(container.id, container.labels, state.status, code, error=state.error, oom=state.oom_killed)


def status_listed(listed: Listed) -> InstanceStatus:
    """Return a listed container as its workspace's status. A list knows less than a description: no reason, no memory."""
    match = _EXITED.match(listed.status)
    return _status(listed.id, listed.labels or {}, listed.state, int(match[1]) if match else None)


def _status(
    number: str, labels: Mapping[str, str], state: str, code: int | None, *, error: str = "", oom: bool = False
) -> InstanceStatus:
    seen, detail = _read_state(state, code, error=error, oom=oom)
    ref = InstanceRef(id=WorkspaceId(labels.get(LABEL_WORKSPACE, "")), name=labels.get(LABEL_NAME, ""), handle=number)
    return InstanceStatus(ref=ref, state=seen, detail=detail, ports=ports_of(labels), labels=labels)


def _read_state(state: str, code: int | None, *, error: str, oom: bool) -> tuple[InstanceState, str]:
    if state == "exited":
        return _read_end(code, error=error, oom=oom)
    if state == "created" and error:
        return InstanceState.FAILED, f"it could not start: {error}"
    memory = "something inside was ended for want of memory" if oom else ""
    return {
        "created": (InstanceState.STOPPED, "not started yet"),
        "running": (InstanceState.RUNNING, memory),
        "restarting": (InstanceState.RUNNING, "the engine is starting it again"),
        "paused": (InstanceState.PAUSED, memory),
        "removing": (InstanceState.GONE, "it is being removed"),
        "dead": (InstanceState.FAILED, f"the engine could not remove it: {error or 'no reason given'}"),
    }.get(state, (InstanceState.UNKNOWN, f"the engine says {state!r}"))


def _read_end(code: int | None, *, error: str, oom: bool) -> tuple[InstanceState, str]:
    if error:
        return InstanceState.FAILED, f"it could not start: {error}"
    if oom and code == 137:
        return InstanceState.FAILED, "its main process was ended for want of memory (status 137)"
    if code is None or code in {0, 143}:
        return InstanceState.STOPPED, "something inside was ended for want of memory" if oom else ""
    if code in _ORDERLY:
        return InstanceState.STOPPED, f"its main process was killed, or its engine ended (status {code})"
    return InstanceState.FAILED, f"its main process ended by itself with status {code}"


def ports_of(labels: Mapping[str, str]) -> tuple[PortMapping, ...]:
    """Return the published ports that a label remembers; none when somebody wrote nonsense into it."""
    text = labels.get(LABEL_PORTS)
    if not text:
        return ()
    try:
        return _PORTS.validate_json(text)
    except ValidationError:
        return ()


def ports_label(ports: tuple[PortMapping, ...]) -> str:
    """Return the text that :func:`ports_of` reads back."""
    return json.dumps([port.model_dump(mode="json", exclude_defaults=True) for port in ports], separators=(",", ":"))
