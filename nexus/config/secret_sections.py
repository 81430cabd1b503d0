"""The sections that name secrets and files of variables, as people write them: references, never values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from nexus.config.ssh import Ssh
from nexus.config.values import Text, VariableName
from nexus.models.described import Described

_COMPANION: Final = {"keychain": "service", "env": "var", "file": "path", "command": "command", "store": None}
_READS: Final = {
    "keychain": {"service", "account"},
    "env": {"var"},
    "file": {"path"},
    "command": {"command"},
    "store": {"entry"},
}


class SecretSource(Described):
    """Where a secret comes from. Never the secret itself."""

    source: Literal["keychain", "env", "file", "command", "store"]
    """keychain, env, file, command or store."""
    service: Text | None = None
    """Service of the keychain's entry."""
    account: Text | None = None
    """Account of the keychain's entry; when absent the secret's name, then whichever there is."""
    var: VariableName | None = None
    """Environment variable."""
    path: Text | None = None
    """File; relative to the file that names it, for a project to its root."""
    command: Text | Annotated[tuple[Text, ...], Field(min_length=1)] | None = None
    """Command that prints it: a list is run as it is, a text by `/bin/sh`. The user's own file alone may name one."""
    entry: Text | None = None
    """Entry of the encrypted store; the secret's name when absent."""
    as_: Literal["env", "file"] | None = Field(default=None, alias="as")
    """env: a variable of every command; file: a file in memory, `/run/secrets/<name>`, with its path in `<name>_FILE`."""
    required: bool | None = None
    """true: the configuration is wrong while it has no value; false: left out then; absent: a warning, and an error when it is needed."""

    @model_validator(mode="after")
    def _complete(self) -> SecretSource:
        needed = _COMPANION[self.source]
        if needed is not None and getattr(self, needed) is None:
            msg = f"a secret with 'source: {self.source}' needs {needed!r}"
            raise ValueError(msg)
        for source, names in _READS.items():
            for name in sorted(names):
                if source != self.source and getattr(self, name) is not None:
                    msg = f"{name!r} says nothing to a secret with 'source: {self.source}'"
                    raise ValueError(msg)
        return self


NamedSecrets = Mapping[VariableName, SecretSource | None]
EnvFiles = tuple[Text, ...]
Permission = Annotated[
    str,
    Field(pattern=r"^([A-Za-z_][A-Za-z0-9_]{0,254}|keychain:[^\s].{0,200}|store:[A-Za-z0-9_][A-Za-z0-9_.\-]{0,127})$"),
]
"""What a project may read of its user's: a variable's name, ``keychain:SERVICE`` or ``store:ENTRY``."""


class OwnSecrets(Described):
    """A user's secrets, by reference."""

    env_files: EnvFiles | None = None
    """Files of variables that every workspace gets; relative ones beside this file. The lists of a user are added up."""
    named: NamedSecrets | None = None
    """Secrets by the name of their variable."""
    allow: tuple[Permission, ...] | None = None
    """What a project's own file may refer to: `NAME` of a variable, `keychain:SERVICE`, `store:ENTRY`. Better for one project alone."""


class Secrets(OwnSecrets):
    """A user's secrets, by reference."""

    ssh: Ssh | None = None
    """How programs in workspaces log in elsewhere by SSH."""
