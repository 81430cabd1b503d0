from __future__ import annotations

import anyio
import pytest

from nexus.errors import InvalidArgument, PortInUse, ProviderError, ProviderUnavailable, Unsupported, WrongLoop
from nexus.models.execution import Exited, Output, Pty, SpawnRequest, Started
from nexus.models.ids import WorkspaceName, new_workspace_id
from nexus.models.instances import Capability, InstanceSpec, InstanceState
from nexus.models.ports import PortMapping
from nexus.providers.mock import MockProvider, MockScript, MockWorld, ProgramCall
from nexus.providers.mock.instance import MockInstance
from tests.providers.mock.conftest import Run, drain


async def test_a_program_of_the_test_is_run(script: MockScript, run: Run) -> None:
    seen: list[ProgramCall] = []

    async def pytest_(call: ProgramCall) -> int:
        seen.append(call)
        await call.stdout.send(b"3 passed\n")
        await call.stderr.send(b"warning\n")
        return 5

    script.program("pytest", pytest_)
    done = await run("pytest", "-q", env={"CI": "1"})

    assert (done.stdout, done.stderr, done.status) == ("3 passed\n", "warning\n", 5)
    assert seen[0].argv == ("pytest", "-q")
    assert seen[0].env["CI"] == "1"
    assert seen[0].cwd == "/workspace"


async def test_a_program_of_the_test_takes_the_place_of_the_mocks_own(script: MockScript, sh: Run) -> None:
    async def echo(call: ProgramCall) -> int:
        await call.stdout.send(b"mine\n")
        return 0

    script.program("echo", echo)

    assert (await sh("echo theirs; /bin/echo theirs")).stdout == "mine\nmine\n"


async def test_a_program_reads_its_input(script: MockScript, instance: MockInstance) -> None:
    async def count(call: ProgramCall) -> int:
        await call.stdout.send(str(len(await call.stdin.read_all())).encode())
        return 0

    script.program("count", count)
    process = await instance.spawn(SpawnRequest(argv=("count",), stdin=True))
    await process.write(b"x" * 1000)
    await process.write(b"y" * 1000)
    await process.close_stdin()

    assert (await drain(process)).stdout == "2000"


async def test_a_program_waits_for_the_test(script: MockScript, instance: MockInstance) -> None:
    gate = anyio.Event()

    async def server(call: ProgramCall) -> int:
        await call.stdout.send(b"ready")
        await gate.wait()
        return 7

    script.program("server", server)
    process = await instance.spawn(SpawnRequest(argv=("server",)))
    assert isinstance(await process.receive(), Started)
    assert isinstance(await process.receive(), Output)
    gate.set()

    assert await process.receive() == Exited(exit_code=7)


async def test_a_program_catches_signals(script: MockScript, instance: MockInstance) -> None:
    async def polite(call: ProgramCall) -> int:
        call.signals.trap(15)
        await call.stdout.send(b"ready")
        number = await call.signals.receive()
        await call.stdout.send(f" got {number}".encode())
        return 0

    script.program("polite", polite)
    process = await instance.spawn(SpawnRequest(argv=("polite",)))
    await process.receive()
    await process.receive()
    await process.signal(15)

    done = await drain(process)
    assert (done.stdout, done.status) == (" got 15", 0)


async def test_a_programs_mistake_is_its_traceback(script: MockScript, run: Run) -> None:
    async def broken(call: ProgramCall) -> int:
        raise KeyError(call.argv[0])

    script.program("broken", broken)
    done = await run("broken")

    assert done.status == 1
    assert done.stderr.endswith("KeyError: 'broken'\n")


async def test_calls_are_written_down(provider: MockProvider, script: MockScript, spec: InstanceSpec) -> None:
    instance = await provider.create(spec)
    await instance.start()
    await drain(await instance.spawn(SpawnRequest(argv=("echo", "hi"))))
    await provider.destroy(instance.ref)

    assert [call.name for call in script.calls] == ["create", "start", "spawn", "destroy"]
    assert {call.id for call in script.calls} == {spec.id}
    assert script.calls[2].argv == ("echo", "hi")
    assert (script.made("start"), script.made("pause")) == (1, 0)


async def test_a_chosen_call_fails(provider: MockProvider, script: MockScript, spec: InstanceSpec) -> None:
    instance = await provider.create(spec)
    script.fail("start", error=PortInUse("port 80 is taken"), after=1, times=2)

    await instance.start()
    for _ in range(2):
        with pytest.raises(PortInUse, match="port 80"):
            await instance.start()
    await instance.start()


async def test_a_call_can_fail_for_ever_and_by_default_as_a_provider(
    provider: MockProvider, script: MockScript, spec: InstanceSpec
) -> None:
    script.fail("create", times=None)

    for _ in range(3):
        with pytest.raises(ProviderError, match="the script makes create fail"):
            await provider.create(spec)
    assert await provider.list() == ()


