"""The node's and the user's file of the architecture beside each other, word for word, under a workspace that really runs.

Changed is only what would reach beyond this test: where the engine is, how it stores, the folder of all users' trees, and the backend
that has no driver, which a flag overrides as it would for anybody.
"""

from __future__ import annotations

import getpass
import json
import stat
from collections.abc import AsyncGenerator
from pathlib import Path

import keyring
import pytest

import nexus
from nexus.config import ConfigStack
from nexus.errors import ConfigError
from nexus.models.instances import LABEL_WORKSPACE
from tests.engine.raw import RawEngine
from tests.secrets.conftest import MemoryKeychain
from tests.workbench import git

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(120)]

FIXTURES = Path(__file__).parents[1] / "config" / "fixtures"


@pytest.fixture
async def nx(
    home: Path, tmp_path: Path, engine: str, test_image: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[nexus.WorkspaceManager, None]:
    """``~/code/nexus`` of the user's file: a project without a file of its own."""
    root = home / "code" / "nexus"
    root.mkdir(parents=True)
    git(root, "init", "-q", "-b", "main")
    (root / "README.md").write_text("nexus\n")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "first")
    (home / ".nexus").mkdir()
    (home / ".nexus" / "config.yaml").write_text((FIXTURES / "user.yaml").read_text())
    (home / ".env").write_text("FROM_HOME=home\nBOTH=home\n")
    (home / ".nexus" / "secrets.env").write_text("BOTH=second\n")
    (home / ".env").chmod(0o600)
    (home / ".nexus" / "secrets.env").chmod(0o600)
    monkeypatch.setenv("GITHUB_TOKEN", "gh-value-of-this-test")
    before = keyring.get_keyring()
    keyring.set_keyring(MemoryKeychain())
    keyring.set_password("npm", "NPM_TOKEN", "npm-value-of-this-test")
    driver = RawEngine(engine).get("/info")["Driver"]
    node = tmp_path / "node.yaml"
    text = (FIXTURES / "node.yaml").read_text()
    for theirs, ours in (
        ("/var/run/docker.sock", engine),
        ("overlay2", driver),
        ("/var/lib/nexus/workspaces", str(tmp_path / "trees")),
        ("nexus-workspace:latest", test_image),
    ):
        assert theirs in text
        text = text.replace(theirs, ours)
    node.write_text(text)
    monkeypatch.setenv("NEXUS_STATE_DIR", str(tmp_path / "state"))
    stack = ConfigStack.load(root, flags={"backend": "docker"}, node_file=node)
    async with nexus.open(root, config=stack) as opened:
        yield opened
        for entry in await opened.list():
            await opened.destroy(entry.name, force=True)
    keyring.set_keyring(before)


async def test_both_files_decide_about_a_workspace(nx: nexus.WorkspaceManager, engine: str, tmp_path: Path) -> None:
    raw = RawEngine(engine)
    ws = await nx.create("one", settings={"ports.web": 3000})
    (number,) = raw.labelled(f"{LABEL_WORKSPACE}={ws.id}")["containers"]
    made = raw.container(number)

    # The node's: the engine's network, its image, where trees are and who may look into them.
    (network,) = made["NetworkSettings"]["Networks"]
    assert network.startswith("nexus-workspace-")
    assert made["Config"]["Image"] == ws.info.image == nx.config.get("defaults.image")
    own = tmp_path / "trees" / getpass.getuser()
    assert ws.info.worktree_path.is_relative_to(own)
    assert stat.S_IMODE(own.stat().st_mode) == 0o700
    assert (nx.config.settings.limits.max_workspaces_per_user, nx.config.settings.limits.max_workspaces_total) == (
        10,
        100,
    )
    told = nx.config.explain("defaults.resources.memory.bytes")
    assert [str(layer.layer) for layer in told.layers][-2:] == ["node", "user"]

    # The user's rank before them: 'large' in place of the node's default, an hour, ports of the user's own range.
    assert made["HostConfig"]["Memory"] == 8 << 30
    assert nx.config.get("defaults.idle_timeout") == "1h"
    assert 34000 <= ws.ports["web"].host_port <= 36000
    assert nx.config.explain("defaults.backend").layers[-2].value == "sprite"

    # Variables of both files, the later one last, and secrets from the keychain and from a variable; none in the configuration.
    seen = (await ws.exec("sh", "-c", 'echo "$FROM_HOME $BOTH $NPM_TOKEN $GITHUB_TOKEN"')).stdout
    assert seen == "home second npm-value-of-this-test gh-value-of-this-test\n"
    assert "value-of-this-test" not in json.dumps(raw.container(number))


async def test_the_backend_without_a_driver_is_refused_and_says_why(nx: nexus.WorkspaceManager, tmp_path: Path) -> None:
    stack = ConfigStack.load(nx.config.settings.project_root, node_file=tmp_path / "node.yaml")
    assert stack.settings.backend == "sprite"
    assert any("'backends.sprite' is checked, but this version has no driver" in line for line in stack.warnings)
    async with nexus.open(nx.config.settings.project_root, config=stack) as preferring:
        with pytest.raises((ConfigError, nexus.NexusError), match="sprite"):
            await preferring.create("never")
