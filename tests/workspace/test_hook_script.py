"""Scripts below the few lines of shell that run them, on every shell and interpreter this machine has."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.workspace.hook_script import PREFIX, interpreter, invocation

SHELLS = [
    [path] if name != "busybox" else [path, "sh"]
    for name in ("dash", "bash", "busybox")
    if (path := shutil.which(name))
]


def run(text: str, cwd: Path, shell: list[str] | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    made = invocation("pre-start", text, nonce="0123456789abcdef")
    argv = [*(shell or ["/bin/sh"]), *made.argv[1:]]
    return subprocess.run(
        argv,
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "TMPDIR": str(cwd), **env, **made.env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[-1].rpartition("/")[2])
class TestShells:
    def test_without_an_interpreter_the_first_failure_ends_it(self, shell: list[str], tmp_path: Path) -> None:
        done = run("echo one\nfalse\necho two\n", tmp_path, shell)
        assert (done.returncode, done.stdout) == (1, "one\n")

    def test_with_a_first_line_the_options_are_its_own(self, shell: list[str], tmp_path: Path) -> None:
        done = run("#!/bin/sh\necho one\nfalse\necho two\n", tmp_path, shell)
        assert (done.returncode, done.stdout) == (0, "one\ntwo\n")
        done = run("#!/bin/sh -eu\necho $#\necho $UNSET\necho two\n", tmp_path, shell)
        assert (done.returncode != 0, done.stdout) == (True, "0\n")

    def test_the_status_is_the_last_commands_or_what_exit_says(self, shell: list[str], tmp_path: Path) -> None:
        assert run("#!/bin/sh\n(exit 7)", tmp_path, shell).returncode == 7
        assert run("exit 9\n", tmp_path, shell).returncode == 9
        assert run("if then\n", tmp_path, shell).returncode != 0

    def test_nothing_of_ours_is_left_in_the_environment(self, shell: list[str], tmp_path: Path) -> None:
        seen = run(
            "#!/bin/sh\nenv\nset | grep -e ^_nx_ -e ^NEXUS_SCRIPT_\necho $#\n", tmp_path, shell, MINE="yes"
        ).stdout
        assert "MINE=yes" in seen
        assert PREFIX not in seen
        assert "_nx_" not in seen
        assert seen.endswith("\n0\n")

    def test_the_shell_alone_is_enough(self, shell: list[str], tmp_path: Path) -> None:
        done = run("echo built in\n", tmp_path, shell, PATH="/nowhere")
        assert (done.returncode, done.stdout, done.stderr) == (0, "built in\n", "")

    def test_quotes_heredocs_and_odd_characters_arrive(self, shell: list[str], tmp_path: Path) -> None:
        text = "cat <<'END'\n$HOME `x` \\n \"q\" 'é' ☃\nEND\nprintf '%s|' \"a  b\" '*'\n"
        assert run(text, tmp_path, shell).stdout == "$HOME `x` \\n \"q\" 'é' ☃\na  b|*|"

    def test_a_text_of_a_megabyte_works(self, shell: list[str], tmp_path: Path) -> None:
        text = "#!/bin/sh\n" + "# ☃ a comment that only takes room\n" * 27_500 + "echo the end\n"
        assert 1_000_000 < len(text.encode()) < 1_048_576
        done = run(text, tmp_path, shell)
        assert (done.returncode, done.stdout) == (0, "the end\n")

    def test_another_interpreter_gets_a_file_that_is_gone_afterwards(self, shell: list[str], tmp_path: Path) -> None:
        text = (
            "#!/usr/bin/env python3\nimport os, stat, sys\n"
            "print(oct(stat.S_IMODE(os.stat(__file__).st_mode)), os.path.dirname(__file__), sys.argv[1:])\nsys.exit(5)\n"
        )
        done = run(text, tmp_path, shell)
        assert (done.returncode, done.stdout) == (5, f"0o600 {tmp_path} []\n"), done.stderr
        assert list(tmp_path.iterdir()) == []

    def test_an_interpreter_may_have_one_argument(self, shell: list[str], tmp_path: Path) -> None:
        done = run("#!/bin/bash -x\necho hi\n", tmp_path, shell)
        assert (done.stdout, "+ echo hi" in done.stderr) == ("hi\n", True)

    def test_an_interpreter_that_is_not_there_is_named(self, shell: list[str], tmp_path: Path) -> None:
        done = run("#!/opt/none/python\nprint(1)\n", tmp_path, shell)
        assert done.returncode == 127
        assert "the interpreter /opt/none/python that the first line names is not there" in done.stderr
        assert list(tmp_path.iterdir()) == []

    def test_a_file_or_link_of_that_name_is_not_written_to(self, shell: list[str], tmp_path: Path) -> None:
        victim = tmp_path / "victim"
        victim.write_text("mine")
        (tmp_path / "nexus-pre-start-0123456789abcdef").symlink_to(victim)
        done = run("#!/usr/bin/env python3\nprint('ran')\n", tmp_path, shell)
        assert victim.read_text() == "mine"
        assert (done.returncode, done.stdout) == (0, "ran\n")


def test_the_interpreter_line_is_read_as_the_kernel_reads_it() -> None:
    assert interpreter("echo\n#!/bin/sh") == ()
    assert interpreter("#!/bin/bash") == ("/bin/bash",)
    assert interpreter("#! /usr/bin/env python3 -u \r\nx") == ("/usr/bin/env", "python3 -u")


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=300_000))
def test_the_pieces_are_the_text_and_fit(text: str) -> None:
    env = invocation("x", text, nonce="n").env
    assert "".join(env[f"{PREFIX}{number}"] for number in range(len(env))) == text
    assert all(len(piece.encode()) <= 96_000 for piece in env.values())


def test_no_piece_is_too_long_for_the_system() -> None:
    for text in ("☃" * 200_000, "a" * 95_990 + "☃" * 50_000 + "b" * 200_000):
        env = invocation("x", text, nonce="n").env
        assert "".join(env[f"{PREFIX}{number}"] for number in range(len(env))) == text
        assert max(len(piece.encode()) for piece in env.values()) <= 96_000
