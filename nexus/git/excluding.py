"""Keeping what Nexus writes out of ``git status``, by ``info/exclude``: the one ignore file that is never committed."""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path

from nexus.errors import GitError
from nexus.git import beneath
from nexus.git.layout import EXCLUDED
from nexus.models.workspace import Repository


def missing_lines(content: bytes) -> bytes:
    """Return what has to be appended to an exclude file so that it has every line of ours; nothing when it has them.

    Args:
        content: What the file holds now.
    """
    there = {line.strip() for line in content.splitlines()}
    missing = [line.encode() for line in EXCLUDED if line.encode() not in there]
    if not missing:
        return b""
    line_end = b"\n" if content and not content.endswith(b"\n") else b""
    return line_end + b"".join(line + b"\n" for line in missing)


def exclude(repository: Repository) -> None:
    """Add our lines to ``info/exclude``, blocking. What is there stays; a second call changes nothing.

    Raises:
        GitError: When the file cannot be read or written.
    """
    info = repository.common_dir / "info"
    try:
        info.mkdir(exist_ok=True)
        if not missing_lines(_content(info / "exclude")):
            return
        folder = os.open(info, beneath.FOLDER)
        try:
            # Two processes at once: the second finds the first one's lines. The kernel lets go when a process dies.
            fcntl.flock(folder, fcntl.LOCK_EX)
            _append(info / "exclude")
        finally:
            os.close(folder)
    except OSError as error:
        raise GitError(
            f"{info / 'exclude'} cannot be written: {error.strerror}",
            hint="Nexus needs it to keep its own files out of `git status`",
            details={"path": str(info / "exclude")},
        ) from error


def _append(file: Path) -> None:
    # A link, as dotfile managers make them, stays one: its target is what changes.
    target = file.resolve()
    content = _content(target)
    missing = missing_lines(content)
    if not missing:
        return
    draft = target.with_name(f".{target.name}.{secrets.token_hex(6)}")
    try:
        draft.write_bytes(content + missing)
        if target.exists():
            draft.chmod(target.stat().st_mode & 0o7777)
        draft.replace(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return b""
