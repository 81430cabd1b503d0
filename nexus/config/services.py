"""``services`` and ``volumes``: as people write them, and what they come to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field

from nexus.config.layers import Branch, child, placed, plain
from nexus.config.problems import Problems
from nexus.config.services_checks import check_services, check_targets
from nexus.config.values import Count, EnvValue, PositiveDuration, Text, VariableName, short_form
from nexus.models import services as specs
from nexus.models.described import Described
from nexus.models.mounts import VolumeMount
from nexus.models.ports import PortProtocol
from nexus.models.resources import Cores
from nexus.models.units import Duration, Size

_PORT: Final = re.compile(r"(?:([0-9]{1,5}):)?([0-9]{1,5})(?:/(tcp|udp))?", re.ASCII)
_VOLUME_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
SERVICE_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9_-]{0,38}[a-z0-9])?", re.ASCII)
_KINDS_OF_TEST: Final = ("CMD", "CMD-SHELL", "NONE")
_SHELL: Final = ("/bin/sh", "-c")


def _words(value: object) -> object:
    """Make one text mean a script for the shell."""
    return [*_SHELL, value] if isinstance(value, str) else value


def _test(value: object) -> object:
    if isinstance(value, str):
        return ["NONE"] if value == "NONE" else ["CMD-SHELL", value]
    if isinstance(value, list | tuple):
        kind = value[0] if value else None
        if kind not in _KINDS_OF_TEST:
            msg = "must be a script, or a list that begins with CMD, CMD-SHELL or NONE"
            raise ValueError(msg)
        if (kind == "NONE") != (len(value) == 1) or (kind == "CMD-SHELL" and len(value) != 2):
            msg = f"must give {'nothing after NONE' if kind == 'NONE' else f'what to run after {kind}'}"
            raise ValueError(msg)
    return value


def _port(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return value
    match = _PORT.fullmatch(value)
    numbers = [int(number) for number in (match[1], match[2]) if number] if match is not None else []
    if match is None or not all(0 < number < 65536 for number in numbers):
        msg = "must be a port inside, '8080', or a host port and a port inside, '8080:80', each 1 to 65535, with '/udp' when it is one"
        raise ValueError(msg)
    return value


def _volume(value: object) -> object:
    if isinstance(value, str):
        read_volume(value)
    return value


def _restart(value: object) -> object:
    if value is False:  # YAML reads a bare `no` as false
        return "no"
    if isinstance(value, str) and not re.match(specs.RESTART_PATTERN, value):
        msg = "must be no, always, unless-stopped, on-failure or on-failure:<times>"
        raise ValueError(msg)
    return value


def _dependencies(value: object) -> object:
    """Make a list of names mean that each has to be started."""
    if isinstance(value, list | tuple):
        return {name: {"condition": "service_started"} if isinstance(name, str) else name for name in value}
    return value


def _service_name(value: object) -> object:
    if isinstance(value, str) and not SERVICE_NAME.fullmatch(value):
        msg = "must be a host's name: lower-case letters, digits, '-' and '_', at most 40"
        raise ValueError(msg)
    return value


def _inside(value: object) -> object:
    if isinstance(value, str) and (not value.startswith("/") or ".." in PurePosixPath(value).parts):
        msg = "must be an absolute path inside, without '..'"
        raise ValueError(msg)
    return value


Words = Annotated[tuple[Text, ...], BeforeValidator(_words, json_schema_input_type=str | tuple[str, ...])]
PortText = Annotated[str, BeforeValidator(_port, json_schema_input_type=str | int)]
VolumeText = Annotated[str, Field(max_length=4096), BeforeValidator(_volume, json_schema_input_type=str)]
ServiceName = Annotated[str, BeforeValidator(_service_name, json_schema_input_type=str)]
PathInside = Annotated[str, Field(max_length=4096), BeforeValidator(_inside, json_schema_input_type=str)]


class Build(Described):
    """How a service's image is built; in place of the map the folder."""

    context: Text | None = None
    """Folder that the build sees, relative to the project; the project itself when absent."""
    dockerfile: Text | None = None
    """The file, relative to the folder; `Dockerfile` when absent."""
    args: Mapping[VariableName, EnvValue | None] | None = None
    """Build arguments."""
    target: Text | None = None
    """The stage to stop at."""


class Healthcheck(Described):
    """How one finds out that a service works."""

    test: Annotated[tuple[Text, ...], BeforeValidator(_test, json_schema_input_type=str | tuple[str, ...])] | None = (
        None
    )
    """A script, or a list: `[CMD, program, …]`, `[CMD-SHELL, script]`, `[NONE]`; the image's own test when absent."""
    interval: PositiveDuration | None = None
    """Time between two tests once it works; 5s when absent."""
    timeout: PositiveDuration | None = None
    """Time after which a test has failed; 30s when absent."""
    retries: Annotated[Count, Field(ge=1, le=1000)] | None = None
    """Failures in a row that make it unhealthy; 3 when absent."""
    start_period: Duration | None = None
    """Time from its start in which failures do not count; 30s when absent."""


class Dependency(Described):
    """What a service waits for in another one."""

    condition: specs.Condition | None = None
    """service_started, service_healthy or service_completed_successfully; service_started when absent."""


