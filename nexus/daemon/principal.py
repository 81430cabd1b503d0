"""Who asks, and what they may do: what a token means once it has been verified."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final, Literal, Protocol

from nexus.abc.transport import Peer
from nexus.errors import ScopeDenied
from nexus.models.base import Model


class Scope(StrEnum):
    """One kind of thing that a token allows. None of them includes another."""

    FS_READ = "fs:read"
    FS_WRITE = "fs:write"
    EXEC = "exec"
    TERMINAL = "terminal"
    WORKSPACE_READ = "workspace:read"
    WORKSPACE_WRITE = "workspace:write"
    PORT = "port"
    CONFIG = "config"
    ADMIN = "admin"
    """What concerns the daemon itself: stopping it, issuing and revoking tokens."""


ALL_SCOPES: Final = frozenset(Scope)

WorkspaceAudience = Literal["*"] | frozenset[str]
"""The workspaces a token is for, by name or id; ``"*"``: all, those that are made later too."""


class Principal(Model):
    """Who asks, as their token says it. It holds no secret and may be logged."""

    subject: str
    """Who the token was issued to."""
    scopes: frozenset[Scope]
    workspaces: WorkspaceAudience
    expires_at: datetime | None
    """When the token ends; ``None`` for one that the connection itself vouches for, in process."""
    token_id: str
    """What it is revoked by."""

    def allows(self, scope: Scope) -> bool:
        """Return whether the token has this scope."""
        return scope in self.scopes

    def reaches(self, name: str, workspace_id: str) -> bool:
        """Return whether the token is for this workspace.

        Args:
            name: The workspace's name.
            workspace_id: Its id. Both must come from its record, never from the request alone.
        """
        return self.workspaces == "*" or name in self.workspaces or workspace_id in self.workspaces

    def require(self, scope: Scope) -> None:
        """Return when the token has this scope.

        Raises:
            ScopeDenied: When it has not; ``details["scope"]`` names it.
        """
        if not self.allows(scope):
            raise ScopeDenied(
                f"the token of {self.subject} does not have the scope '{scope}'",
                hint=f"ask for a token that has it: boulder daemon token --scope {scope}",
                details={"scope": str(scope), "subject": self.subject},
            )

    def require_workspace(self, name: str, workspace_id: str) -> None:
        """Return when the token is for this workspace.

        Raises:
            ScopeDenied: When it is not; ``details["workspace"]`` names it.
        """
        if not self.reaches(name, workspace_id):
            raise ScopeDenied(
                f"the token of {self.subject} is not for the workspace '{name}'",
                hint=f"ask for a token that is: boulder daemon token --workspace {name}",
                details={"workspace": name, "subject": self.subject},
            )


class Authenticator(Protocol):
    """Decides who somebody is by the token they show."""

    def verify(self, token: str) -> Principal:
        """Return whose token this is.

        Raises:
            TokenExpired: When its time is over.
            Unauthenticated: When it is no token of ours, or was revoked. The message never quotes it.
        """

    def check(self, principal: Principal) -> None:
        """Return while the token behind a principal still holds. Cheap: meant to be asked before every request.

        Raises:
            TokenExpired: When its time is over.
            Unauthenticated: When it has been revoked since.
        """

    async def admit(self, peer: Peer, token: str | None) -> Principal:
        """Verify a token for a connection. Failures are logged, and whoever has had too many of them waits.

        Args:
            peer: Who is at the other end; failures are counted for each of them.
            token: What they showed; ``None`` for nothing, which is a failure as well.

        Raises:
            TokenExpired, Unauthenticated: As :meth:`verify`.

        Cancellation: the failure was counted already.
        """
