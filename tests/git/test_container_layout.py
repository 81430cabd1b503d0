"""What a container may see of a repository, mounted for real and used with the real git."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from nexus.git import Worktree, Worktrees, container_mounts
from nexus.models.workspace import Repository
from tests.git.oracle import REASON, Git


def test_order_and_rights_follow_from_the_paths() -> None:
    repository = Repository(root=Path("/p/app"), common_dir=Path("/p/app/.git"))
    worktree = Worktree(
        name="one",
        path=Path("/p/app/.nexus/worktrees/one"),
        branch="nexus/one",
        admin_dir=Path("/p/app/.git/worktrees/nexus@one"),
        protected=("hooks", "config", "info", "worktrees", "modules", "config.worktree"),
    )
    mounts = container_mounts(repository, worktree)
    assert all(mount.source == mount.target and mount.kind == "bind" for mount in mounts)
    assert [(mount.target, mount.read_only) for mount in mounts] == [
        ("/p/app/.nexus/worktrees/one", False),
        ("/p/app/.git", False),
        ("/p/app/.git/hooks", True),
        ("/p/app/.git/config", True),
        ("/p/app/.git/info", True),
        ("/p/app/.git/worktrees", True),
        ("/p/app/.git/modules", True),
        ("/p/app/.git/config.worktree", True),
        ("/p/app/.git/worktrees/nexus@one", False),
    ]


async def test_a_worktree_config_is_protected_when_it_counts(git: Git, worktrees: Worktrees) -> None:
    assert "config.worktree" not in (await worktrees.create("one", reason=REASON)).protected
    git.run("config", "extensions.worktreeConfig", "true")
    two = await worktrees.create("two", reason=REASON)
    assert "config.worktree" in two.protected
    assert git.status(two.path) == ""


def namespaces_work() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode == 0


class Container:
    """A mount namespace in which only the mounts of the layout are writable."""

    def __init__(self, git: Git, worktrees: Worktrees, made: Worktree) -> None:
        lines = ["set -e", f"mount --bind -o ro {git.root} {git.root}", f"mount -o remount,ro,bind {git.root}"]
        for mount in container_mounts(worktrees.repository, made):
            target = shlex.quote(mount.target)
            lines.append(f"mount --bind {shlex.quote(mount.source)} {target}")
            lines.append(f"mount -o remount,{'ro' if mount.read_only else 'rw'},bind {target}")
        self._setup = "\n".join(lines)
        self._cwd = made.path
        self._env = git.env

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        script = f"{self._setup}\ncd {self._cwd}\nset +e\n{command}\n"
        return subprocess.run(
            ["unshare", "-rm", "--propagation", "private", "sh", "-c", script],
            env=self._env, capture_output=True, text=True, check=False,
        )  # fmt: skip


@pytest.fixture
async def container(git: Git, worktrees: Worktrees) -> Container:
    if not namespaces_work():
        pytest.skip("mount namespaces are not allowed here")
    return Container(git, worktrees, await worktrees.create("one", reason=REASON))


async def test_daily_git_works_inside(git: Git, worktrees: Worktrees, container: Container) -> None:
    done = container.run(
        "set -e; git status --porcelain; echo work > work; git add work; git commit -qm inside; git commit -q --amend -m better;"
        "echo more >> work; git stash -q; git stash pop -q; git checkout -q -b side; git commit -qam side; git checkout -q nexus/one;"
        "git merge -q side; git rebase -q HEAD~1; git reset -q --hard HEAD~1; git cherry-pick side >/dev/null; "
        "git branch -q -D side 2>/dev/null;"
        "git worktree prune; git log --oneline | wc -l"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "3"
    made = await worktrees.get("one")
    assert made is not None
    assert git.status(made.path) == ""
    assert git.run("log", "-1", "--format=%s", "nexus/one").strip() == "side"
    git.run("fsck")


@pytest.mark.parametrize(
    "attempt",
    [
        "echo x > ../../../.git/hooks/post-checkout",
        "git config core.fsmonitor evil",
        "echo x >> ../../../.git/config",
        "echo '* filter=x' > ../../../.git/info/attributes",
        "mkdir ../../../.git/worktrees/other",
        "mv ../../../.git/hooks ../../../.git/h",
        "mkdir ../../../.git/modules/x",
        "echo x > ../../../src/app.py",
        "echo x > ../two/file",
        "echo x > ../../../.git/worktrees/nexus@two/HEAD",
    ],
)
async def test_what_the_host_would_obey_cannot_be_written(
    git: Git, worktrees: Worktrees, container: Container, attempt: str
) -> None:
    two = await worktrees.create("two", reason=REASON)
    done = container.run(attempt)
    assert done.returncode != 0
    assert git.status(git.root) == ""
    assert git.status(two.path) == ""


async def test_prune_inside_removes_nobody(git: Git, worktrees: Worktrees, container: Container) -> None:
    await worktrees.create("two", reason=REASON)
    container.run("git worktree prune --expire now; git worktree prune --expire now")
    assert [worktree.registered for worktree in await worktrees.list()] == [True, True]
    assert (worktrees.admin_dir("two") / "HEAD").exists()
