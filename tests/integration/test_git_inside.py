"""Everyday git inside a real container, next to the same git outside; and what is refused there harms nobody."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import pytest

import nexus
from nexus.errors import InvalidArgument
from nexus.models.execution import ExecResult
from tests.engine.everyday_git import ENVIRONMENT, EVERYDAY, HARMLESS, REFUSED, Step
from tests.engine.git_image import GitImage
from tests.workbench import Bench, git, leftovers

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(300)]

NAME, EMAIL = "A. Person", "person@example.org"
_SHOWN = 'git log --all --format="%H %P %an %ae %cn %s %D"; git status --porcelain=v2 --branch; git fsck --no-dangling; git stash list'


@pytest.fixture(autouse=True)
def person(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user with a git configuration of their own; the machine's is not seen."""
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    (home / ".gitconfig").write_text(
        f"[user]\n\tname = {NAME}\n\temail = {EMAIL}\n[init]\n\tdefaultBranch = main\n[gc]\n\tauto = 0\n"
    )


@pytest.fixture(params=["same", "newer"])
def image(request: pytest.FixtureRequest) -> GitImage:
    """This machine's git, and a newer one."""
    found: GitImage = request.getfixturevalue("git_image" if request.param == "same" else "new_git_image")
    return found


@pytest.fixture
async def bench(repository: Path, engine: str, image: GitImage) -> AsyncGenerator[Bench, None]:
    """A repository whose remote lies in the tree of workspace ``a``, and an engine."""
    prepare(repository)
    made = Bench("docker", repository, {"backend": "docker", "backends.docker.socket": engine, "image": image.name})
    yield made
    async with made.open() as nx:
        for entry in await nx.list():
            await nx.destroy(entry.name, force=True)
    assert await leftovers(made) == []
    assert not (repository / ".git" / "commondir").exists()


def prepare(root: Path) -> None:
    """Make a repository's first commit the same every time, and give it a remote inside the first workspace."""
    (root / ".gitignore").write_text("/remote.git/\n")
    git(root, "add", "-A")
    env = {**os.environ, **ENVIRONMENT}
    identity = ["-c", f"user.name={NAME}", "-c", f"user.email={EMAIL}"]
    subprocess.run(
        ["git", *identity, "commit", "-q", "--amend", "--reset-author", "-m", "first"], cwd=root, check=True, env=env
    )
    git(root, "remote", "add", "origin", str(tree_of(root, "a") / "remote.git"))


def tree_of(root: Path, name: str) -> Path:
    return root / ".nexus" / "worktrees" / name


@dataclass
class Outside:
    """A plain linked worktree with the host's own git."""

    root: Path

    @property
    def tree(self) -> Path:
        return tree_of(self.root, "a")

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, **ENVIRONMENT}
        return subprocess.run(
            ["sh", "-ec", script], cwd=self.tree, capture_output=True, text=True, check=False, env=env
        )


@pytest.fixture
def outside(tmp_path: Path) -> Outside:
    """The same repository once more, with a worktree that git itself made."""
    root = tmp_path / "outside"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    for folder in ("src", ".nexus/worktrees"):
        (root / folder).mkdir(parents=True)
    (root / "README.md").write_text("# app\n")
    (root / "src" / "main.py").write_text("print('hello')\n")
    (root / "run.sh").write_text("#!/bin/sh\necho it runs\n")
    (root / "run.sh").chmod(0o755)
    git(root, "add", "-A")
    git(root, "commit", "-qm", "first")
    prepare(root)
    for name in ("b", "a"):
        git(root, "worktree", "add", "-q", "-b", f"nexus/{name}", str(tree_of(root, name)))
    return Outside(root)


async def inside(ws: nexus.Workspace, script: str, **env: str) -> ExecResult:
    return await ws.exec("sh", "-ec", script, env={**ENVIRONMENT, **env}, timeout=120)


def host_version() -> str:
    return git(Path("/"), "--version").split()[2]


def siblings_are_well(root: Path, *names: str) -> None:
    """Look from outside, with the host's git, at the main checkout and at every other workspace."""
    assert git(root, "status", "--porcelain") == ""
    git(root, "fsck", "--no-dangling")
    listed = git(root, "worktree", "list", "--porcelain")
    for name in names:
        tree = tree_of(root, name)
        assert f"worktree {tree}\n" in listed
        assert git(tree, "status", "--porcelain") == ""
        assert git(tree, "branch", "--show-current").strip() == f"nexus/{name}"
    assert listed.count("locked nexus:") == len(names) + 1
    assert "prunable" not in listed


async def test_everyday_git_is_the_same_inside_and_outside(bench: Bench, outside: Outside, image: GitImage) -> None:
    async with bench.open() as nx:
        await nx.create("b")
        ws = await nx.create("a")
        assert image.version in (await inside(ws, "git --version")).stdout
        strange: list[str] = []
        for step in EVERYDAY:
            ours, theirs = await inside(ws, step.script), outside.run(step.script)
            assert theirs.returncode == step.code, (step, theirs)
            alike = ours.exit_code == step.code and complaints(ours.stderr, step) == complaints(theirs.stderr, step)
            if image.version == host_version():
                alike = alike and shown(ours.stdout, bench.repository) == shown(theirs.stdout, outside.root)
            if not alike:
                strange.append(
                    f"{step}\n{ours.exit_code}\n{ours.stdout}{ours.stderr}\n-- outside\n{theirs.stdout}{theirs.stderr}"
                )
        assert not strange, "\n\n".join(strange)
        end = await inside(ws, _SHOWN)
        theirs = outside.run(_SHOWN)
        assert (end.exit_code, shown(end.stdout, bench.repository)) == (0, shown(theirs.stdout, outside.root))
        assert f"{NAME} {EMAIL}" in end.stdout
        siblings_are_well(bench.repository, "b")
        # And the host's git understands what the one inside has left.
        assert git(tree_of(bench.repository, "a"), "log", "-1", "--format=%H") == git(
            outside.tree, "log", "-1", "--format=%H"
        )


