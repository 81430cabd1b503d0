from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.models.execution import Exited, Pty, SpawnRequest
from nexus.models.instances import InstanceSpec
from nexus.providers.mock.expansion import fields_of
from nexus.providers.mock.instance import MockInstance
from nexus.providers.mock.lexer import ShellSyntaxError
from nexus.providers.mock.syntax import Simple, parse
from tests.providers.mock.conftest import Run, drain

# What the mock's shell does has to be what a real one does, so every script here is also given to the system's own.
SCRIPTS = [
    "echo one; echo two",
    "echo one && echo two || echo three; false && echo no; false || echo yes",
    "false; echo $?; true; echo $?; (exit 9); echo $?",
    "exit 3",
    "exit; echo no",
    "(exit 4) || exit 5",
    "! true; echo $?; ! false; echo $?",
    "echo 'a  b' \"c  d\" e\\ f g'h'\"i\"",
    'X="p  q"; echo $X "$X" "${X}r" $X_ "\\$X" \'$X\'',
    'X=" a b "; printf "<%s>" x$X"y"; echo',
    'X=; printf "<%s>" $X "$X"; echo',
    'X=1 env | head -n 400 >/dev/null; echo "[$X]"',
    "X=1; export X Y=2; sh -c 'echo $X$Y'; Z=3; sh -c 'echo \"[$Z]\"'; unset X; echo \"[$X]\"",
    'printf "%s|" "$@"; printf "%s|" $*; printf "%s|" "$*"; echo $# "$1" "$2" "${3}"',
    'printf "%s|" "a$@b"; echo',
    "echo out; echo err >&2",
    "echo err 2>&1 >&2; { echo a; echo b >&2; } 2>&1",
    "echo new > f; echo more >> f; cat f; cat < f; cat f 2>/dev/null missing; echo $?",
    "echo x > no/such/folder || echo failed",
    "echo a | cat | cat; echo b | false; echo $?",
    "echo a | { read x; echo got $x; }; echo [$x]",
    "head -c 5 /dev/zero | cat > f; cat f | head -c 2 | printf '%s' end; echo",
    "if true; then echo T; else echo F; fi; if false; then echo T; elif true; then echo E; fi",
    'x=; while [ "$x" != aaa ]; do x=${x}a; echo $x; done; until [ -z "$x" ]; do x=; echo u; done',
    "cd /no/such/folder || echo failed; pwd >/dev/null",
    "mkdir -p a/b; cd a/b; pwd | head -c 1; cd ../..; [ -d a/b ] && echo yes; [ -f a/b ] || echo no",
    'test 3 -gt 2 && test 2 -le 2 && [ a != b ] && [ ! -e none ] && [ -n "x" ] && echo ok',
    "trap 'echo bye' EXIT; echo hi; exit 2",
    "trap 'echo caught' TERM; kill -TERM $$; echo after",
    "trap '' TERM; kill -15 $$; echo ignored",
    "kill -9 $$; echo no",
    "sh -c 'kill -TERM $$'; echo $?",
    "sleep 300 & kill $!; wait $!; echo $?",
    "(sleep 0; exit 3) & wait $!; echo $?",
    "true & true & wait; echo done",
    "set -e; false || echo tested; if false; then :; fi; ! true; false; echo no",
    "(set -e; false; echo no); echo after",
    "exec echo replaced",
    "no-such-command; echo $?; ./plain; echo $?",
    'read x; echo [$x]; read a b <f0; echo "$a|$b"',
    "printf '%s-%d\\n' a 1 b 2; printf 'x%%y\\t\\101\\n'; printf '%c' hello; printf 'none\\n' extra",
    "# nothing\necho a # comment\n\necho 'b # no'\necho c#d",
    "echo a;\necho b &&\necho c",
    "{ echo grouped; exit 6; }; echo no",
    ": ignored words; echo $?",
    "cat missing; echo $?",
    "sh -e -c 'false; echo no'; echo $?",
    "A='echo one  two; B=3'; eval \"$A\" '; exit $B'; echo no",
    "sh -e -c 'eval \"false; echo no\"'; echo $?; eval; echo $?",
    "sh f1 x y; sh missing-script 2>/dev/null || echo failed",
    'printf "%s|" "$HOME_" "a\\b" "a\\"b" \'a\\b\' \\a',
]


