"""The disk is full from one step on, through every step of creating and destroying: errors are plain, nothing is lost, and room settles it.

Twice: on a file system that really is full (a small one in memory, which takes root), and with a limit that lets no file grow.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue

from nexus.errors import NexusError
from nexus.state import Journal, OpenJournal
from nexus.state.journal_entry import Line
from nexus.workspace.plan import CreateStep, DestroyStep
from tests.workbench import Bench, git, leftovers

SIZE = 24 << 20
FLAGS: dict[str, JsonValue] = {"backend": "local", "ports.web.container": 3000}


class FileSystem:
    """A small file system in memory that can be filled to the last byte."""

    def __init__(self, folder: Path) -> None:
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        with contextlib.suppress(OSError), self._ballast.open("ab", buffering=0) as file:
            while file.write(b"\0" * 65536):
                pass
        with contextlib.suppress(OSError), self._ballast.open("ab", buffering=0) as file:
            while file.write(b"\0"):
                pass

    def free(self) -> None:
        self._ballast.unlink(missing_ok=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[FileSystem]:
    """The disk that the repository and the home folder of :func:`place` are on."""
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "nexus-test", str(small)], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield FileSystem(small)
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


@pytest.fixture
def place(disk: FileSystem, repository: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    small = tmp_path / "small"
    git(tmp_path, "clone", "-q", str(repository), str(small / "app"))
    git(small / "app", "remote", "remove", "origin")
    monkeypatch.setenv("XDG_DATA_HOME", str(small / "data"))
    monkeypatch.setenv("XDG_STATE_HOME", str(small / "state"))
    return Bench("local", small / "app", FLAGS)


async def attempt(bench: Bench, act: str, disk: FileSystem, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do it with a disk that is full from one step on. It may work, or fail with an error of ours."""
    begin, append = Journal.begin, OpenJournal._append

    async def begun(self: Journal, **order: Any) -> OpenJournal:
        journal = await begin(self, **order)
        if step in journal.entry.started:
            disk.fill()
        return journal

    async def appended(self: OpenJournal, *lines: Line) -> None:
        await append(self, *lines)
        if any(line.doing == step for line in lines):
            disk.fill()

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "begin", begun)
        patch.setattr(OpenJournal, "_append", appended)
        async with bench.open() as nx:
            with contextlib.suppress(NexusError):
                await (nx.create("victim") if act == "create" else nx.destroy("victim", force=True))
            # Also now: what there is can be seen.
            assert {entry.name for entry in await nx.list()} <= {"victim"}


async def settled(bench: Bench) -> list[str]:
    """What is listed after one ``doctor --fix`` with room on the disk again."""
    async with bench.open() as nx:
        await nx.doctor(fix=True)
        left = [finding.message for finding in await nx.doctor() if finding.level in {"warning", "error"}]
        assert [message for message in left if "GiB free" not in message] == []
        return [entry.name for entry in await nx.list()]


def rescued(bench: Bench) -> set[str]:
    refs = git(bench.repository, "for-each-ref", "--format=%(refname)", "refs/nexus/rescue/").split()
    return {git(bench.repository, "show", f"{ref}:idea.txt") for ref in refs}


@pytest.mark.slow
@pytest.mark.parametrize("step", list(CreateStep))
async def test_a_creation_on_a_full_disk_leaves_nothing_half_made(
    place: Bench, disk: FileSystem, step: CreateStep, monkeypatch: pytest.MonkeyPatch
) -> None:
    await attempt(place, "create", disk, step, monkeypatch)
    disk.free()
    if await settled(place):
        async with place.open() as nx:
            ws = await nx.attach("victim")
            await ws.start()
            assert (await ws.exec("cat", "README.md")).stdout == "# app\n"
            await ws.destroy()
    assert await leftovers(place) == []


@pytest.mark.slow
@pytest.mark.parametrize("step", list(DestroyStep))
async def test_a_destruction_on_a_full_disk_loses_no_work(
    place: Bench, disk: FileSystem, step: DestroyStep, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place.open() as nx:
        ws = await nx.create("victim")
        await ws.fs.write_text("idea.txt", "precious\n")
    in_tree = ws.info.worktree_path / "idea.txt"
    await attempt(place, "destroy", disk, step, monkeypatch)
    assert (in_tree.exists() and in_tree.read_text() == "precious\n") or "precious\n" in rescued(place)
    disk.free()
    if await settled(place):
        assert in_tree.read_text() == "precious\n"
        async with place.open() as nx:
            await nx.destroy("victim", force=True)
    assert rescued(place) == {"precious\n"}
    assert await leftovers(place) == []


LIMITED = textwrap.dedent(
    """
    import json, resource, sys
    import anyio
    import nexus
    from nexus.state import OpenJournal

    what, step, repository, flags = sys.argv[1:]
    real = OpenJournal._append

    async def append(self, *lines):
        if any(line.doing == step for line in lines):
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        await real(self, *lines)

    OpenJournal._append = append

    async def main():
        async with nexus.open(repository, flags=json.loads(flags)) as nx:
            try:
                await (nx.create("victim") if what == "create" else nx.destroy("victim", force=True))
            except nexus.NexusError as error:
                print(error.code)
            print([entry.name for entry in await nx.list()])

    anyio.run(main)
    """
)


@pytest.mark.parametrize(
    ("act", "step"),
    [
        ("create", CreateStep.RECORD),
        ("create", CreateStep.WORKTREE),
        ("destroy", DestroyStep.RESCUE),
        ("destroy", DestroyStep.RECORD),
    ],
)
async def test_files_that_may_not_grow_are_told_and_lose_nothing(
    repository: Path, home: Path, act: str, step: str
) -> None:
    """For everybody: a limit of the process, as a quota that is used up. Even the journal cannot be written."""
    place = Bench("local", repository, FLAGS)
    if act == "destroy":
        async with place.open() as nx:
            ws = await nx.create("victim")
            await ws.fs.write_text("idea.txt", "precious\n")
    child = subprocess.run(
        [sys.executable, "-c", LIMITED, act, step, str(repository), json.dumps(FLAGS)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert child.returncode == 0, child.stderr
    assert child.stdout.startswith("STATE_ERROR\n"), child.stdout
    listed = await settled(place)
    if act == "destroy":
        if listed:
            async with place.open() as nx:
                await nx.destroy("victim", force=True)
        assert "precious\n" in rescued(place)
    assert await leftovers(place) == []
