"""Which images go that a backend built on the way to workspaces: those that none is made from, after a time."""

from __future__ import annotations

from datetime import datetime, timedelta

from nexus.abc import SupportsBuiltImages
from nexus.errors import NexusError
from nexus.models.built_images import BuiltImage
from nexus.models.rescues import PruneAction
from nexus.models.units import format_duration
from nexus.workspace.context import Context


def keeps(image: BuiltImage, *, now: datetime, keep_for: timedelta) -> str | None:
    """Return why an image stays; ``None`` when it may go. Pure."""
    if image.used:
        return "a workspace is made from it"
    if now - image.made_at < keep_for:
        return f"younger than {format_duration(keep_for)}"
    return None


async def prune(context: Context, *, dry_run: bool, now: datetime) -> tuple[PruneAction, ...]:
    """Remove built images that may go. They belong to no repository, so those of others go as well: who needs one builds it again.

    A backend that cannot be asked now is asked another time.
    """
    actions: list[PruneAction] = []
    for backend in context.backends.names():
        try:
            provider = await context.backends.provider(backend)
            if isinstance(provider, SupportsBuiltImages):
                for image in await provider.built_images():
                    reason = keeps(image, now=now, keep_for=context.settings.prebuild.keep_for)
                    actions.append(await _carry_out(provider, image, reason, dry_run=dry_run))
        except NexusError:
            continue
    return tuple(actions)


async def _carry_out(
    provider: SupportsBuiltImages, image: BuiltImage, kept: str | None, *, dry_run: bool
) -> PruneAction:
    action = PruneAction(
        kind="image",
        name=image.name,
        action="kept",
        reason=kept or "no workspace is made from it",
        time=image.made_at,
        size=image.size,
    )
    if kept is not None:
        return action
    if dry_run:
        return action.model_copy(update={"action": "would-remove"})
    if await provider.remove_built_image(image.name):
        return action.model_copy(update={"action": "removed"})
    return action.model_copy(update={"reason": "something has just been made from it"})
