"""Ports as they are now: what was declared, what listens, and what stands between the two."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TypeAlias

from nexus.abc import SupportsListening
from nexus.errors import NexusError, ProviderUnavailable
from nexus.models.activity import Listener, PortView
from nexus.models.events import PortClosed, PortOpened
from nexus.models.ids import WorkspaceId
from nexus.models.instances import Capability, InstanceState
from nexus.models.ports import PortMapping
from nexus.models.workspace import WorkspaceRecord
from nexus.workspace.context import Context

_log = logging.getLogger(__name__)

_Open: TypeAlias = "dict[tuple[int, str | None], PortView]"


def join(
    mappings: Sequence[PortMapping], listeners: Sequence[Listener] | None, *, translated: bool
) -> tuple[PortView, ...]:
    """Return every port that was declared or is listened on.

    Args:
        mappings: What was declared.
        listeners: What listens; ``None`` when that is not known.
        translated: Whether the backend leads a host port to another number inside. Where it does not, programs listen on the host
            port itself.
    """
    left = list(listeners or ())
    views: list[PortView] = []
    for mapping in mappings:
        inside = mapping.container_port if translated else mapping.host_port
        own = [one for one in left if mapping.protocol == one.protocol and one.port == inside]
        left = [one for one in left if one not in own]
        known = None if listeners is None or mapping.protocol != "tcp" else bool(own)
        views.append(
            PortView(
                name=mapping.name,
                container_port=mapping.container_port,
                protocol=mapping.protocol,
                host_port=mapping.host_port,
                url=mapping.url,
                visibility=mapping.visibility,
                fixed=mapping.fixed,
                listening=known,
                note=_note(mapping, own, translated=translated),
            )
        )
    return (*views, *(_unasked(port, left, translated=translated) for port in sorted({one.port for one in left})))


def _note(mapping: PortMapping, own: Sequence[Listener], *, translated: bool) -> str:
    if not own:
        return ""
    if all(one.local_only for one in own):
        if translated:
            return (
                "listens on the loopback address inside, where nothing from outside arrives: let it listen on 0.0.0.0"
            )
        if mapping.visibility != "private":
            return f"is {mapping.visibility}, but listens on this machine's loopback address only"
    elif not translated and mapping.visibility == "private":
        return "is private, but listens on an address that other machines may reach: let it listen on 127.0.0.1"
    return ""


def _unasked(port: int, listeners: Sequence[Listener], *, translated: bool) -> PortView:
    if translated:
        note = "no host port leads to it: declare it under 'ports'"
        return PortView(container_port=port, listening=True, note=note)
    host = next((one.address for one in listeners if one.port == port and not one.local_only), "127.0.0.1")
    reached = "127.0.0.1" if host in {"0.0.0.0", "::", "::1"} else host  # noqa: S104 - what somebody else listens on
    return PortView(container_port=port, host_port=port, url=f"http://{reached}:{port}", listening=True)


async def list_ports(context: Context, record: WorkspaceRecord) -> tuple[PortView, ...]:
    """Return a workspace's ports as they are now; what listens is not known while its backend does not answer."""
    try:
        translated = await _translates(context, record.backend)
    except ProviderUnavailable:
        return join(record.port_mappings, None, translated=True)
    return join(record.port_mappings, await _listeners(context, record), translated=translated)


async def _listeners(context: Context, record: WorkspaceRecord) -> tuple[Listener, ...] | None:
    try:
        instance = await context.backends.instance(record)
        return await instance.listeners() if isinstance(instance, SupportsListening) else None
    except NexusError as error:
        _log.info("cannot see what listens in workspace %s: %s", record.name, error)
        return None


async def _translates(context: Context, backend: str) -> bool:
    info = await context.backends.probe(backend)
    if not info.available:
        raise ProviderUnavailable(f"the {backend} backend does not answer: {info.detail}", hint=info.hint)
    return Capability.PORTS in info.capabilities


async def watch_ports(context: Context, *, every: float) -> None:
    """Tell observers what opens and closes, until cancelled. What is not known is no change."""
    known: dict[WorkspaceId, _Open] = {}
    translated: dict[str, bool] = {}
    while True:
        try:
            records, _ = await context.records.all()
        except NexusError as error:
            _log.warning("the port watch cannot list the workspaces and tries again: %s", error)
            await context.clock.sleep(every)
            continue
        for record in records:
            now = await _open_ports(context, record, translated)
            if now is not None:
                _announce(context, record, known.get(record.id, {}), now)
                known[record.id] = now
        for gone in known.keys() - {record.id for record in records}:
            del known[gone]
        await context.clock.sleep(every)


async def _open_ports(context: Context, record: WorkspaceRecord, translated: dict[str, bool]) -> _Open | None:
    """Return what listens by its number inside; nothing where nothing runs, ``None`` where that is not known.

    Args:
        context: The open repository.
        record: The workspace.
        translated: What is known already of each backend.
    """
    state = (await context.backends.seen(record)).state
    if state is not InstanceState.RUNNING:
        return None if state in {InstanceState.UNKNOWN, InstanceState.PAUSED} else {}
    try:
        if record.backend not in translated:
            translated[record.backend] = await _translates(context, record.backend)
    except NexusError as error:
        _log.info("cannot see what listens in workspace %s: %s", record.name, error)
        return None
    listeners = await _listeners(context, record)
    if listeners is None:
        return None
    views = join(record.port_mappings, listeners, translated=translated[record.backend])
    return {(view.container_port, view.name): view for view in views if view.listening}


def _announce(context: Context, record: WorkspaceRecord, before: _Open, now: _Open) -> None:
    for key in now.keys() - before.keys():
        view = now[key]
        context.bus.publish(
            PortOpened(
                workspace=record.id, name=record.name, port=view.container_port, port_name=view.name, url=view.url
            )
        )
    for port, own_name in before.keys() - now.keys():
        context.bus.publish(PortClosed(workspace=record.id, name=record.name, port=port, port_name=own_name))
