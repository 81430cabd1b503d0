"""The life of workspaces."""

from __future__ import annotations

import anyio

from nexus.errors import (
    AlreadyExists,
    CheckpointNotFound,
    InvalidName,
    NotFound,
    StateConflict,
    UnsavedWork,
    Unsupported,
    WorkspaceNotFound,
)
from nexus.handles.workspace import Workspace
from nexus.models.checkpoints import ForkRequest
from nexus.models.requests import ListFilter
from nexus.models.workspace import WorkspaceInfo, WorkspaceStatus
from nexus.testing.expecting import expect, expect_equal, expect_error
from nexus.testing.service_suite.case import ServiceCase, ServiceCheck, case


@case
async def a_workspace_is_created_found_and_destroyed(check: ServiceCheck) -> None:
    """What was created is returned, listed and got by name and by id; what was destroyed is gone."""
    made = await check.service.create("one", labels={"team": "a"}, display_name="The first")
    expect_equal(made.info.status, WorkspaceStatus.RUNNING, "the status after a creation")
    expect_equal(made.info.branch, "nexus/one", "the branch")
    expect_equal((await check.service.get("one")).id, made.id, "the id by name")
    expect_equal((await check.service.get(made.id)).name, "one", "the name by id")
    expect_equal(made.info.labels, {"team": "a"}, "the labels")
    expect_equal(made.info.display_name, "The first", "the name for people")
    expect_equal([entry.name for entry in await check.service.list()], ["one"], "the list")
    done = await made.destroy()
    expect_equal((done.name, done.branch_deleted), ("one", True), "what the destroy did")
    await expect_error(WorkspaceNotFound, lambda: check.service.get("one"), "asking for it afterwards")
    expect_equal(await check.service.list(), (), "the list afterwards")


@case
async def lists_are_filtered(check: ServiceCheck) -> None:
    """A list gives what matches the filter, by name."""
    for name, team in (("b", "x"), ("a", "x"), ("c", "y")):
        await check.service.create(name, labels={"team": team}, start=False)
    found = await check.service.list(ListFilter(labels={"team": "x"}))
    expect_equal([entry.name for entry in found], ["a", "b"], "the workspaces with this label")
    await check.service.destroy("b")
    found = await check.service.list(ListFilter(destroyed=True))
    expect_equal([str(entry.name) for entry in found], ["a", "c", "b"], "all, destroyed ones last")


@case
async def errors_are_told_by_their_class(check: ServiceCheck) -> None:
    """What is wrong is an error of its own class, with the same code and a hint where there is one."""
    await check.service.create("one", start=False)

    async def again() -> None:
        await check.service.create("one")

    taken = await expect_error(AlreadyExists, again, "creating it twice")
    expect("one" in str(taken), f"the message names it: {taken}")
    missing = await expect_error(WorkspaceNotFound, lambda: check.service.start("absent"), "starting what is not there")
    expect(isinstance(missing, LookupError), "it is a LookupError as well")

    async def misname() -> None:
        await check.service.create("No Name!")

    wrong = await expect_error(InvalidName, misname, "a name that breaks the rule")
    expect(isinstance(wrong, InvalidName) and wrong.hint, "the hint says which name would do")
    await expect_error(StateConflict, lambda: check.service.resume("one"), "resuming what was never paused")


@case
async def stop_start_pause_resume(check: ServiceCheck) -> None:
    """Each changes the status as it says, and doing it twice is fine."""
    one = await check.workspace()
    for act, wanted in (
        (one.pause, WorkspaceStatus.PAUSED),
        (one.pause, WorkspaceStatus.PAUSED),
        (one.resume, WorkspaceStatus.RUNNING),
        (one.stop, WorkspaceStatus.STOPPED),
        (one.stop, WorkspaceStatus.STOPPED),
        (one.start, WorkspaceStatus.RUNNING),
    ):
        info: WorkspaceInfo = await act()
        expect_equal(info.status, wanted, f"the status after {act.__name__}")
        expect_equal(await one.status(), wanted, "the status that is seen")


@case
async def switching_pauses_one_and_wakes_the_other(check: ServiceCheck) -> None:
    """A switch makes a workspace the current one, and says what it did."""
    one, two = await check.workspace("one"), await check.workspace("two")
    first = await one.switch()
    expect_equal((first.previous, first.current), (None, "one"), "the first switch")
    second = await two.switch()
    expect_equal((second.previous, second.current), ("one", "two"), "the second switch")
    expect_equal(await check.service.current(), "two", "the current workspace")
    expect_equal(await one.status(), WorkspaceStatus.PAUSED, "the status of the one before")


@case
async def unsaved_work_is_refused_kept_and_restored(check: ServiceCheck) -> None:
    """A destroy refuses while work would be lost and lists it; by force it is kept, and a restore brings it back."""
    one = await check.workspace()
    await one.fs.write_text("notes.md", "not saved\n")
    refused = await expect_error(UnsavedWork, one.destroy, "destroying unsaved work")
    lost = refused.lost if isinstance(refused, UnsavedWork) else ()
    expect(any("notes.md" in line for line in lost), f"what would be lost is listed: {lost}")
    done = await one.destroy(force=True)
    expect(done.rescued, "the ref that holds it is told")
    kept = await check.service.rescues("one")
    expect_equal([rescue.ref for rescue in kept], [done.rescued], "the rescues")
    back = await check.service.restore("one")
    expect_equal(await back.fs.read_text("notes.md"), "not saved\n", "the file after a restore")


