"""What would be lost if a worktree went away, as a value and in words."""

from __future__ import annotations

from nexus.models.base import Model

_PATHS = 20


class WorkReport(Model):
    """The work that exists only in one worktree.

    Paths are relative to the tree; bytes that are no UTF-8 are written as escapes.
    """

    name: str
    branch: str
    head: str | None = None
    """The commit that is checked out."""
    modified: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    staged: tuple[str, ...] = ()
    """Paths whose index entry differs from the commit."""
    untracked: tuple[str, ...] = ()
    """Untracked paths that are not ignored; a nested repository ends in ``/``."""
    precious: tuple[str, ...] = ()
    """Ignored paths that the configuration names as too good to lose, and that the main checkout does not hold as well."""
    unreachable: int = 0
    """Commits that no other branch, no tag and no remote branch leads to."""
    unreachable_subjects: tuple[str, ...] = ()
    """The newest of them: abbreviated id and first line."""
    stashes: tuple[str, ...] = ()
    """Stash entries that were made on the branch. Removing the worktree does not delete them."""
    detached: bool = False
    """Whether ``HEAD`` is on no branch."""
    submodules: tuple[str, ...] = ()
    """Work inside submodules: path or name, and what it is."""
    operation: str | None = None
    """What was begun and not ended: ``rebase``, ``merge``, ``cherry-pick``, ``revert``, ``bisect``, ``am``."""
    unknown: str | None = None
    """Why the answer is not complete. Unknown counts as dirty."""

    @property
    def clean(self) -> bool:
        """Whether nothing would be lost."""
        return not self.lines()

    def lines(self) -> tuple[str, ...]:
        """Return what would be lost, one line for each piece; long lists are cut with a count."""
        found: list[str] = []
        for what, paths in (
            ("modified", self.modified),
            ("deleted", self.deleted),
            ("staged", self.staged),
            ("untracked", self.untracked),
            ("ignored but precious", self.precious),
        ):
            found.extend(_cut([f"{what}: {path}" for path in paths], what))
        if self.unreachable:
            commits = "commit exists" if self.unreachable == 1 else "commits exist"
            found.append(f"{self.unreachable} {commits} nowhere else")
            found.extend(f"  {subject}" for subject in self.unreachable_subjects)
        found.extend(f"stashed: {entry}" for entry in self.stashes)
        found.extend(_cut([f"in the submodule {line}" for line in self.submodules], "lines about submodules"))
        if self.operation is not None:
            found.append(f"a {self.operation} is in progress")
        if self.unknown is not None:
            found.append(f"not known: {self.unknown}")
        return tuple(found)


def _cut(lines: list[str], what: str) -> list[str]:
    if len(lines) <= _PATHS:
        return lines
    return [*lines[:_PATHS], f"and {len(lines) - _PATHS} more {what}"]
