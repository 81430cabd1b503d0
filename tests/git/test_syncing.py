from __future__ import annotations

import gc
import http.server
import os
import socket
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from nexus.errors import Busy, GitError, SyncConflict
from nexus.git import Worktree, Worktrees
from tests.git.oracle import REASON, Git


@pytest.fixture
def upstream(git: Git, tmp_path: Path) -> Git:
    """The repository that ``git`` was cloned from, so to say: its ``origin``."""
    other = Git(tmp_path / "upstream", git.env)
    git.run("clone", "-q", str(git.root), str(other.root))
    git.run("remote", "add", "origin", str(other.root))
    git.run("fetch", "-q", "origin")
    return other


@pytest.fixture
async def made(git: Git, upstream: Git, worktrees: Worktrees) -> Worktree:
    return await worktrees.create("one", reason=REASON)


async def test_new_commits_come_in(git: Git, upstream: Git, worktrees: Worktrees, made: Worktree) -> None:
    upstream.write("README.md", "new text\n")
    upstream.write("deep/er/new.sh", "#!/bin/sh\n", mode=0o755)
    (upstream.root / "src" / "app.py").unlink()
    (upstream.root / "link").symlink_to("README.md")
    upstream.commit("first news")
    tip = upstream.commit("second news")
    outcome = await worktrees.sync("one")
    assert (outcome.before, outcome.after) == (made.head, tip)
    assert outcome.fast_forwarded
    assert outcome.fetched == 1
    assert outcome.message == "2 new commits from origin/main"
    assert git.status(made.path) == ""
    git.run("update-index", "--really-refresh", cwd=made.path)
    assert git.run("diff", "HEAD", "--stat", cwd=made.path) == ""
    assert git.head(made.path) == tip == git.run("rev-parse", "origin/main").strip()
    assert (made.path / "link").is_symlink()
    assert not (made.path / "src").exists()
    assert "Fast-forward" in git.run("reflog", "-1", cwd=made.path)
    assert "Fast-forward" in git.run("reflog", "-1", "nexus/one")
    assert git.head() != tip, "the main checkout is left alone"
    git.run("fsck", "--strict")


async def test_nothing_new_is_said(worktrees: Worktrees, made: Worktree) -> None:
    outcome = await worktrees.sync("one")
    assert not outcome.fast_forwarded
    assert outcome.message == "up to date with origin/main"


async def test_being_ahead_is_no_conflict(git: Git, worktrees: Worktrees, made: Worktree) -> None:
    tip = git.commit("mine", cwd=made.path)
    outcome = await worktrees.sync("one")
    assert (outcome.after, outcome.message) == (tip, "up to date with origin/main, 1 ahead")


async def test_when_both_moved_it_is_told_and_nothing_changes(
    git: Git, upstream: Git, worktrees: Worktrees, made: Worktree
) -> None:
    tip = git.commit("mine", cwd=made.path)
    upstream.commit("theirs 1")
    upstream.commit("theirs 2")
    with pytest.raises(SyncConflict, match="1 ahead, 2 behind") as caught:
        await worktrees.sync("one")
    assert (caught.value.details["ahead"], caught.value.details["behind"]) == (1, 2)
    assert caught.value.hint
    assert git.head(made.path) == tip


