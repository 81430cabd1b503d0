"""Errors about commands and scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from typing_extensions import override

from nexus.errors.base import Detail, NexusError, lines

if TYPE_CHECKING:
    from nexus.models.execution import ExecResult


class ExecError(NexusError):
    """A command could not be run or did not end as asked."""

    code = "EXEC_ERROR"


class ExecStartError(ExecError):
    """The program could not be started; ``exit_code`` is what a shell reports: 127 not found, 126 not executable."""

    code = "EXEC_START_FAILED"
    retryable: ClassVar[bool | None] = False

    def __init__(self, message: str, *, exit_code: int = 127, hint: str | None = None) -> None:
        self.exit_code: int = exit_code
        super().__init__(message, hint=hint, details={"exit_code": exit_code})

    @classmethod
    @override
    def revive(cls, message: str, hint: str | None, details: Mapping[str, Detail]) -> Self:
        code = details["exit_code"]
        return cls(message, exit_code=code if isinstance(code, int) else 127, hint=hint)


class _WithResult(ExecError):
    """A command that ended badly; ``result`` holds everything it printed until then."""

    def __init__(self, message: str, *, result: ExecResult, hint: str | None = None) -> None:
        self.result: ExecResult = result
        super().__init__(message, hint=hint, details={"argv": list(result.argv), "exit_code": result.exit_code})


class ExecFailed(_WithResult):
    """The command ended with a status other than zero, and the caller asked for ``check=True``."""

    code = "EXEC_FAILED"
    retryable: ClassVar[bool | None] = False


class ExecTimeout(_WithResult, TimeoutError):
    """The command ran past its time limit and was killed with its whole process group."""

    code = "EXEC_TIMEOUT"


class OutputLimitExceeded(_WithResult):
    """The command printed more than its limit, and the limit said to raise."""

    code = "EXEC_OUTPUT_LIMIT"
    retryable: ClassVar[bool | None] = False


class ProcessLost(_WithResult):
    """The place where the command ran went away before the command ended."""

    code = "EXEC_PROCESS_LOST"


class StdinClosed(ExecError, BrokenPipeError):
    """The command no longer reads its standard input."""

    code = "EXEC_STDIN_CLOSED"
    retryable: ClassVar[bool | None] = False


class HookFailed(NexusError):
    """A script that has to succeed did not; ``details`` holds ``hook``, ``exit_code``, ``timed_out`` and ``log``.

    Args:
        message: Which, and how it ended.
        tail: The last lines that it printed.
        hint: The next step.
        details: See above.
    """

    code = "HOOK_FAILED"

    def __init__(
        self,
        message: str,
        *,
        tail: Sequence[str] = (),
        hint: str | None = None,
        details: Mapping[str, Detail] | None = None,
    ) -> None:
        self.tail: tuple[str, ...] = tuple(tail)
        super().__init__(message, hint=hint, details={**(details or {}), "tail": list(self.tail)})

    @classmethod
    @override
    def revive(cls, message: str, hint: str | None, details: Mapping[str, Detail]) -> Self:
        return cls(message, tail=lines(details.get("tail")), hint=hint, details=details)
