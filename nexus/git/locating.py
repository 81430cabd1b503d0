"""Finding the repository a folder belongs to, without believing what an agent can write.

The folder's shape comes first: inside ``<root>/.nexus/worktrees/<name>/`` the repository is the one at ``<root>``, whatever
the tree's own ``.git`` file says, because whoever works in the tree can rewrite that file. A tree that is kept elsewhere is
known by the two notes of :mod:`nexus.grounds`.

A repository whose git directory belongs to another user is refused, as git does it: its configuration names programs that
git runs. ``safe.directory`` in the user's or the system's git configuration lets one in; root is let into all.
``GIT_DIR`` and its kin in the environment are not looked at.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, NoReturn

from dulwich.config import ConfigFile, StackedConfig

from nexus.errors import BareRepository, GitError, NotARepository
from nexus.git import beneath
from nexus.git.threads import in_thread
from nexus.grounds import repository_around
from nexus.models.repository import Repository

_POINTER_LIMIT: Final = 1 << 16
_KNOWN_EXTENSIONS: Final = frozenset({"worktreeconfig", "objectformat", "relativeworktrees", "refstorage", "noop"})


async def find_repository(start: Path) -> Repository:
    """Return the repository that ``start`` lies in.

    Args:
        start: Any folder, or file, inside the repository's main work tree, inside a linked worktree or inside its ``.git``.

    Returns:
        The repository; ``root`` is always the main work tree. A submodule is a repository of its own.

    Raises:
        NotARepository: When no folder from ``start`` upwards is one.
        BareRepository: When the repository has no work tree.
        GitError: When it belongs to another user, or uses a format that cannot be handled.

    Cancellation: nothing is left behind.
    """
    return await in_thread(lambda _: locate(start))


def locate(start: Path) -> Repository:
    """Do the work of :func:`find_repository`, blocking."""
    try:
        place = start.expanduser().resolve()
    except (OSError, RuntimeError) as error:
        raise NotARepository(f"{start} cannot be looked at: {error}", details={"path": str(start)}) from error
    if not place.exists():
        raise NotARepository(f"{start} does not exist", hint="give a folder inside a git repository")
    if place.is_file():
        place = place.parent
    found = _by_shape(place) or _upwards(place)
    if found is None:
        raise NotARepository(
            f"{start} is not inside a git repository",
            hint="run `git init` there, or give a folder inside a repository",
            details={"path": str(start)},
        )
    root, common = found
    return _describe(root, common)


def _by_shape(place: Path) -> tuple[Path, Path] | None:
    """Return the repository whose ``.nexus/worktrees`` holds ``place``; the outermost where they are nested."""
    around = repository_around(place)
    if around is not None:
        return _at(around)
    parts = place.parts
    for position in range(1, len(parts) - 1):
        if parts[position : position + 2] == (".nexus", "worktrees") and position + 2 < len(parts):
            found = _at(Path(*parts[:position]))
            if found is not None:
                return found
    return None


def _upwards(place: Path) -> tuple[Path, Path] | None:
    for folder in (place, *place.parents):
        if _is_git_dir(folder):
            return _from_inside(folder)
        found = _at(folder)
        if found is not None:
            return found
    return None


def _at(folder: Path) -> tuple[Path, Path] | None:
    """Return the main work tree and common dir of the repository whose ``.git`` is in ``folder``."""
    dot_git = folder / ".git"
    if _is_git_dir(dot_git):
        return _work_tree(dot_git, folder), dot_git
    if not dot_git.is_file():
        return None
    git_dir = _pointer(dot_git, b"gitdir: ")
    if git_dir is None or not git_dir.is_dir():
        raise NotARepository(
            f"{dot_git} does not lead to a git directory",
            hint="the repository was moved or deleted; `git worktree repair` in the main checkout mends a moved one",
            details={"path": str(dot_git)},
        )
    common = _pointer(git_dir / "commondir", b"")
    if common is None:
        # A submodule, or a repository made with --separate-git-dir.
        return _work_tree(git_dir, folder), git_dir
    return _main_of(common)


def _main_of(common: Path) -> tuple[Path, Path]:
    """Return the main work tree that belongs to the common dir of a linked worktree."""
    config = config_of(common)
    if config.get_boolean((b"core",), b"bare", False):
        _refuse_bare(common)
    if (b"core",) in config.sections() and _has(config, b"worktree"):
        return _work_tree(common, common), common
    if common.name != ".git":
        raise GitError(
            f"the main work tree of {common} is not known",
            hint="start from the main work tree: its git directory lies elsewhere and does not say where the tree is",
            details={"path": str(common)},
        )
    return common.parent, common


def _from_inside(git_dir: Path) -> tuple[Path, Path]:
    """Return the repository whose git directory the search started in."""
    common = _pointer(git_dir / "commondir", b"")
    if common is not None:
        return _main_of(common)
    config = config_of(git_dir)
    if config.get_boolean((b"core",), b"bare", git_dir.name != ".git"):
        _refuse_bare(git_dir)
    return _main_of(git_dir)


def _refuse_bare(git_dir: Path) -> NoReturn:
    raise BareRepository(
        f"{git_dir} is a bare repository: it has no work tree, so a workspace has no place in it",
        hint="clone it, and use the clone",
        details={"path": str(git_dir)},
    )


def _is_git_dir(folder: Path) -> bool:
    if not os.path.lexists(folder / "HEAD"):
        return False
    if (folder / "commondir").is_file():
        return True
    return (folder / "objects").is_dir() and (folder / "refs").is_dir()


def _pointer(file: Path, prefix: bytes) -> Path | None:
    """Return the folder that a one-line file names, relative to the file's own folder."""
    content = beneath.read_regular(file, limit=_POINTER_LIMIT)
    if content is None or not content.startswith(prefix):
        return None
    named = os.fsdecode(content.removeprefix(prefix).rstrip(b"\r\n"))
    return (file.parent / named).resolve() if named else None


