"""Creating a workspace: journaled steps forward, and the same steps back when one fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import anyio

from nexus.abc import Instance, ProgressCallback, Provider, SupportsCheckpoints, SupportsMakingAhead
from nexus.config import Settings, SshAccess
from nexus.errors import (
    CheckpointNotFound,
    HookFailed,
    ImageNotFound,
    NexusError,
    NotTrusted,
    PortInUse,
)
from nexus.git import Fill, Worktree
from nexus.models.checkpoints import CheckpointEntry
from nexus.models.events import StatusChanged
from nexus.models.instances import InstanceSpec
from nexus.models.requests import CreateRequest
from nexus.models.workspace import WorkspaceRecord, WorkspaceStatus
from nexus.state import JournalEntry, OpenJournal
from nexus.workspace import prebuilt, quota
from nexus.workspace.at_once import both
from nexus.workspace.bringup import bring_up
from nexus.workspace.context import Context
from nexus.workspace.creation_undo import undo
from nexus.workspace.forked_records import renamed_volumes, requests_of
from nexus.workspace.lifecycle import Event, after
from nexus.workspace.places import replace_ports
from nexus.workspace.plan import CreateStep
from nexus.workspace.records import touched, with_ports, with_user
from nexus.workspace.reporting import reporter
from nexus.workspace.services_plan import moved_ports, port_requests
from nexus.workspace.specifying import specify
from nexus.workspace.ssh_access import look_up
from nexus.workspace.visibility import bound

NOTES = "dev.nexus.notes"
"""Annotation that keeps what creation has to say about the tree: what came along, what was left as it is. One line each."""

_AT_ONCE = (CreateStep.WORKTREE, CreateStep.IMAGE, CreateStep.INSTANCE)
"""Steps that go on beside each other."""

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
            await self._step(CreateStep.CLAIM, self._claim, then=(CreateStep.RECORD,))
            await self._step(CreateStep.RECORD, self._save, then=(CreateStep.PORTS,))
            await self._step(CreateStep.PORTS, lambda: self._lease(request), then=_AT_ONCE)
            await self._make_all(request)
            await self._done(CreateStep.INSTANCE, then=(CreateStep.START,) if request.start else ())
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
        await self.journal.close(partial(self._context.store.write, self.record))
        self._context.records.remember(self.record)
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

    async def _step(
        self, step: CreateStep, act: Callable[[], Awaitable[None]], *, then: Sequence[CreateStep] = ()
    ) -> None:
        """Take a step that the journal has been told of, and tell it of the end and of what comes ``then``."""
        await act()
        await self._done(step, then=then)

    async def _done(self, step: CreateStep, *, then: Sequence[CreateStep] = ()) -> None:
        async with self._writing:
            await self.journal.done(step, {"record": self.record.model_dump(mode="json")}, then=then)

    async def _make_all(self, request: CreateRequest) -> None:
        """Make tree, image and place. What the place needs that depends on neither is made beside all of it: the start alone waits."""
        provider = await self._context.backends.provider(self.record.backend)

        async def make() -> None:
            await both(
                lambda: self._step(CreateStep.WORKTREE, lambda: self._check_out(request)),
                lambda: self._step(CreateStep.IMAGE, lambda: self._prepare(request)),
            )
            await self._make(request)

        if isinstance(provider, SupportsMakingAhead):
            await both(lambda: self._make_ahead(provider), make)
        else:
            await make()

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
        async with self._context.locks.repository(f"creating workspace {record.name}"):
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
        provider = await self._context.backends.provider(self.record.backend)
        # Without its mounts: the worktree is being written meanwhile, and an image does not depend on it.
        spec = specify(self._context, self.record).model_copy(update={"mounts": ()})
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

    async def _make_ahead(self, provider: SupportsMakingAhead) -> None:
        await provider.make_ahead(specify(self._context, self.record).model_copy(update={"mounts": ()}))

    def _own_ssh(self, request: CreateRequest) -> SshAccess | None:
        """Return what is asked for this workspace alone: it holds at each start, whatever the configuration says then."""
        return self._settings(request).ssh if any(key.startswith("secrets.ssh") for key in request.settings) else None

    async def _make(self, request: CreateRequest) -> None:
        provider = await self._context.backends.provider(self.record.backend)
        self.record = await look_up(self._context, self.record, self._report, self._own_ssh(request))
        spec = specify(self._context, self.record)
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
        instance = await self._context.backends.instance(self.record)
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


async def resume(context: Context, entry: JournalEntry) -> Creation:
    """Take up a creation that a crash cut short, with the record as the journal last saw it."""
    journal = await context.journal.reopen(entry)
    record = WorkspaceRecord.model_validate(entry.facts["record"])
    return Creation(context, record, journal, reporter(context.bus, record, None))
