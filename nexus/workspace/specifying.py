"""What a provider is asked to make for a workspace: its record, with how its tree is mounted and what of it no image may see."""

from __future__ import annotations

from nexus import git
from nexus.models.instances import InstanceSpec
from nexus.models.workspace import WorkspaceRecord
from nexus.workspace.context import Context
from nexus.workspace.records import specification
from nexus.workspace.ssh_grant import ssh_mounts
from nexus.workspace.withholding import withheld


def specify(context: Context, record: WorkspaceRecord) -> InstanceSpec:
    """Return what to ask the provider for."""
    tree = git.Worktree(
        name=record.name,
        path=record.worktree_path,
        branch=record.branch,
        admin_dir=context.worktrees.admin_dir(record.name),
        protected=git.protected(context.repository),
        isolation=record.isolation,
    )
    mounts = (*git.container_mounts(context.repository, tree), *ssh_mounts(record))
    hidden = withheld(context.repository, context.settings) if record.config.get("dockerfile") else ()
    return specification(record, context.node, mounts).model_copy(update={"withheld": hidden})
