"""Every error that Nexus raises on purpose.

::

    NexusError
    ├── InvalidArgument (ValueError)
    │   └── InvalidName
    ├── ConfigError
    ├── NotFound (LookupError)
    │   ├── WorkspaceNotFound
    │   ├── ProviderNotFound
    │   └── ServiceNotFound
    ├── Conflict
    │   ├── AlreadyExists
    │   ├── StateConflict
    │   ├── Busy
    │   └── UnsavedWork
    ├── GitError
    │   ├── NotARepository
    │   ├── BareRepository
    │   ├── UnbornHead
    │   ├── RefNotFound (LookupError)
    │   ├── BranchInUse
    │   └── SyncConflict
    ├── StateError
    │   ├── RecordDamaged
    │   └── RegistryDamaged
    ├── FsError (OSError)
    │   ├── PathNotFound (FileNotFoundError)
    │   ├── PathExists (FileExistsError)
    │   ├── PathNotADirectory (NotADirectoryError)
    │   ├── PathIsADirectory (IsADirectoryError)
    │   ├── PathDenied (PermissionError)
    │   ├── PathEscape
    │   └── ContentModified
    ├── ExecError
    │   ├── ExecStartError
    │   ├── ExecFailed
    │   ├── ExecTimeout (TimeoutError)
    │   ├── OutputLimitExceeded
    │   ├── ProcessLost
    │   └── StdinClosed (BrokenPipeError)
    ├── WorkspaceUnavailable
    │   ├── WorkspaceStopped
    │   ├── WorkspaceGone
    │   └── WorkspaceUnreachable
    ├── ProviderError
    │   ├── ProviderUnavailable
    │   ├── ProviderForbidden (PermissionError)
    │   ├── ImageNotFound
    │   ├── ImagePullFailed
    │   └── BuildFailed
    ├── ServiceFailed
    ├── PortError
    │   ├── PortInUse (OSError)
    │   └── PortsExhausted
    ├── SecretError
    │   ├── SecretNotFound (LookupError)
    │   ├── SecretRefused (PermissionError)
    │   ├── SecretsLocked
    │   ├── SecretStoreDamaged
    │   └── KeychainUnavailable
    ├── QuotaExceeded
    ├── NotTrusted (PermissionError)
    ├── HookFailed
    ├── Unsupported (NotImplementedError)
    ├── OperationTimeout (TimeoutError)
    ├── WrongLoop (RuntimeError)
    └── CleanupError

The string ``code`` is the contract: it is stable, travels over the wire and is what programs compare. ``message`` is one
sentence for people, ``hint`` the next step, ``details`` JSON scalars and lists, ``retryable`` whether the same call may
succeed later without a change (``None``: not known). Errors carry names and numbers, never live objects, and survive
pickling, so they cross process pools. A class inherits the fitting class of the standard library, so that
``except FileNotFoundError`` and ``except TimeoutError`` just work.
"""

from __future__ import annotations

import errno as _errno
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, TypeAlias

if TYPE_CHECKING:
    from nexus.models.execution import ExecResult

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

    def to_json(self) -> dict[str, Detail]:
        """Return the error as the one JSON object that the command line and the wire print."""
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "retryable": self.retryable,
            "details": self.details,
        }


class InvalidArgument(NexusError, ValueError):
    """A value given by the caller cannot be used."""

    code = "INVALID_ARGUMENT"
    retryable: ClassVar[bool | None] = False


class InvalidName(InvalidArgument):
    """A workspace name breaks the naming rule or is reserved."""

    code = "INVALID_NAME"


class ConfigError(NexusError):
    """One or more configuration values are wrong; ``problems`` lists each with its place.

    Args:
        message: The first problem, with its place.
        problems: Every problem found, one line each: ``file:line:column: sentence``.
        hint: The next step.
    """

    code = "CONFIG_INVALID"
    retryable: ClassVar[bool | None] = False

    def __init__(self, message: str, *, problems: Sequence[str] = (), hint: str | None = None) -> None:
        self.problems: tuple[str, ...] = tuple(problems) or (message,)
        super().__init__(message, hint=hint, details={"problems": list(self.problems)})


class NotFound(NexusError, LookupError):
    """Something that was named does not exist."""

    code = "NOT_FOUND"
    retryable: ClassVar[bool | None] = False


class WorkspaceNotFound(NotFound):
    """No workspace has this name or id."""

    code = "WORKSPACE_NOT_FOUND"


class ProviderNotFound(NotFound):
    """No provider is registered under this name, or its driver is not installed."""

    code = "PROVIDER_NOT_FOUND"


class ServiceNotFound(NotFound):
    """The workspace has no service of this name."""

    code = "SERVICE_NOT_FOUND"


class Conflict(NexusError):
    """The call contradicts what is there."""

    code = "CONFLICT"