def config_of(git_dir: Path) -> ConfigFile:
    """Return what the configuration file in a git directory says; nothing where there is none."""
    try:
        return ConfigFile.from_path(str(git_dir / "config"))
    except FileNotFoundError:
        return ConfigFile()
    except (OSError, ValueError) as error:
        raise GitError(f"{git_dir / 'config'} cannot be read: {error}") from error


def _has(config: ConfigFile, name: bytes) -> bool:
    try:
        config.get((b"core",), name)
    except KeyError:
        return False
    return True


def _work_tree(git_dir: Path, fallback: Path) -> Path:
    """Return the work tree that ``core.worktree`` names, or the folder that holds ``.git``."""
    config = config_of(git_dir)
    try:
        named = config.get((b"core",), b"worktree")
    except KeyError:
        return fallback
    return (git_dir / os.fsdecode(named)).resolve()


def _describe(root: Path, common: Path) -> Repository:
    config = config_of(common)
    if config.get_boolean((b"core",), b"bare", False):
        _refuse_bare(common)
    _require_own(root, common)
    _require_supported(common, config)
    try:
        remote: str | None = os.fsdecode(config.get((b"remote", b"origin"), b"url"))
    except KeyError:
        remote = None
    return Repository(root=root, common_dir=common, remote=remote)


def _require_own(root: Path, common: Path) -> None:
    user = os.geteuid()
    owner = common.stat().st_uid
    if user in {0, owner}:
        return
    safe = [os.fsdecode(value) for value in _user_config().get_multivar((b"safe",), b"directory")]
    if "*" in safe or str(root) in safe:
        return
    raise GitError(
        f"{common} belongs to another user (id {owner}), whose configuration git would obey",
        hint=f"if you trust them: git config --global --add safe.directory {root}",
        details={"path": str(common), "owner": owner},
    )


def _require_supported(common: Path, config: ConfigFile) -> None:
    """Refuse formats that cannot be read or written rightly."""
    extensions = {os.fsdecode(name).lower(): os.fsdecode(value) for name, value in _items(config, b"extensions")}
    if extensions.get("objectformat", "sha1").lower() != "sha1":
        raise GitError(
            f"{common} is a {extensions['objectformat'].upper()} repository; only SHA-1 repositories are supported",
            hint="use a repository made with `git init --object-format=sha1`",
            details={"path": str(common), "object_format": extensions["objectformat"]},
        )
    if extensions.get("refstorage", "files").lower() != "files":
        raise GitError(
            f"{common} keeps its refs as {extensions['refstorage']!r}; only plain files are supported",
            hint="`git refs migrate --ref-format=files` converts it",
            details={"path": str(common)},
        )
    unknown = sorted(set(extensions) - _KNOWN_EXTENSIONS)
    if unknown:
        raise GitError(
            f"{common} uses git extensions that are not supported: {', '.join(unknown)}",
            hint="a partial clone becomes a whole one with `git fetch --refetch` and `git config --unset`"
            if "partialclone" in unknown
            else None,
            details={"path": str(common), "extensions": unknown},
        )


def _items(config: ConfigFile, section: bytes) -> list[tuple[bytes, bytes]]:
    return list(config.items((section,))) if (section,) in config.sections() else []


def _user_config() -> StackedConfig:
    return StackedConfig(list(StackedConfig.default_backends()))
