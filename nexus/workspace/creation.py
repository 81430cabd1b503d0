"""Creating a workspace: journaled steps forward, and the same steps back when one fails."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio

from nexus.abc import Instance, ProgressCallback, Provider, SupportsCheckpoints, SupportsMakingAhead
from nexus.config import ConfigStack, Settings, SshAccess
from nexus.errors import (
    AlreadyExists,
    BranchInUse,
    CheckpointNotFound,
    CleanupError,
    GitError,
    HookFailed,
    ImageNotFound,
    NexusError,
    NotTrusted,
    PortInUse,
    RecordDamaged,
    WorkspaceNotFound,
)
from nexus.git import Fill, GitIdentity, Worktree, read_identity
from nexus.models.checkpoints import CheckpointEntry
from nexus.models.events import StatusChanged
from nexus.models.instances import Capability, InstanceSpec
from nexus.models.requests import CreateRequest
from nexus.models.workspace import WorkspaceRecord, WorkspaceStatus
from nexus.state import JournalEntry, OpenJournal
from nexus.workspace import prebuilt, quota, references, service_trust, services_life
from nexus.workspace.activity import chosen_patience
from nexus.workspace.at_once import both
from nexus.workspace.bringup import bring_up
from nexus.workspace.context import Context
from nexus.workspace.environment import refuse_own_secrets
from nexus.workspace.forked_records import forked, renamed_volumes, requests_of
from nexus.workspace.hook_plan import admit, remembered
from nexus.workspace.keeping_work import keep_work, tree_to_keep
from nexus.workspace.lifecycle import Event, after
from nexus.workspace.places import replace_ports
from nexus.workspace.plan import UNDO, CreateStep, Operation, Undo, create_steps, undo_steps
from nexus.workspace.privacy import close_folders
from nexus.workspace.records import draft, reference, touched, with_ports, with_user
from nexus.workspace.refilling import refill
from nexus.workspace.resizing import chosen_resources
from nexus.workspace.services_plan import moved_ports, port_requests
from nexus.workspace.ssh_access import look_up
from nexus.workspace.visibility import bound

_log = logging.getLogger(__name__)

NOTES = "dev.nexus.notes"
"""Annotation that keeps what creation has to say about the tree: what came along, what was left as it is. One line each."""

FORKED = "forked"
"""Key of a record's ``config``: the checkpoint that it was made from."""

UNDO_TIMEOUT = 60.0
"""Seconds that undoing a failed creation may take; what is left then stays in the journal for the next one who opens."""


