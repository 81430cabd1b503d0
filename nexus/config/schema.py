"""What each of the three files may say, and what the merged result is made of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from pydantic import JsonValue, TypeAdapter

from nexus.config.daemon import DaemonSection
from nexus.config.multi_user import MultiUser
from nexus.config.network import NetworkSection
from nexus.config.prebuild_settings import PrebuildSection
from nexus.config.preferences import UserPreferences
from nexus.config.scripts import Hooks, Scripts
from nexus.config.secret_sections import EnvFiles, NamedSecrets, OwnSecrets, Secrets
from nexus.config.sections import (
    AnyProjectBackend,
    AnyResources,
    Backends,
    Defaults,
    EffectiveDefaults,
    Env,
    KnownProjects,
    NodeLimits,
    Ports,
    UserDefaults,
    Workspace,
)
from nexus.config.services import Services, Volumes
from nexus.config.values import EntryName
from nexus.models.described import Described

Level = Literal["node", "user", "project"]


class NodeFile(Described):
    """/etc/nexus/config.yaml: settings of a node, for all its users."""

    daemon: DaemonSection | None = None
    """The daemon."""
    limits: NodeLimits | None = None
    """Limits of the node."""
    network: NetworkSection | None = None
    """The node's network."""
    backends: Backends | None = None
    """Each backend's own settings."""
    multi_user: MultiUser | None = None
    """A node that several users share."""
    defaults: Defaults | None = None
    """What workspaces of this node get unless a user or project says otherwise."""


class Override(Described):
    """What a user says for one project alone. It ranks above the project's own file."""

    defaults: Defaults | None = None
    """What its workspaces get."""
    backend: AnyProjectBackend | None = None
    """Where its workspaces run."""
    resources: AnyResources | None = None
    """How much of the machine they may use."""
    ports: Ports | None = None
    """Ports they are reachable by."""
    env: Env | None = None
    """Their environment; needs an entry in `workspaces`, so that no other project can claim the name."""
    services: Services | None = None
    """Their services: more of them, or more of what the project says of one, such as a secret in its `env`; needs an entry in
    `workspaces` too."""
    scripts: Scripts | None = None
    """Scripts around their start."""
    hooks: Hooks | None = None
    """Commands at moments of their life."""
    prebuild: PrebuildSection | None = None
    """Images that hold what their scripts come to."""
    secrets: OwnSecrets | None = None
    """Their secrets, and what the project's file may refer to; needs an entry in `workspaces` too."""


class UserFile(Described):
    """~/.nexus/config.yaml: a user's own settings."""

    preferences: UserPreferences | None = None
    """Personal preferences."""
    defaults: UserDefaults | None = None
    """What this user's workspaces get unless a project says otherwise."""
    backends: Backends | None = None
    """Each backend's own settings."""
    workspaces: KnownProjects | None = None
    """The user's projects, by a name of the user's choice."""
    project_overrides: Mapping[EntryName, Override | None] | None = None
    """What the user says for single projects, by name."""
    secrets: Secrets | None = None
    """The user's secrets, by reference."""


class ProjectFile(Described):
    """<project>/.nexus/config.yaml: what a project says about its workspaces. It comes with a clone and is not trusted."""

    workspace: Workspace | None = None
    """What the project is called."""
    backend: AnyProjectBackend | None = None
    """Where its workspaces run."""
    ports: Ports | None = None
    """Ports that its workspaces are reachable by."""
    env: Env | None = None
    """Environment of its workspaces."""
    resources: AnyResources | None = None
    """How much of the machine they may use."""
    defaults: Defaults | None = None
    """What its workspaces get."""
    services: Services | None = None
    """Programs that run beside the workspace."""
    volumes: Volumes | None = None
    """What its own place mounts: named volumes, `name:/path`, and folders of its tree, `./folder:/path`."""
    scripts: Scripts | None = None
    """Scripts around the start."""
    hooks: Hooks | None = None
    """Commands at moments of a workspace's life."""
    prebuild: PrebuildSection | None = None
    """Images that hold what `pre-start` and `post-create` come to."""
    env_files: EnvFiles | None = None
    """Files of variables, relative to the project's root and inside it."""
    secrets: NamedSecrets | None = None
    """Secrets by the name of their variable."""


class Effective(Described):
    """Every key of the merged result. Flags and environment variables use these keys."""

    defaults: EffectiveDefaults | None = None
    """What workspaces get."""
    backends: Backends | None = None
    """Each backend's own settings."""
    limits: NodeLimits | None = None
    """Limits of the node."""
    network: NetworkSection | None = None
    """The node's network."""
    multi_user: MultiUser | None = None
    """A node that several users share."""
    daemon: DaemonSection | None = None
    """The daemon."""
    preferences: UserPreferences | None = None
    """Personal preferences."""
    workspaces: KnownProjects | None = None
    """The user's projects."""
    workspace: Workspace | None = None
    """What the project is called."""
    ports: Ports | None = None
    """Ports that workspaces are reachable by."""
    env: Env | None = None
    """Environment of workspaces."""
    services: Services | None = None
    """Programs that run beside the workspace."""
    volumes: Volumes | None = None
    """What its own place mounts: named volumes, `name:/path`, and folders of its tree, `./folder:/path`."""
    scripts: Scripts | None = None
    """Scripts around the start."""
    hooks: Hooks | None = None
    """Commands at moments of a workspace's life."""
    prebuild: PrebuildSection | None = None
    """Images that hold what `pre-start` and `post-create` come to."""
    env_files: EnvFiles | None = None
    """Files of variables of the project."""
    secrets: Secrets | None = None
    """Secrets, by reference."""


FILES: Final[Mapping[Level, type[NodeFile | UserFile | ProjectFile]]] = {
    "node": NodeFile,
    "user": UserFile,
    "project": ProjectFile,
}


def schema_file(level: Level) -> Path:
    """Return where the JSON Schema of one of the three files is installed, for editors that take a path.

    Args:
        level: Which file: ``node``, ``user`` or ``project``.
    """
    return Path(__file__).with_name("schemas") / f"{level}.json"


def schema_text(level: Level) -> str:
    """Return the text that :func:`schema_file` holds.

    Args:
        level: Which file: ``node``, ``user`` or ``project``.
    """
    return json.dumps(json_schema(level), indent=2, ensure_ascii=False) + "\n"


def json_schema(level: Level) -> dict[str, JsonValue]:
    """Return the JSON Schema (draft 2020-12) of one of the three files, for editors.

    Args:
        level: Which file: ``node``, ``user`` or ``project``.
    """
    schema = FILES[level].model_json_schema(mode="validation", by_alias=True)
    described = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": f"Nexus {level} file"}
    checked: dict[str, JsonValue] = TypeAdapter(dict[str, JsonValue]).validate_python(described)
    return checked
