"""One request on its way through a handler, and the table that handlers are found in."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar, cast

from nexus.abc.files import FileAccess, PromptFiles
from nexus.abc.provider import ProgressCallback
from nexus.abc.service import WorkspaceService
from nexus.daemon.hub import Hub
from nexus.daemon.principal import Principal
from nexus.models.base import Model
from nexus.models.workspace import WorkspaceInfo
from nexus.wire.methods.table import AnyMethod, Method

if TYPE_CHECKING:
    from nexus.daemon.connection import ServedConnection

P = TypeVar("P", bound=Model)
R = TypeVar("R", bound=Model)


@dataclass(frozen=True, slots=True)
class Call:
    """What a handler has at hand."""

    hub: Hub
    principal: Principal
    connection: ServedConnection
    progress: ProgressCallback | None

    @property
    def service(self) -> WorkspaceService:
        """The service that acts."""
        return self.hub.service

    async def info(self, ref: str) -> WorkspaceInfo:
        """Return which workspace is meant, when the token is for it."""
        return await self.hub.info(ref, self.principal)

    async def files(self, ref: str) -> FileAccess:
        """Return access to the files of a workspace that the token is for."""
        return await self.hub.files(ref, self.principal)

    def prompt_files(self, ref: str) -> PromptFiles | None:
        """Return access to what is in memory of the files of a workspace that the token is for; ``None`` where that is not known."""
        return self.hub.prompt_files(ref, self.principal)

    def reaches(self, name: str, workspace: str) -> bool:
        """Return whether the token is for this workspace."""
        return self.principal.reaches(name, workspace)


Handler: TypeAlias = Callable[[Call, Model], Awaitable[Model]]
PromptHandler: TypeAlias = Callable[[Call, Model], Model | None]


@dataclass(frozen=True, slots=True)
class Route:
    """A method and what carries it out."""

    method: AnyMethod
    handler: Handler
    prompt: PromptHandler | None = None
    """What carries it out where nothing has to be waited for; ``None`` from it, or an error, leaves it to the other."""


class Routes:
    """Handlers by the name of their method."""

    def __init__(self) -> None:
        self._known: dict[str, Route] = {}

    def on(
        self, method: Method[P, R]
    ) -> Callable[[Callable[[Call, P], Awaitable[R]]], Callable[[Call, P], Awaitable[R]]]:
        """Return a decorator: the function carries out this method."""

        def keep(handler: Callable[[Call, P], Awaitable[R]]) -> Callable[[Call, P], Awaitable[R]]:
            self._known[method.name] = Route(cast("AnyMethod", method), cast("Handler", handler))
            return handler

        return keep

    def at_once(self, method: Method[P, R]) -> Callable[[Callable[[Call, P], R | None]], Callable[[Call, P], R | None]]:
        """Return a decorator: the function carries out this method, which has a handler, where that takes no waiting."""

        def keep(handler: Callable[[Call, P], R | None]) -> Callable[[Call, P], R | None]:
            self._known[method.name] = replace(self._known[method.name], prompt=cast("PromptHandler", handler))
            return handler

        return keep

    def add(self, other: Routes) -> None:
        """Take over what another table has."""
        self._known.update(other._known)

    def find(self, name: str) -> Route | None:
        """Return what carries out a method."""
        return self._known.get(name)

    @property
    def methods(self) -> tuple[AnyMethod, ...]:
        """Return every method that is carried out."""
        return tuple(route.method for route in self._known.values())


T = TypeVar("T")


@dataclass(slots=True)
class Pages(Generic[T]):
    """A listing that is given page by page."""

    items: AsyncGenerator[T, None]

    async def page(self, size: int) -> tuple[list[T], bool]:
        """Return the next items, and whether there may be more."""
        found: list[T] = []
        async for item in self.items:
            found.append(item)
            if len(found) >= size:
                return found, True
        return found, False
