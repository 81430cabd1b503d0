"""The encrypted store's file: what it holds, and how it is read and replaced. Blocking; called on worker threads."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationError

from nexus.errors import SecretError, SecretStoreDamaged
from nexus.models.base import Model

MAX_BYTES: Final = 16 * 1024 * 1024
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class KeychainKey(Model):
    """The key is in the system's keychain."""

    kind: Literal["keychain"] = "keychain"


class PassphraseKey(Model):
    """The key is derived from a passphrase, by scrypt with these numbers."""

    kind: Literal["passphrase"] = "passphrase"
    salt: Annotated[str, Field(min_length=32, max_length=128, pattern="^[0-9a-f]+$")]
    """In hexadecimal."""
    n: Annotated[int, Field(ge=1 << 14, le=1 << 20)] = 1 << 15
    r: Annotated[int, Field(ge=1, le=16)] = 8
    p: Annotated[int, Field(ge=1, le=4)] = 1


class Entry(Model):
    """One secret."""

    sealed: str
    changed: datetime


class StoreContent(Model):
    """The whole file. Names stand in it as they are, values encrypted."""

    format: Literal["nexus-secrets"] = "nexus-secrets"
    version: Literal[1] = 1
    id: Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
    key: Annotated[KeychainKey | PassphraseKey, Field(discriminator="kind")]
    check: str
    """An empty text, encrypted: shows a wrong key."""
    entries: Mapping[str, Entry] = {}


def damaged(path: Path, why: str) -> SecretStoreDamaged:
    """Return the error for a file that cannot be used."""
    return SecretStoreDamaged(
        f"the encrypted store {path} cannot be used: {why}",
        hint="nothing was changed: put a good copy in its place, or move it away and set the secrets again",
        details={"path": str(path)},
    )


def read_store(path: Path) -> StoreContent | None:
    """Return what the file holds, ``None`` when there is none.

    Raises:
        SecretStoreDamaged: When it is no such file, or of a newer release.
        SecretError: When it cannot be read.
    """
    try:
        descriptor = os.open(path, _READ)
    except FileNotFoundError:
        return None
    except OSError as error:
        if path.is_symlink():
            raise damaged(path, "it is a symbolic link") from error
        raise SecretError(f"the encrypted store {path} cannot be read: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise damaged(path, "it is not an ordinary file")
        if status.st_uid != os.geteuid():
            raise damaged(path, f"it belongs to another user (uid {status.st_uid})")
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise damaged(path, "it is too large")
    try:
        return StoreContent.model_validate_json(data)
    except ValidationError as error:
        where = ".".join(str(step) for step in error.errors()[0]["loc"])
        newer = where == "version"
        why = "a newer release of Nexus wrote it" if newer else f"it is damaged{f' at {where!r}' if where else ''}"
        raise damaged(path, why) from None  # the cause would quote the file


def write_store(path: Path, content: StoreContent) -> None:
    """Replace the file in one step; a crash leaves the old one or the new one. Only its owner can read it.

    Raises:
        SecretError: When it cannot be written; the old one is still there.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    data = content.model_dump_json(indent=1).encode()
    try:
        descriptor = os.open(temporary, _WRITE, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise SecretError(
            f"the encrypted store {path} cannot be written: {error.strerror}",
            hint="what it held before is still there",
            details={"path": str(path)},
        ) from error
