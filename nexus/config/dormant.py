"""Sections that are read and checked, so that a mistake shows at once, but that nothing acts on yet.

:data:`DORMANT` names them; loading a file that uses one gives a warning that says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from pydantic import Field, model_validator

from nexus.config.layers import KeyPath
from nexus.config.values import Text, VariableName
from nexus.models.described import Described

DORMANT: Final[tuple[KeyPath, ...]] = (
    ("daemon",),
    ("defaults", "idle_timeout"),
    ("multi_user", "workspace_root"),
    ("backends", "sprite"),
    ("backends", "kubernetes"),
    ("secrets",),
    ("scripts",),
    ("hooks",),
)
"""Keys, as a file spells them, that are accepted but not acted on yet."""

BECAUSE: Final[Mapping[KeyPath, str]] = {
    ("daemon",): "is read and checked, but there is no daemon yet that would listen there",
    (
        "multi_user",
        "workspace_root",
    ): "is checked, but work trees stay below each project, in .nexus/worktrees, for now",
    ("backends", "sprite"): "is checked, but this version has no driver for that backend",
    ("backends", "kubernetes"): "is checked, but this version has no driver for that backend",
}
"""What is said of some of them; of the others that they are accepted but not acted on yet."""


_COMPANION: Final = {"keychain": "service", "env": "var", "file": "path", "command": "command"}


class SecretSource(Described):
    """Where a secret comes from. Never the secret itself."""

    source: Literal["keychain", "env", "file", "command"]
    """keychain, env, file or command."""
    service: Text | None = None
    """Entry of the keychain."""
    var: VariableName | None = None
    """Environment variable."""
    path: Text | None = None
    """File."""
    command: Text | None = None
    """Command that prints it; the user's own file alone may name one."""

    @model_validator(mode="after")
    def _complete(self) -> SecretSource:
        needed = _COMPANION[self.source]
        if getattr(self, needed) is None:
            msg = f"a secret with 'source: {self.source}' needs {needed!r}"
            raise ValueError(msg)
        return self


NamedSecrets = Mapping[VariableName, SecretSource | None]


class Ssh(Described):
    """SSH keys for workspaces."""

    mode: Literal["agent", "keys", "none"] | None = None
    """agent: forward the agent; keys: these files; none: nothing."""
    keys: tuple[Text, ...] | None = None
    """Key files."""


class Secrets(Described):
    """A user's secrets, by reference."""

    ssh: Ssh | None = None
    """SSH keys."""
    env_files: tuple[Text, ...] | None = None
    """Files of variables that every workspace gets."""
    named: NamedSecrets | None = None
    """Secrets by the name of their variable."""


class Scripts(Described):
    """Scripts around the start of a workspace."""

    pre_start: Text | None = Field(default=None, alias="pre-start")
    """Runs before services."""
    post_start: Text | None = Field(default=None, alias="post-start")
    """Runs when everything is up."""


class Hooks(Described):
    """Commands at moments of a workspace's life."""

    on_wake: Text | None = None
    """When it wakes."""
    on_sleep: Text | None = None
    """When it goes to sleep."""
