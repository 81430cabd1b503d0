"""What ``doctor`` says about the node's registry, and how a damaged or emptied one is made good again."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from nexus.errors import NexusError, RegistryDamaged
from nexus.models.findings import Finding
from nexus.workspace.context import Context
from nexus.workspace.refilling import lost_rows, put_back_all

_CHECK = "registry"


async def examine_registry(context: Context, *, fix: bool) -> AsyncGenerator[Finding, None]:
    """Read the whole registry and compare it with this repository's records. With ``fix``: move a damaged one away, fill it again."""
    try:
        yield await _examine(context, fix=fix)
    except RegistryDamaged as error:
        yield await _renew(context) if fix else _problem(error)
    except NexusError as error:
        yield _problem(error)


async def _examine(context: Context, *, fix: bool) -> Finding:
    lost = await lost_rows(context)
    if not lost:
        return Finding(check=_CHECK, level="ok", message=f"names and ports are registered in {context.registry.path}")
    sentence = f"the node's registry does not know {', '.join(lost)}"
    if not fix:
        return Finding(
            check=_CHECK, level="warning", message=sentence, hint="'boulder doctor --fix' registers what records know"
        )
    report = await put_back_all(context)
    taken = f" but for what somebody else has by now: {'; '.join(report.conflicts)}" if report.conflicts else ""
    if await lost_rows(context):
        return Finding(check=_CHECK, level="error", message=f"{sentence}; this cannot be put right{taken}")
    if taken:
        taken += "; such a port is replaced when its workspace starts next"
    return Finding(check=_CHECK, level="warning", message=f"{sentence}; they are registered again{taken}", fixed=True)


async def _renew(context: Context) -> Finding:
    try:
        away = await context.registry.move_away()
        await put_back_all(context)
    except NexusError as error:
        return _problem(error)
    where = f"; it was moved to {away}" if away else ""
    return Finding(
        check=_CHECK,
        level="warning",
        message=f"the node's registry was damaged{where}, and made again from the records of this repository; "
        "those of other repositories are registered when they are opened next",
        fixed=True,
    )


def _problem(error: NexusError) -> Finding:
    return Finding(check=_CHECK, level="error", message=error.message, hint=error.hint)