class Creation:
    """One creation on its way. The record grows with each step; the journal knows how far it got."""

    def __init__(
        self, context: Context, record: WorkspaceRecord, journal: OpenJournal, report: ProgressCallback
    ) -> None:
        self._context = context
        self.journal = journal
        self._report = report
        self.record: WorkspaceRecord = record
        self.failure: HookFailed | NotTrusted | None = None
        """What keeps a workspace that is made, and stays, from running."""
        self._writing = anyio.Lock()  # two steps run at once; the journal is written line by line

    async def run(self, request: CreateRequest) -> WorkspaceRecord:
        """Take every step; undo them all when one fails or the call is cancelled."""
        try:
            await self._step(CreateStep.CLAIM, self._claim)
            await self._step(CreateStep.RECORD, self._save)
            await self._step(CreateStep.PORTS, lambda: self._lease(request))
            await both(
                lambda: self._step(CreateStep.WORKTREE, lambda: self._check_out(request)),
                lambda: self._prepare_place(request),
            )
            await self._step(CreateStep.INSTANCE, lambda: self._make(request))
            if request.start:
                await self._step(CreateStep.START, self.start)
            await self.complete(started=request.start)
        except BaseException as error:  # also a cancelled creation takes back what it did
            await self._take_back(error)
            raise
        if self.failure is not None:
            raise self.failure
        return self.record

    async def complete(self, *, started: bool) -> None:
        """Write the final record and close the journal: from here on the workspace exists."""
        event = Event.FAIL if self.failure is not None else Event.START if started else Event.CREATED
        status = after(WorkspaceStatus.PENDING, event, name=self.record.name)
        self.record = touched(self.record, status, None if self.failure is None else self.failure.message)
        await self._context.store.save(self.record)
        await self.journal.close()
        self._context.bus.publish(
            StatusChanged(
                workspace=self.record.id,
                name=self.record.name,
                previous=WorkspaceStatus.PENDING,
                status=status,
                reason="created",
            )
        )

    # Steps ----------------------------------------------------------------------------------------------------------

    async def _step(self, step: CreateStep, act: Callable[[], Awaitable[None]]) -> None:
        async with self._writing:
            await self.journal.doing(step)
        await act()
        async with self._writing:
            await self.journal.done(step, {"record": self.record.model_dump(mode="json")})

    async def _claim(self) -> None:
        await quota.claim(self._context, self.record)

    async def _save(self) -> None:
        await self._context.store.save(self.record)

    def _settings(self, request: CreateRequest) -> Settings:
        stack = self._context.stack
        return stack.with_flags(request.settings).settings if request.settings else stack.settings

    async def _lease(self, request: CreateRequest) -> None:
        requests = port_requests(self._settings(request))
        if request.fork is not None:
            requests = requests_of((await fork_of(self._context, request.fork)).record.port_mappings)
        mappings = await self._context.allocator.allocate(
            self.record.id,
            key=f"{self.record.repository.root}:{self.record.name}",
            backend=self.record.backend,
            requests=requests,
        )
        for note in moved_ports(requests, mappings):
            self._report("ports", note)
        self.record = with_ports(self.record, await bound(self._context, mappings))

    async def _check_out(self, request: CreateRequest) -> None:
        record, worktrees = self.record, self._context.worktrees
        self._report("worktree", f"checking out {record.branch}")
        async with self._context.repository_lock(f"creating workspace {record.name}"):
            await worktrees.exclude()
            try:
                tree = await self._make_tree(request, record)
            except BaseException:
                # The call has removed what it made. A branch that is there now is somebody else's, whatever it points at.
                self.record = self.record.model_copy(update={"branch_created": False})
                raise
        for note in tree.notes:
            self._report("worktree", note)
        notes = {NOTES: "\n".join(tree.notes)} if tree.notes else {}
        base = tree.head if request.restore is None else record.base_commit
        self.record = self.record.model_copy(
            update={
                "base_commit": base,
                "isolation": tree.isolation,
                "annotations": {**self.record.annotations, **notes},
            }
        )

    async def _make_tree(self, request: CreateRequest, record: WorkspaceRecord) -> Worktree:
        worktrees, settings, reason = self._context.worktrees, self._settings(request), f"nexus:{record.id}"
        if request.restore is not None:
            return await worktrees.restore(
                record.name,
                request.restore,
                reason=reason,
                isolation=record.isolation,
                include=settings.worktree_include,
                include_max=settings.worktree_include_max,
                fork=request.fork is not None,
                progress=self._report,
            )
        return await worktrees.create(
            record.name,
            start=request.start_point,
            reason=reason,
            adopt=request.adopt_branch,
            isolation=record.isolation,
            include=settings.worktree_include,
            include_max=settings.worktree_include_max,
            fill=Fill(settings.submodules, settings.lfs),
            progress=self._report,
        )

    async def _prepare(self, request: CreateRequest) -> None:
        if request.fork is not None and (await fork_of(self._context, request.fork)).place is not None:
            return  # what it is made from is here
        provider = await self._context.provider(self.record.backend)
        # Without its mounts: the worktree is being written meanwhile, and an image does not depend on it.
        spec = self._context.specification(self.record).model_copy(update={"mounts": ()})
        spec = await provider.prepare(spec, progress=self._report)
        chosen = with_user(self.record.model_copy(update={"image": spec.image}), spec.remote_user)
        chosen = await prebuilt.choose(self._context, chosen, request, self._settings(request), provider)
        # The tree is being written meanwhile, and its step says things of its own in the record.
        self.record = self.record.model_copy(
            update={
                "image": chosen.image,
                "config": chosen.config,
                "annotations": {**self.record.annotations, **chosen.annotations},
            }
        )

    async def _prepare_place(self, request: CreateRequest) -> None:
        """Have the image ready, and begin with the place meanwhile: with what needs neither it nor the tree."""
        provider = await self._context.provider(self.record.backend)

        async def prepare() -> None:
            await self._step(CreateStep.IMAGE, lambda: self._prepare(request))

        if isinstance(provider, SupportsMakingAhead):
            await both(lambda: self._make_ahead(provider), prepare)
        else:
            await prepare()

    async def _make_ahead(self, provider: SupportsMakingAhead) -> None:
        async with self._writing:
            await self.journal.doing(CreateStep.INSTANCE)
        await provider.make_ahead(self._context.specification(self.record).model_copy(update={"mounts": ()}))

    def _own_ssh(self, request: CreateRequest) -> SshAccess | None:
        """Return what is asked for this workspace alone: it holds at each start, whatever the configuration says then."""
        return self._settings(request).ssh if any(key.startswith("secrets.ssh") for key in request.settings) else None

    async def _make(self, request: CreateRequest) -> None:
        provider = await self._context.provider(self.record.backend)
        self.record = await look_up(self._context, self.record, self._report, self._own_ssh(request))
        spec = self._context.specification(self.record)
        self._report("create", f"making the {self.record.backend} instance")
        place = None if request.fork is None else (await fork_of(self._context, request.fork)).place
        if place is not None and isinstance(provider, SupportsCheckpoints):
            names = renamed_volumes(place, self.record.id)
            instance = await provider.make_from(spec, place, names, progress=self._report)
        else:
            instance = await self._make_new(provider, spec)
        self.record = self.record.model_copy(update={"container_id": instance.ref.handle, "volumes": spec.mounts})

    async def _make_new(self, provider: Provider, spec: InstanceSpec) -> Instance:
        try:
            return await provider.create(prebuilt.beginning(self.record, spec), progress=self._report)
        except ImageNotFound:
            if not prebuilt.is_chosen(self.record):
                raise
        self.record = prebuilt.without(self.record)  # somebody has just removed it
        return await provider.create(spec, progress=self._report)

    async def start(self) -> None:
        """Start the instance that was made.

        A workspace whose ``pre-start`` fails is kept, stopped, so that it can be looked at; and so is one whose scripts are, by the
        time that recovery comes here, not approved any more.
        """
        instance = await self._context.instance(self.record)
        try:
            self.record = await self._bring_up(instance)
        except (HookFailed, NotTrusted) as error:
            self.failure = error

    async def _bring_up(self, instance: Instance) -> WorkspaceRecord:
        try:
            return await bring_up(self._context, self.record, instance, self._report)
        except PortInUse as refusal:
            self.record, instance = await replace_ports(self._context, self.record, instance, refusal)
        return await bring_up(self._context, self.record, instance, self._report)

    async def _take_back(self, error: BaseException) -> None:
        """Undo in a shield of its own; what cannot be undone in time is left to the journal and said in a note."""
        with anyio.CancelScope(shield=True), anyio.move_on_after(UNDO_TIMEOUT) as scope:
            try:
                await undo(self._context, self.journal, self.journal.entry, self.record)
            except NexusError as left:
                error.add_note(f"not everything could be undone: {left.message}; {left.hint or ''}")
        if scope.cancelled_caught:
            error.add_note("undoing took too long and was left to 'boulder doctor --fix'")


