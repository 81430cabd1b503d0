"""Freezing one container and letting it go on, whatever the engine has heard of it so far.

An engine hears of a change twice: from its runtime's answer, and a moment later from the runtime's event, by which it sets once more
what it takes the container for. So of one that was frozen and let go on right after, it may say for a moment that it is paused (seen with
Docker Engine 20.10 on a busy machine), and of one that goes on and is frozen again, that it is not. Whoever acts on that word loses a
pause or a resume. The runtime itself knows better: what it says is believed, what the engine says is asked for again once the events
have come.
"""

from __future__ import annotations

import asyncio
from typing import Final, Literal, NamedTuple

from nexus.providers.docker.client import Engine
from nexus.providers.docker.failures import EngineRefused

_DEADLINE: Final = 60.0
_EVENTS: Final = 0.1
"""Seconds in which the events of a change have come."""


class _Words(NamedTuple):
    """How it is said that there is nothing to do."""

    engine: str
    runtime: str


_WORDS: Final[dict[Literal["pause", "unpause"], _Words]] = {
    "pause": _Words("already paused", "cannot pause a paused container"),
    "unpause": _Words("is not paused", "cannot resume a running process"),
}


async def freeze(engine: Engine, number: str, *, doing: str) -> None:
    """Freeze every process of a container. Frozen already: nothing.

    Args:
        engine: Whom to ask.
        number: The container's id.
        doing: What this is for, to follow "the engine could not …".

    Raises:
        EngineRefused: When it is not there (404) or does not run.
    """
    try:
        await _change(engine, number, "pause", doing)
    except EngineRefused as refusal:
        if _WORDS["pause"].engine not in refusal.text:
            raise


async def thaw(engine: Engine, number: str, *, doing: str) -> None:
    """Let the processes of a container go on.

    Raises:
        EngineRefused: When it is not there (404), or is not paused (see :func:`goes_on`): it may run, and it may be stopped.
    """
    await _change(engine, number, "unpause", doing)


async def thaw_if_frozen(engine: Engine, number: str, *, doing: str) -> bool:
    """Ask once to let the processes of a container go on, and return whether they do.

    ``False`` is no more than what the engine says: it is not frozen, which may be said of one that is stopped or may be old.

    Raises:
        EngineRefused: When it is not there (404).
    """
    try:
        await _ask(engine, number, "unpause", doing)
    except EngineRefused as refusal:
        if goes_on(refusal):
            return False
        if _WORDS["unpause"].runtime not in refusal.text:
            raise
    return True


def goes_on(refusal: EngineRefused) -> bool:
    """Return whether it was refused to thaw a container because it is not frozen. Pure."""
    return _WORDS["unpause"].engine in refusal.text


async def _change(engine: Engine, number: str, act: Literal["pause", "unpause"], doing: str) -> None:
    words = _WORDS[act]
    try:
        return await _ask(engine, number, act, doing)
    except EngineRefused as refusal:
        if words.runtime in refusal.text:
            return None
        if words.engine not in refusal.text:
            raise
    await asyncio.sleep(_EVENTS)
    try:
        await _ask(engine, number, act, doing)
    except EngineRefused as refusal:
        if words.runtime not in refusal.text:
            raise


async def _ask(engine: Engine, number: str, act: str, doing: str) -> None:
    async with engine.stream(doing, "POST", f"containers/{number}/{act}", deadline=_DEADLINE):
        pass
