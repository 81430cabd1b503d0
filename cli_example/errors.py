"""What went wrong, as people and programs see it: ``error[CODE]: sentence``, a hint, and an exit status."""

# ruff: noqa: PLC0415 - what not every command needs is imported when it runs, so that help is quick

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from cli_example.render import clean

OK: Final = 0
FAILURE: Final = 1
USAGE: Final = 2
CONFIGURATION: Final = 3
NOT_FOUND: Final = 4
CONFLICT: Final = 5
UNAVAILABLE: Final = 6
REFUSED: Final = 7
TIMEOUT: Final = 124
CANNOT_EXECUTE: Final = 126
COMMAND_NOT_FOUND: Final = 127
SIGNALLED: Final = 128
"""Plus the number of the signal: 130 after Ctrl-C, 141 when whoever read the output has gone."""

MEANINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "0": "it was done",
        "1": "it failed, or `doctor` found something wrong",
        "2": "the command line is wrong: an unknown option, a missing or impossible value, a name that breaks the rule",
        "3": "the configuration is wrong",
        "4": "what was named does not exist: a workspace, a repository, a ref, a backend, an image",
        "5": "it contradicts what is there: the name is taken, the workspace is busy or in another status, work would be lost",
        "6": "the backend does not answer, or no daemon runs",
        "7": "it is refused: a limit, a permission, an approval that is missing (`boulder trust`), or something that the backend cannot do",
        "124": "the time limit was reached",
        "126": "the command is there and cannot be executed",
        "127": "the command is not there",
        "128 + n": "ended by signal n: 130 after Ctrl-C, 143 after TERM, 141 when whoever read the output has gone",
    }
)
"""The table of the reference page. `exec` and `shell` pass on the command's own status."""

_BY_CODE: Final[Mapping[str, int]] = MappingProxyType(
    {
        "INVALID_ARGUMENT": USAGE,
        "INVALID_NAME": USAGE,
        "CONFIG_INVALID": CONFIGURATION,
        "NOT_FOUND": NOT_FOUND,
        "WORKSPACE_NOT_FOUND": NOT_FOUND,
        "PROVIDER_NOT_FOUND": NOT_FOUND,
        "CHECKPOINT_NOT_FOUND": NOT_FOUND,
        "GIT_NOT_A_REPOSITORY": NOT_FOUND,
        "GIT_REF_NOT_FOUND": NOT_FOUND,
        "IMAGE_NOT_FOUND": NOT_FOUND,
        "FS_NOT_FOUND": NOT_FOUND,
        "CONFLICT": CONFLICT,
        "ALREADY_EXISTS": CONFLICT,
        "STATE_CONFLICT": CONFLICT,
        "BUSY": CONFLICT,
        "UNSAVED_WORK": CONFLICT,
        "GIT_BRANCH_IN_USE": CONFLICT,
        "GIT_SYNC_CONFLICT": CONFLICT,
        "PORT_IN_USE": CONFLICT,
        "WORKSPACE_STOPPED": CONFLICT,
        "WORKSPACE_GONE": CONFLICT,
        "WORKSPACE_UNREACHABLE": UNAVAILABLE,
        "PROVIDER_UNAVAILABLE": UNAVAILABLE,
        "DAEMON_UNAVAILABLE": UNAVAILABLE,
        "UNAUTHENTICATED": REFUSED,
        "TOKEN_EXPIRED": REFUSED,
        "SCOPE_DENIED": REFUSED,
        "PROVIDER_FORBIDDEN": REFUSED,
        "QUOTA_EXCEEDED": REFUSED,
        "NOT_TRUSTED": REFUSED,
        "PORTS_EXHAUSTED": REFUSED,
        "UNSUPPORTED": REFUSED,
        "FS_PERMISSION_DENIED": REFUSED,
        "FS_PATH_ESCAPE": REFUSED,
        "OPERATION_TIMEOUT": TIMEOUT,
        "EXEC_TIMEOUT": TIMEOUT,
    }
)

_MOST_LOST: Final = 20
_RERUN: Final = "run it again with --verbose to see where, and report that"


class Failure(NamedTuple):
    """An error on its way to the terminal."""

    code: str
    message: str
    hint: str | None = None
    items: Sequence[str] = ()
    """What it is about, one line each: all problems of a configuration, the work that would be lost."""
    notes: Sequence[str] = ()
    """What only ``--verbose`` shows."""
    document: Mapping[str, object] = MappingProxyType({})
    """What ``--json`` shows; made from code, message and hint when empty."""
    status: int = FAILURE

    def lines(self, *, verbose: bool) -> Iterator[str]:
        """Give what people read."""
        yield f"error[{self.code}]: {clean(self.message)}"
        for item in self.items[:_MOST_LOST]:
            yield f"  {clean(item)}"
        if len(self.items) > _MOST_LOST:
            yield f"  … and {len(self.items) - _MOST_LOST} more"
        if verbose:
            for note in self.notes:
                yield from (f"note: {clean(line)}" for line in note.splitlines())
        if self.hint:
            yield f"hint: {clean(self.hint)}"

    def to_json(self) -> str:
        """Return what programs read: one object, one line."""
        plain: dict[str, object] = {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "retryable": None,
            "details": {},
        }
        document = self.document or plain
        return json.dumps({"error": document}, ensure_ascii=True)


def single(error: BaseException) -> BaseException:
    """Return the one error that a group of tasks wrapped, or the group when there are more."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def interrupted(number: int, name: str) -> Failure:
    """Return what there is to say when a signal ended it."""
    reason = "by Ctrl-C" if name == "SIGINT" else f"by {name}"
    return Failure(code="INTERRUPTED", message=f"stopped {reason}", status=SIGNALLED + number)


def usage(message: str, command: str | None) -> Failure:
    """Return a mistake on the command line."""
    sentence = " ".join(message.split()).rstrip(".")
    sentence = sentence[:1].lower() + sentence[1:]
    return Failure(code="USAGE", message=sentence, hint=f"see {command or 'boulder'} --help", status=USAGE)


def failure(error: BaseException) -> Failure:
    """Return any error as what is shown; one that Nexus did not raise on purpose is ``INTERNAL``."""
    from nexus.errors import ConfigError, ExecStartError, HookFailed, NexusError, NotTrusted, UnsavedWork

    notes = tuple(getattr(error, "__notes__", ()))
    if not isinstance(error, NexusError):
        trace = "".join(traceback.format_exception(error))
        message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return Failure(code="INTERNAL", message=message, hint=_RERUN, notes=(trace,))
    items: Sequence[str] = ()
    message = error.message
    if isinstance(error, UnsavedWork):
        items = error.lost
    elif isinstance(error, NotTrusted):
        items = error.unapproved
    elif isinstance(error, HookFailed):
        items = error.tail
    elif isinstance(error, ConfigError) and len(error.problems) > 1:
        items, message = error.problems, f"the configuration has {len(error.problems)} problems"
    status = error.exit_code if isinstance(error, ExecStartError) else _BY_CODE.get(error.code, FAILURE)
    document = {**error.to_json(), **({"notes": list(notes)} if notes else {})}
    return Failure(
        code=error.code, message=message, hint=error.hint, items=items, notes=notes, document=document, status=status
    )
