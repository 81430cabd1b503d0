"""A connection that is made again when it is lost, and those who go on with it."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol, TypeAlias, TypeVar

import anyio
from anyio.abc import TaskGroup

from nexus.abc.provider import ProgressCallback
from nexus.abc.transport import Transport
from nexus.client.backoff import Backoff
from nexus.client.link import Link, open_link
from nexus.errors import AuthError, ConnectionLost, NexusError, ProtocolError, TokenExpired, TransportError, WrongLoop
from nexus.models.base import Model
from nexus.wire.limits import OLDEST_PROTOCOL, PROTOCOL
from nexus.wire.methods.session import CLOSE, REFRESH, Auth, Initialize, Resume, Software, Versions
from nexus.wire.methods.table import Effect, KeyedParams, Method, Nothing

P = TypeVar("P", bound=Model)
R = TypeVar("R", bound=Model)

Dial: TypeAlias = Callable[[str | None], Awaitable[Transport]]
"""Makes a connection, with this token."""
TokenSource: TypeAlias = str | Callable[[], Awaitable[str]] | None
"""A token, or what gives a fresh one whenever one is needed."""

_HANDSHAKE: Final = 30.0
_LEAVING: Final = 2.0
_log: Final = logging.getLogger("nexus.client")


class Follower(Protocol):
    """Something that goes on when the connection has been made again."""

    async def resume(self, link: Link, *, same_session: bool) -> None:
        """Go on over a new connection; ``same_session``: the daemon still knows what belongs to us."""

    def give_up(self, error: NexusError) -> None:
        """There will be no other connection."""


class Line:
    """Keeps a connection to a daemon.

    Args:
        dial: Makes one.
        token: Who we are.
        backoff: When to try again.
        version: Ours, for the daemon's log.
    """

    def __init__(self, dial: Dial, token: TokenSource, backoff: Backoff, *, version: str) -> None:
        self._dial = dial
        self._token = token
        self._backoff = backoff
        self._version = version
        self._link: Link | None = None
        self._changed = anyio.Event()
        self._failure: NexusError | None = None
        self._followers: set[Follower] = set()
        self._listeners: dict[tuple[str, str], Callable[[Mapping[str, object]], None]] = {}
        self._resume: Resume | None = None
        self.reconnected = 0
        """How often the connection was made again."""

    async def open(self) -> Link:
        """Make the first connection.

        Raises:
            DaemonUnavailable, AuthError, VersionMismatch, ProtocolError: As they say.
        """
        link = await self._connect()
        self._adopt(link)
        return link

    async def keep(self, link: Link) -> None:
        """Carry messages, and make the connection again whenever it is lost; returns when that is hopeless.

        Cancellation: the session is closed.
        """
        try:
            await self._keep(link)
        except anyio.get_cancelled_exc_class():
            self._fail(WrongLoop("this client is closed", hint="use it inside 'async with nexus.connect(…) as nx'"))
            raise

    async def _keep(self, first: Link) -> None:
        link: Link | None = first
        while link is not None:
            await link.run()
            self._link = None
            if isinstance(link.error, ProtocolError | AuthError):
                self._fail(link.error)
                return
            _log.info("the connection was lost: %s", link.error.message)
            link = await self._again(link)

    async def leave(self) -> None:
        """Say goodbye: the commands that were not detached end now, not when the daemon has waited for us in vain."""
        link = self._link
        if link is not None and not link.lost.is_set():
            with anyio.move_on_after(_LEAVING, shield=True):
                try:
                    await link.call(CLOSE, Nothing())
                except NexusError as error:
                    _log.info("the session could not be closed: %s", error.message)

    # Calls ----------------------------------------------------------------------------------------------------------

    async def call(
        self,
        method: Method[P, R],
        params: P,
        *,
        progress: ProgressCallback | None = None,
        on_result: Callable[[R], None] | None = None,
        again: bool = False,
    ) -> R:
        """Ask over whatever connection there is, and once more over the next one where that does no harm.

        Args:
            method: The method.
            params: Its parameters.
            progress: Told how it moves on.
            on_result: Called with the result before anything that comes after it is looked at.
            again: Asking twice does no harm, whatever the table says.

        Raises:
            NexusError: As the daemon raised it.
            ConnectionLost: When the connection was lost and it may not be asked again, or no other one can be made.
        """
        keyed = isinstance(params, KeyedParams) and params.idempotency_key is not None
        repeatable = again or method.effect is Effect.READ or keyed
        while True:
            link = await self.link()
            try:
                return await self.ask(link, method, params, progress=progress, on_result=on_result)
            except ConnectionLost:
                if not repeatable or not link.lost.is_set():
                    raise

    async def ask(
        self,
        link: Link,
        method: Method[P, R],
        params: P,
        *,
        progress: ProgressCallback | None = None,
        on_result: Callable[[R], None] | None = None,
    ) -> R:
        """Ask over this connection, once more where a fresh token is needed for it; otherwise as :meth:`call`.

        Raises:
            NexusError: As the daemon raised it.
            ConnectionLost: When this connection was lost.
        """
        try:
            return await link.call(method, params, progress=progress, on_result=on_result)
        except TokenExpired:
            if not callable(self._token):
                raise
        await link.call(REFRESH, Auth(token=await self._token()))
        return await link.call(method, params, progress=progress, on_result=on_result)

    async def link(self) -> Link:
        """Return the connection; waits while it is made again.

        Raises:
            TransportError: When that is hopeless.
        """
        while (link := self._link) is None or link.lost.is_set():
            if self._failure is not None:
                raise self._failure
            await self._changed.wait()
        return link

    @property
    def current(self) -> Link | None:
        """The connection, when there is one."""
        return self._link

    # Those who go on ------------------------------------------------------------------------------------------------

    def follow(self, follower: Follower) -> None:
        """Tell this one when the connection has been made again."""
        if self._failure is not None:
            follower.give_up(self._failure)
        self._followers.add(follower)

    def unfollow(self, follower: Follower) -> None:
        """Tell it no more."""
        self._followers.discard(follower)

    def listen(self, method: str, id: str, listener: Callable[[Mapping[str, object]], None]) -> None:  # noqa: A002
        """Hand notifications about one thing to whom they concern.

        Args:
            method: The notification's name.
            id: What it is about.
            listener: Called with its parameters; returns at once.
        """
        self._listeners[method, id] = listener

    def unlisten(self, method: str, id: str) -> None:  # noqa: A002
        """Hand them on no more."""
        self._listeners.pop((method, id), None)

    def _notice(self, method: str, params: Mapping[str, object]) -> None:
        about = next((params[key] for key in ("exec", "watch", "session", "stream") if key in params), "")
        listener = self._listeners.get((method, str(about)))
        if listener is not None:
            listener(params)

    # Connections ----------------------------------------------------------------------------------------------------

    async def _connect(self) -> Link:
        token = await self._token() if callable(self._token) else self._token
        transport = await self._dial(token)
        hello = Initialize(
            protocol=Versions(min=OLDEST_PROTOCOL, max=PROTOCOL),
            client=Software(name="nexus", version=self._version),
            capabilities={"binaryFrames": True, "progress": True},
            auth=None if token is None else Auth(token=token),
            resume=self._resume,
        )
        try:
            with anyio.fail_after(_HANDSHAKE):
                return await open_link(transport, hello)
        except TimeoutError:
            await transport.aclose()
            raise ConnectionLost("the daemon did not answer in time") from None
        except BaseException:
            with anyio.CancelScope(shield=True):
                await transport.aclose()
            raise

    def _adopt(self, link: Link) -> None:
        link.notices = self._notice
        self._resume = Resume(session_id=link.hello.session_id, resume_token=link.hello.resume_token)
        self._link = link
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    async def _again(self, lost: Link) -> Link | None:
        """Make the connection again; ``None`` when that is hopeless."""
        error: NexusError = lost.error
        with anyio.move_on_after(self._backoff.give_up_after):
            for delay in self._backoff.delays(random.SystemRandom().random):
                try:
                    link = await self._connect()
                except (AuthError, ProtocolError) as refusal:
                    error = refusal
                    break
                except TransportError as failure:
                    error = failure
                    await anyio.sleep(delay)
                else:
                    self.reconnected += 1
                    self._adopt(link)
                    return link
        self._fail(error)
        return None

    async def revive(self, group: TaskGroup) -> None:
        """Let everybody go on whenever there is a new connection; runs until it is cancelled."""
        seen = self.reconnected
        while self._failure is None:
            await self._changed.wait()
            link = self._link
            if link is None or self.reconnected == seen:
                continue
            seen = self.reconnected
            for follower in tuple(self._followers):
                group.start_soon(self._revive, follower, link)

    async def _revive(self, follower: Follower, link: Link) -> None:
        try:
            await follower.resume(link, same_session=link.hello.resumed)
        except ConnectionLost:
            pass  # the next connection has its turn
        except NexusError as error:
            follower.give_up(error)

    def _fail(self, error: NexusError) -> None:
        self._failure = error
        self._link = None
        for follower in tuple(self._followers):
            follower.give_up(error)
        changed, self._changed = self._changed, anyio.Event()
        changed.set()
