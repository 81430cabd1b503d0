from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.errors import InvalidArgument
from nexus.models.execution import Pty
from nexus.models.ids import NodeId, WorkspaceId, WorkspaceName
from nexus.models.ports import PortMapping
from nexus.providers.local import environment
from nexus.providers.local.record import Description


def described(**changes: object) -> Description:
    base = Description(
        id=WorkspaceId("id-1"), name=WorkspaceName("one"), node=NodeId("n"), worktree=Path("/w/tree"), workdir="/w/tree"
    )
    return base.model_copy(update=changes)


@given(st.dictionaries(st.text(min_size=1, max_size=12), st.text(max_size=8)))
def test_only_known_variables_are_passed_on(own: dict[str, str]) -> None:
    kept = environment.base(own)
    assert all(name in environment.KEPT or name.startswith("LC_") for name in kept)
    assert all(kept[name] == own[name] for name in kept if name in own)


def test_credentials_stay_out_unless_they_are_named() -> None:
    own = {"PATH": "/bin", "AWS_SECRET_ACCESS_KEY": "s", "SSH_AUTH_SOCK": "/s", "GIT_DIR": "/g", "LC_ALL": "C"}
    assert environment.base(own) == {"PATH": "/bin", "LC_ALL": "C"}
    assert environment.base(own, {"SSH_AUTH_SOCK"}) == {"PATH": "/bin", "LC_ALL": "C", "SSH_AUTH_SOCK": "/s"}


def test_there_is_a_path_even_when_the_manager_has_none() -> None:
    assert "/usr/bin" in environment.base({})["PATH"]


def test_ports_are_told_by_name_and_the_web_one_as_port() -> None:
    mappings = (
        PortMapping(name="web", container_port=3000, host_port=32801),
        PortMapping(name="my-db.2", container_port=5432, host_port=32803, visibility="public"),
    )
    assert environment.ports(mappings) == {
        "NEXUS_WORKSPACE_PORT_WEB": "32801",
        "NEXUS_WORKSPACE_HOST_WEB": "127.0.0.1",
        "PORT": "32801",
        "HOST": "127.0.0.1",
        "NEXUS_WORKSPACE_PORT_MY_DB_2": "32803",
        "NEXUS_WORKSPACE_HOST_MY_DB_2": "0.0.0.0",
    }


def test_later_layers_win_and_the_mark_cannot_be_taken_away() -> None:
    description = described(
        env={"A": "workspace", "B": "workspace", "PORT": "1"},
        ports=(PortMapping(name="web", container_port=1, host_port=2),),
    )
    env = environment.command({"A": "base", "TERM": "dumb"}, description, {"B": "own", "NEXUS_WORKSPACE_ID": "forged"})
    assert env["A"] == "workspace"
    assert env["B"] == "own"
    assert env["PORT"] == "1"
    assert env["TERM"] == "dumb"
    assert env["NEXUS_WORKSPACE_ID"] == "id-1"
    assert env["NEXUS_WORKSPACE_NAME"] == "one"


def test_a_terminal_names_its_kind_unless_the_command_does() -> None:
    assert environment.command({"TERM": "dumb"}, described(), {}, Pty(term="vt100"))["TERM"] == "vt100"
    assert environment.command({}, described(), {"TERM": "linux"}, Pty())["TERM"] == "linux"


@pytest.mark.parametrize(
    ("workdir", "cwd", "expected"),
    [
        ("/w/tree", None, "/w/tree"),
        ("/w/tree/packages/a", None, "/w/tree/packages/a"),
        ("/w/tree/packages/a", "src", "/w/tree/packages/a/src"),
        ("/elsewhere", None, "/w/tree"),
        ("/workspace", None, "/w/tree"),
        ("/workspace/packages/a", None, "/w/tree/packages/a"),
        ("/w/tree", "/workspace/src", "/w/tree/src"),
        ("/w/tree", "/workspaces/src", "/workspaces/src"),
        ("/w/tree", "/tmp", "/tmp"),
    ],
)
def test_where_a_command_starts(workdir: str, cwd: str | None, expected: str) -> None:
    description = described(workdir=workdir, links={"/workspace": "/w/tree"})
    assert environment.folder(description, cwd) == expected


def test_names_to_pass_have_to_be_a_list_of_names() -> None:
    assert environment.passed_names({"pass_env": ["A", "B"]}) == {"A", "B"}
    for wrong in ("A", [1], {"A": "B"}):
        with pytest.raises(InvalidArgument, match="pass_env"):
            environment.passed_names({"pass_env": wrong})  # type: ignore[dict-item]
