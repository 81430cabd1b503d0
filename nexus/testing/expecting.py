"""What a case of a conformance suite expects, said so that a failure tells what was seen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

T = TypeVar("T")


class ExpectationFailed(AssertionError):
    """An implementation does not keep a promise. Raised by hand, so that ``python -O`` does not turn a failure into a success."""


def expect(condition: object, sentence: str) -> None:
    """Fail with ``sentence`` unless ``condition`` is true."""
    if not condition:
        raise ExpectationFailed(sentence)


def expect_equal(seen: T, wanted: T, what: str) -> None:
    """Fail unless both are equal; the message shows them, shortened."""
    if seen != wanted:
        raise ExpectationFailed(f"{what}: expected {shortened(wanted)}, got {shortened(seen)}")


def shortened(value: object) -> str:
    """Return a value for a message."""
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:200]} … {text[-80:]} ({len(text)} characters)"


async def expect_error(kind: type[Exception], call: Callable[[], Awaitable[object]], what: str) -> Exception:
    """Fail unless the call raises an error of this class; return the error."""
    try:
        await call()
    except kind as exc:
        return exc
    except Exception as exc:
        raise ExpectationFailed(f"{what} raises {kind.__name__}, not {type(exc).__name__}: {exc}") from exc
    raise ExpectationFailed(f"{what} raises {kind.__name__}, but it returned")


async def eventually(question: Callable[[], Awaitable[bool]], what: str, *, within: float = 10.0) -> None:
    """Fail unless the answer becomes true in time."""
    with anyio.move_on_after(within):
        while not await question():  # noqa: ASYNC110 - what is asked is outside and rings no bell
            await anyio.sleep(0.02)
        return
    raise ExpectationFailed(f"expected that {what}, within {within:g} s")
