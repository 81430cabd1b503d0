"""Where a worktree of ours lives, and how a container sees it. Pure: no file is touched here.

::

    <root>/.nexus/worktrees/<name>/        the tree
    <root>/.nexus/trash/                   trees on their way out
    <root>/.nexus/kept/<name>/<time>/      trees that could not be kept in a commit: see :mod:`nexus.git.kept_trees`
    <common>/worktrees/nexus@<name>/       git's own entry for it, always locked; a private clone has <tree>/.git instead
    refs/heads/nexus/<name>                its branch

On a node that several users share, ``worktrees``, ``trash`` and ``kept`` may be elsewhere together: see :mod:`nexus.grounds`.

The entry's id follows from the name alone. Git names its own entries after folders, so the ``@`` keeps a user's worktree in
a folder called ``nexus-fix`` apart from the workspace ``fix``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from nexus.errors import InvalidName
from nexus.models.base import Model
from nexus.models.ids import parse_name
from nexus.models.mounts import VolumeMount
from nexus.models.workspace import Isolation, Repository

LOCK_PREFIX: Final = "nexus:"
"""Every lock reason of ours starts with this; a lock with another reason belongs to somebody else."""

ADMIN_PREFIX: Final = "nexus@"
BRANCH_FOLDER: Final = "nexus"
RESCUE_PREFIX: Final = "refs/nexus/rescue/"
DESTROYED_PREFIX: Final = "refs/nexus/destroyed/"
CHECKPOINT_PREFIX: Final = "refs/nexus/checkpoints/"
KEPT_PREFIX: Final = "refs/nexus/kept/"
"""Refs that go with trees in ``.nexus/kept/``: they keep the commits that those trees need."""
LENT_PREFIX: Final = "refs/nexus/lent/"
"""Refs that keep what private clones borrow; one for each clone."""

EXCLUDED: Final = (
    ".nexus/state/",
    ".nexus/worktrees/",
    ".nexus/current",
    ".nexus/cache/",
    ".nexus/trash/",
    ".nexus/kept/",
)
"""What ``info/exclude`` keeps out of ``git status``; ``.nexus/config.yaml`` stays the user's to commit."""

SHADOWED_FOLDERS: Final = ("branches", "hooks", "info", "modules", "remotes", "worktrees")
"""Folders of the common dir that a container may read and never write. Made at creation where they are missing.

``modules`` holds the git directories of submodules, with hooks and configuration that git obeys on the host. ``branches`` and
``remotes`` are where git of old kept the addresses of remotes; it still looks there.
"""

SHADOWED: Final = ("hooks", "config", "info", "worktrees", "modules", "branches", "remotes")

SHADOWED_IF_PRESENT: Final = ("commondir", "config.worktree")
"""Files that are shadowed where they are: see :mod:`nexus.git.guarding`."""


class Worktree(Model):
    """One worktree of ours, as it is on disk now."""

    name: str
    path: Path
    """The tree's folder."""
    branch: str
    """The branch that belongs to it: ``nexus/<name>``."""
    admin_dir: Path
    """Git's entry for it under the common dir."""
    head: str | None = None
    """The commit that is checked out, as 40 hexadecimal digits; ``None`` when that cannot be told."""
    checked_out: str | None = None
    """The full name of the ref that ``HEAD`` points at; ``None`` when it is detached or unreadable."""
    lock: str | None = None
    """The reason in git's ``locked`` file."""
    present: bool = True
    """Whether the tree is there."""
    registered: bool = True
    """Whether git's entry is there."""
    protected: tuple[str, ...] = SHADOWED
    """Entries of the common dir that a container must not write."""
    notes: tuple[str, ...] = ()
    """What creation left as it is in the repository, in words: content that a filter program would have changed."""
    isolation: Isolation = "worktree"
    """Whether it is a linked worktree or a private clone."""
    returned: str | None = None
    """Of a clone: the commit that its branch was at when it was brought back last."""


def grounds(repository: Repository) -> Path:
    """Return the folder that trees, trash and what was set aside are in, on one file system."""
    return repository.root / ".nexus" if repository.grounds is None else repository.grounds


def worktrees_folder(repository: Repository) -> Path:
    """Return the folder that holds every tree of ours."""
    return grounds(repository) / "worktrees"


def trash_folder(repository: Repository) -> Path:
    """Return the folder that trees are moved to before they are deleted."""
    return grounds(repository) / "trash"


def kept_folder(repository: Repository) -> Path:
    """Return the folder of the trees that were set aside."""
    return grounds(repository) / "kept"


def worktree_path(repository: Repository, name: str) -> Path:
    """Return the folder of one tree.

    Raises:
        InvalidName: When the name is none, so it could lead anywhere.
    """
    return worktrees_folder(repository) / parse_name(name)


def branch_name(name: str) -> str:
    """Return the short name of a worktree's branch.

    Raises:
        InvalidName: When the name is none.
    """
    return f"{BRANCH_FOLDER}/{parse_name(name)}"


def branch_ref(name: str) -> str:
    """Return the full name of a worktree's branch.

    Raises:
        InvalidName: When the name is none.
    """
    return f"refs/heads/{branch_name(name)}"


def admin_path(repository: Repository, name: str) -> Path:
    """Return git's entry for a worktree.

    Raises:
        InvalidName: When the name is none.
    """
    return repository.common_dir / "worktrees" / f"{ADMIN_PREFIX}{parse_name(name)}"


def name_of_admin(folder: str) -> str | None:
    """Return the worktree that an entry under ``worktrees/`` belongs to; ``None`` when it is not one of ours."""
    if not folder.startswith(ADMIN_PREFIX):
        return None
    name = folder.removeprefix(ADMIN_PREFIX)
    try:
        return parse_name(name)
    except InvalidName:
        return None


def container_mounts(repository: Repository, worktree: Worktree) -> tuple[VolumeMount, ...]:
    """Return the mounts that make git work inside a container, in the order in which they must be made.

    Tree and common dir appear at their paths on the host: git writes those paths into the common dir, and a different path
    inside would break every other worktree. The common dir is writable, because rebase, stash and gc make and rename files at
    its top. What git on the host would obey (hooks, configuration, attributes, other worktrees' entries) is shadowed
    read-only; the worktree's own entry is writable again.

    A private clone needs less: its tree, and read-only the objects that it borrows.

    Args:
        repository: The repository.
        worktree: The worktree, as ``Worktrees.create`` or ``Worktrees.get`` returned it.

    Returns:
        Bind mounts; every source exists after ``Worktrees.create``.
    """
    common = repository.common_dir
    if worktree.isolation == "clone":
        return (_bind(worktree.path), _bind(common / "objects", read_only=True))
    mounts = [_bind(worktree.path), _bind(common)]
    mounts.extend(_bind(common / entry, read_only=True) for entry in worktree.protected)
    mounts.append(_bind(worktree.admin_dir))
    return tuple(mounts)


def _bind(path: Path, *, read_only: bool = False) -> VolumeMount:
    return VolumeMount(source=str(path), target=str(path), kind="bind", read_only=read_only)
