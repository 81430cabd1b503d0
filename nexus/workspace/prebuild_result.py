"""What scripts leave behind in a tree: taken into the container's own files, and laid out again in another tree.

All of it happens inside, by the container's shell: whatever scripts have made of the tree, nothing on this host follows it. Only what
is new in the tree is taken, never a file of the commit. It can stand in for the scripts when nothing of it is missing and nothing in it
names the tree that it was made in.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import anyio

from nexus.abc import Instance
from nexus.handles.process import run
from nexus.models.execution import ExecResult, SpawnRequest
from nexus.models.hooks import HookName
from nexus.models.instances import LABEL_NODE, LABEL_REPOSITORY
from nexus.models.prebuilds import LABEL_PREBUILD
from nexus.models.workspace import WorkspaceRecord
from nexus.workspace.context import Context

NAME_PREFIX: Final = "prebuild-"
CONFIG: Final = "prebuild"
"""Key of a record's ``config``: the prebuilt image that its place began from, until its result is laid out."""
ANNOTATION: Final = "dev.nexus.prebuild"
"""Annotation of a workspace that began from a prebuilt image: its key."""

_FOLDER: Final = "/var/lib/nexus/prebuild"
_MOST: Final = 10_000
_LIMIT: Final = 1800.0
_NOT_THERE: Final = 3

_READY: Final = f"umask 022 && mkdir -p {_FOLDER} && chmod 1777 {_FOLDER}"
_TAKE: Final = f"""\
set -e
d={_FOLDER}
rm -rf "$d/tree" "$d/list"
mkdir "$d/tree"
: >"$d/list"
while IFS= read -r p; do
  case $p in */*) mkdir -p "$d/tree/${{p%/*}}" ;; esac
  cp -pPR "./$p" "$d/tree/$p"
  printf '%s\\n' "$p" >>"$d/list"
  rm -rf "./$p"
done
"""
# 0: something names it. 1: nothing does. Anything else: nobody knows.
_NAMES: Final = f"""\
d={_FOLDER}/tree
grep -rqF -e "$1" "$d" && exit 0 || [ $? = 1 ] || exit 2
find "$d" -type l >"$d.links" || exit 2
while IFS= read -r l; do
  case $(readlink "$l") in *"$1"*) exit 0 ;; esac
done <"$d.links"
rm -f "$d.links"
exit 1
"""
_LAY: Final = f"""\
d={_FOLDER}
[ -f "$d/list" ] || exit {_NOT_THERE}
while IFS= read -r p; do
  [ -e "./$p" ] || [ -L "./$p" ] || {{
    case $p in */*) mkdir -p "./${{p%/*}}" ;; esac
    rm -rf "./$p.nexus-new"
    cp -pPR "$d/tree/$p" "./$p.nexus-new" && mv "./$p.nexus-new" "./$p" || exit 4
  }}
done <"$d/list"
"""


def is_being_made(record: WorkspaceRecord) -> bool:
    """Return whether a workspace is one that a prebuilt image is made in."""
    return LABEL_PREBUILD in record.labels and record.name.startswith(NAME_PREFIX)


def labels(context: Context) -> dict[str, str]:
    """Return what this repository's prebuilt images carry."""
    return {LABEL_REPOSITORY: str(context.repository.root), LABEL_NODE: context.node}


def everything(tree: Path) -> frozenset[bytes]:
    """Return every path in a tree, relative to it; blocking. No link is followed, and nothing is read."""
    return frozenset(path for path, _ in _walk(tree, None))


def _walk(tree: Path, known: frozenset[bytes] | None) -> Iterator[tuple[bytes, bool]]:
    """Give every path and whether it is known; what is in a folder that is not known is left out."""
    top = os.fsencode(tree)
    for folder, folders, files, _ in os.fwalk(top, follow_symlinks=False):
        above = folder[len(top) :].lstrip(b"/")
        if not above:
            folders[:] = [name for name in folders if name != b".git"]
        deeper = []
        for name in (*folders, *(name for name in files if above or name != b".git")):
            path = above + b"/" + name if above else name
            is_known = known is None or path in known
            yield path, is_known
            if is_known:
                deeper.append(name)
        folders[:] = [name for name in folders if name in deeper]


def news(tree: Path, before: frozenset[bytes]) -> list[bytes]:
    """Return what is new in a tree, the topmost folders only; blocking."""
    return sorted(path for path, known in _walk(tree, before) if not known)


async def keep_result(context: Context, record: WorkspaceRecord, instance: Instance, before: frozenset[bytes]) -> str:
    """Take what scripts have made in the tree into the container's own files.

    Args:
        context: The parts.
        record: The workspace.
        instance: Its place; it runs.
        before: What was in the tree before.

    Returns:
        Why the result cannot stand in for the scripts in another tree; empty when it can.
    """
    report = await context.worktrees.report(record.name)
    changed = [*report.modified, *report.deleted, *report.staged]
    if report.unknown is not None:
        return f"what the scripts changed is not known: {report.unknown}"
    if changed:
        return f"the scripts change files of the commit: {changed[0]}{' and others' if len(changed) > 1 else ''}"
    found = await anyio.to_thread.run_sync(news, record.worktree_path, before)
    if len(found) > _MOST or any(b"\n" in path for path in found):
        return "the scripts make files in the tree that no list can hold"
    ready = await _shell(instance, _READY, user="0")
    taken = await _shell(instance, _TAKE, feed=b"".join(path + b"\n" for path in found)) if ready.ok else ready
    if not taken.ok:
        told = taken.stderr.strip().splitlines()
        return f"what the scripts made in the tree could not be kept: {told[-1] if told else taken.exit_code}"
    names = await _shell(instance, _NAMES, f"/{record.name}")
    if names.exit_code == 0:
        return "what the scripts made names the folder of the tree that it was made in"
    return "" if names.exit_code == 1 else "nobody can tell whether what the scripts made names its folder"


async def lay_out(record: WorkspaceRecord, instance: Instance) -> tuple[WorkspaceRecord, frozenset[HookName]]:
    """Lay the result of a prebuilt image out in the tree, in the first start of a workspace that began from one.

    What is there already stays. Cancelled, or killed: the next start goes on with it.

    Returns:
        The record, not yet written, and the scripts that need not run this time.
    """
    told = record.config.get(CONFIG)
    if not isinstance(told, dict):
        return record, frozenset()
    done = await _shell(instance, _LAY)
    skip = told.get("skip")
    wanted = skip if done.ok and isinstance(skip, list) else []
    held = frozenset(name for name in HookName if str(name) in wanted)
    rest = {name: value for name, value in record.config.items() if name != CONFIG}
    due = tuple(name for name in record.hooks_due if name not in {str(hook) for hook in held})
    return record.model_copy(update={"config": rest, "hooks_due": due}), held


async def _shell(
    instance: Instance, script: str, *words: str, user: str | None = None, feed: bytes | None = None
) -> ExecResult:
    request = SpawnRequest(
        argv=("/bin/sh", "-c", script, "nexus", *words),
        user=user,
        stdin=feed is not None,
        timeout=_LIMIT,
        keeps_awake=False,
    )
    return await run(await instance.spawn(request), request, input=feed)
