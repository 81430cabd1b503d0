"""Messages carried between an editor's pipes and the daemon that runs: whole, unread, both ways."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from nexus.abc.transport import Transport
from nexus.errors import ConnectionLost, NexusError


async def carry(near: Transport, far: Transport) -> None:
    """Pass messages on until the near end closes; a slow reader slows the other end down, and nothing is kept here.

    Args:
        near: Whoever asked for this, such as an editor.
        far: Whoever answers them.

    Raises:
        ConnectionLost: When the far end has ended.
        ProtocolError: When an end broke the rules of its transport.

    Cancellation: a message may be passed on by then or not; both ends stay open.
    """
    failures: list[NexusError] = []
    async with anyio.create_task_group() as group:

        async def until_over(work: Callable[[Transport, Transport], Awaitable[None]]) -> None:
            try:
                await work(near, far)
            except NexusError as error:
                failures.append(error)
            group.cancel_scope.cancel()

        group.start_soon(until_over, _questions)
        group.start_soon(until_over, _answers)
    if failures:
        raise failures[0]


async def _questions(near: Transport, far: Transport) -> None:
    while True:
        try:
            message = await near.receive()
        except ConnectionLost:  # the near end is done
            return
        await far.send(message)


async def _answers(near: Transport, far: Transport) -> None:
    while True:
        message = await far.receive()
        try:
            await near.send(message)
        except ConnectionLost:
            return
