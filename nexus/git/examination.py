"""What a hostile workspace may have done to the repository it was let into: looked for, never obeyed.

Whoever works in a worktree can write its tree, its entry in git and most of the common dir. Nothing here believes those: files are
read as bytes, links are not followed, no program is started.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from dulwich.config import ConfigFile

from nexus.errors import GitError
from nexus.git import beneath, guarding, layout
from nexus.git.layout import Worktree
from nexus.git.listing import list_worktrees
from nexus.git.plain_store import require_plain
from nexus.git.repository import read_config
from nexus.git.threads import in_thread
from nexus.models.base import Model
from nexus.models.workspace import Repository

_LIMIT: Final = 1 << 16
_PROGRAMS: Final = ((b"core", b"fsmonitor"), (b"core", b"hookspath"), (b"core", b"sshcommand"), (b"core", b"worktree"))
_LINKS: Final = ("HEAD", "config", "index", "logs", "objects", "objects/info", "objects/pack", "packed-refs", "refs")


class Tampering(Model):
    """One thing that git or Nexus did not leave so."""

    name: str | None = None
    """The workspace it belongs to; ``None`` for the repository itself."""
    level: Literal["warning", "error"] = "error"
    """``error`` where git on this host would obey it."""
    message: str
    """One sentence."""
    hint: str
    """The next step."""


async def examine(repository: Repository) -> tuple[Tampering, ...]:
    """Look for what somebody inside a worktree may have changed to make programs outside obey.

    Args:
        repository: The repository.

    Returns:
        What was found, the repository's first; nothing for a healthy one.

    Raises:
        GitError: When the repository's configuration cannot be read.

    Cancellation: nothing is left behind.
    """
    return await in_thread(lambda _: (*_repository(repository), *_worktrees(repository)))


def _repository(repository: Repository) -> Iterator[Tampering]:
    common = repository.common_dir
    yield from _common_config(repository)
    if guarding.leads_elsewhere(common):
        path = common / guarding.COMMONDIR
        yield Tampering(
            message=f"{path} sends git in the main checkout to another configuration: {_shown(path)}",
            hint=f"do not run git there before you have removed it: rm {path}",
        )
    for entry in _LINKS:
        path = common / entry
        if path.is_symlink():
            yield Tampering(
                level="warning",
                message=f"{path} is a symbolic link to {_target(path)}",
                hint="when you did not make it, put the real file or folder back in its place",
            )
    yield from _unusable(common)
    yield from _linked_refs(common)
    yield from _hooks(repository)
    yield from _alternates(repository)


def _unusable(common: Path) -> Iterator[Tampering]:
    """Tell of what keeps Nexus from opening the repository at all."""
    try:
        require_plain(common)
    except GitError as error:
        yield Tampering(message=error.message, hint="put the real file or folder back in its place")


def _common_config(repository: Repository) -> Iterator[Tampering]:
    config = read_config(repository)
    common = repository.common_dir
    if config.get_boolean((b"core",), b"bare", False):
        yield Tampering(
            message=f"{common / 'config'} says that the repository is bare, which breaks its main checkout",
            hint=f"git config --file {common / 'config'} core.bare false",
        )
    if not config.get_boolean((b"extensions",), b"worktreeConfig", False) and beneath.exists(
        common / "config.worktree"
    ):
        yield Tampering(
            level="warning",
            message=f"{common / 'config.worktree'} is there, and git would obey it once extensions.worktreeConfig is set",
            hint="when you did not make it, remove it",
        )
    folder = layout.worktrees_folder(repository)
    for section, key in _PROGRAMS:
        try:
            value = os.fsdecode(config.get((section,), key))
        except KeyError:
            continue
        name = f"{section.decode()}.{key.decode()}"
        inside = str(folder) in value or ".nexus/worktrees" in value
        if inside or (key == b"worktree" and repository.root != _resolved(common, value)):
            yield Tampering(
                message=f"git's configuration sets {name} to {value}, which a workspace can write",
                hint=f"git config --unset {name}, in {common / 'config'} or your own configuration",
            )


def _linked_refs(common: Path) -> Iterator[Tampering]:
    for top in ("refs", "logs"):
        for folder, folders, files in os.walk(common / top, followlinks=False):
            for name in (*folders, *files):
                path = Path(folder, name)
                if path.is_symlink():
                    yield Tampering(
                        level="warning",
                        message=f"{path} is a symbolic link to {_target(path)}",
                        hint="Nexus follows none; git may: remove it when you did not make it",
                    )


def _hooks(repository: Repository) -> Iterator[Tampering]:
    """Tell of hooks whose program lies where a workspace can write it. Other hooks are the user's own affair."""
    hooks = repository.common_dir / "hooks"
    try:
        paths = sorted(hooks.iterdir())
    except OSError:
        return
    for path in paths:
        if path.is_symlink() and _ours(repository, path.resolve()):
            yield Tampering(
                message=f"the hook {path} is a link into a workspace, which can write what it runs",
                hint="remove it, or copy the program",
            )


