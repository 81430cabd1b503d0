"""Errors: one form for people, one for programs, a status for scripts, and never a traceback."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli_example import errors
from cli_example.command import group
from cli_example.errors import failure
from cli_example.options import Shared
from cli_example.session import run
from nexus.errors import BuildFailed, ConfigError, ExecStartError, NexusError, UnsavedWork
from tests.cli.conftest import ROOT, Boulder
from tests.workbench import git


def _tree(kind: type[NexusError]) -> Iterator[type[NexusError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _tree(below)


def test_every_code_in_the_table_of_statuses_exists() -> None:
    known = {kind.code for kind in _tree(NexusError) if kind.__module__.startswith("nexus.errors.")}
    assert set(errors._BY_CODE) <= known


def test_people_read_code_sentence_items_and_the_next_step() -> None:
    lost = [f"untracked: f{number}" for number in range(23)]
    lines = list(failure(UnsavedWork("refused", lost=lost, hint="save it")).lines(verbose=False))
    assert lines[0] == "error[UNSAVED_WORK]: refused"
    assert lines[1:21] == [f"  untracked: f{number}" for number in range(20)]
    assert lines[21:] == ["  … and 3 more", "hint: save it"]
    several = list(failure(ConfigError("a:1:1: x", problems=["a:1:1: x", "b:2:2: y"])).lines(verbose=False))
    assert several == ["error[CONFIG_INVALID]: the configuration has 2 problems", "  a:1:1: x", "  b:2:2: y"]
    assert list(failure(ConfigError("a:1:1: x")).lines(verbose=False)) == ["error[CONFIG_INVALID]: a:1:1: x"]


def test_nothing_in_an_error_acts_on_a_terminal() -> None:
    hostile = UnsavedWork("a\x1b[2J", lost=["untracked: \x1b]0;gone\x07"], hint="b\r\nc")
    assert "".join(failure(hostile).lines(verbose=True)).isprintable()


def test_notes_are_for_those_who_ask() -> None:
    error = BuildFailed("it failed")
    error.add_note("not everything could be undone")
    assert "note: not everything could be undone" not in list(failure(error).lines(verbose=False))
    assert "note: not everything could be undone" in list(failure(error).lines(verbose=True))
    assert json.loads(failure(error).to_json())["error"]["notes"] == ["not everything could be undone"]


def test_a_program_that_cannot_be_started_gives_a_shells_status() -> None:
    assert failure(ExecStartError("no", exit_code=126)).status == 126


@pytest.mark.parametrize("verbose", [False, True])
def test_an_error_nobody_foresaw_is_a_line_too(capsys: pytest.CaptureFixture[str], verbose: bool) -> None:
    async def broken(_: object) -> None:
        raise RuntimeError("the\nreason")

    assert run(Shared(verbose=verbose), broken) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "error[INTERNAL]: RuntimeError: the\\nreason"
    assert lines[-1].startswith("hint: ")
    assert any("Traceback" in line for line in lines) is verbose


def test_a_group_of_one_error_is_that_error(capsys: pytest.CaptureFixture[str]) -> None:
    async def broken(_: object) -> None:
        raise BaseExceptionGroup("tasks", [BaseExceptionGroup("more", [BuildFailed("it failed")])])

    assert run(Shared(), broken) == 1
    assert capsys.readouterr().err == "error[BUILD_FAILED]: it failed\n"


@pytest.mark.parametrize(
    ("words", "status", "first", "hint"),
    [
        (["ws", "nonsense"], 2, "error[USAGE]: no such command 'nonsense'", "see boulder ws --help"),
        (["ws", "show", "--nonsense"], 2, "error[USAGE]: no such option: --nonsense", "see boulder ws show --help"),
        (["ws", "up"], 2, "error[USAGE]: missing argument 'NAME'", "see boulder ws up --help"),
        (["ws", "list", "--label", "x"], 2, "error[USAGE]: invalid value for --label: 'x' is not KEY=VALUE", "see boulder ws list --help"),
        (["ws", "list", "--status", "x"], 2, "error[USAGE]: invalid value for --status: 'x' is not a valid", "see boulder ws list --help"),
        (["config", "schema", "x"], 2, "error[USAGE]: invalid value for LEVEL: 'x' is none of node", "see boulder config schema --help"),
        (["ws", "up", "Feature/Auth"], 2, "error[INVALID_NAME]: workspace name 'Feature/Auth' is not valid", "for example 'feature-auth-"),
        (["ws", "create", "a", "--ttl", "soon"], 2, "error[INVALID_ARGUMENT]: 'soon' is not a duration", "write for example"),
        (["--set", "nonsense", "ws", "list"], 3, "error[CONFIG_INVALID]: 'nonsense' is not KEY=VALUE", "for example: --set"),
        (["ws", "list", "--set", "defaults.imag=x"], 3, "error[CONFIG_INVALID]: flag --set: unknown key 'defaults.imag'", None),
        (["ws", "show", "nothing"], 4, "error[WORKSPACE_NOT_FOUND]: ", None),
        (["ws", "up", "a", "--backend", "nonsense"], 4, "error[PROVIDER_NOT_FOUND]: ", None),
        (["ws", "create", "a", "--from", "nonsense"], 4, "error[GIT_REF_NOT_FOUND]: ", None),
    ],
)  # fmt: skip
def test_mistakes_are_named_with_the_next_step(
    bare: Boulder, words: list[str], status: int, first: str, hint: str | None
) -> None:
    done = bare(*words, ok=False)
    lines = done.err.splitlines()
    assert (done.status, done.out) == (status, b"")
    assert lines[0].startswith(first)
    assert hint is None or lines[-1].startswith(f"hint: {hint}")
    assert "Traceback" not in done.err


def test_programs_get_one_object_on_standard_error(bare: Boulder, tmp_path: Path) -> None:
    for words, code in (
        (["ws", "show", "nothing", "--json"], "WORKSPACE_NOT_FOUND"),
        (["--json", "ws", "show", "nothing"], "WORKSPACE_NOT_FOUND"),
        (["ws", "show", "--nonsense", "--json"], "USAGE"),
    ):
        done = bare(*words, ok=False)
        assert done.out == b""
        error = json.loads(done.err)["error"]
        assert error["code"] == code
        assert set(error) == {"code", "message", "hint", "retryable", "details"}


def test_not_a_repository(bare: Boulder, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    done = bare("ws", "list", cwd=outside, ok=False)
    assert (done.status, done.err.split(":")[0]) == (4, "error[GIT_NOT_A_REPOSITORY]")
    git(tmp_path, "init", "-q", "--bare", "bare.git")
    assert bare("ws", "list", cwd=tmp_path / "bare.git", ok=False).err.startswith("error[GIT_BARE_REPOSITORY]")


def test_a_wrong_project_file_is_shown_with_all_its_problems(bare: Boulder) -> None:
    file = bare.cwd / ".nexus" / "config.yaml"
    file.parent.mkdir()
    file.write_text("nonsense: 1\nports:\n  web: many\n")
    done = bare("ws", "list", ok=False)
    lines = done.err.splitlines()
    assert (done.status, lines[0]) == (3, "error[CONFIG_INVALID]: the configuration has 2 problems")
    assert f"{file}:1:1: " in lines[1]
    assert f"{file}:3:" in lines[2]
    assert bare("config", "validate", ok=False).err == done.err


def test_without_its_libraries_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise ModuleNotFoundError('No module named typer', name='typer')\n")
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]; import cli_example; sys.exit(cli_example.main([]))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert (
        ran.stderr
        == 'error[CLI_NOT_INSTALLED]: the command line needs typer\nhint: pip install "nexus-workspace[cli]"\n'
    )


SLOW_PROVIDER = """
import os, sys
import anyio
from nexus.providers.mock import MockProvider

