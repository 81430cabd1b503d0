"""Which scripts a workspace has, where each comes from, and which of them need their user's approval."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final, NamedTuple

from pydantic import JsonValue

from nexus.config import ConfigStack
from nexus.config.scripts import SECTIONS
from nexus.errors import InvalidArgument
from nexus.models.hooks import Hook, HookName
from nexus.models.requests import CreateRequest
from nexus.models.trust import TrustItem
from nexus.models.workspace import WorkspaceRecord
from nexus.workspace.context import Context
from nexus.workspace.trust import FOREIGN, isolates, require

KEPT: Final = "hooks"
"""Where a record's ``config`` keeps the scripts that were given for this workspace alone."""

_MOST: Final = 256 * 1024
"""Bytes of such scripts; they are in the record, and in each line of a creation's journal."""


class Planned(NamedTuple):
    """A script, and what its user would have to approve; nothing where they wrote it themselves."""

    hook: Hook
    item: TrustItem | None


def planned(stack: ConfigStack, record: WorkspaceRecord | None = None) -> tuple[Planned, ...]:
    """Return the scripts of a project, or of one of its workspaces.

    A record is a file in the project's folder, which a clone may bring along: what it says is foreign, too.

    Args:
        stack: The configuration.
        record: The workspace.
    """
    kept = _kept(record)
    whole = stack.with_flags(kept) if kept else stack
    return tuple(Planned(hook, _item(stack, hook)) for hook in whole.settings.hooks)


def remembered(record: WorkspaceRecord, request: CreateRequest, stack: ConfigStack) -> WorkspaceRecord:
    """Return the record with the scripts that were given for this workspace alone, and with what has to run once.

    Raises:
        InvalidArgument: When they are longer than a record can hold.
    """
    own = {key: value for key, value in request.settings.items() if key.partition(".")[0] in set(SECTIONS.values())}
    if len(json.dumps(own)) > _MOST:
        raise InvalidArgument(
            f"the scripts that are given for workspace {request.name!r} alone are longer than {_MOST // 1024} KiB",
            hint="keep them in a file of the tree and name that, or put them into .nexus/config.yaml",
        )
    due = (str(HookName.POST_CREATE),) if stack.settings.hook(HookName.POST_CREATE) else ()
    if not own and not due:
        return record
    config: dict[str, JsonValue] = {**record.config, **({KEPT: own} if own else {})}
    return record.model_copy(update={"config": config, "hooks_due": due})


async def admit(
    context: Context,
    record: WorkspaceRecord,
    names: Sequence[HookName] = tuple(HookName),
    *,
    new: bool = False,
    ask: bool = True,
) -> tuple[Hook, ...]:
    """Return the scripts of a workspace that may run at these moments, in order.

    Args:
        context: The parts.
        record: The workspace.
        names: The moments.
        new: Whether the workspace is being asked for now: what it alone is given comes from whoever asks, and is approved for
            later by that.
        ask: Whether its user may be asked for an approval that is missing.

    Raises:
        NotTrusted: When one would act on this host and is not approved.
    """
    plan = [entry for entry in planned(context.stack, record) if entry.hook.name in names]
    items = [entry.item for entry in plan if entry.item is not None]
    if items and await isolates(context, record.backend):
        # What runs inside harms nothing there; one of them runs here.
        items = [item for item in items if item.kind == HookName.INITIALIZE]
    if items:
        if new and _kept(record):
            theirs = {entry.item for entry in planned(context.stack) if entry.item is not None}
            await context.approvals.approve(context.repository.root, [item for item in items if item not in theirs])
        await require(context, items, command=f"boulder trust{'' if new else f' {record.name}'}", ask=ask)
    by_name = {entry.hook.name: entry.hook for entry in plan}
    return tuple(by_name[name] for name in names if name in by_name)


def _kept(record: WorkspaceRecord | None) -> dict[str, JsonValue]:
    own = record.config.get(KEPT) if record is not None else None
    return own if isinstance(own, dict) else {}


def _item(stack: ConfigStack, hook: Hook) -> TrustItem | None:
    key = f"{SECTIONS[hook.name]}.{hook.name}.run"
    told = stack.settings.hook(hook.name)
    if told is None or told.run != hook.run:
        return TrustItem(kind=hook.name, where="the workspace's own settings", content=hook.run)
    origin = stack.origin(key)
    if origin is not None and origin[0] not in FOREIGN:
        return None
    return TrustItem(kind=hook.name, where=origin[1] if origin else key, content=hook.run)
