"""Cases about starting commands: words, environment, folders, output, input, statuses."""

from __future__ import annotations

import anyio

from nexus.abc import ProcessHandle
from nexus.errors import ExecStartError, InvalidArgument, Unsupported, WorkspaceStopped
from nexus.models.execution import Exited, SpawnRequest, Started
from nexus.models.instances import Capability
from nexus.testing.expecting import expect, expect_equal, expect_error
from nexus.testing.provider_suite.case import Check, case, finish, read_until, shell

_STATUSES = (0, 1, 2, 3, 42, 125, 126, 127, 128, 130, 137, 143, 200, 254, 255)
_TRICKY_WORDS = (
    "",
    " ",
    "two words",
    "it's",
    'say "hi"',
    "$HOME",
    "$(echo no)",
    "`echo no`",
    "back\\slash",
    "*",
    "~",
    "-n",
    "--",
    "a;b&c|d>e<f",
    "line\nfeed",
    "tab\tcr\r",
    "{x,y}",
    "#no",
    "!1",
    "%s",
    "grüße 🌍",
    "x" * 65536,
)


@case()
async def a_stopped_instance_runs_nothing(check: Check) -> None:
    """A command in an instance that was not started, or was stopped, raises ``WorkspaceStopped``."""
    instance = await check.created()
    request = SpawnRequest(argv=("true",))
    await check.refused(WorkspaceStopped, instance, request, "a command before the first start")
    await instance.start()
    await instance.stop(grace=1.0)
    await check.refused(WorkspaceStopped, instance, request, "a command after stop")


@case()
async def events_come_in_order(check: Check) -> None:
    """``Started`` is first and carries the id, ``Exited`` is last and comes once, then the stream has ended for good."""
    instance = await check.running()
    process = await instance.spawn(shell("echo one; echo two"))
    check.cleanup.push_async_callback(process.aclose)
    expect(isinstance(process, ProcessHandle), "what spawn returns is a ProcessHandle")
    expect(isinstance(await process.receive(), Started), "Started is the first event")
    ran = await finish(process)
    expect_equal(ran.stdout, b"one\ntwo\n", "the output")
    expect_equal(ran.exited, Exited(exit_code=0), "the last event")
    for _ in range(2):
        await expect_error(anyio.EndOfStream, process.receive, "receive after Exited")


@case()
async def commands_have_ids_of_their_own(check: Check) -> None:
    """No two commands share an id."""
    instance = await check.running()
    ids = {(await check.spawn(instance, SpawnRequest(argv=("true",)))).exec_id for _ in range(5)}
    expect_equal(len(ids), 5, "different ids")


@case()
async def no_output_is_lost(check: Check) -> None:
    """A short command's output is complete, every time, however many run beside it."""
    instance = await check.running()
    incomplete: list[bytes] = []
    numbers = iter(range(check.subject.repeats))

    async def worker() -> None:
        for number in numbers:
            ran = await check.run(instance, SpawnRequest(argv=("echo", f"line {number}")))
            if ran.stdout != f"line {number}\n".encode() or ran.exited != Exited(exit_code=0):
                incomplete.append(ran.stdout)

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(worker)
    expect_equal(incomplete, [], "commands whose output or status was not complete")


@case()
async def many_run_at_once(check: Check) -> None:
    """Fifty commands run side by side, each with its own input and output."""
    instance = await check.running()
    results: dict[int, bytes] = {}

    async def run(number: int) -> None:
        process = await check.spawn(instance, SpawnRequest(argv=("cat",), stdin=True))
        started[number].set()
        await everybody.wait()
        await process.write(str(number).encode())
        await process.close_stdin()
        results[number] = (await finish(process)).stdout

    started = [anyio.Event() for _ in range(50)]
    everybody = anyio.Event()
    async with anyio.create_task_group() as group:
        for number in range(50):
            group.start_soon(run, number)
        for event in started:
            await event.wait()
        everybody.set()
    expect_equal(results, {number: str(number).encode() for number in range(50)}, "the outputs")


