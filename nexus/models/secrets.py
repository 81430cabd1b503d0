"""References to secrets: where a value is, never what it is."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal, TypeAlias

from nexus.models.base import Model

SecretKind: TypeAlias = Literal["env", "keychain", "file", "command", "store"]
"""Where values come from: a variable, the system's keychain, a file, a command's output, the encrypted store."""
Delivery: TypeAlias = Literal["env", "file"]
"""How programs inside get it: as a variable, or as a file in memory."""


class SecretReference(Model):
    """A secret as the configuration names it."""

    name: str
    """The variable, or the file, that programs inside find it under."""
    source: SecretKind
    key: str = ""
    """``env``: the variable; ``keychain``: the service; ``store``: the entry."""
    account: str | None = None
    """``keychain``: whose entry."""
    path: Path | None = None
    """``file``: which one, absolute."""
    inside: Path | None = None
    """The folder that the file must really be in; ``None``: anywhere."""
    command: tuple[str, ...] = ()
    """``command``: program and arguments."""
    delivery: Delivery = "env"
    required: bool | None = None
    """``True``: the configuration is wrong without it. ``False``: left out when there is none. ``None``: an error when it is needed."""
    trusted: bool = False
    """Whether the user said so, not a project's file."""
    place: str = ""
    """Where that was written: ``file:line:column``."""

    @property
    def permission(self) -> str:
        """What a user allows a project to read, as ``secrets.allow`` spells it: ``NAME``, ``keychain:SERVICE``, ``store:ENTRY``."""
        return self.key if self.source == "env" else f"{self.source}:{self.key}"


class EnvFile(Model):
    """A file of variables."""

    path: Path
    """Absolute."""
    inside: Path | None = None
    """The folder that it must really be in; ``None``: anywhere."""
    trusted: bool = False
    """Whether the user named it, not a project's file."""
    place: str = ""
    """Where that was written."""


class StoredSecret(Model):
    """An entry of the encrypted store, as lists show it."""

    name: str
    changed: datetime
