"""The real git program, which makes the repositories of these tests and judges what the package made."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from nexus.git import Worktrees, find_repository

REASON = "nexus:0b1c"


@dataclass
class Git:
    """A repository and the git program to question it with."""

    root: Path
    env: dict[str, str] = field(default_factory=dict)

    def run(self, *args: str, cwd: Path | None = None, check: bool = True, stdin: bytes | None = None) -> str:
        done = subprocess.run(
            ["git", *args], cwd=cwd or self.root, env=self.env, input=stdin, capture_output=True, check=False
        )
        if check and done.returncode:
            raise AssertionError(f"git {args}: {done.stderr.decode(errors='replace')}")
        return os.fsdecode(done.stdout)

    def write(self, path: str, content: str | bytes, *, mode: int | None = None) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        if mode is not None:
            file.chmod(mode)
        return file

    def commit(self, message: str = "change", *, cwd: Path | None = None) -> str:
        self.run("add", "-A", cwd=cwd)
        self.run("commit", "-q", "--allow-empty", "-m", message, cwd=cwd)
        return self.head(cwd)

    def head(self, cwd: Path | None = None) -> str:
        return self.run("rev-parse", "HEAD", cwd=cwd).strip()

    def settle(self) -> None:
        """Make every file older than the index, so that the index proves what the files hold."""
        for file in self.run("ls-files", "-z").split("\0"):
            path = self.root / file
            if file and path.is_file() and not path.is_symlink():
                os.utime(path, (1_600_000_000, 1_600_000_000))
        self.run("update-index", "-q", "--really-refresh", check=False)
        self.outlive()

    def outlive(self) -> None:
        """Make the index younger than every file."""
        index = self.root / ".git" / "index"
        stat = index.stat()
        os.utime(index, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))

    def status(self, tree: Path) -> str:
        return self.run("status", "--porcelain", "--untracked-files=all", cwd=tree)

    async def worktrees(self) -> Worktrees:
        return Worktrees(await find_repository(self.root))
