"""Records, and what is made from them: the user's view, the provider's specification. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from pydantic import JsonValue

from nexus.config import ImageBuild, Settings
from nexus.git import GitIdentity, git_environment
from nexus.models.ids import NodeId, new_workspace_id
from nexus.models.instances import (
    LABEL_NAME,
    LABEL_NODE,
    LABEL_OF_USER,
    LABEL_REPOSITORY,
    LABEL_WORKSPACE,
    InstanceRef,
    InstanceSpec,
    InstanceState,
    InstanceStatus,
)
from nexus.models.mounts import VolumeMount
from nexus.models.ports import PortMapping
from nexus.models.requests import CreateRequest
from nexus.models.workspace import DESCRIPTION, Repository, WorkspaceInfo, WorkspaceRecord, WorkspaceStatus
from nexus.workspace.lifecycle import observed
from nexus.workspace.services_plan import as_wanted, degraded, resolve_mounts, resolve_services

WORKSPACE_LINK = "/workspace"
"""Where the tree is found inside a container, besides its own path on the host."""

OWN_SERVICES = "own_services"
"""Key of a record's ``config``: its services were given at its creation."""

_REFERENCE = "env:"
_GIT = "git"
_ASKED_USER = "remote_user"
_FOUND_USER = "remote_user_found"
_OURS = frozenset({"stop_grace"})
_ASLEEP = frozenset({WorkspaceStatus.PAUSED, WorkspaceStatus.STOPPED})


def draft(
    request: CreateRequest,
    settings: Settings,
    repository: Repository,
    *,
    branch: str,
    base_commit: str,
    worktree: Path,
    identity: GitIdentity | None = None,
    chosen: Mapping[str, JsonValue] | None = None,
) -> WorkspaceRecord:
    """Return the record that a creation starts from.

    Args:
        request: What is asked for.
        settings: What is configured.
        repository: The repository.
        branch: The workspace's branch.
        base_commit: Where it starts.
        worktree: The tree's folder.
        identity: Whom git inside commits for; ``None`` where programs inside see the host's own git configuration.
        chosen: What was asked for at this creation alone and outlives it.
    """
    now, identifier = datetime.now(UTC), new_workspace_id()
    project = settings.workspace
    return WorkspaceRecord(
        id=identifier,
        name=request.name,
        display_name=request.display_name or project.display_name,
        description=project.description,
        status=WorkspaceStatus.PENDING,
        backend=settings.backend,
        backend_config=provider_options(settings, settings.backend),
        repository=repository,
        branch=branch,
        base_commit=base_commit,
        worktree_path=worktree,
        isolation=settings.isolation,
        resources=settings.resources,
        image=None if settings.backend == "local" else settings.image,
        env_vars=dict(settings.env),
        declared_volumes=resolve_mounts(settings.volumes, worktree=worktree, identifier=identifier),
        services=resolve_services(settings.services, worktree=worktree, identifier=identifier),
        created_at=now,
        updated_at=now,
        last_active=now,
        expires_at=now + request.ttl if request.ttl is not None else None,
        config={**settings_of(settings, identity, chosen), **_own_services(request)},
        labels=dict(request.labels),
    )


def _own_services(request: CreateRequest) -> dict[str, JsonValue]:
    """Note that a workspace was given services of its own, which no later change of a file may replace."""
    return {OWN_SERVICES: True} if any(key.partition(".")[0] == "services" for key in request.settings) else {}


def provider_options(settings: Settings, backend: str) -> dict[str, JsonValue]:
    """Return a backend's settings, without those that are read here and not by the provider."""
    return {key: value for key, value in settings.backends.get(backend, {}).items() if key not in _OURS}


def settings_of(
    settings: Settings, identity: GitIdentity | None = None, chosen: Mapping[str, JsonValue] | None = None
) -> dict[str, JsonValue]:
    """Return the settings that a record keeps because later steps depend on them."""
    return {
        **(chosen or {}),
        "dockerfile": str(settings.dockerfile) if settings.dockerfile else None,
        **({"build": settings.build.model_dump(mode="json")} if settings.dockerfile and settings.build else {}),
        **({_ASKED_USER: settings.remote_user} if settings.remote_user else {}),
        **({} if identity is None else {_GIT: identity.model_dump(mode="json")}),
    }


def with_ports(record: WorkspaceRecord, mappings: tuple[PortMapping, ...]) -> WorkspaceRecord:
    """Return the record with these ports."""
    return record.model_copy(
        update={"port_mappings": mappings, "ports": {mapping.name: mapping.host_port for mapping in mappings}}
    )


def touched(
    record: WorkspaceRecord, status: WorkspaceStatus, message: str | None = None, **changes: object
) -> WorkspaceRecord:
    """Return the record in another status, as of now."""
    now = datetime.now(UTC)
    # Whoever changes its status has decided about it: only the idle watch says afterwards that it sleeps.
    update = {
        "status": status,
        "status_message": message,
        "updated_at": now,
        "asleep_since": None,
        "left_at": None,
        **changes,
    }
    if status is WorkspaceStatus.RUNNING:
        update["last_active"] = now
    return record.model_copy(update=update)


def reference(record: WorkspaceRecord) -> InstanceRef:
    """Return how the provider finds the record's instance."""
    return InstanceRef(id=record.id, name=record.name, handle=record.container_id)


