"""What of a workspace is under way before its container is made, so that neither has to wait for the other."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from nexus.models.ids import WorkspaceId


class Ahead:
    """A network that is being made, or was made a moment ago, for a workspace of which the engine had nothing before.

    Args:
        network: Its name.
    """

    def __init__(self, network: str) -> None:
        self.network: Final = network
        self.settled: Final = asyncio.Event()
        """Set when it is there, or never will be."""


class UnderWay:
    """The networks that one opened provider makes ahead, by the workspace they are for."""

    def __init__(self) -> None:
        self._known: dict[WorkspaceId, Ahead] = {}

    @contextmanager
    def making(self, number: WorkspaceId, network: str) -> Generator[None, None, None]:
        """Have it known for the block that a network is being made, and afterwards that it is there, unless the block failed."""
        ahead = self._known[number] = Ahead(network)
        try:
            yield
        except BaseException:
            self.forget(number)
            raise
        finally:
            ahead.settled.set()

    def take(self, number: WorkspaceId) -> Ahead | None:
        """Return what is under way for a workspace, once: what comes later asks the engine."""
        return self._known.pop(number, None)

    def forget(self, number: WorkspaceId) -> None:
        """Let go of what is known of a workspace that is removed."""
        self._known.pop(number, None)