class SlowProvider(MockProvider):
    @property
    def name(self):
        return "slow"

    async def create(self, spec, *, progress=None):
        await super().create(spec, progress=progress)
        progress("create", "this never ends")
        await anyio.sleep_forever()

    async def destroy(self, ref):
        if "HANG" in os.environ:
            print("nor does this", file=sys.stderr, flush=True)
            await anyio.sleep_forever()
        await super().destroy(ref)
"""


@pytest.fixture
def slow(bare: Boulder, tmp_path: Path) -> Boulder:
    """``boulder`` with a backend, installed as any third party's, whose instances are never ready."""
    plugin = tmp_path / "plugin"
    (plugin / "slow-1.dist-info").mkdir(parents=True)
    (plugin / "slow_provider.py").write_text(SLOW_PROVIDER)
    (plugin / "slow-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: slow\nVersion: 1\n")
    entry = "[nexus.providers]\nslow = slow_provider:SlowProvider\n"
    (plugin / "slow-1.dist-info" / "entry_points.txt").write_text(entry)
    bare.env["PYTHONPATH"] = f"{plugin}:{ROOT}"
    return bare


def _begun(slow: Boulder) -> subprocess.Popen[bytes]:
    """Return a creation that has made everything but the instance."""
    process = slow.start("ws", "create", "a", "--backend", "slow", "--verbose")
    _until(process, b"this never ends")
    assert (slow.cwd / ".nexus" / "worktrees" / "a" / "README.md").exists()
    return process


def _until(process: subprocess.Popen[bytes], wanted: bytes) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if wanted in line:
            return
    pytest.fail(f"{wanted!r} was never said")


def _nothing_is_left(slow: Boulder) -> bool:
    assert slow("ws", "list", "--json").json == []
    assert git(slow.cwd, "branch", "--list", "nexus/*") == ""
    return git(slow.cwd, "worktree", "list").count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize(("number", "said"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_a_signal_undoes_what_was_begun(slow: Boulder, number: signal.Signals, said: str) -> None:
    process = _begun(slow)
    process.send_signal(number)
    _, err = process.communicate()
    assert (process.returncode, err.decode()) == (128 + number, f"error[INTERRUPTED]: stopped by {said}\n")
    assert _nothing_is_left(slow)


@pytest.mark.slow
def test_a_second_ctrl_c_ends_at_once_and_the_next_command_undoes_the_rest(slow: Boulder) -> None:
    slow.env["HANG"] = "1"
    process = _begun(slow)
    process.send_signal(signal.SIGINT)
    _until(process, b"nor does this")
    process.send_signal(signal.SIGINT)
    assert process.communicate()[1] == b""
    assert process.returncode == 130
    assert (slow.cwd / ".nexus" / "worktrees" / "a").exists()
    del slow.env["HANG"]
    assert _nothing_is_left(slow)


def test_groups_alone_are_no_error(bare: Boulder) -> None:
    assert bare().text.startswith("Usage: boulder")
    assert bare("ws").text.startswith("Usage: boulder ws")
    assert group("x", "What it is for.", dict) is not None
