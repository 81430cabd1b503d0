"""What of a project's folder no image is built from: secrets would stay in its layers, and what Nexus keeps there changes all the time."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from nexus.config import Settings
from nexus.git import EXCLUDED
from nexus.models.services import ServiceSpec
from nexus.models.workspace import Repository

_SECRETS: Final = ".nexus/secrets"
"""Where projects put the files of their secrets; one that nothing names today was named by something once."""


def withheld(repository: Repository, settings: Settings) -> tuple[Path, ...]:
    """Return the files and folders, absolute. What is in the folder of a worktree's own is left alone. Pure."""
    ours = (repository.root / name for name in (*EXCLUDED, _SECRETS))
    named = (reference.path for reference in settings.secrets if reference.path is not None)
    return (*ours, *named, *(file.path for file in settings.env_files))


def withheld_from(service: ServiceSpec, paths: tuple[Path, ...]) -> ServiceSpec:
    """Return a service whose image is built without them. Pure."""
    if service.build is None:
        return service
    return service.model_copy(update={"build": service.build.model_copy(update={"withheld": paths})})
