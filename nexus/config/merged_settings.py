"""From the merged layers to the settings: what stands in one place is read there, and what does not fit together is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

from pydantic import BaseModel, JsonValue, ValidationError

from nexus.config.daemon import daemon_values
from nexus.config.image_build import image_build
from nexus.config.layers import Branch, KeyPath, Layer, Place, child, join_key, placed, plain, value_at
from nexus.config.multi_user import private_folders, workspace_root
from nexus.config.problems import Problems, quoted
from nexus.config.scripts import configured
from nexus.config.secret_settings import secret_values
from nexus.config.sections import Backends, Port
from nexus.config.services import build_services, build_volumes
from nexus.config.settings import KnownWorkspace, Settings
from nexus.config.sources import expand_home
from nexus.config.ssh import ssh_access
from nexus.config.usual_files import home_folder
from nexus.models.ports import PortRequest

STATE_VARIABLE: Final = "NEXUS_STATE_DIR"
SHARED_STATE: Final = Path("/var/lib/nexus/state")
_REMOVABLE: Final = ("backend", "image", "remote_user", "idle_timeout", "stop_after", "stop_below", "keep_destroyed")
"""Settings of ``defaults`` that have no value where ``null`` removed them."""
_RETURNING: Final = (
    "switch",
    "precious",
    "git_identity",
    "isolation",
    "worktree_include",
    "worktree_include_max",
    "submodules",
    "lfs",
)
"""Settings of ``defaults`` that go back to what is usual there."""


def build_settings(
    merged: Branch,
    *,
    layers: Sequence[Layer],
    root: Path,
    env: Mapping[str, str],
    home: Path | None,
    problems: Problems,
) -> Settings | None:
    """Return the settings that the merged layers mean.

    Args:
        merged: The layers as one tree, without removed keys.
        layers: The layers, from low to high.
        root: The project's root.
        env: The environment, for the place of the state.
        home: The home folder, where there is one.
        problems: Gets what does not fit together; the result is ``None`` then.
    """
    before = len(problems)
    multi_user = value_at(merged, "multi_user", "enabled") is True
    values: dict[str, object] = {
        **_defaults(merged, root, home),
        "port_range": _range(merged, problems),
        "ports": _ports(merged, problems),
        "org_address": value_at(merged, "network", "org_address"),
        "services": build_services(merged, root=root, problems=problems),
        "volumes": build_volumes(merged, problems),
        "env": _map(merged, "env"),
        "hooks": configured(merged),
        "prebuild": {name: value for name, value in _map(merged, "prebuild").items() if value is not None},
        **secret_values(layers, root=root, home=home, problems=problems),
        "limits": _map(merged, "limits"),
        "backends": _options(merged),
        "workspace": {"name": root.name or "root", **_map(merged, "workspace")},
        "preferences": _map(merged, "preferences"),
        "ssh": ssh_access(merged, home, problems),
        "workspaces": _known(merged, home, problems),
        "multi_user": multi_user,
        "workspace_root": workspace_root(merged, home, problems),
        "private_folders": private_folders(merged),
        "daemon": daemon_values(merged, home, problems),
        "state_dir": _state_folder(env, home, problems, shared=multi_user),
        "project_root": root,
    }
    if values["backend"] is None:
        problems.add(merged.place, "'defaults.backend' has no value: null removed it, and every workspace needs one")
    return _validated(values, merged, problems) if len(problems) == before else None


def _validated(values: Mapping[str, object], merged: Branch, problems: Problems) -> Settings | None:
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            path = tuple(str(step) for step in detail["loc"])
            problems.add(placed(merged, path), f"{quoted(join_key(path))}: {detail['msg']}")
        return None


def _defaults(merged: Branch, root: Path, home: Path | None) -> dict[str, object]:
    """Return the fields that are about new workspaces."""
    said = {name: value_at(merged, "defaults", name) for name in (*_REMOVABLE, *_RETURNING)}
    return {
        **{name: value for name, value in said.items() if value is not None or name in _REMOVABLE},
        "dockerfile": _dockerfile(merged, root, home),
        "build": image_build(merged, root),
        "resources": _map(merged, "defaults", "resources"),
    }


def _map(merged: Branch, *path: str) -> dict[str, JsonValue]:
    node = child(merged, *path)
    value = plain(node) if node is not None else None
    return value if isinstance(value, dict) else {}


def _dockerfile(merged: Branch, root: Path, home: Path | None) -> Path | None:
    text = value_at(merged, "defaults", "dockerfile")
    return root / (expand_home(text, home) or text) if isinstance(text, str) else None


def _range(merged: Branch, problems: Problems) -> dict[str, JsonValue] | None:
    path: KeyPath = ("defaults", "port_range")
    found = _map(merged, *path)
    if not found:
        return None
    start, end = found.get("start"), found.get("end")
    place = placed(merged, (*path, "start"))
    if start is None or end is None:
        problems.add(place, "'defaults.port_range' needs both 'start' and 'end'")
    elif isinstance(start, int) and isinstance(end, int) and end < start:
        problems.add(place, f"'defaults.port_range' ends ({end}) before it starts ({start})")
    return found


def _ports(merged: Branch, problems: Problems) -> list[PortRequest]:
    requests: list[PortRequest] = []
    for name, value in _map(merged, "ports").items():
        port = Port.model_validate(value)
        inside = port.container if port.container is not None else port.host
        if inside is None:
            place = placed(merged, ("ports", name))
            problems.add(place, f"{quoted(join_key(('ports', name)))} needs 'container', the number inside")
            continue
        requests.append(
            PortRequest(
                name=name,
                container=inside,
                host=port.host,
                protocol=port.protocol or "tcp",
                visibility=port.visibility or "private",
            )
        )
    return requests


def _options(merged: Branch) -> dict[str, dict[str, JsonValue]]:
    backends = Backends.model_validate(_map(merged, "backends"))
    options: dict[str, dict[str, JsonValue]] = {}
    for name in (*Backends.model_fields, *(backends.model_extra or {})):
        section: object = getattr(backends, name)
        if isinstance(section, BaseModel):
            options[name] = {key: _json(value) for key, value in section if value is not None}
        elif isinstance(section, Mapping):
            options[name] = dict(section)
    return options


def _json(value: object) -> JsonValue:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, tuple):
        return [_json(item) for item in value]
    return value if isinstance(value, bool | int | float) else str(value)


def _known(merged: Branch, home: Path | None, problems: Problems) -> dict[str, KnownWorkspace]:
    known: dict[str, KnownWorkspace] = {}
    for name, value in _map(merged, "workspaces").items():
        text = value.get("path") if isinstance(value, dict) else None
        if not isinstance(text, str):
            continue
        path = expand_home(text, home)
        if path is None or not path.is_absolute():
            key = join_key(("workspaces", name, "path"))
            place = placed(merged, ("workspaces", name, "path"))
            problems.add(place, f"{quoted(key)} must be an absolute path, or begin with '~/'")
            continue
        known[name] = KnownWorkspace(path=path)
    return known


def _state_folder(env: Mapping[str, str], home: Path | None, problems: Problems, *, shared: bool) -> Path:
    named = env.get(STATE_VARIABLE, "")
    if named:
        path = expand_home(named, home)
        if path is not None and path.is_absolute():
            return path
        problems.add(Place(f"env {STATE_VARIABLE}"), "the folder of the state must be an absolute path")
    if shared:
        return SHARED_STATE
    data = env.get("XDG_DATA_HOME", "")
    if data.startswith("/"):  # the XDG specification says that a relative one is to be ignored
        return Path(data) / "nexus"
    home = home or home_folder(None) or Path("/")
    return home / ".local" / "share" / "nexus"
