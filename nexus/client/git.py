"""The git of a workspace behind a daemon."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Sequence

from nexus.client.line import Line
from nexus.models.git import GitAuthor, GitBranch, GitCommit, GitDiff, GitStatus
from nexus.models.requests import SyncOutcome
from nexus.wire.methods import git as methods
from nexus.wire.methods.table import KeyedOfWorkspace, OfWorkspace


class RemoteGit:
    """Implements :class:`~nexus.abc.git_access.GitAccess` over a connection.

    Args:
        line: The connection.
        workspace: Whose git, by id.
    """

    def __init__(self, line: Line, workspace: str) -> None:
        self._line = line
        self._workspace = workspace

    async def status(self) -> GitStatus:
        """Return how tree, index and commit differ."""
        return await self._line.call(methods.STATUS, OfWorkspace(workspace=self._workspace))

    async def diff(
        self,
        old: str | None = None,
        new: str | None = None,
        *,
        staged: bool = False,
        paths: Sequence[str] = (),
        context: int = 3,
    ) -> GitDiff:
        """Return what differs, as text."""
        params = methods.Diff(
            workspace=self._workspace, old=old, new=new, staged=staged, paths=tuple(paths), context=context
        )
        return await self._line.call(methods.DIFF, params)

    async def commit(
        self, message: str, *, paths: Sequence[str] | None = None, author: GitAuthor | None = None
    ) -> GitCommit:
        """Commit to the workspace's branch."""
        params = methods.Commit(
            workspace=self._workspace,
            message=message,
            paths=None if paths is None else tuple(paths),
            author=author,
            idempotency_key=uuid.uuid4().hex,
        )
        return await self._line.call(methods.COMMIT, params)

    async def branches(self, *, remote: bool = False) -> tuple[GitBranch, ...]:
        """Return the repository's branches."""
        found = await self._line.call(methods.BRANCHES, methods.Branches(workspace=self._workspace, remote=remote))
        return found.items

    async def log(
        self, ref: str = "HEAD", *, limit: int = 50, path: str | None = None, after: str | None = None
    ) -> tuple[GitCommit, ...]:
        """Return commits, the newest first."""
        params = methods.Log(workspace=self._workspace, ref=ref, limit=limit, path=path, after=after)
        return (await self._line.call(methods.LOG, params)).items

    async def show(self, path: str, *, ref: str = "HEAD") -> bytes:
        """Return a file as it is in a commit."""
        found = await self._line.call(methods.SHOW, methods.Show(workspace=self._workspace, path=path, ref=ref))
        return base64.b64decode(found.data)

    async def sync(self) -> SyncOutcome:
        """Fetch, and fast-forward the branch."""
        params = KeyedOfWorkspace(workspace=self._workspace, idempotency_key=uuid.uuid4().hex)
        return await self._line.call(methods.SYNC, params)
