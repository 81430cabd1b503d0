"""What runs in a terminal that is opened again: nothing that has an effect by itself, unless its user said so."""

from __future__ import annotations

import pytest

from nexus.terminals.reopening import again, banner, is_plain_shell


@pytest.mark.parametrize(
    ("argv", "plain"),
    [
        ((), True),
        (("sh",), True),
        (("/bin/bash", "-l", "--norc"), True),
        (("/usr/bin/zsh", "-i"), True),
        (("sh", "-c", "deploy"), False),
        (("bash", "script.sh"), False),
        (("bash", "--rcfile", "evil"), False),
        (("./sh",), False),
        (("/tmp/bash",), False),
        (("npm", "run", "dev"), False),
    ],
)
def test_only_plain_shells_do_nothing_by_themselves(argv: tuple[str, ...], plain: bool) -> None:
    assert is_plain_shell(argv) is plain
    assert again(argv, rerun=False).argv == (argv if plain else ())
    assert again(argv, rerun=True).argv == argv


def test_the_line_that_says_so_holds_nothing_that_is_not_text() -> None:
    note = again(("printf", "\x1b]0;evil\x07", "x" * 1000), rerun=False).note
    line = banner(note, "/a\x1b[2Jb").decode()
    assert "was not run again" in line
    assert "\x1b]0" not in line
    assert "/a?[2Jb" in line
    assert len(line) < 600