@case()
async def exit_statuses_are_exact(check: Check) -> None:
    """The exit status is the command's own, for every value; where commands are slow (``repeats``), for the telling ones."""
    instance = await check.running()
    statuses = tuple(range(256)) if check.subject.repeats >= 256 else _STATUSES
    left = iter(statuses)
    ended: dict[int, Exited] = {}

    async def worker() -> None:
        for status in left:
            ended[status] = (await check.sh(instance, f"exit {status}")).exited

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(worker)
    for status in statuses:
        expect_equal(ended[status].exit_code, status, f"the status of 'exit {status}'")
        expect(not ended[status].timed_out and not ended[status].lost, f"it ended by itself: {ended[status]}")


@case()
async def streams_are_apart(check: Check) -> None:
    """Standard output and standard error arrive as what they are, each in its order."""
    instance = await check.running()
    ran = await check.sh(instance, "echo out1; echo err1 >&2; echo out2; echo err2 >&2; exit 7")
    expect_equal(ran.stdout, b"out1\nout2\n", "standard output")
    expect_equal(ran.stderr, b"err1\nerr2\n", "standard error")
    expect_equal(ran.status, 7, "the status")


@case()
async def output_arrives_while_it_runs(check: Check) -> None:
    """Output is given when it is printed, not when the command ends."""
    instance = await check.running()
    process = await check.spawn(
        instance, SpawnRequest(argv=("sh", "-c", "echo first; read answer; echo got $answer"), stdin=True)
    )
    await read_until(process, b"first\n")
    await process.write(b"it\n")
    await read_until(process, b"got it\n")


@case()
async def output_is_bytes(check: Check) -> None:
    """Bytes that are no text arrive unchanged, NUL included."""
    instance = await check.running()
    ran = await check.run(instance, SpawnRequest(argv=("printf", r"\377\376\000\200\001ok\303")))
    expect_equal(ran.stdout, b"\xff\xfe\x00\x80\x01ok\xc3", "the bytes")


@case()
async def the_last_output_comes_before_the_end(check: Check) -> None:
    """A large output printed just before the end is complete when ``Exited`` comes."""
    instance = await check.running()
    ran = await check.sh(instance, "head -c 300000 /dev/zero; echo end")
    expect_equal(ran.stdout, bytes(300000) + b"end\n", "the output")


@case()
async def the_environment_is_given(check: Check) -> None:
    """The instance's environment reaches the command, the request's is added and wins, and values are never interpreted."""
    hard = "a b  'c' \"d\" $HOME `x` \\ \n=line two"
    spec = check.spec()
    instance = await check.running(spec.model_copy(update={"env": {**spec.env, "BASE": "base", "BOTH": "spec"}}))
    request = SpawnRequest(
        argv=("sh", "-c", 'printf "%s|%s|%s" "$BASE" "$BOTH" "$HARD"'), env={"BOTH": "request", "HARD": hard}
    )
    ran = await check.run(instance, request)
    expect_equal(ran.stdout, f"base|request|{hard}".encode(), "the variables")
    again = await check.sh(instance, 'printf "%s|%s" "$BOTH" "$HARD"')
    expect_equal(again.stdout, b"spec|", "the variables of the next command")


@case()
async def commands_start_in_the_right_folder(check: Check) -> None:
    """The folder is the work folder, or ``cwd``, absolute or below it."""
    spec = check.spec()
    instance = await check.running(spec)
    await check.sh(instance, "mkdir -p 'sub folder/deep'")
    root = spec.workdir.rstrip("/")
    for cwd, wanted in (
        (None, spec.workdir),
        ("sub folder/deep", f"{root}/sub folder/deep"),
        (f"{root}/sub folder",) * 2,
    ):
        ran = await check.run(instance, SpawnRequest(argv=("sh", "-c", "pwd"), cwd=cwd))
        expect_equal(ran.stdout.decode(), f"{wanted}\n", f"the folder with cwd={cwd!r}")


