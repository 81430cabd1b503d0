"""What a program holds first: a service, with the calls that give handles. Manager and remote client are both this."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

from pydantic import JsonValue, ValidationError

from nexus import handles, models
from nexus.abc.provider import ProgressCallback
from nexus.abc.service import WorkspaceService
from nexus.errors import InvalidArgument, WorkspaceNotFound
from nexus.handles.commands import Commands
from nexus.handles.operation import Operation
from nexus.models.ids import parse_name


class Workspaces(WorkspaceService):
    """The workspaces of one repository, wherever they are kept: in this process, or behind a daemon.

    Use it as a context manager; leaving closes connections and nothing else: workspaces go on running.
    """

    @abstractmethod
    async def __aenter__(self) -> Self:
        """Connect."""

    @abstractmethod
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close connections."""

    def create(
        self,
        name: str,
        *,
        backend: str | None = None,
        image: str | None = None,
        isolation: models.workspace.Isolation | None = None,
        submodules: bool | None = None,
        lfs: bool | None = None,
        start_point: str = "HEAD",
        adopt_branch: bool = False,
        settings: Mapping[str, JsonValue] | None = None,
        labels: Mapping[str, str] | None = None,
        display_name: str | None = None,
        ttl: float | timedelta | None = None,
        start: bool = True,
        on_exit: handles.workspace.OnExit = "destroy",
        progress: ProgressCallback | None = None,
    ) -> Operation[handles.workspace.Workspace]:
        """Create a workspace.

        ``await`` it to keep the workspace; use it as ``async with`` block to own it: leaving the block does what ``on_exit`` says,
        and ``destroy`` never deletes unsaved work (``CleanupError`` then lists it, and the workspace stays).

        Args:
            name: Its name; see :func:`nexus.slugify` for text that is not one.
            backend: ``docker``, ``local``, ``mock`` or a registered provider; the configured one when absent.
            image: Image for backends that have images.
            isolation: ``worktree`` or ``clone``: a linked worktree, or for work you do not trust a private clone, which can read
                the repository's objects and nothing else of it; the configured one when absent.
            submodules: Whether submodules are filled, where the main checkout has their content; as configured when absent.
            lfs: Whether Git LFS files are filled, where the main checkout has their content; as configured when absent.
            start_point: Branch, tag or commit that ``nexus/<name>`` starts from.
            adopt_branch: Use the branch when it is there already.
            settings: More settings for this workspace alone, by dotted key.
            labels: Your own labels, to list by.
            display_name: A name for people.
            ttl: Seconds after which ``gc`` may destroy it.
            start: Whether it runs when the call returns.
            on_exit: What leaving an owning block does: ``destroy``, ``stop`` or ``keep``.
            progress: Told how long steps move on.

        Returns:
            An operation that gives the :class:`Workspace`.

        Raises:
            InvalidName: At once, when the name breaks the rule.
            AlreadyExists, QuotaExceeded, BranchInUse, PortInUse, ImageNotFound, ProviderUnavailable: When awaited.

        Cancellation: A cancelled call undoes what it did before it returns.
        """
        flags: dict[str, JsonValue] = {**(settings or {})}
        if backend is not None:
            flags["backend"] = backend
        if image is not None:
            flags["image"] = image
        given = {"isolation": isolation, "submodules": submodules, "lfs": lfs}
        flags.update({key: value for key, value in given.items() if value is not None})
        try:
            request = models.requests.CreateRequest(
                name=parse_name(name),
                start_point=start_point,
                adopt_branch=adopt_branch,
                settings=flags,
                labels=labels or {},
                display_name=display_name,
                ttl=timedelta(seconds=ttl) if isinstance(ttl, int | float) else ttl,
                start=start,
            )
        except ValidationError as error:
            raise InvalidArgument(
                f"workspace {name!r} cannot be asked for like this: {error.errors()[0]['msg']}"
            ) from error

        async def make() -> handles.workspace.Workspace:
            return handles.workspace.Workspace(self, await self.create_workspace(request, progress=progress))

        return Operation(
            make, lambda workspace, _left: handles.workspace.leave(workspace, on_exit), what=f"create {name}"
        )

    def restore(
        self,
        name: str,
        at: str | datetime | None = None,
        *,
        as_name: str | None = None,
        settings: Mapping[str, JsonValue] | None = None,
        start: bool = True,
        on_exit: handles.workspace.OnExit = "keep",
        progress: ProgressCallback | None = None,
    ) -> Operation[handles.workspace.Workspace]:
        """Bring a destroyed workspace back: its branch, its files as they were, what was staged, what was in progress.

        It gets the backend, image and labels that it had. What it was restored from stays until ``prune`` removes it, so a
        restore may be made twice.

        Args:
            name: The name it had.
            at: When it was destroyed, as ``ws list --all`` or ``rescues`` say it, or the beginning of that; the last time when absent.
            as_name: Its new name; the old one when absent.
            settings: More settings, by dotted key; they rank above what it had.
            start: Whether it runs when the call returns.
            on_exit: What leaving an owning block does: ``destroy``, ``stop`` or ``keep``.
            progress: Told how long steps move on.

        Raises:
            WorkspaceNotFound, NotFound: When nothing was kept of it, or nothing at that time.
            AlreadyExists: When a workspace has that name.
            BranchInUse: When its branch is there and has moved since.
            QuotaExceeded, PortInUse, ImageNotFound, ProviderUnavailable: As for :meth:`create`.

        Cancellation: A cancelled call undoes what it did before it returns.
        """
        request = models.requests.RestoreRequest(
            name=name,
            at=models.rescues.stamp(at) if isinstance(at, datetime) else at,
            as_name=as_name,
            settings=settings or {},
            start=start,
        )

        async def make() -> handles.workspace.Workspace:
            return handles.workspace.Workspace(self, await self.restore_workspace(request, progress=progress))

        return Operation(
            make, lambda workspace, _left: handles.workspace.leave(workspace, on_exit), what=f"restore {name}"
        )

    async def attach(self, name: str) -> handles.workspace.Workspace:
        """Return a handle on a workspace, by its name or id. Never starts or wakes it, never owns it."""
        return handles.workspace.Workspace(self, await self.get(name))

    def commands(self, name: str) -> Commands:
        """Return what runs commands in a workspace, by its name or id, as a handle does. Nothing is asked about it before the first one."""
        return Commands(self, name)

    async def ensure(
        self, name: str, *, progress: ProgressCallback | None = None, **options: JsonValue
    ) -> handles.workspace.Workspace:
        """Return a running workspace of this name: created when absent, started when it is not running.

        Args:
            name: Its name.
            progress: Told how long steps move on.
            options: Settings for a creation, by dotted key; without effect on a workspace that is there.
        """
        try:
            return handles.workspace.Workspace(self, await self.start(name, progress=progress))
        except WorkspaceNotFound:
            return await self.create(name, settings=options, progress=progress)
