"""Making a private clone in place of a linked worktree, for work that is not trusted.

The clone has a ``.git`` folder of its own and borrows the main repository's objects, which it can only read. It shares no ref, no
hook and no configuration with it: everything in its ``.git`` is written here. What comes back is
:mod:`nexus.git.returning`'s.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from dulwich.config import Config, ConfigFile

from nexus.errors import GitError
from nexus.git import beneath, layout, reflog
from nexus.git.excluding import missing_lines
from nexus.git.repository import read_config
from nexus.models.workspace import Repository

_KEPT: Final = (
    ("core", "filemode"),
    ("core", "symlinks"),
    ("core", "ignorecase"),
    ("core", "precomposeunicode"),
    ("core", "autocrlf"),
    ("core", "eol"),
    ("user", "name"),
    ("user", "email"),
)
"""Settings that the clone takes over: what files look like, and whose commits these are. None of them names a program."""

_FOLDERS: Final = ("objects/info", "objects/pack", "refs/heads", "refs/tags", "info")
_LIMIT: Final = 64 << 20


def require_lending(repository: Repository) -> None:
    """Refuse a repository whose objects are not all in one place: a container would see only that place.

    Raises:
        GitError: When it borrows objects itself.
    """
    file = repository.common_dir / "objects" / "info" / "alternates"
    if beneath.exists(file):
        raise GitError(
            f"the repository borrows objects from another one ({file}), so no private clone can be made of it",
            hint="use isolation 'worktree', or make it whole: git repack -a -d, then remove that file",
            details={"path": str(file)},
        )


def make_git_dir(repository: Repository, name: str, tip: str) -> Path:
    """Write the ``.git`` of a clone into its tree, which is there and empty.

    Args:
        repository: The main repository.
        name: The workspace's name.
        tip: The commit that its branch starts at.

    Returns:
        The folder.

    Raises:
        OSError: When the disk refuses.
    """
    git_dir = layout.worktree_path(repository, name) / ".git"
    git_dir.mkdir()
    for folder in _FOLDERS:
        (git_dir / folder).mkdir(parents=True)
    ref = layout.branch_ref(name)
    (git_dir / ref).parent.mkdir(parents=True, exist_ok=True)
    (git_dir / ref).write_bytes(tip.encode() + b"\n")
    (git_dir / "HEAD").write_bytes(b"ref: %s\n" % os.fsencode(ref))
    alternates = os.fsencode(repository.common_dir / "objects") + b"\n"
    (git_dir / "objects" / "info" / "alternates").write_bytes(alternates)
    (git_dir / "info" / "exclude").write_bytes(missing_lines(b""))
    shallow = beneath.read_regular(repository.common_dir / "shallow", limit=_LIMIT)
    if shallow is not None:
        (git_dir / "shallow").write_bytes(shallow)
    clone_configuration(repository).write_to_path(str(git_dir / "config"))
    reflog.append(git_dir, "HEAD", None, tip, "clone: from the main repository")
    reflog.append(git_dir, ref, None, tip, "clone: from the main repository")
    return git_dir


def clone_configuration(repository: Repository) -> ConfigFile:
    """Return the configuration of a git directory that is made after another one's. Nothing in it names a program."""
    theirs, ours = read_config(repository), ConfigFile()
    ours.set((b"core",), b"repositoryformatversion", b"0")
    ours.set((b"core",), b"bare", value=False)
    ours.set((b"core",), b"logallrefupdates", value=True)
    for section, key, value in _settings(theirs):
        ours.set((section,), key, value)
    if repository.remote is not None:
        ours.set((b"remote", b"origin"), b"url", os.fsencode(origin_for_clone(repository.root, repository.remote)))
        ours.set((b"remote", b"origin"), b"fetch", b"+refs/heads/*:refs/remotes/origin/*")
    return ours


def _settings(config: Config) -> Iterator[tuple[bytes, bytes, bytes]]:
    for section, key in _KEPT:
        try:
            yield section.encode(), key.encode(), config.get((section.encode(),), key.encode())
        except KeyError:
            continue


def origin_for_clone(root: Path, url: str) -> str:
    """Return the address of ``origin`` for a clone: without a password, and not relative to the main checkout."""
    if "://" in url:
        parts = urlsplit(url)
        if parts.password is None and (parts.username is None or parts.scheme not in {"http", "https"}):
            return url
        # A name alone may be a token as well; ssh needs it to log in, http does not.
        user = f"{parts.username}@" if parts.scheme == "ssh" and parts.username else ""
        return urlunsplit(parts._replace(netloc=user + parts.netloc.rpartition("@")[2]))
    local = root / url
    return str(local) if not Path(url).is_absolute() and local.is_dir() else url
