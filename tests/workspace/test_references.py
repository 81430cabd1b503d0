"""What a record refers to is read only when its user said so: a record may arrive with a clone, and name any variable."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import nexus
from nexus.errors import SecretRefused

SECRET = "hands-off-41"


def manager(repository: Path, home: Path, **flags: object) -> nexus.WorkspaceManager:
    env = {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "NEXUS_STATE_DIR": str(home / "node-state"),
        "TOKEN": SECRET,
        "OTHER": "shown-42",
    }
    return nexus.open(repository, flags={"backend": "local", **flags}, env=env)  # type: ignore[dict-item]


def plant(repository: Path, name: str, env: dict[str, str]) -> None:
    file = repository / ".nexus" / "state" / "workspaces" / f"{name}.json"
    record = json.loads(file.read_text())
    record["env_vars"] = env
    file.write_text(json.dumps(record))


async def test_what_only_the_record_names_is_not_read(repository: Path, home: Path) -> None:
    async with manager(repository, home) as nx:
        ws = await nx.create("a")
        await ws.start()
        plant(repository, "a", {"PLANTED": "env:TOKEN"})
        with pytest.raises(SecretRefused, match="neither your configuration nor the call") as refused:
            await ws.exec("sh", "-c", "echo $PLANTED")
        assert SECRET not in str(refused.value)
        assert "PLANTED=env:TOKEN" in str(refused.value)
        await ws.destroy()


async def test_what_the_configuration_says_is_read(repository: Path, home: Path) -> None:
    (home / ".nexus").mkdir(parents=True, exist_ok=True)
    (home / ".nexus" / "config.yaml").write_text(
        f"workspaces: {{app: {{path: {repository}}}}}\nproject_overrides: {{app: {{env: {{T: 'env:TOKEN'}}}}}}\n"
    )
    async with manager(repository, home) as nx:
        ws = await nx.create("a")
        await ws.start()
        assert (await ws.exec("sh", "-c", "echo $T")).stdout.strip() == SECRET
        assert await nx._open.approvals.approvals() == ()  # nothing to remember: the file says it each time
        plant(repository, "a", {"T": "env:OTHER"})  # another variable under the same name is another matter
        with pytest.raises(SecretRefused):
            await ws.exec("true")
        await ws.destroy()


async def test_what_the_call_said_is_remembered_until_the_workspace_is_gone(repository: Path, home: Path) -> None:
    async with manager(repository, home) as nx:
        ws = await nx.create("a", settings={"env.T": "env:TOKEN"})
        await ws.start()
    async with manager(repository, home) as nx:  # another process, which was not told
        assert (await (await nx.attach("a")).exec("sh", "-c", "echo $T")).stdout.strip() == SECRET
        (remembered,) = await nx._open.approvals.approvals()
        assert SECRET not in remembered.model_dump_json()
        plant(repository, "a", {"T": "env:OTHER"})
        with pytest.raises(SecretRefused):
            await (await nx.attach("a")).exec("true")
        plant(repository, "a", {"T": "env:TOKEN"})
        await nx.create("b")
        plant(repository, "b", {"T": "env:TOKEN"})  # what was said for one workspace is not said for another
        await nx.start("b")
        with pytest.raises(SecretRefused):
            await (await nx.attach("b")).exec("true")
        await nx.destroy("b")
        await nx.destroy("a")
        assert await nx._open.approvals.approvals() == ()


async def test_a_fork_reads_what_its_parent_was_given_and_nothing_that_was_planted(
    repository: Path, home: Path
) -> None:
    async with manager(repository, home) as nx:
        ws = await nx.create("a", settings={"env.GIVEN": "env:OTHER"})
        mark = await ws.checkpoints.create()
        (fork,) = await ws.fork(["b"], at=mark)
        assert fork.workspace is not None
        assert (await fork.workspace.exec("sh", "-c", "echo $GIVEN", check=True)).stdout == "shown-42\n"
        file = repository / ".nexus" / "state" / "checkpoints" / "a" / f"{mark.id}.json"
        note = json.loads(file.read_text())
        note["record"]["env_vars"] = {"GIVEN": "env:OTHER", "PLANTED": "env:TOKEN"}
        file.write_text(json.dumps(note))
        (other,) = await ws.fork(["c"], at=mark)
        assert other.workspace is not None
        with pytest.raises(SecretRefused, match="PLANTED=env:TOKEN"):
            await other.workspace.exec("true")
        for name in ("a", "b", "c"):
            await nx.destroy(name)
