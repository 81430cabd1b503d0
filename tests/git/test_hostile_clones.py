"""What a hostile inhabitant of a private clone can write into it, and what comes of it here: an error, and nothing else."""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from nexus.errors import GitError
from nexus.git import Worktree, Worktrees
from nexus.git import foreign as foreign_module
from nexus.git.foreign import BLOB, ForeignObjects
from tests.git.oracle import REASON, Git


@pytest.fixture
async def tree(worktrees: Worktrees) -> Worktree:
    return await worktrees.create("a", reason=REASON, isolation="clone")


def objects(git: Git) -> set[str]:
    return set(git.run("cat-file", "--batch-all-objects", "--batch-check=%(objectname)").split())


def loose(tree: Worktree, sha: str) -> Path:
    return tree.path / ".git/objects" / sha[:2] / sha[2:]


def plant(tree: Worktree, kind: bytes, content: bytes, *, named: str | None = None) -> str:
    raw = b"%s %d\0%s" % (kind, len(content), content)
    sha = named or hashlib.sha1(raw, usedforsecurity=False).hexdigest()
    file = loose(tree, sha)
    file.parent.mkdir(exist_ok=True)
    file.unlink(missing_ok=True)
    file.write_bytes(zlib.compress(raw))
    return sha


def commit_text(tree_sha: str, parent: str | None = None) -> bytes:
    parents = f"parent {parent}\n" if parent else ""
    who = "A <a@b> 1600000000 +0000"
    return f"tree {tree_sha}\n{parents}author {who}\ncommitter {who}\n\nhostile\n".encode()


def point(tree: Worktree, sha: str, ref: str = "refs/heads/nexus/a") -> None:
    file = tree.path / ".git" / ref
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(sha + "\n")


def entry(mode: str, name: bytes, sha: str) -> bytes:
    return mode.encode() + b" " + name + b"\0" + bytes.fromhex(sha)


async def refused(git: Git, worktrees: Worktrees, match: str) -> None:
    """Nothing is brought, the branch stays, the report does not call the clone clean, and the repository is sound."""
    before = git.run("rev-parse", "nexus/a")
    with pytest.raises(GitError, match=match):
        await worktrees.sync("a")
    report = await worktrees.report("a")
    assert report.unknown is not None
    with pytest.raises(GitError):
        await worktrees.rescue("a")
    assert git.run("rev-parse", "nexus/a") == before
    assert git.run("for-each-ref", "refs/nexus/rescue") == ""
    assert git.run("fsck", "--full", "--strict", "--no-dangling") == ""


async def test_an_object_under_another_id_is_not_taken(git: Git, worktrees: Worktrees, tree: Worktree) -> None:
    (tree.path / "x").write_text("honest\n")
    git.commit("x", cwd=tree.path)
    blob = git.run("rev-parse", "HEAD:x", cwd=tree.path).strip()
    before = objects(git)
    plant(tree, b"blob", b"forged\n", named=blob)
    await refused(git, worktrees, "its content has another id")
    assert blob not in objects(git)
    assert not any(sha in before for sha in [git.head(tree.path)])
    assert git.head(tree.path) not in objects(git)


async def test_a_damaged_object_is_not_taken(git: Git, worktrees: Worktrees, tree: Worktree) -> None:
    (tree.path / "x").write_text("honest\n")
    tip = git.commit("x", cwd=tree.path)
    file = loose(tree, tip)
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content[:-9])
    await refused(git, worktrees, "is damaged")
    file.write_bytes(b"not zlib at all")
    await refused(git, worktrees, "is damaged")
    file.unlink()
    await refused(git, worktrees, "lacks the object")


async def test_an_object_that_is_a_pipe_or_a_link_is_not_opened(
    git: Git, worktrees: Worktrees, tree: Worktree, tmp_path: Path
) -> None:
    (tree.path / "x").write_text("honest\n")
    tip = git.commit("x", cwd=tree.path)
    file = loose(tree, tip)
    outside = tmp_path / "outside"
    outside.write_bytes(file.read_bytes())
    file.unlink()
    file.symlink_to(outside)
    await refused(git, worktrees, "cannot be read")
    file.unlink()
    os.mkfifo(file)
    await refused(git, worktrees, "cannot be read")


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (
            lambda tree, _git: plant(tree, b"commit", commit_text(plant(tree, b"blob", b"no tree"))),
            "where a tree is needed",
        ),
        (lambda tree, _git: plant(tree, b"commit", b"tree nonsense\n"), "not well formed"),
        (lambda tree, _git: plant(tree, b"commit", commit_text("0" * 40)), "lacks the object"),
        (lambda tree, _git: plant(tree, b"blob", b"a branch is no blob"), "where a commit is needed"),
        (lambda tree, git: plant(tree, b"tag", b"object %s\n" % git.head().encode()), "where a commit is needed"),
        (lambda tree, _git: plant(tree, b"strange", b"x"), "header"),
        (lambda tree, git: with_entry(tree, git, "40000", b".git"), "not well formed"),
        (lambda tree, git: with_entry(tree, git, "40000", b".GiT"), "holds the name"),
        (lambda tree, git: with_entry(tree, git, "100644", b".."), "not well formed"),
        (lambda tree, git: with_entry(tree, git, "100644", b"a/b"), "not well formed"),
        (lambda tree, git: with_entry(tree, git, "40000", b"folder", blob=True), "where a tree is needed"),
        (
            lambda tree, _git: plant(tree, b"commit", commit_text(plant(tree, b"tree", b"100644 cut\0short"))),
            "not well formed",
        ),
    ],
)
async def test_objects_that_are_not_what_they_should_be(
    git: Git, worktrees: Worktrees, tree: Worktree, make: Callable[[Worktree, Git], str], match: str
) -> None:
    point(tree, make(tree, git))
    await refused(git, worktrees, match)


