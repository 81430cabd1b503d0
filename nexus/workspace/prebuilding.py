"""Making prebuilt images: a workspace for nobody, whose scripts run without secrets, kept as an image and destroyed.

It is made by the ordinary creation, so a crash leaves what a crash of that leaves: a journal, or a workspace of this kind, which
whoever prebuilds or sweeps next removes. One prebuild at a time for each repository; nothing that a creation needs is held meanwhile
for longer than a creation holds it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

import anyio
from pydantic import JsonValue

from nexus.abc import ProgressCallback, SupportsPrebuilds
from nexus.errors import HookFailed, NexusError
from nexus.git import contents
from nexus.models.prebuilds import LABEL_PREBUILD, Prebuild, PrebuildOutcome
from nexus.models.requests import CreateRequest
from nexus.models.workspace import WorkspaceRecord
from nexus.state import lock
from nexus.workspace import creation_begin, destruction, running
from nexus.workspace.context import Context
from nexus.workspace.plan import Operation
from nexus.workspace.prebuild_key import Recipe, key_of, recipe
from nexus.workspace.prebuild_result import NAME_PREFIX, everything, is_being_made, keep_result, labels
from nexus.workspace.records import draft, reference
from nexus.workspace.recovery import holding
from nexus.workspace.specifying import specify

_log = logging.getLogger(__name__)

EVERY: Final = 600.0
"""Seconds between two looks at whether the prebuilt image still fits."""
_TTL: Final = timedelta(hours=6)
_TURN: Final = 3600.0
"""Seconds that one waits for another one's prebuild."""
_CLEANUP: Final = 120.0
_SETTINGS: Final[Mapping[str, JsonValue]] = {
    "scripts.initialize": None,
    "scripts.post-start": None,
    "scripts.pre-stop": None,
    "hooks.on_wake": None,
    "hooks.on_sleep": None,
    "services": None,
    "ports": None,
    "secrets.ssh.mode": "none",
}
"""What such a workspace has not: it only ever runs the scripts whose result is kept."""


async def prebuild(
    context: Context, *, start_point: str, force: bool, progress: ProgressCallback | None
) -> PrebuildOutcome:
    """Make the prebuilt image of a commit, unless it is there. See ``WorkspaceManager.prebuild``."""
    provider = await _provider(context)
    if provider is None:
        backend = context.settings.backend
        return PrebuildOutcome(
            action="nothing", reason=f"the {backend} backend starts from no image, so there is nothing to prebuild"
        )
    commit = await context.worktrees.resolve(start_point)
    made = recipe(context.settings, await contents(context.repository, commit))
    if not made.scripts:
        return PrebuildOutcome(
            action="nothing", reason="there is no pre-start or post-create whose result could be kept"
        )
    begun = time.monotonic()
    async with turn(context):
        await clear(context)
        key = await key_for(context, provider, made, progress=progress)
        there = None if force else await find(context, provider, key)
        if there is not None:
            return PrebuildOutcome(action="there", prebuild=there, inputs=tuple(made.inputs))
        kept, reason = await _make(context, provider, key, commit=commit, made=made, progress=progress)
    seconds = time.monotonic() - begun
    return PrebuildOutcome(action="made", prebuild=kept, reason=reason, inputs=tuple(made.inputs), seconds=seconds)


@asynccontextmanager
async def turn(context: Context, *, timeout: float = _TURN) -> AsyncGenerator[None, None]:
    """Hold that one prebuilds in this repository. Taken before any other lock."""
    path = context.home / "state" / "locks" / "prebuild.lock"
    async with lock(path, purpose="prebuilding", timeout=timeout):
        yield


async def clear(context: Context) -> list[str]:
    """Destroy what a killed prebuild left, and return its names. The caller has the turn, so nobody is at it."""
    records, _ = await context.records.all()
    gone = [record for record in records if is_being_made(record)]
    for record in gone:
        await _destroy(context, record)
    return [record.name for record in gone]


async def find(context: Context, provider: SupportsPrebuilds, key: str) -> Prebuild | None:
    """Return the prebuilt image of a key; ``None`` when there is none."""
    return next((one for one in await provider.prebuilds(labels(context)) if one.key == key), None)


async def key_for(
    context: Context, provider: SupportsPrebuilds, made: Recipe, *, progress: ProgressCallback | None = None
) -> str:
    """Return the key that a recipe has now. The image that it starts from is fetched or built where it is not there."""
    settings = context.settings
    record = draft(
        CreateRequest(name=f"{NAME_PREFIX}key"),
        settings,
        context.repository,
        branch=context.worktrees.branch(f"{NAME_PREFIX}key"),
        base_commit="",
        worktree=context.worktrees.path(f"{NAME_PREFIX}key"),
    )
    spec = specify(context, record).model_copy(update={"mounts": ()})
    opened = await context.backends.provider(settings.backend)
    prepared = await opened.prepare(spec, progress=progress)
    image = prepared.image or ""
    identity = await provider.image_identity(image) or image
    options = settings.backends.get(settings.backend, {})
    return key_of(
        made,
        settings,
        root=context.repository.root,
        image=identity,
        user=prepared.remote_user,
        options=options,
    )


