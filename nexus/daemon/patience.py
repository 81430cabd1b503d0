"""How long a daemon waits for the other end of a connection before it takes it for dead."""

from __future__ import annotations

from typing import Final

from pydantic import PositiveFloat

from nexus.models.base import Model


class Patience(Model):
    """Seconds."""

    ping: PositiveFloat = 20.0
    """Between two questions whether a client is still there, and for the answer. One that is not is let go."""
    send: PositiveFloat = 60.0
    """For one message to be handed over. Whoever takes nothing for that long is closed with 4004."""


DEFAULT_PATIENCE: Final = Patience()
