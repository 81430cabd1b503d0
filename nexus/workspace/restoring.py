"""Bringing a destroyed workspace back: which of the things that were kept is meant, and what to create from it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from pydantic import JsonValue

from nexus.errors import NotFound, WorkspaceNotFound
from nexus.models.ids import parse_name
from nexus.models.requests import CreateRequest, RestoreRequest
from nexus.models.rescues import DestroyedWorkspace, Rescue, stamp
from nexus.workspace.context import Context


class RestorePoint(NamedTuple):
    """One thing that a workspace can be made from again."""

    ref: str
    time: datetime
    stamps: tuple[str, ...]
    """The times by which people may name it."""
    entry: DestroyedWorkspace | None


def points(
    name: str, entries: Sequence[DestroyedWorkspace], rescues: Sequence[Rescue], tips: Mapping[str, str]
) -> list[RestorePoint]:
    """Return what was kept of a workspace and is still there, the newest first."""
    there = {rescue.ref: rescue for rescue in rescues if rescue.name == name}
    found: list[RestorePoint] = []
    for entry in entries:
        if entry.name != name:
            continue
        ref = entry.rescued if entry.rescued in there else entry.ref
        if ref is None or (ref not in there and tips.get(ref) is None):
            continue
        there_as = (stamp(entry.destroyed_at), *((ref.rpartition("/")[2],) if ref in there else ()))
        found.append(RestorePoint(ref, entry.destroyed_at, there_as, entry))
    known = {point.ref for point in found}
    found += [
        RestorePoint(rescue.ref, rescue.time, (rescue.ref.rpartition("/")[2],), None)
        for rescue in there.values()
        if rescue.ref not in known
    ]
    # Rescues of one second stay in the order in which they came: what a clone held beside is after the workspace itself.
    return sorted(found, key=lambda point: point.time, reverse=True)


def choose(found: Sequence[RestorePoint], name: str, at: str | datetime | None) -> RestorePoint:
    """Return the point that is meant: the newest, or the newest whose time begins like ``at``.

    Raises:
        WorkspaceNotFound: When nothing of this workspace was kept.
        NotFound: When nothing was kept at that time.
    """
    if not found:
        raise WorkspaceNotFound(
            f"nothing of a workspace {name!r} was kept",
            hint="'boulder ws list --all' and 'boulder ws rescues' name what can be restored",
            details={"name": name},
        )
    if at is None:
        return found[0]
    wanted = stamp(at) if isinstance(at, datetime) else at
    plain = _plain(wanted)
    for point in found:
        if wanted == point.ref or wanted in point.stamps:
            return point
    for point in found:
        if plain and any(_plain(each).startswith(plain) for each in point.stamps):
            return point
    times = ", ".join(point.stamps[0] for point in found[:5])
    raise NotFound(
        f"nothing of the workspace {name!r} was kept at {wanted!r}",
        hint=f"there is: {times}",
        details={"name": name, "at": wanted},
    )


def _plain(text: str) -> str:
    return re.sub(r"[^0-9]", "", text)


async def find(context: Context, name: str, at: str | datetime | None) -> RestorePoint:
    """Return what to restore a workspace from.

    Raises:
        InvalidName: When ``name`` is no workspace name.
        WorkspaceNotFound, NotFound: As for :func:`choose`.
    """
    name = parse_name(name)
    entries, rescues = await context.destroyed.load_all(), await context.worktrees.rescues(name)
    return choose(points(name, entries, rescues, await context.worktrees.destroyed_tips()), name, at)


def request_for(point: RestorePoint, asked: RestoreRequest) -> CreateRequest:
    """Return the creation that a restore is."""
    entry, settings = point.entry, asked.settings
    kept: dict[str, JsonValue] = {}
    if entry is not None and not settings.keys() & {"backend", "defaults.backend"}:
        kept["backend"] = entry.backend
        if entry.image is not None and not settings.keys() & {"image", "defaults.image", "defaults.dockerfile"}:
            kept["image"] = entry.image
    if entry is not None and not settings.keys() & {"isolation", "defaults.isolation"}:
        kept["isolation"] = entry.isolation
    return CreateRequest(
        name=parse_name(asked.as_name or asked.name),
        restore=point.ref,
        settings={**kept, **settings},
        labels={} if entry is None else entry.labels,
        display_name=None if entry is None else entry.display_name,
        start=asked.start,
    )