@case
async def an_owning_block_destroys_what_it_made(check: ServiceCheck) -> None:
    """Leaving a block that owns a workspace destroys it."""
    async with check.service.create("one") as one:
        expect_equal((await one.exec("echo", "here")).stdout, "here\n", "a command in it")
    expect_equal(await check.service.list(), (), "the list after the block")


@case
async def ensure_creates_once(check: ServiceCheck) -> None:
    """A workspace that is ensured is created when absent and started when it does not run."""
    first = await check.service.ensure("one")
    await first.stop()
    second = await check.service.ensure("one")
    expect_equal(first.id, second.id, "the id")
    expect_equal(second.info.status, WorkspaceStatus.RUNNING, "the status")


@case
async def a_creation_tells_how_it_moves_on(check: ServiceCheck) -> None:
    """Progress is told step by step."""
    steps: list[str] = []

    def progress(step: str, message: str, done: int | None = None, total: int | None = None, /) -> None:  # noqa: ARG001
        steps.append(step)

    await check.service.create("one", progress=progress)
    expect(steps, "at least one step was told")


@case
async def a_cancelled_creation_leaves_nothing(check: ServiceCheck) -> None:
    """A creation that is cancelled has undone what it did when the call returns."""
    for delay in (0.0, 0.01, 0.05):
        made: list[Workspace] = []
        with anyio.move_on_after(delay):
            made.append(await check.service.create("one"))
        if made:
            await made[0].destroy()
        expect_equal(await check.service.list(), (), f"the list after a cancellation ({delay} s)")
    await (await check.service.create("one")).destroy()


@case
async def checkpoints_are_taken_restored_and_forked(check: ServiceCheck) -> None:
    """A checkpoint brings back what was, restoring it can be taken back, and a fork begins from it."""
    one = await check.workspace()
    checkpoints = check.service.checkpoints(one.info)
    await one.fs.write_text("a", "then\n")
    taken = await checkpoints.create("before")
    await one.fs.write_text("a", "now\n")
    expect_equal((await checkpoints.diff("before")).of("changed"), ("a",), "what differs from now")
    done = await checkpoints.restore("before")
    expect_equal(await one.fs.read_text("a"), "then\n", "the file after a restore")
    await checkpoints.restore(done.undo)
    expect_equal(await one.fs.read_text("a"), "now\n", "the file after the restore was taken back")
    forks = await check.service.fork(ForkRequest(workspace="one", names=("two", "three"), at="before"))
    expect_equal([fork.error for fork in forks], [None, None], "the forks' errors")
    two = await check.service.attach("two")
    expect_equal(await two.fs.read_text("a"), "then\n", "the file in a fork")
    expect(taken.id in [each.id for each in await checkpoints.list()], "it is listed")
    await checkpoints.delete(taken)
    await expect_error(CheckpointNotFound, lambda: checkpoints.restore("before"), "restoring what was removed")
    for name in ("one", "two", "three"):
        await check.service.destroy(name, force=True)


@case
async def processes_are_kept_over_a_stop_or_that_is_refused(check: ServiceCheck) -> None:
    """A stop that is to keep processes does, and they go on, or it is refused and nothing has changed."""
    one = await check.workspace()
    try:
        await one.stop(keep_processes=True)
    except Unsupported as refused:
        expect_equal(refused.details.get("capability"), "hibernation", "what its backend cannot")
        expect_equal((await one.refresh()).status, WorkspaceStatus.RUNNING, "the status after a refusal")
        return
    expect_equal(one.info.status, WorkspaceStatus.STOPPED, "the status of one whose processes are kept")
    await one.start()
    expect_equal((one.info.status, one.info.status_message), (WorkspaceStatus.RUNNING, None), "what became of it")


@case
async def holds_are_taken_and_released(check: ServiceCheck) -> None:
    """A hold keeps a workspace awake until it is released."""
    one = await check.workspace()
    taken = await one.hold("build", ttl=60, reason="a long build")
    expect_equal((taken.name, taken.reason), ("build", "a long build"), "the hold")
    expect_equal([hold.name for hold in await one.holds()], ["build"], "the holds")
    await one.release("build")
    expect_equal(await one.holds(), (), "the holds afterwards")
    await expect_error(NotFound, lambda: one.release("build"), "releasing it twice")


@case
async def housekeeping_is_told(check: ServiceCheck) -> None:
    """Backends, findings, and what could be removed are told."""
    await check.workspace()
    names = {info.name for info in await check.service.probe()}
    expect({"local", "mock"} <= names, f"the backends that come with Nexus are told: {sorted(names)}")
    findings = await check.service.doctor()
    expect(findings, "an examination finds something, if only that all is well")
    expect(all(finding.message for finding in findings), "each finding says what it is")
    await check.service.gc(dry_run=True)
    await check.service.prune(dry_run=True)


@case
async def settings_are_explained(check: ServiceCheck) -> None:
    """A setting's value is told, and which layer it comes from."""
    value = await check.service.setting("defaults.backend")
    explained = await check.service.explain("defaults.backend")
    expect_equal(explained.value, value, "the value in the explanation")
    expect(explained.layers, "the layers are told")


CASES = tuple(each for each in tuple(globals().values()) if isinstance(each, ServiceCase))
