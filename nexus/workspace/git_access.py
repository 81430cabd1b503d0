"""``ws.git``: a workspace's git, asked from outside of it."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import override

from nexus.abc.git_access import GitAccess
from nexus.git import WorkspaceGit, read_identity
from nexus.models.git import GitAuthor, GitBranch, GitCommit, GitDiff, GitStatus
from nexus.models.requests import SyncOutcome
from nexus.models.workspace import WorkspaceInfo
from nexus.workspace import syncing
from nexus.workspace.context import Context
from nexus.workspace.recovery import holding


class LocalGit(GitAccess):
    """The git of one workspace whose tree is on this host.

    Args:
        context: The open repository.
        info: The workspace.
    """

    def __init__(self, context: Context, info: WorkspaceInfo) -> None:
        self._context = context
        self._id = info.id
        self._name = info.name
        self._git = WorkspaceGit(context.repository, info.name)

    def __repr__(self) -> str:
        return f"<LocalGit of {self._name}>"

    @override
    async def status(self) -> GitStatus:
        return await self._git.status()

    @override
    async def diff(
        self,
        old: str | None = None,
        new: str | None = None,
        *,
        staged: bool = False,
        paths: Sequence[str] = (),
        context: int = 3,
    ) -> GitDiff:
        return await self._git.diff(old, new, staged=staged, paths=paths, context=context)

    @override
    async def commit(
        self, message: str, *, paths: Sequence[str] | None = None, author: GitAuthor | None = None
    ) -> GitCommit:
        user = await read_identity(self._context.repository)
        record = await self._context.records.load(self._id)
        async with holding(self._context, record.name, purpose=f"committing in workspace {record.name}"):
            return await self._git.commit(message, user=user, paths=paths, author=author)

    @override
    async def branches(self, *, remote: bool = False) -> tuple[GitBranch, ...]:
        return await self._git.branches(remote=remote)

    @override
    async def log(
        self, ref: str = "HEAD", *, limit: int = 50, path: str | None = None, after: str | None = None
    ) -> tuple[GitCommit, ...]:
        return await self._git.log(ref, limit=limit, path=path, after=after)

    @override
    async def show(self, path: str, *, ref: str = "HEAD") -> bytes:
        return await self._git.show(path, ref=ref)

    @override
    async def sync(self) -> SyncOutcome:
        record = await self._context.records.load(self._id)
        async with holding(self._context, record.name, purpose=f"syncing workspace {record.name}"):
            return await syncing.sync(self._context, await self._context.records.load(record.name))
