"""Which prebuilt image a new workspace begins from."""

from __future__ import annotations

import logging

from nexus.abc import Provider, SupportsPrebuilds
from nexus.config import Settings
from nexus.errors import NexusError
from nexus.git import contents
from nexus.models.instances import InstanceSpec
from nexus.models.prebuilds import Prebuild
from nexus.models.requests import CreateRequest
from nexus.models.workspace import WorkspaceRecord
from nexus.workspace.context import Context
from nexus.workspace.prebuild_key import Recipe, key_of, recipe, scripts_of
from nexus.workspace.prebuild_result import ANNOTATION, CONFIG, is_being_made, labels
from nexus.workspace.specifying import specify

_log = logging.getLogger(__name__)


async def choose(
    context: Context, record: WorkspaceRecord, request: CreateRequest, settings: Settings, provider: Provider
) -> WorkspaceRecord:
    """Return the record of a creation with the prebuilt image that fits it, if there is one. A creation never fails for it.

    Args:
        context: The parts.
        record: The record, its image prepared.
        request: What is asked for. What is restored or forked, and a branch that was there, is not what an image was
            prebuilt from.
        settings: The settings of this creation.
        provider: The backend.
    """
    if not (isinstance(provider, SupportsPrebuilds) and settings.prebuild.enabled and scripts_of(settings)):
        return record
    if request.restore is not None or request.fork is not None or not record.branch_created or is_being_made(record):
        return record
    try:
        there = {one.key: one for one in await provider.prebuilds(labels(context))}
        if not there:
            return record
        made = recipe(settings, await contents(context.repository, record.base_commit or ""))
        image = await provider.image_identity(record.image or "") or record.image or ""
        key = key_of(
            made,
            settings,
            root=context.repository.root,
            image=image,
            user=specify(context, record).remote_user,
            options=record.backend_config,
        )
    except NexusError as error:
        _log.warning("no prebuilt image is used for workspace %s: %s", record.name, error)
        return record
    found = there.get(key)
    if found is None:
        return record
    use = {"key": key, "image": found.image, "skip": [*skipped(found, made)]}
    return record.model_copy(
        update={
            "config": {**record.config, CONFIG: use},
            "annotations": {**record.annotations, ANNOTATION: key},
        }
    )


def skipped(prebuild: Prebuild, made: Recipe) -> tuple[str, ...]:
    """Return the scripts that a prebuilt image stands in for. Pure.

    None when nobody said what they depend on and the tree is another one: they run, on what is there already.
    """
    same = prebuild.tree == made.tree or (prebuild.declared and made.declared)
    return tuple(name for name in prebuild.holds if name in made.names) if prebuild.portable and same else ()


def beginning(record: WorkspaceRecord, spec: InstanceSpec) -> InstanceSpec:
    """Return the specification of a place that is made for the first time: it begins from the prebuilt image that was chosen."""
    told = record.config.get(CONFIG)
    image = told.get("image") if isinstance(told, dict) else None
    return spec.model_copy(update={"image": image}) if isinstance(image, str) else spec


def is_chosen(record: WorkspaceRecord) -> bool:
    """Return whether a place is to begin from a prebuilt image."""
    return CONFIG in record.config


def without(record: WorkspaceRecord) -> WorkspaceRecord:
    """Return the record of one that begins from its own image after all."""
    return record.model_copy(
        update={
            "config": {name: value for name, value in record.config.items() if name != CONFIG},
            "annotations": {name: value for name, value in record.annotations.items() if name != ANNOTATION},
        }
    )
