"""Cases about processes that are kept while nothing runs."""

from __future__ import annotations

from nexus.abc import Instance, SupportsHibernation
from nexus.errors import Unsupported, WorkspaceGone, WorkspaceStopped
from nexus.models.execution import SpawnRequest
from nexus.models.instances import Capability, InstanceState
from nexus.testing.expecting import ExpectationFailed, expect, expect_equal, expect_error
from nexus.testing.provider_suite.case import Check, ProviderCase, case, expect_state


def _sleeper(instance: Instance) -> SupportsHibernation:
    if not isinstance(instance, SupportsHibernation):
        raise ExpectationFailed(
            "an instance of a provider with the capability hibernation implements SupportsHibernation"
        )
    return instance


async def _hibernated(check: Check, instance: Instance) -> bool:
    """Have an instance hibernate; return whether it does. A backend that cannot after all says why, and the instance goes on."""
    try:
        await _sleeper(instance).hibernate()
    except Unsupported as refused:
        expect(refused.hint, f"a refusal says what can be done: {refused.message}")
        await expect_state(instance, InstanceState.RUNNING)
        expect_equal(
            (await check.sh(instance, "echo alive")).stdout, b"alive\n", "what a command printed after a refusal"
        )
        return False
    return True


@case(Capability.HIBERNATION)
async def a_hibernating_instance_is_stopped_and_goes_on(check: Check) -> None:
    """An instance that hibernates is stopped, can be told so again, and runs when it is woken; a refusal changes nothing."""
    instance = await check.running()
    if not await _hibernated(check, instance):
        return
    await expect_state(instance, InstanceState.STOPPED)
    await _sleeper(instance).hibernate()
    await check.refused(WorkspaceStopped, instance, SpawnRequest(argv=("true",)), "a command while it hibernates")
    expect_equal(dict((await _sleeper(instance).wake()).lost), {}, "what did not come back")
    await expect_state(instance, InstanceState.RUNNING)
    expect_equal(dict((await _sleeper(instance).wake()).lost), {}, "what did not come back of one that runs")
    expect_equal((await check.sh(instance, "echo alive")).stdout, b"alive\n", "what a command printed")


@case(Capability.HIBERNATION)
async def what_is_kept_ends_with_another_start(check: Check) -> None:
    """What was kept goes on once. After a start of another kind, or when it was forgotten, it is lost, and that is said."""
    instance = await check.running()
    if not await _hibernated(check, instance):
        return
    await instance.start()
    await instance.stop(grace=1.0)
    expect_equal(list((await _sleeper(instance).wake()).lost), [""], "what is lost after another start")
    await expect_state(instance, InstanceState.STOPPED)
    await expect_error(WorkspaceStopped, _sleeper(instance).hibernate, "hibernation of what does not run")
    await instance.start()
    await _sleeper(instance).hibernate()
    await _sleeper(instance).forget()
    await _sleeper(instance).forget()
    expect_equal(list((await _sleeper(instance).wake()).lost), [""], "what is lost after it was forgotten")
    await instance.start()
    expect_equal((await check.sh(instance, "echo alive")).stdout, b"alive\n", "what a command printed")
    await check.provider.destroy(instance.ref)
    await expect_error(WorkspaceGone, _sleeper(instance).hibernate, "hibernation of what is gone")
    await expect_error(WorkspaceGone, _sleeper(instance).wake, "waking what is gone")


CASES = tuple(each for each in tuple(globals().values()) if isinstance(each, ProviderCase))
