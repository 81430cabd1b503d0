"""What outlives a connection: who a client is, what belongs to it, and how it comes back."""

from __future__ import annotations

import hmac
import secrets
import uuid
from collections.abc import Callable
from typing import Final, Protocol

import anyio
from anyio.abc import TaskGroup

_TOKEN_BYTES: Final = 32
_MOST_EACH: Final = 256
"""Sessions of one subject that wait for their client."""


class Replaceable(Protocol):
    """A connection that can be told to go."""

    def replace(self) -> None:
        """Close: a newer connection goes on with the session."""


class Session:
    """A client, across its connections.

    Args:
        subject: Who the token was issued to.
    """

    def __init__(self, subject: str) -> None:
        self.id = f"se_{uuid.uuid4().hex[:16]}"
        self.subject = subject
        self.connection: Replaceable | None = None
        self.resume_token = ""
        self._used_token = ""
        self.back = anyio.Event()
        """Set when its client has come back, or when it has ended."""
        self.ended = False

    def renew_token(self) -> str:
        """Return the token that the next connection has to show. The one before holds until :meth:`confirm`."""
        self.resume_token = secrets.token_urlsafe(_TOKEN_BYTES)
        return self.resume_token

    def confirm(self) -> None:
        """Take note that the client has the newest token: those before are void."""
        self._used_token = ""

    def spend(self, token: str) -> bool:
        """Return whether a token was the newest one, or the one before whose successor may have been lost with its connection."""
        shown = token.encode()
        if self.resume_token and hmac.compare_digest(self.resume_token.encode(), shown):
            self._used_token, self.resume_token = self.resume_token, ""
            return True
        return bool(self._used_token) and hmac.compare_digest(self._used_token.encode(), shown)


class Sessions:
    """The sessions that go on, or may be gone on with.

    Args:
        group: Where sessions wait for their client.
        grace: Seconds that they wait.
        ended: Told the id of a session that is over.
    """

    def __init__(self, group: TaskGroup, grace: float, ended: Callable[[str], None]) -> None:
        self._group = group
        self._grace = grace
        self._ended = ended
        self._known: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._known)

    def begin(self, subject: str, connection: Replaceable) -> Session:
        """Begin a session."""
        session = Session(subject)
        session.connection = connection
        self._known[session.id] = session
        return session

    def resume(self, id: str, token: str, subject: str, connection: Replaceable) -> Session | None:  # noqa: A002
        """Go on with a session; ``None`` when that cannot be: it is over, is somebody else's, or the token was used before.

        A connection that has it still is told to go.
        """
        session = self._known.get(id)
        if session is None or session.subject != subject or not session.spend(token):
            return None
        if session.connection is not None:
            session.connection.replace()
        session.connection = connection
        session.back.set()
        return session

    def leave(self, session: Session, connection: Replaceable) -> None:
        """Take note that a connection has ended; its session waits for the next one, unless that is there already."""
        if session.connection is not connection or session.ended:
            return
        session.connection = None
        session.back = anyio.Event()
        waiting = [each for each in self._known.values() if each.subject == session.subject and each.connection is None]
        if len(waiting) > _MOST_EACH:
            self.end(waiting[0])
        self._group.start_soon(self._wait, session, session.back)

    def end(self, session: Session) -> None:
        """End a session and what belongs to it."""
        if session.ended:
            return
        session.ended = True
        self._known.pop(session.id, None)
        session.back.set()
        self._ended(session.id)

    async def _wait(self, session: Session, back: anyio.Event) -> None:
        with anyio.move_on_after(self._grace):
            await back.wait()
        if not back.is_set():
            self.end(session)
