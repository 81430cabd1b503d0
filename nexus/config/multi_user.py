"""The ``multi_user`` section of the node's file: what holds on a machine that several users share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from nexus.config.layers import Branch, KeyPath, Leaf, child, join_key, key_place, placed
from nexus.config.problems import Problems
from nexus.config.sources import expand_home
from nexus.config.values import Text
from nexus.models.described import Described

_ROOT: Final[KeyPath] = ("multi_user", "workspace_root")
_SUDO: Final[KeyPath] = ("multi_user", "auth", "sudo_access")
_FOREIGN_METHODS: Final = frozenset({"ldap", "sso"})


def _method(value: object) -> object:
    if isinstance(value, str) and value in _FOREIGN_METHODS:
        msg = (
            f"cannot be {value!r}: this version asks no directory and no sign-on service; write 'unix' (accounts that come from "
            "LDAP through the system's own login are unix accounts)"
        )
        raise ValueError(f"must be 'unix'; it {msg}")
    if isinstance(value, str) and value != "unix":
        raise ValueError("must be 'unix'")
    return value


def _always(what: str) -> AfterValidator:
    def check(value: bool) -> bool:
        if not value:
            raise ValueError(f"must be true: {what}, and there is no way to share them")
        return value

    return AfterValidator(check)


AuthMethod = Annotated[str, BeforeValidator(_method), WithJsonSchema({"const": "unix", "type": "string"})]


class Auth(Described):
    """How users prove who they are."""

    method: AuthMethod | None = None
    """`unix`: a user is who the system says that runs the program, whatever the environment claims. There is no other yet."""
    sudo_access: bool | None = None
    """Whether administration needs sudo. No act of this version reaches what belongs to another user."""


class Isolation(Described):
    """What users of a shared node do not share."""

    workspaces: bool | None = None
    """Whether `.nexus/worktrees` and `.nexus/state` of each project, and each user's folder below `workspace_root`, are closed to
    other users (mode 0700); true when absent."""
    networks: Annotated[bool, _always("every workspace has a network of its own")] | None = None
    """Separate networks. Always so: each workspace has a network of its own."""
    volumes: Annotated[bool, _always("every workspace has volumes of its own")] | None = None
    """Separate volumes. Always so: each workspace has volumes of its own."""


class MultiUser(Described):
    """A node that several users share. Only its own file sets this."""

    enabled: bool | None = None
    """Whether several users share the node; its registry of names and ports then is in /var/lib/nexus/state."""
    workspace_root: Text | None = None
    """Folder with a folder for each user's work trees, `<user>/<repository>-<hash>/worktrees/<name>`, where absent
    below each project; for example `/var/lib/nexus/workspaces`."""
    auth: Auth | None = None
    """How users prove who they are."""
    isolation: Isolation | None = None
    """What users do not share."""


def private_folders(merged: Branch) -> bool:
    """Return whether the folders of workspaces are closed to other users of the machine."""
    shared = child(merged, "multi_user", "enabled")
    closed = child(merged, "multi_user", "isolation", "workspaces")
    return _is(shared, value=True) and not _is(closed, value=False)


def workspace_root(merged: Branch, home: Path | None, problems: Problems) -> Path | None:
    """Return the folder that the trees of this node's users are in; ``None`` when they are below each project.

    Args:
        merged: The layers as one tree.
        home: The home folder, for a path that begins with ``~``.
        problems: Gets what is wrong.
    """
    leaf = child(merged, *_ROOT)
    if not (isinstance(leaf, Leaf) and isinstance(leaf.value, str)):
        return None
    path = expand_home(leaf.value, home)
    if path is None or not path.is_absolute():
        problems.add(placed(merged, _ROOT), f"'{join_key(_ROOT)}' must be an absolute path, or begin with '~/'")
        return None
    return path if _is(child(merged, "multi_user", "enabled"), value=True) else None


def multi_user_notes(file: Branch) -> list[str]:
    """Return a line for each key that changes nothing as the file stands.

    Args:
        file: A node's file.
    """
    section = child(file, "multi_user")
    if not isinstance(section, Branch):
        return []
    lines: list[str] = []
    if not _is(child(section, "enabled"), value=True):
        without = [name for name in section.children if name != "enabled"]
        lines += [
            f"{key_place(section, name)}: '{join_key(('multi_user', name))}' changes nothing while 'multi_user.enabled' is not true"
            for name in without
        ]
    leaf = child(file, *_SUDO)
    if not (isinstance(leaf, Leaf) and leaf.value is True):
        return lines
    return [
        *lines,
        f"{leaf.place}: '{join_key(_SUDO)}' is accepted; no act of this version reaches what belongs to another user",
    ]


def _is(node: object, *, value: bool) -> bool:
    return isinstance(node, Leaf) and node.value is value
