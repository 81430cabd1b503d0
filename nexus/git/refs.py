"""Names to commits: reading refs as files, resolving what people write, and finding what is in a branch's way.

Refs are read here and not through a library, because a container can write most of them: only regular files are opened, and
no symbolic link is followed.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from dulwich.objects import Commit, ObjectID, ShaFile, Tag
from dulwich.repo import Repo

from nexus.errors import BranchInUse, GitError, RefNotFound, UnbornHead
from nexus.git import beneath

_HEX: Final = re.compile(rb"[0-9a-f]{40}")
_SHORT: Final = re.compile(r"[0-9a-fA-F]{4,40}")
_SUFFIX: Final = re.compile(r"~(\d*)|\^\{(commit|)\}|\^(\d*)")
_REF_LIMIT: Final = 4096
_PACKED_LIMIT: Final = 256 << 20
_SEARCH: Final = ("{}", "refs/{}", "refs/tags/{}", "refs/heads/{}", "refs/remotes/{}", "refs/remotes/{}/HEAD")
_MAX_LINKS: Final = 5
HEADS: Final = b"refs/heads/"


class Refs:
    """The refs of a repository as they were when this was made.

    Args:
        common_dir: The common dir.
    """

    def __init__(self, common_dir: Path) -> None:
        self._common = common_dir
        # In git's own order: packing writes ``packed-refs`` before it removes the files. The other way round a ref that is packed
        # meanwhile would be in neither.
        loose = _loose(common_dir)
        self._raw: dict[bytes, bytes] = _packed(common_dir / "packed-refs") | loose

    def commits(self) -> Mapping[bytes, bytes]:
        """Return every ref under ``refs/`` with the object it leads to, as 40 hexadecimal digits."""
        found = {name: self.get(name) for name in self._raw}
        return {name: value for name, value in found.items() if value is not None}

    def names(self) -> Iterator[bytes]:
        """Give the full name of every ref, broken ones too."""
        return iter(self._raw)

    def get(self, name: bytes) -> bytes | None:
        """Return the object that a full ref name or ``HEAD`` leads to; ``None`` when it leads nowhere."""
        for _ in range(_MAX_LINKS):
            # Whoever writes a ref may have it name any path: nothing but HEAD is looked up outside of refs/.
            value = read_head(self._common / "HEAD") if name == b"HEAD" else self._raw.get(name)
            if value is None:
                return None
            if _HEX.fullmatch(value):
                return value
            if not value.startswith(b"ref: "):
                return None
            name = value.removeprefix(b"ref: ").strip()
        return None

    def target(self, name: bytes) -> bytes | None:
        """Return the ref that a symbolic ref names; ``None`` when it is none."""
        value = self._raw.get(name)
        return value.removeprefix(b"ref: ").strip() if value is not None and value.startswith(b"ref: ") else None


def read_head(file: Path) -> bytes | None:
    """Return the one line of a ``HEAD`` or loose ref file, without its line end; ``None`` when there is no such file.

    Raises:
        GitError: When something else than a small regular file is there.
    """
    try:
        content = beneath.read_regular(file, limit=_REF_LIMIT)
    except NotADirectoryError:
        return None
    except OSError as error:
        if isinstance(error, IsADirectoryError):
            return None
        raise GitError(f"{file} cannot be read as a git ref: {error.strerror}", details={"path": str(file)}) from error
    return None if content is None else content.split(b"\n", 1)[0].rstrip(b"\r ")


def _loose(common: Path) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    waiting = [b"refs"]
    while waiting:
        at = waiting.pop()
        try:
            with os.scandir(b"%s/%s" % (os.fsencode(common), at)) as entries:
                for entry in entries:
                    name = b"%s/%s" % (at, entry.name)
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(name)
                    elif entry.is_file(follow_symlinks=False) and not name.endswith(b".lock"):
                        value = read_head(common / os.fsdecode(name))
                        if value:
                            found[name] = value
        except FileNotFoundError:
            continue
    return found


def _packed(file: Path) -> dict[bytes, bytes]:
    try:
        content = beneath.read_regular(file, limit=_PACKED_LIMIT)
    except OSError as error:
        raise GitError(f"{file} cannot be read: {error.strerror}", details={"path": str(file)}) from error
    found: dict[bytes, bytes] = {}
    for line in (content or b"").split(b"\n"):
        value, _, name = line.partition(b" ")
        if name and _HEX.fullmatch(value):
            found[name.rstrip(b"\r")] = value
    return found


def resolve(repo: Repo, refs: Refs, text: str) -> str:
    """Return the commit that ``text`` names, as 40 hexadecimal digits.

    Understood are ``HEAD`` and ``@``, branches, tags, remote branches, full ref names, full and abbreviated commit ids, each
    with any number of ``~n``, ``^n``, ``^{}`` and ``^{commit}`` after it.

    Raises:
        UnbornHead: When it starts from ``HEAD`` and there is no commit yet.
        RefNotFound: When nothing has this name, the name is ambiguous, or it does not lead to a commit.
    """
    base, steps = _split(text)
    commit = _peel(repo, _start(repo, refs, base, text), text)
    for step in steps:
        commit = _step(repo, commit, step, text)
    return commit.id.decode("ascii")


def _split(text: str) -> tuple[str, list[re.Match[str]]]:
    cut = min((text.index(mark) for mark in "~^" if mark in text), default=len(text))
    steps: list[re.Match[str]] = []
    at = cut
    while at < len(text):
        step = _SUFFIX.match(text, at)
        if step is None:
            raise RefNotFound(f"{text!r} is not a way to name a commit", details={"ref": text})
        steps.append(step)
        at = step.end()
    return text[:cut], steps


def _start(repo: Repo, refs: Refs, base: str, text: str) -> bytes:
    name = "HEAD" if base == "@" else base
    if len(name) == 40 and _SHORT.fullmatch(name):
        return name.lower().encode()
    if not any(bad in name for bad in ("..", "@{", ":", " ", "\\", "\n", "\0")) and not name.startswith(("-", "/")):
        for pattern in _SEARCH:
            full = os.fsencode(pattern.format(name))
            # Other files at the top of the common dir are no refs: "config" must not be looked into.
            if full.startswith(b"refs/") or full == b"HEAD":
                found = refs.get(full)
                if found is not None:
                    return found
    if name == "HEAD":
        raise UnbornHead(
            "the repository has no commit yet, so there is nothing to start from",
            hint="make a first commit: git commit --allow-empty -m 'Start'",
        )
    if _SHORT.fullmatch(name):
        return _abbreviated(repo, name.lower(), text)
    raise RefNotFound(
        f"no branch, tag or commit is called {text!r}",
        hint="`git branch --all` and `git tag` list what there is; a remote's branches appear after `git fetch`",
        details={"ref": text},
    )


def _abbreviated(repo: Repo, prefix: str, text: str) -> bytes:
    found = {bytes(sha) for sha in repo.object_store.iter_prefix(prefix.encode())}
    commits = [sha for sha in found if isinstance(_object(repo, sha), (Commit, Tag))]
    if len(commits) == 1:
        return commits[0]
    raise RefNotFound(
        f"{text!r} is short for {len(commits)} commits" if commits else f"no branch, tag or commit is called {text!r}",
        hint="give more digits" if commits else None,
        details={"ref": text},
    )


def _object(repo: Repo, sha: bytes) -> ShaFile | None:
    try:
        return repo.object_store[ObjectID(sha)]
    except KeyError:
        return None


def _peel(repo: Repo, sha: bytes, text: str) -> Commit:
    found = _object(repo, sha)
    while isinstance(found, Tag):
        sha = found.object[1]
        found = _object(repo, sha)
    if isinstance(found, Commit):
        return found
    if found is None:
        raise RefNotFound(f"{text!r} leads to {sha.decode('ascii', 'replace')}, which is not in the repository")
    raise RefNotFound(f"{text!r} names a {found.type_name.decode()}, not a commit", details={"ref": text})


def _step(repo: Repo, commit: Commit, step: re.Match[str], text: str) -> Commit:
    first, braces, nth = step.groups()
    if braces is not None:
        return commit
    if first is not None:
        for _ in range(int(first or 1)):
            commit = _parent(repo, commit, 1, text)
        return commit
    number = int(nth or 1)
    return commit if number == 0 else _parent(repo, commit, number, text)


def _parent(repo: Repo, commit: Commit, number: int, text: str) -> Commit:
    parents = repo.get_parents(commit.id, commit)
    if number > len(parents):
        raise RefNotFound(f"{text!r} goes back beyond the history", details={"ref": text})
    return _peel(repo, parents[number - 1], text)


def branch_for(common: Path, refs: Refs, text: str) -> bytes | None:
    """Return the full name of the local or remote branch that ``text`` names, directly or as ``HEAD``; ``None`` for anything else."""
    if text in {"HEAD", "@"}:
        head = read_head(common / "HEAD") or b""
        return head.removeprefix(b"ref: ").strip() if head.startswith(b"ref: " + HEADS) else None
    for pattern in ("{}", "refs/tags/{}", "refs/heads/{}", "refs/remotes/{}"):
        name = os.fsencode(pattern.format(text))
        if name.startswith(b"refs/") and refs.get(name) is not None:
            return name if name.startswith((HEADS, b"refs/remotes/")) else None
    return None


def require_room(refs: Refs, ref: str) -> None:
    """Refuse a branch name that git cannot store beside the branches that are there.

    Raises:
        BranchInUse: When a branch is a folder of it, or it is a folder of a branch.
    """
    wanted = os.fsencode(ref)
    above = {wanted[:position] for position, letter in enumerate(wanted) if letter == 0x2F}
    for name in refs.names():
        if name in above or name.startswith(wanted + b"/"):
            raise BranchInUse(
                f"git cannot have the branch {_short(wanted)!r} beside the branch {_short(name)!r}",
                hint=f"rename that one: git branch -m {_short(name)} <new name>",
                details={"branch": _short(wanted), "other": _short(name)},
            )


def require_real_path(common: Path, ref: str) -> None:
    """Refuse when a folder on the way to a loose ref is a symbolic link: we would write through it. A pipe would hold us for ever.

    Raises:
        GitError: When one is.
    """
    current = common
    for part in ref.split("/")[:-1]:
        current /= part
        try:
            mode = current.lstat().st_mode
        except FileNotFoundError:
            return
        if stat.S_ISLNK(mode):
            raise GitError(
                f"{current} is a symbolic link; git refs must be real folders", details={"path": str(current)}
            )
    leaf = common / ref
    try:
        mode = leaf.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise GitError(f"{leaf} is not a plain file, as git refs are", details={"path": str(leaf)})


def checked_out(common: Path, ref: str) -> Path | None:
    """Return the git dir of a worktree, the main one included, that has this branch checked out."""
    wanted = b"ref: " + os.fsencode(ref)
    for git_dir in (common, *_admin_dirs(common)):
        try:
            if read_head(git_dir / "HEAD") == wanted or _in_operation(git_dir, os.fsencode(ref)):
                return git_dir
        except GitError:
            continue
    return None


def _in_operation(git_dir: Path, ref: bytes) -> bool:
    """Return whether a rebase or bisect there has detached HEAD but will come back to this branch."""
    for file, prefix in (("rebase-merge/head-name", b""), ("rebase-apply/head-name", b""), ("BISECT_START", HEADS)):
        line = read_head(git_dir / file)
        if line and prefix + line == ref:
            return True
    return False


def _admin_dirs(common: Path) -> list[Path]:
    try:
        return sorted(folder for folder in (common / "worktrees").iterdir() if folder.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _short(ref: bytes) -> str:
    return ref.removeprefix(HEADS).decode("utf-8", "backslashreplace")
