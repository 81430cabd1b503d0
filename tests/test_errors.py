from __future__ import annotations

import copy
import errno
import inspect
import json
import pickle

import pytest

from nexus import errors
from nexus.errors import NexusError
from nexus.models.execution import ExecResult
from nexus.models.ids import ExecId

RESULT = ExecResult(exec_id=ExecId("ex_1"), argv=("make", "all"), exit_code=2, stdout_bytes=b"half\xff")

# The contract with every program that compares codes. Adding a line is fine; changing one breaks somebody.
CODES = {
    "NexusError": "NEXUS_ERROR",
    "InvalidArgument": "INVALID_ARGUMENT",
    "InvalidName": "INVALID_NAME",
    "ConfigError": "CONFIG_INVALID",
    "NotFound": "NOT_FOUND",
    "WorkspaceNotFound": "WORKSPACE_NOT_FOUND",
    "ProviderNotFound": "PROVIDER_NOT_FOUND",
    "ServiceNotFound": "SERVICE_NOT_FOUND",
    "CheckpointNotFound": "CHECKPOINT_NOT_FOUND",
    "TerminalNotFound": "TERMINAL_NOT_FOUND",
    "Conflict": "CONFLICT",
    "AlreadyExists": "ALREADY_EXISTS",
    "StateConflict": "STATE_CONFLICT",
    "Busy": "BUSY",
    "NotController": "NOT_CONTROLLER",
    "UnsavedWork": "UNSAVED_WORK",
    "GitError": "GIT_ERROR",
    "NotARepository": "GIT_NOT_A_REPOSITORY",
    "BareRepository": "GIT_BARE_REPOSITORY",
    "UnbornHead": "GIT_UNBORN_HEAD",
    "RefNotFound": "GIT_REF_NOT_FOUND",
    "BranchInUse": "GIT_BRANCH_IN_USE",
    "SyncConflict": "GIT_SYNC_CONFLICT",
    "StateError": "STATE_ERROR",
    "RecordDamaged": "RECORD_DAMAGED",
    "RegistryDamaged": "REGISTRY_DAMAGED",
    "CheckpointDamaged": "CHECKPOINT_DAMAGED",
    "FsError": "FS_ERROR",
    "PathNotFound": "FS_NOT_FOUND",
    "PathExists": "FS_EXISTS",
    "PathNotADirectory": "FS_NOT_A_DIRECTORY",
    "PathIsADirectory": "FS_IS_A_DIRECTORY",
    "PathDenied": "FS_PERMISSION_DENIED",
    "PathEscape": "FS_PATH_ESCAPE",
    "ContentModified": "FS_CONTENT_MODIFIED",
    "ExecError": "EXEC_ERROR",
    "ExecStartError": "EXEC_START_FAILED",
    "ExecFailed": "EXEC_FAILED",
    "ExecTimeout": "EXEC_TIMEOUT",
    "OutputLimitExceeded": "EXEC_OUTPUT_LIMIT",
    "ProcessLost": "EXEC_PROCESS_LOST",
    "StdinClosed": "EXEC_STDIN_CLOSED",
    "WorkspaceUnavailable": "WORKSPACE_UNAVAILABLE",
    "WorkspaceStopped": "WORKSPACE_STOPPED",
    "WorkspaceGone": "WORKSPACE_GONE",
    "WorkspaceUnreachable": "WORKSPACE_UNREACHABLE",
    "ProviderError": "PROVIDER_ERROR",
    "ProviderUnavailable": "PROVIDER_UNAVAILABLE",
    "ProviderForbidden": "PROVIDER_FORBIDDEN",
    "ImageNotFound": "IMAGE_NOT_FOUND",
    "ImagePullFailed": "IMAGE_PULL_FAILED",
    "BuildFailed": "BUILD_FAILED",
    "ServiceFailed": "SERVICE_FAILED",
    "PortError": "PORT_ERROR",
    "PortInUse": "PORT_IN_USE",
    "PortNotOpen": "PORT_NOT_OPEN",
    "PortsExhausted": "PORTS_EXHAUSTED",
    "SecretError": "SECRET_ERROR",
    "SecretNotFound": "SECRET_NOT_FOUND",
    "SecretRefused": "SECRET_REFUSED",
    "SecretsLocked": "SECRETS_LOCKED",
    "SecretStoreDamaged": "SECRETS_DAMAGED",
    "KeychainUnavailable": "KEYCHAIN_UNAVAILABLE",
    "TransportError": "TRANSPORT_ERROR",
    "ConnectionLost": "CONNECTION_LOST",
    "ProtocolError": "PROTOCOL_ERROR",
    "VersionMismatch": "VERSION_MISMATCH",
    "SlowConsumer": "SLOW_CONSUMER",
    "DaemonUnavailable": "DAEMON_UNAVAILABLE",
    "AuthError": "AUTH_ERROR",
    "Unauthenticated": "UNAUTHENTICATED",
    "TokenExpired": "TOKEN_EXPIRED",
    "ScopeDenied": "SCOPE_DENIED",
    "QuotaExceeded": "QUOTA_EXCEEDED",
    "NotTrusted": "NOT_TRUSTED",
    "HookFailed": "HOOK_FAILED",
    "Unsupported": "UNSUPPORTED",
    "OperationTimeout": "OPERATION_TIMEOUT",
    "WrongLoop": "WRONG_LOOP",
    "CleanupError": "CLEANUP_FAILED",
}

