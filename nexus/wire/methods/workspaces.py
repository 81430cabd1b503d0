"""``workspace.*``: the life of workspaces."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from nexus.models.activity import Hold, HoldName
from nexus.models.findings import Finding
from nexus.models.instances import ProviderInfo, ResourceStats
from nexus.models.prebuilds import PrebuildOutcome
from nexus.models.requests import (
    CreateRequest,
    DestroyOutcome,
    GcAction,
    ListFilter,
    RestoreRequest,
    SwitchOutcome,
    SyncOutcome,
)
from nexus.models.rescues import DestroyedWorkspace, PruneAction, Rescue
from nexus.models.workspace import DamagedRecord, WorkspaceInfo
from nexus.wire.methods.table import (
    Effect,
    KeyedOfWorkspace,
    KeyedParams,
    Method,
    Milliseconds,
    Nothing,
    OfWorkspace,
    Params,
    WorkspaceRef,
)


class Create(KeyedParams):
    """A workspace to create."""

    spec: CreateRequest


class Restore(KeyedParams):
    """A workspace to bring back."""

    spec: RestoreRequest


class List(Params):
    """Which workspaces, and where to go on."""

    where: ListFilter = ListFilter()
    cursor: str | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 200


class Listed(Params):
    """A page of the list; a damaged record or a destroyed workspace is an item of its own kind."""

    items: tuple[WorkspaceInfo | DamagedRecord | DestroyedWorkspace, ...]
    next_cursor: str | None = None


class Current(Params):
    """The current workspace, where the token is for it."""

    name: str | None


class Stop(KeyedOfWorkspace):
    """How to stop."""

    grace_ms: Milliseconds | None = None
    keep_processes: bool = False


class Destroy(KeyedOfWorkspace):
    """How to destroy."""

    force: bool = False
    keep_volumes: bool = False


class Rescues(Params):
    """Whose rescues."""

    workspace: WorkspaceRef | None = None


class RescueList(Params):
    """Rescues, the newest first."""

    items: tuple[Rescue, ...]


class Prune(KeyedParams):
    """What to prune."""

    dry_run: bool = False
    older_than_ms: Milliseconds | None = None
    max_disk: int | None = None


class Pruned(Params):
    """What was done."""

    items: tuple[PruneAction, ...]


class PrebuildImage(KeyedParams):
    """Which files the scripts see, and whether it is made anew when it is there."""

    start_point: str = "HEAD"
    force: bool = False


class Gc(KeyedParams):
    """Whether only to look."""

    dry_run: bool = False


class Swept(Params):
    """What was done."""

    items: tuple[GcAction, ...]


class TakeHold(KeyedOfWorkspace):
    """A reason to stay awake."""

    hold: HoldName
    ttl_ms: Milliseconds
    reason: Annotated[str, Field(max_length=500)] = ""


class ReleaseHold(KeyedOfWorkspace):
    """Which one."""

    hold: HoldName


class Holds(Params):
    """Reasons to stay awake, by name."""

    items: tuple[Hold, ...]


class Logs(OfWorkspace):
    """Which log."""

    service: str | None = None
    follow: bool = False
    tail: Annotated[int, Field(ge=0)] | None = None


class LogStream(Params):
    """The stream that carries it."""

    feed: str
    stream: int


class Probed(Params):
    """The backends of the daemon's machine."""

    items: tuple[ProviderInfo, ...]


class Doctor(KeyedParams):
    """Whether to mend."""

    fix: bool = False


class Findings(Params):
    """What was found."""

    items: tuple[Finding, ...]


_READ, _WRITE = "workspace:read", "workspace:write"

