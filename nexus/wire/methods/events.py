"""What happens, as it is told. Apart from ``session``: an event may hold every kind of value, and most connections see none."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from nexus.models.events import WorkspaceEvent
from nexus.wire.methods.session import EVENT_NAME
from nexus.wire.methods.table import Effect, Method, Notice, Params


class Replay(Params):
    """Events that are kept."""

    since: int = 0
    limit: Annotated[int, Field(ge=1, le=1000)] = 500


class NumberedEvent(Params):
    """An event and its number. Numbers rise by one and are never used twice by one daemon process."""

    seq: int
    event: WorkspaceEvent
    lost: bool = False
    """Whether events before this one could not be told: look at everything again."""


class Replayed(Params):
    """Events, and where to go on."""

    items: tuple[NumberedEvent, ...]
    newest: int
    lost: bool


REPLAY: Final = Method(
    "events.replay", Replay, Replayed, Effect.READ, "workspace:read", "Return events that are still kept."
)

METHODS: Final = (REPLAY,)
EVENT: Final = Notice(EVENT_NAME, NumberedEvent, "Something happened.")
NOTICES: Final = (EVENT,)
