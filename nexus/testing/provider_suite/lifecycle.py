"""Cases about making, finding, starting, stopping and removing."""

from __future__ import annotations

import anyio

from nexus.abc import Instance, SupportsKeeping, SupportsLogs, SupportsPause, SupportsStats
from nexus.errors import WorkspaceGone
from nexus.models.execution import SpawnRequest
from nexus.models.ids import new_workspace_id
from nexus.models.instances import LABEL_WORKSPACE, Capability, InstanceRef, InstanceState
from nexus.testing.expecting import expect, expect_equal, expect_error
from nexus.testing.provider_suite.case import Check, NotApplicable, case, expect_state, finish, shell

_PROTOCOLS = {
    Capability.PAUSE: SupportsPause,
    Capability.LOGS: SupportsLogs,
    Capability.STATS: SupportsStats,
    Capability.KEEPING: SupportsKeeping,
}


@case()
async def probe_tells_what_it_is(check: Check) -> None:
    """``probe`` gives the provider's own name, and says so when the backend can be used."""
    expect_equal(check.info.name, check.provider.name, "the name that probe gives")
    expect(
        check.info.available, f"the backend is available for this suite: {check.info.detail} {check.info.hint or ''}"
    )


@case()
async def a_capability_has_its_protocol(check: Check) -> None:
    """An instance of a provider that claims a capability has the methods that go with it."""
    instance = await check.created()
    expect(isinstance(instance, Instance), "what create returns is an Instance")
    for capability, protocol in _PROTOCOLS.items():
        if capability in check.info.capabilities:
            expect(
                isinstance(instance, protocol), f"an instance with {capability} has the methods of {protocol.__name__}"
            )


@case()
async def create_leaves_it_stopped(check: Check) -> None:
    """``create`` makes an instance and starts nothing."""
    await expect_state(await check.created(), InstanceState.STOPPED)


@case()
async def create_twice_makes_one(check: Check) -> None:
    """The second ``create`` with one id returns the first one's instance."""
    spec = check.spec()
    first = await check.created(spec)
    await first.start()
    second = await check.created(spec)
    expect_equal(second.ref.id, first.ref.id, "the id of the second")
    await expect_state(second, InstanceState.RUNNING)
    found = [status for status in await check.provider.list() if status.ref.id == spec.id]
    expect_equal(len(found), 1, "instances with that id")


@case()
async def create_at_once_makes_one(check: Check) -> None:
    """Five calls of ``create`` at once with one id make one instance."""
    spec = check.spec()
    made: list[Instance] = []

    async def create() -> None:
        made.append(await check.created(spec))

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(create)
    expect_equal({instance.ref.id for instance in made}, {spec.id}, "the ids")
    expect_equal(len({instance.ref.handle for instance in made}), 1, "different handles")
    found = [status for status in await check.provider.list() if status.ref.id == spec.id]
    expect_equal(len(found), 1, "instances with that id")


@case()
async def attach_starts_nothing(check: Check) -> None:
    """``attach`` returns the instance as it is."""
    instance = await check.created()
    attached = await check.provider.attach(instance.ref)
    await expect_state(attached, InstanceState.STOPPED)
    await attached.start()
    await expect_state(instance, InstanceState.RUNNING)


@case()
async def attach_works_by_the_id_alone(check: Check) -> None:
    """A reference that holds nothing but the id finds the instance."""
    instance = await check.running()
    attached = await check.provider.attach(InstanceRef(id=instance.ref.id))
    await expect_state(attached, InstanceState.RUNNING)


@case()
async def attach_to_nothing_is_gone(check: Check) -> None:
    """An instance that does not exist shows as ``GONE``, and only then."""
    missing = await check.provider.attach(InstanceRef(id=new_workspace_id(), name="never-made"))
    await expect_state(missing, InstanceState.GONE)
    await expect_error(WorkspaceGone, missing.start, "start of what does not exist")
    await check.refused(WorkspaceGone, missing, SpawnRequest(argv=("true",)), "a command in what does not exist")


@case()
async def status_follows_the_life(check: Check) -> None:
    """The state is ``STOPPED``, ``RUNNING``, ``STOPPED`` again, ``RUNNING`` again, ``GONE``."""
    instance = await check.created()
    await expect_state(instance, InstanceState.STOPPED)
    await instance.start()
    await expect_state(instance, InstanceState.RUNNING)
    await instance.stop(grace=1.0)
    await expect_state(instance, InstanceState.STOPPED)
    await instance.start()
    await expect_state(instance, InstanceState.RUNNING)
    expect_equal((await check.sh(instance, "echo again")).stdout, b"again\n", "output after the second start")
    await check.provider.destroy(instance.ref)
    await expect_state(instance, InstanceState.GONE)