class AlreadyExists(Conflict):
    """The name is taken."""

    code = "ALREADY_EXISTS"
    retryable: ClassVar[bool | None] = False


class StateConflict(Conflict):
    """The workspace's state does not allow this call; ``details`` holds ``state`` and ``allowed``."""

    code = "STATE_CONFLICT"


class Busy(Conflict):
    """Somebody else holds the lock and did not let go in time; ``details["holder"]`` says who."""

    code = "BUSY"
    retryable: ClassVar[bool | None] = True


class UnsavedWork(Conflict):
    """The call would lose work; ``lost`` lists each piece in words.

    Args:
        message: What was refused, and why.
        lost: One line for each modified or untracked file and each commit that exists nowhere else.
        hint: How to keep the work or to go on.
        report: The same in full, field by field.
    """

    code = "UNSAVED_WORK"
    retryable: ClassVar[bool | None] = False

    def __init__(
        self,
        message: str,
        *,
        lost: Sequence[str] = (),
        hint: str | None = None,
        report: Mapping[str, Detail] | None = None,
    ) -> None:
        self.lost: tuple[str, ...] = tuple(lost)
        super().__init__(
            message, hint=hint, details={"lost": list(self.lost), **({} if report is None else {"report": report})}
        )


class GitError(NexusError):
    """Git work failed."""

    code = "GIT_ERROR"


class NotARepository(GitError):
    """Neither the folder nor any folder above it is a git repository."""

    code = "GIT_NOT_A_REPOSITORY"
    retryable: ClassVar[bool | None] = False


class BareRepository(GitError):
    """The repository has no work tree, so no worktree of ours has a place."""

    code = "GIT_BARE_REPOSITORY"
    retryable: ClassVar[bool | None] = False


class UnbornHead(GitError):
    """The repository has no commit yet."""

    code = "GIT_UNBORN_HEAD"
    retryable: ClassVar[bool | None] = False


class RefNotFound(GitError, LookupError):
    """No commit, branch or tag has this name."""

    code = "GIT_REF_NOT_FOUND"
    retryable: ClassVar[bool | None] = False


class BranchInUse(GitError):
    """The branch exists already, is checked out elsewhere, or collides with another name."""

    code = "GIT_BRANCH_IN_USE"
    retryable: ClassVar[bool | None] = False


class SyncConflict(GitError):
    """The branch and its upstream have both moved, or files in the way would be overwritten."""

    code = "GIT_SYNC_CONFLICT"
    retryable: ClassVar[bool | None] = False


class StateError(NexusError):
    """State on disk cannot be read or written."""

    code = "STATE_ERROR"


class RecordDamaged(StateError):
    """A workspace's record cannot be understood; the file is left where it is."""

    code = "RECORD_DAMAGED"
    retryable: ClassVar[bool | None] = False


class RegistryDamaged(StateError):
    """The node's registry cannot be understood; the file is left where it is."""

    code = "REGISTRY_DAMAGED"
    retryable: ClassVar[bool | None] = False


class FsError(NexusError, OSError):
    """A file operation inside a workspace failed.

    Args:
        message: What failed.
        path: The path as the caller wrote it.
        hint: The next step.
    """

    code = "FS_ERROR"
    number: ClassVar[int] = _errno.EIO

    def __init__(self, message: str, *, path: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint, details={"path": path})
        self.path: str = path
        self.errno = self.number
        self.filename = path

    def __setstate__(self, state: dict[str, object] | None) -> None:
        super().__setstate__(state)
        # These two are no part of the object's __dict__, so pickling leaves them out.
        self.errno = self.number
        self.filename = self.path


class PathNotFound(FsError, FileNotFoundError):
    """No such file or folder."""

    code = "FS_NOT_FOUND"
    number = _errno.ENOENT


class PathExists(FsError, FileExistsError):
    """The path exists already."""

    code = "FS_EXISTS"
    number = _errno.EEXIST


class PathNotADirectory(FsError, NotADirectoryError):
    """A folder was needed, something else is there."""

    code = "FS_NOT_A_DIRECTORY"
    number = _errno.ENOTDIR


class PathIsADirectory(FsError, IsADirectoryError):
    """A file was needed, a folder is there."""

    code = "FS_IS_A_DIRECTORY"
    number = _errno.EISDIR


class PathDenied(FsError, PermissionError):
    """The system refused access."""

    code = "FS_PERMISSION_DENIED"
    number = _errno.EACCES


class PathEscape(FsError):
    """The path, or a symbolic link on it, leaves the workspace."""

    code = "FS_PATH_ESCAPE"
    number = _errno.EXDEV


class ContentModified(FsError):
    """The file has changed since it was read (``if_match`` does not match)."""

    code = "FS_CONTENT_MODIFIED"
    number = _errno.ESTALE


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