def own_labels(record: WorkspaceRecord, node: NodeId) -> dict[str, str]:
    """Return the labels that everything made for this workspace carries."""
    return {
        LABEL_WORKSPACE: record.id,
        LABEL_NAME: record.name,
        LABEL_NODE: node,
        LABEL_REPOSITORY: str(record.repository.root),
        **{f"{LABEL_OF_USER}{key}": value for key, value in record.labels.items()},
    }


def users_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Return the user's own labels among those that something of ours carries."""
    return {key.removeprefix(LABEL_OF_USER): value for key, value in labels.items() if key.startswith(LABEL_OF_USER)}


def specification(record: WorkspaceRecord, node: NodeId, mounts: tuple[VolumeMount, ...]) -> InstanceSpec:
    """Return what the provider is asked to make. The same record always gives the same specification."""
    dockerfile, written = record.config.get("dockerfile"), record.config.get("build")
    build = ImageBuild.model_validate(written) if written else ImageBuild(context=record.repository.root)
    return InstanceSpec(
        id=record.id,
        name=record.name,
        node=node,
        worktree=record.worktree_path,
        workdir=str(record.worktree_path),
        image=record.image,
        dockerfile=Path(str(dockerfile)) if dockerfile else None,
        build_context=build.context if dockerfile else None,
        build_args=build.args,
        build_target=build.target,
        env={**plain_env(record.env_vars), **git_env(record), **workspace_env(record)},
        ports=record.port_mappings,
        resources=record.resources,
        remote_user=_text(record.config.get(_FOUND_USER)) or _text(record.config.get(_ASKED_USER)),
        mounts=(*mounts, *(each for each in record.declared_volumes if not _in_tree(record, each))),
        links={
            WORKSPACE_LINK: str(record.worktree_path),
            # The tree is there already. A link is followed inside, where it can lead to nothing that is not inside.
            **{each.target: each.source for each in record.declared_volumes if _in_tree(record, each)},
        },
        hosts=tuple(service.name for service in record.services),
        labels=own_labels(record, node),
        options=record.backend_config,
    )


def _text(value: JsonValue) -> str | None:
    return value if isinstance(value, str) else None


def with_user(record: WorkspaceRecord, name: str | None) -> WorkspaceRecord:
    """Return the record with the user of the image that its programs run as; without one, what the configuration asks for counts."""
    config = {key: value for key, value in record.config.items() if key != _FOUND_USER}
    return record.model_copy(update={"config": {**config, _FOUND_USER: name} if name else config})


def _in_tree(record: WorkspaceRecord, mount: VolumeMount) -> bool:
    return mount.kind == "bind" and Path(mount.source).is_relative_to(record.worktree_path)


def plain_env(env: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that are values. References are resolved for each command and stored nowhere."""
    return {key: value for key, value in env.items() if not value.startswith(_REFERENCE)}


def referenced_env(env: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that are references."""
    return {key: value for key, value in env.items() if value.startswith(_REFERENCE)}


def workspace_env(record: WorkspaceRecord) -> dict[str, str]:
    """Return what programs inside may want to know about where they are."""
    return {
        "NEXUS_WORKSPACE": record.name,
        "NEXUS_WORKSPACE_ID": record.id,
        "NEXUS_WORKSPACE_BRANCH": record.branch,
    }


def git_env(record: WorkspaceRecord) -> dict[str, str]:
    """Return what git inside has to be told: who commits, and that the tree may belong to another user there.

    Nothing where programs inside are the user's own processes: they see the user's git configuration itself.
    """
    stored = record.config.get(_GIT)
    if not isinstance(stored, dict):
        return {}
    tree = str(record.worktree_path)
    # Submodules are repositories of their own below the tree; git knows the trailing star since 2.46.
    safe = (tree, f"{tree}/*", str(record.repository.common_dir))
    return git_environment(GitIdentity.model_validate(stored), safe, over=plain_env(record.env_vars))


def view(
    record: WorkspaceRecord, seen: InstanceStatus, *, current: str | None, last_active: datetime | None = None
) -> WorkspaceInfo:
    """Return what users see: the record, joined with what the provider reports."""
    status, message, missing = observed(record.status, record.status_message, seen)
    services = as_wanted(record.services, seen.services)
    runs = status is WorkspaceStatus.RUNNING and seen.state is InstanceState.RUNNING
    amiss = [text for text in (record.degraded, degraded(services) if runs else None) if text]
    active = record.last_active if last_active is None else max(record.last_active, last_active)
    return WorkspaceInfo(
        id=record.id,
        name=record.name,
        display_name=record.display_name,
        status=status,
        status_message=message,
        degraded="; ".join(amiss) or None,
        hooks_due=record.hooks_due,
        current=record.name == current,
        missing=missing,
        backend=record.backend,
        repository=record.repository,
        branch=record.branch,
        worktree_path=record.worktree_path,
        isolation=record.isolation,
        resources=record.resources,
        ports=record.port_mappings,
        services=services,
        image=record.image,
        created_at=record.created_at,
        updated_at=record.updated_at,
        last_active_at=active,
        expires_at=record.expires_at,
        asleep_since=record.asleep_since if status in _ASLEEP else None,
        labels=record.labels,
        annotations={**({DESCRIPTION: record.description} if record.description else {}), **record.annotations},
    )
