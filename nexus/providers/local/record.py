"""What is written down about a workspace of the local backend: ``instance.json`` by the provider, ``run.json`` by the keeper."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from pydantic import ValidationError

from nexus.errors import RecordDamaged, StateError
from nexus.models.base import Model
from nexus.models.ids import Name, NodeId, WorkspaceId
from nexus.models.instances import LABEL_NAME, LABEL_NODE, LABEL_WORKSPACE, InstanceSpec
from nexus.models.ports import PortMapping
from nexus.models.resources import ResourceAllocation
from nexus.models.workspace import ProcessState
from nexus.providers.local.keeper.standing import NAME as RUN_NAME

INSTANCE_NAME: Final = "instance.json"


class Description(Model):
    """What has to be known to start a workspace again. Readable by its user alone: its environment may hold anything."""

    schema_version: Literal[1] = 1
    id: WorkspaceId
    name: Name
    node: NodeId
    worktree: Path
    workdir: str
    env: Mapping[str, str] = {}
    ports: tuple[PortMapping, ...] = ()
    links: Mapping[str, str] = {}
    labels: Mapping[str, str] = {}
    resources: ResourceAllocation | None = None


class Run(Model):
    """A keeper as it describes itself. It may be long gone: only its identity tells."""

    protocol: int
    pid: int
    start_time: int
    boot_id: str
    state: Literal["running", "paused", "stopping"]
    socket: str

    @property
    def process(self) -> ProcessState:
        """Which process it is."""
        return ProcessState(pid=self.pid, start_time=self.start_time, boot_id=self.boot_id)


def describe(spec: InstanceSpec) -> Description:
    """Return what is kept of a specification; the labels that find a workspace are added where they are missing."""
    own = {LABEL_WORKSPACE: spec.id, LABEL_NAME: spec.name, LABEL_NODE: spec.node}
    return Description(
        id=spec.id,
        name=spec.name,
        node=spec.node,
        worktree=spec.worktree,
        workdir=spec.workdir,
        env=spec.env,
        ports=spec.ports,
        links=spec.links,
        resources=spec.resources,
        labels={**own, **spec.labels},
    )


def read_description(folder: Path) -> Description | None:
    """Return the description in a workspace's folder, ``None`` when there is no such folder.

    Raises:
        RecordDamaged: When it is missing from its folder or cannot be understood.
    """
    try:
        content = _read(folder / INSTANCE_NAME)
        if content is None:
            if not folder.is_dir():
                return None
            raise RecordDamaged(f"{folder / INSTANCE_NAME} is missing", hint=_DAMAGED_HINT)
        return Description.model_validate_json(content)
    except ValidationError as exc:
        raise RecordDamaged(f"{folder / INSTANCE_NAME} cannot be understood", hint=_DAMAGED_HINT) from exc


_DAMAGED_HINT: Final = "destroy the workspace's place and make it again; its worktree and branch are not touched"


def read_run(folder: Path) -> Run | None:
    """Return what the keeper last said, ``None`` when it said nothing or left in good order.

    Raises:
        RecordDamaged: When it cannot be understood.
    """
    content = _read(folder / RUN_NAME)
    try:
        return None if content is None else Run.model_validate_json(content)
    except ValidationError as exc:
        raise RecordDamaged(f"{folder / RUN_NAME} cannot be understood", hint="stop and start the workspace") from exc


def create(folder: Path, description: Description) -> None:
    """Make a workspace's folder with its description, at one stroke. One that is there already and can be read stays as it is."""
    fresh = Path(tempfile.mkdtemp(prefix=f".new-{folder.name}-", dir=folder.parent))
    try:
        _write(fresh / INSTANCE_NAME, description)
        try:
            fresh.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
            if not _readable(folder):
                replace_description(folder, description)
    except OSError as exc:
        raise StateError(f"{folder} cannot be written: {exc.strerror or exc}") from exc
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def replace_description(folder: Path, description: Description) -> None:
    """Write the description anew; a reader sees the old one or the new one.

    Raises:
        StateError: When it cannot be written.
    """
    temporary = folder / f"{INSTANCE_NAME}.new"
    try:
        _write(temporary, description)
        temporary.replace(folder / INSTANCE_NAME)
    except OSError as exc:
        raise StateError(f"{folder / INSTANCE_NAME} cannot be written: {exc.strerror or exc}") from exc


def _readable(folder: Path) -> bool:
    try:
        return read_description(folder) is not None
    except RecordDamaged:
        return False


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise RecordDamaged(f"{path} cannot be read: {exc.strerror or exc}") from exc


def _write(path: Path, content: Model) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content.model_dump_json().encode("utf-8"))
        file.flush()
        os.fsync(file.fileno())