def shown(text: str, root: Path) -> str:
    """Return output without where the repository is, and without the locks that only ours have."""
    return "\n".join(line.removesuffix(" locked") for line in text.replace(str(root), "ROOT").splitlines())


def complaints(text: str, step: Step) -> list[str]:
    """Return the kinds of complaint in what git says on standard error, without those that are known."""
    lines = [line for line in text.splitlines() if re.search(r"(error|fatal|warning): ", line)]
    if step.complains is not None:
        lines = [line for line in lines if step.complains not in line and "pdate of config-file failed" not in line]
    return [re.sub(r"^.*(error|fatal|warning): .*$", r"\1", line) for line in lines]


async def test_what_is_refused_is_refused_safely(bench: Bench) -> None:
    async with bench.open() as nx:
        for name in ("b", "c"):
            await nx.create(name)
        ws = await nx.create("a")
        before = protected_files(bench.repository)
        places = {"COMMON": str(bench.repository / ".git"), "SIBLING": str(tree_of(bench.repository, "b"))}
        strange = []
        for refusal in REFUSED:
            done = await inside(ws, refusal.script, **places)
            if done.exit_code != refusal.code or refusal.says not in done.stderr:
                strange.append(f"{refusal}\n  {done.exit_code} {done.stdout}{done.stderr}")
        for script in HARMLESS:
            await inside(ws, script)
            siblings_are_well(bench.repository, "b", "c")
        assert not strange, "\n\n".join(strange)
        for tree in (bench.repository, tree_of(bench.repository, "b")):
            (tree / "staged.txt").write_text(f"only in the index of {tree}\n")
            git(tree, "add", "staged.txt")
        await inside(ws, "git gc --prune=now; git prune --expire=now; git repack -a -d; :")
        for tree in (bench.repository, tree_of(bench.repository, "b")):
            assert git(tree, "show", ":staged.txt").startswith("only in the index")
            git(tree, "rm", "-q", "-f", "staged.txt")
        assert protected_files(bench.repository) == before
        assert (await inside(ws, "git status --porcelain && git fsck && git log -1")).exit_code == 0


async def test_git_inside_knows_the_user_and_trusts_the_tree_whoever_runs_it(bench: Bench) -> None:
    """Somebody else's number inside than the tree's outside: git would call its ownership dubious, and know no name."""
    strange = bench.open(**{"backends.docker.user": "4321:4321"})
    async with strange as nx:
        ws = await nx.create("a")
        assert (await ws.exec("id", "-u")).stdout == "4321\n"
        assert (await ws.exec("git", "status", "--porcelain")).exit_code == 0
        assert (await ws.exec("git", "log", "-1", cwd="/workspace")).exit_code == 0
        assert (await ws.exec("git", "var", "GIT_AUTHOR_IDENT")).stdout.startswith(f"{NAME} <{EMAIL}> ")
        untold = await ws.exec("env", "-u", "GIT_CONFIG_COUNT", "git", "status")
        assert (untold.exit_code, "dubious ownership" in untold.stderr) == (128, True)


async def test_the_users_identity_is_not_told_when_switched_off(bench: Bench) -> None:
    async with bench.open(**{"defaults.git_identity": False}) as nx:
        ws = await nx.create("a")
        assert (await ws.exec("git", "status")).exit_code == 0
        shown = await ws.shell("env; git config --show-origin --list")
        assert NAME not in shown.stdout
        assert EMAIL not in shown.stdout
        assert (await ws.exec("git", "config", "user.email")).exit_code == 1


async def test_an_identity_given_for_the_workspace_wins(bench: Bench) -> None:
    own = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "user.name", "GIT_CONFIG_VALUE_0": "Bot"}
    async with bench.open(**{f"env.{key}": value for key, value in own.items()}) as nx:
        ws = await nx.create("a")
        assert (await ws.exec("git", "var", "GIT_COMMITTER_IDENT")).stdout.startswith(f"Bot <{EMAIL}> ")


async def test_a_shadow_over_a_link_is_refused(bench: Bench, tmp_path: Path) -> None:
    """The engine would lay it where the link leads, and the link itself could be replaced inside."""
    hooks = bench.repository / ".git" / "hooks"
    hooks.rename(tmp_path / "hooks")
    hooks.symlink_to(tmp_path / "hooks")
    async with bench.open() as nx:
        with pytest.raises(InvalidArgument, match="symbolic link"):
            await nx.create("a")
        assert await nx.list() == ()
    hooks.unlink()
    (tmp_path / "hooks").rename(hooks)


def protected_files(root: Path) -> dict[str, bytes]:
    """Return everything that a workspace may read and not write, by its path."""
    common = root / ".git"
    files = [common / "config", common / "commondir"]
    for folder in ("hooks", "info", "modules", "branches", "remotes", "worktrees/nexus@b", "worktrees/nexus@c"):
        files += [path for path in (common / folder).rglob("*") if path.is_file()]
    # The host's own `git status` refreshes an index.
    return {str(path.relative_to(common)): path.read_bytes() for path in files if path.name != "index"}
