"""Submodules filled from what the main checkout has; hostile names; work inside them that is seen, kept and given back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nexus.errors import GitError
from nexus.git import Fill, Worktree, Worktrees, examine
from nexus.git.submodules import named_submodules
from tests.git.oracle import REASON, Git

FILL = Fill(submodules=True)


def repository_at(git: Git, path: Path, content: str) -> Git:
    path.mkdir()
    made = Git(path, git.env)
    made.run("init", "-q")
    made.write("file", content)
    made.commit("first")
    return made


@pytest.fixture
def deep(git: Git, tmp_path: Path) -> Git:
    """Give a repository with a submodule that has one itself."""
    inner = repository_at(git, tmp_path / "inner", "inner\n")
    outer = repository_at(git, tmp_path / "outer", "outer\n")
    outer.run("submodule", "add", "-q", "--name", "in ner", str(inner.root), "deep/inner")
    outer.commit("with inner")
    git.run("submodule", "add", "-q", "--name", "libs/outer", str(outer.root), "vendor/outer")
    git.run("submodule", "update", "-q", "--init", "--recursive")
    git.commit("with outer")
    return git


@pytest.fixture(params=["worktree", "clone"])
async def filled(request: pytest.FixtureRequest, deep: Git, worktrees: Worktrees) -> Worktree:
    return await worktrees.create("a", reason=REASON, fill=FILL, isolation=request.param)


def module(worktree: Worktree) -> Path:
    return worktree.admin_dir / "modules/libs/outer"


async def test_filled_as_git_would_and_nothing_is_unsaved(deep: Git, worktrees: Worktrees, filled: Worktree) -> None:
    assert filled.notes == ()
    inside = filled.path / "vendor/outer"
    assert (inside / "file").read_text() == "outer\n"
    assert (inside / "deep/inner/file").read_text() == "inner\n"
    for tree in (filled.path, inside, inside / "deep/inner"):
        assert deep.run("status", "--porcelain", cwd=tree) == ""
        assert deep.run("fsck", "--no-dangling", cwd=tree) == ""
    assert deep.run("rev-parse", "HEAD", cwd=inside) == deep.run("rev-parse", "HEAD", cwd=deep.root / "vendor/outer")
    assert deep.run("rev-parse", "--absolute-git-dir", cwd=inside).strip() == str(module(filled))
    assert deep.run("remote", "get-url", "origin", cwd=inside) == deep.run(
        "remote", "get-url", "origin", cwd=deep.root / "vendor/outer"
    )
    if filled.isolation == "worktree":
        assert deep.run("submodule", "status", "--recursive", cwd=filled.path).startswith(" ")
    report = await worktrees.report("a")
    assert report.clean, report
    assert await examine(worktrees.repository) == ()
    # The user's own housekeeping leaves what is lent.
    source = deep.root / "vendor/outer"
    deep.run("checkout", "-q", "--orphan", "other", cwd=source)
    deep.run("commit", "-q", "-m", "other", cwd=source)
    for ref in deep.run("for-each-ref", "--format=%(refname)", "refs/heads/main", "refs/remotes", cwd=source).split():
        deep.run("update-ref", "--no-deref", "-d", ref, cwd=source)
    deep.run("reflog", "expire", "--expire=now", "--all", cwd=source)
    deep.run("gc", "-q", "--prune=now", cwd=source)
    assert deep.run("fsck", "--no-dangling", cwd=inside) == ""
    await worktrees.remove("a", expected_tip=None, delete_branch=False)
    assert deep.run("for-each-ref", "refs/nexus", cwd=source) == ""


async def test_work_in_submodules_is_seen_and_kept(deep: Git, worktrees: Worktrees, filled: Worktree) -> None:
    inside = filled.path / "vendor/outer"
    inner = inside / "deep/inner"

    async def lines() -> str:
        report = await worktrees.report("a")
        assert not report.clean
        assert report.submodules
        return "\n".join(report.lines())

    (inner / "file").write_text("changed\n")
    assert "in the submodule vendor/outer/deep/inner: modified: file" in await lines()
    (inner / "file").write_text("inner\n")
    (inside / "new").write_text("new\n")
    assert "in the submodule vendor/outer: untracked: new" in await lines()
    deep.run("add", "new", cwd=inside)
    assert "vendor/outer: staged: new" in await lines()
    deep.run("commit", "-q", "-m", "only in the submodule", cwd=inside)
    assert "1 commit exists nowhere else" in await lines()
    tip = deep.head(inside)
    deep.run("checkout", "-q", "HEAD~1", cwd=inside)
    deep.run("branch", "kept", tip, cwd=inside)
    assert "only in the submodule" in await lines()
    (inside / "file").write_text("stash me\n")
    deep.run("stash", "-q", cwd=inside)
    deep.run("branch", "-D", "kept", cwd=inside)
    assert "stash me" in deep.run("stash", "show", "-p", cwd=inside)
    assert "nowhere else" in await lines()
    with pytest.raises(GitError, match="the submodule") as refused:
        await worktrees.rescue("a")
    ref = await worktrees.pin("a", refused.value.message)
    await worktrees.remove("a", expected_tip=deep.head(), delete_branch=True, aside=ref)
    assert not filled.path.exists()
    again = await worktrees.restore("a", ref, reason=REASON)
    assert "stash me" in deep.run("stash", "show", "-p", cwd=again.path / "vendor/outer")
    assert deep.run("fsck", "--no-dangling", cwd=again.path / "vendor/outer") == ""
    assert deep.run("cat-file", "-t", tip, cwd=again.path / "vendor/outer").strip() == "commit"


async def test_what_is_not_there_is_said(deep: Git, worktrees: Worktrees, tmp_path: Path) -> None:
    repository_at(deep, tmp_path / "third", "third\n")
    deep.run("submodule", "add", "-q", str(tmp_path / "third"), "third")
    deep.commit("third")
    deep.run("submodule", "deinit", "-q", "-f", "third")
    for path in sorted((deep.root / ".git/modules/third").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (deep.root / ".git/modules/third").rmdir()
    made = await worktrees.create("a", reason=REASON, fill=FILL)
    (note,) = made.notes
    assert note.startswith("submodule left empty: third: it is not in the main checkout; 'git submodule update --init")
    assert (made.path / "vendor/outer/file").exists()
    assert (await worktrees.report("a")).clean
    # A commit that was never fetched.
    sha = deep.run("commit-tree", "-m", "elsewhere", "HEAD^{tree}").strip()
    deep.run("update-index", "--cacheinfo", f"160000,{sha},vendor/outer")
    deep.run("commit", "-q", "-m", "ahead")
    made = await worktrees.create("b", reason=REASON, fill=FILL)
    assert any(f"its commit {sha[:10]} is not in" in line for line in made.notes)
    assert list((made.path / "vendor/outer").iterdir()) == []


HOSTILE = [
    "../../hooks",
    "..",
    "/etc",
    "a/../../b",
    "-u",
    ".git",
    "a//b",
    "a\\\\..\\\\b",
    "x/modules/y",
    "a\x01b",
    "",
    "libs",
]


async def test_hostile_names_are_left_alone(deep: Git, worktrees: Worktrees, tmp_path: Path) -> None:
    """A name leads below ``modules`` or nowhere."""
    content = (deep.root / ".gitmodules").read_text()
    sha = deep.head(deep.root / "vendor/outer")
    for number, name in enumerate(HOSTILE):
        content += f'[submodule "{name}"]\n\tpath = evil{number}\n\turl = --upload-pack=touch\n'
        deep.run("update-index", "--add", "--cacheinfo", f"160000,{sha},evil{number}")
    deep.run("update-index", "--add", "--cacheinfo", f"160000,{sha},-u")
    content += '[submodule "fine"]\n\tpath = -u\n'
    deep.write(".gitmodules", content)
    deep.run("add", ".gitmodules")
    deep.run("commit", "-q", "-m", "evil")

    def outside() -> set[Path]:
        found = (path for path in tmp_path.rglob("*") if ".nexus" not in path.parts)
        return {path for path in found if ".git" not in path.parts or {"hooks", "modules"} & set(path.parts)}

    before = outside()
    made = await worktrees.create("a", reason=REASON, fill=FILL)
    for number, name in enumerate(HOSTILE):
        assert any(note.startswith(f"submodule left empty: evil{number}: ") for note in made.notes), name
        assert list((made.path / f"evil{number}").iterdir()) == []
    assert any(note.startswith("submodule left empty: -u: ") for note in made.notes)
    assert outside() == before
    assert not (made.admin_dir / "modules").exists()
    assert await examine(worktrees.repository) == ()


async def test_links_on_the_way_are_not_followed(deep: Git, worktrees: Worktrees, tmp_path: Path) -> None:
    modules = deep.root / ".git/modules"
    (modules / "libs").rename(tmp_path / "elsewhere")
    (modules / "libs").symlink_to(tmp_path / "elsewhere")
    made = await worktrees.create("a", reason=REASON, fill=FILL)
    assert "a link stands on the way" in made.notes[0] or "not in the main checkout" in made.notes[0]
    assert list((made.path / "vendor/outer").iterdir()) == []


async def test_a_hostile_submodule_is_unsaved_work_and_runs_nothing(
    deep: Git, worktrees: Worktrees, tmp_path: Path
) -> None:
    made = await worktrees.create("a", reason=REASON, fill=FILL)
    inside, private = made.path / "vendor/outer", module(made)
    ran = tmp_path / "ran"
    hook = private / "hooks/post-checkout"
    hook.parent.mkdir()
    hook.write_text(f"#!/bin/sh\ntouch {ran}\n")
    hook.chmod(0o755)
    with (private / "config").open("a") as file:
        file.write(f'[core]\n\tfsmonitor = "touch {ran}"\n[filter "x"]\n\tclean = touch {ran}\n')
    (private / "objects/info/alternates").write_text("/dev\n")
    (inside / ".gitattributes").write_text("* filter=x\n")
    assert (await worktrees.report("a")).submodules == ("vendor/outer: untracked: .gitattributes",)
    (inside / ".gitattributes").unlink()
    assert (await worktrees.report("a")).clean
    head = private / "HEAD"
    kept = head.read_bytes()
    head.unlink()
    os.mkfifo(head)
    assert not (await worktrees.report("a")).clean
    head.unlink()
    head.write_bytes(kept)
    private.rename(tmp_path / "moved")
    private.symlink_to(tmp_path / "moved")
    assert not (await worktrees.report("a")).clean
    # Work that a name for another submodule would hide.
    private.unlink()
    (tmp_path / "moved").rename(private)
    (inside / "file").write_text("hidden\n")
    (made.path / ".gitmodules").write_text('[submodule "in ner"]\n\tpath = vendor/outer\n')
    assert not (await worktrees.report("a")).clean
    assert not ran.exists()


@given(st.binary(max_size=400), st.lists(st.binary(min_size=1, max_size=20), max_size=3))
def test_no_gitmodules_breaks_the_reader_or_leads_out(content: bytes, paths: list[bytes]) -> None:
    named = named_submodules(content, dict.fromkeys(paths, bytes(20)))
    assert len(named.found) + len(named.refused) == len(set(paths))


@given(st.text(st.sampled_from("ab./-\\~\n\t gitmodules"), min_size=1, max_size=30))
def test_a_name_that_is_taken_stays_below_its_folder(name: str) -> None:
    assume(not any(letter in name for letter in '"\n\\'))
    content = f'[submodule "{name}"]\n\tpath = p\n'.encode()
    for submodule in named_submodules(content, {b"p": bytes(20)}).found:
        place = Path("/base/modules") / os.fsdecode(submodule.name)
        assert Path(os.path.normpath(place)) == place
        assert place.is_relative_to("/base/modules")
        assert place != Path("/base/modules")
