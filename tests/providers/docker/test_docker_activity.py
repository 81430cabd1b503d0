"""What runs in a container, whichever way it was started."""

from __future__ import annotations

import pytest

from nexus.models.instances import InstanceRef
from nexus.providers.docker.exec_script import is_serving, program_of, serving_shell, wrap
from nexus.providers.docker.instance import DockerInstance
from nexus.providers.docker.provider import DockerProvider
from nexus.providers.docker.watching import children_in
from tests.engine.driving import command, run


def test_the_words_of_the_engine_tell_the_program() -> None:
    assert program_of(wrap(command("/usr/bin/make", "all"), "n").argv) == ("/usr/bin/make", True)
    assert program_of(wrap(command("redis", keeps_awake=False, cwd="/x", env={"A": "b"}), "n").argv) == ("redis", False)
    assert program_of(("/bin/sh", "-c", "sleep 1")) == ("sh", True)
    assert program_of(("top", "-b")) == ("top", True)
    assert program_of(("",)) == ("a command", True)
    assert is_serving(serving_shell("token"))
    assert not is_serving(wrap(command("sh"), "n").argv)


def test_only_children_of_a_waiting_shell_are_work() -> None:
    rows = [("10", "1", "sh"), ("11", "10", "make"), ("12", "11", "cc"), ("13",), ("14", "x", "odd")]
    assert children_in(rows, {10}) == ["make"]
    assert children_in(rows, {99}) == []


@pytest.mark.docker
async def test_shells_that_wait_are_no_work_and_those_that_run_something_are(
    provider: DockerProvider, running: DockerInstance, engine: str
) -> None:
    for _ in range(4):  # after the first ones shells are kept ready
        assert (await run(running, "true")).code == 0
    process = await running.spawn(command("sleep", "300"))
    async with DockerProvider({"socket": engine}, env={}) as other:
        seen = await other.attach(InstanceRef(id=running.ref.id, name=running.ref.name, handle=running.ref.handle))
        assert isinstance(seen, DockerInstance)
        assert [one.program for one in await seen.commands()] == ["sleep"]
        await process.aclose()
        assert (await run(running, "true")).code == 0
        assert await seen.commands() == ()
