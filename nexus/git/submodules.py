"""What a commit says about its submodules, and which of that can be believed. Pure.

``.gitmodules`` comes with a clone. A name in it becomes a folder below ``modules``; one with ``..``, an absolute one, or one that lies
inside another submodule's git directory would have us write where programs are kept. Its addresses are never used.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from dulwich.config import ConfigFile

from nexus.git import beneath
from nexus.git.trees import is_hostile_name, shown

FILE: Final = b".gitmodules"
LIMIT: Final = 1 << 20
_MODULES: Final = b"modules"
_MAX_DIRS: Final = 10_000


class Submodule(NamedTuple):
    """One submodule of a commit."""

    path: bytes
    name: bytes
    sha: bytes
    """The commit that the outer one names, raw."""


class Named(NamedTuple):
    """What could be made of a commit's submodules."""

    found: list[Submodule]
    refused: list[str]
    """Those that are left alone and why, one line each."""


def named_submodules(content: bytes | None, links: Mapping[bytes, bytes]) -> Named:
    """Return the submodules of a commit by what ``.gitmodules`` calls them.

    Args:
        content: The file's content; ``None`` when there is none.
        links: Path and commit of each submodule, as the tree has them.
    """
    names, why = _names(content)
    claimed = set(names.values())
    named = Named([], [])
    for path, sha in sorted(links.items()):
        name = names.get(path)
        reason = why or (f"{shown(FILE)} does not name it" if name is None else _unfit(name, path, claimed))
        if reason is None and name is not None:
            named.found.append(Submodule(path, name, sha))
        else:
            named.refused.append(f"{shown(path)}: {reason}")
    return named


def _names(content: bytes | None) -> tuple[dict[bytes, bytes], str | None]:
    try:
        config = ConfigFile.from_file(io.BytesIO(content or b""), expand_includes=False)
    except (ValueError, IndexError, KeyError, OSError) as error:
        return {}, f"{shown(FILE)} cannot be read: {error}"
    names: dict[bytes, bytes] = {}
    for section in config.sections():
        if len(section) == 2 and section[0].lower() == b"submodule":
            try:
                path = config.get(section, b"path")
            except KeyError:
                continue
            if path in names and names[path] != section[1]:
                return {}, f"{shown(FILE)} names {shown(path)} twice"
            names[path] = section[1]
    return names, None


def _unfit(name: bytes, path: bytes, claimed: Iterable[bytes]) -> str | None:
    """Say why a name cannot be the name of a folder of ours."""
    parts = name.split(b"/")
    if name.startswith(b"-") or path.startswith(b"-"):
        return "its name or path begins with '-', which a program would take for an option"
    if b"\\" in name or any(is_hostile_name(part) or part == _MODULES or len(part) > 200 for part in parts):
        return f"its name {shown(name)!r} leads somewhere else"
    if any(byte < 0x20 or byte == 0x7F for byte in name):
        return "its name has control characters"
    for other in claimed:
        if other != name and (other.startswith(name + b"/") or name.startswith(other + b"/")):
            return f"its git directory would lie inside that of {shown(min(name, other, key=len))!r}, or the other way round"
    return None


def git_dirs(base: Path) -> Iterator[tuple[bytes, Path]]:
    """Give the git directories of submodules below a git directory, with their names, nested ones after theirs. No link is followed.

    Args:
        base: A git directory, whoever writes it.
    """
    waiting = [(b"", base / "modules")]
    seen = 0
    while waiting:
        name, folder = waiting.pop()
        try:
            entries = sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
        except OSError:
            continue
        for path in entries:
            seen += 1
            if seen > _MAX_DIRS:
                return
            called = name + path.name.encode("utf-8", "surrogateescape")
            if beneath.exists(path / "HEAD"):
                yield called, path
                waiting.append((called + b" > ", path / "modules"))
            else:
                waiting.append((called + b"/", path))