async def begin(context: Context, request: CreateRequest, progress: ProgressCallback | None) -> Creation:
    """Check what can be checked without a trace, then open the journal. The caller holds the workspace's lock.

    Raises:
        AlreadyExists: When a workspace, or the damaged record of one, has this name.
        UnbornHead, RefNotFound: When there is no commit to start from.
        ProviderNotFound: When the backend has no driver.
        NotTrusted: When the project's scripts would run on this host and are not approved.
        InvalidArgument: When the request's own settings name secrets.
    """
    await close_folders(context, make=True)
    await _refuse_existing(context, request.name)
    await drop_stale_claim(context, request.name)
    await refill(context)
    stack = context.stack.with_flags(request.settings) if request.settings else context.stack
    refuse_own_secrets(context, stack.settings)
    record, base = await (_new if request.fork is None else _forked)(context, request, stack)
    there = await branch_tip(context, record)
    if there is not None:
        _refuse_branch(request, record, same=there == base)
        record = record.model_copy(update={"branch_created": False})
    asked = request.fork is None
    if asked:
        record = remembered(record, request, stack)
    if request.start:
        # What a fork runs was approved for the workspace that it is forked from, or is not.
        await admit(context, record, new=asked)
        await service_trust.check(context, record, new=asked)
    if asked:
        await references.remember(context, record)
    journal = await context.journal.begin(
        operation=Operation.CREATE,
        workspace=record.id,
        name=record.name,
        plan=create_steps(start=request.start),
        facts={"record": record.model_dump(mode="json"), "request": request.model_dump(mode="json")},
    )
    report = context.reporter(record, progress)
    if stack.adopted is not None:
        report("settings", stack.adopted.summary)
    return Creation(context, record, journal, report)


