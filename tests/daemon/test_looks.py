"""A look at a terminal, as far as it is a feed."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import cast

import anyio

from nexus.abc.terminals import TerminalSession
from nexus.daemon.call import Call
from nexus.daemon.handlers.terminals import Look
from nexus.daemon.outlets import FeedOutlet
from nexus.models.execution import Pty
from nexus.models.ids import TerminalId, WorkspaceId
from nexus.models.terminals import (
    AttachPoint,
    TerminalChanged,
    TerminalEvent,
    TerminalExit,
    TerminalExited,
    TerminalGap,
    TerminalInfo,
    TerminalOutput,
    TerminalState,
)
from nexus.wire.connection import Connection, StreamData, StreamGap
from nexus.wire.limits import DEFAULT_LIMITS
from nexus.wire.methods.terminals import DidChange

GAP = 8 * 1024 * 1024


class Session:
    """Stands for a session that gives these events."""

    def __init__(self, *events: TerminalEvent) -> None:
        self.point = AttachPoint(start=0, oldest=0, newest=0, gap=None, prefix=b"", resizes=())
        self.role = "viewer"
        self._events = list(events)

    async def receive(self) -> TerminalEvent:
        await anyio.lowlevel.checkpoint()
        return self._events.pop(0)

    async def detach(self) -> int:
        return 0


async def test_what_was_dropped_is_told_before_anything_waits_for_the_client() -> None:
    session = Session(
        TerminalGap(start=0, end=GAP, prefix=b""),
        TerminalOutput(offset=GAP, data=b"what is left"),
        TerminalExited(exit=TerminalExit(exit_code=0)),
    )
    connection = SimpleNamespace(looks={}, notify=lambda _method, _params: None)
    call = SimpleNamespace(hub=SimpleNamespace(limits=DEFAULT_LIMITS), connection=connection)
    look = Look(cast("TerminalSession", session), cast("Call", call), "w")
    ours, theirs, woken = Connection(), Connection(), anyio.Event()
    outlet = FeedOutlet(ours, look, {"data": 0}, owner=True, ready=woken.set, over=lambda: None)
    (stream,) = outlet.streams.values()
    theirs.open_receiving(stream)
    async with anyio.create_task_group() as group:
        group.start_soon(look.run)
        with anyio.fail_after(60):
            await woken.wait()
            skip = outlet.next()
            assert isinstance(skip, bytes)
            assert theirs.receive(skip) == (StreamGap(stream, 0, GAP),)
            outlet.taken(stream, GAP)
            await look.ended.wait()
    data = outlet.next()
    assert isinstance(data, bytes)
    assert theirs.receive(data) == (StreamData(stream, GAP, b"what is left"),)


def info() -> TerminalInfo:
    return TerminalInfo(
        id=TerminalId("tm_0123456789abcdef"),
        workspace=WorkspaceId("w"),
        name="t",
        state=TerminalState.RUNNING,
        argv=("sh",),
        size=Pty(),
        created_at=datetime.now(UTC),
    )


async def test_changes_are_told_together_and_the_last_before_the_end() -> None:
    titles = [f"the {number}th" for number in range(50)]
    changes = [TerminalChanged(info=info().model_copy(update={"title": title})) for title in titles]
    session = Session(*changes, TerminalExited(exit=TerminalExit(exit_code=0)))
    told: list[str] = []

    def notify(_method: str, params: DidChange) -> None:
        told.append(params.info.title)

    async with anyio.create_task_group() as group:
        connection = SimpleNamespace(looks={}, notify=notify, group=group)
        call = SimpleNamespace(hub=SimpleNamespace(limits=DEFAULT_LIMITS), connection=connection)
        look = Look(cast("TerminalSession", session), cast("Call", call), "w")
        with anyio.fail_after(60):
            await look.run()
            assert told[-1] == titles[-1]
    assert told == sorted(told, key=titles.index), "in their order"
    assert len(told) == len(set(told)) < len(titles)
