"""``git.*``: what a workspace's git knows and does."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from nexus.models.git import GitAuthor, GitBranch, GitCommit, GitDiff, GitStatus
from nexus.models.requests import SyncOutcome
from nexus.wire.methods.table import Effect, KeyedOfWorkspace, Method, OfWorkspace, Params
from nexus.wire.text import WireText


class Diff(OfWorkspace):
    """What to compare."""

    old: str | None = None
    new: str | None = None
    staged: bool = False
    paths: tuple[WireText, ...] = ()
    context: Annotated[int, Field(ge=0, le=10_000)] = 3


class Commit(KeyedOfWorkspace):
    """What to commit; everything that is not ignored when no paths are given."""

    message: str
    paths: tuple[WireText, ...] | None = None
    author: GitAuthor | None = None


class Branches(OfWorkspace):
    """Whether those of remotes, too."""

    remote: bool = False


class BranchList(Params):
    """Branches, by name."""

    items: tuple[GitBranch, ...]


class Log(OfWorkspace):
    """Where to begin, and how many."""

    ref: str = "HEAD"
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    path: WireText | None = None
    after: str | None = None


class Commits(Params):
    """Commits, the newest first."""

    items: tuple[GitCommit, ...]


class Show(OfWorkspace):
    """A file of a commit."""

    path: WireText
    ref: str = "HEAD"


class Blob(Params):
    """Its content, as base64."""

    data: str


_READ, _WRITE = "fs:read", "fs:write"

STATUS: Final = Method(
    "git.status", OfWorkspace, GitStatus, Effect.READ, _READ, "Return how tree, index and commit differ."
)
DIFF: Final = Method("git.diff", Diff, GitDiff, Effect.READ, _READ, "Return what differs, as text.")
COMMIT: Final = Method("git.commit", Commit, GitCommit, Effect.KEYED, _WRITE, "Commit to the workspace's branch.")
BRANCHES: Final = Method("git.branches", Branches, BranchList, Effect.READ, _READ, "Return the repository's branches.")
LOG: Final = Method("git.log", Log, Commits, Effect.READ, _READ, "Return commits, the newest first.")
SHOW: Final = Method("git.show", Show, Blob, Effect.READ, _READ, "Return a file as it is in a commit.")
SYNC: Final = Method(
    "git.sync", KeyedOfWorkspace, SyncOutcome, Effect.KEYED, "workspace:write", "Fetch, and fast-forward the branch."
)

METHODS: Final = (STATUS, DIFF, COMMIT, BRANCHES, LOG, SHOW, SYNC)
