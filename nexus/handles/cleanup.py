"""Cleaning up: shielded from every cancellation, bounded in time, and never louder than what happened before."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Awaitable, Callable

import anyio

from nexus.errors import CleanupError, UnsavedWork


async def clean_up(
    work: Callable[[], Awaitable[None]], *, what: str, timeout: float, body: BaseException | None = None
) -> None:
    """Run ``work`` to its end, and say so when it did not get there.

    Args:
        work: The cleanup. It is run once.
        what: What is cleaned up, for people: ``workspace a``.
        timeout: Seconds until ``work`` is cancelled and counts as failed. Code that ignores a cancellation, or that blocks a
            thread, cannot be bounded.
        body: The error that led here, when there was one.

    Raises:
        CleanupError: When ``work`` failed or did not end in time, and there was no error before. With ``body`` the failure
            becomes a note on it and a ``RuntimeWarning``; the caller raises ``body`` again.

    Cancellation: waits for ``work`` all the same, then goes on. That holds for the scopes of anyio and for
    ``asyncio.Task.cancel()``, however often it is called.
    """
    failure: Exception | None = None
    finished = False

    async def guarded() -> None:
        nonlocal failure, finished
        with anyio.move_on_after(timeout, shield=True):
            try:
                await work()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is reported below
                failure = error
            finished = True

    try:
        with anyio.CancelScope(shield=True):
            # A shielded scope does not stop asyncio's own Task.cancel(): only the waiting task is hit by that, and the group
            # goes on waiting for its child, whose own shield keeps the group's cancellation away.
            async with anyio.create_task_group() as group:
                group.start_soon(guarded)
    except BaseException as error:
        _report(_problem(what, timeout, finished=finished, failure=failure), body or error)
        raise
    problem = _problem(what, timeout, finished=finished, failure=failure)
    if problem is None:
        return
    if body is None:
        raise problem from failure
    _report(problem, body)


def _problem(what: str, timeout: float, *, finished: bool, failure: Exception | None) -> CleanupError | None:
    """Return the error that tells how a cleanup ended; ``None`` when it ended well."""
    if failure is None and finished:
        return None
    if isinstance(failure, UnsavedWork):
        return CleanupError(
            f"{what} was kept: it holds work that is saved nowhere else",
            hint=failure.hint or "save the work, or destroy it with force",
            details={"left": [what], "lost": list(failure.lost)},
        )
    if failure is None:
        return CleanupError(
            f"the cleanup of {what} did not end within {timeout:g} s",
            hint="look at what is left and remove it again",
            details={"left": [what]},
        )
    return CleanupError(
        f"{what} could not be cleaned up: {failure}",
        hint=getattr(failure, "hint", None) or "look at what is left and remove it again",
        details={"left": [what], "error": type(failure).__name__},
    )


def _report(problem: CleanupError | None, body: BaseException) -> None:
    """Attach a cleanup's failure to the error that is on its way already."""
    if problem is None:
        return
    body.add_note(f"then {problem}")
    lost = problem.details.get("lost")
    for line in lost if isinstance(lost, list) else ():
        body.add_note(f"  {line}")
    with contextlib.suppress(RuntimeWarning):  # where warnings are errors it would take the place of ``body``
        warnings.warn(str(problem), RuntimeWarning, stacklevel=3)
