"""What people see of each value that the library returns, and its JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import singledispatch

from pydantic import BaseModel

from cli_example.approval import reviewed
from cli_example.render import Facts, Lines, Table, View
from nexus import DaemonInfo, PortMapping, TerminalInfo, WorkspaceInfo
from nexus.models.activity import Hold, PortView
from nexus.models.checkpoints import Checkpoint, CheckpointDiff, CheckpointRestored, ForkOutcome
from nexus.models.discovery import RepositoryListing
from nexus.models.findings import Finding
from nexus.models.prebuilds import PrebuildOutcome
from nexus.models.requests import DestroyOutcome, GcAction, SwitchOutcome, SyncOutcome
from nexus.models.rescues import DestroyedWorkspace, PruneAction, Rescue
from nexus.models.services import ServiceStatus
from nexus.models.trust import Approval, TrustReview
from nexus.models.units import format_size
from nexus.models.workspace import DESCRIPTION, DamagedRecord
from nexus.secrets import StoredSecret


def to_json(value: object) -> str:
    """Return one JSON document. The fields of a model keep their names."""
    return json.dumps(value, default=_plain, indent=2, ensure_ascii=True)


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


@singledispatch
def view(value: object) -> View:
    """Return what people see of a value."""
    return Lines(str(value).splitlines())


@view.register
def _(value: tuple) -> View:  # type: ignore[type-arg] # singledispatch looks at the class itself
    return _rows(value)


@view.register
def _(value: dict) -> View:  # type: ignore[type-arg]
    return Facts(list(_flat(value)))


@view.register
def _(value: WorkspaceInfo) -> View:
    pairs = [
        ("name", value.name),
        ("called", value.display_name or ""),
        ("about", value.annotations.get(DESCRIPTION, "")),
        ("status", _status(value)),
        ("degraded", value.degraded or ""),
        ("current", "yes" if value.current else ""),
        ("backend", value.backend),
        ("image", value.image or ""),
        ("branch", value.branch),
        ("tree", str(value.worktree_path)),
        ("remark", value.status_message or ""),
        *((f"service {each.name}", _service(each, value)) for each in value.services),
        *((f"port {port.name}", _port(port)) for port in value.ports),
        ("labels", _labels(value.labels)),
        ("created", _when(value.created_at)),
        ("expires", _when(value.expires_at)),
        ("awake", "; ".join(value.awake_because)),
        ("asleep", f"since {_when(value.asleep_since)}; the next command wakes it" if value.asleep_since else ""),
    ]
    return Facts([(name, text) for name, text in pairs if text])


@view.register
def _(value: TerminalInfo) -> View:
    return Facts([(heading.lower(), text) for heading, cell in _TERMINALS.items() if (text := cell(value))])


@view.register
def _(value: DaemonInfo) -> View:
    pairs = [
        ("process", str(value.pid)),
        ("since", _when(value.started_at)),
        ("serves", ", ".join(map(str, value.workspace_folders))),
        ("socket", str(value.socket or "")),
        ("url", value.url or ""),
        ("page", value.page or ""),
        ("log", str(value.log or "")),
        ("release", value.version),
    ]
    return Facts([(name, text) for name, text in pairs if text])


@view.register
def _(value: SwitchOutcome) -> View:
    before = f"; {value.previous} is {value.previous_status}" if value.previous and value.previous_status else ""
    return Lines([f"{value.current} is the current workspace ({1000 * value.seconds:.0f} ms){before}"])


@view.register
def _(value: DestroyOutcome) -> View:
    kept = [f"unsaved work is kept under {value.rescued}"] if value.rescued else []
    branch = "its branch is gone too" if value.branch_deleted else "its branch stays"
    volumes = [f"volume {name} stays" for name in value.kept_volumes]
    again = [f"bring it back with: {value.restore}"] if value.restore else []
    return Lines([f"{value.name} is destroyed; {branch}", *kept, *volumes, *again])


@view.register
def _(value: PrebuildOutcome) -> View:
    made = value.prebuild
    if made is None:
        return Lines([f"nothing is prebuilt: {value.reason}"])
    of = f"{', '.join(made.holds)} ({format_size(made.size)})"
    word = f"made in {value.seconds:.0f} s" if value.action == "made" else "there already"
    again = [f"the scripts run again in each workspace, on what is there: {value.reason}"] if value.reason else []
    return Lines(
        [f"the prebuilt image of {of} is {word}", f"it depends on: {', '.join(value.inputs) or 'no file'}", *again]
    )


@view.register
def _(value: SyncOutcome) -> View:
    moved = f"{value.before[:12]} → {value.after[:12]}" if value.fast_forwarded else f"stays at {value.after[:12]}"
    return Lines([f"{value.branch}: {moved}" + (f"; {value.message}" if value.message else "")])


@view.register
def _(value: Checkpoint) -> View:
    pairs = [
        ("checkpoint", value.id),
        ("name", value.name or ""),
        ("taken", value.reason or ""),
        ("workspace", value.workspace_name),
        ("time", _when(value.created_at)),
        ("branch", (value.tip or "")[:12]),
        ("files", str(value.files)),
        ("size", _size(value.size)),
        ("volumes", " ".join(value.volumes)),
        ("services", " ".join(value.services)),
        ("ref", value.ref),
    ]
    return Facts([(name, text) for name, text in pairs if text])


@view.register
def _(value: CheckpointRestored) -> View:
    name, undo = value.info.name, value.undo.id
    lines = [
        f"{name} is what it was at {value.restored.label} ({_when(value.restored.created_at)}); it is {value.info.status}"
    ]
    return Lines([*lines, f"to take that back: boulder ws checkpoint restore {name} {undo}"])


@view.register
def _(value: CheckpointDiff) -> View:
    return _table(value.files, _DIFFERENCES) if value.files else Lines(["no file of the tree differs"])


def _everywhere(values: Sequence[RepositoryListing]) -> View:
    """Return the workspaces of several repositories in one table; one that cannot be listed has a row of its own."""
    columns = list(_WORKSPACES)
    rows: list[list[str]] = []
    for listing in values:
        known = listing.repository
        where = f"{known.root} ({', '.join(known.names)})" if known.names else str(known.root)
        rows += [[where, *(cell(entry) for cell in _WORKSPACES.values())] for entry in listing.workspaces]
        if not listing.workspaces:
            remark = known.problem or "no workspaces"
            rows.append([where, *("" for _ in columns[:-1]), remark])
    kept = [index for index in range(len(columns) + 1) if index < 1 or any(row[index] for row in rows)]
    headings = ["REPOSITORY", *columns]
    return Table(headings=[headings[index] for index in kept], rows=[[row[index] for index in kept] for row in rows])


def _rows(values: Sequence[object]) -> View:
    """Return a table of values of one kind; which kind shows in the first."""
    if values and isinstance(values[0], TrustReview):
        return Lines(reviewed([value for value in values if isinstance(value, TrustReview)]))
    listings = [value for value in values if isinstance(value, RepositoryListing)]
    if listings:
        return _everywhere(listings)
    columns = next((columns for kind, columns in _COLUMNS.items() if values and isinstance(values[0], kind)), None)
    return Table(headings=(), rows=()) if columns is None else _table(values, columns)


def _table(values: Sequence[object], columns: Mapping[str, Callable[..., str]]) -> Table:
    rows = [[cell(value) for cell in columns.values()] for value in values]
    # A column that says nothing only takes room.
    kept = [index for index in range(len(columns)) if index < 2 or any(row[index] for row in rows)]
    headings = list(columns)
    return Table(headings=[headings[index] for index in kept], rows=[[row[index] for index in kept] for row in rows])


def _of(attribute: str) -> Callable[[object], str]:
    def cell(value: object) -> str:
        found = getattr(value, attribute, None)
        return "" if found is None else str(found)

    return cell


def _status(value: WorkspaceInfo | DamagedRecord | DestroyedWorkspace) -> str:
    if isinstance(value, DamagedRecord):
        return "damaged"
    if isinstance(value, DestroyedWorkspace):
        return value.status
    return "missing" if value.missing else str(value.status)


def _remark(value: WorkspaceInfo | DamagedRecord | DestroyedWorkspace) -> str:
    if isinstance(value, DamagedRecord):
        return f"{value.reason} ({value.path})"
    if isinstance(value, DestroyedWorkspace):
        return f"{(value.tip or '')[:10]}, {_when(value.destroyed_at)}; {value.restore}"
    return value.status_message or (f"degraded: {value.degraded}" if value.degraded else "")


_WORKSPACES: Mapping[str, Callable[..., str]] = {
    "": lambda value: "*" if getattr(value, "current", False) else "",
    "NAME": _of("name"),
    "STATUS": _status,
    "BACKEND": _of("backend"),
    "BRANCH": _of("branch"),
    "PORTS": lambda value: " ".join(f"{port.name}:{port.host_port}" for port in getattr(value, "ports", ())),
    "LABELS": lambda value: _labels(getattr(value, "labels", {})),
    "REMARK": _remark,
}
_PORTS: Mapping[str, Callable[..., str]] = {
    "NAME": _of("name"),
    "INSIDE": lambda port: f"{port.container_port}/{port.protocol}",
    "HOST": lambda port: str(port.host_port),
    "URL": _of("url"),
    "VISIBILITY": _of("visibility"),
    "FIXED": lambda port: "yes" if port.fixed else "",
}
_VIEWED: Mapping[str, Callable[..., str]] = {
    "NAME": _of("name"),
    "INSIDE": lambda port: f"{port.container_port}/{port.protocol}",
    "HOST": _of("host_port"),
    "URL": _of("url"),
    "VISIBILITY": _of("visibility"),
    "FIXED": lambda port: "yes" if port.fixed else "",
    "LISTENING": lambda port: {True: "yes", False: "no", None: ""}[port.listening],
    "REMARK": _of("note"),
}
_TERMINALS: Mapping[str, Callable[..., str]] = {
    "ID": _of("id"),
    "NAME": _of("name"),
    "STATE": lambda terminal: f"exited {terminal.exit.exit_code}" if terminal.exit else str(terminal.state),
    "TITLE": _of("title"),
    "FOLDER": _of("cwd"),
    "CONTROLLER": _of("controller"),
    "VIEWERS": lambda terminal: str(terminal.viewers or ""),
    "TYPED": lambda terminal: _when(terminal.last_input_at),
    "REMARK": lambda terminal: f"served by {terminal.elsewhere}" if terminal.elsewhere else terminal.restored or "",
}
_HOLDS: Mapping[str, Callable[..., str]] = {
    "NAME": _of("name"),
    "UNTIL": lambda hold: _when(hold.expires_at),
    "HOLDER": _of("holder"),
    "REASON": _of("reason"),
}
_FINDINGS: Mapping[str, Callable[..., str]] = {
    "LEVEL": lambda finding: "fixed" if finding.fixed else str(finding.level),
    "CHECK": _of("check"),
    "FOUND": _of("message"),
    "NEXT": lambda finding: "" if finding.level == "ok" else finding.hint or "",
}
_ACTIONS: Mapping[str, Callable[..., str]] = {
    "ACTION": _of("action"),
    "KIND": _of("kind"),
    "NAME": _of("name"),
    "REASON": _of("reason"),
}

_RESCUES: Mapping[str, Callable[..., str]] = {
    "NAME": _of("name"),
    "TIME": lambda rescue: rescue.ref.rpartition("/")[2],
    "BRANCH": lambda rescue: (rescue.base or "")[:10],
    "FILES": _of("files"),
    "SIZE": lambda value: _size(value.size),
    "STASHES": lambda rescue: str(rescue.stashes or ""),
    "IN PROGRESS": _of("operation"),
    "REF": _of("ref"),
    "SET ASIDE": lambda rescue: rescue.reason or "",
}
_PRUNED: Mapping[str, Callable[..., str]] = {
    "ACTION": _of("action"),
    "KIND": _of("kind"),
    "NAME": _of("name"),
    "SIZE": lambda value: _size(value.size),
    "REASON": _of("reason"),
}

_CHECKPOINTS: Mapping[str, Callable[..., str]] = {
    "ID": _of("id"),
    "NAME": _of("name"),
    "TIME": lambda mark: _when(mark.created_at),
    "FILES": _of("files"),
    "SIZE": lambda mark: _size(mark.size),
    "VOLUMES": lambda mark: str(len(mark.volumes) or ""),
    "REMARK": lambda mark: "; ".join(text for text in (mark.reason, *mark.notes) if text),
}
_DIFFERENCES: Mapping[str, Callable[..., str]] = {
    "CHANGE": _of("change"),
    "PATH": _of("path"),
    "BEFORE": lambda file: _size(file.before),
    "AFTER": lambda file: _size(file.after),
}
_FORKS: Mapping[str, Callable[..., str]] = {
    "NAME": _of("name"),
    "STATUS": lambda fork: "" if fork.info is None else str(fork.info.status),
    "BRANCH": lambda fork: "" if fork.info is None else fork.info.branch,
    "PORTS": lambda fork: (
        "" if fork.info is None else " ".join(f"{port.name}:{port.host_port}" for port in fork.info.ports)
    ),
    "ERROR": lambda fork: "" if fork.error is None else f"[{fork.error.code}] {fork.error.message}",
}

_APPROVALS: Mapping[str, Callable[..., str]] = {
    "KIND": _of("kind"),
    "WHERE": _of("where"),
    "BEGINS": _of("first_line"),
    "APPROVED": lambda approval: _when(approval.approved_at),
}

_COLUMNS: Mapping[type, Mapping[str, Callable[..., str]]] = {
    WorkspaceInfo: _WORKSPACES,
    DamagedRecord: _WORKSPACES,
    DestroyedWorkspace: _WORKSPACES,
    PortMapping: _PORTS,
    PortView: _VIEWED,
    TerminalInfo: _TERMINALS,
    Hold: _HOLDS,
    Finding: _FINDINGS,
    GcAction: _ACTIONS,
    Rescue: _RESCUES,
    PruneAction: _PRUNED,
    Checkpoint: _CHECKPOINTS,
    ForkOutcome: _FORKS,
    Approval: _APPROVALS,
    StoredSecret: {"NAME": _of("name"), "CHANGED": lambda secret: _when(secret.changed)},
}


def _size(size: int | None) -> str:
    return "" if size is None else format_size(size)


def _port(port: PortMapping) -> str:
    return port.url or f"{port.bind_address}:{port.host_port} → {port.container_port}/{port.protocol}"


def _service(service: ServiceStatus, of: WorkspaceInfo) -> str:
    if of.status != "running":
        return str(service.state)
    return service.health or ("done" if service.exit_code == 0 else service.trouble or str(service.state))


def _labels(labels: Mapping[str, str]) -> str:
    return " ".join(f"{key}={value}" for key, value in sorted(labels.items()))


def _when(moment: datetime | None) -> str:
    return "" if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M %Z")


def _flat(value: Mapping[str, object], above: str = "") -> list[tuple[str, str]]:
    """Return a nested mapping as dotted names and values."""
    pairs: list[tuple[str, str]] = []
    for key, below in value.items():
        name = f"{above}{key}"
        if isinstance(below, Mapping) and below:
            pairs += _flat(below, f"{name}.")
        else:
            pairs.append((name, below if isinstance(below, str) else json.dumps(below, ensure_ascii=False)))
    return pairs
