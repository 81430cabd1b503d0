"""The user's SSH agent and keys inside workspaces: a real agent, a real server, and really off when it is off."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import nexus
from nexus.errors import ConfigError
from nexus.models.instances import LABEL_REPOSITORY
from tests.engine.git_image import GitImage
from tests.engine.raw import RawEngine
from tests.workbench import Bench, git

SERVER = """
set -e
grep -q sshd /etc/passwd || printf 'root:x:0:0:root:/root:/bin/sh\\nsshd:x:101:65534::/run/sshd:/bin/false\\n' > /etc/passwd
mkdir -p /run/sshd /root
mkdir -p /tmp/sshd && cd /tmp/sshd
printf '%s\\n' "$HOST_KEY" > host_key && chmod 600 host_key
printf '%s\\n' "$ALLOWED" > allowed
printf 'Port 2222\\nListenAddress 127.0.0.1\\nHostKey /tmp/sshd/host_key\\n' > config
printf 'AuthorizedKeysFile /tmp/sshd/allowed\\nStrictModes no\\n' >> config
printf 'PasswordAuthentication no\\nKbdInteractiveAuthentication no\\nPidFile none\\nPermitRootLogin yes\\n' >> config
test -d /tmp/remote.git || git init -q --bare -b main /tmp/remote.git
/usr/sbin/sshd -f config -E log
"""
REMOTE = "ssh://root@127.0.0.1:2222/tmp/remote.git"


@dataclass
class Agent:
    """A running agent with one key in it."""

    socket: Path
    key: Path
    public: str
    host_key: str
    """The server's private key."""


@pytest.fixture
def agent(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Agent]:
    (home / ".ssh").mkdir(mode=0o700)
    keys = {}
    for name in ("id_ed25519", "host"):
        keys[name] = home / ".ssh" / name
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", keys[name]], check=True)
    host_public = keys["host"].with_suffix(".pub").read_text()
    (home / ".ssh/known_hosts").write_text(f"[127.0.0.1]:2222 {host_public}")
    socket = tmp_path / "agent"
    started = subprocess.run(["ssh-agent", "-a", socket, "-s"], check=True, capture_output=True, text=True).stdout
    found = re.search(r"SSH_AGENT_PID=(\d+)", started)
    assert found is not None
    monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
    subprocess.run(["ssh-add", "-q", keys["id_ed25519"]], check=True)
    yield Agent(
        socket, keys["id_ed25519"], keys["id_ed25519"].with_suffix(".pub").read_text(), keys["host"].read_text()
    )
    os.kill(int(found[1]), 15)


def configure(home: Path, text: str) -> None:
    folder = home / ".nexus"
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(text)


async def serve(ws: nexus.Workspace, agent: Agent) -> None:
    env = {"HOST_KEY": agent.host_key, "ALLOWED": agent.public}
    await ws.exec("sh", "-c", SERVER, env=env, check=True)


async def push(ws: nexus.Workspace, branch: str = "agent") -> nexus.ExecResult:
    return await ws.exec("git", "push", REMOTE, f"HEAD:refs/heads/{branch}")


async def nothing(ws: nexus.Workspace) -> None:
    """See that nothing of it is there."""
    seen = await ws.exec(
        "sh", "-c", 'env; ls /run/nexus/ssh 2>/dev/null; ls -a "$HOME"/.ssh 2>/dev/null; cat /proc/mounts'
    )
    assert "SSH_AUTH_SOCK" not in seen.stdout
    assert "GIT_SSH" not in seen.stdout
    assert "/run/nexus" not in seen.stdout
    assert "known_hosts" not in seen.stdout
    assert "id_ed25519" not in seen.stdout


