"""Another language proves the protocol: the sample in TypeScript does what an editor plugin does, against real daemons.

It is built from what the npm registry has. Without Node.js or the registry it is skipped with the reason, or fails when
``NEXUS_REQUIRE`` names ``node``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest
from pydantic import JsonValue

import nexus
from tests.requiring import do_without
from tests.workbench import git

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "examples" / "editor-plugin"
EMBEDDING = ROOT / "docs" / "how-to" / "embed-the-daemon.md"
OLDEST_NODE = 20
NO_REGISTRY = re.compile(r"\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|ENOTCACHED)\b")
EXPECTED = [
    "connected  nexus ",
    "workspaces editor-plugin\n",
    "terminal   printed 'answer 42' on 30 x 100 characters, ended with 3\n",
    "credit     100000 lines, none lost\n",
    "cancel     a request that was cancelled is answered -32800\n",
    "watch      created notes.txt\n",
    'edit       "one, edited\\n"\n',
    "conflict   FS_CONTENT_MODIFIED: what somebody else wrote stays\n",
    "port       200 for 1500000 bytes through the daemon's socket\n",
    "done       as expected\n",
]


@pytest.fixture(scope="session")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sample with its packages, out of npm's own cache where it has them."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        do_without("node", "there is no Node.js with npm here")
    assert node is not None
    assert npm is not None
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.lstrip("v").partition(".")[0]) < OLDEST_NODE:
        do_without("node", f"Node.js here is {version}; the sample is for {OLDEST_NODE} and later")
    folder = tmp_path_factory.mktemp("plugin") / "editor-plugin"
    shutil.copytree(SAMPLE, folder, ignore=shutil.ignore_patterns("node_modules", "out", "protocol.ts"))
    installed = subprocess.run(
        [npm, "ci", "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=180,
    )
    if found := NO_REGISTRY.search(installed.stderr) if installed.returncode else None:
        do_without("node", f"the npm registry cannot be reached ({found[0]}), and not everything is in npm's cache")
    assert installed.returncode == 0, installed.stderr
    return folder


async def run(
    *command: str, cwd: Path, status: int = 0, typed: bytes = b"", env: Mapping[str, str] | None = None
) -> str:
    with anyio.fail_after(120):
        done = await anyio.run_process(command, input=typed, cwd=cwd, env={**os.environ, **(env or {})}, check=False)
    printed = done.stdout.decode() + done.stderr.decode()
    assert done.returncode == status, printed
    return printed


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_a_plugin_does_its_work_on_daemons_of_both_kinds(plugin: Path, repository: Path) -> None:
    local: dict[str, JsonValue] = {"backend": "local"}
    async with nexus.open(repository, flags=local) as nx, nexus.Daemon(nx) as daemon:
        embedded = {"DAEMON_URL": daemon.url, "DAEMON_TOKEN": daemon.issue_token()}
        await run("npm", "run", "build", cwd=plugin, env=embedded)
        printed = await run("node", "out/main.js", cwd=plugin, env=embedded)
        assert [line for line in EXPECTED if line not in printed] == []
        assert await nx.list() == ()
        await run("node", "out/main.js", cwd=plugin, status=1, env={**embedded, "DAEMON_TOKEN": "wrong"})

    assert "no daemon serves" in await run("node", "out/main.js", str(repository), cwd=plugin, status=1)
    await nexus.start_daemon(repository, flags=local)
    try:
        printed = await run("node", "out/main.js", str(repository), cwd=plugin)
        assert [line for line in EXPECTED if line not in printed] == []
    finally:
        await nexus.stop_daemon(repository)
    assert git(repository, "branch", "--list", "nexus/*") == ""


@pytest.mark.slow
async def test_a_websocket_alone_is_enough_for_a_terminal(plugin: Path, repository: Path) -> None:
    """``terminal.mjs`` of the page about embedding, as it stands there; it prints more than a stream may without credit."""
    snippet = re.search(r"```javascript\n// terminal.mjs\n(.*?)```", EMBEDDING.read_text(), re.DOTALL)
    assert snippet is not None
    (plugin / "terminal.mjs").write_text(snippet[1])
    async with nexus.open(repository, flags={"backend": "local"}) as nx, nexus.Daemon(nx) as daemon, nx.create("try-1"):
        env = {"DAEMON_URL": daemon.url, "DAEMON_TOKEN": daemon.issue_token()}
        typed = b"seq 1 800000; exit\n"
        printed = await run("node", "terminal.mjs", cwd=plugin, typed=typed, env=env)
    assert "\n1\r\n2\r\n3\r\n" in printed
    assert "\n799999\r\n800000\r\n" in printed


def test_the_lock_file_names_no_registry_of_anybodys_own() -> None:
    lock = json.loads((SAMPLE / "package-lock.json").read_text())
    named = {package.get("resolved", "") for package in lock["packages"].values()}
    assert all(not each or each.startswith("https://registry.npmjs.org/") for each in named)
    assert all(package.get("integrity") for name, package in lock["packages"].items() if name)
