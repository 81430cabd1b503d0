"""Finding untracked files, as ``git status`` would: what is neither in the index nor ignored.

Ignore files are git's: the user's own, ``info/exclude``, and every ``.gitignore`` from the top down to the file's folder; the
deepest file that says something decides, in it the last line. No symbolic link is followed.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple, Protocol, TypeAlias

from dulwich.config import Config
from dulwich.ignore import read_ignore_patterns

from nexus.git import beneath
from nexus.git.precious import Precious, gather
from nexus.git.threads import Stop
from nexus.git.wildmatch import MalformedPattern, compile_pattern
from nexus.models.workspace import Repository

_LIMIT: Final = 1 << 20
_Level: TypeAlias = "tuple[int, tuple[IgnorePattern, ...]]"
"""How many characters of a path to drop before the patterns apply, and the patterns, the last one first."""

_RULES: Final = frozenset({".git", ".gitignore"})
"""What says how a folder is walked."""


class Glance(Protocol):
    """Looks at tracked files while the walk has their folder open, which is when that costs least."""

    def of(self, folder: bytes) -> Callable[[os.DirEntry[str]], bool]:
        """Return what says whether an entry of a folder is a tracked file that is as the index has it."""
        ...


class IgnorePattern(NamedTuple):
    """One line of an ignore file."""

    expression: re.Pattern[bytes]
    ignores: bool
    """``False`` for a line with ``!``, which brings back what an earlier one ignores."""
    folders_only: bool


class Untracked(NamedTuple):
    """What a walk found. Paths are relative to the tree; a nested repository's ends in ``/``."""

    files: list[bytes]
    repositories: list[bytes]
    others: list[bytes]
    """Sockets, pipes and devices: git never stores those."""
    folders: set[bytes]
    """Every real folder that was walked."""
    unreadable: list[str]
    precious: list[bytes]
    """Files that are ignored, and that the configuration names as too good to lose."""


class Tracked(NamedTuple):
    """What the index holds."""

    files: set[bytes]
    folders: set[bytes]
    """Every folder of a tracked file."""
    submodules: set[bytes]
    """Not walked into: each is a repository of its own."""


class Ignore(NamedTuple):
    """The rules that hold everywhere in a tree."""

    levels: tuple[_Level, ...]
    ignore_case: bool

    @classmethod
    def read(cls, repository: Repository, config: Config) -> Ignore:
        """Read the user's own ignore file and ``info/exclude``."""
        ignore_case = bool(config.get_boolean((b"core",), b"ignorecase", False))
        files = (_user_file(config), repository.common_dir / "info" / "exclude")
        levels = [(0, parse_patterns(_trusted(file), ignore_case=ignore_case)) for file in files]
        return cls(tuple(level for level in levels if level[1]), ignore_case)


def walk(
    root: Path,
    tracked: Tracked,
    ignore: Ignore,
    stop: Stop,
    precious: Precious | None = None,
    *,
    glance: Glance | None = None,
) -> Untracked:
    """Walk a tree.

    Args:
        root: The tree.
        tracked: What is in the index.
        ignore: The rules from outside the tree.
        stop: Asked in every folder.
        precious: Which ignored files to name.
        glance: Looks at the tracked files.
    """
    found = Untracked([], [], [], set(), [], [])
    ignored: list[tuple[bytes, bool]] = []
    top = os.open(root, beneath.ENTERED if root.is_relative_to("/proc/self/fd") else beneath.FOLDER)
    try:
        waiting: list[tuple[bytes, tuple[_Level, ...]]] = [(b"", ignore.levels)]
        while waiting:
            stop.check()
            at, levels = waiting.pop()
            with _entered(top, at, found) as folder:
                if folder is None:
                    continue
                entries = _entries(folder, None if glance is None else glance.of(at))
                if at and any(name == b".git" for name, _ in entries):
                    found.repositories.append(at + b"/")
                    if at not in tracked.folders:
                        continue
                found.folders.add(at)
                levels = _deeper(folder, at, levels, entries, ignore_case=ignore.ignore_case)
                inside = _sort_out(at, entries, levels, tracked, found, ignored=ignored)
                waiting.extend((path, levels) for path in inside)
    finally:
        os.close(top)
    if precious is not None:
        for path, is_folder in ignored:
            stop.check()
            kept = gather(root, path, precious, is_folder=is_folder)
            found.precious.extend(kept.files)
            found.repositories.extend(kept.repositories)
            found.unreadable.extend(kept.unreadable)
        found.precious.sort()
    found.files.sort()
    found.repositories.sort()
    return found