@case()
async def a_missing_folder_is_an_error(check: Check) -> None:
    """A command in a folder that is not there raises ``ExecStartError``."""
    instance = await check.running()
    await check.refused(
        ExecStartError,
        instance,
        SpawnRequest(argv=("true",), cwd="no-such-folder"),
        "a command in a folder that does not exist",
    )


@case()
async def words_are_never_interpreted(check: Check) -> None:
    """Every word of a command arrives as it was given: blanks, quotes, line ends, every character, an empty one, a long one."""
    instance = await check.running()
    every = "".join(map(chr, range(1, 256)))
    ran = await check.run(instance, SpawnRequest(argv=("printf", "%s", every)))
    expect_equal(ran.stdout, every.encode(), "every character from 1 to 255")
    ran = await check.sh(instance, 'printf "%s\\000" "$@"', *_TRICKY_WORDS)
    expect_equal(ran.stdout.decode().split("\0")[:-1], list(_TRICKY_WORDS), "the words")


@case()
async def words_that_are_no_text(check: Check) -> None:
    """Words with bytes that are no UTF-8 arrive unchanged or are refused; they are never altered."""
    instance = await check.running()
    raw = b"\xff\xfe/\x80x"
    try:
        ran = await check.run(instance, SpawnRequest(argv=("printf", "%s", raw.decode("utf-8", "surrogateescape"))))
    except (InvalidArgument, Unsupported):
        return
    expect_equal(ran.stdout, raw, "the bytes")


@case()
async def a_missing_program_is_an_error(check: Check) -> None:
    """A program that is not there raises ``ExecStartError`` with 127; a shell says the same by its status."""
    instance = await check.running()
    for name in ("no-such-program-here", "/no/such/program", "./no-such-program"):
        error = await check.refused(ExecStartError, instance, SpawnRequest(argv=(name,)), f"the program {name}")
        expect_equal(getattr(error, "exit_code", None), 127, f"the code for {name}")
    expect_equal((await check.sh(instance, "no-such-program-here")).status, 127, "the status of a shell")


@case()
async def a_program_that_cannot_be_executed(check: Check) -> None:
    """A file that is not executable raises ``ExecStartError`` with 126."""
    instance = await check.running()
    await check.sh(instance, "echo text > plain.txt")
    error = await check.refused(
        ExecStartError, instance, SpawnRequest(argv=("./plain.txt",)), "a file that is not executable"
    )
    expect_equal(getattr(error, "exit_code", None), 126, "the code")


@case(lacks=Capability.EXEC_USER)
async def another_user_is_refused(check: Check) -> None:
    """A provider without users refuses a command for another one, instead of running it as the wrong one."""
    instance = await check.running()
    await check.refused(
        Unsupported, instance, SpawnRequest(argv=("true",), user="nobody"), "a command for another user"
    )


@case(Capability.EXEC_USER)
async def a_command_runs_as_another_user(check: Check) -> None:
    """A command runs as the user that is asked for."""
    instance = await check.running()
    for user in ("0", "12345"):
        ran = await check.run(instance, SpawnRequest(argv=("id", "-u"), user=user))
        expect_equal(ran.stdout, f"{user}\n".encode(), "the user's number")


CASES = (
    a_stopped_instance_runs_nothing,
    events_come_in_order,
    commands_have_ids_of_their_own,
    no_output_is_lost,
    many_run_at_once,
    exit_statuses_are_exact,
    streams_are_apart,
    output_arrives_while_it_runs,
    output_is_bytes,
    the_last_output_comes_before_the_end,
    the_environment_is_given,
    commands_start_in_the_right_folder,
    a_missing_folder_is_an_error,
    words_are_never_interpreted,
    words_that_are_no_text,
    a_missing_program_is_an_error,
    a_program_that_cannot_be_executed,
    another_user_is_refused,
    a_command_runs_as_another_user,
)
