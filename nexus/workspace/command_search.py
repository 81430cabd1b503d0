"""Searching files that are reached by commands alone: they are read piece by piece and looked through here, by the same engine."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Final

import anyio.to_thread

from nexus.errors import FsError, InvalidArgument
from nexus.git.ignoring import IgnorePattern, is_ignored, parse_patterns
from nexus.handles.glob_pattern import Exclusion
from nexus.models.files import FileKind, GrepMatch
from nexus.workspace.command_place import Entry
from nexus.workspace.files_grep import told
from nexus.workspace.grep_pattern import Needle
from nexus.workspace.replacing import is_temporary

if TYPE_CHECKING:
    from nexus.workspace.files_by_command import FilesByCommand

_PIECE: Final = 64 * 1024
_IGNORE_LIMIT: Final = 1 << 20


async def grep(
    files: FilesByCommand,
    needle: Needle,
    path: str,
    include: Exclusion,
    exclude: Exclusion,
    *,
    ignored: bool,
    limit: int,
) -> AsyncGenerator[GrepMatch, None]:
    """Give the lines that match; see :meth:`nexus.FileSystem.grep`."""
    if limit < 1:
        raise InvalidArgument(f"limit has to be at least one: {limit}")
    info = await files.stat(path)
    if info.kind is FileKind.FILE:
        paths = [info.path]
    else:
        entries = await files.list_below(path, deep=True)
        levels = () if ignored else await _ignore_files(files, entries)
        paths = [entry.info.path for entry in _wanted(entries, levels, include, exclude)]
    left = limit
    for each in paths:
        try:
            async for match in _in_file(files, needle, each):
                yield match
                left -= 1
                if not left:
                    return
        except FsError:
            continue  # it is gone, or closed to us, by now


def _wanted(
    entries: Sequence[Entry],
    levels: Sequence[tuple[tuple[bytes, ...], tuple[IgnorePattern, ...]]],
    include: Exclusion,
    exclude: Exclusion,
) -> list[Entry]:
    left_out: set[tuple[bytes, ...]] = set()
    found: list[Entry] = []
    for entry in entries:
        names = tuple(map(os.fsdecode, entry.below))
        folder = entry.info.kind is FileKind.DIRECTORY
        own = [
            (sum(len(part) + 1 for part in below), patterns)
            for below, patterns in levels
            if entry.below[: len(below)] == below
        ]
        if (
            entry.below[:-1] in left_out
            or entry.below[-1] == b".git"
            or is_temporary(entry.below[-1])
            or names in exclude
            or is_ignored(b"/".join(entry.below), own, is_folder=folder)
        ):
            if folder:
                left_out.add(entry.below)
            continue
        if entry.info.kind is FileKind.FILE and (not (include.names or include.paths) or names in include):
            found.append(entry)
    return found


async def _ignore_files(
    files: FilesByCommand, entries: Sequence[Entry]
) -> list[tuple[tuple[bytes, ...], tuple[IgnorePattern, ...]]]:
    """Return what the ignore files of the searched folder say, by the folder they are in, the deepest last."""
    levels: list[tuple[tuple[bytes, ...], tuple[IgnorePattern, ...]]] = []
    for entry in entries:
        if entry.below[-1] == b".gitignore" and entry.info.kind is FileKind.FILE:
            content = await files.read_bytes(entry.info.path, limit=_IGNORE_LIMIT)
            levels.append((entry.below[:-1], parse_patterns(content, ignore_case=False)))
    return sorted(levels, key=lambda level: len(level[0]))


async def _in_file(files: FilesByCommand, needle: Needle, path: str) -> AsyncGenerator[GrepMatch, None]:
    rest, lines = b"", 0
    async with files.open_read(path) as reader:
        ended = False
        while not ended:
            try:
                rest += await reader.receive(_PIECE)
            except anyio.EndOfStream:
                ended = True
            if b"\0" in rest:
                return
            cut = len(rest) if ended else rest.rfind(b"\n") + 1 or (len(rest) if len(rest) >= _PIECE else 0)
            piece, rest = rest[:cut], rest[cut:]
            for line in await anyio.to_thread.run_sync(lambda part: list(needle.lines(part)), piece):
                yield told(path, lines + line.number + 1, line)
            lines += piece.count(b"\n")
