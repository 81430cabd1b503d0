"""Taking a worktree from one commit to a later one, without touching what was changed in it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple, Self

from dulwich.config import Config

from nexus.errors import Busy, GitError
from nexus.git import beneath
from nexus.git.attributes import Attributes
from nexus.git.copying import create
from nexus.git.eol import smudge
from nexus.git.index_file import EXECUTABLE, LINK, SUBMODULE, IndexEntry, entry_for, format_index
from nexus.git.objects import Blobs
from nexus.git.trees import TreeFile, folders_of, shown
from nexus.models.workspace import Repository

_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


OURS: Final = b"nexus\n"
"""What is in a lock of ours."""


class Step(NamedTuple):
    """What has to change, by path: what goes, and what comes."""

    gone: dict[bytes, TreeFile]
    new: dict[bytes, TreeFile]

    def back(self) -> Step:
        """Return the step that undoes this one."""
        return Step(self.new, self.gone)

    def paths(self) -> set[bytes]:
        """Return every path that changes."""
        return {*self.gone, *self.new}


def step_between(before: Iterable[TreeFile], after: Iterable[TreeFile]) -> Step:
    """Return what differs between two trees."""
    old = {file.path: file for file in before}
    new = {file.path: file for file in after}
    return Step(
        {path: file for path, file in old.items() if new.get(path) != file},
        {path: file for path, file in new.items() if old.get(path) != file},
    )


class IndexLock:
    """Git's own lock on a worktree's index: while it is held no git changes it. Entered and left as a ``with`` block.

    The lock says that it is ours, from its first moment to its last: one that a killed process left is known by that.

    Args:
        admin: Git's entry for the worktree.

    Raises:
        Busy: On entering, when it is taken.
    """

    def __init__(self, admin: Path) -> None:
        self._index = admin / "index"
        self._lock = admin / "index.lock"
        self._draft = admin / "nexus-index"
        self._held = False

    def __enter__(self) -> Self:
        try:
            self._write(OURS)
            os.link(self._draft, self._lock, follow_symlinks=False)
            self._draft.unlink()
        except FileExistsError as error:
            raise Busy(
                f"git is at work in this worktree: {self._lock} exists",
                hint="try again; when no git runs there, a crashed one left that file behind: remove it",
                details={"holder": "git", "lock": str(self._lock)},
            ) from error
        except OSError as error:
            raise GitError(f"{self._lock} cannot be made: {error.strerror}") from error
        self._held = True
        return self

    def __exit__(self, *_: object) -> None:
        if self._held:
            with suppress(FileNotFoundError):
                self._lock.unlink()

    def commit(self, entries: Iterable[IndexEntry]) -> None:
        """Put a new index in place."""
        self._write(format_index(entries))
        self._draft.rename(self._index)

    def _write(self, content: bytes) -> None:
        self._draft.unlink(missing_ok=True)  # what a killed process left, or somebody inside has put there
        with os.fdopen(os.open(self._draft, _CREATE, 0o666), "wb") as file:
            file.write(content)


def drop_our_lock(admin: Path) -> bool:
    """Remove the lock that a killed process of ours left on a worktree's index, and say whether there was one.

    Raises:
        OSError: When it cannot be removed.
    """
    (admin / "nexus-index").unlink(missing_ok=True)
    if not holds_our_lock(admin):
        return False
    (admin / "index.lock").unlink(missing_ok=True)
    return True


def holds_our_lock(admin: Path) -> bool:
    """Return whether the lock on a worktree's index is one of ours. Where nobody of ours is at work, it was left behind."""
    try:
        return beneath.read_regular(admin / "index.lock", limit=len(OURS)) == OURS
    except OSError:
        return False


