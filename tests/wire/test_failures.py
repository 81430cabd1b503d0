from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nexus import errors
from nexus.errors import NexusError
from nexus.models.execution import ExecResult, Stream, Truncation
from nexus.models.ids import ExecId
from nexus.wire.failures import NUMBERS, error_of, fault_of
from nexus.wire.messages import Failure, Fault, parse, serialise
from nexus.wire.methods.files import ReadFile

RESULT = ExecResult(
    exec_id=ExecId("ex_1"),
    argv=("make", "a\udcff"),
    exit_code=None,
    signal=9,
    timed_out=True,
    stdout_bytes=b"half\xff",
    output_bytes=b"half\xff",
    truncated={Stream.STDOUT: Truncation(total=9, kept_head=2, kept_tail=3)},
    duration=1.5,
)
CLASSES = [
    kind for name in errors.__all__ if name != "Detail" and issubclass(kind := getattr(errors, name), NexusError)
]


OWN_ARGUMENTS: dict[type[NexusError], dict[str, object]] = {
    errors.ExecFailed: {"result": RESULT},
    errors.ExecTimeout: {"result": RESULT},
    errors.OutputLimitExceeded: {"result": RESULT},
    errors.ProcessLost: {"result": RESULT},
    errors.FsError: {"path": "sub/na\udcffme"},
    errors.ExecStartError: {"exit_code": 126},
    errors.UnsavedWork: {"lost": ["a", "b"], "report": {"files": ["x"]}},
    errors.ServiceFailed: {"service": "db", "log_tail": ["last"]},
    errors.HookFailed: {"tail": ["last"], "details": {"hook": "post-start", "exit_code": 3}},
    errors.ConfigError: {"problems": ["one", "two"]},
    errors.NotTrusted: {"unapproved": ["script"]},
    NexusError: {"details": {"port": 8080, "holder": "somebody", "list": [1, None, {"a": True}]}},
}


def make(kind: type[NexusError]) -> NexusError:
    arguments = next(given for base, given in OWN_ARGUMENTS.items() if issubclass(kind, base))
    return kind(f"{kind.__name__} happened", hint="do something", **arguments)  # type: ignore[arg-type]


def over_the_wire(error: BaseException) -> NexusError:
    text = serialise(Failure(1, fault_of(error, request_id="rq_1")))
    message = parse(text, most=1 << 20, depth=64)
    assert isinstance(message, Failure)
    return error_of(message.fault)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_comes_out_as_it_was_raised(kind: type[NexusError]) -> None:
    error = make(kind)

    came = over_the_wire(error)

    assert type(came) is kind
    assert came.to_json() == error.to_json()
    assert {key: value for key, value in vars(came).items() if key != "details"} == {
        key: value for key, value in vars(error).items() if key != "details"
    }
    if isinstance(error, OSError) and isinstance(came, OSError):
        assert (came.errno, came.filename) == (error.errno, error.filename)


def test_every_code_has_a_number_of_its_own() -> None:
    assert {kind.code for kind in CLASSES} <= set(NUMBERS)
    assert len(set(NUMBERS.values())) == len(NUMBERS)
    assert all(number > 0 or number == -32602 for number in NUMBERS.values())


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (2999, errors.FsError),
        (5199, errors.ProviderError),
        (5299, errors.WorkspaceUnavailable),
        (1299, errors.Conflict),
        (9999, errors.GitError),
        (77777, NexusError),
        (-5, NexusError),
    ],
)
def test_an_unknown_code_becomes_the_base_of_its_family(number: int, kind: type[NexusError]) -> None:
    data = {"code": "FS_FROM_THE_FUTURE", "details": {"path": "a"}, "retryable": True}

    error = error_of(Fault(number, "m", data))

    assert type(error) is kind
    assert (error.code, error.retryable, error.message) == ("FS_FROM_THE_FUTURE", True, "m")


def test_a_bug_tells_nothing_of_the_inside() -> None:
    fault = fault_of(KeyError("/home/me/secret"), request_id="rq_7")

    assert fault.number == -32603
    assert "secret" not in json.dumps([fault.message, dict(fault.data)])
    assert fault.data["requestId"] == "rq_7"


def test_a_deadline_is_a_timeout_at_the_other_end() -> None:
    assert isinstance(over_the_wire(TimeoutError()), TimeoutError)


def test_wrong_parameters_are_named() -> None:
    with pytest.raises(ValidationError) as caught:
        ReadFile.model_validate({"workspace": "a", "path": 3}, by_alias=True, by_name=False)

    error = over_the_wire(caught.value)

    assert isinstance(error, errors.InvalidArgument)
    assert error.details["field"] == "path"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.sampled_from([*NUMBERS, "NEW"]),
    st.integers(-40000, 20000),
    st.dictionaries(st.sampled_from(["hint", "retryable", "details", "result"]), JSON),
)
def test_no_answer_however_strange_breaks_the_client(code: str, number: int, data: dict[str, object]) -> None:
    assert isinstance(error_of(Fault(number, "m", {"code": code, **data})), NexusError)