def with_entry(tree: Worktree, git: Git, mode: str, name: bytes, *, blob: bool = False) -> str:
    inner = plant(tree, b"blob", b"x") if blob or mode.startswith("1") else plant(tree, b"tree", b"")
    return plant(tree, b"commit", commit_text(plant(tree, b"tree", entry(mode, name, inner)), git.head()))


async def test_bombs_do_not_go_off(
    git: Git, worktrees: Worktrees, tree: Worktree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign_module.ForeignObjects.__init__, "__kwdefaults__", {"max_object": 1 << 20})
    bomb = plant(tree, b"blob", b"\0" * (2 << 20))
    point(tree, plant(tree, b"commit", commit_text(plant(tree, b"tree", entry("100644", b"bomb", bomb)), git.head())))
    await refused(git, worktrees, "bytes; more than")
    # One that says it is small and is not.
    raw = zlib.compress(b"blob 5\0" + b"\0" * (64 << 20))
    loose(tree, bomb).unlink()
    loose(tree, bomb).write_bytes(raw)
    await refused(git, worktrees, "its size is wrong")


def pack_file(entries: list[tuple[bytes, bytes]]) -> tuple[bytes, list[int]]:
    body, offsets = struct.pack(">4sLL", b"PACK", 2, len(entries)), []
    for header, content in entries:
        offsets.append(len(body))
        body += header + zlib.compress(content)
    return body + hashlib.sha1(body, usedforsecurity=False).digest(), offsets


def size_header(kind: int, size: int) -> bytes:
    first, size = kind << 4 | size & 15, size >> 4
    out = []
    while size:
        out.append(first | 0x80)
        first, size = size & 0x7F, size >> 7
    return bytes([*out, first])


def varint(value: int) -> bytes:
    out = []
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def index_file(named: dict[bytes, int]) -> bytes:
    names = sorted(named)
    fanout = b"".join(struct.pack(">L", sum(name[0] <= byte for name in names)) for byte in range(256))
    body = b"\xfftOc" + struct.pack(">L", 2) + fanout + b"".join(names) + b"\0\0\0\0" * len(names)
    body += b"".join(struct.pack(">L", named[name]) for name in names)
    return body + b"\0" * 40


def put_pack(folder: Path, pack: bytes, index: bytes) -> None:
    (folder / "pack").mkdir(parents=True, exist_ok=True)
    name = f"pack-{hashlib.sha1(pack, usedforsecurity=False).hexdigest()}"
    (folder / "pack" / f"{name}.pack").write_bytes(pack)
    (folder / "pack" / f"{name}.idx").write_bytes(index)


def read_from(folder: Path, sha: bytes) -> tuple[int, bytes] | None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with ForeignObjects(descriptor, max_object=1 << 20) as store:
            return store.read(sha)
    finally:
        os.close(descriptor)


BASE = b"0123456789" * 100
GOAL = hashlib.sha1(b"blob 1000\0" + BASE, usedforsecurity=False).digest()


def test_a_good_pack_is_read(tmp_path: Path) -> None:
    half = BASE[:500]
    delta = varint(500) + varint(1000) + b"\xb0\xf4\x01" * 2
    first = size_header(3, 500)
    distance = len(first) + len(zlib.compress(half))
    pack, offsets = pack_file([(first, half), (size_header(6, len(delta)) + bytes([distance]), delta)])
    assert offsets[1] - offsets[0] == distance
    put_pack(tmp_path, pack, index_file({GOAL: offsets[1]}))
    assert read_from(tmp_path, GOAL) == (BLOB, BASE)
    assert read_from(tmp_path, b"\0" * 20) is None


