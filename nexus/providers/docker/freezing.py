"""No container is frozen while a program is being started in it.

The runtime puts a new program into the container's control group before it has finished starting it. Frozen at that moment it
never finishes; the engine waits for it, holds the container's lock meanwhile, and from then on neither resumes nor removes the
container (seen with Docker Engine 20.10: ``docker inspect`` of it hangs until somebody thaws the group by hand).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from nexus.errors import Busy


class StartGate:
    """Lets programs start at once, or one freezer in alone. It knows of this process only."""

    def __init__(self) -> None:
        self._starting = 0
        self._freezing = 0
        self._none_starting = asyncio.Event()
        self._none_freezing = asyncio.Event()
        self._none_starting.set()
        self._none_freezing.set()

    @asynccontextmanager
    async def starting(self) -> AsyncGenerator[None, None]:
        """Hold while a program is being started. Waits while somebody freezes or thaws."""
        while self._freezing:
            await self._none_freezing.wait()
        self._starting += 1
        self._none_starting.clear()
        try:
            yield
        finally:
            self._starting -= 1
            if not self._starting:
                self._none_starting.set()

    @asynccontextmanager
    async def alone(self, *, patience: float) -> AsyncGenerator[None, None]:
        """Hold while the container is frozen or thawed. New starts wait; those under way are waited for.

        Raises:
            Busy: When one is still under way after ``patience`` seconds.
        """
        self._freezing += 1
        self._none_freezing.clear()
        try:
            try:
                async with asyncio.timeout(patience):
                    await self._none_starting.wait()
            except TimeoutError as exc:
                raise Busy(
                    f"a command has been starting for {patience:g} s, and a container must not be frozen meanwhile",
                    hint="try again; if it stays so, look at the engine's log",
                    details={"holder": None},
                ) from exc
            yield
        finally:
            self._freezing -= 1
            if not self._freezing:
                self._none_freezing.set()
