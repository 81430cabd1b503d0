"""Prepared shells in real containers: what they run, what they leave, and that no container is frozen under a starting one."""

from __future__ import annotations

import asyncio

import pytest

from nexus.errors import Busy, WorkspaceStopped
from nexus.models.execution import SpawnRequest
from nexus.models.instances import InstanceState
from nexus.providers.docker import prepared
from nexus.providers.docker.freezing import StartGate
from nexus.providers.docker.instance import DockerInstance
from nexus.providers.docker.prepared import can_serve
from nexus.providers.docker.provider import DockerProvider
from tests.engine.driving import run, sh
from tests.engine.raw import RawEngine
from tests.providers.docker.conftest import MakeSpec

_WAITING = "_nx_alone"


def _shells(instance: DockerInstance, raw: RawEngine) -> int:
    top = raw.get(f"/containers/{instance.ref.handle}/top?ps_args=-eo%20pid,args")
    return sum(_WAITING in line[-1] for line in top["Processes"])


@pytest.fixture
async def warm(running: DockerInstance, monkeypatch: pytest.MonkeyPatch) -> DockerInstance:
    """A workspace with a shell that waits."""
    monkeypatch.setattr(prepared, "ASKED_BEFORE", 0)
    await run(running, "true")
    return running


@pytest.mark.docker
async def test_a_shell_serves_many_commands_and_the_engine_is_not_asked(warm: DockerInstance, raw: RawEngine) -> None:
    before = await asyncio.to_thread(_execs, warm, raw)
    for number in range(50):
        assert (await sh(warm, f"echo {number}; echo err >&2; exit {number}")).end.exit_code == number

    # One in reserve may have been made meanwhile.
    assert await asyncio.to_thread(_execs, warm, raw) <= before + 1


def _execs(instance: DockerInstance, raw: RawEngine) -> int:
    return len(raw.get(f"/containers/{instance.ref.handle}/json")["ExecIDs"] or ())


@pytest.mark.docker
async def test_what_a_background_child_prints_later_is_nobody_elses(warm: DockerInstance) -> None:
    await sh(warm, "(sleep 0.3; echo stray; echo stray >&2) & echo now")
    printed = b"".join([(await sh(warm, "sleep 0.05; echo -n .")).out for _ in range(12)])

    assert printed == b"." * 12


@pytest.mark.docker
async def test_nothing_starts_later_in_a_container_that_was_paused(warm: DockerInstance) -> None:
    await warm.pause()
    with pytest.raises(WorkspaceStopped):
        await sh(warm, "touch started")
    await warm.resume()

    assert (await sh(warm, "ls")).out == b""


@pytest.mark.docker
async def test_a_container_is_not_frozen_under_a_starting_command(warm: DockerInstance) -> None:
    for _ in range(3):
        starting = [asyncio.ensure_future(run(warm, "echo", "x", user="0")) for _ in range(8)]
        await asyncio.sleep(0.03)
        await warm.pause()
        await warm.resume()
        assert [ran.out for ran in await asyncio.gather(*starting)] == [b"x\n"] * 8

    # The engine hears of its own doing by events, and may be late.
    async with asyncio.timeout(60):
        while (await warm.status()).state is not InstanceState.RUNNING:  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(0.02)


@pytest.mark.docker
async def test_they_end_with_the_provider(
    engine: str, make_spec: MakeSpec, raw: RawEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepared, "ASKED_BEFORE", 0)
    async with DockerProvider({"socket": engine}, env={}) as provider:
        instance = await provider.create(make_spec())
        assert isinstance(instance, DockerInstance)
        await instance.start()
        await run(instance, "true")
        assert await asyncio.to_thread(_shells, instance, raw) >= 1

    async with asyncio.timeout(60):
        while await asyncio.to_thread(_shells, instance, raw):  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(0.02)


@pytest.mark.docker
async def test_none_are_made_where_none_are_wanted(
    engine: str, make_spec: MakeSpec, raw: RawEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepared, "ASKED_BEFORE", 0)
    async with DockerProvider({"socket": engine, "prepared_shells": 0}, env={}) as provider:
        instance = await provider.create(make_spec())
        assert isinstance(instance, DockerInstance)
        await instance.start()
        for _ in range(3):
            assert (await run(instance, "echo", "x")).out == b"x\n"
        assert await asyncio.to_thread(_shells, instance, raw) == 0


def test_what_a_prepared_shell_can_run() -> None:
    assert can_serve(SpawnRequest(argv=("true",), env={"A": "b"}, stdin=True))
    assert not can_serve(SpawnRequest(argv=("true",), user="0"))
    assert not can_serve(SpawnRequest(argv=("true",), env={"no-name": "x"}))
    assert not can_serve(SpawnRequest(argv=("true", "x" * 20_000)))


async def test_the_gate_lets_starts_in_together_and_a_freezer_alone() -> None:
    gate = StartGate()
    seen: list[str] = []

    async def freeze() -> None:
        async with gate.alone(patience=20):
            seen.append("frozen")

    async with gate.starting(), gate.starting():
        freezing = asyncio.ensure_future(freeze())
        await asyncio.sleep(0)
        late = asyncio.ensure_future(_start(gate, seen))
        for _ in range(5):
            await asyncio.sleep(0)
        assert seen == []
    await asyncio.gather(freezing, late)

    assert seen == ["frozen", "started"]


async def _start(gate: StartGate, seen: list[str]) -> None:
    async with gate.starting():
        seen.append("started")


async def test_a_freezer_that_loses_patience_lets_starts_in_again() -> None:
    gate = StartGate()
    async with gate.starting():
        with pytest.raises(Busy, match="has been starting"):
            async with gate.alone(patience=0.01):
                pass
    async with asyncio.timeout(60), gate.starting():
        pass