@pytest.mark.parametrize(
    ("entries", "offset", "match"),
    [
        ([(size_header(3, 1 << 60), BASE)], None, "more than"),
        ([(size_header(3, 10), BASE)], None, "larger than it says"),
        ([(size_header(3, 5000), BASE)], None, "smaller than it says"),
        ([(size_header(3, 999), BASE[:-1])], None, "another id"),
        ([(size_header(5, 4), b"what")], None, "unknown kind"),
        ([(size_header(7, 4) + GOAL, b"self")], None, "no end"),
        ([(size_header(6, 4) + b"\x7f", b"far")], None, "smaller than it says|no end"),
        ([(b"\xff" * 200, b"")], None, "no end|more than"),
        ([(size_header(3, 1000), BASE)], 1 << 30, "outside the pack"),
        ([(size_header(3, 1000), BASE)], 0, "outside the pack"),
    ],
)
def test_a_bad_pack_is_an_error(
    tmp_path: Path, entries: list[tuple[bytes, bytes]], offset: int | None, match: str
) -> None:
    pack, offsets = pack_file(entries)
    put_pack(tmp_path, pack, index_file({GOAL: offsets[-1] if offset is None else offset}))
    with pytest.raises(GitError, match=match):
        read_from(tmp_path, GOAL)


@pytest.mark.parametrize(
    ("delta", "match"),
    [
        (varint(1000) + varint(1 << 50) + b"\x90\x01", "more than"),
        (varint(1000) + varint(10) + b"\xb0\xe8\x03" * 1000, "reaches too far"),
        (varint(1000) + varint(5000) + b"\x92\xff\xff\x7f", "reaches too far"),
        (varint(999) + varint(1000) + b"\xb0\xe8\x03", "something else"),
        (varint(1000) + varint(1000) + b"\x00", "unknown step"),
        (varint(1000) + varint(1000) + b"\x05ab", "reaches too far"),
        (varint(1000) + varint(1000), "makes less"),
        (varint(1000) + b"\xff" * 30, "no end"),
        (b"", "no end"),
    ],
)
def test_a_bad_difference_is_an_error(tmp_path: Path, delta: bytes, match: str) -> None:
    first = size_header(3, 1000)
    distance = len(first) + len(zlib.compress(BASE))
    pack, offsets = pack_file([(first, BASE), (size_header(6, len(delta)) + bytes([distance]), delta)])
    put_pack(tmp_path, pack, index_file({b"\x77" * 20: offsets[1]}))
    with pytest.raises(GitError, match=match):
        read_from(tmp_path, b"\x77" * 20)


@pytest.mark.parametrize("index", [b"", b"\xfftOc\0\0\0\2", b"\xff" * 2000, index_file({GOAL: 12})[:1060]])
def test_a_bad_index_is_an_error(tmp_path: Path, index: bytes) -> None:
    put_pack(tmp_path, pack_file([(size_header(3, 1000), BASE)])[0], index)
    with pytest.raises(GitError, match="index"):
        read_from(tmp_path, GOAL)


async def test_what_the_clone_borrows_from_is_not_looked_at(
    git: Git, worktrees: Worktrees, tree: Worktree, tmp_path: Path, git_env: dict[str, str]
) -> None:
    secret = Git(tmp_path / "secret", git_env)
    secret.root.mkdir()
    secret.run("init", "-q")
    secret.write("key", "secret\n")
    stolen = secret.commit("private")
    (tree.path / ".git/objects/info/alternates").write_text(f"/etc\n{secret.root}/.git/objects\n")
    point(tree, stolen)
    await refused(git, worktrees, "lacks the object")
    # Nor through links in place of folders.
    (tree.path / ".git/objects/pack").rmdir()
    (tree.path / ".git/objects/pack").symlink_to(secret.root / ".git/objects/pack")
    (tree.path / ".git/objects" / stolen[:2]).symlink_to(secret.root / ".git/objects" / stolen[:2])
    await refused(git, worktrees, "cannot be read")
    assert stolen not in objects(git)


async def test_a_git_directory_that_is_a_link_leads_nowhere(
    git: Git, worktrees: Worktrees, tree: Worktree, tmp_path: Path, git_env: dict[str, str]
) -> None:
    secret = Git(tmp_path / "secret", git_env)
    secret.root.mkdir()
    secret.run("init", "-q")
    secret.write("key", "secret\n")
    stolen = secret.commit("private")
    (tree.path / ".git").rename(tree.path / "old")
    (tree.path / ".git").symlink_to(secret.root / ".git")
    await refused(git, worktrees, "no git directory of its own")
    assert stolen not in objects(git)
    (tree.path / ".git").unlink()
    (tree.path / ".git").write_text(f"gitdir: {secret.root}/.git\n")
    await refused(git, worktrees, "no git directory of its own")
    assert await worktrees.remove("a", expected_tip=tree.returned, delete_branch=True) is True
    assert (secret.root / ".git/HEAD").exists()