@pytest.mark.parametrize(
    "change", ["modified", "staged", "deleted", "untracked", "ignored", "untracked folder", "executable", "link"]
)
async def test_local_changes_in_the_way_are_listed_and_kept(
    git: Git, upstream: Git, worktrees: Worktrees, made: Worktree, change: str, tmp_path: Path
) -> None:
    upstream.write("README.md", "new text\n")
    upstream.write("new.txt", "theirs\n")
    upstream.commit("news")
    file = made.path / "README.md"
    if change in {"modified", "staged"}:
        file.write_text("local\n")
        if change == "staged":
            git.run("add", "README.md", cwd=made.path)
            file.write_text("hello\n")
    elif change == "deleted":
        file.unlink()
    elif change == "executable":
        file.chmod(0o755)
    elif change == "link":
        file.unlink()
        (tmp_path / "target").write_text("hello\n")
        file.symlink_to(tmp_path / "target")
    elif change == "untracked folder":
        (made.path / "new.txt").mkdir()
        (made.path / "new.txt" / "mine").write_text("mine")
    else:
        (made.path / "new.txt").write_text("mine\n")
        if change == "ignored":
            (made.path / ".gitignore").write_text("new.txt\n")
    before = git.status(made.path)
    with pytest.raises(SyncConflict) as caught:
        await worktrees.sync("one")
    expected = "new.txt" if change in {"untracked", "ignored", "untracked folder"} else "README.md"
    assert caught.value.details["paths"] == [expected]
    assert git.status(made.path) == before
    assert git.head(made.path) == made.head
    assert not (made.admin_dir / "index.lock").exists()


async def test_changes_elsewhere_do_not_hinder(git: Git, upstream: Git, worktrees: Worktrees, made: Worktree) -> None:
    upstream.write("new.txt", "theirs\n")
    upstream.commit("news")
    (made.path / "README.md").write_text("local\n")
    (made.path / "staged").write_text("s")
    git.run("add", "staged", cwd=made.path)
    assert (await worktrees.sync("one")).fast_forwarded
    assert git.status(made.path).splitlines() == [" M README.md", "A  staged"]


async def test_a_file_becomes_a_folder_and_back(git: Git, upstream: Git, worktrees: Worktrees, made: Worktree) -> None:
    (upstream.root / "README.md").unlink()
    upstream.write("README.md/inside", "x")
    (upstream.root / "src" / "app.py").unlink()
    (upstream.root / "src").rmdir()
    upstream.write("src", "a file")
    upstream.commit("turned round")
    assert (await worktrees.sync("one")).fast_forwarded
    assert git.status(made.path) == ""
    assert (made.path / "src").read_text() == "a file"


async def test_a_folder_that_holds_more_makes_no_way(
    git: Git, upstream: Git, worktrees: Worktrees, made: Worktree
) -> None:
    (upstream.root / "src" / "app.py").unlink()
    (upstream.root / "src").rmdir()
    upstream.write("src", "a file")
    upstream.commit("turned round")
    (made.path / "src" / "untracked").write_text("mine")
    with pytest.raises(SyncConflict) as caught:
        await worktrees.sync("one")
    assert caught.value.details["paths"] == ["src"]
    assert git.status(made.path) == "?? src/untracked\n"
    assert (made.path / "src" / "app.py").read_text() == "print('hi')\n"
    assert git.head(made.path) == made.head


async def test_line_ends_are_converted_on_the_way(
    git: Git, upstream: Git, worktrees: Worktrees, made: Worktree
) -> None:
    upstream.write(".gitattributes", "*.txt text eol=crlf\n")
    upstream.write("a.txt", "one\n")
    upstream.commit("news")
    await worktrees.sync("one")
    assert (made.path / "a.txt").read_bytes() == b"one\r\n"
    assert git.status(made.path) == ""


async def test_the_configured_upstream_comes_first(
    git: Git, upstream: Git, worktrees: Worktrees, made: Worktree
) -> None:
    upstream.run("checkout", "-q", "-b", "release")
    tip = upstream.commit("released")
    git.run("config", "branch.nexus/one.remote", "origin")
    git.run("config", "branch.nexus/one.merge", "refs/heads/release")
    outcome = await worktrees.sync("one")
    assert (outcome.after, outcome.message) == (tip, "1 new commit from origin/release")


