"""Which way leads to a workspace's files: the tree itself where it is on this host, commands where it is not."""

from __future__ import annotations

from nexus.abc import FileAccess, ProcessHandle
from nexus.models.execution import SpawnRequest
from nexus.models.workspace import WorkspaceInfo
from nexus.workspace import attending
from nexus.workspace.context import Context
from nexus.workspace.files import FileSystem
from nexus.workspace.files_by_command import FilesByCommand
from nexus.workspace.records import WORKSPACE_LINK


def files_of(context: Context, info: WorkspaceInfo) -> FileAccess:
    """Return access to a workspace's files. Where that takes commands, the workspace has to run, or is woken."""
    root = str(info.worktree_path)
    if context.backends.has_tree_here(info.backend):
        return FileSystem(info.worktree_path, aliases=(WORKSPACE_LINK, root))

    async def spawn(request: SpawnRequest) -> ProcessHandle:
        return await attending.spawn(context, await context.records.load(info.id), request)

    return FilesByCommand(spawn, root, aliases=(WORKSPACE_LINK,))
