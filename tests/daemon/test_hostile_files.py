"""A tree that a hostile program inside a workspace has made, asked for over the daemon: nothing outside is read or written.

The same tree is judged call by call in ``tests/workspace/test_beneath.py``; here it is what a client gets to see.
"""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

import nexus
from nexus.wire.frames import Frame, Kind
from tests.daemon.talking import Talker, served, talking

SECRET = "outside-canary"


@asynccontextmanager
async def client(repository: Path) -> AsyncGenerator[tuple[Talker, Path]]:
    """Somebody who may do everything with the files of ``a``, and the folder with its tree."""
    async with nexus.open(repository, flags={"backend": "local"}) as nx, served(nx) as daemon:
        tree = (await nx.create("a")).info.worktree_path
        try:
            async with talking(daemon, daemon.issue_token(scopes=["fs:read", "fs:write"], workspaces=["a"])) as talker:
                yield talker, tree
        finally:
            await nx.destroy("a", force=True)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "file").write_text(SECRET)
    return folder


async def test_no_path_leads_out(repository: Path, outside: Path) -> None:
    async with client(repository) as (talker, tree):
        (tree / "link").symlink_to(outside / "file")
        (tree / "dir").symlink_to(outside)
        (tree / "chain").symlink_to("dir")
        (tree / "proc").symlink_to("/proc/self")
        up = os.path.relpath(outside, tree)
        paths = [
            "link",
            "dir/file",
            "chain/file",
            f"{up}/file",
            str(outside / "file"),
            "proc/environ",
            "/proc/self/environ",
        ]
        for path in [*paths, "/etc/passwd", "src/../../../../../../../../../../../etc/passwd"]:
            error = await talker.refused("fs.readFile", workspace="a", path=path)
            assert error["data"]["code"] in {"FS_PATH_ESCAPE", "FS_NOT_FOUND"}, path
            error = await talker.refused("fs.writeFile", workspace="a", path=path, text="mine")
            assert error["data"]["code"] in {"FS_PATH_ESCAPE", "FS_NOT_FOUND", "FS_PERMISSION_DENIED"}, path
            assert SECRET not in str(error)
        for target in ("dir/new", f"{up}/new", str(outside / "new")):
            for method in ("fs.rename", "fs.copy"):
                assert "error" in await talker.answer(
                    await talker.ask(method, workspace="a", source="README.md", target=target)
                ), (method, target)
            for method in ("fs.mkdir", "fs.openWrite", "fs.remove"):
                assert "error" in await talker.answer(await talker.ask(method, workspace="a", path=target)), (
                    method,
                    target,
                )

        assert sorted(path.name for path in outside.iterdir()) == ["file"]
        assert (outside / "file").read_text() == SECRET


async def test_copying_a_folder_copies_links_and_not_where_they_lead(repository: Path, outside: Path) -> None:
    async with client(repository) as (talker, tree):
        (tree / "src" / "link").symlink_to(outside / "file")
        await talker.call("fs.copy", workspace="a", source="src", target="copy")
        await talker.call("fs.remove", workspace="a", path="src", recursive=True)

        assert (tree / "copy" / "link").is_symlink()
        assert (outside / "file").read_text() == SECRET


async def test_what_is_no_file_is_refused_and_nobody_waits(repository: Path) -> None:
    async with client(repository) as (talker, tree):
        os.mkfifo(tree / "pipe")
        if os.geteuid() == 0:
            os.mknod(tree / "zero", 0o666 | 0o020000, os.makedev(1, 5))
        for name in ("pipe", "zero"):
            error = await talker.refused("fs.readFile", workspace="a", path=name)
            assert error["data"]["code"].startswith("FS_"), name
            answer = await talker.answer(await talker.ask("fs.openRead", workspace="a", path=name))
            assert "error" in answer, name


