"""Who commits: the name and e-mail that the user's own git would use, and the environment that tells git inside a workspace.

Read are the repository's configuration, the user's and the system's, in git's order; included files are read, nothing is run.
Inside, git gets them by ``GIT_CONFIG_*`` variables: the repository's configuration is read-only there, and the image's is not ours.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from dulwich.config import ConfigFile, StackedConfig, match_glob_pattern

from nexus.errors import GitError
from nexus.git.threads import in_thread
from nexus.models.base import Model
from nexus.models.workspace import Repository

_LIMIT: Final = 512
"""Characters of a name or address; what is longer is nobody's name."""
_COUNT: Final = "GIT_CONFIG_COUNT"


class GitIdentity(Model):
    """Name and e-mail for commits."""

    name: str | None = None
    """``user.name``; ``None`` where nobody has set it."""
    email: str | None = None
    """``user.email``; likewise."""


async def read_identity(repository: Repository) -> GitIdentity:
    """Return who the user is to git in this repository, as the git configuration on this host says.

    Args:
        repository: The repository; its own configuration ranks above the user's.

    Raises:
        GitError: When a configuration file is there and cannot be read.

    Cancellation: nothing is left behind.
    """
    return await in_thread(lambda _: _read(repository))


def _read(repository: Repository) -> GitIdentity:
    config = StackedConfig(list(_files(repository)))
    return GitIdentity(name=_value(config, b"name"), email=_value(config, b"email"))


def _files(repository: Repository) -> Iterator[ConfigFile]:
    """Give the files that git reads, the one that wins first."""
    git_dir = str(repository.common_dir.resolve())
    matchers: dict[str, Callable[[str], bool]] = {
        "gitdir:": partial(_lies_in, git_dir),
        "gitdir/i:": lambda pattern: _lies_in(git_dir.lower(), pattern.lower()),
    }
    for path in (repository.common_dir / "config", *_user_files(os.environ), *_system_files(os.environ)):
        try:
            yield ConfigFile.from_path(path, condition_matchers=matchers)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError) as error:
            raise GitError(
                f"the git configuration {path} cannot be read: {error}", details={"path": str(path)}
            ) from error


def _user_files(env: Mapping[str, str]) -> tuple[Path, ...]:
    if "GIT_CONFIG_GLOBAL" in env:
        return (Path(env["GIT_CONFIG_GLOBAL"]),) if env["GIT_CONFIG_GLOBAL"] else ()
    home = Path(env["HOME"]) if env.get("HOME") else None
    xdg = Path(env["XDG_CONFIG_HOME"]) if env.get("XDG_CONFIG_HOME") else home / ".config" if home else None
    return (*((home / ".gitconfig",) if home else ()), *((xdg / "git" / "config",) if xdg else ()))


def _system_files(env: Mapping[str, str]) -> tuple[Path, ...]:
    if env.get("GIT_CONFIG_NOSYSTEM", "") not in {"", "0", "false", "no", "off"}:
        return ()
    return (Path(env.get("GIT_CONFIG_SYSTEM") or "/etc/gitconfig"),)


def _lies_in(git_dir: str, pattern: str) -> bool:
    """Return whether ``includeIf.gitdir:<pattern>`` holds, by the rules of git-config(1)."""
    if pattern.startswith("~/"):
        pattern = str(Path.home()) + pattern[1:]
    elif pattern.startswith("./"):
        return False  # relative to the file that says it, which is not known here
    elif not pattern.startswith("/"):
        pattern = f"**/{pattern}"
    if pattern.endswith("/"):
        pattern += "**"
    return match_glob_pattern(git_dir, pattern)


def _value(config: StackedConfig, key: bytes) -> str | None:
    try:
        text = config.get((b"user",), key).decode("utf-8", "replace")
    except KeyError:
        return None
    clean = "".join(char for char in text if unicodedata.category(char) != "Cc").strip()
    return clean if clean and len(clean) <= _LIMIT else None


def git_environment(identity: GitIdentity, safe: Iterable[str], *, over: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that make git inside know the user and trust the work tree, whoever owns it there. Pure.

    Args:
        identity: What to tell; absent values are left to the image.
        safe: Folders inside that git may use though they belong to another user.
        over: The workspace's own variables. ``GIT_CONFIG_*`` pairs among them are kept, and win.
    """
    pairs = [("safe.directory", folder) for folder in safe]
    pairs += [(f"user.{key}", value) for key, value in (("name", identity.name), ("email", identity.email)) if value]
    theirs = over.get(_COUNT, "0")
    if not (theirs.isascii() and theirs.isdigit()):
        return {}  # git itself refuses what they say; ours must not hide that
    first = int(theirs)
    for number in range(first):
        key, value = over.get(f"GIT_CONFIG_KEY_{number}"), over.get(f"GIT_CONFIG_VALUE_{number}")
        if key is None or value is None:
            return {}
        pairs.append((key, value))
    env = {_COUNT: str(len(pairs))}
    for number, (key, value) in enumerate(pairs):
        env[f"GIT_CONFIG_KEY_{number}"], env[f"GIT_CONFIG_VALUE_{number}"] = key, value
    return env
