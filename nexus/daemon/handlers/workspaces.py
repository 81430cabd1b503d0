"""``workspace.*``: handed on to the service."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from typing import Final

from nexus.daemon.call import Call, Routes
from nexus.daemon.feeds import Source
from nexus.daemon.handlers.session import owner_of
from nexus.errors import InvalidArgument
from nexus.models.activity import Hold
from nexus.models.instances import ResourceStats
from nexus.models.prebuilds import PrebuildOutcome
from nexus.models.requests import DestroyOutcome, SwitchOutcome, SyncOutcome
from nexus.models.workspace import ListEntry, WorkspaceInfo
from nexus.wire.methods import workspaces as methods
from nexus.wire.methods.table import KeyedOfWorkspace, Nothing, OfWorkspace

ROUTES: Final = Routes()


@ROUTES.on(methods.CREATE)
async def create(call: Call, params: methods.Create) -> WorkspaceInfo:
    """Create a workspace; a token for some workspaces may only make one that it is for."""
    call.principal.require_workspace(params.spec.name, params.spec.name)
    return await call.service.create_workspace(params.spec, progress=call.progress)


@ROUTES.on(methods.RESTORE)
async def restore(call: Call, params: methods.Restore) -> WorkspaceInfo:
    """Bring a workspace back."""
    for name in {params.spec.name, params.spec.as_name or params.spec.name}:
        call.principal.require_workspace(name, name)
    return await call.service.restore_workspace(params.spec, progress=call.progress)


@ROUTES.on(methods.GET)
async def get(call: Call, params: OfWorkspace) -> WorkspaceInfo:
    """Return one workspace."""
    return await call.service.get(params.workspace)


@ROUTES.on(methods.LIST)
async def list_all(call: Call, params: methods.List) -> methods.Listed:
    """Return a page of the workspaces that the token is for."""
    entries = [entry for entry in await call.service.list(params.where) if _reaches(call, entry)]
    begin = _begin(params.cursor)
    page = entries[begin : begin + params.limit]
    more = begin + len(page) < len(entries)
    return methods.Listed(items=tuple(page), next_cursor=str(begin + len(page)) if more else None)


def _begin(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 10):
        raise InvalidArgument("this is no cursor of a list", hint="use what the page before gave")
    return int(cursor)


def _reaches(call: Call, entry: ListEntry) -> bool:
    return call.reaches(entry.name, getattr(entry, "id", entry.name))


@ROUTES.on(methods.CURRENT)
async def current(call: Call, _params: Nothing) -> methods.Current:
    """Return the current workspace's name, to those whom it concerns."""
    name = await call.service.current()
    if name is not None and call.principal.workspaces != "*":
        info = await call.service.get(name)
        return methods.Current(name=name if call.reaches(info.name, info.id) else None)
    return methods.Current(name=name)


@ROUTES.on(methods.START)
async def start(call: Call, params: KeyedOfWorkspace) -> WorkspaceInfo:
    """Make it run."""
    return await call.service.start(params.workspace, progress=call.progress)


@ROUTES.on(methods.STOP)
async def stop(call: Call, params: methods.Stop) -> WorkspaceInfo:
    """End its processes."""
    grace = None if params.grace_ms is None else params.grace_ms / 1000
    return await call.service.stop(params.workspace, grace=grace, keep_processes=params.keep_processes)


@ROUTES.on(methods.PAUSE)
async def pause(call: Call, params: KeyedOfWorkspace) -> WorkspaceInfo:
    """Freeze its processes."""
    return await call.service.pause(params.workspace)


@ROUTES.on(methods.RESUME)
async def resume(call: Call, params: KeyedOfWorkspace) -> WorkspaceInfo:
    """Let frozen processes go on."""
    return await call.service.resume(params.workspace)


@ROUTES.on(methods.RETRY_HOOKS)
async def retry_hooks(call: Call, params: KeyedOfWorkspace) -> WorkspaceInfo:
    """Run the scripts again that failed."""
    return await call.service.retry_hooks(params.workspace, progress=call.progress)