@pytest.mark.parametrize("start", ["develop", "origin/develop"])
async def test_the_branch_it_started_from_comes_next(git: Git, upstream: Git, worktrees: Worktrees, start: str) -> None:
    upstream.run("checkout", "-q", "-b", "develop")
    git.run("fetch", "-q", "origin")
    git.run("branch", "develop")
    await worktrees.create("two", start=start, reason=REASON)
    tip = upstream.commit("developed")
    assert (await worktrees.sync("two")).after == tip


async def test_the_remotes_default_comes_last(git: Git, upstream: Git, worktrees: Worktrees) -> None:
    await worktrees.create("two", start=git.head(), reason=REASON)
    tip = upstream.commit("news")
    assert (await worktrees.sync("two")).after == tip


async def test_another_remote_can_be_named(git: Git, upstream: Git, worktrees: Worktrees, made: Worktree) -> None:
    git.run("remote", "rename", "origin", "fork")
    tip = upstream.commit("news")
    assert (await worktrees.sync("one", remote="fork")).after == tip


async def test_without_a_remote_it_says_so(git: Git, worktrees: Worktrees) -> None:
    made = await worktrees.create("one", reason=REASON)
    outcome = await worktrees.sync("one")
    assert outcome.remote is None
    assert not outcome.fast_forwarded
    assert "no remote 'origin'" in outcome.message
    assert outcome.before == outcome.after == made.head


async def test_a_relative_path_and_a_file_address_work(
    git: Git, upstream: Git, worktrees: Worktrees, made: Worktree
) -> None:
    for url in ("../upstream", upstream.root.as_uri()):
        git.run("remote", "set-url", "origin", url)
        tip = upstream.commit("news")
        assert (await worktrees.sync("one")).after == tip


@pytest.mark.parametrize(
    "url",
    ["/nowhere/at/all", "http://127.0.0.1:1/x.git", "https://user:secret@127.0.0.1:1/x.git", "git://127.0.0.1:1/x"],
)
async def test_a_remote_that_is_not_there_is_told_with_a_hint(
    git: Git, worktrees: Worktrees, made: Worktree, url: str
) -> None:
    git.run("remote", "set-url", "origin", url)
    with pytest.raises(GitError, match="the remote 'origin'") as caught:
        await worktrees.sync("one")
    assert caught.value.hint
    assert "secret" not in str(caught.value.to_json())


async def test_a_remote_that_does_not_answer_meets_the_deadline(git: Git, worktrees: Worktrees, made: Worktree) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        git.run("remote", "set-url", "origin", f"http://127.0.0.1:{silent.getsockname()[1]}/x.git")
        with pytest.raises(GitError, match="origin"):
            await worktrees.sync("one", timeout=0.3)


@pytest.mark.filterwarnings("ignore:unclosed Protocol:ResourceWarning")  # dulwich's own, when the other end hangs up
async def test_an_ssh_that_hangs_is_ended(
    git: Git, worktrees: Worktrees, made: Worktree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "ssh"
    fake.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 1000\n")
    fake.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(fake))
    git.run("remote", "set-url", "origin", "ssh://host.invalid/x.git")
    with pytest.raises(GitError, match="did not answer"):
        await worktrees.sync("one", timeout=3)
    process = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    gc.collect()


