"""The environment of commands on this host. Pure.

From the manager's own environment only what :data:`KEPT` names is passed on, and what the option ``pass_env`` adds: credentials that
happen to be exported where Nexus runs are nobody's business inside a workspace. On top come, each winning over what is before it:
the ports, the workspace's environment, the command's own, and what names the workspace.

There is no address translation on one host, so a program has to listen on the port it was given: ``NEXUS_WORKSPACE_PORT_<NAME>`` for
each mapping (``NEXUS_WORKSPACE_PORT_WEB``), and ``PORT`` for the one called ``web``; on which address, ``NEXUS_WORKSPACE_HOST_WEB`` and
``HOST`` say: loopback unless the port's visibility is wider. The prefix ``NEXUS_WORKSPACE`` is reserved.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import PurePosixPath
from typing import Final

from pydantic import JsonValue

from nexus.errors import InvalidArgument
from nexus.models.execution import Pty
from nexus.models.ports import PortMapping
from nexus.providers.local.record import Description

KEPT: Final = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR"),
        *("LANG", "LANGUAGE", "TZ", "TERM", "COLORTERM"),
        *("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"),
        *("XDG_CONFIG_DIRS", "XDG_DATA_DIRS"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR"),
    }
)
"""Variables of the manager that commands get too; every ``LC_…`` belongs to them."""

MARK: Final = "NEXUS_WORKSPACE_ID"
"""The variable that all processes of a workspace carry, by which they are found when their keeper was killed."""

_FALLBACK: Final = {"PATH": "/usr/local/bin:/usr/bin:/bin"}


def mark(workspace: str) -> bytes:
    """Return the mark of one workspace as ``/proc/<pid>/environ`` shows it."""
    return f"{MARK}={workspace}".encode()


def passed_names(options: Mapping[str, JsonValue]) -> frozenset[str]:
    """Return the variables that the option ``pass_env`` adds.

    Raises:
        InvalidArgument: When it is not a list of names.
    """
    names = options.get("pass_env", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InvalidArgument("the local backend's option pass_env has to be a list of variable names")
    return frozenset(str(name) for name in names)


def base(own: Mapping[str, str], passed: Collection[str] = ()) -> dict[str, str]:
    """Return what is passed on of the manager's own environment."""
    kept = {name: value for name, value in own.items() if name in KEPT or name in passed or name.startswith("LC_")}
    return {**_FALLBACK, **kept}


def ports(mappings: Iterable[PortMapping]) -> dict[str, str]:
    """Return the variables that tell programs where to listen."""
    found = {}
    for mapping in mappings:
        name = re.sub(r"[^A-Z0-9]+", "_", mapping.name.upper())
        found[f"NEXUS_WORKSPACE_PORT_{name}"] = str(mapping.host_port)
        found[f"NEXUS_WORKSPACE_HOST_{name}"] = mapping.bind_address
        if mapping.name == "web":
            found["PORT"] = str(mapping.host_port)
            found["HOST"] = mapping.bind_address
    return found


def command(
    inherited: Mapping[str, str], description: Description, own: Mapping[str, str], pty: Pty | None = None
) -> dict[str, str]:
    """Return the whole environment of one command.

    Args:
        inherited: What :func:`base` returned.
        description: The workspace.
        own: The command's own variables.
        pty: Its terminal.
    """
    terminal = {} if pty is None else {"TERM": pty.term}
    names = {MARK: description.id, "NEXUS_WORKSPACE_NAME": description.name}
    return {**inherited, **terminal, **ports(description.ports), **description.env, **own, **names}


def folder(description: Description, cwd: str | None) -> str:
    """Return where a command starts.

    The root is ``workdir`` when that is inside the worktree, else the worktree. A path below one of the workspace's links (where a
    container would see the tree) means the same place here; other absolute paths are the host's own.
    """
    worktree = PurePosixPath(description.worktree)
    root = PurePosixPath(_unlinked(description, description.workdir))
    if not root.is_relative_to(worktree):
        root = worktree
    return str(root) if cwd is None else str(root / _unlinked(description, cwd))


def _unlinked(description: Description, path: str) -> str:
    for link, target in description.links.items():
        if PurePosixPath(path).is_relative_to(link):
            return str(PurePosixPath(target) / PurePosixPath(path).relative_to(link))
    return path