async def _new(context: Context, request: CreateRequest, stack: ConfigStack) -> tuple[WorkspaceRecord, str]:
    """Return the record of a workspace as it is configured, and the commit that it starts from."""
    await context.provider(stack.settings.backend)  # one without a driver is told of before anything is begun
    worktrees = context.worktrees
    base, identity = await both(
        lambda: (
            worktrees.resolve(request.start_point)
            if request.restore is None
            else worktrees.restorable_tip(request.restore)
        ),
        lambda: told_identity(context, stack.settings.backend, told=stack.settings.git_identity),
    )
    record = draft(
        request,
        stack.settings,
        context.repository,
        branch=worktrees.branch(request.name),
        base_commit=base,
        worktree=worktrees.path(request.name),
        identity=identity,
        chosen={**chosen_patience(stack), **chosen_resources(stack)},
    ).model_copy(update={"node": context.node})
    if record.services:
        services_life.refuse(record, await context.probe(record.backend))
    return record, base


async def _forked(context: Context, request: CreateRequest, stack: ConfigStack) -> tuple[WorkspaceRecord, str]:
    """Return the record of a workspace as another one was, under a name of its own, and the commit that it starts from."""
    del stack
    entry = await fork_of(context, request.fork or "")
    base = await context.worktrees.restorable_tip(entry.checkpoint.ref)
    branch, tree = context.worktrees.branch(request.name), context.worktrees.path(request.name)
    record = forked(entry.record, request, branch=branch, base_commit=base, worktree=tree)
    await references.inherit(context, record, entry.record)
    origin = {**record.config, FORKED: str(entry.checkpoint.id)}
    return record.model_copy(update={"node": context.node, "config": origin}), base


async def fork_of(context: Context, fork: str) -> CheckpointEntry:
    """Return the checkpoint that a workspace is to be made from.

    Raises:
        CheckpointNotFound: When it is gone.
    """
    workspace, _, identifier = fork.partition("/")
    for entry in await context.checkpoints.load(workspace):
        if entry.checkpoint.id == identifier:
            return entry
    raise CheckpointNotFound(
        f"the checkpoint {identifier} of workspace {workspace!r} is gone",
        details={"workspace": workspace, "checkpoint": identifier},
    )


async def told_identity(context: Context, backend: str, *, told: bool) -> GitIdentity | None:
    """Return whom git inside commits for; ``None`` where it runs on this host and knows by itself."""
    info = await context.probe(backend)
    if info.available and Capability.ISOLATION not in info.capabilities:
        return None
    return await read_identity(context.repository) if told else GitIdentity()


async def resume(context: Context, entry: JournalEntry) -> Creation:
    """Take up a creation that a crash cut short, with the record as the journal last saw it."""
    journal = await context.journal.reopen(entry)
    record = WorkspaceRecord.model_validate(entry.facts["record"])
    return Creation(context, record, journal, context.reporter(record, None))


async def undo(context: Context, journal: OpenJournal, entry: JournalEntry, record: WorkspaceRecord) -> None:
    """Take back every step that was begun, in reverse, and close the journal when all are.

    Raises:
        CleanupError: When something is left; the journal stays, so that it can be tried again.
    """
    if entry.started:
        await journal.doing(UNDO)
    for taken in undo_steps(entry.started, entry.finished):
        try:
            await _undo_step(context, taken, record)
        except NexusError as error:
            # What comes after depends on it: a tree in use is not removed, and what is left stays listed under its name.
            _log.warning("undoing step %s of %s: %s", taken.step, record.name, error)
            raise CleanupError(
                f"step {taken.step} of creating {record.name!r} could not be undone: {error.message}",
                hint="'boulder doctor --fix' tries again",
                details={"left": [str(taken.step)]},
            ) from error
    await journal.close()


