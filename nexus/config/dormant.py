"""Sections that are read and checked, so that a mistake shows at once, but that nothing acts on yet.

:data:`DORMANT` names them; loading a file that uses one gives a warning that says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from nexus.config.layers import KeyPath
from nexus.config.sections import Env
from nexus.config.values import PortName, SinglePort, Text, VariableName
from nexus.models.base import Described

DORMANT: Final[tuple[KeyPath, ...]] = (
    ("daemon",),
    ("defaults", "idle_timeout"),
    ("preferences",),
    ("multi_user", "auth"),
    ("multi_user", "isolation"),
    ("multi_user", "workspace_root"),
    ("backends", "sprite"),
    ("backends", "kubernetes"),
    ("secrets",),
    ("services",),
    ("scripts",),
    ("hooks",),
)
"""Keys, as a file spells them, that are accepted but not acted on yet."""


class Tls(Described):
    """Certificate and key of the daemon."""

    cert: Text | None = None
    """Certificate file."""
    key: Text | None = None
    """Key file."""


class DaemonSection(Described):
    """The daemon."""

    port: SinglePort | None = None
    """Port of its WebSocket."""
    host: Text | None = None
    """Address it listens on."""
    tls: Tls | None = None
    """Certificate and key."""


class Auth(Described):
    """How users prove who they are."""

    method: Literal["unix", "ldap", "sso"] | None = None
    """unix, ldap or sso."""
    sudo_access: bool | None = None
    """Whether administration needs sudo."""


class Isolation(Described):
    """What users do not share."""

    workspaces: bool | None = None
    """Separate workspace folders."""
    networks: bool | None = None
    """Separate networks."""
    volumes: bool | None = None
    """Separate volumes."""


class MultiUser(Described):
    """A node that several users share. Only its own file sets this."""

    enabled: bool | None = None
    """Whether several users share the node; state then lives in /var/lib/nexus/state."""
    workspace_root: Text | None = None
    """Folder with a folder for each user's workspaces."""
    auth: Auth | None = None
    """How users prove who they are."""
    isolation: Isolation | None = None
    """What users do not share."""


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


class Service(Described):
    """A program that runs beside the workspace."""

    image: Text | None = None
    """Image of its container."""
    ports: tuple[Annotated[str, Field(pattern=r"^[0-9]{1,5}(:[0-9]{1,5})?(/(tcp|udp))?$")], ...] | None = None
    """Ports, `host:container` or `container`."""
    env: Env | None = None
    """Its environment."""
    volumes: tuple[Text, ...] | None = None
    """Volumes, `name:/path` or `./folder:/path`."""


Services = Mapping[PortName, Service | None]


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