async def test_nothing_that_the_clone_configures_is_run(
    git: Git, worktrees: Worktrees, tree: Worktree, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    config = tree.path / ".git/config"
    config.write_text(
        config.read_text()
        + f"[core]\n\tfsmonitor = touch {ran}\n\thooksPath = {tree.path}/hooks\n\tworktree = /etc\n\tsshCommand = touch {ran}\n"
        + f'[filter "x"]\n\tclean = touch {ran}\n\tsmudge = touch {ran}\n[alias]\n\tlog = !touch {ran}\n'
        + f'[remote "origin"]\n\turl = ext::touch {ran}\n[uploadpack]\n\tpackObjectsHook = touch {ran}\n'
        + "[extensions]\n\tobjectformat = sha256\n[include]\n\tpath = /etc/passwd\n"
    )
    for folder in ("hooks", ".git/hooks"):
        (tree.path / folder).mkdir()
        for hook in ("post-checkout", "reference-transaction", "pre-commit", "post-rewrite", "fsmonitor-watchman"):
            (tree.path / folder / hook).write_text(f"#!/bin/sh\ntouch {ran}\n")
            (tree.path / folder / hook).chmod(0o755)
    (tree.path / ".gitattributes").write_text("* filter=x\n")
    (tree.path / "README.md").write_text("changed\n")
    await worktrees.list()
    report = await worktrees.report("a")
    assert "README.md" in report.modified
    await worktrees.sync("a")
    ref = await worktrees.rescue("a")
    assert git.run("show", f"{ref}:README.md") == "changed\n"
    await worktrees.remove("a", expected_tip=tree.returned, delete_branch=True)
    assert not ran.exists()


@pytest.mark.parametrize(
    "content", ["ref: ../../../../../etc/passwd", "ref: refs/heads/a\0b", "ref: HEAD", "\0", "x" * 5000, ""]
)
async def test_a_strange_head_is_told_and_hurts_nobody(
    git: Git, worktrees: Worktrees, tree: Worktree, content: str
) -> None:
    (tree.path / ".git/HEAD").write_text(content)
    assert [found.name for found in await worktrees.list()] == ["a"]
    assert not (await worktrees.report("a")).clean
    assert await worktrees.remove("a", expected_tip=tree.returned, delete_branch=True) is True


async def test_refs_with_strange_names_or_values_are_words_or_nothing(
    git: Git, worktrees: Worktrees, tree: Worktree
) -> None:
    (tree.path / "x").write_text("1")
    tip = git.commit("x", cwd=tree.path)
    heads = tree.path / ".git/refs/heads"
    for name in (b"\xff\xfe", b"a b", b"..x", b"-rf", b"\x1b[31m", b"x.lock"):
        (Path(os.fsdecode(os.fsencode(heads) + b"/" + name))).write_text(git.head() + "\n")
    (heads / "loop").write_text("ref: refs/heads/loop\n")
    (heads / "path").write_text("ref: ../../../../etc/passwd\0\n")
    (tree.path / ".git/packed-refs").write_bytes(b"# \xff\n" + git.head().encode() + b" ../../escape\nnonsense\n")
    done = await worktrees.sync("a")
    assert done.after == tip
    assert git.run("for-each-ref", "--format=%(refname)").split() == [
        "refs/heads/main",
        "refs/heads/nexus/a",
        "refs/nexus/lent/a",
    ]
    assert (await worktrees.report("a")).unknown is None
    os.mkfifo(tree.path / ".git/fifo")
    (tree.path / ".git/packed-refs").unlink()
    (tree.path / ".git/packed-refs").symlink_to("/etc/passwd")
    assert (await worktrees.report("a")).unknown is not None
    assert len(await worktrees.list()) == 1


async def test_a_ref_that_leads_to_no_commit_is_told(git: Git, worktrees: Worktrees, tree: Worktree) -> None:
    point(tree, plant(tree, b"blob", b"hidden here"), "refs/heads/odd")
    report = await worktrees.report("a")
    assert report.unknown is not None
    assert "refs/heads/odd" in report.unknown


async def test_a_clone_cannot_say_that_it_is_a_linked_worktree(git: Git, worktrees: Worktrees, tree: Worktree) -> None:
    other = await worktrees.create("b", reason=REASON)
    (other.path / "mine.txt").write_text("precious\n")
    (tree.path / ".git").rename(tree.path / "old")
    (tree.path / ".git").write_text(f"gitdir: {other.admin_dir}\n")
    found = {one.name: one for one in await worktrees.list()}
    assert (found["a"].isolation, found["b"].isolation) == ("clone", "worktree")
    assert (await worktrees.report("a")).unknown is not None
    await worktrees.remove("a", expected_tip=tree.returned, delete_branch=True)
    assert (other.path / "mine.txt").exists()
    assert git.status(other.path) == "?? mine.txt\n"
