"""``git.*``: handed on to the workspace's git."""

from __future__ import annotations

import base64
from typing import Final

from nexus.abc.git_access import GitAccess
from nexus.daemon.call import Call, Routes
from nexus.models.git import GitCommit, GitDiff, GitStatus
from nexus.models.requests import SyncOutcome
from nexus.wire.methods import git as methods
from nexus.wire.methods.table import KeyedOfWorkspace, OfWorkspace

ROUTES: Final = Routes()


async def _git(call: Call, ref: str) -> GitAccess:
    return call.service.git(await call.info(ref))


@ROUTES.on(methods.STATUS)
async def status(call: Call, params: OfWorkspace) -> GitStatus:
    """Return how tree, index and commit differ."""
    return await (await _git(call, params.workspace)).status()


@ROUTES.on(methods.DIFF)
async def diff(call: Call, params: methods.Diff) -> GitDiff:
    """Return what differs."""
    git = await _git(call, params.workspace)
    return await git.diff(params.old, params.new, staged=params.staged, paths=params.paths, context=params.context)


@ROUTES.on(methods.COMMIT)
async def commit(call: Call, params: methods.Commit) -> GitCommit:
    """Commit."""
    git = await _git(call, params.workspace)
    return await git.commit(params.message, paths=params.paths, author=params.author)


@ROUTES.on(methods.BRANCHES)
async def branches(call: Call, params: methods.Branches) -> methods.BranchList:
    """Return branches."""
    git = await _git(call, params.workspace)
    return methods.BranchList(items=await git.branches(remote=params.remote))


@ROUTES.on(methods.LOG)
async def log(call: Call, params: methods.Log) -> methods.Commits:
    """Return commits."""
    git = await _git(call, params.workspace)
    found = await git.log(params.ref, limit=params.limit, path=params.path, after=params.after)
    return methods.Commits(items=found)


@ROUTES.on(methods.SHOW)
async def show(call: Call, params: methods.Show) -> methods.Blob:
    """Return a file of a commit."""
    data = await (await _git(call, params.workspace)).show(params.path, ref=params.ref)
    return methods.Blob(data=base64.b64encode(data).decode())


@ROUTES.on(methods.SYNC)
async def sync(call: Call, params: KeyedOfWorkspace) -> SyncOutcome:
    """Fetch, and fast-forward."""
    return await (await _git(call, params.workspace)).sync()
