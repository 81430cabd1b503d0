"""Errors on the wire: one closed table from the code that programs compare to the number that JSON-RPC wants, and back.

An error travels as ``{code: number, message, data: {code, retryable, hint, details, source, requestId}}``. No class path is ever
sent. A code that is not known here becomes the base class of its family, so that a newer daemon's errors are still caught.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pydantic import BaseModel, ValidationError

from nexus import errors
from nexus.errors import Detail, NexusError
from nexus.models.execution import ExecResult, Stream, Truncation
from nexus.models.ids import ExecId
from nexus.wire.messages import (
    CANCELLED,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    NOT_INITIALIZED,
    PARSE_ERROR,
    SERVER_CANCELLED,
    Fault,
)
from nexus.wire.text import from_wire, to_wire

NUMBERS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "NEXUS_ERROR": 1000,
        "CONFIG_INVALID": 1010,
        "NOT_TRUSTED": 1011,
        "INVALID_ARGUMENT": INVALID_PARAMS,
        "INVALID_NAME": 1021,
        "AUTH_ERROR": 1100,
        "UNAUTHENTICATED": 1101,
        "TOKEN_EXPIRED": 1102,
        "SCOPE_DENIED": 1103,
        "CONFLICT": 1200,
        "ALREADY_EXISTS": 1201,
        "BUSY": 1202,
        "UNSUPPORTED": 1301,
        "QUOTA_EXCEEDED": 1401,
        "OPERATION_TIMEOUT": 1501,
        "TRANSPORT_ERROR": 1600,
        "CONNECTION_LOST": 1601,
        "PROTOCOL_ERROR": 1602,
        "VERSION_MISMATCH": 1603,
        "SLOW_CONSUMER": 1604,
        "DAEMON_UNAVAILABLE": 1605,
        "CLEANUP_FAILED": 1701,
        "WRONG_LOOP": 1801,
        "NOT_FOUND": 1900,
        "FS_ERROR": 2000,
        "FS_NOT_FOUND": 2001,
        "FS_EXISTS": 2002,
        "FS_NOT_A_DIRECTORY": 2003,
        "FS_IS_A_DIRECTORY": 2004,
        "FS_PERMISSION_DENIED": 2006,
        "FS_CONTENT_MODIFIED": 2010,
        "FS_PATH_ESCAPE": 2012,
        "EXEC_ERROR": 3000,
        "EXEC_START_FAILED": 3002,
        "EXEC_FAILED": 3003,
        "EXEC_TIMEOUT": 3004,
        "EXEC_OUTPUT_LIMIT": 3005,
        "EXEC_PROCESS_LOST": 3006,
        "EXEC_STDIN_CLOSED": 3007,
        "HOOK_FAILED": 3101,
        "TERMINAL_NOT_FOUND": 4001,
        "NOT_CONTROLLER": 4002,
        "WORKSPACE_UNAVAILABLE": 5000,
        "WORKSPACE_NOT_FOUND": 5001,
        "STATE_CONFLICT": 5002,
        "WORKSPACE_STOPPED": 5003,
        "WORKSPACE_GONE": 5004,
        "WORKSPACE_UNREACHABLE": 5005,
        "UNSAVED_WORK": 5010,
        "PROVIDER_ERROR": 5100,
        "PROVIDER_NOT_FOUND": 5101,
        "IMAGE_NOT_FOUND": 5102,
        "IMAGE_PULL_FAILED": 5103,
        "BUILD_FAILED": 5104,
        "PROVIDER_UNAVAILABLE": 5105,
        "PROVIDER_FORBIDDEN": 5106,
        "SERVICE_FAILED": 5201,
        "SERVICE_NOT_FOUND": 5202,
        "PORT_ERROR": 6000,
        "PORT_IN_USE": 6001,
        "PORTS_EXHAUSTED": 6002,
        "PORT_NOT_OPEN": 6003,
        "CHECKPOINT_NOT_FOUND": 7001,
        "CHECKPOINT_DAMAGED": 7002,
        "STATE_ERROR": 8000,
        "RECORD_DAMAGED": 8001,
        "REGISTRY_DAMAGED": 8002,
        "SECRET_ERROR": 8100,
        "SECRET_NOT_FOUND": 8101,
        "SECRET_REFUSED": 8102,
        "SECRETS_LOCKED": 8103,
        "SECRETS_DAMAGED": 8104,
        "KEYCHAIN_UNAVAILABLE": 8105,
        "GIT_ERROR": 9000,
        "GIT_NOT_A_REPOSITORY": 9001,
        "GIT_BARE_REPOSITORY": 9002,
        "GIT_UNBORN_HEAD": 9003,
        "GIT_REF_NOT_FOUND": 9004,
        "GIT_BRANCH_IN_USE": 9005,
        "GIT_SYNC_CONFLICT": 9006,
    }
)
"""The number of every code. A line is never changed and never removed."""

_CLASSES: Final[Mapping[str, type[NexusError]]] = MappingProxyType(
    {
        kind.code: kind
        for kind in (getattr(errors, name) for name in errors.__all__ if name != "Detail")
        if isinstance(kind, type) and issubclass(kind, NexusError)
    }
)
_BY_NUMBER: Final[Mapping[int, type[NexusError]]] = MappingProxyType(
    {
        **{number: _CLASSES[code] for code, number in NUMBERS.items() if code in _CLASSES},
        PARSE_ERROR: errors.ProtocolError,
        INVALID_REQUEST: errors.ProtocolError,
        METHOD_NOT_FOUND: errors.Unsupported,
        NOT_INITIALIZED: errors.Unauthenticated,
        INTERNAL_ERROR: NexusError,
        CANCELLED: errors.TransportError,
        SERVER_CANCELLED: errors.TransportError,
    }
)
_FAMILIES: Final = (errors.ExecFailed, errors.ExecTimeout, errors.OutputLimitExceeded, errors.ProcessLost)


def fault_of(error: BaseException, *, request_id: str | None = None) -> Fault:
    """Return an error as a response has it. What is no error of ours is a fault of the daemon, and tells nothing of its inside.

    Args:
        error: What was raised.
        request_id: The request's id, to be found again in a log.
    """
    if isinstance(error, ValidationError):
        error = _refused(error)
    if not isinstance(error, NexusError):
        if isinstance(error, TimeoutError):
            error = errors.OperationTimeout("the request did not end in its time")
        else:
            return Fault(
                INTERNAL_ERROR, "the daemon failed at this request; its log says how", _data("INTERNAL", request_id)
            )
    data: dict[str, object] = {
        "code": error.code,
        "retryable": error.retryable,
        "hint": None if error.hint is None else to_wire(error.hint),
        "details": _cleaned(error.details),
        "source": "daemon",
        "requestId": request_id,
    }
    result = getattr(error, "result", None)
    if isinstance(result, ExecResult):
        data["result"] = result_to_wire(result)
    return Fault(_number(error), to_wire(error.message), data)


def _data(code: str, request_id: str | None) -> dict[str, object]:
    return {"code": code, "retryable": None, "source": "daemon", "requestId": request_id}


def _number(error: NexusError) -> int:
    codes = (kind.code for kind in type(error).__mro__ if issubclass(kind, NexusError))
    return next(NUMBERS[code] for code in (error.code, *codes) if code in NUMBERS)


def _refused(error: ValidationError) -> NexusError:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "params"
    return errors.InvalidArgument(f"{where}: {first['msg']}", details={"field": where})


def _cleaned(value: object) -> object:
    if isinstance(value, str):
        return to_wire(value)
    if isinstance(value, Mapping):
        return {to_wire(str(key)): _cleaned(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(each) for each in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else to_wire(str(value))


def error_of(fault: Fault) -> NexusError:
    """Return the error that a response tells of, as it would have been raised in process. Never fails, whatever was sent."""
    data = fault.data
    code = data.get("code")
    kind = _CLASSES.get(code) if isinstance(code, str) else None
    hint = data.get("hint")
    details = data.get("details")
    message = from_wire(fault.message)
    told = from_wire(hint) if isinstance(hint, str) else None
    kept = _restored(details) if isinstance(details, Mapping) else {}
    known = kind or _BY_NUMBER.get(fault.number) or _family(fault.number)
    error = _made(known, message, told, kept, data.get("result"))
    if kind is None and isinstance(code, str):
        vars(error)["code"] = code
    retryable = data.get("retryable")
    if isinstance(retryable, bool) and retryable is not error.retryable:
        vars(error)["retryable"] = retryable
    return error


def _family(number: int) -> type[NexusError]:
    for base in (number - number % 100, number - number % 1000):
        if base in _BY_NUMBER:
            return _BY_NUMBER[base]
    return NexusError


def _made(
    kind: type[NexusError], message: str, hint: str | None, details: Mapping[str, Detail], result: object
) -> NexusError:
    if issubclass(kind, _FAMILIES):
        found = result_from_wire(result)
        return (
            kind(message, result=found, hint=hint) if found else errors.ExecError(message, hint=hint, details=details)
        )
    try:
        return kind.revive(message, hint, details)
    except (TypeError, ValueError, KeyError):
        return NexusError(message, hint=hint, details=details)


def _restored(value: Mapping[object, object]) -> dict[str, Detail]:
    return {from_wire(str(key)): _detail(each) for key, each in value.items()}


def _detail(value: object) -> Detail:
    if isinstance(value, str):
        return from_wire(value)
    if isinstance(value, Mapping):
        return _restored(value)
    if isinstance(value, list):
        return [_detail(each) for each in value]
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def result_to_wire(result: ExecResult) -> dict[str, object]:
    """Return the result of a command as JSON has it."""
    return {
        "execId": result.exec_id,
        "argv": [to_wire(word) for word in result.argv],
        "exitCode": result.exit_code,
        "signal": result.signal,
        "timedOut": result.timed_out,
        "oom": result.oom,
        "duration": result.duration,
        "stdout": base64.b64encode(result.stdout_bytes).decode(),
        "stderr": base64.b64encode(result.stderr_bytes).decode(),
        "output": base64.b64encode(result.output_bytes).decode(),
        "truncated": {
            str(name): {"total": lost.total, "keptHead": lost.kept_head, "keptTail": lost.kept_tail}
            for name, lost in result.truncated.items()
        },
    }


def result_from_wire(value: object) -> ExecResult | None:
    """Return what :func:`result_to_wire` was given; ``None`` for anything else."""
    if not isinstance(value, Mapping):
        return None
    try:
        return ExecResult(
            exec_id=ExecId(str(value["execId"])),
            argv=tuple(from_wire(str(word)) for word in value["argv"]),
            exit_code=value["exitCode"],
            signal=value["signal"],
            timed_out=bool(value["timedOut"]),
            oom=bool(value["oom"]),
            duration=float(value["duration"]),
            stdout_bytes=base64.b64decode(value["stdout"], validate=True),
            stderr_bytes=base64.b64decode(value["stderr"], validate=True),
            output_bytes=base64.b64decode(value["output"], validate=True),
            truncated={
                Stream(name): Truncation(
                    total=int(lost["total"]), kept_head=int(lost["keptHead"]), kept_tail=int(lost["keptTail"])
                )
                for name, lost in value["truncated"].items()
            },
        )
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error):
        return None
