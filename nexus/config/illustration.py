"""An example of every key: what the reference page shows and what a test puts into a file to see that it is valid.

A key's example is, in this order: what :data:`EXAMPLES` has for it, what the text under its field gives (``for example `x```, ``such
as `x```), what fits any key of its kind.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from nexus.config.catalogue import Key
from nexus.config.layers import KeyPath

EXAMPLES: Final[Mapping[str, str]] = {
    "account": "me",
    "backend.docker.dockerfile": "./.nexus/Dockerfile",
    "backend.docker.build.context": "./app",
    "backend.docker.build.args.<name>": "bookworm",
    "backend.docker.build.target": "dev",
    "backend.docker.remote_user": "vscode",
    "backend.docker.image": "node:20-alpine",
    "backend.type": "docker",
    "backends.<name>": "{region: eu}",
    "backends.docker.network": "nexus",
    "backends.docker.socket": "/var/run/docker.sock",
    "backends.docker.storage_driver": "overlay2",
    "backends.docker.subnet_pool": "10.213.0.0/16",
    "backends.docker.user": "1000:1000",
    "backends.local.pass_env": "[HTTP_PROXY]",
    "backends.local.runtime_dir": "/run/user/1000/nexus",
    "backends.local.state_dir": "/home/me/.local/share/nexus/local",
    "backends.mock": "{}",
    "backends.sprite.api_endpoint": "https://api.sprites.dev",
    "build_timeout": "1h",
    "cpu.cores": "2",
    "cpu.limit": "4",
    "daemon.drain": "30s",
    "daemon.log_files": "5",
    "daemon.log_size": "20M",
    "daemon.port": "8080",
    "defaults.backend": "docker",
    "defaults.image": "python:3.12",
    "defaults.precious": "[.env, notes/**]",
    "defaults.resources": "large",
    "defaults.worktree_include": "[.env, node_modules/]",
    "entry": "npm",
    "env.<name>": "development",
    "env_files": "[.env]",
    "hooks.on_sleep": "echo sleeping",
    "hooks.on_wake": "npm run db:migrate",
    "keep_destroyed": "14d",
    "isolation.volumes": "true",
    "limits.default_resources": "medium",
    "limits.max_resources.cpu": "8",
    "limits.max_resources.memory": "16G",
    "limits.max_resources.storage": "200G",
    "max_workspaces_per_user": "10",
    "multi_user.auth.method": "unix",
    "named.<name>.command": "pass show npm",
    "named.<name>.path": "~/.secrets/npm",
    "named.<name>.service": "npm",
    "named.<name>.var": "GITHUB_TOKEN",
    "network.org_address": "10.0.0.5",
    "pids_limit": "4096",
    "prepared_shells": "4",
    "port_range.end": "36000",
    "port_range.start": "34000",
    "ports.<name>.container": "3000",
    "ports.<name>.host": "3000",
    "preferences.default_editor": "cursor",
    "project_overrides.<name>.resources": "large",
    "resources": "large",
    "scripts.initialize": "./tools/make-env.sh",
    "scripts.post-create": "npm ci",
    "scripts.post-start": "npm run dev &",
    "scripts.pre-start": "npm install",
    "scripts.pre-stop": "./save.sh",
    "secrets.<name>.command": "pass show npm",
    "secrets.<name>.path": "./.nexus/secrets/db-password.txt",
    "secrets.<name>.service": "npm",
    "secrets.<name>.var": "GITHUB_TOKEN",
    "secrets.allow": "[GITHUB_TOKEN]",
    "secrets.env_files": "[~/.env]",
    "services.<name>.build.args.<name>": "'20'",
    "services.<name>.build.context": ".",
    "services.<name>.build.dockerfile": "Dockerfile",
    "services.<name>.build.target": "dev",
    "services.<name>.command": "npm run worker",
    "services.<name>.entrypoint": '["/entrypoint.sh"]',
    "services.<name>.healthcheck.test": "[CMD, pg_isready]",
    "services.<name>.image": "postgres:16-alpine",
    "services.<name>.ports": '["5432:5432"]',
    "services.<name>.restart": "on-failure",
    "services.<name>.user": "'1000:1000'",
    "services.<name>.volumes": '["postgres-data:/var/lib/postgresql/data"]',
    "services.<name>.working_dir": "/app",
    "ssh.keys": "[~/.ssh/id_ed25519]",
    "stop_grace": "10s",
    "volumes": '["cache:/var/cache"]',
    "workspace.description": "Learning management system for schools",
    "workspace.display_name": "Hanlun Learning Platform",
    "workspace.name": "hanlun-lms",
    "workspaces.<name>.path": "~/projects/hanlun-lms",
}
"""Examples by the end of a key: the longest that fits counts."""

_NAMED: Final = re.compile(r"(?:for example|such as):? `([^`]+)`")
_BY_KIND: Final[Mapping[str, str]] = {
    "true \\| false": "true",
    "duration": "30m",
    "size": "8G",
    "whole number": "100",
    "number": "2",
}


def example_of(path: KeyPath, key: Key) -> str | None:
    """Return an example of a key's value as YAML; ``None`` for a map, whose keys have examples of their own.

    Args:
        path: The key, as its file spells it.
        key: What the section models say about it.

    Raises:
        ValueError: When there is none: a key without an example is not finished.
    """
    for start in range(len(path)):
        found = EXAMPLES.get(".".join(path[start:]))
        if found is not None:
            return found
    if named := _NAMED.search(key.doc):
        return named[1]
    if key.kind == "map":
        return None
    if key.kind in _BY_KIND:
        return _BY_KIND[key.kind]
    if " \\| " in key.kind:
        return key.kind.split(" \\| ")[0]
    msg = f"{'.'.join(path)} has no example; write one under its field (for example `x`), or add it to EXAMPLES"
    raise ValueError(msg)