@contextmanager
def _entered(top: int, at: bytes, found: Untracked) -> Iterator[int | None]:
    """Open a folder of the tree; ``None`` when it is gone by now, or cannot be opened, which is noted."""
    with ExitStack() as closing:
        folder: int | None = None
        try:
            folder = closing.enter_context(beneath.folder(top, at))
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            found.unreadable.append(f"{at.decode('utf-8', 'backslashreplace')}/: {error.strerror}")
        yield folder


def _entries(folder: int, is_same: Callable[[os.DirEntry[str]], bool] | None) -> list[tuple[bytes, os.DirEntry[str]]]:
    """List a folder without the tracked files that are the same. What the entries tell of themselves needs it open."""
    with os.scandir(folder) as entries:
        return [
            (os.fsencode(entry.name), entry)
            for entry in entries
            if is_same is None or entry.name in _RULES or not is_same(entry)
        ]


def _sort_out(
    at: bytes,
    entries: list[tuple[bytes, os.DirEntry[str]]],
    levels: Sequence[_Level],
    tracked: Tracked,
    found: Untracked,
    *,
    ignored: list[tuple[bytes, bool]],
) -> Iterator[bytes]:
    """Note the untracked files of a folder, and give the folders to walk next."""
    for name, entry in entries:
        if name == b".git":
            continue
        path = b"%s/%s" % (at, name) if at else name
        is_folder = entry.is_dir(follow_symlinks=False)
        if path in tracked.submodules:
            continue
        if is_folder and (path in tracked.folders or path in tracked.files):
            yield path
            continue
        if path in tracked.files:
            continue
        if is_ignored(path, levels, is_folder=is_folder):
            ignored.append((path, is_folder))
            continue
        if is_folder:
            yield path
        elif entry.is_file(follow_symlinks=False) or entry.is_symlink():
            found.files.append(path)
        else:
            found.others.append(path)


def _deeper(
    folder: int,
    at: bytes,
    levels: tuple[_Level, ...],
    entries: list[tuple[bytes, os.DirEntry[str]]],
    *,
    ignore_case: bool,
) -> tuple[_Level, ...]:
    if not any(name == b".gitignore" for name, _ in entries):
        return levels
    try:
        content = beneath.read_file(folder, b".gitignore", limit=_LIMIT)
    except OSError:
        # One that cannot be read ignores nothing, so more is kept.
        return levels
    patterns = parse_patterns(content, ignore_case=ignore_case)
    return (*levels, (len(at) + 1 if at else 0, patterns)) if patterns else levels


def is_ignored(path: bytes, levels: Sequence[_Level], *, is_folder: bool) -> bool:
    """Return whether the rules of all levels, the deepest last, ignore one entry of a folder that is not ignored itself."""
    for drop, patterns in reversed(levels):
        name = path[drop:]
        for pattern in patterns:
            if (is_folder or not pattern.folders_only) and pattern.expression.fullmatch(name):
                return pattern.ignores
    return False


def parse_patterns(content: bytes | None, *, ignore_case: bool) -> tuple[IgnorePattern, ...]:
    """Return the patterns of an ignore file, the last one first: it is the one that counts."""
    found: list[IgnorePattern] = []
    for line in read_ignore_patterns(io.BytesIO(content or b"")):
        text = line.removeprefix(b"!")
        ignores = text is line
        if text.startswith((b"\\!", b"\\#")):
            text = text[1:]
        folders_only = text.endswith(b"/")
        text = text.removesuffix(b"/")
        if not text.strip(b"/"):
            continue
        try:
            found.append(IgnorePattern(compile_pattern(text, ignore_case=ignore_case), ignores, folders_only))
        except MalformedPattern:
            continue
    return tuple(reversed(found))


def _user_file(config: Config) -> Path | None:
    try:
        return Path(os.fsdecode(config.get((b"core",), b"excludesFile"))).expanduser()
    except RuntimeError:
        return None
    except KeyError:
        base = os.environ.get("XDG_CONFIG_HOME")
        return (Path(base) if base else Path.home() / ".config") / "git" / "ignore"


def _trusted(file: Path | None) -> bytes | None:
    try:
        return None if file is None else beneath.read_regular(file.resolve(), limit=_LIMIT)
    except (OSError, RuntimeError):
        return None
