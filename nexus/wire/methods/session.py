"""The connection itself: who is at the other end, what happens, streams."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field, JsonValue

from nexus.wire.limits import Limits
from nexus.wire.methods.table import Effect, Method, Nothing, Notice, Params


class Versions(Params):
    """Versions of the protocol, both ends included."""

    min: int = 1
    max: int = 1


class Software(Params):
    """A program, for logs."""

    name: Annotated[str, Field(max_length=200)] = ""
    version: Annotated[str, Field(max_length=100)] = ""


class Auth(Params):
    """Who asks."""

    token: Annotated[str, Field(max_length=16384, repr=False)]


class Resume(Params):
    """The session to go on with."""

    session_id: str
    resume_token: Annotated[str, Field(repr=False)]


class Initialize(Params):
    """The first message of a client."""

    protocol: Versions = Versions()
    client: Software = Software()
    capabilities: Mapping[str, JsonValue] = {}
    auth: Auth | None = None
    """Not needed where the token came with the handshake."""
    resume: Resume | None = None


class Initialized(Params):
    """The daemon's answer to it."""

    protocol: int
    server: Software
    session_id: str
    resume_token: Annotated[str, Field(repr=False)]
    """For one use; the next answer brings the next one, and this one holds until the client says `initialized`, or shows the next."""
    resumed: bool
    """Whether this is the session that was asked for. Otherwise that one is over, and what belonged to it has ended."""
    subject: str
    scopes: tuple[str, ...]
    workspaces: Literal["*"] | tuple[str, ...]
    expires_at: datetime | None
    server_time_ms: int
    capabilities: Mapping[str, JsonValue] = {}
    limits: Limits


def can(hello: Initialized, *path: str) -> bool:
    """Return whether the daemon has said that it can do something.

    Args:
        hello: What it said.
        path: The names that lead to the capability.
    """
    found: JsonValue = dict(hello.capabilities)
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found is True


class Authenticated(Params):
    """What the new token allows."""

    expires_at: datetime | None
    scopes: tuple[str, ...]


class DaemonInfo(Params):
    """What the daemon is about."""

    version: str
    protocol: int
    repository: str
    """The repository whose workspaces these are."""
    uptime_ms: int
    connections: int
    sessions: int
    execs: int


class Document(Params):
    """An OpenRPC document."""

    openrpc: str
    info: Mapping[str, JsonValue]
    methods: tuple[JsonValue, ...]
    components: Mapping[str, JsonValue]


class Subscribe(Params):
    """Which events to send."""

    since: int | None = None
    """Begin after this number; with what happens from now on when absent."""


class Subscribed(Params):
    """Where the subscription begins."""

    oldest: int
    """The first event that is still kept. A ``since`` before it means that some are lost."""
    newest: int
    lost: bool


class FeedRef(Params):
    """A source of bytes that outlives its connection."""

    feed: str


class AttachFeed(FeedRef):
    """Where to go on."""

    offset: Annotated[int, Field(ge=0)] = 0


class Attached(Params):
    """The stream that carries it on this connection."""

    stream: int
    oldest: int
    newest: int


class StreamFailed(Params):
    """Why a stream ended with ``FAILED``."""

    stream: int
    error: Mapping[str, JsonValue]
    """As in a response."""


INITIALIZED: Final = "initialized"
"""Said by the client when it has the answer to ``initialize``."""
EVENT_NAME: Final = "workspace.event"
"""The notification that a subscriber gets; ``methods.events`` says what is in it."""

INITIALIZE: Final = Method(
    "initialize", Initialize, Initialized, Effect.LIVE, None, "Begin: versions, capabilities, and who is asking."
)
REFRESH: Final = Method(
    "auth.refresh", Auth, Authenticated, Effect.LIVE, None, "Show a new token before the old one ends."
)
CLOSE: Final = Method(
    "session.close", Nothing, Nothing, Effect.LIVE, None, "End the session, and the commands that were not detached."
)
DISCOVER: Final = Method(
    "rpc.discover", Nothing, Document, Effect.READ, None, "Return this table as an OpenRPC document."
)
INFO: Final = Method(
    "daemon.info", Nothing, DaemonInfo, Effect.READ, None, "Return what this daemon is and how it fares."
)
SHUTDOWN: Final = Method(
    "daemon.shutdown",
    Nothing,
    Nothing,
    Effect.LIVE,
    "admin",
    "Have the daemon end what is under way and stop; workspaces run on. Answered before that begins.",
    whole=True,
)
SUBSCRIBE: Final = Method(
    "events.subscribe",
    Subscribe,
    Subscribed,
    Effect.LIVE,
    "workspace:read",
    "Send `workspace.event` for what happens to the workspaces that the token is for.",
)
UNSUBSCRIBE: Final = Method(
    "events.unsubscribe", Nothing, Nothing, Effect.LIVE, "workspace:read", "Send no more events."
)
ATTACH_STREAM: Final = Method(
    "stream.attach", AttachFeed, Attached, Effect.LIVE, None, "Go on with a log or file on this connection."
)
CLOSE_STREAM: Final = Method("stream.close", FeedRef, Nothing, Effect.LIVE, None, "Let go of a log or file.")

METHODS: Final = (
    INITIALIZE,
    REFRESH,
    CLOSE,
    DISCOVER,
    INFO,
    SHUTDOWN,
    SUBSCRIBE,
    UNSUBSCRIBE,
    ATTACH_STREAM,
    CLOSE_STREAM,
)
STREAM_FAILED: Final = Notice(
    "stream.failed", StreamFailed, "A stream ended before its end; comes before its `END`, which has the flag `FAILED`."
)
NOTICES: Final = (STREAM_FAILED,)