async def test_a_call_can_fail_after_its_effect(provider: MockProvider, script: MockScript, spec: InstanceSpec) -> None:
    script.fail("create", when="after", error=lambda: ProviderUnavailable("the answer is lost"))

    with pytest.raises(ProviderUnavailable):
        await provider.create(spec)

    assert [status.ref.id for status in await provider.list()] == [spec.id]


@pytest.mark.parametrize("times", [0, -1])
def test_a_failure_has_a_sensible_count(script: MockScript, times: int) -> None:
    with pytest.raises(InvalidArgument):
        script.fail("start", times=times)


def test_a_misspelt_call_is_an_error(script: MockScript) -> None:
    with pytest.raises(InvalidArgument, match="strat") as caught:
        script.fail("strat")  # type: ignore[arg-type]
    assert caught.value.hint is not None
    assert "start" in caught.value.hint


async def test_a_hook_looks_at_a_call_before_its_effect(
    provider: MockProvider, script: MockScript, spec: InstanceSpec, world: MockWorld
) -> None:
    states: list[InstanceState] = []

    async def look(_call: object) -> None:
        states.append(world.machines[spec.id].state)

    script.before("start", look)
    instance = await provider.create(spec)
    await instance.start()

    assert states == [InstanceState.STOPPED]
    assert (await instance.status()).state is InstanceState.RUNNING


async def test_a_slow_call_can_be_cancelled(provider: MockProvider, script: MockScript, spec: InstanceSpec) -> None:
    script.delay("create", 3600)

    with anyio.move_on_after(0.01) as scope:
        await provider.create(spec)

    assert scope.cancelled_caught
    assert await provider.list() == ()


async def test_latency_is_an_option(spec: InstanceSpec) -> None:
    async with MockProvider({"latency": "1h"}) as provider:
        with anyio.move_on_after(0.01) as scope:
            await provider.probe()
    assert scope.cancelled_caught


async def test_a_backend_that_is_down(provider: MockProvider, script: MockScript, instance: MockInstance) -> None:
    script.down = "unplugged"

    info = await provider.probe()
    assert (info.available, info.detail, info.capabilities) == (False, "unplugged", frozenset())
    assert (await instance.status()).state is InstanceState.UNKNOWN
    attached = await provider.attach(instance.ref)
    with pytest.raises(ProviderUnavailable, match="unplugged"):
        await attached.start()
    with pytest.raises(ProviderUnavailable):
        await provider.list()

    script.down = None
    assert (await instance.status()).state is InstanceState.RUNNING


async def test_capabilities_can_be_left_out(spec: InstanceSpec) -> None:
    async with MockProvider({"without": ["pause", "pty", "logs", "stats", "checkpoints", "hibernation"]}) as provider:
        assert (await provider.probe()).capabilities == {Capability.SIGNALS, Capability.HOST_TREE}
        instance = await provider.create(spec)
        await instance.start()
        for call in (instance.pause, instance.resume, instance.stats):
            with pytest.raises(Unsupported):
                await call()
        with pytest.raises(Unsupported, match="pty"):
            await instance.spawn(SpawnRequest(argv=("true",), pty=Pty()))
        with pytest.raises(Unsupported, match="logs"):
            await anext(instance.logs())


@pytest.mark.parametrize("options", [{"latencyy": 1}, {"latency": "soon"}, {"without": ["flying"]}])
def test_options_that_cannot_be_used(options: dict[str, str]) -> None:
    with pytest.raises(InvalidArgument, match="of the mock backend"):
        MockProvider(options)


async def test_a_provider_has_to_be_open(spec: InstanceSpec) -> None:
    provider = MockProvider()
    with pytest.raises(WrongLoop):
        await provider.create(spec)
    async with provider:
        instance = await provider.create(spec)
    with pytest.raises(WrongLoop):
        await instance.start()


async def test_another_task_may_close_it(world: MockWorld, spec: InstanceSpec) -> None:
    provider = MockProvider(world=world)
    handles = []

    async def open_and_use() -> None:
        with anyio.fail_after(60):
            await provider.__aenter__()
            instance = await provider.create(spec)
            await instance.start()
            handles.append(await instance.spawn(SpawnRequest(argv=("sleep", "3600"))))

    async with anyio.create_task_group() as group:
        group.start_soon(open_and_use)
    await provider.__aexit__(None, None, None)

    assert (await drain(handles[0])).exited == Exited(exit_code=137, signal=9)
    assert world.machines[spec.id].processes == {}
    assert world.machines[spec.id].state is InstanceState.RUNNING


