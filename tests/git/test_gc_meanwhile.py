"""The user's ``git gc --prune=now`` and ``git pack-refs``, at the very moments at which they hurt most."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from dulwich.objects import ShaFile
from dulwich.refs import DiskRefsContainer

from nexus.errors import Busy, GitError
from nexus.git import Worktrees, refs
from nexus.git.guarded_objects import GuardedObjects
from nexus.git.ref_deletion import delete_ref
from nexus.git.refs import Refs
from nexus.git.repository import opened
from nexus.git.shelter import Shelter, sweep
from tests.git.oracle import REASON, Git


@contextmanager
def before(patched: pytest.MonkeyPatch, owner: object, name: str, act: Callable[[], object]) -> Iterator[list[str]]:
    """Have ``act`` run right before each call of a function; the calls are counted."""
    original = getattr(owner, name)
    calls: list[str] = []

    def called(*args: Any, **named: Any) -> Any:
        calls.append(name)
        act()
        return original(*args, **named)

    with patched.context() as inner:
        inner.setattr(owner, name, called)
        yield calls


def collect(git: Git) -> None:
    git.run("gc", "-q", "--prune=now")


def prune(git: Git) -> None:
    git.run("prune", "--expire=now")


def unpacked(git: Git) -> None:
    """Have every object as a file of its own."""
    packs = git.root / ".git" / "objects" / "pack"
    for pack in list(packs.glob("*.pack")):
        moved = pack.rename(git.root / pack.name)
        pack.with_suffix(".idx").unlink()
        with moved.open("rb") as content:
            subprocess.run(["git", "unpack-objects", "-q"], cwd=git.root, env=git.env, stdin=content, check=True)


def temporary(git: Git) -> list[str]:
    """What a shelter leaves in the folder of packs while it is open."""
    return [file.name for file in (git.root / ".git/objects/pack").iterdir() if file.suffix in {".keep", ".new"}]


async def test_what_is_rescued_outlives_a_collection_before_its_ref_is_made(
    git: Git, worktrees: Worktrees, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await worktrees.create("one", reason=REASON)
    commit = git.commit("work", cwd=made.path)
    (made.path / "README.md").write_text("staged\n")
    git.run("add", "README.md", cwd=made.path)
    (made.path / "deep").mkdir()
    (made.path / "deep" / "idea.txt").write_text("precious\n")
    with before(monkeypatch, DiskRefsContainer, "add_if_new", lambda: collect(git)) as calls:
        ref = await worktrees.rescue("one")
    assert calls
    await worktrees.remove("one", expected_tip=commit, delete_branch=True)
    collect(git)
    git.run("fsck", "--strict")
    back = await worktrees.restore("two", ref, reason=REASON)
    assert back.head == commit
    assert git.run("diff", "--cached", "--name-only", cwd=back.path) == "README.md\n"
    assert (back.path / "deep" / "idea.txt").read_text() == "precious\n"
    assert temporary(git) == []


async def test_what_is_being_written_outlives_a_prune(
    git: Git, worktrees: Worktrees, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what an earlier rescue left unreferred: that an object is there is no promise that it stays."""
    made = await worktrees.create("one", reason=REASON)
    for number in range(3):
        (made.path / f"{number}.txt").write_text(f"{number}\n")
    (made.path / "deep").mkdir()
    (made.path / "deep" / "idea.txt").write_text("precious\n")
    git.run("update-ref", "-d", await worktrees.rescue("one"))
    git.run("repack", "-q", "-A", "-d")
    git.run("prune-packed")
    with before(monkeypatch, GuardedObjects, "add_object", lambda: prune(git)) as calls:
        ref = await worktrees.rescue("one")
    assert len(calls) > 3
    git.run("fsck", "--strict")
    assert git.run("show", f"{ref}:deep/idea.txt") == "precious\n"


@pytest.mark.parametrize("lost", ["", "^{tree}", ":manifest.json"])
async def test_a_rescue_that_lost_its_state_is_not_taken_for_a_commit_of_the_branch(
    git: Git, worktrees: Worktrees, lost: str
) -> None:
    made = await worktrees.create("one", reason=REASON)
    (made.path / "idea.txt").write_text("precious\n")
    ref = await worktrees.rescue("one")
    state = git.run("rev-parse", git.run("log", "-1", "--format=%P", ref).split()[-1] + lost).strip()
    unpacked(git)
    (git.root / ".git/objects" / state[:2] / state[2:]).unlink()
    with pytest.raises(GitError, match="damaged"):
        await worktrees.restore("two", ref, reason=REASON)
    assert [rescue.ref for rescue in await worktrees.rescues()] == [ref]


