"""The trees of checkpoints: kept under refs of their own, compared, gone back to, and kept as rescues when their workspace goes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

from dulwich.objects import Commit, ObjectID
from dulwich.repo import Repo

from nexus.errors import CheckpointDamaged, GitError
from nexus.git import layout
from nexus.git.clone_work import commit_any
from nexus.git.history import looking_in, only_left
from nexus.git.index_file import SUBMODULE
from nexus.git.keeping import make_ref
from nexus.git.precious import Precious
from nexus.git.refs import HEADS, Refs
from nexus.git.repository import opened, sheltered
from nexus.git.rescue_state import read_manifest
from nexus.git.rescues import checkpoint_ref, drop_ref, keep_commit, list_checkpoint_refs
from nexus.git.rewinding import drop_lock_of_rewind, rewind
from nexus.git.threads import Stop, in_thread
from nexus.git.trees import TreeFile, flatten, hexadecimal, shown
from nexus.models.base import Model
from nexus.models.checkpoints import FileDifference
from nexus.models.ids import CheckpointId
from nexus.models.workspace import Repository

MAX_KEPT_FILE: Final = 100 << 20
_DURABLE: Final = (HEADS, b"refs/tags/", b"refs/remotes/", b"refs/nexus/rescue/", b"refs/nexus/destroyed/")


class KeptTree(Model):
    """A tree that is kept."""

    ref: str
    commit: str
    tip: str | None
    """Where the workspace's branch was."""
    files: int
    size: int
    left: tuple[str, ...] = ()
    """What git has no way to hold: sockets, pipes, devices."""


