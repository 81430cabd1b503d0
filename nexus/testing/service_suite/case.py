"""What a case is, and what it has at hand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from nexus.handles.workspace import Workspace
from nexus.handles.workspaces import Workspaces


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSubject:
    """The service under test, open, on a repository without workspaces, whose configuration says who commits."""

    name: str
    """For reports: ``manager on local``."""
    service: Workspaces
    patience: float = 60.0
    """Seconds after which a case that does not end has failed."""
    bulk: int = 8 * 1024 * 1024
    """Bytes that the cases about much output and large files move; more than any window on the way."""


@dataclass(frozen=True, slots=True)
class ServiceCheck:
    """One run of one case."""

    subject: ServiceSubject

    @property
    def service(self) -> Workspaces:
        """The service under test."""
        return self.subject.service

    async def workspace(self, name: str = "one") -> Workspace:
        """Return a new workspace that runs."""
        return await self.service.create(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceCase:
    """One promise of ``nexus.abc.service``."""

    name: str
    promise: str
    """The promise, in one sentence."""
    run: Callable[[ServiceCheck], Awaitable[None]]


def case(function: Callable[[ServiceCheck], Awaitable[None]]) -> ServiceCase:
    """Make a case of a function: its name becomes the case's, its docstring the promise."""
    return ServiceCase(
        name=getattr(function, "__name__", "").replace("_", "-"),
        promise=(function.__doc__ or "").strip(),
        run=function,
    )
