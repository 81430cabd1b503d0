"""Everything that a program can ask of a service it can ask over a connection, with every parameter."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Iterator, Mapping

import pytest

from nexus.abc.checkpoints import CheckpointAccess
from nexus.abc.files import FileAccess
from nexus.abc.git_access import GitAccess
from nexus.abc.provider import ProcessHandle
from nexus.abc.service import WorkspaceService
from nexus.abc.terminals import TerminalAccess, TerminalSession
from nexus.models.base import Model
from nexus.wire.methods import METHODS

SAME: Mapping[type, str] = {
    FileAccess: "fs",
    GitAccess: "git",
    CheckpointAccess: "checkpoint",
    TerminalAccess: "terminal",
    TerminalSession: "terminal",
    ProcessHandle: "exec",
    WorkspaceService: "workspace",
}
"""Where a member's method is found by its own name."""
ELSEWHERE: Mapping[type, Mapping[str, str]] = {
    WorkspaceService: {
        "create_workspace": "workspace.create",
        "restore_workspace": "workspace.restore",
        "spawn": "exec.start",
        "list_ports": "ports.list",
        "connect_port": "ports.connect",
        "open_port": "ports.open",
        "close_port": "ports.close",
        "wait_port": "ports.wait",
        "setting": "config.get",
        "explain": "config.explain",
        "events": "events.subscribe",
        "retry_hooks": "workspace.retryHooks",
    },
    FileAccess: {
        "read_bytes": "fs.readFile",
        "write_bytes": "fs.writeFile",
        "write_text": "fs.writeFile",
        "list_page": "fs.readdir",
        "open_read": "fs.openRead",
        "open_write": "fs.openWrite",
        "make_dir": "fs.mkdir",
        "set_mode": "fs.setMode",
        "grep": "fs.search",
    },
    ProcessHandle: {"close_stdin": "exec.closeStdin", "aclose": "exec.release"},
    TerminalSession: {"write": "terminal.input"},
}
ACCESS = {"files", "git", "terminals", "checkpoints"}
"""What gives one of the others."""
MADE_OF_OTHERS: Mapping[type, set[str]] = {
    FileAccess: {"read_text", "exists", "is_file", "is_dir", "upload", "download"},
    # Streams carry these.
    ProcessHandle: {"receive", "write", "exec_id"},
    TerminalSession: {"receive", "info", "point", "role", "offset"},
}
CALLED: Mapping[str, str] = {
    "name": "workspace",
    "request": "spec",
    "number": "signal",
    "limit": "length",
    "src": "source",
    "dst": "target",
    "which": "checkpoint",
    "create": "if_match",  # ``absent``: there must be none
    "encoding": "text",
}
"""Parameters that have another name."""
WITHOUT: Mapping[str, set[str]] = {
    "exec.start": {"keep", "leaves_running"},  # that is what terminals are for; what scripts of a workspace do
}


def members(protocol: type) -> Iterator[str]:
    for name, value in vars(protocol).items():
        if not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)):
            yield name


CASES = [
    (protocol, name)
    for protocol in SAME
    for name in members(protocol)
    if name not in ACCESS and name not in MADE_OF_OTHERS.get(protocol, set())
]


@pytest.mark.parametrize(("protocol", "name"), CASES, ids=lambda value: getattr(value, "__name__", value))
def test_a_member_has_its_method_with_every_parameter(protocol: type, name: str) -> None:
    method = METHODS[ELSEWHERE.get(protocol, {}).get(name, f"{SAME[protocol]}.{name}")]
    fields = set(method.params.model_fields)
    function = getattr(protocol, name)
    hints = typing.get_type_hints(function)
    for parameter in inspect.signature(function).parameters:
        if parameter in {"self", "progress"}:
            assert parameter != "progress" or method.progress
            continue
        assert missing(parameter, hints[parameter], fields, WITHOUT.get(method.name, set())) == set()


def missing(parameter: str, hint: object, fields: set[str], without: set[str]) -> set[str]:
    if {parameter, f"{parameter}_ms", CALLED.get(parameter, parameter)} & fields or parameter in without:
        return set()
    asked = [parts for each in (hint, *typing.get_args(hint)) if (parts := parts_of(each))]
    if not asked:
        return {parameter}
    return {part for part in asked[0] if not {part, f"{part}_ms"} & fields and part not in without}


def parts_of(hint: object) -> set[str]:
    """The fields of a request."""
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return {field.name for field in dataclasses.fields(hint)}
    return set(hint.model_fields) if isinstance(hint, type) and issubclass(hint, Model) else set()


def test_a_forgotten_parameter_would_be_found() -> None:
    assert missing("timeout", float, {"timeout_ms"}, set()) == set()
    assert missing("colour", str, {"timeout_ms"}, set()) == {"colour"}


def test_what_is_for_later_is_nobodys_name() -> None:
    """``telemetry.*`` is kept free for hooks."""
    assert [name for name in METHODS if name.startswith("telemetry.")] == []