class TreeCheckpoints:
    """Keeps the trees of one repository's worktrees. Takes no lock between processes: the caller holds the workspace's.

    Args:
        repository: The repository.
        precious: Patterns of ignored files that are kept all the same.
    """

    def __init__(self, repository: Repository, *, precious: Sequence[str] = ()) -> None:
        self._repository = repository
        self._precious = Precious(precious) or None

    async def keep(self, name: str, identifier: CheckpointId, *, max_file_bytes: int = MAX_KEPT_FILE) -> KeptTree:
        """Keep everything that a tree holds under ``refs/nexus/checkpoints/<name>/<id>``, as a rescue would. Runs nothing.

        Args:
            name: The workspace's name.
            identifier: The checkpoint.
            max_file_bytes: Largest file that is kept.

        Raises:
            GitError: When the tree is gone or something in it cannot be kept. Nothing is dropped.

        Cancellation: unused objects may be left in the database; ``git gc`` removes them.
        """
        return await in_thread(lambda stop: self._keep(name, identifier, max_file_bytes, stop))

    def _keep(self, name: str, identifier: CheckpointId, limit: int, stop: Stop) -> KeptTree:
        ref = checkpoint_ref(name, identifier)
        with ExitStack() as until, opened(self._repository) as repo, sheltered(repo) as shelter:
            commit = commit_any(repo, self._repository, name, limit, stop, precious=self._precious, until=until)
            shelter.seal()
            stop.check()
            keep_commit(self._repository, ref, commit.decode())
            manifest = read_manifest(repo.object_store, _commit(repo, commit.decode(), ref))
        if manifest is None:
            raise GitError(f"{ref} does not say what it holds")
        return KeptTree(
            ref=ref,
            commit=commit.decode(),
            tip=manifest.tip,
            files=manifest.files,
            size=manifest.size,
            left=manifest.left,
        )

    async def look(self, name: str, *, max_file_bytes: int = MAX_KEPT_FILE) -> str:
        """Store what a tree holds now in a commit that no ref leads to, and return it: to compare with.

        Raises:
            GitError: As for :meth:`keep`.
        """

        def work(stop: Stop) -> str:
            with ExitStack() as until, opened(self._repository) as repo, sheltered(repo) as shelter:
                commit = commit_any(
                    repo, self._repository, name, max_file_bytes, stop, precious=self._precious, until=until
                )
                shelter.seal()
                return commit.decode()

        return await in_thread(work)

    async def secure(self, ref: str, commit: str) -> None:
        """Make sure that what a checkpoint's tree was kept in is there, and that its ref leads to it.

        Whoever works in a linked worktree can write refs; what he cannot write is our own note of the commit.

        Raises:
            CheckpointDamaged: When the commit is gone.
        """

        def work() -> None:
            with opened(self._repository) as repo:
                _commit(repo, commit, ref)
            keep_commit(self._repository, ref, commit)

        await in_thread(lambda _: work())

    async def rewind(self, name: str, *, now: str, then: str) -> tuple[str, ...]:
        """Take a worktree back to what a checkpoint holds, in its place.

        Branch, files, index, an operation in progress and dropped stash entries are as they were; files that git ignores stay as
        they are. Called again with what is there then, it goes on where it was cut short.

        Args:
            name: The workspace's name.
            now: The commit that holds everything that is in the tree now.
            then: The commit of the checkpoint.

        Returns:
            What could not be as it was, in words.

        Raises:
            Busy: When git is at work in the worktree. Nothing has changed.
            GitError: When ignored files are in the way, or the checkpoint is damaged: nothing has changed. When the file system
                refuses: some files may have.

        Cancellation: nothing has changed, or it has run to its end.
        """
        return await in_thread(lambda stop: rewind(self._repository, name, now=now, then=then, stop=stop))

    async def clear_after_crash(self, name: str) -> None:
        """Remove the lock on a worktree's index that a killed :meth:`rewind` left."""
        await in_thread(lambda _: drop_lock_of_rewind(self._repository, name))

    async def differences(self, before: str, after: str) -> tuple[FileDifference, ...]:
        """Return the files that differ between what two commits hold, by path, with their sizes as git stores them.

        Raises:
            CheckpointDamaged: When one is gone.
        """

        def work() -> tuple[FileDifference, ...]:
            with opened(self._repository) as repo:
                return tuple(_differences(repo, _files(repo, before), _files(repo, after)))

        return await in_thread(lambda _: work())

    async def refs(self) -> dict[str, str]:
        """Return the refs of checkpoints with their commits."""
        return await in_thread(lambda _: list_checkpoint_refs(self._repository))

    async def drop(self, ref: str, *, expected: str) -> bool:
        """Delete a checkpoint's ref if it still leads to ``expected``, and say whether it is gone.

        Raises:
            GitError: When it is no such ref.
            Busy: When git holds a lock on it.
        """
        return await in_thread(lambda _: drop_ref(self._repository, ref, expected))

    async def keep_work(self, name: str, commit: str) -> str | None:
        """Keep what a checkpoint holds under ``refs/nexus/rescue/`` where it is nowhere else.

        Returns:
            The ref; ``None`` when it holds nothing but commits that branches, tags or other rescues lead to, or is gone.
        """

        def work() -> str | None:
            with opened(self._repository) as repo:
                if ObjectID(commit.encode()) not in repo.object_store or not self._holds_work(repo, commit):
                    return None
                return make_ref(repo, self._repository, layout.RESCUE_PREFIX, name, ObjectID(commit.encode()))

        return await in_thread(lambda _: work())

    def _holds_work(self, repo: Repo, sha: str) -> bool:
        commit = _commit(repo, sha, sha)
        manifest = read_manifest(repo.object_store, commit)
        if manifest is None or manifest.head is None or manifest.operation is not None:
            return True
        heads = {each.encode() for each in (manifest.head, manifest.tip) if each is not None}
        # What is left besides these and the state is what was staged.
        if len(commit.parents) != len(heads) + 1 or commit.tree != _commit(repo, manifest.head, sha).tree:
            return True
        refs = Refs(self._repository.common_dir).commits()
        durable = {value for name, value in refs.items() if name.startswith(_DURABLE)}
        if sha.encode() in durable:
            return False
        known = [value for value in durable if isinstance(_object(repo, value), Commit)]
        return bool(only_left(looking_in(repo), heads, known))


def _object(repo: Repo, sha: bytes) -> object:
    try:
        return repo.object_store[ObjectID(sha)]
    except KeyError:
        return None


def _commit(repo: Repo, sha: str, ref: str) -> Commit:
    found = _object(repo, sha.encode())
    if not isinstance(found, Commit):
        raise CheckpointDamaged(
            f"the tree of the checkpoint at {ref} is gone: its commit {sha} is not in the repository any more",
            hint="somebody removed its ref and git has collected it since; delete the checkpoint",
            details={"ref": ref, "commit": sha},
        )
    return found


def _files(repo: Repo, sha: str) -> dict[bytes, TreeFile]:
    tree = bytes.fromhex(_commit(repo, sha, sha).tree.decode())
    return {file.path: file for file in flatten(repo.object_store, tree)}


def _differences(repo: Repo, old: dict[bytes, TreeFile], new: dict[bytes, TreeFile]) -> list[FileDifference]:
    paths = sorted(path for path in old.keys() | new.keys() if old.get(path) != new.get(path))
    return [
        FileDifference(
            path=shown(path),
            change="added" if path not in old else "removed" if path not in new else "changed",
            before=_size(repo, old[path]) if path in old else None,
            after=_size(repo, new[path]) if path in new else None,
        )
        for path in paths
    ]


def _size(repo: Repo, file: TreeFile) -> int:
    if file.mode == SUBMODULE:
        return 0
    try:
        return len(repo.object_store.get_raw(hexadecimal(file.sha))[1])
    except KeyError:
        return 0