async def current_key(context: Context, provider: SupportsPrebuilds) -> str | None:
    """Return the key that fits what the main checkout is at; ``None`` when nothing can be prebuilt of it."""
    commit = await context.worktrees.resolve("HEAD")
    made = recipe(context.settings, await contents(context.repository, commit))
    return await key_for(context, provider, made) if made.scripts else None


async def refresh(context: Context) -> PrebuildOutcome | None:
    """Make the prebuilt image anew where there is one and it does not fit any more; ``None`` when there was nothing to do."""
    provider = await _provider(context)
    if provider is None or not context.settings.prebuild.enabled:
        return None
    if not await provider.prebuilds(labels(context)):
        return None  # nobody has asked for one
    key = await current_key(context, provider)
    if key is None or await find(context, provider, key) is not None:
        return None
    return await prebuild(context, start_point="HEAD", force=False, progress=None)


async def keep_fresh(context: Context, *, every: float = EVERY) -> None:
    """Refresh now and then, until cancelled. Never while a creation is under way: that has the machine to itself."""
    while True:
        await context.clock.sleep(every)
        try:
            if any(entry.operation == Operation.CREATE for entry in await context.journal.unfinished()):
                continue
            outcome = await refresh(context)
        except NexusError as error:
            _log.warning("the prebuilt image could not be refreshed and is tried again: %s", error)
            continue
        if outcome is not None:
            _log.info("the prebuilt image was refreshed: %s", outcome.prebuild and outcome.prebuild.key)


async def _provider(context: Context) -> SupportsPrebuilds | None:
    provider = await context.backends.provider(context.settings.backend)
    return provider if isinstance(provider, SupportsPrebuilds) else None


async def _make(
    context: Context,
    provider: SupportsPrebuilds,
    key: str,
    *,
    commit: str,
    made: Recipe,
    progress: ProgressCallback | None,
) -> tuple[Prebuild, str]:
    """Run the scripts in a workspace for nobody, and keep what they came to. Whatever happens, that workspace is destroyed."""
    name = f"{NAME_PREFIX}{key[:8]}"
    request = _request(name, key, commit, made)
    async with holding(context, name, purpose=f"prebuilding {name}"):
        record = await (await creation_begin.begin(context, request, progress)).run(request)
        try:
            before = await anyio.to_thread.run_sync(everything, record.worktree_path)
            record = await running.start(context, record, progress)
            if record.degraded is not None:
                raise HookFailed(
                    f"nothing is prebuilt: {record.degraded}", hint="look at the log and correct the script"
                )
            instance = await context.backends.instance(record)
            reason = await keep_result(context, record, instance, before)
            if record.declared_volumes and not reason:
                reason = "the scripts may have filled a volume, which no image holds"
            record = await running.stop(context, record, grace=context.backends.stop_grace(record.backend))
            _tell(progress, f"keeping the image {key}")
            prebuilt = Prebuild(
                key=key,
                image="",
                made_at=record.created_at,
                size=0,
                holds=made.names,
                tree=made.tree,
                declared=made.declared,
                portable=not reason,
                labels=labels(context),
            )
            return await provider.keep_prebuild(reference(record), prebuilt), reason
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(_CLEANUP):
                await _destroy_held(context, name)


def _request(name: str, key: str, commit: str, made: Recipe) -> CreateRequest:
    """Return what is asked for: a workspace for nobody, in which only those scripts run whose result is kept."""
    without = {} if "post-create" in made.names else {"scripts.post-create": None}
    return CreateRequest.model_validate(
        {
            "name": name,
            "start_point": commit,
            "settings": {**_SETTINGS, **without},
            "labels": {LABEL_PREBUILD: key},
            "ttl": _TTL,
            "start": False,
        }
    )


def _tell(progress: ProgressCallback | None, message: str) -> None:
    if progress is not None:
        progress("prebuild", message)


async def _destroy(context: Context, record: WorkspaceRecord) -> None:
    async with holding(context, record.name, purpose=f"clearing {record.name}"):
        await _destroy_held(context, record.name)


async def _destroy_held(context: Context, name: str) -> None:
    """Destroy such a workspace, and what is remembered of it: there is no work in it. The caller holds its lock."""
    try:
        record = await context.records.load(name)
        await destruction.destroy(context, record, force=True)
        for entry in await context.destroyed.load_all():
            if entry.id == record.id:
                if entry.ref is not None and entry.tip is not None:
                    await context.worktrees.drop(entry.ref, expected=entry.tip)
                await context.destroyed.delete(entry)
    except NexusError as error:
        _log.warning("the workspace %s of a prebuild could not be destroyed and is next time: %s", name, error)
