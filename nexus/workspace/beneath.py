"""Finding a path inside a tree without ever leaving it, in a tree that hostile programs change meanwhile.

A path is never checked first and used later. It is resolved to an open descriptor, one component at a time or by the kernel as
one step, and everything then happens relative to that descriptor. Symbolic links are followed as long as they stay inside; an
absolute one is read as programs inside read it, so that ``/workspace/a`` and the tree's own path on this host are inside.

A folder that somebody moves out of the tree by its parent's own rights, while it is open here, takes the call along; programs
that see nothing but the tree cannot do that.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nexus.errors import FsError, InvalidArgument, PathDenied, PathEscape, WorkspaceGone
from nexus.workspace import kernel_paths
from nexus.workspace.folders import FOLDER, TRY_BY_HAND, make_folder, open_below
from nexus.workspace.kernel_paths import RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS

MAX_PATH: Final = 64 * 1024
"""Bytes of a path that is looked at all. More than the kernel takes at once, since long paths are walked piece by piece."""
MAX_LINKS: Final = 40
"""Symbolic links on the way, as the kernel counts them."""
ATTEMPTS: Final = 32
"""How often to look again when a name changes its nature between two calls."""

GIT_POINTER: Final = b".git"


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is, or would be: an open folder and a name in it."""

    fd: int
    """The folder, for calls relative to it; it cannot be read from. Closed when the block is left."""
    name: bytes | None
    """``None`` when the path names the folder itself."""
    where: tuple[bytes, ...]
    """The folder's path from the root, links resolved."""


class Tree:
    """An open tree.

    Args:
        fd: Its root.
        prefixes: Absolute paths that mean the root.
    """

    def __init__(self, fd: int, prefixes: Sequence[bytes]) -> None:
        self.fd = fd
        self._prefixes = tuple(prefix.rstrip(b"/") for prefix in prefixes)

    def parts(self, path: str) -> tuple[bytes, ...]:
        """Return the components of a path, relative to the root; ``..`` stays, it means something only on the way.

        Raises:
            InvalidArgument: When it holds a NUL character or is longer than any path.
            PathEscape: When it is absolute and not inside.
        """
        try:
            raw = os.fsencode(path)
        except UnicodeEncodeError as error:
            raise InvalidArgument(f"{path!r} cannot be a file name") from error
        if b"\0" in raw:
            raise InvalidArgument("a path cannot hold a NUL character")
        if not raw:
            raise InvalidArgument("a path cannot be empty", hint="the workspace's root is '.'")
        if len(raw) > MAX_PATH:
            raise InvalidArgument(f"a path of {len(raw)} bytes is too long")
        inside = self.inside(raw)
        if inside is None:
            raise PathEscape(
                f"{path} is not in the workspace", path=path, hint="give a path relative to the workspace's root"
            )
        return inside

    @contextmanager
    def found(self, path: str, *, follow: bool = True) -> Generator[int, None, None]:
        """Give a descriptor of what is at ``path``, opened for looking only (``O_PATH``), so that a FIFO or device is not touched.

        Args:
            path: What to find.
            follow: Whether a symbolic link at the end is followed; otherwise the link itself is found.

        Raises:
            PathEscape: When the path leaves the tree.
            OSError: As the system says.
        """
        with _naming(path):
            fd = self._find(path, follow=follow)
        try:
            yield fd
        finally:
            os.close(fd)

    @contextmanager
    def place(
        self, path: str, *, follow: bool = True, writing: bool = False, create: bool = False
    ) -> Generator[Place, None, None]:
        """Give the folder that holds ``path``, and its name there. The name itself need not exist.

        Args:
            path: What to find.
            follow: Whether a symbolic link at the end is followed to the place it leads to.
            writing: Refuse the tree's ``.git`` and everything below: programs on the host trust what it says.
            create: Make the folders on the way that are missing.

        Raises:
            PathEscape: When the path leaves the tree.
            PathDenied: With ``writing``, for ``.git``.
            OSError: As the system says.
        """
        walk = _Walk(self, path, writing=writing, create=create)
        try:
            with _naming(path):
                place = walk.run(self.parts(path), follow=follow)
            yield place
        finally:
            walk.close()

    def inside(self, raw: bytes) -> tuple[bytes, ...] | None:
        """Return the components of a path relative to the root; ``None`` for an absolute path that is elsewhere."""
        if raw.startswith(b"/"):
            prefix = next((p for p in self._prefixes if raw == p or raw.startswith(p + b"/")), None)
            if prefix is None:
                return None
            raw = raw[len(prefix) :]
        return tuple(part for part in raw.split(b"/") if part not in {b"", b"."})

    def _find(self, path: str, *, follow: bool) -> int:
        parts = self.parts(path)
        flags = os.O_PATH if follow else os.O_PATH | os.O_NOFOLLOW
        try:
            whole = b"/".join(parts) or b"."
            return kernel_paths.openat2(self.fd, whole, flags, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)
        except OSError as error:
            if error.errno not in TRY_BY_HAND:
                raise
        for _ in range(ATTEMPTS):
            with self.place(path, follow=follow) as place:
                if place.name is None:
                    return os.open(b".", FOLDER, dir_fd=place.fd)
                fd = os.open(place.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place.fd)
                if not follow or not stat.S_ISLNK(os.fstat(fd).st_mode):
                    return fd
                os.close(fd)  # it has become a link since
        raise changing(path)