class Tree:
    """A worktree's files, changed one by one; every folder on the way is opened without following a link.

    Args:
        root: Descriptor of the tree.
        repository: Where the objects are.
        config: The configuration.
        files: The files of the commit that is being taken on, for its ``.gitattributes``.
        verbatim: Paths that are written as they are stored, whatever the attributes say.
    """

    def __init__(
        self,
        root: int,
        repository: Repository,
        config: Config,
        files: Iterable[TreeFile],
        verbatim: frozenset[bytes] = frozenset(),
    ) -> None:
        self._verbatim = verbatim
        self._root = root
        self._repository = repository
        self._config = config
        self._attribute_files = {
            file.path.rpartition(b"/")[0]: file
            for file in files
            if file.path.rpartition(b"/")[2] == b".gitattributes" and file.mode != LINK
        }
        self._links = config.get_boolean((b"core",), b"symlinks", True) is not False
        self._executables = config.get_boolean((b"core",), b"filemode", True) is not False

    def occupied(self, path: bytes) -> bool:
        """Return whether something is at a path, or a file or link is where one of its folders has to be."""
        at = os.dup(self._root)
        try:
            *folders, name = path.split(b"/")
            for part in folders:
                try:
                    deeper = os.open(part, beneath.FOLDER, dir_fd=at)
                except FileNotFoundError:
                    return False
                except OSError:
                    return True
                os.close(at)
                at = deeper
            try:
                os.stat(name, dir_fd=at, follow_symlinks=False)
            except FileNotFoundError:
                return False
            return True
        finally:
            os.close(at)

    def files_below(self, path: bytes) -> set[bytes]:
        """Return the path of everything below a folder that is no folder itself."""
        found: set[bytes] = set()
        waiting = [path]
        while waiting:
            at = waiting.pop()
            with beneath.folder(self._root, at) as folder, os.scandir(folder) as entries:
                for entry in entries:
                    name = at + b"/" + os.fsencode(entry.name)
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(name)
                    else:
                        found.add(name)
        return found

    def take(self, step: Step, *, replace: bool = False) -> dict[bytes, IndexEntry]:
        """Carry out a step and return the entries of what is new.

        Args:
            step: What changes.
            replace: Whether files that are there already are written again, as after a step that stopped half-way.

        Raises:
            GitError: When a path is hostile or an object is missing; then nothing was changed.
            OSError: When the file system refuses; some files may have changed.
        """
        contents = self.contents(step.new)
        going = {**step.gone, **step.new} if replace else step.gone
        for path in sorted(going, reverse=True):
            self._remove(path, going[path])
        return {path: self._write(file, contents.get(path)) for path, file in sorted(step.new.items())}

    def contents(self, files: Mapping[bytes, TreeFile]) -> dict[bytes, bytes]:
        """Return what files hold when they are checked out.

        Raises:
            GitError: When a path is hostile or an object is missing.
        """
        folders_of(sorted(files.values()))
        with Blobs(self._repository) as blobs:

            def read(folder: bytes) -> bytes | None:
                file = self._attribute_files.get(folder)
                return None if file is None else blobs.read(file.sha, shown(file.path))

            attributes = Attributes(read, self._config, self._repository)
            return {
                path: self._content(file, blobs, attributes) for path, file in files.items() if file.mode != SUBMODULE
            }

    def _content(self, file: TreeFile, blobs: Blobs, attributes: Attributes) -> bytes:
        content = blobs.read(file.sha, shown(file.path))
        if file.mode == LINK or file.path in self._verbatim:
            return content
        return smudge(content, attributes.conversion(file.path), file.sha)

    def _remove(self, path: bytes, file: TreeFile) -> None:
        parent, _, name = path.rpartition(b"/")
        # A folder where the file was is not what this step is about; it stays, and so does what it holds.
        gone = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
        with suppress(*gone), beneath.folder(self._root, parent) as at:
            if file.mode == SUBMODULE:
                # A filled one stays, as git leaves it.
                with suppress(OSError):
                    os.rmdir(name, dir_fd=at)
            else:
                os.unlink(name, dir_fd=at)
        while parent:
            above, _, name = parent.rpartition(b"/")
            try:
                with beneath.folder(self._root, above) as at:
                    os.rmdir(name, dir_fd=at)
            except OSError:
                return
            parent = above

    def _write(self, file: TreeFile, content: bytes | None) -> IndexEntry:
        parent, _, name = file.path.rpartition(b"/")
        with beneath.made_folder(self._root, parent) as at:
            if content is None:
                with suppress(FileExistsError):
                    os.mkdir(name, dir_fd=at)
                return entry_for(*file, None)
            if file.mode == LINK and self._links:
                os.symlink(content, name, dir_fd=at)
                return entry_for(*file, os.stat(name, dir_fd=at, follow_symlinks=False))
            bits = 0o777 if file.mode == EXECUTABLE and self._executables else 0o666
            status = create(name, content, at, bits, None)
            if not stat.S_ISREG(status.st_mode):
                raise GitError(f"{shown(file.path)} is not a regular file")
            return entry_for(*file, status)