async def _undo_step(context: Context, taken: Undo, record: WorkspaceRecord) -> None:
    match taken.step:
        case CreateStep.INSTANCE:
            provider = await context.provider(record.backend)
            await provider.destroy(reference(record))
        case CreateStep.WORKTREE:
            await _undo_worktree(context, record, finished=taken.finished)
        case CreateStep.PORTS:
            await context.allocator.release(record.id)
        case CreateStep.CLAIM:
            await context.registry.unclaim(record.id)
        case CreateStep.RECORD:
            await context.store.delete(record.name)
            await context.forget_activity(record.id)
            await context.hook_logs.remove(record.name)
        case CreateStep.START | CreateStep.IMAGE:
            pass  # removing the instance ends what was started; an image is a cache


async def _undo_worktree(context: Context, record: WorkspaceRecord, *, finished: bool) -> None:
    """Remove the tree and the branch that was made for it; whatever somebody wrote there meanwhile is kept under a rescue ref."""
    async with context.repository_lock(f"undoing workspace {record.name}"):
        aside = None
        if finished and not await _holds_nothing_new(context, record):
            aside = tree_to_keep(await keep_work(context, record))
        if not finished:
            await context.worktrees.drop_stale_lock(record.name)
        tip = record.base_commit if record.branch_created else None
        await context.worktrees.remove(record.name, expected_tip=tip, delete_branch=record.branch_created, aside=aside)


async def _holds_nothing_new(context: Context, record: WorkspaceRecord) -> bool:
    """Whether a tree that was made just now can go: it is clean, or holds what a checkpoint holds as well."""
    if (await context.worktrees.report(record.name)).clean:
        return True
    identifier = record.config.get(FORKED)
    entries = [each for each in await context.checkpoints.load_all() if each.checkpoint.id == identifier]
    if not entries or await branch_tip(context, record) != record.base_commit:
        return False
    with suppress(GitError):
        now = await context.trees.look(record.name)
        return await context.trees.differences(entries[0].checkpoint.commit, now) == ()
    return False


async def branch_tip(context: Context, record: WorkspaceRecord) -> str | None:
    """Return the commit that the workspace's branch is at; ``None`` when there is no such branch."""
    try:
        return await context.worktrees.resolve(f"refs/heads/{record.branch}")
    except GitError:
        return None


def _refuse_branch(request: CreateRequest, record: WorkspaceRecord, *, same: bool) -> None:
    """Refuse a branch that is there, unless it is to be used. Said before the journal is opened: it is not ours to undo."""
    if same if request.restore is not None else request.adopt_branch:
        return
    moved = " and is not where it was when this was kept" if request.restore is not None else ""
    raise BranchInUse(
        f"branch {record.branch!r} exists already{moved}",
        hint="restore it under another name (--as NAME)"
        if request.restore is not None
        else "use it with adopt_branch (--adopt-branch), or choose another name",
        details={"branch": record.branch},
    )


async def drop_stale_claim(context: Context, name: str) -> None:
    """Remove a reservation of this name that has no record: its state was deleted by hand. The caller holds the lock."""
    for claim in await context.registry.claims(repository=context.repository.root):
        if claim.name == name:
            await context.allocator.release(claim.id)
            await context.registry.unclaim(claim.id)


async def _refuse_existing(context: Context, name: str) -> None:
    try:
        existing = await context.record(name)
    except WorkspaceNotFound:
        return
    except RecordDamaged as damaged:
        raise AlreadyExists(
            f"a damaged record of workspace {name!r} is in the way: {damaged.message}",
            hint="run 'boulder doctor --fix' to rebuild it from what is there",
            details={"name": name},
        ) from damaged
    raise AlreadyExists(
        f"workspace {name!r} exists already ({existing.status})",
        hint=f"use it with 'boulder ws up {name}', or choose another name",
        details={"name": name, "id": existing.id},
    )
