"""What people and programs do behind our back. Afterwards: the list is true, doctor says it in words, ``--fix`` settles it in one run,
every workspace can be used or destroyed, and no work is out of reach."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from nexus.errors import GitError, UnsavedWork
from tests.workbench import Bench, git, leftovers, make_bench


@dataclass(frozen=True)
class Event:
    """One thing that happens while nobody of ours looks."""

    happen: Callable[[Path, Path], object]
    """Gets the repository and the home folder."""
    says: str | None
    """What doctor finds, in words; ``None``: there is nothing to find."""
    listed: bool = True
    """Whether both workspaces are listed right afterwards."""
    usable: bool = True
    """Whether commands run in both of them after ``doctor --fix``."""
    stays: str | None = None
    """What doctor goes on saying because a person has to decide."""
    kept: str = "tree"
    """Where the unsaved file is afterwards: ``tree``, ``moved``, or ``gone`` for what the event itself deleted."""


def registry(home: Path) -> Path:
    return home / "data" / "nexus" / "workspaces.db"


def tree(repository: Path) -> Path:
    return repository / ".nexus" / "worktrees" / "work"


def overwrite_registry(_: Path, home: Path) -> None:
    registry(home).write_bytes(b"this is no database " * 100)


def spoil_a_row(_: Path, home: Path) -> None:
    with sqlite3.connect(registry(home)) as db:
        db.execute("UPDATE claims SET name = 'No Name' WHERE name = 'work'")
    db.close()


def forget_rows(_: Path, home: Path) -> None:
    with sqlite3.connect(registry(home)) as db:
        db.execute("DELETE FROM leases")
    db.close()


def record(repository: Path, name: str) -> Path:
    return repository / ".nexus" / "state" / "workspaces" / f"{name}.json"


def name_nothing(repository: Path, _: Path) -> None:
    (repository / ".nexus" / "current").write_text("nothing\n")


def check_out_here(repository: Path, _: Path) -> None:
    git(repository, "checkout", "-q", "--ignore-other-worktrees", "nexus/work")


def stash_there(repository: Path, _: Path) -> None:
    git(tree(repository), "stash", "push", "-q", "--include-untracked")


EVENTS = {
    "registry-deleted": Event(lambda _, home: shutil.rmtree(registry(home).parent), None),
    "registry-damaged": Event(overwrite_registry, "registry .* damaged"),
    "registry-row-spoiled": Event(spoil_a_row, "a row that makes no sense"),
    "leases-deleted": Event(forget_rows, "does not know port .* of 'work'"),
    "record-deleted": Event(
        lambda root, _: record(root, "work").unlink(), "the record of 'work' is gone", listed=False
    ),
    "record-damaged": Event(lambda root, _: record(root, "work").write_text("{"), "the record of 'work' is damaged"),
    "records-deleted": Event(
        lambda root, _: shutil.rmtree(record(root, "work").parent), "the record of 'work' is gone", listed=False
    ),
    "state-deleted": Event(
        lambda root, _: shutil.rmtree(root / ".nexus" / "state"), "the record of 'work' is gone", listed=False
    ),
    "current-names-nothing": Event(name_nothing, "names workspace 'nothing', and there is none"),
    "tree-deleted": Event(
        lambda root, _: shutil.rmtree(tree(root)),
        "its work tree .* is gone",
        usable=False,
        stays="is gone",
        kept="gone",
    ),
    "tree-moved": Event(
        lambda root, _: shutil.move(tree(root), root.parent / "moved"),
        "its work tree .* is gone",
        usable=False,
        stays="is gone",
        kept="moved",
    ),
    "worktree-prune": Event(lambda root, _: git(root, "worktree", "prune", "--expire=now"), None),
    "gc": Event(lambda root, _: git(root, "gc", "-q", "--prune=now"), None),
    "branch-deleted": Event(
        lambda root, _: git(root, "update-ref", "-d", "refs/heads/nexus/work"), "branch nexus/work is gone"
    ),
    "branch-renamed": Event(lambda root, _: git(root, "branch", "-m", "nexus/work", "mine"), None),
    "worktree-removed": Event(
        lambda root, _: git(root, "worktree", "remove", "--force", "--force", str(tree(root))),
        "its work tree .* is gone",
        usable=False,
        stays="is gone",
        kept="gone",
    ),
    "checked-out-in-main": Event(check_out_here, None),
    "nexus-deleted": Event(
        lambda root, _: shutil.rmtree(root / ".nexus"),
        "the record of 'work' is gone",
        listed=False,
        usable=False,
        stays="is gone",
        kept="gone",
    ),
    "stash": Event(stash_there, None, kept="stash"),
}


def unsaved_is_reachable(bench: Bench, event: Event) -> None:
    """The unsaved file has to be somewhere, the commit everywhere."""
    root = bench.repository
    match event.kept:
        case "tree":
            assert (tree(root) / "idea.txt").read_text() == "precious\n"
        case "moved":
            assert (root.parent / "moved" / "idea.txt").read_text() == "precious\n"
        case "stash":
            assert git(root, "show", "stash@{0}^3:idea.txt") == "precious\n"
        case _:
            pass


def commit_is_reachable(bench: Bench) -> None:
    found = git(bench.repository, "log", "--all", "--format=%s")
    in_tree = tree(bench.repository)
    if "half done" not in found and in_tree.exists():
        found = git(in_tree, "log", "--format=%s")
    assert "half done" in found


async def settle(bench: Bench, event: Event) -> None:
    """Look as a person would, in the order a person would."""
    async with bench.open() as nx:
        entries = {entry.name: entry for entry in await nx.list()}
        assert ("work" in entries) is event.listed
        found = await nx.doctor()
        words = [f"{finding.check}: {finding.message}" for finding in found if finding.level in {"warning", "error"}]
        if event.says is None:
            assert words == []
        else:
            assert any(re.search(event.says, line) for line in words), words
        await nx.doctor(fix=True)
        again = await nx.doctor(fix=False)
        left = [finding.message for finding in again if finding.level in {"warning", "error"}]
        assert all(event.stays and re.search(event.stays, line) for line in left), left
        unsaved_is_reachable(bench, event)
        commit_is_reachable(bench)
        assert {entry.name for entry in await nx.list()} >= {"work"}
        if event.usable:
            ws = await nx.attach("work")
            await ws.start()
            assert (await ws.exec("cat", "src/main.py")).stdout == "print('half done')\n"
            await ws.stop()
        with pytest.raises(UnsavedWork):
            await nx.destroy("work")


async def clear(bench: Bench) -> None:
    """Everything can be destroyed, and then nothing of ours is left but the rescues."""
    async with bench.open() as nx:
        for entry in await nx.list():
            await nx.destroy(entry.name, force=True)
    for line in git(bench.repository, "branch", "--list", "nexus/*").split():
        if line.startswith("nexus/"):
            git(bench.repository, "update-ref", "-d", f"refs/heads/{line}")
    assert await leftovers(bench) == []
    commit = git(bench.repository, "log", "--all", "--format=%s")
    assert "half done" in commit


async def prepare(bench: Bench) -> None:
    async with bench.open() as nx:
        ws = await nx.create("work", labels={"team": "red"})
        main = ws.info.worktree_path / "src" / "main.py"
        main.write_text("print('half done')\n")
        git(ws.info.worktree_path, "commit", "-qam", "half done")
        (ws.info.worktree_path / "idea.txt").write_text("precious\n")
        await nx.create("other", start=False)


CONTAINERS = ("registry-deleted", "record-deleted", "record-damaged", "tree-deleted", "nexus-deleted")
"""What means something else where the place is a container: it is found by its labels, and mounts what was deleted."""
CASES = [
    *(pytest.param("local", what, id=f"local-{what}") for what in EVENTS),
    *(pytest.param("docker", what, id=f"docker-{what}", marks=pytest.mark.docker) for what in CONTAINERS),
]


@pytest.mark.parametrize(("backend", "what"), CASES)
async def test_whatever_happens_outside_is_told_and_put_right(
    backend: str, what: str, repository: Path, home: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    event = EVENTS[what]
    place = make_bench(backend, repository, tmp_path, request)
    place.extra = {"ports.web.container": 3000}
    await prepare(place)
    event.happen(place.repository, home)
    await settle(place, event)
    await clear(place)


@pytest.mark.skipif(os.geteuid() != 0, reason="making a folder read-only for root takes a mount, and that takes root")
async def test_a_tree_that_was_made_read_only_goes_when_it_can_be_written_again(
    repository: Path, home: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    place = make_bench("local", repository, tmp_path, request)
    await prepare(place)
    folder = str(tree(repository))
    mounted = subprocess.run(["mount", "--bind", folder, folder], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"nothing can be mounted here: {mounted.stderr.strip()}")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        async with place.open() as nx:
            assert [entry.name for entry in await nx.list()] == ["other", "work"]
            ws = await nx.attach("work")
            assert (await ws.exec("cat", "idea.txt")).stdout == "precious\n"
            with pytest.raises(UnsavedWork):
                await nx.destroy("work")
            with pytest.raises(GitError, match="cannot be moved away"):
                await nx.destroy("work", force=True)
            assert [entry.name for entry in await nx.list()] == ["other", "work"]
            found = await nx.doctor(fix=True)
            assert any("cannot be moved away" in finding.message for finding in found if finding.level == "error")
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
    async with place.open() as nx:
        (rescue,) = await nx.rescues("work")
        assert git(repository, "show", f"{rescue.ref}:idea.txt") == "precious\n"
        await nx.doctor(fix=True)
        assert [entry.name for entry in await nx.list()] == ["other"]
    await clear(place)


@pytest.mark.parametrize(
    ("backend", "how"),
    [
        ("local", "damaged"),
        pytest.param("docker", "damaged", marks=pytest.mark.docker),
        pytest.param("docker", "lost", marks=pytest.mark.docker),
    ],
)
async def test_a_record_that_is_written_again_knows_what_its_container_knows(
    repository: Path, home: Path, tmp_path: Path, request: pytest.FixtureRequest, backend: str, how: str
) -> None:
    git(repository, "config", "user.name", "Ada")
    git(repository, "config", "user.email", "ada@example.com")
    place = make_bench(backend, repository, tmp_path, request)
    place.extra = {"ports.web.container": 3000, "env.COLOUR": "red", "env.TOKEN": "env:HOME"}
    async with place.open() as nx:
        ws = await nx.create("work", labels={"team": "red"}, start=False)
        await ws.fs.write_text("idea.txt", "precious\n")
        before = await nx._open.store.load("work")
    if how == "damaged":
        record(repository, "work").write_text("{")
    else:
        record(repository, "work").unlink()
    place.extra = {"env.COLOUR": "blue", "env.TOKEN": "env:HOME", "image": "another:1"}
    async with place.open() as nx:
        await nx.doctor(fix=True)
        after = await nx._open.store.load("work")
        for known in [
            "id",
            "name",
            "backend",
            "image",
            "env_vars",
            "ports",
            "port_mappings",
            "labels",
            "isolation",
            "container_id",
            "created_at",
            "node",
        ]:
            assert getattr(after, known) == getattr(before, known), known
        # What a container was given of SSH cannot be known; its next start sets that right.
        assert {key: value for key, value in after.config.items() if key != "ssh"} == before.config
        ws = await nx.attach("work")
        await ws.start()
        assert (await ws.shell("echo $COLOUR")).stdout == "red\n"
        await ws.destroy(force=True)
    await clear_branch(place)


async def clear_branch(bench: Bench) -> None:
    git(bench.repository, "update-ref", "-d", "refs/heads/nexus/work")
    assert await leftovers(bench) == []


async def test_trees_that_a_clone_could_have_brought_along_become_no_workspace(
    repository: Path, home: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    place = make_bench("mock", repository, tmp_path, request)
    async with place.open() as nx:
        ws = await nx.create("work", isolation="clone", start=False)
        await ws.fs.write_text("idea.txt", "precious\n")
    # What is left is a folder and a note below .nexus, which anybody can commit.
    shutil.rmtree(record(repository, "work").parent)
    shutil.rmtree(registry(home).parent)
    elsewhere = make_bench("mock", repository, tmp_path, request)
    async with elsewhere.open() as nx:
        found = await nx.doctor(fix=True)
        assert await nx.list() == ()
        assert any("holds unsaved work" in finding.message for finding in found)
    assert (tree(repository) / "idea.txt").read_text() == "precious\n"