@case()
async def start_twice_changes_nothing(check: Check) -> None:
    """``start`` of a running instance leaves its commands alone."""
    instance = await check.running()
    process = await check.spawn(instance, SpawnRequest(argv=("cat",), stdin=True))
    await instance.start()
    await expect_state(instance, InstanceState.RUNNING)
    await process.write(b"still here")
    await process.close_stdin()
    expect_equal((await finish(process)).stdout, b"still here", "what the command printed")


@case()
async def stop_twice_changes_nothing(check: Check) -> None:
    """``stop`` of a stopped instance, and of one that was never started, is fine."""
    instance = await check.created()
    await instance.stop(grace=1.0)
    await expect_state(instance, InstanceState.STOPPED)
    await instance.start()
    await instance.stop(grace=1.0)
    await instance.stop(grace=1.0)
    await expect_state(instance, InstanceState.STOPPED)


@case()
async def stop_ends_commands(check: Check) -> None:
    """``stop`` ends every command, also one that ignores TERM, and each caller gets ``Exited``."""
    instance = await check.running()
    polite = await check.spawn(instance, SpawnRequest(argv=("sleep", "300")))
    stubborn = await check.spawn(instance, shell("trap '' TERM; echo ready; sleep 300"))
    await stubborn.receive()
    await instance.stop(grace=0.3)
    await expect_state(instance, InstanceState.STOPPED)
    for process in (polite, stubborn):
        ran = await finish(process)
        expect(ran.status != 0 or ran.exited.lost, f"a command that was ended did not succeed: {ran.exited}")


@case()
async def destroy_created(check: Check) -> None:
    """``destroy`` removes an instance that was never started."""
    await _destroy_and_look(check, await check.created())


@case()
async def destroy_running(check: Check) -> None:
    """``destroy`` removes a running instance; its commands end."""
    instance = await check.running()
    process = await check.spawn(instance, SpawnRequest(argv=("sleep", "300")))
    await _destroy_and_look(check, instance)
    ran = await finish(process)
    expect(ran.status != 0 or ran.exited.lost, f"a command that was ended did not succeed: {ran.exited}")


@case()
async def destroy_stopped(check: Check) -> None:
    """``destroy`` removes a stopped instance."""
    instance = await check.running()
    await instance.stop(grace=1.0)
    await _destroy_and_look(check, instance)


@case(Capability.PAUSE)
async def destroy_paused(check: Check) -> None:
    """``destroy`` removes a paused instance."""
    instance = await check.running()
    expect(isinstance(instance, SupportsPause), "an instance with the capability pause can be paused")
    if isinstance(instance, SupportsPause):
        await instance.pause()
    await _destroy_and_look(check, instance)


async def _destroy_and_look(check: Check, instance: Instance) -> None:
    await check.provider.destroy(instance.ref)
    await expect_state(instance, InstanceState.GONE)
    await expect_error(WorkspaceGone, instance.start, "start of a destroyed instance")
    await check.refused(WorkspaceGone, instance, SpawnRequest(argv=("true",)), "a command in a destroyed instance")
    listed = {status.ref.id for status in await check.provider.list()}
    expect(instance.ref.id not in listed, "a destroyed instance is not listed")
    await check.provider.destroy(instance.ref)


@case()
async def destroy_works_by_the_id_alone(check: Check) -> None:
    """``destroy`` needs nothing but the id."""
    instance = await check.running()
    await check.provider.destroy(InstanceRef(id=instance.ref.id))
    await expect_state(instance, InstanceState.GONE)


@case()
async def destroy_nothing(check: Check) -> None:
    """``destroy`` of what does not exist is fine."""
    await check.provider.destroy(InstanceRef(id=new_workspace_id(), name="never-made"))


@case()
async def create_again_after_destroy(check: Check) -> None:
    """After ``destroy`` the same specification makes a new instance, stopped."""
    spec = check.spec()
    instance = await check.running(spec)
    await check.provider.destroy(instance.ref)
    await expect_state(await check.created(spec), InstanceState.STOPPED)


