"""What a workspace is given of the user's SSH, as a value: paths of this host, what is mounted for them, which variables point there."""

from __future__ import annotations

import shlex
import stat
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from pydantic import JsonValue

from nexus.config import SshAccess
from nexus.models.base import Model
from nexus.models.mounts import VolumeMount
from nexus.models.workspace import WorkspaceRecord

INSIDE: Final = "/run/nexus/ssh"
"""Folder inside that everything of SSH is mounted in."""
AGENT: Final = "SSH_AUTH_SOCK"
COMMAND: Final = "GIT_SSH_COMMAND"
CONFIG: Final = "ssh"
"""Where a record's settings keep the grant."""
_KNOWN_HOSTS: Final = Path(".ssh/known_hosts")


class SshGrant(Model):
    """What a workspace was given at its last start: paths on this host, never content."""

    fixed: SshAccess | None = None
    """What was asked for this workspace alone, in place of the configuration."""
    mounted: bool = True
    """Whether it runs where paths of this host do not exist, so that they are mounted."""
    agent: str | None = None
    """The agent's socket."""
    known_hosts: str | None = None
    keys: tuple[str, ...] = ()
    unknown: bool = False
    """Whether nobody knows what it was given: its record was lost."""

    def mounts(self) -> tuple[VolumeMount, ...]:
        """Return what has to be mounted, read-only."""
        if not self.mounted:
            return ()
        pairs = [(self.agent, "agent"), (self.known_hosts, "known_hosts")]
        pairs += [(key, _key_name(number, key)) for number, key in enumerate(self.keys)]
        found = tuple(
            VolumeMount(source=source, target=f"{INSIDE}/{name}", kind="bind", read_only=True)
            for source, name in pairs
            if source is not None
        )
        # In memory: else the engine makes the places to mount them at in the container's own layer, where their names would stay.
        return (VolumeMount(source="", target=INSIDE, kind="tmpfs"), *found) if found else ()

    def environment(self) -> dict[str, str]:
        """Return the variables of each command."""
        if self.agent is None and not self.keys:
            return {}
        agent, known, keys = self.agent, self.known_hosts, list(self.keys)
        if self.mounted:
            agent = agent and f"{INSIDE}/agent"
            known = known and f"{INSIDE}/known_hosts"
            keys = [f"{INSIDE}/{_key_name(number, key)}" for number, key in enumerate(keys)]
        words = ["ssh"]
        if known is not None and self.mounted:
            words += ["-o", f"UserKnownHostsFile={known}"]
        for key in keys:
            words += ["-o", "IdentitiesOnly=yes", "-i", key]
        found = {} if agent is None else {AGENT: agent}
        return found if words == ["ssh"] else {**found, COMMAND: shlex.join(words)}


def _key_name(number: int, key: str) -> str:
    return f"key-{number}-{PurePosixPath(key).name}"


def grant_of(record: WorkspaceRecord) -> SshGrant:
    """Return what a workspace was given at its last start."""
    stored = record.config.get(CONFIG)
    return SshGrant.model_validate(stored) if isinstance(stored, dict) else SshGrant()


def unknown_grant() -> dict[str, JsonValue]:
    """Return the settings of a record that was made anew: nobody knows what its place was given, so the next start sets it right."""
    return {CONFIG: SshGrant(unknown=True).model_dump(mode="json")}


def ssh_mounts(record: WorkspaceRecord) -> tuple[VolumeMount, ...]:
    """Return what is mounted into a workspace for SSH."""
    return grant_of(record).mounts()


def ssh_environment(record: WorkspaceRecord) -> dict[str, str]:
    """Return the variables by which programs inside find the agent or the keys; what the workspace's own say goes before."""
    return {name: value for name, value in grant_of(record).environment().items() if name not in record.env_vars}


def look(
    access: SshAccess, environ: Mapping[str, str], home: Path, *, mounted: bool, fixed: SshAccess | None = None
) -> tuple[SshGrant, list[str]]:
    """Return what there is to give, blocking, and what is configured and not there, in words."""
    missing: list[str] = []
    agent: str | None = None
    keys: list[str] = []
    if access.mode == "agent":
        named = environ.get(AGENT, "")
        agent = _real(Path(named), stat.S_ISSOCK) if named else None
        if agent is None:
            why = f"there is no socket at {named}" if named else f"{AGENT} is not set"
            missing.append(f"no SSH agent for the workspace: {why}; it is looked for again at the next start")
    elif access.mode == "keys":
        for path in access.keys:
            key = _real(path, stat.S_ISREG)
            if key is None:
                missing.append(f"no SSH key at {path}")
            else:
                keys.append(key)
    known = _real(home / _KNOWN_HOSTS, stat.S_ISREG) if agent or keys else None
    return SshGrant(fixed=fixed, mounted=mounted, agent=agent, known_hosts=known, keys=tuple(keys)), missing


def _real(path: Path, kind: Callable[[int], bool]) -> str | None:
    """Return where a path really leads, if that is what it should be. The user's own links are the user's affair."""
    try:
        found = path.resolve(strict=True)
        return str(found) if kind(found.stat().st_mode) else None
    except (OSError, RuntimeError):
        return None
