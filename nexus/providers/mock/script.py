"""What a test tells the mock backend to do: be slow, fail at chosen calls, be down, know more programs.

::

    script = MockScript()
    script.program("pytest", fake_pytest)
    script.fail("start", error=PortInUse("port 32801 is taken"), after=1)   # the second start fails, once
    script.delay("create", 0.2)
    provider = MockProvider(script=script)
    ...
    assert [call.name for call in script.calls] == ["create", "start"]
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

import anyio

from nexus.errors import InvalidArgument, ProviderError, ProviderUnavailable
from nexus.models.ids import WorkspaceId
from nexus.providers.mock.process import Program

CallName: TypeAlias = Literal[
    "probe",
    "prepare",
    "create",
    "attach",
    "list",
    "destroy",
    "status",
    "start",
    "stop",
    "pause",
    "resume",
    "spawn",
    "logs",
    "stats",
    "change_ports",
    "commands",
    "listeners",
    "resize",
    "keep_place",
    "make_from",
    "drop_place",
    "kept_places",
    "hibernate",
    "wake",
    "forget",
]
"""A call of a provider or an instance."""

_CALLS: Final = frozenset(get_args(CallName))
_ANSWER_WHEN_DOWN: Final = frozenset({"probe", "attach", "status"})
"""Calls that the contract lets answer honestly, or asks nothing of, when the backend cannot be reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedCall:
    """One call that was made."""

    name: CallName
    id: WorkspaceId | None = None
    """The instance it was about."""
    argv: tuple[str, ...] = ()
    """The command, for ``spawn``."""


@dataclass(slots=True, kw_only=True)
class _Failure:
    call: CallName
    error: Callable[[], BaseException]
    times: int | None
    skip: int
    when: Literal["before", "after"]

    def due(self) -> bool:
        """Count one call; return whether it fails."""
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.times is None:
            return True
        self.times -= 1
        return self.times >= 0


class MockScript:
    """The script that a mock provider plays. May be changed while it is used.

    Attributes:
        calls: Every call that was made, oldest first.
        programs: Programs by name, on top of the mock's own.
        down: Why the backend does not answer, or ``None`` when it does.
    """

    def __init__(self) -> None:
        self.calls: list[RecordedCall] = []
        self.programs: dict[str, Program] = {}
        self.down: str | None = None
        self._delays: dict[CallName, float] = {}
        self._failures: list[_Failure] = []
        self._hooks: dict[CallName, Callable[[RecordedCall], Awaitable[None]]] = {}

    def program(self, name: str, program: Program) -> None:
        """Make ``name`` run ``program``, in place of the mock's own where it has one."""
        self.programs[name] = program

    def delay(self, call: CallName, seconds: float) -> None:
        """Make each call of this name take that long before it does anything."""
        self._delays[_known(call)] = seconds

    def before(self, call: CallName, hook: Callable[[RecordedCall], Awaitable[None]]) -> None:
        """Await ``hook`` in each call of this name before it does anything: to wait for the test, or to look around."""
        self._hooks[_known(call)] = hook

    def fail(
        self,
        call: CallName,
        *,
        error: BaseException | Callable[[], BaseException] | None = None,
        times: int | None = 1,
        after: int = 0,
        when: Literal["before", "after"] = "before",
    ) -> None:
        """Make calls fail.

        Args:
            call: Which.
            error: What is raised, or what makes it; a ``ProviderError`` when absent.
            times: How many calls fail; ``None`` for all from now on.
            after: How many calls still succeed first.
            when: ``before`` the call had an effect, or ``after`` it, as when the answer is lost.
        """
        if times is not None and times < 1:
            raise InvalidArgument(f"times must be at least 1, or None for every call; got {times}")
        self._failures.append(
            _Failure(call=_known(call), error=_maker(call, error), times=times, skip=after, when=when)
        )

    def made(self, call: CallName) -> int:
        """Return how many calls of this name were made."""
        return sum(1 for each in self.calls if each.name == _known(call))

    @asynccontextmanager
    async def playing(self, call: RecordedCall, *, latency: float = 0.0) -> AsyncGenerator[None, None]:
        """Write the call down and do to it what the script says; the block is its effect.

        Args:
            call: The call.
            latency: Seconds it takes, on top of what :meth:`delay` says.
        """
        self.calls.append(call)
        failures = [failure for failure in self._failures if failure.call == call.name and failure.due()]
        await anyio.sleep(latency + self._delays.get(call.name, 0.0))
        if hook := self._hooks.get(call.name):
            await hook(call)
        if self.down is not None and call.name not in _ANSWER_WHEN_DOWN:
            raise ProviderUnavailable(
                f"the mock backend does not answer: {self.down}", hint="set MockScript.down to None"
            )
        _raise(failures, "before")
        yield
        _raise(failures, "after")


def _known(call: CallName) -> CallName:
    if call not in _CALLS:
        raise InvalidArgument(f"the mock provider has no call {call!r}", hint=f"there are: {', '.join(sorted(_CALLS))}")
    return call


def _maker(call: CallName, error: BaseException | Callable[[], BaseException] | None) -> Callable[[], BaseException]:
    if error is None:
        return lambda: ProviderError(f"the script makes {call} fail")
    if isinstance(error, BaseException):
        return lambda: error
    return error


def _raise(failures: list[_Failure], when: Literal["before", "after"]) -> None:
    for failure in failures:
        if failure.when == when:
            raise failure.error()
