"""A hostile program inside a container gets nothing run and nothing written on the host by anything Nexus does, and doctor tells."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import anyio
import pytest

import nexus
from nexus.errors import NexusError
from nexus.models.instances import LABEL_REPOSITORY
from tests.engine.git_image import GitImage
from tests.engine.hostile_git import ATTACKS, PREPARE, Attack
from tests.engine.raw import RawEngine
from tests.workbench import Bench, git

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(180)]

OPERATION_LIMIT = 30.0
"""Seconds after which an operation hangs: a pipe in the place of a file would hold it for ever."""


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A folder of the host's that no workspace has any business with."""
    folder = tmp_path / "victim"
    folder.mkdir()
    (folder / "secret").write_text("the user's own\n")
    return folder


@pytest.fixture
async def bench(
    repository: Path, tmp_path: Path, engine: str, git_image: GitImage, victim: Path
) -> AsyncGenerator[Bench, None]:
    """A repository with a remote, and an engine; what an attack left behind is removed by force."""
    remote = tmp_path / "remote.git"
    git(tmp_path, "clone", "-q", "--bare", str(repository), str(remote))
    git(repository, "remote", "add", "origin", str(remote))
    yield Bench("docker", repository, {"backend": "docker", "backends.docker.socket": engine, "image": git_image.name})
    RawEngine(engine).remove_labelled(f"{LABEL_REPOSITORY}={repository}")


class Watch:
    """Looks whether anything happened on the host that must not."""

    def __init__(self, root: Path, victim: Path, mark: Path) -> None:
        self._root, self._victim, self.mark = root, victim, mark
        self._before = self._look()

    def _look(self) -> dict[str, str]:
        """Return everything that is neither a workspace's nor Nexus's own nor git's to move."""
        found = {}
        for top in (self._root, self._victim):
            for folder, folders, files in os.walk(top):
                if Path(folder) == self._root:
                    folders[:] = [name for name in folders if name not in {".git", ".nexus"}]
                for name in (*folders, *files):
                    path = Path(folder, name)
                    found[str(path)] = (
                        path.read_text(errors="replace") if path.is_file() and not path.is_symlink() else "other"
                    )
        common = self._root / ".git"
        for path in (
            common / "config",
            *(common / "hooks").rglob("*"),
            *(common / "worktrees" / "nexus@sibling").glob("*"),
        ):
            if path.is_file() and path.name != "index":
                found[str(path)] = path.read_text(errors="replace")
        return found

    def check(self, after: str) -> None:
        assert not self.mark.exists(), f"a program of the workspace ran on the host during {after}"
        assert self._look() == self._before, f"something outside changed during {after}"


async def attempt(what: str, act: Callable[[], Awaitable[object]], watch: Watch) -> NexusError | None:
    """Do it, whatever comes of it: an error in our own words is an answer, anything else and a hang are not."""
    refused = None
    with anyio.fail_after(OPERATION_LIMIT):
        try:
            await act()
        except NexusError as error:
            refused = error
    watch.check(what)
    return refused


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.title.replace(" ", "-"))
async def test_nothing_runs_and_nothing_changes_on_the_host(
    bench: Bench, attack: Attack, victim: Path, tmp_path: Path
) -> None:
    root = bench.repository
    async with bench.open() as nx:
        await nx.create("sibling")
        ws = await nx.create("bad")
        watch = Watch(root, victim, tmp_path / "ran-on-the-host")
        await strike(ws, attack, victim, watch.mark)
        found = await nx.doctor()
        watch.check("doctor")
        said = [finding.message for finding in found if finding.check.startswith("tampering") and finding.level != "ok"]
        if attack.found is None:
            assert said == []
        else:
            assert any(attack.found in message for message in said), said
        operations: list[tuple[str, Callable[[], Awaitable[object]]]] = [
            ("list", nx.list),
            ("show", lambda: nx.get("bad")),
            ("report", lambda: nx._open.worktrees.report("bad")),
            ("sync", ws.sync),
            ("pause", ws.pause),
            ("resume", ws.resume),
            ("switch", lambda: nx.switch("bad")),
            ("switch back", lambda: nx.switch("sibling")),
            ("stop", ws.stop),
            ("start", ws.start),
            ("create another", lambda: nx.create("another", start=False)),
            ("read a file", lambda: ws.fs.read_text("README.md")),
            ("gc", nx.gc),
            ("doctor --fix", lambda: nx.doctor(fix=True)),
            ("destroy", ws.destroy),
            ("destroy --force", lambda: ws.destroy(force=True)),
        ]
        refused = {what: await attempt(what, act, watch) for what, act in operations}
        for what in (
            "list",
            "show",
            "report",
            "pause",
            "resume",
            "switch",
            "switch back",
            "stop",
            "start",
            "doctor --fix",
        ):
            assert refused[what] is None, what
    # A manager that opens afterwards is not taken in either.
    async with bench.open() as nx:
        for what, again in (("list", nx.list), ("doctor", nx.doctor)):
            assert await attempt(what, again, watch) is None


async def strike(ws: nexus.Workspace, attack: Attack, victim: Path, mark: Path) -> None:
    tree = ws.info.worktree_path
    common = ws.info.repository.common_dir
    env = {
        "TREE": str(tree),
        "COMMON": str(common),
        "ADMIN": str(common / "worktrees" / f"nexus@{ws.name}"),
        "NAME": ws.name,
        "EVIL": str(tree / "evil.sh"),
        "VICTIM": str(victim),
        "MARK": str(mark),
    }
    await ws.shell(f"set -e\n{PREPARE}\n{attack.script}", env=env, check=True, timeout=60)


@pytest.mark.parametrize(
    "attack", [ATTACKS[0], ATTACKS[1], ATTACKS[5]], ids=lambda attack: attack.title.replace(" ", "-")
)
async def test_the_same_attacks_do_run_programs_when_the_hosts_git_is_asked(
    bench: Bench, attack: Attack, victim: Path, tmp_path: Path
) -> None:
    """The mark can be made at all: a plain git in the attacked tree makes it."""
    async with bench.open() as nx:
        ws = await nx.create("bad")
        mark = tmp_path / "ran-on-the-host"
        await strike(ws, attack, victim, mark)
        for command in ("add", "status"):
            words = [
                "git",
                "-c",
                f"core.worktree={ws.info.worktree_path}",
                command,
                *(["."] if command == "add" else []),
            ]
            subprocess.run(words, cwd=ws.info.worktree_path, capture_output=True)
        assert mark.exists()


async def test_a_healthy_repository_is_all_green(bench: Bench) -> None:
    async with bench.open() as nx:
        ws = await nx.create("good")
        await ws.shell("git status && git commit -q --allow-empty -m x && git stash list && git gc || true", check=True)
        found = [finding for finding in await nx.doctor() if finding.check.startswith("tampering")]
        assert [(finding.check, finding.level) for finding in found] == [("tampering", "ok")]
