"""The root of the tree, and what fits nowhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Self, TypeAlias

Detail: TypeAlias = "str | int | float | bool | Sequence[Detail] | Mapping[str, Detail] | None"


def _rebuild(cls: type[NexusError], args: tuple[object, ...]) -> NexusError:
    """Make an error again from its pickled arguments, without running its constructor; its state is set afterwards."""
    error = cls.__new__(cls, *args)
    error.args = args
    return error


class NexusError(Exception):
    """Root of the tree.

    Args:
        message: One sentence that says what is wrong.
        hint: The next step for a person, when there is one.
        details: Values a program may want: names, numbers, paths. Never secrets.
    """

    code: ClassVar[str] = "NEXUS_ERROR"
    retryable: ClassVar[bool | None] = None

    def __init__(self, message: str, *, hint: str | None = None, details: Mapping[str, Detail] | None = None) -> None:
        super().__init__(message)
        self.message: str = message
        self.hint: str | None = hint
        self.details: Mapping[str, Detail] = dict(details or {})

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.args), self.__dict__)

    @classmethod
    def revive(cls, message: str, hint: str | None, details: Mapping[str, Detail]) -> Self:
        """Return an error of this class from what was sent of it. A class with other arguments has a way of its own.

        Raises:
            TypeError, ValueError, KeyError: When ``details`` do not hold what the class needs.
        """
        return cls(message, hint=hint, details=details)

    def to_json(self) -> dict[str, Detail]:
        """Return the error as the one JSON object that the command line and the wire print."""
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "retryable": self.retryable,
            "details": self.details,
        }


def lines(value: Detail) -> tuple[str, ...]:
    """Return the lines of text in one of an error's details; none when it holds something else."""
    return tuple(str(line) for line in value) if isinstance(value, list | tuple) else ()


class InvalidArgument(NexusError, ValueError):
    """A value given by the caller cannot be used."""

    code = "INVALID_ARGUMENT"
    retryable: ClassVar[bool | None] = False


class InvalidName(InvalidArgument):
    """A workspace name breaks the naming rule or is reserved."""

    code = "INVALID_NAME"


class Unsupported(NexusError, NotImplementedError):
    """The provider cannot do this; ``details`` holds ``capability`` and ``provider``."""

    code = "UNSUPPORTED"
    retryable: ClassVar[bool | None] = False


class OperationTimeout(NexusError, TimeoutError):
    """The operation did not end in time; ``details`` names what was already made."""

    code = "OPERATION_TIMEOUT"
    retryable: ClassVar[bool | None] = True


class WrongLoop(NexusError, RuntimeError):
    """The object was opened on another event loop, or is not open."""

    code = "WRONG_LOOP"
    retryable: ClassVar[bool | None] = False


class CleanupError(NexusError):
    """Something could not be cleaned up; ``details["left"]`` lists what is left."""

    code = "CLEANUP_FAILED"