async def test_a_clones_work_outlives_a_collection_before_its_refs_are_made(
    git: Git, worktrees: Worktrees, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await worktrees.create("one", reason=REASON, isolation="clone")
    git.run("checkout", "-q", "-b", "beside", cwd=made.path)
    (made.path / "b.txt").write_text("beside\n")
    git.run("add", "-A", cwd=made.path)
    beside = git.commit("beside", cwd=made.path)
    git.run("checkout", "-q", "nexus/one", cwd=made.path)
    (made.path / "a.txt").write_text("work\n")
    git.run("add", "-A", cwd=made.path)
    commit = git.commit("work", cwd=made.path)
    report = await worktrees.report("one")  # brings everything to look at it: nothing leads to it afterwards
    assert not report.clean
    with (
        before(monkeypatch, DiskRefsContainer, "add_if_new", lambda: collect(git)) as added,
        before(monkeypatch, DiskRefsContainer, "set_if_equals", lambda: collect(git)) as moved,
    ):
        await worktrees.bring_back("one")
        ref = await worktrees.rescue("one")
    assert added
    assert moved
    await worktrees.remove("one", expected_tip=commit, delete_branch=True)
    collect(git)
    git.run("fsck", "--strict")
    assert git.run("show", f"{commit}:a.txt") == "work\n"
    assert git.run("show", f"{beside}:b.txt") == "beside\n"
    assert git.run("rev-parse", f"{ref}^1").strip() == commit
    assert temporary(git) == []


def test_what_was_not_sealed_is_not_there(git: Git) -> None:
    store = GuardedObjects(git.root / ".git" / "objects")
    blob = ShaFile.from_raw_string(3, b"half")
    with store.sheltered():
        store.add_object(blob)
        assert blob.id in store
        assert store[blob.id].as_raw_string() == b"half"
    assert blob.id not in store
    assert temporary(git) == []
    store.close()


def test_what_killed_processes_left_is_removed_and_nobody_elses_is(git: Git) -> None:
    packs = git.root / ".git" / "objects" / "pack"
    left = [packs / "nexus-0123456789abcdef.new", packs / f"pack-{'a' * 40}.keep"]
    theirs = [packs / f"pack-{'b' * 40}.keep", packs / "nexus-mine.new"]
    for file in (*left, *theirs):
        file.write_bytes(b"nexus: until a ref leads to it\n" if file in left else b"")
    os.mkfifo(packs / f"pack-{'c' * 40}.keep")
    shelter = Shelter(packs)
    shelter.keep(f"pack-{'d' * 40}")
    sweep(packs)
    assert [file for file in left if file.exists()] == []
    assert all(file.exists() for file in theirs)
    assert (packs / f"pack-{'d' * 40}.keep").exists()
    shelter.close()
    assert not (packs / f"pack-{'d' * 40}.keep").exists()


@pytest.mark.parametrize("moment", ["_loose", "_packed", "read_head"])
def test_refs_that_are_packed_while_they_are_read_are_all_seen(
    git: Git, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    git.run("branch", "nexus/one")
    git.run("branch", "nexus/deep/two")
    git.run("tag", "v1")
    common: Path = git.root / ".git"
    seen = Refs(common).commits()
    with before(monkeypatch, refs, moment, lambda: git.run("pack-refs", "--all", "--prune")) as calls:
        assert Refs(common).commits() == seen
    assert calls


@pytest.fixture
def older(git: Git) -> str:
    """A branch whose file says another commit than the packed refs do, which is returned."""
    git.run("branch", "nexus/one")
    git.run("pack-refs", "--all")
    git.run("update-ref", "refs/heads/nexus/one", git.commit("work"))
    return git.run("rev-parse", "main~1").strip()


async def test_a_branch_that_git_packs_while_it_is_deleted_does_not_come_back(
    git: Git, older: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = (await git.worktrees())._repository
    pack = ["git", "-c", "core.packedRefsTimeout=0", "pack-refs", "--all", "--prune"]

    def try_to_pack() -> None:
        assert b"Unable to create" in subprocess.run(pack, cwd=git.root, env=git.env, capture_output=True).stderr

    with before(monkeypatch, Path, "unlink", try_to_pack) as calls, opened(repository) as repo:
        assert delete_ref(repo, b"refs/heads/nexus/one", git.head().encode())
    assert calls
    git.run("pack-refs", "--all", "--prune")
    assert git.run("for-each-ref", "refs/heads/nexus") == ""
    assert git.run("status", "--porcelain") == ""


async def test_a_branch_that_cannot_be_deleted_now_stays_where_it_was(git: Git, older: str) -> None:
    repository = (await git.worktrees())._repository
    lock = git.root / ".git" / "packed-refs.lock"
    lock.touch()
    with pytest.raises(Busy), opened(repository) as repo:
        delete_ref(repo, b"refs/heads/nexus/one", git.head().encode())
    assert git.run("rev-parse", "nexus/one").strip() == git.head()
    lock.unlink()
    with opened(repository) as repo:
        assert not delete_ref(repo, b"refs/heads/nexus/one", older.encode())
        assert delete_ref(repo, b"refs/heads/nexus/one", git.head().encode())
        assert not delete_ref(repo, b"refs/heads/nexus/one", git.head().encode())
    assert git.run("for-each-ref", "refs/heads/nexus") == ""
    assert [path.name for path in (git.root / ".git").iterdir() if path.name.startswith(("nexus", "packed"))] == [
        "packed-refs"
    ]


async def test_a_tag_that_is_packed_goes_with_what_it_leads_to(git: Git) -> None:
    for name in ("v1", "v2", "v3"):
        git.run("tag", "-a", name, "-m", name)
    git.run("pack-refs", "--all")
    wanted = git.run("rev-parse", "v2").strip()
    with opened((await git.worktrees())._repository) as repo:
        assert delete_ref(repo, b"refs/tags/v2", wanted.encode())
    assert git.run("tag").split() == ["v1", "v3"]
    git.run("fsck", "--strict")
    assert git.run("show-ref", "-d").count("^{}") == 2
