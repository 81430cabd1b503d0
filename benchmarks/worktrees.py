"""A new worktree beside ``git worktree add``, from every kind of main checkout, and how long its removal keeps the caller."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import anyio

from benchmarks.harness import Effort, Sample, beside, judged, timed
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

    def __init__(self, repository: Repository, before: Prepare | None = None) -> None:
        self._root = repository.root
        self._repository = repository
        self._worktrees = Worktrees(repository)
        self._before = before
        self._name = parse_name("bench")
        self.removals: list[float] = []
        """Milliseconds that a removal kept its caller."""

    async def ours(self) -> float:
        """Make one with Nexus."""
        await self._prepare()
        seconds = await timed(lambda: self._worktrees.create(self._name, reason="nexus:bench"))
        tree = await self._worktrees.get(self._name)
        head = tree.head if tree else None
        removed = await timed(lambda: self._worktrees.remove(self._name, expected_tip=head, delete_branch=True))
        self.removals.append(1000 * removed)
        await anyio.to_thread.run_sync(empty_trash, self._repository, Stop())
        return seconds

    async def theirs(self) -> float:
        """Make one with git."""
        await self._prepare()
        target = str(self._root.parent / f"{self._root.name}-theirs")
        seconds = await timed(
            lambda: anyio.run_process(["git", "worktree", "add", "-q", "-b", "theirs", target], cwd=self._root)
        )
        await anyio.run_process(["git", "worktree", "remove", "--force", target], cwd=self._root)
        await anyio.run_process(["git", "branch", "-D", "theirs"], cwd=self._root)
        return seconds

    async def _prepare(self) -> None:
        if self._before is not None:
            await anyio.to_thread.run_sync(self._before, self._root)


async def measure(count: int, effort: Effort, *, states: bool = True) -> list[Sample]:
    """Measure in a repository of ``count`` files; with ``states`` also from main checkouts that are not clean and warm."""
    samples: list[Sample] = []
    with tempfile.TemporaryDirectory() as folder, isolated(Path(folder)):
        root = Path(folder) / "app"
        await anyio.to_thread.run_sync(generate, root, count)
        repository = await find_repository(root)
        size = f"worktree of {count:,} files"

        async def add(name: str, at_most: float | None, before: Prepare | None = None) -> Trial:
            trial = Trial(repository, before)
            git = "git worktree add"
            samples.append(await beside(name, trial.ours, git, trial.theirs, effort=effort, at_most=at_most))
            return trial

        warm = await add(size, 0.5)
        samples.append(judged(f"remove a {size}, as the caller sees it", warm.removals, limit_ms=50))
        if not states:
            return samples
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
        return await measure(500, effort)
    large = Effort(rounds=3, seconds=effort.seconds)
    return [*await measure(5_000, effort), *await measure(50_000, large, states=False)]
