"""Doing things at once: all of them end before the call does, and the first error is raised as it is, not inside of a group."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import anyio

from nexus.errors import NexusError

A = TypeVar("A")
B = TypeVar("B")
T = TypeVar("T")


async def both(one: Callable[[], Awaitable[A]], other: Callable[[], Awaitable[B]]) -> tuple[A, B]:
    """Return what both give. An error of one cancels the other and is raised.

    Cancellation: both are cancelled.
    """
    second: list[B] = []

    async def do_other() -> None:
        second.append(await other())

    with _first_error():
        async with anyio.create_task_group() as group:
            group.start_soon(do_other)
            first = await one()
    return first, second[0]


async def for_each(act: Callable[[T], Coroutine[object, object, None]], things: Iterable[T]) -> None:
    """Do something for all at once; the first error ends the others and is raised as it is.

    Cancellation: all are cancelled.
    """
    with _first_error():
        async with anyio.create_task_group() as group:
            for thing in things:
                group.start_soon(act, thing)


@contextmanager
def _first_error() -> Iterator[None]:
    """Raise what a group raises as the first error in it."""
    try:
        yield
    except BaseExceptionGroup as failed:
        errors = failed.subgroup(NexusError)
        raise (_leaves(errors)[0] if errors is not None else _leaves(failed)[0]) from None


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
