"""Ignored files that a new worktree gets from the main checkout: what ``.worktreeinclude`` and the configuration name.

The patterns are repository content and trusted with nothing: they can only choose among files that git ignores in the main
checkout, below its root, and only files that the new tree ignores as well, so that they never look like work of the user's.
A pattern that names a folder holds for everything in it, unless a later pattern names something deeper. ``.git`` and ``.nexus``
never come along, nor does a symbolic link that leads out of the tree.
"""

from __future__ import annotations

import io
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from dulwich.config import Config
from dulwich.ignore import read_ignore_patterns

from nexus.errors import GitError
from nexus.git import beneath
from nexus.git.checkout import Report
from nexus.git.ignoring import Ignore, IgnorePattern, Tracked, is_ignored, parse_patterns
from nexus.git.include_copying import Come, copy_all, stays_inside
from nexus.git.include_settling import IGNORE_LIMIT, Levels, Settling, Wanted, below
from nexus.git.index_file import SUBMODULE, read_index
from nexus.git.threads import Stop
from nexus.git.trees import TreeFile, is_hostile_name, shown
from nexus.models.units import format_size
from nexus.models.workspace import Repository

INCLUDE_FILE: Final = ".worktreeinclude"
DEFAULT_LIMIT: Final = 1 << 30

_FILE_LIMIT: Final = 1 << 20
_MAX_ENTRIES: Final = 2_000_000
_SHOWN: Final = 5
_WILD: Final = frozenset(b"*?[\\")


class Include(NamedTuple):
    """What may come along."""

    patterns: tuple[str, ...] = ()
    """Patterns of the configuration; they rank above the file's."""
    limit: int = DEFAULT_LIMIT
    """Bytes that all files together may have."""
    report: Report | None = None


class _Patterns(NamedTuple):
    """What the patterns say."""

    last_first: tuple[IgnorePattern, ...]
    starts: tuple[bytes, ...] | None
    """What every path that can be named begins with; ``None`` when a name is enough, wherever it is."""

    def name(self, path: bytes, *, is_folder: bool, above: bool) -> bool:
        """Return whether a path is named; ``above``: whether its folder is."""
        for pattern in self.last_first:
            if (is_folder or not pattern.folders_only) and pattern.expression.fullmatch(path):
                return pattern.ignores
        return above


def include_files(
    repository: Repository, files: Iterable[TreeFile], target: Path, *, include: Include, config: Config, stop: Stop
) -> tuple[str, ...]:
    """Copy what comes along into a new tree.

    Args:
        repository: Whose main checkout it comes from.
        files: What the new tree holds already.
        target: The new tree.
        include: What may come along.
        config: The configuration.
        stop: Asked in every folder and between files.

    Returns:
        What was brought and what was left out, in words; empty when no pattern says anything.

    Raises:
        GitError: When it would be more than the limit: then nothing is copied. Or when the disk refuses.
        Stopped: When asked to stop. What was copied is left for the caller to remove.
    """
    notes: list[str] = []
    patterns = _patterns(repository, include, config, notes)
    if not any(pattern.ignores for pattern in patterns.last_first):
        return tuple(notes)
    ignore = Ignore.read(repository, config)
    source, tree = os.open(repository.root, beneath.FOLDER), os.open(target, beneath.FOLDER)
    try:
        wanted = _Offer(repository, source, patterns, ignore, stop).look()
        Settling(source, tree, _tracked((file.path, file.mode) for file in files), ignore, wanted).settle()
        _without_leading_out(repository, source, wanted)
        _require_small(wanted, include.limit)
        come = [Come(path, status) for path, status in sorted(wanted.found.items())]
        brought = copy_all(source, tree, come, limit=include.limit, stop=stop, report=include.report)
    finally:
        os.close(source)
        os.close(tree)
    notes += _notes(brought.files, brought.size, [*wanted.left_out, *brought.left_out])
    return tuple(notes)


