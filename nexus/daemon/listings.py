"""Listings that a client takes page by page."""

from __future__ import annotations

from typing import Final, TypeVar

from nexus.daemon.call import Pages
from nexus.errors import NotFound

T = TypeVar("T")

_MOST: Final = 32


class Listings:
    """The listings of one connection of which a next page can be asked for."""

    def __init__(self) -> None:
        self._kept: dict[str, Pages[object]] = {}

    async def keep(self, id: str, pages: Pages[T]) -> None:  # noqa: A002
        """Keep a listing until its next page is asked for; where there are too many, the oldest is dropped."""
        while len(self._kept) >= _MOST:
            oldest = next(iter(self._kept))
            await self._kept.pop(oldest).items.aclose()
        self._kept[id] = pages  # type: ignore[assignment] # read back by those who know its type

    def take(self, id: str) -> Pages[T]:  # noqa: A002
        """Return a listing that was kept.

        Raises:
            NotFound: When there is none.
        """
        pages = self._kept.pop(id, None)
        if pages is None:
            raise NotFound("this listing is not kept any more", hint="begin it again")
        return pages  # type: ignore[return-value] # kept by those who know its type

    async def aclose(self) -> None:
        """Keep none any more."""
        for pages in self._kept.values():
            await pages.items.aclose()
        self._kept.clear()