class WorkspaceUnavailable(NexusError):
    """The workspace exists but cannot act now."""

    code = "WORKSPACE_UNAVAILABLE"


class WorkspaceStopped(WorkspaceUnavailable):
    """The workspace is not running."""

    code = "WORKSPACE_STOPPED"
    retryable: ClassVar[bool | None] = False


class WorkspaceGone(WorkspaceUnavailable):
    """The place where the workspace ran was removed by somebody else; its worktree and branch are untouched."""

    code = "WORKSPACE_GONE"
    retryable: ClassVar[bool | None] = False


class WorkspaceUnreachable(WorkspaceUnavailable):
    """The provider does not answer, so the workspace's state is not known."""

    code = "WORKSPACE_UNREACHABLE"
    retryable: ClassVar[bool | None] = True


class ProviderError(NexusError):
    """A provider failed in a way that no other class names."""

    code = "PROVIDER_ERROR"


class ProviderUnavailable(ProviderError):
    """The provider's service is absent, stopped, or does not answer in time."""

    code = "PROVIDER_UNAVAILABLE"
    retryable: ClassVar[bool | None] = True


class ProviderForbidden(ProviderError, PermissionError):
    """The provider's service refuses this user."""

    code = "PROVIDER_FORBIDDEN"
    retryable: ClassVar[bool | None] = False


class ImageNotFound(ProviderError):
    """The image is neither here nor in its registry."""

    code = "IMAGE_NOT_FOUND"
    retryable: ClassVar[bool | None] = False


class ImagePullFailed(ProviderError):
    """The image could not be pulled."""

    code = "IMAGE_PULL_FAILED"
    retryable: ClassVar[bool | None] = True


class BuildFailed(ProviderError):
    """An image could not be built; ``details["log_tail"]`` holds the end of the log."""

    code = "BUILD_FAILED"
    retryable: ClassVar[bool | None] = False


class ServiceFailed(NexusError):
    """A service did not start, ended, or does not become healthy; ``details`` holds ``service`` and ``log_tail``.

    Args:
        message: What happened.
        service: Its name.
        log_tail: The last lines that it printed.
        hint: The next step.
    """

    code = "SERVICE_FAILED"

    def __init__(self, message: str, *, service: str, log_tail: Sequence[str] = (), hint: str | None = None) -> None:
        self.service: str = service
        self.log_tail: tuple[str, ...] = tuple(log_tail)
        super().__init__(message, hint=hint, details={"service": service, "log_tail": list(log_tail)})


class PortError(NexusError):
    """A host port cannot be had."""

    code = "PORT_ERROR"


class PortInUse(PortError, OSError):
    """A fixed host port is held by somebody; ``details`` holds ``port`` and ``holder``."""

    code = "PORT_IN_USE"


class PortsExhausted(PortError):
    """No free block of ports is left in the range."""

    code = "PORTS_EXHAUSTED"


class SecretError(NexusError):
    """A secret's value cannot be had or kept. No error ever holds a value."""

    code = "SECRET_ERROR"


class SecretNotFound(SecretError, LookupError):
    """What a reference names does not exist: a variable, a file, an entry of the keychain or of the encrypted store."""

    code = "SECRET_NOT_FOUND"
    retryable: ClassVar[bool | None] = False


class SecretRefused(SecretError, PermissionError):
    """A project's file refers to something of its user's that the user has not allowed it to read."""

    code = "SECRET_REFUSED"
    retryable: ClassVar[bool | None] = False


class SecretsLocked(SecretError):
    """The encrypted store needs a passphrase: none was given, or a wrong one."""

    code = "SECRETS_LOCKED"
    retryable: ClassVar[bool | None] = False


class SecretStoreDamaged(SecretError):
    """The encrypted store cannot be understood, or somebody changed it; the file is left as it is."""

    code = "SECRETS_DAMAGED"
    retryable: ClassVar[bool | None] = False


class KeychainUnavailable(SecretError):
    """This system's keychain cannot be used: there is none, or it does not answer."""

    code = "KEYCHAIN_UNAVAILABLE"


class QuotaExceeded(NexusError):
    """A limit set for this node or user is reached."""

    code = "QUOTA_EXCEEDED"


class NotTrusted(NexusError, PermissionError):
    """Something that a project brings along would act on this host, and its user has not approved it.

    Args:
        message: What was refused.
        unapproved: One line for each piece: what it is, where it is written, how it begins.
        hint: The command that approves.
    """

    code = "NOT_TRUSTED"
    retryable: ClassVar[bool | None] = False

    def __init__(self, message: str, *, unapproved: Sequence[str] = (), hint: str | None = None) -> None:
        self.unapproved: tuple[str, ...] = tuple(unapproved)
        super().__init__(message, hint=hint, details={"unapproved": list(self.unapproved)})


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
