"""What a workspace is given of SSH, as a value; and that what was lost of it is set right."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

import nexus
from nexus.config import SshAccess
from nexus.workspace.ssh_grant import INSIDE, SshGrant, grant_of, look, unknown_grant
from tests.workbench import Bench, make_bench


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    path = tmp_path / "a"
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))
    return path


def test_an_agent_is_found_where_it_really_is(agent: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(agent)
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/known_hosts").write_text("")
    grant, missing = look(SshAccess(mode="agent"), {"SSH_AUTH_SOCK": str(link)}, tmp_path, mounted=True)
    assert missing == []
    assert [(mount.source, mount.target, mount.read_only) for mount in grant.mounts()[1:]] == [
        (str(agent), f"{INSIDE}/agent", True),
        (str(tmp_path / ".ssh/known_hosts"), f"{INSIDE}/known_hosts", True),
    ]
    assert grant.environment() == {
        "SSH_AUTH_SOCK": f"{INSIDE}/agent",
        "GIT_SSH_COMMAND": f"ssh -o UserKnownHostsFile={INSIDE}/known_hosts",
    }


def test_what_is_off_gives_nothing(agent: Path, tmp_path: Path) -> None:
    for access in (SshAccess(), SshAccess(mode="none", keys=(tmp_path / "key",))):
        grant, missing = look(access, {"SSH_AUTH_SOCK": str(agent)}, tmp_path, mounted=True)
        assert (grant, missing, grant.mounts(), grant.environment()) == (SshGrant(), [], (), {})


def test_keys_keep_their_place_and_strange_names_are_words(tmp_path: Path) -> None:
    key = tmp_path / "my key; rm"
    key.write_text("x")
    access = SshAccess(mode="keys", keys=(key, tmp_path / "absent", tmp_path))
    grant, missing = look(access, {}, tmp_path, mounted=True)
    assert missing == [f"no SSH key at {tmp_path / 'absent'}", f"no SSH key at {tmp_path}"]
    assert grant.environment()["GIT_SSH_COMMAND"] == f"ssh -o IdentitiesOnly=yes -i '{INSIDE}/key-0-my key; rm'"


def test_a_lost_grant_gives_nothing_until_it_is_looked_up() -> None:
    grant = SshGrant.model_validate(unknown_grant()["ssh"])
    assert grant.unknown
    assert (grant.mounts(), grant.environment()) == ((), {})


async def test_a_rebuilt_record_is_set_right_at_the_next_start(
    repository: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    bench: Bench = make_bench("local", repository, tmp_path, request)
    async with bench.open() as nx:
        ws = await nx.create("a")
        await ws.stop()
        (repository / ".nexus/state/workspaces/a.json").write_text("{")
        await nx.doctor(fix=True)
        again = await nx.attach("a")
        assert grant_of(await nx._open.records.load("a")).unknown
        await again.start()
        assert not grant_of(await nx._open.records.load("a")).unknown
        assert isinstance(again, nexus.Workspace)
        await again.destroy(force=True)
