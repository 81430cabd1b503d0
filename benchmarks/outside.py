"""What is asked of a workspace from outside of it, beside the programs that people would run inside: ``git`` and ``grep``."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import anyio.to_thread

import nexus
from benchmarks.harness import Effort, Measured, Sample, alone, beside, timed
from benchmarks.surroundings import isolated
from nexus.testing.git import make_repository

FILES = 2000
_LINES = "".join(f"line {number} of a file that is looked through\n" for number in range(60))


def _program(tree: Path, *argv: str) -> Measured:
    async def run() -> float:
        return await timed(
            lambda: anyio.to_thread.run_sync(lambda: subprocess.run(argv, cwd=tree, check=False, capture_output=True))
        )

    return run


async def run(effort: Effort) -> list[Sample]:
    """Measure status, difference, search and the time until a change is told."""
    with tempfile.TemporaryDirectory() as folder, isolated(Path(folder)):
        root = Path(folder) / "app"
        make_repository(root, {f"d{number % 40}/f{number}.txt": _LINES for number in range(FILES)})
        async with nexus.open(root, flags={"backend": "local"}) as nx, nx.create("outside", on_exit="keep") as ws:
            tree = ws.info.worktree_path
            for number in range(20):
                (tree / f"d{number}" / f"f{number}.txt").write_text(_LINES + "changed\n")
            samples = await _asked(ws, tree, effort)
            await ws.destroy(force=True)
            return samples


async def _asked(ws: nexus.Workspace, tree: Path, effort: Effort) -> list[Sample]:
    async def searched() -> None:
        async for _ in ws.fs.grep("line 59 of [a-z]+ file", limit=FILES * 2):
            pass

    async def told() -> float:
        async with ws.fs.watch() as watch:
            (tree / "touched").write_text("x")
            return await timed(watch.receive)

    samples = [await alone("a change is told by fs.watch", told, effort=effort, limit_ms=500)]
    if shutil.which("git") is not None:
        status, diff = _program(tree, "git", "status", "--porcelain"), _program(tree, "git", "diff")
        samples += [
            await beside(
                "ws.git.status, 2,000 files", lambda: timed(ws.git.status), "git status", status, effort=effort
            ),
            await beside("ws.git.diff, 20 changed files", lambda: timed(ws.git.diff), "git diff", diff, effort=effort),
        ]
    if shutil.which("grep") is not None:
        grep = _program(tree, "grep", "-rnE", "line 59 of [a-z]+ file", ".")
        samples.append(await beside("fs.grep, 2,000 files", lambda: timed(searched), "grep -rn", grep, effort=effort))
    return samples