def _alternates(repository: Repository) -> Iterator[Tampering]:
    path = repository.common_dir / "objects" / "info" / "alternates"
    try:
        content = beneath.read_regular(path, limit=_LIMIT) or b""
    except NotADirectoryError:
        return
    except OSError:
        yield Tampering(message=f"{path} is not a small regular file", hint="look at it, and remove it")
        return
    for line in content.splitlines():
        named = _resolved(repository.common_dir / "objects", os.fsdecode(line))
        if _ours(repository, named):
            yield Tampering(
                message=f"{path} takes objects from a workspace: {named}",
                hint="git repack -a -d copies them here; then remove the line",
            )


def _worktrees(repository: Repository) -> Iterator[Tampering]:
    try:
        worktrees = list_worktrees(repository)
    except GitError as error:
        yield Tampering(
            message=error.message, hint="put the real file back in its place: git pack-refs --all writes a new one"
        )
        return
    for worktree in worktrees:
        if worktree.isolation == "clone":
            yield from _clone(worktree)
            continue
        if worktree.present and worktree.registered:
            pointer = b"gitdir: %s\n" % os.fsencode(worktree.admin_dir)
            mended = f"printf 'gitdir: %s\\n' {worktree.admin_dir} > {worktree.path / '.git'}"
            yield from _file(worktree.name, worktree.path / ".git", pointer, mended)
        if worktree.registered:
            admin = worktree.admin_dir
            yield from _file(worktree.name, admin / "commondir", b"../..\n", f"echo ../.. > {admin / 'commondir'}")
            back = b"%s\n" % os.fsencode(worktree.path / ".git")
            yield from _file(
                worktree.name, admin / "gitdir", back, f"echo {worktree.path / '.git'} > {admin / 'gitdir'}"
            )
            yield from _own_config(worktree.name, admin / "config.worktree")
            yield from _lock(worktree.name, admin, worktree.lock)


def _clone(worktree: Worktree) -> Iterator[Tampering]:
    """Tell of a private clone without a git directory of its own: git in that tree would go where the clone sends it."""
    if not worktree.registered:
        path = worktree.admin_dir
        yield Tampering(
            name=worktree.name,
            message=f"{path} {'was changed' if beneath.exists(path) else 'is gone'}: {_shown(path)}",
            hint="do not run git in that tree: copy what you need out of it by hand, then destroy the workspace",
        )


def _file(name: str, path: Path, expected: bytes, mended: str) -> Iterator[Tampering]:
    try:
        content = beneath.read_regular(path, limit=_LIMIT)
    except OSError:
        content = b""  # a folder, a link, a pipe: whatever it is, git made a small file
    if content is not None and content.rstrip(b"\r\n") == expected.rstrip(b"\n"):
        return
    found = "is gone" if content is None else f"was changed: {_shown(path)}"
    yield Tampering(
        name=name,
        message=f"{path} {found}",
        hint=f"do not run git in that tree before it is mended: {mended}",
    )


def _own_config(name: str, path: Path) -> Iterator[Tampering]:
    """Tell of settings that name programs in a worktree's own configuration; git itself keeps sparse-checkout there."""
    try:
        content = beneath.read_regular(path, limit=_LIMIT)
        keys = sorted(_keys(path)) if content else []
    except (OSError, ValueError):
        keys = ["what cannot be read"]
    strange = [key for key in keys if not key.startswith(("core.sparsecheckout", "index.sparse"))]
    if strange:
        yield Tampering(
            name=name,
            message=f"{path} sets {', '.join(strange)}",
            hint="git in that tree obeys it where extensions.worktreeConfig is set; remove it when you did not make it",
        )


def _keys(path: Path) -> Iterator[str]:
    config = ConfigFile.from_path(path, expand_includes=False)
    for section in config.sections():
        for key, _ in config.items(section):
            yield b".".join((*section, key)).decode("utf-8", "backslashreplace").lower()


def _lock(name: str, admin: Path, reason: str | None) -> Iterator[Tampering]:
    if reason is None or not reason.startswith(layout.LOCK_PREFIX):
        yield Tampering(
            name=name,
            level="warning",
            message=f"{admin} is not locked by Nexus, so `git worktree prune` may remove it",
            hint="`git worktree lock --reason nexus: <tree>` locks it again",
        )


def _ours(repository: Repository, path: Path) -> bool:
    return path.is_relative_to(layout.worktrees_folder(repository)) or path.is_relative_to(
        repository.common_dir / "worktrees"
    )


def _resolved(base: Path, named: str) -> Path:
    return (base / named).resolve()


def _target(path: Path) -> str:
    try:
        return str(path.readlink()).encode("unicode_escape").decode()
    except OSError:
        return "somewhere"


def _shown(path: Path) -> str:
    """Return a file's content or nature in a few words that are safe to print."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return "it cannot be read"
    if stat.S_ISLNK(mode):
        return f"a link to {_target(path)}"
    if stat.S_ISDIR(mode):
        return "a folder"
    try:
        content = beneath.read_regular(path, limit=_LIMIT) or b""
    except OSError:
        return "no regular file"
    return content[:200].rstrip().decode("utf-8", "replace").encode("unicode_escape").decode()
