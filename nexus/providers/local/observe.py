"""What the local backend sees of a workspace now. Blocking; run in a worker thread.

Never the record alone: a keeper counts as running only while exactly that process (id, start time, boot) runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nexus.errors import InvalidArgument, RecordDamaged
from nexus.models.ids import WorkspaceId
from nexus.models.instances import InstanceRef, InstanceState, InstanceStatus
from nexus.processes import boot_id, is_alive
from nexus.providers.local.folders import Folders, checked
from nexus.providers.local.freezing import frozen
from nexus.providers.local.record import Description, Run, read_description, read_run


@dataclass(frozen=True, slots=True)
class Sight:
    """A workspace at one moment."""

    state: InstanceState
    detail: str = ""
    description: Description | None = None
    run: Run | None = None
    """Its keeper; alive when the state is running or paused."""

    @property
    def alive(self) -> bool:
        """Whether its keeper runs."""
        return self.state in {InstanceState.RUNNING, InstanceState.PAUSED}


def observe(folder: Path) -> Sight:
    """Return what there is to see of the workspace whose folder this is."""
    try:
        description = read_description(folder)
    except RecordDamaged as damage:
        return _of_run(folder, None, damage.message)
    if description is None:
        return Sight(InstanceState.GONE, "its folder was removed, or never made")
    return _of_run(folder, description, "")


def _of_run(folder: Path, description: Description | None, damage: str) -> Sight:
    try:
        run = read_run(folder)
    except RecordDamaged as error:
        return Sight(InstanceState.FAILED, error.message, description)
    if run is not None and is_alive(run.process):
        paused = run.state == "paused"
        detail = damage or ("it is being stopped" if run.state == "stopping" else _how(folder) if paused else "")
        return Sight(InstanceState.PAUSED if paused else InstanceState.RUNNING, detail, description, run)
    if damage:
        return Sight(InstanceState.FAILED, damage, description, run)
    if run is None:
        return Sight(InstanceState.STOPPED, "", description)
    if run.boot_id != boot_id():
        return Sight(InstanceState.STOPPED, "the machine was restarted", description, run)
    return Sight(InstanceState.FAILED, f"its keeper (process {run.pid}) was killed", description, run)


def _how(folder: Path) -> str:
    return (
        "frozen by its control group" if frozen(folder) else "stopped by signals: no control group can be frozen here"
    )


def status_of(ref: InstanceRef, folder: Path, sight: Sight) -> InstanceStatus:
    """Return the same as the manager is told it."""
    known = sight.description
    return InstanceStatus(
        ref=InstanceRef(id=ref.id, name=known.name if known is not None else ref.name, handle=str(folder)),
        state=sight.state,
        detail=sight.detail,
        ports=known.ports if known is not None else (),
        labels=known.labels if known is not None else {},
        process=sight.run.process if sight.run is not None and sight.alive else None,
    )


def observe_all(folders: Folders, labels: Mapping[str, str]) -> tuple[InstanceStatus, ...]:
    """Return every workspace that carries all these labels; one that cannot be read carries none.

    Raises:
        ProviderForbidden: When the state folder is not this user's own.
    """
    found = []
    for workspace, folder in _each(folders):
        sight = observe(folder)
        own = sight.description.labels if sight.description is not None else {}
        if sight.state is not InstanceState.GONE and labels.items() <= own.items():
            found.append(status_of(InstanceRef(id=workspace), folder, sight))
    return tuple(found)


def _each(folders: Folders) -> Iterator[tuple[WorkspaceId, Path]]:
    state = folders.state.check()
    if state is None:
        return
    for folder in sorted(state.iterdir()):
        try:
            workspace = checked(folder.name)
        except InvalidArgument:
            continue  # not ours, or half made or removed: see the names that record and removal use
        if folder.is_dir() and not folder.is_symlink():
            yield workspace, folder