@contextmanager
def _naming(path: str) -> Generator[None, None, None]:
    """Let errors of the system name the path as the caller wrote it, not the component at hand."""
    try:
        yield
    except OSError as error:
        error.filename = path
        raise


class _Walk:
    """One path, component by component. Holds one descriptor at a time."""

    def __init__(self, tree: Tree, path: str, *, writing: bool, create: bool) -> None:
        self._tree = tree
        self._path = path
        self._writing = writing
        self._create = create
        self._links = 0
        self._where: list[bytes] = []
        self._fd = os.dup(tree.fd)

    def close(self) -> None:
        os.close(self._fd)

    def run(self, parts: Sequence[bytes], *, follow: bool) -> Place:
        """Walk as far as the last component."""
        pending = deque(parts)
        while pending:
            name = pending.popleft()
            if name == b"..":
                self._up()
                continue
            self._guard(name)
            if not pending and not follow:
                return self._place(name)
            target = self._enter(name, last=not pending)
            if target is None and not pending:
                return self._place(name)
            if target is not None:
                pending.extendleft(reversed(target))
        return self._place(None)

    def _place(self, name: bytes | None) -> Place:
        return Place(fd=self._fd, name=name, where=tuple(self._where))

    def _enter(self, name: bytes, *, last: bool) -> tuple[bytes, ...] | None:
        """Look at one name: go into a folder, unless it is the last; return what a link says."""
        child = self._look(name, last=last)
        if child is None:
            return None
        try:
            mode = os.fstat(child).st_mode
            if stat.S_ISLNK(mode):
                return self._read_link(child)
            if last:
                return None
            if not stat.S_ISDIR(mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), self._path)
            self._fd, child = child, self._fd
            self._where.append(name)
            return None
        finally:
            os.close(child)

    def _look(self, name: bytes, *, last: bool) -> int | None:
        try:
            return self._open(name)
        except FileNotFoundError:
            if last:
                return None
            if not self._create:
                raise
        make_folder(self._fd, name)
        return self._open(name)

    def _open(self, name: bytes) -> int:
        return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._fd)

    def _read_link(self, link: int) -> tuple[bytes, ...]:
        self._links += 1
        if self._links > MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), self._path)
        target = os.readlink(b"", dir_fd=link)
        inside = self._tree.inside(target)
        if inside is None:
            raise self._escape(f"a symbolic link leads to {os.fsdecode(target)}")
        if target.startswith(b"/"):
            self._go_to([])
        return inside

    def _up(self) -> None:
        if not self._where:
            raise self._escape("it goes above the root")
        self._go_to(self._where[:-1])

    def _go_to(self, where: list[bytes]) -> None:
        """Start again from the root: the ``..`` of a folder that was moved would lead elsewhere."""
        fd = open_below(self._tree.fd, where)
        os.close(self._fd)
        self._fd, self._where = fd, where

    def _guard(self, name: bytes) -> None:
        if self._writing and not self._where and name.lower() == GIT_POINTER:
            raise PathDenied(
                f"{self._path} belongs to git and cannot be changed through the workspace's files",
                path=self._path,
                hint="use git inside the workspace",
            )

    def _escape(self, why: str) -> PathEscape:
        return PathEscape(f"{self._path} leaves the workspace: {why}", path=self._path)


@contextmanager
def open_tree(root: Path, aliases: Sequence[str] = ()) -> Generator[Tree, None, None]:
    """Open a tree for one call.

    Args:
        root: The folder. It must not be a symbolic link itself.
        aliases: Further absolute paths that mean the root: what it is called inside a container.

    Raises:
        WorkspaceGone: When the folder is not there any more.
    """
    try:
        fd = os.open(root, FOLDER)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise WorkspaceGone(
            f"the work tree {root} is not there", hint="look at the workspace's state", details={"path": str(root)}
        ) from error
    try:
        yield Tree(fd, [os.fsencode(prefix) for prefix in (str(root), *aliases)])
    finally:
        os.close(fd)


def changing(path: str) -> FsError:
    """Return the error for a path that is something else every time one looks."""
    return FsError(f"{path} keeps changing", path=path, hint="try again when nothing in the workspace rewrites it")
