"""``checkpoint.*`` and forks: handed on to the service."""

from __future__ import annotations

from typing import Final

from nexus.abc.checkpoints import CheckpointAccess
from nexus.daemon.call import Call, Routes
from nexus.models.checkpoints import Checkpoint, CheckpointDiff, CheckpointRestored
from nexus.wire.methods import checkpoints as methods
from nexus.wire.methods.table import OfWorkspace

ROUTES: Final = Routes()


async def _checkpoints(call: Call, ref: str) -> CheckpointAccess:
    return call.service.checkpoints(await call.info(ref))


@ROUTES.on(methods.CREATE)
async def create(call: Call, params: methods.Take) -> Checkpoint:
    """Take one."""
    access = await _checkpoints(call, params.workspace)
    return await access.create(params.name, processes=params.processes, progress=call.progress)


@ROUTES.on(methods.LIST)
async def list_all(call: Call, params: OfWorkspace) -> methods.CheckpointList:
    """Return them."""
    return methods.CheckpointList(items=await (await _checkpoints(call, params.workspace)).list())


@ROUTES.on(methods.RESTORE)
async def restore(call: Call, params: methods.OfCheckpoint) -> CheckpointRestored:
    """Go back to one."""
    access = await _checkpoints(call, params.workspace)
    return await access.restore(params.checkpoint, progress=call.progress)


@ROUTES.on(methods.DELETE)
async def delete(call: Call, params: methods.OfCheckpoint) -> Checkpoint:
    """Remove one."""
    return await (await _checkpoints(call, params.workspace)).delete(params.checkpoint)


@ROUTES.on(methods.DIFF)
async def diff(call: Call, params: methods.Diff) -> CheckpointDiff:
    """Compare."""
    return await (await _checkpoints(call, params.workspace)).diff(params.before, params.after)


@ROUTES.on(methods.FORK)
async def fork(call: Call, params: methods.Fork) -> methods.Forked:
    """Make workspaces; a token for some workspaces has to be for the source and for each new one."""
    spec = params.spec
    await call.info(spec.workspace)
    for name in spec.names:
        call.principal.require_workspace(name, name)
    return methods.Forked(items=await call.service.fork(spec, progress=call.progress))
