from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import anyio
import pytest

from nexus.errors import InvalidArgument
from nexus.models.execution import ExecResult, SpawnRequest
from nexus.models.instances import InstanceSpec
from nexus.providers.local import LocalProvider
from nexus.providers.local.instance import LocalInstance
from nexus.providers.local.keeper.log import NAME, OLDER, SIZE, Log
from nexus.providers.local.logs import read_log

Run: TypeAlias = Callable[..., Awaitable[ExecResult]]
Eventually: TypeAlias = Callable[[Callable[[], bool]], Awaitable[None]]


async def log_of(instance: LocalInstance, tail: int | None = None) -> str:
    return b"".join([chunk async for chunk in instance.logs(tail=tail)]).decode()


async def test_the_log_tells_the_life_of_the_workspace(running: LocalInstance) -> None:
    await running.pause()
    await running.resume()
    await running.stop()
    await running.start()
    lines = (await log_of(running)).splitlines()
    words = [line.split("nexus: ")[1].split(" ")[0] for line in lines]
    assert words == ["started", "paused", "resumed", "stopping", "stopped", "started"]
    assert (await log_of(running, tail=2)).splitlines() == lines[-2:]
    assert await log_of(running, tail=0) == ""
    with pytest.raises(InvalidArgument):
        await log_of(running, tail=-1)


async def test_what_background_processes_print_afterwards_is_logged(
    running: LocalInstance, run: Run, spec: InstanceSpec, eventually: Eventually, options: dict[str, str]
) -> None:
    script = "(while [ ! -e go ]; do sleep 0.01; done; echo late words; echo late error >&2; touch alive) & echo early"
    done = await run("sh", "-c", script)
    assert done.stdout == "early\n"
    (spec.worktree / "go").touch()
    await eventually((spec.worktree / "alive").exists)
    log = Path(options["state_dir"]) / spec.id / NAME
    await eventually(lambda: b"late error\n" in log.read_bytes())
    text = await log_of(running)
    assert "late words\n" in text
    assert "early" not in text


async def test_following_goes_on_until_the_end(running: LocalInstance) -> None:
    seen = bytearray()
    started = anyio.Event()

    async def follow() -> None:
        async for chunk in running.logs(follow=True):
            seen.extend(chunk)
            started.set()

    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(follow)
            await started.wait()
            await running.pause()
            await running.stop()
    assert seen.decode().splitlines()[-1].endswith("nexus: stopped")
    assert b"paused" in seen


async def test_following_what_does_not_run_ends_at_once(created: LocalInstance) -> None:
    with anyio.fail_after(30):
        assert [chunk async for chunk in created.logs(follow=True)] == []


async def test_the_log_holds_no_masked_value(
    run: Run, running: LocalInstance, spec: InstanceSpec, options: dict[str, str], eventually: Eventually
) -> None:
    """A background process prints it in two pieces, after its command has ended."""
    script = (
        "(read -r _; printf 'key: %s' canary; sleep 0.1; printf -- '-value-%s! %s\\n' 1 ab; echo over) <go & exit 0"
    )
    await run("mkfifo", "go")
    env = {"KEY": "canary-value-1", "SHORT": "ab", "PLAIN": "plain"}
    await run("sh", "-c", script, env=env, masked=("KEY", "SHORT"))
    (Path(spec.worktree) / "go").write_text("\n")
    log = Path(options["state_dir"]) / spec.id / NAME
    await eventually(lambda: b"over\n" in log.read_bytes())
    assert b"key: ***! ab\n" in log.read_bytes()


def test_the_log_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.dup2", lambda *_args, **_kwargs: 0)  # the keeper's own standard streams, here pytest's
    log = Log(str(tmp_path))
    for number in range(3 * SIZE // 65536):
        log.write(bytes([number % 256]) * 65536)
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(sizes) == {NAME, OLDER}
    assert max(sizes.values()) <= SIZE + 65536


async def test_a_reader_follows_the_log_over_to_the_next_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.dup2", lambda *_args, **_kwargs: 0)
    log = Log(str(tmp_path))
    lines = [b"%07d\n" % number for number in range(SIZE * 5 // 2 // 8)]
    # One file that was put aside already, one current, and one more turn under the reader's eyes.
    position = len(lines) * 6 // 10
    for line in lines[:position]:
        log.write(line)
    seen = bytearray()
    over = False

    async def ended() -> bool:
        return over

    async for chunk in read_log(tmp_path, follow=True, tail=None, ended=ended):
        seen += chunk
        for line in lines[position : position + 30_000]:
            log.write(line)
        position += 30_000
        over = position >= len(lines)
    assert bytes(seen) == b"".join(lines)


@pytest.mark.parametrize("text", [b"", b"one", b"one\ntwo\n", b"a\n\n\nb"])
async def test_tails_of_odd_logs(tmp_path: Path, text: bytes) -> None:
    (tmp_path / NAME).write_bytes(text)

    async def ended() -> bool:
        return True

    async def tail(count: int | None) -> bytes:
        return b"".join([part async for part in read_log(tmp_path, follow=False, tail=count, ended=ended)])

    assert await tail(None) == text
    assert await tail(1) == b"".join(text.splitlines(keepends=True)[-1:])
    assert await tail(100) == text


async def test_what_the_processes_use(running: LocalInstance, provider: LocalProvider) -> None:
    idle = await running.stats()
    assert (idle.processes, idle.memory_bytes, idle.cpu_percent) == (0, 0, None)
    code = """
import time
data = bytearray(64 << 20)
while time.process_time() < 0.5: pass
print('done', flush=True)
time.sleep(1000)
"""
    handle = await running.spawn(SpawnRequest(argv=(sys.executable, "-c", code), grace=0.1))
    seen = b""
    while b"done" not in seen:
        seen += getattr(await handle.receive(), "data", b"")
    busy = await (await provider.attach(running.ref)).stats()
    assert busy.processes == 1
    assert busy.memory_bytes > 64 << 20
    assert busy.cpu_seconds >= idle.cpu_seconds + 0.4, "the system counts in ticks of 10 ms"
    assert busy.cpu_percent is not None
    assert busy.cpu_percent > 0
    await handle.aclose()
    after = await running.stats()
    assert after.processes == 0
    assert after.cpu_seconds >= busy.cpu_seconds, "what has ended still counts"


async def test_grandchildren_count(running: LocalInstance) -> None:
    handle = await running.spawn(
        SpawnRequest(argv=("sh", "-c", "sleep 1000 & setsid sleep 1000 & echo up; wait"), grace=0.1)
    )
    while not hasattr(await handle.receive(), "data"):
        pass
    assert (await running.stats()).processes == 3
    await handle.aclose()
