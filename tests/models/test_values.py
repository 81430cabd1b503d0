from __future__ import annotations

import dataclasses
import pickle
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from nexus.errors import InvalidArgument
from nexus.models.events import StatusChanged, WorkspaceEvent
from nexus.models.execution import ExecResult, Exited, Output, SpawnRequest, Started, Stream
from nexus.models.ids import ExecId, WorkspaceId, WorkspaceName
from nexus.models.ports import PortMapping, PortRange, PortRequest
from nexus.models.resources import GB, RESOURCE_CLASSES, CpuAllocation, MemoryAllocation, ResourceAllocation
from nexus.models.workspace import Repository, WorkspaceRecord, WorkspaceStatus


def record() -> WorkspaceRecord:
    now = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    return WorkspaceRecord(
        id=WorkspaceId("1b4e28ba-2fa1-4d2a-883f-0016d3cca427"),
        name=WorkspaceName("feature-auth"),
        backend="docker",
        backend_config={"image": "python:3.12", "nested": {"list": [1, None, True]}},
        repository=Repository(root=Path("/src/app"), common_dir=Path("/src/app/.git")),
        branch="nexus/feature-auth",
        worktree_path=Path("/src/app/.nexus/worktrees/feature-auth"),
        port_mappings=(PortMapping(name="web", container_port=8000, host_port=32801),),
        created_at=now,
        updated_at=now,
        last_active=now,
    )


def test_a_record_survives_json() -> None:
    made = record()

    assert WorkspaceRecord.model_validate_json(made.model_dump_json()) == made


def test_a_value_survives_pickling() -> None:
    made = record()

    assert pickle.loads(pickle.dumps(made)) == made


def test_a_value_cannot_be_changed() -> None:
    made = record()

    with pytest.raises(ValidationError, match="frozen"):
        made.branch = "main"  # type: ignore[misc]


def test_a_value_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ValidationError, match="surprise"):
        WorkspaceRecord.model_validate({**record().model_dump(), "surprise": 1})


@pytest.mark.parametrize("name", ["Feature", "all", "a/b", "x" * 49])
def test_a_record_refuses_a_bad_name(name: str) -> None:
    with pytest.raises(ValidationError):
        WorkspaceRecord.model_validate({**record().model_dump(), "name": name})


def test_statuses_are_their_words() -> None:
    assert [str(status) for status in WorkspaceStatus] == [
        "pending",
        "stopped",
        "running",
        "paused",
        "error",
        "destroying",
        "destroyed",
    ]


def test_an_event_is_told_apart_by_its_kind() -> None:
    event = StatusChanged(
        workspace=WorkspaceId("w"),
        name="a",
        at=datetime(2026, 1, 1, tzinfo=UTC),
        previous=None,
        status=WorkspaceStatus.RUNNING,
        reason="started",
    )
    adapter: TypeAdapter[WorkspaceEvent] = TypeAdapter(WorkspaceEvent)

    assert adapter.validate_json(event.model_dump_json()) == event


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_is_a_port(port: int) -> None:
    with pytest.raises(ValidationError):
        PortRequest(name="web", container=port)
    with pytest.raises(ValidationError):
        PortMapping(name="web", container_port=80, host_port=port)


def test_a_range_is_ordered_and_closed() -> None:
    ports = PortRange(start=32800, end=32809)

    assert 32800 in ports
    assert 32809 in ports
    assert 32810 not in ports
    assert "32800" not in ports
    with pytest.raises(ValidationError, match="before it starts"):
        PortRange(start=2, end=1)


def test_only_a_private_port_hides() -> None:
    mapping = PortMapping(name="web", container_port=80, host_port=32801)

    assert mapping.bind_address == "127.0.0.1"
    assert mapping.model_copy(update={"visibility": "public"}).bind_address == "0.0.0.0"


def test_limits_default_to_what_is_meant() -> None:
    plain = ResourceAllocation()
    limited = ResourceAllocation(cpu=CpuAllocation(cores=1, limit=3), memory=MemoryAllocation(bytes=GB, limit=2 * GB))

    assert (plain.cpu_limit, plain.memory_limit) == (2, 4 * GB)
    assert (limited.cpu_limit, limited.memory_limit) == (3, 2 * GB)


def test_resource_classes_grow() -> None:
    sizes = [RESOURCE_CLASSES[name] for name in ("small", "medium", "large", "xlarge")]

    assert [size.cpu.cores for size in sizes] == [1, 2, 4, 8]
    assert [size.memory.bytes // GB for size in sizes] == [2, 4, 8, 16]
    assert [size.storage.bytes // GB for size in sizes] == [20, 50, 100, 200]


@pytest.mark.parametrize("argv", [(), ("",), ("a", "b\0c")])
def test_a_command_needs_words_that_can_be_passed(argv: tuple[str, ...]) -> None:
    with pytest.raises(InvalidArgument):
        SpawnRequest(argv=argv)


@pytest.mark.parametrize("env", [{"": "x"}, {"A=B": "x"}, {"A": "x\0"}, {"A\0": "x"}])
def test_a_command_needs_an_environment_that_can_be_passed(env: dict[str, str]) -> None:
    with pytest.raises(InvalidArgument):
        SpawnRequest(argv=("true",), env=env)


def test_events_of_a_command_are_values() -> None:
    events = (
        Started(exec_id=ExecId("ex_1"), pid=7),
        Output(stream=Stream.STDOUT, offset=0, data=b"\xff"),
        Exited(exit_code=137, signal=9),
    )

    assert pickle.loads(pickle.dumps(events)) == events
    with pytest.raises(dataclasses.FrozenInstanceError):
        events[0].pid = 8  # type: ignore[misc]


def test_a_result_is_text_and_bytes() -> None:
    result = ExecResult(
        exec_id=ExecId("ex_1"),
        argv=("x",),
        exit_code=0,
        stdout_bytes=b"a\xff",
        stderr_bytes=b"b",
        output_bytes=b"ba\xff",
    )

    assert (result.ok, result.stdout, result.stderr, result.output) == (True, "a\ufffd", "b", "ba\ufffd")