STANDARD = {
    "InvalidArgument": ValueError,
    "InvalidName": ValueError,
    "NotFound": LookupError,
    "WorkspaceNotFound": LookupError,
    "ProviderNotFound": LookupError,
    "ServiceNotFound": LookupError,
    "CheckpointNotFound": LookupError,
    "TerminalNotFound": LookupError,
    "RefNotFound": LookupError,
    "FsError": OSError,
    "PathNotFound": FileNotFoundError,
    "PathExists": FileExistsError,
    "PathNotADirectory": NotADirectoryError,
    "PathIsADirectory": IsADirectoryError,
    "PathDenied": PermissionError,
    "PathEscape": OSError,
    "ContentModified": OSError,
    "ExecTimeout": TimeoutError,
    "StdinClosed": BrokenPipeError,
    "ProviderForbidden": PermissionError,
    "PortInUse": OSError,
    "PortNotOpen": ConnectionRefusedError,
    "TransportError": ConnectionError,
    "ConnectionLost": ConnectionError,
    "ProtocolError": ConnectionError,
    "VersionMismatch": ConnectionError,
    "SlowConsumer": ConnectionError,
    "DaemonUnavailable": ConnectionError,
    "ScopeDenied": PermissionError,
    "NotTrusted": PermissionError,
    "SecretNotFound": LookupError,
    "SecretRefused": PermissionError,
    "Unsupported": NotImplementedError,
    "OperationTimeout": TimeoutError,
    "WrongLoop": RuntimeError,
}


def _classes() -> dict[str, type[NexusError]]:
    return {
        name: value
        for name, value in inspect.getmembers(errors, inspect.isclass)
        if issubclass(value, NexusError) and not name.startswith("_")
    }


CLASSES = _classes()
EVERY = pytest.mark.parametrize("kind", CLASSES.values(), ids=CLASSES)


def make(kind: type[NexusError]) -> NexusError:
    """One of this class, with everything filled in that its constructor takes."""
    takes = inspect.signature(kind).parameters
    values: dict[str, object] = {
        "hint": "try again",
        "details": {"name": "a", "count": 3, "list": ["x", None, True]},
        "path": "dir/file",
        "result": RESULT,
        "problems": ("a.yaml:1:2: wrong", "a.yaml:3:4: worse"),
        "lost": ("modified: README.md",),
        "unapproved": ("pre-start (a.yaml:1:2): npm install",),
        "tail": ("npm: not found",),
        "exit_code": 126,
        "service": "db",
        "log_tail": ("no space left",),
    }
    return kind("it went wrong", **{name: value for name, value in values.items() if name in takes})  # type: ignore[arg-type]


def test_every_code_is_pinned() -> None:
    assert {name: kind.code for name, kind in CLASSES.items()} == CODES


