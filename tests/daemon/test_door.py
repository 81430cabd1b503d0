from __future__ import annotations

import logging
from datetime import timedelta

import anyio
import pytest

from nexus.abc.transport import Peer
from nexus.daemon.door import MAX_STRANGERS, MAX_STRANGERS_EACH, MAX_WAITING_EACH, Door
from nexus.daemon.failures import FREE, MAX_PEERS, Failures, counted_as
from nexus.daemon.keys import MemoryKeys
from nexus.daemon.revocation import MemoryRevocations
from nexus.daemon.tokens import Tokens
from nexus.errors import Unauthenticated
from nexus.testing.clock import ManualClock

HERE = Peer(address="127.0.0.1:5000")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def tokens(clock: ManualClock) -> Tokens:
    return Tokens(MemoryKeys(clock), MemoryRevocations(clock), clock)


@pytest.fixture
def door(tokens: Tokens, clock: ManualClock) -> Door:
    return Door(tokens, clock)


@pytest.mark.parametrize(
    ("peer", "who"),
    [
        (Peer(address="unix:12#1", uid=7), "uid 7"),
        (Peer(address="192.0.2.1:5"), "192.0.2.1"),
        (Peer(address="[2001:db8::1:2]:5"), "2001:db8::/64"),
        (Peer(address="[fe80::1%eth0]:5"), "fe80::/64"),
        (Peer(address="[::ffff:192.0.2.1]:5"), "::ffff:192.0.2.1"),
        (Peer(address="memory"), "memory"),
    ],
    ids=str,
)
def test_whom_failures_count_for(peer: Peer, who: str) -> None:
    assert counted_as(peer).lower() in {who, "::ffff:c000:201"}


def test_five_failures_are_free_and_then_it_takes_longer(clock: ManualClock) -> None:
    failures = Failures()

    delays = [failures.failed("a", clock.now()) for _ in range(FREE + 6)]

    assert delays == [0, 0, 0, 0, 0, 1, 2, 4, 8, 8, 8]
    assert failures.failed("b", clock.now()) == 0
    clock.jump(timedelta(minutes=1))
    assert failures.failed("a", clock.now()) == 0


def test_failures_of_the_whole_internet_fit(clock: ManualClock) -> None:
    failures = Failures()
    for number in range(3 * MAX_PEERS):
        failures.failed(str(number), clock.now())

    assert len(failures) == MAX_PEERS


async def test_who_fails_often_waits_and_who_has_a_token_does_not(
    door: Door, tokens: Tokens, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    good = tokens.issue(subject="ann", scopes=["exec"]).token
    answered: list[str] = []

    async def fail() -> None:
        with pytest.raises(Unauthenticated):
            await door.admit(HERE, "canary-of-a-token")
        answered.append("no")

    with caplog.at_level(logging.INFO, "nexus.daemon"):
        for _ in range(FREE):
            await fail()
        async with anyio.create_task_group() as group:
            group.start_soon(fail)
            await clock.at_rest()
            assert len(answered) == FREE
            assert (await door.admit(HERE, good)).subject == "ann"
            clock.advance(1)
    assert len(answered) == FREE + 1
    assert "refused 127.0.0.1:5000" in caplog.text
    assert "canary" not in caplog.text
    assert good not in caplog.text


async def test_no_more_than_a_few_wait(door: Door, clock: ManualClock) -> None:
    for _ in range(FREE):
        with pytest.raises(Unauthenticated):
            await door.admit(HERE, None)

    async def fail() -> None:
        with pytest.raises(Unauthenticated):
            await door.admit(HERE, None)

    async with anyio.create_task_group() as group:
        for _ in range(MAX_WAITING_EACH):
            group.start_soon(fail)
        await clock.at_rest(MAX_WAITING_EACH)
        await fail()  # at once
        clock.advance(10)


async def test_there_is_room_for_so_many_strangers(door: Door, tokens: Tokens) -> None:
    peers = [Peer(address=f"127.0.0.1:{number}") for number in range(MAX_STRANGERS_EACH + 1)]
    assert [door.arrive(peer) for peer in peers] == [*[True] * MAX_STRANGERS_EACH, False]

    await door.admit(peers[0], tokens.issue(subject="a", scopes=["exec"]).token)
    assert door.arrive(peers[-1])
    door.leave(peers[1])
    assert door.arrive(peers[1])
    others = [Peer(address=f"192.0.2.{number}:1") for number in range(MAX_STRANGERS)]
    assert sum(map(door.arrive, others)) == MAX_STRANGERS - MAX_STRANGERS_EACH
