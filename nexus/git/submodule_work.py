"""What would be lost in the submodules of a worktree: looked at from our own paths, and nothing of theirs is obeyed.

Their git directories are where git puts them, ``modules/<name>`` of the worktree's entry, and a container writes them. Objects are
read with care; configuration, hooks and alternates there are not looked at.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from dulwich.objects import Commit, ObjectID
from dulwich.repo import Repo

from nexus.errors import GitError
from nexus.git import beneath
from nexus.git.guarded_objects import GuardedObjects
from nexus.git.history import looking_in, only_left, subject
from nexus.git.layout import Worktree
from nexus.git.listing import head_of
from nexus.git.plain_store import require_plain
from nexus.git.refs import Refs
from nexus.git.repository import opened, read_config
from nexus.git.status import Change, Place, content_of, examine
from nexus.git.submodules import FILE, LIMIT, git_dirs, named_submodules
from nexus.git.threads import Stop
from nexus.git.trees import shown
from nexus.models.workspace import Repository

_SHOWN: Final = 10


class _Module(NamedTuple):
    git_dir: Path
    """A path that stays with the folder, whatever is put in its place."""
    repo: Repo
    """The main repository, with this submodule's objects in place of its own."""


class _Outer(NamedTuple):
    """The repository that submodules belong to: the worktree, or a submodule itself."""

    tree: Path
    """A path that stays with the folder."""
    private: bytes
    """Its git directory, below the worktree's entry."""
    source: Path
    """The main checkout's git directory of it."""
    prefix: bytes
    """Its path in the worktree."""


@contextmanager
def _opened(repository: Repository, worktree: Worktree, private: bytes, source: Path) -> Iterator[_Module]:
    """Open a submodule's git directory. What it says it borrows is not believed: only the main checkout's own store counts."""
    with ExitStack() as closing:
        admin = os.open(worktree.admin_dir, beneath.FOLDER)
        closing.callback(os.close, admin)
        real = Path(f"/proc/self/fd/{closing.enter_context(beneath.folder(admin, private))}")
        require_plain(real)
        store = GuardedObjects(str(real / "objects"))
        closing.callback(store.close)
        store.borrow_only([GuardedObjects(str(source / "objects"))] if (source / "objects").is_dir() else [])
        repo = closing.enter_context(opened(repository))
        own, repo.object_store = repo.object_store, store
        closing.callback(own.close)
        yield _Module(real, repo)


def look_into(repository: Repository, worktree: Worktree, path: bytes, sha: bytes, stop: Stop) -> list[str]:
    """Return what is unsaved in one filled submodule, one line each; nothing when it is as the outer commit has it.

    Args:
        repository: The main repository.
        worktree: The worktree.
        path: Where the submodule is.
        sha: The commit that the index names, raw.
        stop: Asked now and then.
    """
    return _Looking(repository, worktree, stop).into(_Outer(worktree.path, b"", repository.common_dir, b""), path, sha)


class _Looking:
    """Looks into submodules, and into theirs."""

    def __init__(self, repository: Repository, worktree: Worktree, stop: Stop) -> None:
        self._repository = repository
        self._worktree = worktree
        self._stop = stop

    def into(self, outer: _Outer, path: bytes, sha: bytes) -> list[str]:
        """Return what is unsaved in one submodule of ``outer``."""
        named = named_submodules(_gitmodules(outer.tree), {path: sha})
        lines = [shown(outer.prefix) + line for line in named.refused]
        for submodule in named.found:
            below = b"modules/" + submodule.name
            called = outer.prefix + submodule.path
            private = outer.private + b"/" + below if outer.private else below
            source = outer.source / os.fsdecode(below)
            try:
                with ExitStack() as closing:
                    root = os.open(outer.tree, beneath.ENTERED)
                    closing.callback(os.close, root)
                    tree = closing.enter_context(beneath.folder(root, submodule.path))
                    inner = _Outer(Path(f"/proc/self/fd/{tree}"), private, source, called + b"/")
                    own, deeper = self._differences(inner, tree, sha)
                    lines += [*(f"{shown(called)}: {line}" for line in own), *deeper]
            except (GitError, OSError) as error:
                lines.append(f"{shown(called)}: it cannot be looked into: {error}")
        return lines

    def _differences(self, inner: _Outer, root: int, sha: bytes) -> tuple[list[str], list[str]]:
        """Return what is unsaved in a submodule itself, and in its own submodules."""
        config = read_config(self._repository)
        with _opened(self._repository, self._worktree, inner.private, inner.source) as module:
            head, _ = head_of(module.git_dir, Refs(module.git_dir))
            if head is None:
                return ["its HEAD cannot be read"], []
            content = content_of(module.repo, self._repository, config, root)
            place = Place(self._repository, config, inner.tree, module.git_dir, head)
            status = examine(content, place, self._stop, partial(self.into, inner))
        lines = [] if head == sha.hex() else [f"it is at {head[:10]}, not at {sha.hex()[:10]}"]
        lines += [
            f"{change}: {shown(path)}"
            for path, change in status.changed.items()
            if change is not Change.UNKNOWN or not status.inside
        ]
        lines += [f"staged: {shown(path)}" for path in status.staged]
        lines += [f"untracked: {shown(path)}" for path in (*status.untracked.files, *status.untracked.repositories)]
        return [*lines, *status.problems], status.inside


def _gitmodules(tree: Path) -> bytes | None:
    root = os.open(tree, beneath.ENTERED)
    try:
        return beneath.read_file(root, FILE, limit=LIMIT)
    except OSError:
        return None
    finally:
        os.close(root)


def unsaved_commits(repository: Repository, worktree: Worktree) -> list[str]:
    """Return the commits in submodules' git directories that neither the main checkout nor a remote has, in words."""
    lines: list[str] = []
    for name, git_dir in git_dirs(worktree.admin_dir):
        source = repository.common_dir / git_dir.relative_to(worktree.admin_dir)
        try:
            lines += [f"{shown(name)}: {line}" for line in _commits(repository, worktree, git_dir, source)]
        except (GitError, OSError) as error:
            lines.append(f"{shown(name)}: its commits cannot be looked at: {error}")
    return lines


def _commits(repository: Repository, worktree: Worktree, git_dir: Path, source: Path) -> list[str]:
    private = os.fsencode(git_dir.relative_to(worktree.admin_dir))
    with _opened(repository, worktree, private, source) as module:
        refs = Refs(module.git_dir)
        found = dict(refs.commits())
        head, _ = head_of(module.git_dir, refs)
        if head is not None:
            found[b"HEAD"] = head.encode()
        remote = {sha for ref, sha in found.items() if ref.startswith(b"refs/remotes/")}
        tips = {sha for sha in found.values() if sha not in remote and not _has(source, sha)}
        if not tips:
            return []
        store = module.repo.object_store
        known = [sha for sha in remote if ObjectID(sha) in store and isinstance(store[ObjectID(sha)], Commit)]
        only = only_left(looking_in(module.repo), tips, known)
        kept = [sha for sha in only if not _has(source, sha)]
        if not kept:
            return []
        count = f"{len(kept)} commit{' exists' if len(kept) == 1 else 's exist'} nowhere else"
        return [count, *(f"  {subject(module.repo, sha)}" for sha in kept[:_SHOWN])]


def _has(source: Path, sha: bytes) -> bool:
    """Return whether the main checkout's own git directory of a submodule has an object."""
    if not (source / "objects").is_dir():
        return False
    with suppress(GitError):
        require_plain(source)
        store = GuardedObjects(str(source / "objects"))
        try:
            return ObjectID(sha) in store
        finally:
            store.close()
    return False