@case()
async def list_by_labels(check: Check) -> None:
    """``list`` gives what carries all the labels asked for, with its state and its labels."""
    one = await check.created(check.spec(labels={"suite": "nexus", "which": "one"}))
    two = await check.running(check.spec(labels={"suite": "nexus", "which": "two"}))
    both = {status.ref.id: status for status in await check.provider.list({"suite": "nexus"})}
    expect({one.ref.id, two.ref.id} <= both.keys(), "both instances are listed by the label they share")
    expect_equal(both[one.ref.id].state, InstanceState.STOPPED, "the listed state of the first")
    expect_equal(both[two.ref.id].state, InstanceState.RUNNING, "the listed state of the second")
    expect_equal(both[two.ref.id].labels.get("which"), "two", "the label of the second")
    narrow = await check.provider.list({"suite": "nexus", "which": "two"})
    expect_equal([status.ref.id for status in narrow], [two.ref.id], "what carries both labels")
    expect_equal(await check.provider.list({"suite": "nexus", "which": "none"}), (), "what carries a label of nobody")


@case()
async def everything_carries_our_label(check: Check) -> None:
    """Whatever labels are asked for, an instance is found by the label that holds its id."""
    instance = await check.created(check.spec(labels={}))
    found = await check.provider.list({LABEL_WORKSPACE: instance.ref.id})
    expect_equal([status.ref.id for status in found], [instance.ref.id], "what carries the id as a label")


@case()
async def another_process_sees_the_same(check: Check) -> None:
    """A second provider on the same backend lists, attaches, runs commands in and removes what the first one made."""
    if check.subject.reopen is None:
        raise NotApplicable("the subject has no second provider")
    instance = await check.running()
    async with check.subject.reopen() as other:
        expect(instance.ref.id in {status.ref.id for status in await other.list()}, "the other one lists the instance")
        attached = await other.attach(instance.ref)
        await expect_state(attached, InstanceState.RUNNING)
        expect_equal(
            (await check.sh(attached, "echo shared")).stdout, b"shared\n", "what the other one's command printed"
        )
        await attached.stop(grace=1.0)
        await expect_state(instance, InstanceState.STOPPED)
        await other.destroy(instance.ref)
    await expect_state(instance, InstanceState.GONE)


@case()
async def closing_a_provider_destroys_nothing(check: Check) -> None:
    """What a provider started keeps running when the provider is closed."""
    if check.subject.reopen is None:
        raise NotApplicable("the subject has no second provider")
    spec = check.spec()
    async with check.subject.reopen() as other:
        made = await other.create(await other.prepare(spec))
        check.cleanup.push_async_callback(check.provider.destroy, made.ref)
        await made.start()
    instance = await check.provider.attach(made.ref)
    await expect_state(instance, InstanceState.RUNNING)
    expect_equal((await check.sh(instance, "echo alive")).stdout, b"alive\n", "what a command printed")


@case(Capability.HOST_TREE)
async def the_worktree_is_shared(check: Check) -> None:
    """What is written on the host is read inside and the other way round, and ``destroy`` leaves it alone."""
    spec = check.spec()
    instance = await check.running(spec)
    tree = anyio.Path(spec.worktree)
    await (tree / "from-host.txt").write_text("host\n")
    ran = await check.sh(instance, "cat from-host.txt; echo inside > from-inside.txt")
    expect_equal(ran.stdout, b"host\n", "what was read inside")
    expect_equal(await (tree / "from-inside.txt").read_text(), "inside\n", "what was read on the host")
    await check.provider.destroy(instance.ref)
    expect(await (tree / "from-inside.txt").exists(), "destroy leaves the worktree alone")


CASES = (
    probe_tells_what_it_is,
    a_capability_has_its_protocol,
    create_leaves_it_stopped,
    create_twice_makes_one,
    create_at_once_makes_one,
    attach_starts_nothing,
    attach_works_by_the_id_alone,
    attach_to_nothing_is_gone,
    status_follows_the_life,
    start_twice_changes_nothing,
    stop_twice_changes_nothing,
    stop_ends_commands,
    destroy_created,
    destroy_running,
    destroy_stopped,
    destroy_paused,
    destroy_works_by_the_id_alone,
    destroy_nothing,
    create_again_after_destroy,
    list_by_labels,
    everything_carries_our_label,
    another_process_sees_the_same,
    closing_a_provider_destroys_nothing,
    the_worktree_is_shared,
)
