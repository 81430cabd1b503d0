"""Checkpoints and forks as a user of the library has them, on every backend that needs no engine of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import anyio
import pytest

from nexus.errors import (
    AlreadyExists,
    CheckpointNotFound,
    GitError,
    InvalidArgument,
    ProviderError,
    ProviderUnavailable,
    Unsupported,
)
from nexus.models.checkpoints import Checkpoint
from tests.workbench import Bench, git, leftovers, make_bench


@pytest.fixture(params=["mock", "local"])
async def bench(request: pytest.FixtureRequest, repository: Path, tmp_path: Path) -> AsyncIterator[Bench]:
    made = make_bench(request.param, repository, tmp_path, request)
    yield made
    async with made.open() as nx:
        for entry in await nx.list():
            await nx.destroy(entry.name, force=True)


@pytest.fixture
def mock(request: pytest.FixtureRequest, repository: Path, tmp_path: Path) -> Bench:
    return make_bench("mock", repository, tmp_path, request)


def files(tree: Path) -> Mapping[str, str]:
    return {
        str(path.relative_to(tree)): path.read_text()
        for path in sorted(tree.rglob("*"))
        if path.is_file() and ".git" not in path.parts and path.name != ".git"
    }


def refs(repository: Path) -> list[str]:
    return git(repository, "for-each-ref", "--format=%(refname)", "refs/nexus").split()


async def test_there_and_back_and_undone(bench: Bench) -> None:
    async with bench.open() as nx:
        ws = await nx.create("a")
        tree = ws.info.worktree_path
        await ws.fs.write_text("idea.txt", "first\n")
        git(tree, "add", "idea.txt")
        await ws.fs.write_text("README.md", "changed\n")
        before, said = files(tree), git(tree, "status", "--porcelain")
        mark = await ws.checkpoints.create("before refactor")
        assert (mark.name, mark.files, mark.frozen, mark.processes) == ("before refactor", 1, True, False)
        git(tree, "commit", "-qam", "refactored")
        await ws.fs.write_text("src/new.py", "new\n")
        await ws.fs.remove("run.sh")
        after, tip = files(tree), git(tree, "rev-parse", "HEAD")

        done = await ws.checkpoints.restore("before refactor")
        assert (files(tree), git(tree, "status", "--porcelain")) == (before, said)
        assert (done.restored, done.notes, done.info.status) == (mark, (), "running")
        assert (await ws.exec("cat", "idea.txt", check=True)).stdout == "first\n"
        assert [each.reason for each in await ws.checkpoints.list()] == ["before restoring before refactor", None]

        again = await ws.checkpoints.restore(done.undo)
        assert (files(tree), git(tree, "rev-parse", "HEAD")) == (after, tip)
        assert again.info.id == ws.id
        assert await ws.status() == "running"
        await ws.destroy(force=True)
    assert await leftovers(bench) == []


@pytest.mark.parametrize("status", ["stopped", "paused"])
async def test_the_status_is_what_it_was(bench: Bench, status: str) -> None:
    async with bench.open() as nx:
        ws = await nx.create("a")
        await (ws.stop() if status == "stopped" else ws.pause())
        mark = await ws.checkpoints.create()
        assert await ws.status() == status
        (ws.info.worktree_path / "later").write_text("x")
        await ws.checkpoints.restore(mark)
        assert await ws.status() == status
        assert not (ws.info.worktree_path / "later").exists()


async def test_a_running_command_outlives_a_checkpoint(bench: Bench) -> None:
    async with bench.open() as nx:
        ws = await nx.create("a")
        async with ws.spawn("cat", stdin=True) as cat:
            await cat.write(b"before\n")
            await ws.checkpoints.create()
            assert await ws.status() == "running"
            await cat.write(b"after\n")
            await cat.write_eof()
            assert (await cat.wait()).exit_code == 0


async def test_names_and_beginnings_of_ids_and_what_is_wrong_with_them(mock: Bench) -> None:
    async with mock.open() as nx:
        ws = await nx.create("a")
        mark = await ws.checkpoints.create("one")
        assert (await ws.checkpoints.diff("one", mark.id[:6])).files == ()
        with pytest.raises(AlreadyExists, match="has a checkpoint 'one' already"):
            await ws.checkpoints.create("one")
        with pytest.raises(InvalidArgument, match="cannot be the name"):
            await ws.checkpoints.create("../one")
        for unknown in ("two", mark.id[:3], ""):
            with pytest.raises(CheckpointNotFound, match="has no checkpoint"):
                await ws.checkpoints.restore(unknown)
        with pytest.raises(Unsupported, match="cannot"):
            await ws.checkpoints.create(processes=True)
        assert [each.name for each in await ws.checkpoints.list()] == ["one"]


async def test_differences_between_two_and_to_now(bench: Bench) -> None:
    async with bench.open() as nx:
        ws = await nx.create("a")
        one = await ws.checkpoints.create("one")
        await ws.fs.write_text("new", "12345")
        two = await ws.checkpoints.create("two")
        await ws.fs.write_text("README.md", "123")
        await ws.fs.remove("run.sh")
        diff = await ws.checkpoints.diff(one, two)
        assert (diff.of("added"), diff.of("changed"), diff.of("removed")) == (("new",), (), ())
        now = await ws.checkpoints.diff("two")
        assert [(each.path, each.before, each.after) for each in now.files] == [
            ("README.md", 6, 3),
            ("run.sh", 23, None),
        ]
        assert now.after is None


async def test_deleting_leaves_nothing(bench: Bench) -> None:
    async with bench.open() as nx:
        ws = await nx.create("a")
        mark = await ws.checkpoints.create()
        assert refs(bench.repository) == [mark.ref]
        await ws.checkpoints.delete(mark)
        assert (await ws.checkpoints.list(), refs(bench.repository)) == ((), [])
        if bench.world is not None:
            assert bench.world.kept == {}


async def test_a_backend_that_keeps_only_the_tree_says_so(
    request: pytest.FixtureRequest, repository: Path, tmp_path: Path
) -> None:
    async with make_bench("local", repository, tmp_path, request).open() as nx, nx.create("a") as ws:
        mark = await ws.checkpoints.create()
        assert mark.image is None
        assert any("only tree, configuration and ports are in it" in note for note in mark.notes)


async def test_ignored_files_in_the_way_change_nothing(bench: Bench) -> None:
    async with bench.open() as nx:
        ws = await nx.create("a")
        tree = ws.info.worktree_path
        (tree / "out").write_text("kept\n")
        mark = await ws.checkpoints.create()
        (tree / ".gitignore").write_text("out\n")
        (tree / "out").write_text("in no checkpoint\n")
        with pytest.raises(GitError, match="in the way: out"):
            await ws.checkpoints.restore(mark)
        assert (tree / "out").read_text() == "in no checkpoint\n"
        assert await ws.status() == "running"


async def test_configuration_comes_back_and_ports_stay(bench: Bench) -> None:
    bench.extra.update({"env.COLOUR": "red", "ports.web.container": 3000})
    async with bench.open() as nx:
        ws = await nx.create("a")
        port = ws.ports["web"].host_port
        mark = await ws.checkpoints.create()
        assert mark.ports[0].host_port == port
        record = await nx._open.records.load("a")
        await nx._open.store.save(record.model_copy(update={"env_vars": {"COLOUR": "blue"}}))
        await ws.checkpoints.restore(mark)
        assert (await nx._open.records.load("a")).env_vars == {"COLOUR": "red"}
        assert (await ws.shell("echo $COLOUR")).stdout == "red\n"
        assert (await nx.get("a")).ports[0].host_port == port


async def test_a_restore_that_fails_is_taken_back(mock: Bench) -> None:
    assert mock.script is not None
    async with mock.open() as nx:
        ws = await nx.create("a")
        await ws.fs.write_text("idea", "one\n")
        mark = await ws.checkpoints.create()
        await ws.fs.write_text("idea", "two\n")
        mock.script.fail("make_from", error=ProviderError("no room"))
        with pytest.raises(ProviderError, match="no room") as failed:
            await ws.checkpoints.restore(mark)
        assert not hasattr(failed.value, "__notes__")
        assert await ws.fs.read_text("idea") == "two\n"
        assert await ws.status() == "running"
        assert await nx._open.journal.unfinished() == ()


async def test_what_cannot_be_kept_leaves_nothing_and_the_workspace_goes_on(mock: Bench) -> None:
    assert mock.script is not None
    assert mock.world is not None
    async with mock.open() as nx:
        ws = await nx.create("a")
        mock.script.fail("keep_place", error=ProviderError("no room"), when="after")
        with pytest.raises(ProviderError, match="no room"):
            await ws.checkpoints.create()
        assert (await ws.checkpoints.list(), refs(mock.repository), mock.world.kept) == ((), [], {})
        assert await ws.status() == "running"


async def test_a_backend_that_does_not_answer_makes_no_half_a_checkpoint(mock: Bench) -> None:
    assert mock.script is not None
    async with mock.open() as nx:
        ws = await nx.create("a")
        mark = await ws.checkpoints.create()
        mock.script.down = "the cable is out"
        with pytest.raises(ProviderUnavailable, match="the cable is out"):
            await ws.checkpoints.create()
        with pytest.raises(ProviderUnavailable, match="the cable is out"):
            await ws.checkpoints.restore(mark)
        mock.script.down = None
        assert await ws.checkpoints.list() == (mark,)
    mock.extra["backends.mock.without"] = ["checkpoints"]
    async with mock.open() as nx:
        ws = await nx.attach("a")
        with pytest.raises(Unsupported, match="cannot put back any more"):
            await ws.checkpoints.restore(mark)
        assert (await ws.checkpoints.create()).image is None
        assert await ws.status() == "running"


async def test_cancelled_while_it_stands_still(mock: Bench) -> None:
    assert mock.script is not None
    assert mock.world is not None
    async with mock.open() as nx:
        ws = await nx.create("a")
        reached = anyio.Event()

        async def wait(_: object) -> None:
            reached.set()
            await anyio.sleep_forever()

        mock.script.before("keep_place", wait)
        async with anyio.create_task_group() as group:
            group.start_soon(ws.checkpoints.create)
            await reached.wait()
            assert await ws.status() == "paused"
            group.cancel_scope.cancel()
        assert await ws.status() == "running"
        assert (await ws.checkpoints.list(), refs(mock.repository), mock.world.kept) == ((), [], {})


async def test_work_that_is_in_a_checkpoint_alone_outlives_its_workspace(bench: Bench) -> None:
    async with bench.open() as nx:
        ws = await nx.create("a")
        await ws.fs.write_text("idea", "precious\n")
        await ws.checkpoints.create("with the idea")
        await ws.fs.remove("idea")
        await ws.checkpoints.create("without")
        await ws.destroy()
        assert await nx._open.checkpoints.load_all() == ()
        (rescue,) = await nx.rescues("a")
        assert git(bench.repository, "show", f"{rescue.ref}:idea") == "precious\n"
        assert [ref for ref in refs(bench.repository) if "/checkpoints/" in ref] == []
        if bench.world is not None:
            assert bench.world.kept == {}
        plain = await nx.restore("a")
        assert not (plain.info.worktree_path / "idea").exists()
        await plain.destroy()
        back = await nx.restore("a", rescue.ref)
        assert await back.fs.read_text("idea") == "precious\n"
        await back.destroy(force=True)


async def test_one_of_the_same_name_has_none_of_them(mock: Bench) -> None:
    async with mock.open() as nx:
        first = await nx.create("a")
        mark = await first.checkpoints.create("one")
        entry = (await nx._open.checkpoints.load("a"))[0]
        await first.destroy()
        await nx._open.checkpoints.save(entry)  # what a crash or a hand could leave
        second = await nx.create("a")
        assert await second.checkpoints.list() == ()
        with pytest.raises(CheckpointNotFound):
            await second.checkpoints.restore(mark)
        assert [action.name for action in await nx.gc() if action.kind == "checkpoint"] == ["one"]
        assert await nx._open.checkpoints.load_all() == ()


async def test_what_nobody_has_noted_is_found_and_removed_and_its_work_kept(mock: Bench) -> None:
    assert mock.world is not None
    async with mock.open() as nx:
        ws = await nx.create("a")
        await ws.fs.write_text("idea", "precious\n")
        await ws.checkpoints.create()
        await nx._open.checkpoints.delete((await nx._open.checkpoints.load("a"))[0])
        assert len(await nx.gc(dry_run=True)) == 2
        assert {action.action for action in await nx.gc()} == {"removed"}
        assert await nx.gc() == ()
        assert mock.world.kept == {}
        (rescue,) = await nx.rescues("a")
        assert git(mock.repository, "show", f"{rescue.ref}:idea") == "precious\n"


async def test_prune_shows_sizes_and_removes_what_was_taken_unasked(mock: Bench) -> None:
    async with mock.open() as nx:
        ws = await nx.create("a")
        await ws.fs.write_text("idea", "12345")
        mark = await ws.checkpoints.create("mine")
        await ws.checkpoints.restore(mark)
        seen = {action.name: action for action in await nx.prune(dry_run=True, older_than=0)}
        assert seen["a/mine"].action == "kept"
        assert (seen["a/mine"].size or 0) >= 5
        await nx.prune(older_than=0)
        assert [each.name for each in await ws.checkpoints.list()] == ["mine"]


async def test_forks_have_everything_and_the_parent_is_untouched(bench: Bench) -> None:
    bench.extra["ports.web.container"] = 3000
    async with bench.open() as nx:
        ws = await nx.create("a", labels={"team": "x"})
        tree = ws.info.worktree_path
        await ws.fs.write_text("idea", "x\n")
        git(tree, "add", "idea")
        await ws.fs.write_text("README.md", "changed\n")
        before, said, info = files(tree), git(tree, "status", "--porcelain"), await ws.refresh()
        forks = await ws.fork(["try-1", "try-2", "try-3"])
        assert [(fork.name, fork.error) for fork in forks] == [("try-1", None), ("try-2", None), ("try-3", None)]
        for fork in forks:
            assert fork.workspace is not None
            assert (await fork.workspace.exec("cat", "README.md")).stdout == "changed\n"
            assert files(fork.workspace.info.worktree_path) == before
            assert git(fork.workspace.info.worktree_path, "status", "--porcelain") == said
            assert fork.workspace.info.branch == f"nexus/{fork.name}"
            assert fork.workspace.info.labels == {"team": "x"}
        ports = {fork.workspace.ports["web"].host_port for fork in forks if fork.workspace is not None}
        assert len(ports | {ws.ports["web"].host_port}) == 4
        now = await ws.refresh()
        assert (files(tree), now.status, now.ports) == (before, info.status, info.ports)
        assert (await ws.checkpoints.list(), [ref for ref in refs(bench.repository) if "checkpoints" in ref]) == (
            (),
            [],
        )
        for fork in forks:
            await nx.destroy(fork.name, force=True)
        await ws.destroy(force=True)
    assert await leftovers(bench) == []


async def test_a_fork_of_a_checkpoint_is_what_it_was_then(bench: Bench) -> None:
    async with bench.open() as nx:
        ws = await nx.create("a")
        await ws.fs.write_text("idea", "then\n")
        mark = await ws.checkpoints.create("then")
        await ws.fs.write_text("idea", "now\n")
        (one,) = await ws.fork(["b"], at=mark)
        (two,) = await ws.fork(["c"], at="then", start=False)
        assert one.workspace is not None
        assert two.workspace is not None
        assert await one.workspace.fs.read_text("idea") == "then\n"
        assert (one.workspace.info.status, two.workspace.info.status) == ("running", "stopped")
        assert [each.name for each in await ws.checkpoints.list()] == ["then"]
        await ws.checkpoints.delete("then")
        await two.workspace.start()
        with pytest.raises(CheckpointNotFound):
            await ws.fork(["d"], at="then")


async def test_partial_success_is_a_value(mock: Bench) -> None:
    assert mock.script is not None
    async with mock.open() as nx:
        ws = await nx.create("a")
        await ws.fs.write_text("idea", "x\n")
        mock.script.fail("make_from", error=ProviderError("no room"))
        outcomes = await ws.fork(["b", "a", "Not A Name", "c"])
        codes = {each.name: each.error.code if each.error else None for each in outcomes}
        assert [each.name for each in outcomes] == ["b", "a", "Not A Name", "c"]
        assert codes["a"] == "ALREADY_EXISTS"
        assert codes["Not A Name"] == "INVALID_NAME"
        assert sorted(str(codes[name]) for name in ("b", "c")) == ["None", "PROVIDER_ERROR"]
        assert {entry.name for entry in await nx.list()} == {"a", next(name for name in "bc" if codes[name] is None)}
        # What was undone was a copy: nothing of it has to be kept.
        assert await nx.rescues() == ()
        with pytest.raises(InvalidArgument, match="two forks cannot have one name: x"):
            await ws.fork(["x", "x"])
        assert await ws.checkpoints.list() == ()


async def test_private_clones_come_back_at_a_checkpoint_and_forks_stay_private(bench: Bench) -> None:
    async with bench.open() as nx:
        ws = await nx.create("a", isolation="clone")
        tree = ws.info.worktree_path
        await ws.fs.write_text("idea", "committed\n")
        git(tree, "add", "idea")
        git(tree, "commit", "-qm", "work")
        tip = git(tree, "rev-parse", "HEAD")
        await ws.fs.write_text("draft", "x\n")
        mark = await ws.checkpoints.create()
        assert git(bench.repository, "rev-parse", "nexus/a") == tip
        git(tree, "rm", "-q", "idea")
        git(tree, "commit", "-qm", "gone")
        await ws.checkpoints.restore(mark)
        assert (git(tree, "rev-parse", "HEAD"), git(tree, "status", "--porcelain")) == (tip, "?? draft\n")
        assert git(bench.repository, "rev-parse", "nexus/a") == tip
        (fork,) = await ws.fork(["b"])
        assert fork.workspace is not None
        assert fork.workspace.info.isolation == "clone"
        other = fork.workspace.info.worktree_path
        assert (git(other, "rev-parse", "HEAD"), git(other, "status", "--porcelain")) == (tip, "?? draft\n")
        assert (await nx.sync("b")).after == tip.strip()


async def test_checkpoints_are_values_that_travel(mock: Bench) -> None:
    async with mock.open() as nx:
        mark = await (await nx.create("a")).checkpoints.create("one")
    assert Checkpoint.model_validate_json(mark.model_dump_json()) == mark