def _patterns(repository: Repository, include: Include, config: Config, notes: list[str]) -> _Patterns:
    """Return every pattern: those of the file, then those of the configuration."""
    try:
        content = beneath.read_regular(repository.root / INCLUDE_FILE, limit=_FILE_LIMIT) or b""
    except OSError as error:
        notes.append(f"{INCLUDE_FILE} was not read: {error.strerror}")
        content = b""
    ours = "\n".join(include.patterns).encode("utf-8", "surrogateescape")
    ignore_case = bool(config.get_boolean((b"core",), b"ignorecase", False))
    lines = content.removeprefix(b"\xef\xbb\xbf") + b"\n" + ours
    return _Patterns(parse_patterns(lines, ignore_case=ignore_case), _literal_starts(lines))


def _tracked(files: Iterable[tuple[bytes, int]]) -> Tracked:
    paths: set[bytes] = set()
    folders: set[bytes] = set()
    submodules: set[bytes] = set()
    for path, mode in files:
        paths.add(path)
        if mode == SUBMODULE:
            submodules.add(path)
        parent = path.rpartition(b"/")[0]
        while parent and parent not in folders:
            folders.add(parent)
            parent = parent.rpartition(b"/")[0]
    return Tracked(paths, folders, submodules)


class _Offer:
    """Walks the main checkout; no symbolic link is followed, and no submodule or nested repository is entered."""

    def __init__(self, repository: Repository, source: int, patterns: _Patterns, ignore: Ignore, stop: Stop) -> None:
        self._source = source
        self._patterns = patterns
        self._ignore = ignore
        self._stop = stop
        index = read_index(repository.common_dir / "index")
        self._tracked = _tracked((entry.path, entry.mode) for entry in index.entries)
        self._seen = 0
        self._wanted = Wanted({}, [])

    def look(self) -> Wanted:
        """Return what is offered."""
        waiting: list[tuple[bytes, Levels, bool, bool]] = [(b"", self._ignore.levels, False, False)]
        while waiting:
            self._stop.check()
            at, levels, whole, is_named = waiting.pop()
            try:
                with beneath.folder(self._source, at) as folder:
                    entries = [(os.fsencode(name), status) for name, status in _scan(folder)]
                    rules = levels if whole else self._rules(folder, at, levels, entries)
            except OSError as error:
                if is_named:
                    self._wanted.left_out.append(f"{shown(at)}/ ({error.strerror})")
                continue
            if at and at not in self._tracked.folders and any(name == b".git" for name, _ in entries):
                if self._wanted.found.pop(at, None) is not None:
                    self._wanted.left_out.append(f"{shown(at)}/ (a repository of its own)")
                continue
            self._count(len(entries))
            waiting.extend(self._sort_out(at, entries, rules, ignored_above=whole, named_above=is_named))
        return self._wanted

    def _rules(self, folder: int, at: bytes, levels: Levels, entries: list[tuple[bytes, os.stat_result]]) -> Levels:
        if not any(name == b".gitignore" for name, _ in entries):
            return levels
        try:
            content = beneath.read_file(folder, b".gitignore", limit=IGNORE_LIMIT)
        except OSError:
            return levels
        return below(at, levels, content, ignore_case=self._ignore.ignore_case)

    def _count(self, entries: int) -> None:
        self._seen += entries
        if self._seen > _MAX_ENTRIES:
            raise GitError(
                f"looking for the files that {INCLUDE_FILE} names met more than {_MAX_ENTRIES:,} files",
                hint="name the folders they are in: a pattern with a slash is only looked for there",
            )

    def _sort_out(
        self,
        at: bytes,
        entries: list[tuple[bytes, os.stat_result]],
        levels: Levels,
        *,
        ignored_above: bool,
        named_above: bool,
    ) -> Iterator[tuple[bytes, Levels, bool, bool]]:
        tracked = self._tracked
        for name, status in entries:
            path = b"%s/%s" % (at, name) if at else name
            if name == b".git" or path.lower() == b".nexus" or path in tracked.submodules:
                continue
            is_folder = stat.S_ISDIR(status.st_mode)
            held = path in tracked.folders if is_folder else path in tracked.files
            ignored = not held and (ignored_above or is_ignored(path, levels, is_folder=is_folder))
            named = self._patterns.name(path, is_folder=is_folder, above=named_above)
            if is_hostile_name(name):
                if ignored and named:
                    self._wanted.left_out.append(f"{shown(path)} (git could not check out such a name)")
                continue
            if ignored and named:
                self._wanted.found[path] = status
            if is_folder and (named or self._may_namebelow(path)):
                yield path, levels, ignored, named

    def _may_namebelow(self, folder: bytes) -> bool:
        if self._patterns.starts is None:
            return True
        inside = folder + b"/"
        return any(start.startswith(inside) or inside.startswith(start) for start in self._patterns.starts)


