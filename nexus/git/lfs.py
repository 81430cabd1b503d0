"""Git LFS without its program: content is put in its pointer's place where it is in the repository already.

A container writes ``.git/lfs``, so content counts only when it has the size and the digest that the commit's pointer names.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

from dulwich.repo import Repo

from nexus.git import beneath
from nexus.git.copying import Copier
from nexus.git.index_file import EXECUTABLE, FILE, IndexEntry, entry_for
from nexus.git.lfs_pointer import MAX_POINTER, PROGRAM, Pointer, parse_pointer
from nexus.git.repository import read_config
from nexus.git.status import content_of
from nexus.git.threads import Stop
from nexus.git.trees import shown
from nexus.models.workspace import Repository

_CREATE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK: Final = 1 << 20
_OLDER_NS: Final = 10_000_000_000
_SHOWN: Final = 5


def fill_lfs(
    repo: Repo, repository: Repository, tree: Path, entries: list[IndexEntry], stop: Stop
) -> tuple[list[IndexEntry], list[str]]:
    """Put content in the place of pointers.

    Args:
        repo: The repository, opened.
        repository: Where the content may be.
        tree: The tree, just written, in which nothing runs yet.
        entries: Its index entries.
        stop: Asked for every file.

    Returns:
        The entries as they are then, and in words what is still a pointer.

    Raises:
        OSError: When the disk refuses.
    """
    found, missing, root = [], [], os.open(tree, beneath.FOLDER)
    copier = Copier()
    try:
        content = content_of(repo, repository, read_config(repository), root)
        for entry in entries:
            stop.check()
            pointer = None
            if entry.mode in {FILE, EXECUTABLE} and entry.size <= MAX_POINTER:
                pointer = _pointer_at(root, entry.path)
            if pointer is None or content.attributes.conversion(entry.path).program != PROGRAM:
                found.append(entry)
                continue
            filled = _put(repository, pointer, root, entry, copier)
            found.append(filled or entry)
            if filled is None:
                missing.append(shown(entry.path))
    finally:
        os.close(root)
    return found, _notes(repository, sorted(missing))


def _notes(repository: Repository, missing: list[str]) -> list[str]:
    if not missing:
        return []
    more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    names = ", ".join(missing[:_SHOWN]) + more
    way = f"'git lfs fetch' in {repository.root} brings it for new workspaces, 'git lfs pull' inside for this one"
    return [f"still pointers, because their content is not in the repository: {names}; {way}"]


def _pointer_at(root: int, path: bytes) -> Pointer | None:
    with suppress(OSError):
        return parse_pointer(beneath.read_file(root, path, limit=MAX_POINTER))
    return None


def _put(repository: Repository, pointer: Pointer, root: int, entry: IndexEntry, copier: Copier) -> IndexEntry | None:
    """Put one file's content in place and return its new entry; ``None`` when the content is not there, or is not what it should be."""
    oid = pointer.oid.encode()
    common = os.open(repository.common_dir, beneath.FOLDER)
    try:
        with beneath.folder(common, b"lfs/objects/%s/%s" % (oid[:2], oid[2:4])) as store:
            reading = os.open(oid, beneath.FILE, dir_fd=store)
    except OSError:
        return None
    finally:
        os.close(common)
    parent, _, name = entry.path.rpartition(b"/")
    try:
        if os.fstat(reading).st_size != pointer.size:
            return None
        with beneath.folder(root, parent) as at:
            return _replace(reading, pointer, at, name, entry, copier=copier)
    finally:
        os.close(reading)


def _replace(
    reading: int, pointer: Pointer, at: int, name: bytes, entry: IndexEntry, *, copier: Copier
) -> IndexEntry | None:
    draft = b".nexus-lfs-" + secrets.token_hex(6).encode()
    before = os.stat(name, dir_fd=at, follow_symlinks=False)
    writing = os.open(draft, _CREATE, 0o600, dir_fd=at)
    try:
        copier.fill(reading, writing, pointer.size)
        # What was written is judged, not what was read: nobody else can change that.
        if _digest(writing) != (pointer.oid, pointer.size):
            os.unlink(draft, dir_fd=at)
            return None
        os.fchmod(writing, before.st_mode & 0o777)
        # Older than the index: git then believes the index, which says that this is what the pointer stands for.
        os.utime(writing, ns=(before.st_mtime_ns - _OLDER_NS,) * 2)
        os.rename(draft, name, src_dir_fd=at, dst_dir_fd=at)
        return entry_for(entry.path, entry.mode, entry.sha, os.fstat(writing))
    except OSError:
        with suppress(FileNotFoundError):
            os.unlink(draft, dir_fd=at)
        raise
    finally:
        os.close(writing)


def _digest(descriptor: int) -> tuple[str, int]:
    digest, done = hashlib.sha256(), 0
    while content := os.pread(descriptor, _CHUNK, done):
        digest.update(content)
        done += len(content)
    return digest.hexdigest(), done


def own_content(repository: Repository, git_dir: Path) -> list[str]:
    """Return what a private clone keeps of LFS that the main repository does not: only its ids come back with its commits."""
    ours = repository.common_dir / "lfs" / "objects"
    names = (name for _, _, files in os.walk(git_dir / "lfs" / "objects", followlinks=False) for name in files)
    return [name for name in names if len(name) == 64 and not beneath.exists(ours / name[:2] / name[2:4] / name)]
