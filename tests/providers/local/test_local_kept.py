"""Commands on terminals that run on without the program that started them, and are joined again."""

from __future__ import annotations

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.errors import NotFound
from nexus.models.execution import ExecEvent, Exited, Gap, Output, Pty, SpawnRequest, Started
from nexus.models.ids import ExecId
from nexus.providers.local.instance import LocalInstance
from nexus.providers.local.keeper.backlog import Backlog
from nexus.providers.local.process import LocalProcess


@given(pieces=st.lists(st.binary(max_size=30), max_size=20), capacity=st.integers(1, 60), offset=st.integers(0, 300))
def test_a_backlog_holds_the_end_of_what_was_printed(pieces: list[bytes], capacity: int, offset: int) -> None:
    kept = Backlog(capacity)
    for piece in pieces:
        kept.append(piece)
    whole = b"".join(pieces)
    begin, found = kept.since(offset)
    assert b"".join(found) == whole[begin:]
    assert begin == min(max(offset, begin), len(whole))
    assert begin <= max(offset, len(whole) - capacity, 0)


def request(script: str, keep: int = 1 << 16) -> SpawnRequest:
    return SpawnRequest(argv=("sh", "-c", script), stdin=True, pty=Pty(), keep=keep, grace=0.5)


async def until(process: LocalProcess, wanted: bytes) -> tuple[int, bytes, list[ExecEvent]]:
    """Read until this was printed; return the offset after it, what was printed, and all events."""
    seen, offset, events = b"", 0, list[ExecEvent]()
    while wanted not in seen:
        event = await process.receive()
        events.append(event)
        assert not isinstance(event, Exited), seen
        if isinstance(event, Output):
            seen, offset = seen + event.data, event.offset + len(event.data)
    return offset, seen, events


async def test_one_that_is_left_runs_on_and_can_be_joined(running: LocalInstance) -> None:
    first = await running.spawn(request("printf one; read x; printf two; read x; printf three; exit 3"))
    offset, _, _ = await until(first, b"one")
    await first.write(b"\n")
    await first.leave()
    assert await running.kept() == {first.exec_id}
    second = await running.rejoin(first.exec_id, request(""), offset=offset)
    assert second.exec_id == first.exec_id
    _, seen, events = await until(second, b"two")
    assert isinstance(events[0], Started)
    assert seen.endswith(b"two")
    assert b"one" not in seen
    # Whoever comes next takes it over, from one who is still there as well.
    third = await running.rejoin(first.exec_id, request(""), offset=0)
    _, seen, _ = await until(third, b"two")
    assert seen.startswith(b"one")
    await third.write(b"\n")
    await until(third, b"three")
    assert await third.receive() == Exited(exit_code=3)
    # It has ended, and its end can still be asked for, until it is let go of.
    fourth = await running.rejoin(first.exec_id, request(""), offset=0)
    await until(fourth, b"three")
    assert await fourth.receive() == Exited(exit_code=3)
    await fourth.aclose()
    assert await running.kept() == frozenset()
    with pytest.raises(NotFound):
        await running.rejoin(first.exec_id, request(""), offset=0)
    assert await second.receive() == Exited(exit_code=None, lost=True), "the one that was taken over from sees no end"
    await second.leave()
    await third.leave()


async def test_what_was_dropped_is_told(running: LocalInstance) -> None:
    first = await running.spawn(
        request(
            "read x; i=0; while [ $i -lt 3000 ]; do printf '%100s\\n' $i; i=$((i+1)); done; printf end; read x",
            keep=1000,
        )
    )
    await first.write(b"\n")
    await first.leave()
    again = await running.rejoin(first.exec_id, request(""), offset=5)
    _, seen, _ = await until(again, b"end")
    assert seen.endswith(b"end")
    await again.leave()
    late = await running.rejoin(first.exec_id, request(""), offset=5)
    events = [await late.receive(), await late.receive()]
    assert isinstance(events[1], Gap)
    _, seen, _ = await until(late, b"end")
    assert 1000 <= len(seen) < 200_000
    await late.aclose()


async def test_one_that_is_closed_ends_and_one_that_was_not_to_be_kept_does_too(running: LocalInstance) -> None:
    kept = await running.spawn(request("trap '' HUP; printf ready; while :; do sleep 0.05; done"))
    await until(kept, b"ready")
    await kept.aclose()
    assert await running.kept() == frozenset()
    other = await running.spawn(request("printf ready; read x", keep=0))
    await until(other, b"ready")
    await other.leave()
    with anyio.fail_after(30):
        while await running.commands():  # noqa: ASYNC110 - the keeper rings no bell
            await anyio.sleep(0.01)
    with pytest.raises(NotFound):
        await running.rejoin(ExecId("ex_nobody"), request(""), offset=0)


async def test_a_stop_ends_what_nobody_has_joined(running: LocalInstance) -> None:
    left = await running.spawn(request("printf ready; read x"))
    await until(left, b"ready")
    await left.leave()
    await running.stop(grace=2)
    assert await running.kept() == frozenset()