def real(text: str, folder: Path) -> tuple[str, int]:
    done = subprocess.run(
        ["sh", "-c", text, "sh", "one  1", "two", ""],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    return done.stdout, done.returncode if done.returncode >= 0 else 128 - done.returncode


def furnish(folder: Path) -> None:
    (folder / "f0").write_text("first  second third\nnext\n")
    (folder / "f1").write_text('echo script $0 "$@"\n')
    (folder / "plain").write_text("text\n")


@pytest.mark.parametrize("text", SCRIPTS)
async def test_the_shell_does_what_a_real_one_does(text: str, spec: InstanceSpec, sh: Run, tmp_path: Path) -> None:
    folder = tmp_path / "real"
    folder.mkdir()
    furnish(folder)
    furnish(spec.worktree)

    done = await sh(text, "one  1", "two", "")

    stdout, status = real(text, folder)
    assert (done.stdout, done.status) == (stdout, status), done.stderr


@pytest.mark.parametrize(
    "text",
    [
        "echo $(date)",
        "echo `date`",
        "echo $((1+1))",
        "cat <<E\nx\nE",
        "for i in a; do :; done",
        "case a in a) ;; esac",
        "f() { :; }",
        "echo ${X:-1}",
        "shift",
        "while true; do break; done",
        "set -x",
        "exec > f",
        "echo a 3>f",
        "[[ a ]]",
    ],
)
async def test_what_is_left_out_says_so(sh: Run, text: str) -> None:
    done = await sh(text)

    assert done.status == 2
    assert "more than the mock's shell knows" in done.stderr


@pytest.mark.parametrize(
    "text",
    [
        "echo 'a",
        'echo "a',
        "(echo",
        "if true; then",
        "while true; do echo",
        "; echo",
        "echo >",
        "| cat",
        "if; fi",
        "()",
    ],
)
def test_what_is_no_script_is_refused(text: str) -> None:
    with pytest.raises(ShellSyntaxError):
        parse(text)


@given(st.text(max_size=60))
def test_any_text_is_a_script_or_refused(text: str) -> None:
    try:
        script = parse(text)
    except ShellSyntaxError:
        with pytest.raises(ShellSyntaxError):
            parse(f"\n{text}")
    else:
        assert parse(f"\n{text}") == script


@given(st.lists(st.text(alphabet=st.characters(exclude_characters="\0'", codec="utf-8"), max_size=20), min_size=1))
def test_quoted_words_stay_as_they_are(words: list[str]) -> None:
    (item,) = parse("echo " + " ".join(f"'{word}'" for word in words))
    (command,) = item.first.commands

    assert isinstance(command, Simple)
    assert [fields_of(word, str, ()) for word in command.words] == [["echo"], *([word] for word in words)]


async def test_commands_see_the_worktree_and_nothing_else(spec: InstanceSpec, sh: Run, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("canary")
    (spec.worktree / "link").symlink_to(secret)
    (spec.worktree / "away").symlink_to(tmp_path)

    for text in ("cat link", "cat away/secret", "cat ../secret", f"cat {secret}", "cat /etc/passwd", "cat < link"):
        done = await sh(text)
        assert done.status != 0
        assert "canary" not in done.stdout
    for text in ("echo x > link", "echo x > away/new", "echo x > ../new", "mkdir away/new"):
        assert (await sh(text)).status != 0
    assert secret.read_text() == "canary"
    assert not (tmp_path / "new").exists()


async def test_paths_of_the_workspace_are_those_of_the_worktree(spec: InstanceSpec, sh: Run) -> None:
    done = await sh(f"echo a > /workspace/f; cat {spec.worktree}/f; mkdir d; cd d; cat ../f; pwd")

    assert done.stdout == "a\na\n/workspace/d\n"
    assert (spec.worktree / "f").read_text() == "a\n"


async def test_lines_typed_on_a_terminal_are_run(instance: MockInstance) -> None:
    process = await instance.spawn(SpawnRequest(argv=("sh",), stdin=True, pty=Pty()))
    for line in (b"X=5\r", b"echo got $X\r", b"exit 3\r"):
        await process.write(line)

    done = await drain(process)
    assert done.status == 3
    assert "got 5\r\n" in done.stdout


async def test_a_terminals_end_of_file(instance: MockInstance) -> None:
    process = await instance.spawn(SpawnRequest(argv=("cat",), stdin=True, pty=Pty()))
    await process.write(b"half\x04 a line\n")
    await process.write(b"\x04")

    done = await drain(process)
    assert done.exited == Exited(exit_code=0)
    assert done.stdout.count("half") == 2


async def test_a_pipe_that_nobody_reads_ends_the_writer(sh: Run) -> None:
    done = await sh("yes | head -n 2; yes | true; echo ended")

    assert done.stdout == "y\ny\nended\n"


async def test_a_background_commands_number_is_its_own(instance: MockInstance, sh: Run) -> None:
    done = await sh("sleep 3600 & echo $!")
    assert (await instance.stats()).processes == 2

    await sh(f"kill {done.stdout}")
    assert (await instance.stats()).processes == 1
