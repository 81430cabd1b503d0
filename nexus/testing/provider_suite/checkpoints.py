"""Cases about what is kept of an instance for a checkpoint, and what is made from it."""

from __future__ import annotations

from typing import Final

from nexus.abc import Instance, SupportsCheckpoints, SupportsPause
from nexus.errors import CheckpointDamaged, Unsupported, WorkspaceGone
from nexus.models.checkpoints import KeptPlace
from nexus.models.ids import CheckpointId, new_checkpoint_id
from nexus.models.instances import Capability, InstanceRef, InstanceState
from nexus.testing.expecting import ExpectationFailed, expect, expect_equal, expect_error
from nexus.testing.provider_suite.case import Check, ProviderCase, case, expect_state

_FILE: Final = "/tmp/nexus-conformance"  # noqa: S108 - inside the instance
_LABELS: Final = {"dev.nexus.test": "checkpoints"}


def _keeper(check: Check) -> SupportsCheckpoints:
    provider = check.provider
    if not isinstance(provider, SupportsCheckpoints):
        raise ExpectationFailed("a provider with the capability checkpoints implements SupportsCheckpoints")
    return provider


async def _kept(check: Check, instance: Instance, key: CheckpointId) -> KeptPlace:
    keeper = _keeper(check)
    check.cleanup.push_async_callback(keeper.drop_place, key)
    return await keeper.keep_place(instance.ref, key, {**_LABELS, "dev.nexus.test.key": key})


async def _write(check: Check, instance: Instance, text: str) -> bool:
    """Write a file outside of the tree; return whether this backend has such a place."""
    return (await check.sh(instance, f"echo {text} > {_FILE}")).status == 0


@case(Capability.CHECKPOINTS)
async def an_instance_goes_back_to_what_was_kept(check: Check) -> None:
    """Made from what was kept, an instance of the same id is stopped, can be started, and has the files that it had then."""
    spec = check.spec()
    instance = await check.running(spec)
    own = await _write(check, instance, "then")
    key = new_checkpoint_id()
    place = await _kept(check, instance, key)
    expect_equal(place.key, key, "the key of what was kept")
    await expect_state(instance, InstanceState.RUNNING)
    await _write(check, instance, "now")
    back = await _keeper(check).make_from(spec, place, {})
    expect_equal(back.ref.id, instance.ref.id, "the id of what was made")
    await expect_state(back, InstanceState.STOPPED)
    listed = [status.ref.id for status in await check.provider.list() if status.ref.id == spec.id]
    expect_equal(listed, [spec.id], "how often it is listed")
    await back.start()
    if own:
        expect_equal((await check.sh(back, f"cat {_FILE}")).stdout, b"then\n", "the file that was kept")
    expect_equal((await check.sh(back, "echo alive")).stdout, b"alive\n", "what a command printed")


@case(Capability.CHECKPOINTS)
async def another_instance_is_made_from_what_was_kept(check: Check) -> None:
    """An instance of another id can be made from it, twice with the same outcome; neither harms the first, nor does dropping it."""
    instance = await check.running()
    own = await _write(check, instance, "then")
    place = await _kept(check, instance, new_checkpoint_id())
    await _write(check, instance, "now")
    spec = check.spec()
    await _keeper(check).make_from(spec, place, {})
    twin = await _keeper(check).make_from(spec, place, {})
    check.cleanup.push_async_callback(check.provider.destroy, twin.ref)
    await twin.start()
    await _keeper(check).drop_place(place.key)
    await twin.stop(grace=1.0)
    await twin.start()
    if own:
        expect_equal((await check.sh(twin, f"cat {_FILE}")).stdout, b"then\n", "the file of the twin")
        expect_equal((await check.sh(instance, f"cat {_FILE}")).stdout, b"now\n", "the file of the first")
    again = await _kept(check, twin, new_checkpoint_id())
    await check.provider.destroy(twin.ref)
    third = await _keeper(check).make_from(spec, again, {})
    await third.start()
    if own:
        expect_equal((await check.sh(third, f"cat {_FILE}")).stdout, b"then\n", "the file of a twin's twin")


@case(Capability.CHECKPOINTS, Capability.PAUSE)
async def what_stands_still_can_be_kept(check: Check) -> None:
    """A paused and a stopped instance can be kept, and stay what they are."""
    instance = await check.running()
    if not isinstance(instance, SupportsPause):
        raise ExpectationFailed("an instance with the capability pause has pause and resume")
    await instance.pause()
    await _kept(check, instance, new_checkpoint_id())
    await expect_state(instance, InstanceState.PAUSED)
    await instance.stop(grace=1.0)
    await _kept(check, instance, new_checkpoint_id())
    await expect_state(instance, InstanceState.STOPPED)


@case(Capability.CHECKPOINTS)
async def what_is_kept_outlives_its_instance_and_is_found(check: Check) -> None:
    """What is kept is found by its labels, is no instance, outlives its instance, and goes when it is dropped, twice if need be."""
    spec = check.spec()
    instance = await check.running(spec)
    keeper, key = _keeper(check), new_checkpoint_id()
    place = await _kept(check, instance, key)
    before = {status.ref.id for status in await check.provider.list()}
    expect("" not in before, "what is kept is listed as no instance")
    await check.provider.destroy(instance.ref)
    found = await keeper.kept_places({"dev.nexus.test.key": key})
    expect_equal([*found], [key], "the keys of what is kept with this label")
    expect(_LABELS.items() <= found[key].items(), f"it carries the labels that it was given: {found[key]}")
    back = await keeper.make_from(spec, place, {})
    await back.start()
    await check.provider.destroy(back.ref)
    for _ in range(2):
        await keeper.drop_place(key)
    expect_equal(await keeper.kept_places({"dev.nexus.test.key": key}), {}, "what is kept after it was dropped")
    await expect_error(
        CheckpointDamaged, lambda: keeper.make_from(spec, place, {}), "making an instance of what was dropped"
    )


@case(Capability.CHECKPOINTS)
async def what_cannot_be_kept_is_said(check: Check) -> None:
    """An instance that is not there is WorkspaceGone; processes are kept, or refused with a reason."""
    instance = await check.running()
    keeper, key = _keeper(check), new_checkpoint_id()
    check.cleanup.push_async_callback(keeper.drop_place, key)
    gone = InstanceRef(id=check.spec().id, name="gone")
    await expect_error(WorkspaceGone, lambda: keeper.keep_place(gone, key, _LABELS), "keeping what is not there")
    try:
        place = await keeper.keep_place(instance.ref, key, _LABELS, processes=True)
    except Unsupported as error:
        expect("process" in error.message, f"the error says what cannot be kept: {error}")
        return
    expect(place.processes, "processes that were asked for are in it")


CASES: Final[tuple[ProviderCase, ...]] = (
    an_instance_goes_back_to_what_was_kept,
    another_instance_is_made_from_what_was_kept,
    what_stands_still_can_be_kept,
    what_is_kept_outlives_its_instance_and_is_found,
    what_cannot_be_kept_is_said,
)