class Service(Described):
    """A program that runs beside the workspace."""

    image: Text | None = None
    """Image of its container."""
    build: Annotated[Build, BeforeValidator(short_form("context"), json_schema_input_type=Build | str)] | None = None
    """What its image is built from, in place of `image`; a text alone is the folder."""
    command: Words | None = None
    """The program and its arguments, or a script for the shell; the image's own when absent."""
    entrypoint: Words | None = None
    """What the command is given to; the image's own when absent."""
    ports: tuple[PortText, ...] | None = None
    """Ports it listens on: `host:container`, where the host port is taken if it is free, or `container` alone."""
    env: Mapping[VariableName, EnvValue | None] | None = None
    """Its environment."""
    volumes: tuple[VolumeText, ...] | None = None
    """Named volumes, `name:/path`, and folders of the workspace's tree, `./folder:/path`, each with `:ro` for reading only."""
    healthcheck: Healthcheck | None = None
    """How one finds out that it works; the workspace is up when it does."""
    depends_on: (
        Annotated[
            Mapping[ServiceName, Dependency | None],
            BeforeValidator(_dependencies, json_schema_input_type=Mapping[str, Dependency] | tuple[str, ...]),
        ]
        | None
    ) = None
    """Services that start before it: a list, or a map that says what to wait for."""
    restart: Annotated[str, BeforeValidator(_restart, json_schema_input_type=str)] | None = None
    """What happens when it ends by itself: no, always, on-failure, on-failure:<times>, unless-stopped; no when absent."""
    working_dir: PathInside | None = None
    """Folder it starts in."""
    user: Text | None = None
    """User it runs as; the image's own when absent."""
    cpu: Cores | None = None
    """Cores it may use at most, for example `0.5`; as many as the workspace when absent. It counts in containers."""
    memory: Size | None = None
    """Memory it may use at most, for example `512M`; as much as the workspace when absent. It counts in containers."""


Services = Mapping[ServiceName, Service | None]
Volumes = tuple[VolumeText, ...]


def read_port(text: str) -> specs.ServicePort:
    """Return a port from its text, which was checked."""
    match = _PORT.fullmatch(text)
    if match is None:
        msg = f"{text!r} is not a port"
        raise ValueError(msg)
    host = int(match[1]) if match[1] else None
    protocol: PortProtocol = "udp" if match[3] == "udp" else "tcp"
    return specs.ServicePort(container=int(match[2]), preferred=host, protocol=protocol)


def read_volume(text: str) -> VolumeMount:
    """Return a volume from its text; a folder's source stays as it is written.

    Raises:
        ValueError: When the text is none.
    """
    parts = text.split(":")
    mode = parts.pop() if len(parts) == 3 else "rw"
    if len(parts) != 2 or mode not in {"ro", "rw"}:
        msg = "must be 'name:/path' or './folder:/path', with ':ro' for reading only"
        raise ValueError(msg)
    source, target = parts
    if not target.startswith("/") or ".." in PurePosixPath(target).parts or not target.strip("/"):
        msg = f"must name an absolute path inside after the ':', not {target[:40]!r}"
        raise ValueError(msg)
    bind = source.startswith((".", "/", "~"))
    if not bind and not _VOLUME_NAME.fullmatch(source):
        msg = f"{source[:40]!r} is neither a volume's name nor a folder; a folder begins with './'"
        raise ValueError(msg)
    if bind and ".." in PurePosixPath(source).parts:
        msg = "must stay inside the project: no '..', no absolute path, no '~'"
        raise ValueError(msg)
    return VolumeMount(source=source, target=target, kind="bind" if bind else "volume", read_only=mode == "ro")


def build_services(merged: Branch, *, root: Path, problems: Problems) -> tuple[specs.ServiceSpec, ...]:
    """Return the services that the merged layers mean, by name.

    Args:
        merged: The layers as one tree.
        root: The project's root.
        problems: Gets what does not fit together.
    """
    written = child(merged, "services")
    values = plain(written) if written is not None else None
    if not isinstance(values, dict):
        return ()
    found: list[specs.ServiceSpec] = []
    for name, value in values.items():
        if value is not None:
            found.append(_spec(name, Service.model_validate(value), root))
    check_services(found, merged, root, problems)
    return tuple(found)


def build_volumes(merged: Branch, problems: Problems) -> tuple[VolumeMount, ...]:
    """Return the volumes of the workspace's own place.

    Args:
        merged: The layers as one tree.
        problems: Gets what cannot be mounted.
    """
    written = child(merged, "volumes")
    values = plain(written) if written is not None else None
    mounts = tuple(read_volume(str(text)) for text in values) if isinstance(values, list) else ()
    place = placed(merged, ("volumes",))
    for mount in mounts:
        if mount.kind == "bind" and mount.source.startswith(".") and mount.read_only:
            problems.add(
                place, f"'{mount.source}:{mount.target}:ro' cannot be read-only: the tree it is in is writable inside"
            )
    check_targets(mounts, place, "the workspace", problems)
    return mounts


def _spec(name: str, service: Service, root: Path) -> specs.ServiceSpec:
    values: dict[str, Any] = {
        "name": name,
        "image": service.image,
        "build": None if service.build is None else _build(service.build, root),
        "command": service.command,
        "entrypoint": service.entrypoint,
        "env": {key: value for key, value in (service.env or {}).items() if value is not None},
        "ports": tuple(map(read_port, service.ports or ())),
        "mounts": tuple(map(read_volume, service.volumes or ())),
        "depends_on": {
            other: (what.condition if what is not None else None) or "service_started"
            for other, what in (service.depends_on or {}).items()
        },
        "restart": service.restart or "no",
        "working_dir": service.working_dir,
        "user": service.user,
        "cpu": service.cpu,
        "memory": service.memory,
    }
    if service.healthcheck is not None:
        values["healthcheck"] = {key: value for key, value in service.healthcheck if value is not None}
    return specs.ServiceSpec.model_validate(values)


def _build(build: Build, root: Path) -> specs.ServiceBuild:
    context = root / (build.context or ".")
    return specs.ServiceBuild(
        context=context,
        dockerfile=context / (build.dockerfile or "Dockerfile"),
        args={key: value for key, value in (build.args or {}).items() if value is not None},
        target=build.target,
    )
