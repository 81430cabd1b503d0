"""The few things a container's own file system needs before its first start, as a tar archive. Pure."""

from __future__ import annotations

import io
import posixpath
import tarfile
from collections.abc import Iterable, Mapping
from typing import Final

from nexus.errors import InvalidArgument

_MTIME: Final = 315_532_800
"""1980-01-01: an archive of the same content is the same bytes."""


def setup_archive(
    *, folders: Iterable[str], links: Mapping[str, str], uid: int, gid: int, shared: Iterable[str] = ()
) -> bytes:
    """Return a tar archive, to be unpacked at ``/``, of folders owned by ``uid``:``gid`` and of symbolic links.

    Args:
        folders: Folders that their owner may write.
        links: Symbolic links: path to target.
        uid: The owner.
        gid: The owner's group.
        shared: Folders that everybody may write, as ``/tmp`` is.

    Raises:
        InvalidArgument: When a path is not absolute, or is ``/`` itself.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, mode in (*((path, 0o755) for path in folders), *((path, 0o1777) for path in shared)):
            entry = _entry(path, uid, gid)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            archive.addfile(entry)
        for path, target in links.items():
            entry = _entry(path, uid, gid)
            entry.type, entry.mode, entry.linkname = tarfile.SYMTYPE, 0o777, target
            archive.addfile(entry)
    return buffer.getvalue()


def _entry(path: str, uid: int, gid: int) -> tarfile.TarInfo:
    clean = posixpath.normpath(path)
    if not path.startswith("/") or clean.strip("/") == "":
        raise InvalidArgument(f"{path!r} is not an absolute path inside the workspace")
    entry = tarfile.TarInfo(clean.strip("/"))
    entry.uid, entry.gid, entry.mtime = uid, gid, _MTIME
    return entry
