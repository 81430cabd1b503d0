"""A new worktree beside ``git worktree add``."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import anyio

from benchmarks.harness import Sample, beside, timed
from benchmarks.surroundings import isolated
from nexus.git import Worktrees, find_repository
from nexus.models.ids import parse_name

FILES = 5000


def generate(root: Path, count: int) -> None:
    """Write a repository of ``count`` files in folders of a hundred, with the git program as a user would."""
    for number in range(count):
        path = root / f"package{number // 100}" / f"module{number % 100}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# module {number}\n" + "value = 'some text that fills a line of code'\n" * (number % 60))
    for command in (
        ["init", "-q"],
        ["add", "-A"],
        ["-c", "user.name=b", "-c", "user.email=b@example.com", "commit", "-qm", "all"],
    ):
        subprocess.run(["git", *command], cwd=root, check=True)


async def run(rounds: int) -> list[Sample]:
    """Measure both on one repository, each worktree removed again outside the clock."""
    if shutil.which("git") is None:
        msg = "the git program is not here to be compared with"
        raise LookupError(msg)
    with tempfile.TemporaryDirectory() as folder, isolated(Path(folder)):
        root = Path(folder) / "app"
        root.mkdir()
        await anyio.to_thread.run_sync(generate, root, FILES)
        worktrees = Worktrees(await find_repository(root))
        name = parse_name("bench")

        async def ours() -> float:
            seconds = await timed(lambda: worktrees.create(name, reason="nexus:bench"))
            tree = await worktrees.get(name)
            await worktrees.remove(name, expected_tip=tree.head if tree else None, delete_branch=True)
            return seconds

        async def theirs() -> float:
            target = str(Path(folder) / "theirs")
            seconds = await timed(
                lambda: anyio.run_process(["git", "worktree", "add", "-q", "-b", "theirs", target], cwd=root)
            )
            await anyio.run_process(["git", "worktree", "remove", "--force", target], cwd=root)
            await anyio.run_process(["git", "branch", "-D", "theirs"], cwd=root)
            return seconds

        return [
            await beside(f"worktree of {FILES:,} files", ours, "git worktree add", theirs, rounds=rounds, at_most=0.5)
        ]