def _scan(folder: int) -> list[tuple[str, os.stat_result]]:
    with os.scandir(folder) as entries:
        return [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]


def _literal_starts(lines: bytes) -> tuple[bytes, ...] | None:
    starts: list[bytes] = []
    for text in read_ignore_patterns(io.BytesIO(lines)):
        if text.startswith(b"!"):
            continue
        if b"/" not in text.rstrip(b"/") or text.startswith(b"**"):
            return None
        cut = next((at for at, letter in enumerate(text) if letter in _WILD), len(text))
        starts.append(text[:cut].lstrip(b"/"))
    return tuple(starts)


def _without_leading_out(repository: Repository, source: int, wanted: Wanted) -> None:
    """Drop the links that lead out of the tree, and what is neither file, folder nor link."""
    root = os.path.realpath(os.fsencode(repository.root))
    for path, status in list(wanted.found.items()):
        if stat.S_ISLNK(status.st_mode):
            try:
                target = beneath.read_link(source, path)
            except OSError:
                target = b"/"
            if stays_inside(path, target) and _really_inside(root, path):
                continue
            why = "a symbolic link that leads out of the tree"
        elif stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode):
            continue
        else:
            why = "neither a file, a folder nor a link"
        del wanted.found[path]
        wanted.left_out.append(f"{shown(path)} ({why})")


def _really_inside(root: bytes, path: bytes) -> bool:
    """Return whether following a link, and every link on its way, ends inside the main checkout as well."""
    end = os.path.realpath(b"%s/%s" % (root, path))
    closed = (root + b"/.git", root + b"/.nexus")
    return (end == root or end.startswith(root + b"/")) and not any(
        end == place or end.startswith(place + b"/") for place in closed
    )


def _require_small(wanted: Wanted, limit: int) -> None:
    sizes: Counter[bytes] = Counter()
    for path, status in wanted.found.items():
        if stat.S_ISREG(status.st_mode):
            sizes[path.partition(b"/")[0]] += status.st_size
    total = sizes.total()
    if total > limit:
        raise _too_large(total, limit, {shown(name): size for name, size in sizes.most_common(_SHOWN)})


def _too_large(total: int, limit: int, largest: Mapping[str, int]) -> GitError:
    named = ", ".join(f"{name} {format_size(size)}" for name, size in largest.items())
    return GitError(
        f"the ignored files that would come along have {format_size(total)}, more than {format_size(limit)}: {named}",
        hint=f"name fewer in {INCLUDE_FILE} and defaults.worktree_include, or raise defaults.worktree_include_max",
        details={"bytes": total, "limit": limit, "largest": dict(largest)},
    )


def _notes(files: int, size: int, left_out: list[str]) -> list[str]:
    notes = [f"came along: {files} ignored file{'' if files == 1 else 's'}, {format_size(size)}"] if files else []
    if left_out:
        more = f" and {len(left_out) - _SHOWN} more" if len(left_out) > _SHOWN else ""
        notes.append(f"did not come along: {', '.join(left_out[:_SHOWN])}{more}")
    return notes
