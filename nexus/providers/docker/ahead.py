"""What is under way and known of a workspace before its container is made, so that nothing is waited or asked for twice."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, NamedTuple

from nexus.models.ids import WorkspaceId

_MOST: Final = 256


class Ahead:
    """A network that is being made, or was made a moment ago, for a workspace of which the engine had nothing before.

    Args:
        network: Its name.
    """

    def __init__(self, network: str) -> None:
        self.network: Final = network
        self.settled: Final = asyncio.Event()
        """Set when it is there, or never will be."""


class Named(NamedTuple):
    """An image in which a user has the ids that run inside."""

    asked: str
    """The image that was asked for."""
    user: str
    image: str


class UnderWay:
    """What one opened provider has begun for workspaces that it has not made yet."""

    def __init__(self) -> None:
        self._known: dict[WorkspaceId, Ahead] = {}
        self._images: dict[WorkspaceId, Named] = {}

    @contextmanager
    def making(self, number: WorkspaceId, network: str) -> Generator[None, None, None]:
        """Have it known for the block that a network is being made, and afterwards that it is there, unless the block failed."""
        ahead = self._known[number] = Ahead(network)
        try:
            yield
        except BaseException:
            self._known.pop(number, None)
            raise
        finally:
            ahead.settled.set()

    def of(self, number: WorkspaceId) -> Ahead | None:
        """Return what is under way for a workspace."""
        return self._known.get(number)

    def named(self, number: WorkspaceId, image: Named) -> None:
        """Have it known that an image is there which a workspace is about to be made from."""
        self._images[number] = image
        if len(self._images) > _MOST:  # one may be prepared and never made
            self._images.pop(next(iter(self._images)))

    def image(self, number: WorkspaceId, asked: str | None, user: str | None) -> str | None:
        """Return what a workspace of this image and user is made from, when that is known."""
        found = self._images.get(number)
        return found.image if found is not None and (found.asked, found.user) == (asked, user) else None

    def forget(self, number: WorkspaceId) -> None:
        """Let go of what is known of a workspace that is made, or removed: from now on the engine is asked."""
        self._known.pop(number, None)
        self._images.pop(number, None)
