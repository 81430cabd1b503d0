"""Scripts and hooks in real places: their order, what they see, what follows when they fail, and what they leave running."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import anyio
import pytest

import nexus
from nexus.errors import HookFailed, InvalidArgument, StateConflict
from nexus.models.events import HookFinished, HookOutput, HookStarted, WorkspaceEvent
from nexus.models.hooks import HookName
from nexus.models.workspace import WorkspaceStatus
from tests.workbench import Bench, leftovers, make_bench

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
S = WorkspaceStatus


@pytest.fixture(params=["local", pytest.param("docker", marks=pytest.mark.docker)])
async def place(request: pytest.FixtureRequest, repository: Path, tmp_path: Path) -> AsyncGenerator[Bench, None]:
    """Each backend that runs real programs; afterwards nothing may be left, logs included."""
    made = make_bench(request.param, repository, tmp_path, request)
    yield made
    made.extra.clear()
    async with made.open() as nx:
        for entry in await nx.list():
            await nx.destroy(entry.name, force=True)
    assert await leftovers(made) == []
    logs = repository / ".nexus" / "state" / "logs"
    assert not logs.exists() or list(logs.iterdir()) == []


@pytest.fixture
async def here(repository: Path, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncGenerator[Bench, None]:
    """This host alone, for what is the same everywhere."""
    made = make_bench("local", repository, tmp_path, request)
    yield made
    made.extra.clear()
    async with made.open() as nx:
        for entry in await nx.list():
            await nx.destroy(entry.name, force=True)
    assert await leftovers(made) == []


async def until(said: Callable[[], Awaitable[bool]]) -> None:
    with anyio.fail_after(60):
        while not await said():  # noqa: ASYNC110 - a file of another process is all there is to look at
            await anyio.sleep(0.05)


def logs(bench: Bench, name: str = "a") -> dict[str, str]:
    """The newest log of each hook."""
    folder = bench.repository / ".nexus" / "state" / "logs" / name
    assert folder.stat().st_mode & 0o077 == 0
    found = {}
    for path in sorted(folder.iterdir(), key=lambda each: each.stat().st_mtime_ns):
        assert path.stat().st_mode & 0o777 == 0o600
        found[path.name.partition("-20")[0]] = path.read_text()
    return found


async def test_the_order_of_a_life_and_what_scripts_see(place: Bench) -> None:
    note = 'echo "$NEXUS_HOOK" >> "$(pwd)/trace"\n'
    place.extra = {
        "env.PLAIN": "value",
        "scripts.pre-start": f"#!/bin/sh\n{note}pwd; echo $NEXUS_WORKSPACE $PLAIN; cat; echo problem >&2\n",
        "scripts.post-create": f"{note}# {'room ' * 200_000}\n",  # a megabyte
        "scripts.post-start": note,
        "scripts.pre-stop": note,
        "hooks.on_wake": note,
        "hooks.on_sleep": note,
    }
    seen: list[WorkspaceEvent] = []
    async with place.open() as nx:
        nx.observe(seen.append)
        ws = await nx.create("a")
        trace = ws.info.worktree_path / "trace"

        def lines() -> list[str]:
            told = trace.read_text().split()
            trace.write_text("")
            return told

        assert lines() == ["pre-start", "post-create", "on_wake", "post-start"]
        await ws.pause()
        assert lines() == ["on_sleep"]
        await ws.resume()
        assert lines() == ["on_wake"]
        await ws.stop()
        assert lines() == ["on_sleep", "pre-stop"]
        await ws.start()
        assert lines() == ["pre-start", "on_wake", "post-start"]
        await ws.pause()
        lines()
        await ws.stop()
        assert lines() == ["pre-stop"]
        assert (ws.info.degraded, ws.info.hooks_due) == (None, ())
        printed = logs(place)["pre-start"]
        assert sorted(printed.splitlines()) == sorted([str(ws.info.worktree_path), "a value", "problem"])
        started = [event for event in seen if isinstance(event, HookStarted)]
        ended = [event.result for event in seen if isinstance(event, HookFinished)]
        assert [event.hook for event in started] == [result.hook for result in ended]
        assert started[0].hook is HookName.PRE_START
        assert all(result.ok and result.log is not None for result in ended)
        said = "".join(event.text for event in seen if isinstance(event, HookOutput) and event.stream == "stdout")
        assert "a value\n" in said
        trace.unlink()


async def test_a_failed_pre_start_fails_the_start_and_says_where_the_log_is(here: Bench) -> None:
    broken = "echo working; echo 'disk on fire' >&2; exit 3\n"
    async with here.open(**{"scripts.pre-start": broken, "scripts.post-create": "echo done > created"}) as nx:
        with pytest.raises(HookFailed) as failed:
            await nx.create("a")
        error = failed.value
        assert (error.details["hook"], error.details["exit_code"]) == ("pre-start", 3)
        assert "disk on fire" in error.tail
        log = Path(str(error.details["log"]))
        assert str(log) in error.message
        assert "disk on fire\n" in log.read_text()
        info = await nx.get("a")
        assert (info.status, info.status_message) == (S.ERROR, error.message)
        assert not (info.worktree_path / "created").exists()
        with pytest.raises(HookFailed):
            await nx.start("a")
    async with here.open(**{"scripts.pre-start": "echo better", "scripts.post-create": "echo done > created"}) as nx:
        info = await nx.start("a")
        assert (info.status, info.degraded) == (S.RUNNING, None)
        assert (info.worktree_path / "created").read_text() == "done\n"
        await nx.stop("a")
        (info.worktree_path / "created").unlink()
        await nx.start("a")
        assert not (info.worktree_path / "created").exists()


async def test_what_fails_later_leaves_it_running_and_degraded_until_it_succeeds(here: Bench) -> None:
    here.extra = {
        "scripts.post-create": "echo c >> trace; test -e allowed",
        "scripts.post-start": "echo s >> trace",
        "hooks.on_wake": "echo w >> trace",
    }
    async with here.open() as nx:
        ws = await nx.create("a")
        tree = ws.info.worktree_path
        assert ws.info.status is S.RUNNING
        assert ws.info.hooks_due == ("post-create", "on_wake", "post-start")
        assert ws.info.degraded is not None
        assert ws.info.degraded.startswith("post-create failed with status 1; its log is ")
        assert ws.info.degraded.endswith("; on_wake, post-start were not run")
        assert (await nx.get("a")).degraded == ws.info.degraded
        assert (await ws.retry_hooks()).degraded is not None
        await ws.stop()
        with pytest.raises(StateConflict):
            await ws.retry_hooks()
        await ws.start()
        assert (tree / "trace").read_text() == "c\nc\nc\n"
        (tree / "allowed").touch()
        info = await ws.retry_hooks()
        assert (info.degraded, info.hooks_due) == (None, ())
        assert (tree / "trace").read_text() == "c\nc\nc\nc\nw\ns\n"
        assert (await ws.retry_hooks()).degraded is None
        assert (tree / "trace").read_text() == "c\nc\nc\nc\nw\ns\n"
    async with here.open(**{"hooks.on_wake": "exit 4", "scripts.post-create": "x"}) as nx:
        await nx.pause("a")
        info = await nx.resume("a")
        assert info.hooks_due == ("on_wake",)
        assert "status 4" in (info.degraded or "")
    async with here.open() as nx:
        assert (await nx.retry_hooks("a")).degraded is None


async def test_nothing_on_the_way_down_prevents_it(here: Bench) -> None:
    here.extra = {
        "hooks.on_sleep.run": "sleep 100",
        "hooks.on_sleep.timeout": "200ms",
        "scripts.pre-stop": "#!/no/such/shell\n",
    }
    async with here.open() as nx:
        ws = await nx.create("a")
        info = await ws.stop()
        assert info.status is S.STOPPED
        assert "on_sleep was ended at its time limit" in (info.degraded or "")
        assert "pre-stop failed with status 127" in (info.degraded or "")
        here.extra.clear()
    async with here.open() as nx:
        assert (await nx.start("a")).degraded is None


async def test_a_time_limit_ends_the_children_too(place: Bench) -> None:
    script = "#!/bin/sh\nsleep 100 &\necho $! > pids\nsh -c 'echo $$ >> pids; exec sleep 100' &\nwait\n"
    async with place.open(**{"scripts.pre-start.run": script, "scripts.pre-start.timeout": "500ms"}) as nx:
        await nx.create("a", start=False)
        with pytest.raises(HookFailed) as failed:
            await nx.start("a")
        assert failed.value.details["timed_out"] is True
        assert "time limit" in failed.value.message
    async with place.open(**{"scripts.post-start.run": script, "scripts.post-start.timeout": "500ms"}) as nx:
        ws = await nx.attach("a")
        assert (await ws.start()).hooks_due == ("post-start",)
        pids = (await ws.fs.read_text("pids")).split()
        assert len(pids) == 2
        await until(lambda: gone(ws, *pids))
        (ws.info.worktree_path / "pids").unlink()


async def gone(ws: nexus.Workspace, *pids: str) -> bool:
    return (await ws.shell(f"for p in {' '.join(pids)}; do kill -0 $p 2>/dev/null && echo $p; done")).stdout == ""


async def test_what_post_start_leaves_running_belongs_to_the_workspace(place: Bench) -> None:
    beat = (
        "#!/bin/sh\n(i=0; while :; do i=$((i+1)); echo $i > beat.new; mv beat.new beat; printf 'tick %032000d\\n' $i; sleep 0.05; done) &\n"
        "echo $! > pid\n"
    )
    async with place.open(**{"scripts.post-start": beat}) as nx:
        ws = await nx.create("a")
        tree = ws.info.worktree_path

        async def beyond(number: int) -> bool:
            return (tree / "beat").exists() and int((tree / "beat").read_text() or 0) > number

        # With more output than all the pipes hold that nobody reads from the script's end on.
        await until(lambda: beyond(40))
        assert (await ws.shell('kill -0 "$(cat pid)"')).ok
        await ws.pause()
        stood = (tree / "beat").read_text()
        await ws.resume()
        await until(lambda: beyond(int(stood)))
        await ws.stop()
        stood = (tree / "beat").read_text()
        await nx.start("a")
        await until(lambda: beyond(0))
        if place.backend == "local":
            assert b"tick" in b"".join([chunk async for chunk in ws.logs()])
        await ws.stop()
        for name in ("beat", "beat.new", "pid"):
            (tree / name).unlink(missing_ok=True)


async def test_a_chatty_script_is_kept_within_bounds(here: Bench) -> None:
    text = "#!/usr/bin/env python3\nprint('first')\nfor n in range(120_000): print(f'{n:060}')\nprint('last words')\n"
    lines: list[str] = []
    async with here.open(**{"scripts.pre-start": text}) as nx:
        await nx.create("a", progress=lambda step, message, *_: lines.append(message) if step == "pre-start" else None)
        (path,) = (here.repository / ".nexus" / "state" / "logs" / "a").iterdir()
        kept = path.read_text()
        assert 4_000_000 < len(kept) < 4_400_000
        assert kept.startswith("first\n")
        assert kept.endswith("last words\n")
        assert "bytes are left out here" in kept
        assert lines[-1] == "last words"


async def test_only_the_newest_logs_are_kept(here: Bench) -> None:
    async with here.open(**{"hooks.on_wake": "date"}) as nx:
        ws = await nx.create("a")
        for _ in range(11):
            await ws.pause()
            await ws.resume()
        assert len(list((here.repository / ".nexus" / "state" / "logs" / "a").iterdir())) == 10


async def test_secrets_reach_scripts_and_not_what_is_kept(here: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_TOKEN", "canary-51a9")
    script = 'test "$TOKEN" = canary-51a9; printf canary; sleep 0.2; echo -51a9 and "$TOKEN"; exit 6'
    seen: list[WorkspaceEvent] = []
    async with here.open(**{"env.TOKEN": "env:THE_TOKEN", "scripts.pre-start": script}) as nx:
        nx.observe(seen.append)
        with pytest.raises(HookFailed) as failed:
            await nx.create("a")
        assert failed.value.details["exit_code"] == 6
        assert "*** and ***" in "\n".join(failed.value.tail)
        for text in (str(failed.value.to_json()), str(seen), *logs(here).values()):
            assert "canary-51a9" not in text
    for path in (here.repository / ".nexus" / "state").rglob("*.*"):
        assert path.is_dir() or b"canary-51a9" not in path.read_bytes()


async def test_scripts_given_for_one_workspace_alone_stay_with_it(here: Bench) -> None:
    async with here.open() as nx:
        one = await nx.create("a", settings={"scripts.post-start": "echo mine >> trace"})
        await nx.create("b")
        assert (one.info.worktree_path / "trace").read_text() == "mine\n"
        with pytest.raises(InvalidArgument, match="alone are longer than 256 KiB"):
            await nx.create("c", settings={"scripts.post-start": "#" * 300_000})
    async with here.open() as nx:
        await nx.stop("a")
        await nx.start("a")
        assert (one.info.worktree_path / "trace").read_text() == "mine\nmine\n"
        assert not ((await nx.get("b")).worktree_path / "trace").exists()


async def test_a_cancelled_start_ends_its_script(here: Bench) -> None:
    script = "sh -c 'echo $$ > begun.new; mv begun.new begun; exec sleep 100'; echo never > ended"
    async with here.open(**{"scripts.pre-start": script}) as nx:
        ws = await nx.create("a", start=False)
        tree = ws.info.worktree_path
        async with anyio.create_task_group() as group:
            group.start_soon(nx.start, "a")
            await until(lambda: anyio.Path(tree / "begun").exists())
            group.cancel_scope.cancel()
    async with here.open() as nx:
        ws = await nx.attach("a")
        await ws.start()
        assert await gone(ws, (tree / "begun").read_text().strip())
        assert not (tree / "ended").exists()


def test_nothing_configured_means_nothing_to_ask() -> None:
    assert nexus.ConfigStack.load(flags={}, env={}).settings.hooks == ()
