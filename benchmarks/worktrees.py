"""A new worktree beside ``git worktree add``, from every kind of main checkout, and how long its removal keeps the caller.

Every round makes trees of other names, as people do. On an ext4 without a journal it matters much where a tree is: files are slow to make
near others that were deleted within the last minutes. Git's trees are beside the repository, where its documentation has them, and one
measurement puts them where the file system was asked to lay them out apart, as ours are.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import anyio

from benchmarks.harness import Effort, Sample, beside, compared, judged, timed
from benchmarks.surroundings import isolated
from nexus.git import Stop, Worktrees, empty_trash, find_repository
from nexus.models.ids import parse_name
from nexus.models.workspace import Repository

Prepare = Callable[[Path], None]


def generate(root: Path, count: int) -> None:
    """Write a repository of ``count`` files in folders of a hundred, with the git program as a user would."""
    for number in range(count):
        path = root / f"package{number // 100}" / f"module{number % 100}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# module {number}\n" + "value = 'some text that fills a line of code'\n" * (number % 60))
    for command in (
        ["init", "-q"],
        # The commit would start a collection of its own, in the background and in the way of the one below.
        ["config", "gc.auto", "0"],
        ["add", "-A"],
        ["-c", "user.name=b", "-c", "user.email=b@example.com", "commit", "-qm", "all"],
        ["gc", "-q"],
    ):
        subprocess.run(["git", *command], cwd=root, check=True)


def edit_a_tenth(root: Path) -> None:
    """Change every tenth file of the main checkout, as somebody at work does."""
    for number, path in enumerate(sorted(root.glob("package*/*.py"))):
        if number % 10 == 0:
            path.write_text("# work in progress\n")


def touch_all(root: Path) -> None:
    """Give every file a new time, so that the index proves none: everything has to come from the objects."""
    for path in root.glob("package*/*.py"):
        os.utime(path)


def forget(root: Path) -> None:
    """Have the system drop what it holds of the repository's files in memory; nobody else's."""
    os.sync()
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            if path.is_symlink() or not path.is_file():
                continue
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


class Trial:
    """One repository, in which ours and git's make and remove worktrees in turn."""

    def __init__(self, repository: Repository, before: Prepare | None = None, *, apart: bool = False) -> None:
        self._root = repository.root
        self._repository = repository
        self._worktrees = Worktrees(repository)
        self._before = before
        self._targets = self._root.parent
        if apart:
            self._targets /= "apart"
            self._targets.mkdir()
            # What we do for the folder of all trees, done as a user would. A file system that does not know it does without.
            subprocess.run(["chattr", "+T", str(self._targets)], check=False, capture_output=True)
        self.removals: list[tuple[float, float]] = []
        """Milliseconds that a removal kept its caller: ours and git's."""
        self._removed = 0.0

    async def ours(self) -> float:
        """Make one with Nexus."""
        await self._prepare()
        name = parse_name(f"bench-{secrets.token_hex(4)}")
        seconds = await timed(lambda: self._worktrees.create(name, reason="nexus:bench"))
        self._removed = await timed(lambda: self._remove(name))
        await anyio.to_thread.run_sync(empty_trash, self._repository, Stop())
        return seconds

    async def _remove(self, name: str) -> None:
        """Look whether something would be lost, and remove it, as a workspace's destruction does."""
        report = await self._worktrees.report(name)
        if not report.clean:
            raise RuntimeError(report.lines())
        await self._worktrees.remove(name, expected_tip=report.head, delete_branch=True, behind=True)

    async def theirs(self) -> float:
        """Make one with git."""
        await self._prepare()
        target = str(self._targets / f"theirs-{secrets.token_hex(4)}")
        seconds = await timed(
            lambda: anyio.run_process(["git", "worktree", "add", "-q", "-b", "theirs", target], cwd=self._root)
        )
        # Without --force git looks whether something would be lost, too.
        removed = await timed(lambda: anyio.run_process(["git", "worktree", "remove", target], cwd=self._root))
        await anyio.run_process(["git", "branch", "-D", "theirs"], cwd=self._root)
        self.removals.append((1000 * self._removed, 1000 * removed))
        return seconds

    def removal(self, size: str, *, limit_ms: float | None) -> Sample:
        """Return the line for the removals so far."""
        name = f"remove a {size}, as the caller sees it"
        if limit_ms is None:
            return compared(name, self.removals, "git worktree remove", at_most=0.5)
        alone = judged(name, [ours for ours, _ in self.removals], limit_ms=limit_ms)
        return replace(compared(name, self.removals, "git worktree remove"), budget=alone.budget, met=alone.met)

    async def _prepare(self) -> None:
        if self._before is not None:
            await anyio.to_thread.run_sync(self._before, self._root)


async def measure(count: int, effort: Effort, *, removal_ms: float | None = None, states: bool = True) -> list[Sample]:
    """Measure in a repository of ``count`` files.

    Args:
        count: How many.
        effort: How often.
        removal_ms: Milliseconds that a removal may keep its caller; without, it may take half as long as git's.
        states: Whether to measure from main checkouts that are not clean and warm as well.
    """
    samples: list[Sample] = []
    with tempfile.TemporaryDirectory() as folder, isolated(Path(folder)):
        root = Path(folder) / "app"
        await anyio.to_thread.run_sync(generate, root, count)
        repository = await find_repository(root)
        size = f"worktree of {count:,} files"

        async def add(
            name: str, at_most: float | None, before: Prepare | None = None, *, git: str = "git worktree add"
        ) -> Trial:
            trial = Trial(repository, before, apart=git != "git worktree add")
            samples.append(await beside(name, trial.ours, git, trial.theirs, effort=effort, at_most=at_most))
            return trial

        warm = await add(size, 0.5)
        samples.append(warm.removal(size, limit_ms=removal_ms))
        if not states:
            return samples
        await add(size, None, git="git worktree add, laid out apart")
        await add(f"{size}, files not in memory", None, forget)
        await anyio.to_thread.run_sync(edit_a_tenth, root)
        await add(f"{size}, a tenth edited", None)
        await anyio.to_thread.run_sync(touch_all, root)
        await add(f"{size}, all from objects", None)
    return samples


async def run(effort: Effort) -> list[Sample]:
    """Measure a small and a large repository."""
    if shutil.which("git") is None:
        msg = "the git program is not here to be compared with"
        raise LookupError(msg)
    if effort.quick:
        return await measure(500, effort, removal_ms=50)
    large = Effort(rounds=3, seconds=effort.seconds)
    return [*await measure(5_000, effort, removal_ms=50), *await measure(50_000, large, states=False)]