CREATE: Final = Method(
    "workspace.create", Create, WorkspaceInfo, Effect.KEYED, _WRITE, "Create a workspace.", progress=True
)
RESTORE: Final = Method(
    "workspace.restore",
    Restore,
    WorkspaceInfo,
    Effect.KEYED,
    _WRITE,
    "Bring a destroyed workspace back.",
    progress=True,
)
GET: Final = Method(
    "workspace.get", OfWorkspace, WorkspaceInfo, Effect.READ, _READ, "Return one workspace as it is now."
)
LIST: Final = Method(
    "workspace.list", List, Listed, Effect.READ, _READ, "Return the workspaces that the token is for, by name."
)
CURRENT: Final = Method(
    "workspace.current", Nothing, Current, Effect.READ, _READ, "Return the current workspace's name."
)
START: Final = Method(
    "workspace.start", KeyedOfWorkspace, WorkspaceInfo, Effect.KEYED, _WRITE, "Make it run.", progress=True
)
STOP: Final = Method(
    "workspace.stop", Stop, WorkspaceInfo, Effect.KEYED, _WRITE, "End its processes: TERM, the grace, KILL."
)
PAUSE: Final = Method("workspace.pause", KeyedOfWorkspace, WorkspaceInfo, Effect.KEYED, _WRITE, "Freeze its processes.")
RESUME: Final = Method(
    "workspace.resume", KeyedOfWorkspace, WorkspaceInfo, Effect.KEYED, _WRITE, "Let frozen processes go on."
)
RETRY_HOOKS: Final = Method(
    "workspace.retryHooks",
    KeyedOfWorkspace,
    WorkspaceInfo,
    Effect.KEYED,
    _WRITE,
    "Run its scripts again that failed.",
    progress=True,
)
SWITCH: Final = Method(
    "workspace.switch",
    KeyedOfWorkspace,
    SwitchOutcome,
    Effect.KEYED,
    _WRITE,
    "Wake it, pause the current one, make it current.",
)
DESTROY: Final = Method(
    "workspace.destroy",
    Destroy,
    DestroyOutcome,
    Effect.KEYED,
    _WRITE,
    "Remove it; never unsaved work, unless forced and then kept.",
)
RESCUES: Final = Method(
    "workspace.rescues", Rescues, RescueList, Effect.READ, _READ, "Return unsaved work that was kept.", whole=True
)
PRUNE: Final = Method(
    "workspace.prune", Prune, Pruned, Effect.KEYED, _WRITE, "Remove what was kept long ago.", whole=True
)
PREBUILD: Final = Method(
    "workspace.prebuild",
    PrebuildImage,
    PrebuildOutcome,
    Effect.KEYED,
    _WRITE,
    "Keep what the first scripts come to as an image.",
    whole=True,
    progress=True,
)
SYNC: Final = Method(
    "workspace.sync", KeyedOfWorkspace, SyncOutcome, Effect.KEYED, _WRITE, "Fetch, and fast-forward its branch."
)
GC: Final = Method("workspace.gc", Gc, Swept, Effect.KEYED, _WRITE, "Finish or undo what crashes left.", whole=True)
HOLD: Final = Method(
    "workspace.hold", TakeHold, Hold, Effect.KEYED, _WRITE, "Keep it awake for a while, or renew that."
)
RELEASE: Final = Method("workspace.release", ReleaseHold, Nothing, Effect.KEYED, _WRITE, "End a hold now.")
HOLDS: Final = Method("workspace.holds", OfWorkspace, Holds, Effect.READ, _READ, "Return what keeps it awake by name.")
LOGS: Final = Method("workspace.logs", Logs, LogStream, Effect.LIVE, _READ, "Send a log as a stream.")
STATS: Final = Method("workspace.stats", OfWorkspace, ResourceStats, Effect.READ, _READ, "Return what it uses now.")
PROBE: Final = Method("workspace.probe", Nothing, Probed, Effect.READ, _READ, "Return what each backend is and can do.")
DOCTOR: Final = Method(
    "workspace.doctor",
    Doctor,
    Findings,
    Effect.KEYED,
    _WRITE,
    "Look for everything that is wrong; with `fix` mend it.",
    whole=True,
)

METHODS: Final = (
    CREATE,
    RESTORE,
    GET,
    LIST,
    CURRENT,
    START,
    STOP,
    PAUSE,
    RESUME,
    RETRY_HOOKS,
    SWITCH,
    DESTROY,
    RESCUES,
    PRUNE,
    PREBUILD,
    SYNC,
    GC,
    HOLD,
    RELEASE,
    HOLDS,
    LOGS,
    STATS,
    PROBE,
    DOCTOR,
)
