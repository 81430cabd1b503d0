"""``secrets.ssh``: how programs inside a workspace log in elsewhere for the user. The user's own file alone says so."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, TypeAlias

from nexus.config.layers import Branch, child, join_key, placed, plain
from nexus.config.problems import Problems, quoted
from nexus.config.sources import expand_home
from nexus.config.values import Text
from nexus.models.base import Model
from nexus.models.described import Described

SshMode: TypeAlias = Literal["agent", "keys", "none"]

_KEY: Final = ("secrets", "ssh")


class Ssh(Described):
    """How programs in workspaces log in elsewhere by SSH."""

    mode: SshMode | None = None
    """agent: through your running SSH agent; keys: with these files, read-only inside; none, or absent: not at all."""
    keys: tuple[Text, ...] | None = None
    """Files of private keys, for `mode: keys`; `~` is the home folder. One that is not there is passed over and named."""


class SshAccess(Model):
    """What is configured, with whole paths."""

    mode: SshMode = "none"
    keys: tuple[Path, ...] = ()


def ssh_access(merged: Branch, home: Path | None, problems: Problems) -> SshAccess:
    """Return what the merged layers say.

    Args:
        merged: The layers as one tree.
        home: The home folder, where there is one.
        problems: Gets keys whose path is none.
    """
    node = child(merged, *_KEY)
    found = plain(node) if node is not None else None
    section = Ssh.model_validate(found) if isinstance(found, dict) else Ssh()
    keys: list[Path] = []
    for text in section.keys or ():
        path = expand_home(text, home)
        if path is None or not path.is_absolute():
            key = (*_KEY, "keys")
            problems.add(
                placed(merged, key), f"{quoted(join_key(key))}: {quoted(text)} must be absolute, or begin with '~/'"
            )
        else:
            keys.append(path)
    return SshAccess(mode=section.mode or "none", keys=tuple(keys))
