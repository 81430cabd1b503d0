"""Pipes, sockets, links to devices and huge sparse files in the places of git's own: nothing on the host waits or fills the memory."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nexus.errors import GitError
from nexus.git import Worktrees
from tests.git.oracle import REASON, Git

DEADLINE = 120
"""Seconds after which an operation is taken to hang. It is there to end a failing test, not to judge speed."""
MEMORY = 3 << 30
"""Address space that the operations may have."""


def pipe(path: Path) -> None:
    os.mkfifo(path)


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def listener(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's path must be short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def loose(git: Git, name: str, *, cwd: Path | None = None) -> Path:
    sha = git.run("rev-parse", name, cwd=cwd).strip()
    return git.root / ".git/objects" / sha[:2] / sha[2:]


def put(path: Path, plant: Callable[[Path], None]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    plant(path)


def operate(git: Git, name: str = "one") -> dict[str, str]:
    """Run every operation in a process of its own and return what each said."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.git.every_operation", str(git.root), name],
        env={**git.env, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(line.split(": ", 1) for line in done.stdout.splitlines())


def beside(path: str) -> Callable[[Git, Path], Path]:
    return lambda git, _: git.root / path


PLACES: dict[str, Callable[[Git, Path], Path]] = {
    "commit": lambda git, tree: loose(git, "HEAD", cwd=tree),
    "tree": lambda git, tree: loose(git, "HEAD^{tree}", cwd=tree),
    "blob": lambda git, tree: loose(git, "HEAD:README.md", cwd=tree),
    "branch": beside(".git/refs/heads/nexus/one"),
    "index": beside(".git/worktrees/nexus@one/index"),
    "head": beside(".git/worktrees/nexus@one/HEAD"),
    "packed-refs": beside(".git/packed-refs"),
    "pack": beside(".git/objects/pack/pack-0123456789012345678901234567890123456789.pack"),
    "pack index": beside(".git/objects/pack/pack-0123456789012345678901234567890123456789.idx"),
    "stash log": beside(".git/logs/refs/stash"),
    "operation": beside(".git/worktrees/nexus@one/MERGE_HEAD"),
    "lock": beside(".git/worktrees/nexus@one/locked"),
}


@pytest.mark.parametrize("place", PLACES)
async def test_a_pipe_in_the_place_of_a_file_of_gits_holds_nobody(git: Git, worktrees: Worktrees, place: str) -> None:
    made = await worktrees.create("one", reason=REASON)
    (made.path / "README.md").write_text("mine\n")
    put(PLACES[place](git, made.path), pipe)
    said = operate(git)
    assert len(said) == 12
    if place in {"commit", "index", "head", "packed-refs", "pack", "pack index"}:
        assert said["report"].startswith(("not known", "refused")), said
        assert said["rescue"].startswith("refused GitError"), said
    if place == "tree":  # it need not be read to know that nothing is staged, nor to keep what is there
        assert (said["report"], said["rescue"]) == ("done", "done")
        kept = git.run("for-each-ref", "--format=%(refname)", "refs/nexus/rescue").split()[0]
        assert git.run("show", f"{kept}:README.md") == "mine\n"
        assert git.run("show", f"{kept}:src/app.py") == "print('hi')\n"


@pytest.mark.parametrize("plant", [sparse, endless, listener], ids=["sparse", "device", "socket"])
async def test_nor_does_anything_else_that_is_no_small_file(
    git: Git, worktrees: Worktrees, plant: Callable[[Path], None]
) -> None:
    made = await worktrees.create("one", reason=REASON)
    for place in ("commit", "index", "head", "stash log", "branch"):
        path = PLACES[place](git, made.path)
        kept = path.read_bytes() if path.exists() else None
        put(path, plant)
        said = operate(git) if place == "branch" else {"report": (await worktrees.report("one")).unknown or ""}
        assert said["report"], (place, said)
        path.unlink(missing_ok=True)
        if kept is not None:
            path.write_bytes(kept)


async def test_a_huge_sparse_file_in_the_tree_is_not_read(git: Git, worktrees: Worktrees) -> None:
    made = await worktrees.create("one", reason=REASON)
    sparse(made.path / "README.md")
    sparse(made.path / "new")
    said = operate(git)
    assert said["report"] == "done"
    assert said["rescue"].startswith("refused GitError the worktree cannot be kept whole: README.md"), said


async def test_what_is_kept_is_written_though_something_stands_in_its_place(git: Git, worktrees: Worktrees) -> None:
    made = await worktrees.create("one", reason=REASON)
    for number, plant in enumerate((pipe, endless, lambda path: path.write_bytes(b"no object"))):
        (made.path / "work").write_text(f"work {number}\n")
        sha = git.run("hash-object", "work", cwd=made.path).strip()
        put(git.root / ".git/objects" / sha[:2] / sha[2:], plant)
        ref = await worktrees.rescue("one")
        assert git.run("show", f"{ref}:work") == f"work {number}\n"


async def test_a_damaged_object_is_an_error_that_names_it(git: Git, worktrees: Worktrees) -> None:
    await worktrees.create("one", reason=REASON)
    path = loose(git, "HEAD")
    path.chmod(0o644)
    for content in (b"", b"nonsense", path.read_bytes()[:40]):
        path.write_bytes(content)
        with pytest.raises(GitError, match=r"object .*|commit .*"):
            await worktrees.resolve("HEAD^{commit}~0")
        report = await worktrees.report("one")
        assert report.unknown


async def test_borrowed_stores_are_looked_at_before_they_are_opened(
    git: Git, worktrees: Worktrees, tmp_path: Path
) -> None:
    made = await worktrees.create("one", reason=REASON)
    (made.path / "README.md").write_text("mine\n")
    store = tmp_path / "store"
    (store / "pack").mkdir(parents=True)
    pipe(store / "ab")
    (git.root / ".git/objects/info/alternates").write_text(f"{store}\n")
    commit = git.head()
    (git.root / ".git/objects" / commit[:2] / commit[2:]).unlink()  # so that it is looked for in there
    said = operate(git)
    assert "ab is no plain folder" in said["rescue"] + said["report"], said