def test_a_world_outlives_an_event_loop(spec: InstanceSpec) -> None:
    world = MockWorld()

    async def first() -> None:
        async with MockProvider(world=world) as provider:
            instance = await provider.create(spec)
            await instance.start()
            await instance.spawn(SpawnRequest(argv=("sleep", "3600")))
            await instance.pause()

    async def second() -> str:
        async with MockProvider(world=world) as provider:
            (status,) = await provider.list()
            instance = await provider.attach(status.ref)
            await instance.start()
            return (await drain(await instance.spawn(SpawnRequest(argv=("echo", "hi"))))).stdout

    anyio.run(first)
    assert anyio.run(second) == "hi\n"


async def test_what_others_do_to_the_world(world: MockWorld, instance: MockInstance) -> None:
    process = await instance.spawn(SpawnRequest(argv=("sleep", "3600")))
    world.crash(instance.ref.id, "out of luck")
    status = await instance.status()
    assert (status.state, status.detail) == (InstanceState.FAILED, "out of luck")
    await process.receive()
    assert await process.receive() == Exited(exit_code=137, signal=9)

    await instance.start()
    assert (await instance.status()).state is InstanceState.RUNNING
    world.remove(instance.ref.id)
    world.remove(instance.ref.id)
    assert (await instance.status()).state is InstanceState.GONE


async def test_two_instances_cannot_publish_one_port(provider: MockProvider, spec: InstanceSpec) -> None:
    ports = (PortMapping(name="web", container_port=80, host_port=32801),)
    one = await provider.create(spec.model_copy(update={"ports": ports}))
    two = await provider.create(
        spec.model_copy(update={"id": new_workspace_id(), "name": WorkspaceName("two"), "ports": ports})
    )
    await one.start()

    with pytest.raises(PortInUse, match="32801") as caught:
        await two.start()
    assert caught.value.details == {"port": 32801, "holder": "one"}
    await one.stop(grace=0.1)
    await two.start()


async def test_the_log_is_what_the_main_process_printed(world: MockWorld, instance: MockInstance) -> None:
    world.print(instance.ref.id, b"listening\n")
    world.print(instance.ref.id, b"a request\n")

    async def read(*, follow: bool = False, tail: int | None = None) -> bytes:
        return b"".join([chunk async for chunk in instance.logs(follow=follow, tail=tail)])

    assert await read() == b"one started\nlistening\na request\n"
    assert await read(tail=2) == b"listening\na request\n"
    assert await read(tail=0) == b""
    followed = instance.logs(follow=True, tail=0)
    world.print(instance.ref.id, b"before\n")
    async with anyio.create_task_group() as group:
        group.start_soon(instance.stop)
        rest = [chunk async for chunk in followed]
    assert b"".join(rest) in {b"", b"before\n"}


async def test_a_log_is_followed_as_it_grows(world: MockWorld, instance: MockInstance) -> None:
    log = instance.logs(follow=True)

    assert await anext(log) == b"one started\n"
    world.print(instance.ref.id, b"more\n")
    assert await anext(log) == b"more\n"
    world.crash(instance.ref.id)
    with pytest.raises(StopAsyncIteration):
        await anext(log)


async def test_use_is_counted_by_process(instance: MockInstance) -> None:
    first = await instance.stats()
    assert (first.processes, first.cpu_percent) == (1, None)

    await instance.spawn(SpawnRequest(argv=("sleep", "3600")))
    second = await instance.stats()

    assert second.processes == 2
    assert second.memory_bytes == 2 * first.memory_bytes
    assert second.cpu_seconds > first.cpu_seconds
    assert second.cpu_percent is not None
    assert second.cpu_percent > 0


async def test_a_frozen_program_stands_still(script: MockScript, instance: MockInstance) -> None:
    steps: list[int] = []
    gate = anyio.Event()

    async def worker(call: ProgramCall) -> int:
        await call.stdout.send(b"ready")
        await gate.wait()
        await call.runnable()
        steps.append(1)
        return 0

    script.program("worker", worker)
    process = await instance.spawn(SpawnRequest(argv=("worker",)))
    await process.receive()
    await process.receive()
    await instance.pause()
    gate.set()
    await anyio.wait_all_tasks_blocked()
    assert steps == []

    await instance.resume()
    assert await process.receive() == Exited(exit_code=0)
    assert steps == [1]


async def test_a_signal_waits_while_frozen_but_kill_does_not(instance: MockInstance) -> None:
    gentle = await instance.spawn(SpawnRequest(argv=("sleep", "3600")))
    hard = await instance.spawn(SpawnRequest(argv=("sleep", "3600")))
    for process in (gentle, hard):
        await process.receive()
    await anyio.wait_all_tasks_blocked()
    await instance.pause()
    await gentle.signal(15)
    await hard.signal(9)

    assert await hard.receive() == Exited(exit_code=137, signal=9)
    with anyio.move_on_after(0.01) as scope:
        await gentle.receive()
    assert scope.cancelled_caught

    await instance.resume()
    assert await gentle.receive() == Exited(exit_code=143, signal=15)