async def test_nothing_is_written_through_a_hard_link(repository: Path, outside: Path) -> None:
    """A program inside can make one of whatever it may read, and read it by that name; a change makes a file of the tree's own."""
    async with client(repository) as (talker, tree):
        names = ("written", "edited", "sent", "copied", "moved", "removed")
        for name in names:
            (tree / name).hardlink_to(outside / "file")
        (tree / "mine").write_text("mine")
        await talker.call("fs.writeFile", workspace="a", path="written", text="mine")
        edits = [{"old": SECRET, "new": "mine"}]
        await talker.call("fs.edit", workspace="a", path="edited", edits=edits)
        upload = await talker.call("fs.openWrite", workspace="a", path="sent")
        await talker.send(Frame(Kind.DATA, upload["stream"], 0, b"mine").encode())
        await talker.send(Frame(Kind.END, upload["stream"], 4).encode())
        await talker.call("fs.commit", workspace="a", upload=upload["upload"], size=4)
        await talker.call("fs.copy", workspace="a", source="mine", target="copied", replace=True)
        await talker.call("fs.rename", workspace="a", source="mine", target="moved", replace=True)
        await talker.call("fs.remove", workspace="a", path="removed")

        assert {name: (tree / name).read_text() for name in names[:-1]} == dict.fromkeys(names[:-1], "mine")
        assert (outside / "file").read_text() == SECRET
        assert (outside / "file").stat().st_nlink == 1


async def test_git_is_not_written(repository: Path) -> None:
    async with client(repository) as (talker, tree):
        for path in (".git", ".git/config", "src/../.git", ".GIT/hooks/post-checkout"):
            answer = await talker.answer(
                await talker.ask("fs.writeFile", workspace="a", path=path, text="x", parents=True)
            )
            assert "error" in answer or not (tree / ".git").is_dir(), path
        assert (tree / ".git").read_text().startswith("gitdir: ")


@contextmanager
def swapping(tree: Path, outside: Path) -> Iterator[None]:
    """Have ``d`` be a folder and a link that leads out, by turns, as fast as it goes."""
    (tree / "real").mkdir()
    (tree / "real" / "file").write_text("inside")
    (tree / "away").symlink_to(outside)
    ended = threading.Event()

    def swap() -> None:
        made = 0
        while not ended.is_set():
            for name in ("real", "away"):
                try:
                    (tree / name).rename(tree / "d")
                except OSError:  # it was not there for a moment, and a write has made it
                    made += 1
                    (tree / "d").rename(tree / f"made-{made}")
                    continue
                (tree / "d").rename(tree / name)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


async def test_links_that_are_swapped_during_the_call(repository: Path, outside: Path) -> None:
    async with client(repository) as (talker, tree):
        with swapping(tree, outside):
            for number in range(150):
                asked = [
                    await talker.ask("fs.readFile", workspace="a", path="d/file"),
                    await talker.ask("fs.writeFile", workspace="a", path=f"d/new-{number}", text="mine"),
                    await talker.ask("fs.stat", workspace="a", path="d/file"),
                    await talker.ask("fs.remove", workspace="a", path="d/file" if number % 50 == 49 else "d/none"),
                ]
                for each in asked:
                    assert SECRET not in str(await talker.answer(each))

        assert sorted(path.name for path in outside.iterdir()) == ["file"]
        assert (outside / "file").read_text() == SECRET


async def test_a_token_is_for_what_it_says(repository: Path) -> None:
    async with client(repository) as (talker, _):
        denied: dict[str, dict[str, object]] = {
            "exec.run": {"workspace": "a", "argv": ["true"]},
            "workspace.list": {},
            "workspace.destroy": {"workspace": "a"},
        }
        for method, params in denied.items():
            error = await talker.refused(method, **params)
            assert error["data"]["code"] == "SCOPE_DENIED", method
        for name in ("b", "does-not-exist"):
            error = await talker.refused("fs.readFile", workspace=name, path="README.md")
            assert error["data"]["code"] == "SCOPE_DENIED"
            assert "is not for the workspace" in error["message"]