@pytest.mark.docker
@pytest.mark.slow
async def test_git_pushes_by_the_users_agent_and_keys_until_they_are_taken_away(
    engine: str, ssh_image: GitImage, repository: Path, home: Path, agent: Agent, tmp_path: Path
) -> None:
    flags = {"backend": "docker", "backends.docker.socket": engine, "image": ssh_image.name}
    bench = Bench("docker", repository, {**flags})

    def inspected() -> str:
        raw = RawEngine(engine)
        found = raw.labelled(f"{LABEL_REPOSITORY}={repository}")["containers"]
        return json.dumps([raw.container(number) for number in found])

    async def opened(config: str) -> nexus.WorkspaceManager:
        configure(home, config)
        return bench.open()

    # Off: nothing is there, although an agent runs.
    async with await opened("") as nx:
        ws = await nx.create("a")
        await nothing(ws)
        await serve(ws, agent)
        assert not (await push(ws)).ok
        await ws.exec("sh", "-c", "echo mine > /root-file; cp /tmp/remote.git/HEAD /kept", check=True)
        await ws.stop()
    # The agent, handed over at a start.
    async with await opened("secrets: {ssh: {mode: agent}}") as nx:
        ws = await nx.attach("a")
        await ws.start()
        assert (await ws.exec("cat", "/root-file")).stdout == "mine\n"
        await serve(ws, agent)
        assert agent.public.split()[1] in (await ws.exec("ssh-add", "-L", check=True)).stdout
        done = await push(ws)
        assert done.ok, done.stderr
        assert not (await ws.exec("sh", "-c", "echo evil >> /run/nexus/ssh/known_hosts")).ok
        assert "PRIVATE KEY" not in inspected()
        assert "SSH_AUTH_SOCK" not in inspected()
        await ws.stop()
        # It moved with the next login: the new place is found at the next start.
        agent.socket.rename(tmp_path / "moved")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SSH_AUTH_SOCK", str(tmp_path / "moved"))
            await ws.start()
        assert (await ws.exec("ssh-add", "-l")).ok
        await ws.stop()
    # Keys, read-only, with the bits that ssh wants.
    async with await opened(f"secrets: {{ssh: {{mode: keys, keys: ['{agent.key}', ~/.ssh/absent]}}}}") as nx:
        said: list[str] = []
        ws = await nx.attach("a")
        await ws.start(progress=lambda _step, line, _done=None, _total=None: said.append(line))
        assert any("no SSH key at" in line for line in said)
        assert not (await ws.exec("sh", "-c", 'test -n "$SSH_AUTH_SOCK"')).ok
        await serve(ws, agent)
        done = await push(ws, "keys")
        assert done.ok, done.stderr
        assert not (await ws.exec("sh", "-c", "echo evil >> /run/nexus/ssh/key-0-id_ed25519")).ok
        assert "PRIVATE KEY" not in inspected()
        await ws.stop()
    # Off again: gone at the next start, from the container and from every image of it.
    async with await opened("secrets: {ssh: {mode: none}}") as nx:
        ws = await nx.attach("a")
        await ws.start()
        await nothing(ws)
        assert (await ws.exec("ls", "-A", "/run/nexus/ssh")).stdout == ""
        assert not (await push(ws)).ok
        assert "/run/nexus/ssh" not in inspected()
        record = (repository / ".nexus/state/workspaces/a.json").read_text()
        assert "PRIVATE KEY" not in record
        await ws.destroy(force=True)


async def test_local_programs_see_the_agent_only_when_they_are_told_to(
    repository: Path, home: Path, agent: Agent
) -> None:
    bench = Bench("local", repository, {"backend": "local"})
    ask = ("sh", "-c", 'echo "${SSH_AUTH_SOCK-none} ${GIT_SSH_COMMAND-none}"')
    for config, expected in (
        ("", "none none\n"),
        ("secrets: {ssh: {mode: none, keys: [~/.ssh/id_ed25519]}}", "none none\n"),
        ("secrets: {ssh: {mode: agent}}", f"{agent.socket} none\n"),
        (
            "secrets: {ssh: {mode: keys, keys: [~/.ssh/id_ed25519]}}",
            f"none ssh -o IdentitiesOnly=yes -i {agent.key}\n",
        ),
    ):
        configure(home, config)
        async with bench.open() as nx:
            ws = await nx.create("a")
            assert (await ws.exec(*ask)).stdout == expected
            await ws.destroy()
    # What is asked for one workspace holds at its later starts.
    configure(home, "secrets: {ssh: {mode: agent}}")
    async with bench.open() as nx:
        ws = await nx.create("a", settings={"secrets.ssh.mode": "none"})
        await ws.stop()
        await ws.start()
        assert (await ws.exec(*ask)).stdout == "none none\n"
        await ws.destroy()


async def test_no_agent_is_no_reason_to_fail(
    repository: Path, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    configure(home, "secrets: {ssh: {mode: agent}}")
    for place in (None, str(tmp_path / "gone"), str(repository / "README.md")):
        if place is None:
            monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
        else:
            monkeypatch.setenv("SSH_AUTH_SOCK", place)
        said: list[str] = []
        async with Bench("local", repository, {"backend": "local"}).open() as nx:
            ws = await nx.create(
                "a", progress=lambda _step, line, _done=None, _total=None, told=said: told.append(line)
            )
            assert any(line.startswith("no SSH agent for the workspace") for line in said)
            assert (await ws.exec("sh", "-c", 'echo "${SSH_AUTH_SOCK-none}"')).stdout == "none\n"
            await ws.destroy()


def test_a_project_cannot_ask_for_it(repository: Path, home: Path) -> None:
    (repository / ".nexus").mkdir()
    (repository / ".nexus/config.yaml").write_text("secrets:\n  ssh: {mode: agent}\n")
    with pytest.raises(ConfigError, match=r"cannot set 'secrets.ssh'"):
        nexus.ConfigStack.load(repository)
    assert git(repository, "status", "--porcelain")
