"""All git work: repositories found, worktrees made, examined, kept and removed. Needs no git program.

- :func:`find_repository` finds the repository a folder is in.
- :class:`Worktrees` makes and removes the worktrees of one repository; :class:`Worktree` and :class:`WorkReport` are what it tells.
- :class:`WorkspaceGit` asks about one workspace and commits: status, differences, history.
- :class:`TreeCheckpoints` keeps the trees of checkpoints, compares them and goes back to them.
- :func:`empty_trash` deletes the trees that were moved out of sight, :func:`list_trash` says what is left of them.
- :func:`worktree_path` and :func:`branch_name` say where a workspace's tree and branch are.
- :func:`container_mounts` says how a container has to see a worktree so that git works in it.
- :func:`read_identity` tells who the user is to git, :func:`git_environment` passes that on to git inside.
- :func:`examine` looks for what a hostile workspace may have done to the repository.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nexus.loading import on_first_use

if TYPE_CHECKING:
    from nexus.git.checkpoints import KeptTree, TreeCheckpoints
    from nexus.git.examination import Tampering, examine
    from nexus.git.identity import GitIdentity, git_environment, read_identity
    from nexus.git.layout import EXCLUDED, KEPT_PREFIX, Worktree, branch_name, container_mounts, worktree_path
    from nexus.git.listing import protected
    from nexus.git.locating import find_repository
    from nexus.git.orders import Fill
    from nexus.git.threads import Stop
    from nexus.git.trash import Trash, empty_trash, list_trash
    from nexus.git.tree_contents import Contents, contents
    from nexus.git.work_report import WorkReport
    from nexus.git.workspace_git import WorkspaceGit
    from nexus.git.worktrees import Worktrees

__getattr__, __dir__ = on_first_use(
    __name__,
    {
        "nexus.git.checkpoints": ["KeptTree", "TreeCheckpoints"],
        "nexus.git.tree_contents": ["Contents", "contents"],
        "nexus.git.examination": ["Tampering", "examine"],
        "nexus.git.identity": ["GitIdentity", "git_environment", "read_identity"],
        "nexus.git.layout": ["EXCLUDED", "KEPT_PREFIX", "Worktree", "branch_name", "container_mounts", "worktree_path"],
        "nexus.git.listing": ["protected"],
        "nexus.git.locating": ["find_repository"],
        "nexus.git.orders": ["Fill"],
        "nexus.git.threads": ["Stop"],
        "nexus.git.trash": ["Trash", "empty_trash", "list_trash"],
        "nexus.git.work_report": ["WorkReport"],
        "nexus.git.workspace_git": ["WorkspaceGit"],
        "nexus.git.worktrees": ["Worktrees"],
    },
)

__all__ = [
    "EXCLUDED",
    "KEPT_PREFIX",
    "Contents",
    "Fill",
    "GitIdentity",
    "KeptTree",
    "Stop",
    "Tampering",
    "Trash",
    "TreeCheckpoints",
    "WorkReport",
    "WorkspaceGit",
    "Worktree",
    "Worktrees",
    "branch_name",
    "container_mounts",
    "contents",
    "empty_trash",
    "examine",
    "find_repository",
    "git_environment",
    "list_trash",
    "protected",
    "read_identity",
    "worktree_path",
]