@ROUTES.on(methods.SWITCH)
async def switch(call: Call, params: KeyedOfWorkspace) -> SwitchOutcome:
    """Make it current. The one before is paused for it, so the token has to be for that one as well."""
    if call.principal.workspaces != "*":
        previous = await call.service.current()
        if previous is not None:
            info = await call.service.get(previous)
            call.principal.require_workspace(info.name, info.id)
    return await call.service.switch(params.workspace)


@ROUTES.on(methods.DESTROY)
async def destroy(call: Call, params: methods.Destroy) -> DestroyOutcome:
    """Remove it."""
    return await call.service.destroy(params.workspace, force=params.force, keep_volumes=params.keep_volumes)


@ROUTES.on(methods.RESCUES)
async def rescues(call: Call, params: methods.Rescues) -> methods.RescueList:
    """Return what was kept of unsaved work."""
    return methods.RescueList(items=await call.service.rescues(params.workspace))


@ROUTES.on(methods.PRUNE)
async def prune(call: Call, params: methods.Prune) -> methods.Pruned:
    """Remove what was kept long ago."""
    age = None if params.older_than_ms is None else timedelta(milliseconds=params.older_than_ms)
    done = await call.service.prune(dry_run=params.dry_run, older_than=age, max_disk=params.max_disk)
    return methods.Pruned(items=done)


@ROUTES.on(methods.PREBUILD)
async def prebuild(call: Call, params: methods.PrebuildImage) -> PrebuildOutcome:
    """Keep what the first scripts come to."""
    return await call.service.prebuild(start_point=params.start_point, force=params.force, progress=call.progress)


@ROUTES.on(methods.SYNC)
async def sync(call: Call, params: KeyedOfWorkspace) -> SyncOutcome:
    """Fetch, and fast-forward."""
    return await call.service.sync(params.workspace)


@ROUTES.on(methods.GC)
async def gc(call: Call, params: methods.Gc) -> methods.Swept:
    """Finish or undo what crashes left."""
    return methods.Swept(items=await call.service.gc(dry_run=params.dry_run))


@ROUTES.on(methods.HOLD)
async def hold(call: Call, params: methods.TakeHold) -> Hold:
    """Keep it awake."""
    ttl = timedelta(milliseconds=params.ttl_ms)
    return await call.service.hold(params.workspace, params.hold, ttl=ttl, reason=params.reason)


@ROUTES.on(methods.RELEASE)
async def release(call: Call, params: methods.ReleaseHold) -> Nothing:
    """End a hold."""
    await call.service.release(params.workspace, params.hold)
    return Nothing()


@ROUTES.on(methods.HOLDS)
async def holds(call: Call, params: OfWorkspace) -> methods.Holds:
    """Return the holds."""
    return methods.Holds(items=await call.service.holds(params.workspace))


@ROUTES.on(methods.LOGS)
async def logs(call: Call, params: methods.Logs) -> methods.LogStream:
    """Send a log."""

    @asynccontextmanager
    async def opened() -> AsyncGenerator[AsyncIterator[bytes], None]:
        log = call.service.logs(params.workspace, service=params.service, follow=params.follow, tail=params.tail)
        async with aclosing(log) as chunks:
            yield chunks

    feed = Source(opened, call.hub.limits.scrollback, owner_of(call))
    outlet = call.connection.streams.attach(feed, {}, owner=True)
    call.hub.start(feed)
    return methods.LogStream(feed=feed.id, stream=outlet.streams["data"])


@ROUTES.on(methods.STATS)
async def stats(call: Call, params: OfWorkspace) -> ResourceStats:
    """Return what it uses."""
    return await call.service.stats(params.workspace)


@ROUTES.on(methods.PROBE)
async def probe(call: Call, _params: Nothing) -> methods.Probed:
    """Return what backends can do."""
    return methods.Probed(items=await call.service.probe())


@ROUTES.on(methods.DOCTOR)
async def doctor(call: Call, params: methods.Doctor) -> methods.Findings:
    """Look for what is wrong."""
    return methods.Findings(items=await call.service.doctor(fix=params.fix))