def test_no_two_classes_share_a_code() -> None:
    assert len(set(CODES.values())) == len(CODES)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = {
        line.strip(" │├└─").split(" ")[0]
        for line in (errors.__doc__ or "").splitlines()
        if line.strip(" │├└─").split(" ")[0] in CLASSES
    }

    assert drawn == set(CLASSES)


@EVERY
def test_an_error_has_the_right_parent_in_the_standard_library(kind: type[NexusError]) -> None:
    standard: type[Exception] = STANDARD.get(kind.__name__, NexusError)

    assert issubclass(kind, standard)
    for other in (ValueError, LookupError, OSError, RuntimeError):
        assert issubclass(kind, other) is issubclass(standard, other)


@EVERY
def test_an_error_is_one_sentence(kind: type[NexusError]) -> None:
    error = make(kind)

    assert str(error) == error.message == "it went wrong"
    assert error.hint == "try again"
    assert kind.__doc__


@EVERY
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_an_error_survives_pickling(kind: type[NexusError], protocol: int) -> None:
    error = make(kind)
    error.add_note("while testing")

    again = pickle.loads(pickle.dumps(error, protocol))

    assert type(again) is kind
    assert str(again) == str(error)
    assert again.__dict__ == error.__dict__
    assert again.__notes__ == ["while testing"]
    assert again.to_json() == error.to_json()


@EVERY
def test_an_error_can_be_copied(kind: type[NexusError]) -> None:
    error = make(kind)

    again = copy.copy(error)

    assert type(again) is kind
    assert again.to_json() == error.to_json()


@EVERY
def test_an_error_is_one_json_object(kind: type[NexusError]) -> None:
    text = json.dumps(make(kind).to_json())

    assert json.loads(text) | {"details": None} == {
        "code": CODES[kind.__name__],
        "message": "it went wrong",
        "hint": "try again",
        "retryable": kind.retryable,
        "details": None,
    }


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        (errors.PathNotFound, errno.ENOENT),
        (errors.PathExists, errno.EEXIST),
        (errors.PathNotADirectory, errno.ENOTDIR),
        (errors.PathIsADirectory, errno.EISDIR),
        (errors.PathDenied, errno.EACCES),
        (errors.PathEscape, errno.EXDEV),
        (errors.ContentModified, errno.ESTALE),
        (errors.FsError, errno.EIO),
    ],
)
def test_a_file_error_is_a_complete_oserror(kind: type[errors.FsError], number: int) -> None:
    for error in (kind("no", path="dir/file"), pickle.loads(pickle.dumps(kind("no", path="dir/file")))):
        assert (error.errno, error.filename, error.path) == (number, "dir/file", "dir/file")
        assert str(error) == "no"


def test_details_are_the_errors_own() -> None:
    given = {"name": "a"}
    error = NexusError("no", details=given)

    given["name"] = "b"

    assert error.details == {"name": "a"}


def test_an_error_without_details_has_an_empty_object() -> None:
    assert NexusError("no").to_json()["details"] == {}


def test_a_config_error_lists_at_least_itself() -> None:
    assert errors.ConfigError("a.yaml:1:1: no").problems == ("a.yaml:1:1: no",)


def test_a_result_travels_with_its_error() -> None:
    error = pickle.loads(pickle.dumps(errors.ExecTimeout("late", result=RESULT)))

    assert type(error) is errors.ExecTimeout
    assert error.result == RESULT
    assert error.result.stdout == "half\N{REPLACEMENT CHARACTER}"
    assert error.details == {"argv": ["make", "all"], "exit_code": 2}


def test_checking_a_result_raises_what_happened() -> None:
    with pytest.raises(errors.ExecFailed, match="make ended with status 2"):
        RESULT.check()
    late = ExecResult(exec_id=ExecId("ex_2"), argv=("make",), exit_code=143, timed_out=True, duration=1.5)
    with pytest.raises(TimeoutError, match=r"after 1\.5 s"):
        late.check()
    fine = ExecResult(exec_id=ExecId("ex_3"), argv=("make",), exit_code=0)
    assert fine.check() is fine
