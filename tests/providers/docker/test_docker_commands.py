"""Commands in containers: what the public conformance suite does not ask of every provider."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import anyio
import pytest

from nexus.errors import ExecStartError, ProviderError, StdinClosed
from nexus.models.execution import ExecEvent, Exited, Output, Pty
from nexus.models.instances import LABEL_WORKSPACE
from nexus.providers.docker import prepared
from nexus.providers.docker.instance import DockerInstance
from nexus.providers.docker.provider import DockerProvider
from nexus.testing.images import rootfs_without_shell
from tests.engine.driving import command, drain, read_until, run, sh
from tests.engine.raw import RawEngine
from tests.providers.docker.conftest import MakeSpec

pytestmark = pytest.mark.docker


@pytest.fixture(autouse=True)
def from_the_first_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prepared shells are used from the first command on. The conformance suite runs without them too."""
    monkeypatch.setattr(prepared, "ASKED_BEFORE", 0)


async def _processes(instance: DockerInstance, raw: RawEngine) -> list[str]:
    """The command lines of everything in the container, as its host sees them."""
    top = await asyncio.to_thread(raw.get, f"/containers/{instance.ref.handle}/top?ps_args=-eo%20pid,args")
    return [line[-1] for line in top["Processes"]]


def _command_lines() -> str:
    """The command line of every process of this machine."""
    lines = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(entry.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
        except OSError:
            continue
    return "\n".join(lines)


def _memory() -> int:
    """The memory this process has, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def _until_gone(instance: DockerInstance, raw: RawEngine, prefix: str) -> None:
    """Wait until no command line in the container begins with ``prefix``."""
    async with asyncio.timeout(60):
        while any(line.startswith(prefix) for line in await _processes(instance, raw)):  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(0.02)


async def test_bytes_of_every_kind_pass_in_words_and_environment(running: DockerInstance) -> None:
    every = bytes(range(1, 256))
    text = os.fsdecode(every)

    words = await run(running, "printf", "%s", text)
    value = await sh(running, 'printf %s "$EVERY"; printf %s "$PLAIN"', env={"EVERY": text, "PLAIN": "a b\n$'\"\\\n"})

    assert words.out == every
    assert value.out == every + b"a b\n$'\"\\\n"


async def test_a_name_that_no_shell_passes_on_still_arrives(running: DockerInstance) -> None:
    done = await run(running, "env", env={"spring.profiles": "dev", "UID": "77", "IFS": "x", "_nx_n": "mine"})

    assert {b"spring.profiles=dev", b"UID=77", b"IFS=x", b"_nx_n=mine"} <= set(done.out.splitlines())


async def test_our_shell_leaves_nothing_in_the_environment(running: DockerInstance) -> None:
    done = await run(running, "env")

    names = {line.partition(b"=")[0] for line in done.out.splitlines()}
    assert names <= {b"PATH", b"HOME", b"HOSTNAME", b"PWD", b"OLDPWD", b"SHLVL", b"_"}, names


async def test_open_files_are_the_three_usual_ones(running: DockerInstance) -> None:
    done = await sh(running, "for fd in /proc/$$/fd/*; do readlink $fd >/dev/null && echo ${fd##*/}; done")

    assert set(done.out.split()) <= {b"0", b"1", b"2", b"10"}  # a shell may keep its own script at ten


async def test_no_secret_is_on_any_command_line(running: DockerInstance, raw: RawEngine) -> None:
    secret = "s3cr3t-canary-\udcff-9e1b"
    process = await running.spawn(command("sh", "-c", "echo up; sleep 60", env={"TOKEN": secret}))
    await read_until(process, b"up\n")

    seen = "\n".join(await _processes(running, raw))
    here = await asyncio.to_thread(_command_lines)
    await process.aclose()

    assert "sleep 60" in seen
    assert "canary" not in seen
    assert "s3cr3t-canary" not in here
    assert "s3cr3t-canary" not in str(raw.container(str(running.ref.handle)))


async def test_output_waits_for_its_reader_and_nothing_is_lost(running: DockerInstance) -> None:
    size = 24 * 1024 * 1024
    process = await running.spawn(
        command("sh", "-c", f"dd if=/dev/zero bs=65536 count={size // 65536} 2>/dev/null; echo done >&2")
    )
    total, held = 0, 0
    before = _memory()
    async with asyncio.timeout(50):
        while True:
            try:
                event = await process.receive()
            except anyio.EndOfStream:
                break
            if isinstance(event, Output) and event.stream == "stdout":
                total += len(event.data)
                held = max(held, _memory() - before)

    assert total == size
    assert held < 8 * 1024 * 1024


async def test_a_reader_that_comes_after_the_end_loses_nothing(running: DockerInstance, raw: RawEngine) -> None:
    process = await running.spawn(command("sh", "-c", "head -c 300000 /dev/zero; sleep 30 &"))
    first = await process.receive()
    await _until_gone(running, raw, "head ")

    ran = await drain(process)

    assert first is not None
    assert len(ran.out) == 300000
    assert ran.code == 0


async def test_a_background_child_that_prints_for_ever_does_not_hold_up_the_end(running: DockerInstance) -> None:
    process = await running.spawn(command("sh", "-c", "yes & sleep 0.05; exit 7"))

    async with asyncio.timeout(60):
        ran = await drain(process)

    assert ran.code == 7
    assert len(ran.out) < 64 * 1024 * 1024
    await running.stop(grace=0)


async def test_a_background_child_that_prints_now_and_then_does_not_either(running: DockerInstance) -> None:
    process = await running.spawn(command("sh", "-c", "(while :; do echo tick; sleep 0.02; done) & exit 4"))

    async with asyncio.timeout(60):
        assert (await drain(process)).code == 4


async def test_a_time_limit_reaches_job_control_groups(running: DockerInstance, raw: RawEngine) -> None:
    script = "set -m; sleep 300 & (trap '' TERM; sleep 301) & wait"
    ran = await sh(running, script, timeout=2, grace=0.3)

    assert ran.end.timed_out
    # The end is told when the leader has ended; the last of its groups are killed in the same moment.
    await _until_gone(running, raw, "sleep 30")


async def test_a_cancelled_receive_loses_nothing(running: DockerInstance) -> None:
    process = await running.spawn(command("sh", "-c", "for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.05; done"))
    events: list[ExecEvent] = []
    while not events or not isinstance(events[-1], Exited):
        with anyio.move_on_after(0.013):
            events.append(await process.receive())

    assert b"".join(event.data for event in events if isinstance(event, Output)) == b"1\n2\n3\n4\n5\n6\n7\n8\n"


async def test_a_cancelled_spawn_leaves_no_process(running: DockerInstance, raw: RawEngine) -> None:
    for turns in range(1, 40, 4):
        task = asyncio.create_task(running.spawn(command("sleep", "777")))
        for _ in range(turns):
            await asyncio.sleep(0.002)
        task.cancel()
        try:
            process = await task
        except asyncio.CancelledError:
            pass
        else:
            await process.aclose()

    assert not [line for line in await _processes(running, raw) if line.startswith("sleep 777")]


async def test_letting_go_twice_and_from_a_cancelled_task_ends_the_group(
    running: DockerInstance, raw: RawEngine
) -> None:
    process = await running.spawn(command("sh", "-c", "sleep 888 & sleep 888"))
    with anyio.move_on_after(0.01) as scope:
        await process.aclose()
    await process.aclose()

    assert scope.cancel_called
    assert isinstance((await drain(process)).events[-1], Exited)
    assert not [line for line in await _processes(running, raw) if "sleep 888" in line]


async def test_a_cancelled_letting_go_still_ends_the_group(running: DockerInstance, raw: RawEngine) -> None:
    process = await running.spawn(command("sleep", "666"))
    task = asyncio.create_task(process.aclose())
    await asyncio.sleep(0)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)

    with pytest.raises(asyncio.CancelledError):
        await task

    assert not [line for line in await _processes(running, raw) if "sleep 666" in line]


async def test_closing_the_provider_ends_its_commands(engine: str, running: DockerInstance, raw: RawEngine) -> None:
    async with DockerProvider({"socket": engine}, env={}) as other:
        instance = await other.attach(running.ref)
        await instance.spawn(command("sleep", "999"))

    assert not [line for line in await _processes(running, raw) if "sleep 999" in line]


async def test_out_of_memory_is_told(running: DockerInstance) -> None:
    ran = await sh(running, "x=$(head -c 400000000 /dev/zero | tr '\\0' a); echo ${#x}")
    killed = await sh(running, "kill -9 $$")

    assert (ran.code, ran.end.oom) == (137, True)
    assert (killed.code, killed.end.signal, killed.end.oom) == (137, signal.SIGKILL, False)


async def test_a_container_killed_below_a_command_ends_it(running: DockerInstance, raw: RawEngine) -> None:
    process = await running.spawn(command("sh", "-c", "echo up; sleep 60"))
    await read_until(process, b"up\n")
    raw.call("POST", f"/containers/{running.ref.handle}/kill")

    async with asyncio.timeout(15):
        end = (await drain(process)).end

    assert end.lost or end.exit_code == 137


async def test_a_container_removed_below_a_command_is_lost(running: DockerInstance, raw: RawEngine) -> None:
    process = await running.spawn(command("sh", "-c", "echo up; sleep 60"))
    await read_until(process, b"up\n")
    raw.call("DELETE", f"/containers/{running.ref.handle}?force=1")

    async with asyncio.timeout(15):
        end = (await drain(process)).end

    assert end.lost or end.exit_code == 137


async def test_a_terminal_without_input_has_its_size_and_an_end(running: DockerInstance) -> None:
    ran = await sh(
        running, "stty size; tty >/dev/null && echo tty; echo $TERM; cat; echo over", pty=Pty(rows=41, cols=117)
    )

    assert ran.out.split() == [b"41", b"117", b"tty", b"xterm-256color", b"over"]


async def test_input_after_the_end_is_refused(running: DockerInstance) -> None:
    process = await running.spawn(command("true", stdin=True))
    await drain(process)

    with pytest.raises(StdinClosed):
        await process.write(b"x")
    await process.close_stdin()
    await process.signal(signal.SIGTERM)
    await process.resize(10, 10)


async def test_reasons_for_not_starting(running: DockerInstance) -> None:
    await sh(running, "echo text > plain; mkdir -p closed; chmod 0 closed")
    cases = {
        ("no-such-program",): 127,
        ("./no-such-program",): 127,
        ("./plain",): 126,
        ("/tmp",): 126,
    }
    for argv, code in cases.items():
        with pytest.raises(ExecStartError) as caught:
            await run(running, *argv)
        assert caught.value.exit_code == code, argv
        assert argv[0] in caught.value.message
    for cwd in ("/no/such", "plain"):
        with pytest.raises(ExecStartError, match="folder") as caught:
            await run(running, "ls", cwd=cwd)
    with pytest.raises(ExecStartError, match="user"):
        await run(running, "ls", user="nobody-here")
    with pytest.raises(ExecStartError, match="too long"):
        await run(running, "echo", "x" * 200_000)


async def test_a_folder_named_like_an_option_or_a_path_variable_is_only_a_folder(running: DockerInstance) -> None:
    await sh(running, "mkdir -p ./- ./-P sub")

    for name in ("-", "-P", "sub"):
        ran = await sh(running, "pwd", cwd=name, env={"CDPATH": "/tmp:/etc"})
        assert ran.out.endswith(f"/{name}\n".encode()), ran


async def test_another_user_and_the_right_group(running: DockerInstance) -> None:
    done = await run(running, "id", user="worker")

    assert done.out.startswith(b"uid=4321(worker) gid=4321(worker)")


async def test_hundreds_at_once(running: DockerInstance) -> None:
    async def one(number: int) -> bytes:
        return (await run(running, "echo", str(number))).out

    outputs = await asyncio.gather(*(one(number) for number in range(200)))

    assert outputs == [f"{number}\n".encode() for number in range(200)]


async def test_descriptors_and_tasks_stay_flat(running: DockerInstance) -> None:
    await run(running, "true")
    descriptors, tasks = _descriptors(), len(asyncio.all_tasks())
    for _ in range(20):
        await run(running, "true", timeout=30)
        with pytest.raises(ExecStartError):
            await run(running, "no-such-program")
        await running.status()

    assert _descriptors() <= descriptors + 1
    assert len(asyncio.all_tasks()) <= tasks


@pytest.fixture(scope="session")
def shell_less_image(engine: str) -> str:
    raw = RawEngine(engine)
    raw.import_image(rootfs_without_shell("sleep"), "nexus-test-sleep:base")
    return "nexus-test-sleep:base"


async def test_an_image_without_a_shell(
    provider: DockerProvider, make_spec: MakeSpec, shell_less_image: str, raw: RawEngine, tmp_path: Path
) -> None:
    (tmp_path / "image").mkdir()
    (tmp_path / "image" / "Dockerfile").write_text(f'FROM {shell_less_image}\nENTRYPOINT ["/bin/sleep", "10000"]\n')
    spec = await provider.prepare(make_spec(image=None, dockerfile=tmp_path / "image" / "Dockerfile", workdir="/"))
    instance = await provider.create(spec)
    await instance.start()

    assert (await run(instance, "/bin/sleep", "0")).code == 0
    for argv, code in ((("/bin/nothing",), 127), (("/etc",), 126)):
        with pytest.raises(ExecStartError) as caught:
            await run(instance, *argv)
        assert caught.value.exit_code == code
    with pytest.raises(ExecStartError):
        await run(instance, "/bin/sleep", "0", cwd="/no/such")
    ended = await run(instance, "/bin/sleep", "100", timeout=0.3, grace=30)
    assert (ended.code, ended.end.timed_out) == (143, True)
    process = await instance.spawn(command("/bin/sleep", "100"))
    await process.signal(signal.SIGKILL)
    assert (await drain(process)).end.signal == signal.SIGKILL


async def test_an_image_without_shell_or_command_is_refused_and_leaves_nothing(
    provider: DockerProvider, make_spec: MakeSpec, shell_less_image: str, raw: RawEngine
) -> None:
    spec = make_spec(image=shell_less_image)

    with pytest.raises(ProviderError, match="neither /bin/sh nor a command"):
        await provider.create(spec)

    assert not any(raw.labelled(f"{LABEL_WORKSPACE}={spec.id}").values())