async def test_ssh_is_the_users_program(
    git: Git, upstream: Git, worktrees: Worktrees, made: Worktree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for ssh that runs the command here: the real protocol with the real git at the other end."""
    fake = tmp_path / "ssh"
    fake.write_text('#!/bin/sh\nfor last; do :; done\nexec sh -c "$last"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(fake))
    git.run("remote", "set-url", "origin", f"ssh://host.invalid{upstream.root}")
    tip = upstream.commit("news")
    assert (await worktrees.sync("one")).after == tip


@pytest.fixture
def over_http(upstream: Git) -> Iterator[str]:
    """Serve the upstream as plain files."""
    handler = partial(_Quiet, directory=str(upstream.root / ".git"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


async def test_http_works(git: Git, upstream: Git, worktrees: Worktrees, made: Worktree, over_http: str) -> None:
    git.run("remote", "set-url", "origin", over_http)
    tip = upstream.commit("news")
    upstream.run("repack", "-adq")
    upstream.run("update-server-info")
    assert (await worktrees.sync("one")).after == tip


async def test_git_at_work_is_told_as_busy(git: Git, upstream: Git, worktrees: Worktrees, made: Worktree) -> None:
    upstream.commit("news")
    lock = made.admin_dir / "index.lock"
    lock.write_text("")
    with pytest.raises(Busy, match=r"index\.lock"):
        await worktrees.sync("one")
    assert lock.exists(), "it is not ours to remove"
    lock.unlink()
    assert (await worktrees.sync("one")).fast_forwarded


async def test_off_its_branch_nothing_moves(git: Git, upstream: Git, worktrees: Worktrees, made: Worktree) -> None:
    upstream.commit("news")
    git.run("checkout", "-q", "--detach", cwd=made.path)
    with pytest.raises(SyncConflict, match="not on its branch"):
        await worktrees.sync("one")
    git.run("checkout", "-q", "nexus/one", cwd=made.path)
    git.run("bisect", "start", cwd=made.path)
    with pytest.raises(SyncConflict, match="bisect"):
        await worktrees.sync("one")


async def test_no_such_worktree(git: Git, upstream: Git, worktrees: Worktrees) -> None:
    with pytest.raises(GitError, match="no worktree"):
        await worktrees.sync("nothing")


async def test_a_commit_in_the_meantime_wins(
    git: Git, upstream: Git, worktrees: Worktrees, made: Worktree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The branch moves after the files were written: they are put back."""
    from nexus.git import advancing

    upstream.write("README.md", "new text\n")
    upstream.write("new.txt", "new\n")
    upstream.commit("news")
    side = git.run("commit-tree", "-p", "HEAD", "-m", "side", "HEAD^{tree}").strip()
    take = advancing.Tree.take

    def racing(self: advancing.Tree, step: advancing.Step, *, replace: bool = False) -> object:
        done = take(self, step, replace=replace)
        if not replace:
            git.run("update-ref", "refs/heads/nexus/one", side)
        return done

    monkeypatch.setattr(advancing.Tree, "take", racing)
    with pytest.raises(SyncConflict, match="moved by somebody else"):
        await worktrees.sync("one")
    assert git.run("rev-parse", "nexus/one").strip() == side
    assert git.status(made.path) == ""
    assert (made.path / "README.md").read_text() == "hello\n"
    assert not (made.path / "new.txt").exists()


async def test_hostile_upstream_paths_are_refused(
    git: Git, upstream: Git, worktrees: Worktrees, made: Worktree, tmp_path: Path
) -> None:
    from tests.git.test_hostile_trees import tree_object

    blob = upstream.run("hash-object", "-w", "--stdin", stdin=b"bad").strip()
    inner = tree_object(upstream, [("100644", b"config", blob)])
    tree = tree_object(upstream, [("40000", b".GIT", inner)])
    commit = upstream.run("commit-tree", "-p", "HEAD", "-m", "bad", tree).strip()
    upstream.run("update-ref", "refs/heads/main", commit)
    with pytest.raises(GitError, match="checked out safely"):
        await worktrees.sync("one")
    assert git.status(made.path) == ""
    assert git.head(made.path) == made.head


async def test_nothing_is_written_through_a_link_in_the_tree(
    git: Git, upstream: Git, worktrees: Worktrees, made: Worktree, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    upstream.write("newdir/file", "theirs")
    upstream.commit("news")
    (made.path / "newdir").symlink_to(outside)
    with pytest.raises(SyncConflict):
        await worktrees.sync("one")
    assert list(outside.iterdir()) == []


async def test_a_step_that_fails_half_way_is_taken_back(
    git: Git, upstream: Git, worktrees: Worktrees, made: Worktree, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nexus.git import advancing, copying

    upstream.write("README.md", "new text\n")
    upstream.write("z/last", "new\n")
    upstream.commit("news")
    create = copying.create

    def full(name: bytes, *args: object) -> object:
        if name == b"last":
            raise OSError(28, "No space left on device")
        return create(name, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(advancing, "create", full)
    with pytest.raises(GitError, match="No space left"):
        await worktrees.sync("one")
    assert git.status(made.path) == ""
    assert git.head(made.path) == made.head
    assert not (made.admin_dir / "index.lock").exists()
    monkeypatch.undo()
    assert (await worktrees.sync("one")).fast_forwarded


async def test_a_clone_is_fast_forwarded_from_the_remote_after_its_work_came_back(
    git: Git, worktrees: Worktrees, tmp_path: Path
) -> None:
    git.run("clone", "-q", "--bare", str(git.root), str(tmp_path / "remote.git"))
    git.run("remote", "add", "origin", str(tmp_path / "remote.git"))
    git.run("fetch", "-q", "origin")
    clone = await worktrees.create("a", reason=REASON, isolation="clone")
    other = Git(tmp_path / "other", git.env)
    git.run("clone", "-q", str(tmp_path / "remote.git"), str(other.root))
    other.write("theirs", "theirs\n")
    theirs = other.commit("theirs")
    other.run("push", "-q", "origin", "HEAD:main")
    done = await worktrees.sync("a")
    assert (done.after, done.fast_forwarded, done.remote) == (theirs, True, "origin")
    assert (clone.path / "theirs").read_text() == "theirs\n"
    assert git.run("status", "--porcelain", "--branch", cwd=clone.path).splitlines() == ["## nexus/a"]
    assert git.head(clone.path) == theirs
    assert git.run("rev-parse", "nexus/a").strip() == theirs
    assert git.run("fsck", "--no-dangling", cwd=clone.path) == ""
    assert (await worktrees.report("a")).clean
    # Local changes in the way, and work on both sides: what the clone has comes back, and nothing of it is touched.
    other.write("README.md", "changed there\n")
    other.commit("more")
    other.run("push", "-q", "origin", "HEAD:main")
    (clone.path / "README.md").write_text("changed here\n")
    said = await worktrees.sync("a")
    assert "not fast-forwarded: local changes are in the way: README.md" in said.message
    ours = git.commit("ours", cwd=clone.path)
    said = await worktrees.sync("a")
    assert (said.after, git.run("rev-parse", "nexus/a").strip()) == (ours, ours)
    assert "have both moved" in said.message
    assert (clone.path / "README.md").read_text() == "changed here\n"


async def test_links_in_a_clone_send_a_fast_forward_nowhere(git: Git, worktrees: Worktrees, tmp_path: Path) -> None:
    git.run("clone", "-q", "--bare", str(git.root), str(tmp_path / "remote.git"))
    git.run("remote", "add", "origin", str(tmp_path / "remote.git"))
    clone = await worktrees.create("a", reason=REASON, isolation="clone")
    base = git.head()
    git.write("theirs", "theirs\n")
    git.commit("theirs")
    git.run("push", "-q", "origin", "HEAD:main")
    git.run("reset", "-q", "--hard", base)
    victim = tmp_path / "victim"
    (victim / "nexus").mkdir(parents=True)
    (victim / "nexus/a").write_text(base + "\n")
    heads = clone.path / ".git/refs/heads"
    (heads / "nexus/a").unlink()
    (heads / "nexus").rmdir()
    (heads / "nexus").symlink_to(victim / "nexus")
    (clone.path / ".git/packed-refs").write_text(f"{base} refs/heads/nexus/a\n")
    with pytest.raises(GitError):
        await worktrees.sync("a")
    assert (victim / "nexus/a").read_text() == base + "\n"
    assert not (clone.path / "theirs").exists()
    assert git.run("rev-parse", "nexus/a").strip() == base
