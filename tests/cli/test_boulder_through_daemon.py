"""``boulder`` says the same whether a daemon does the work or it does it itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import cli_example
from tests.cli.conftest import Boulder, Done, a_daemon

Run = Callable[..., Done]


@pytest.fixture
def run(bare: Boulder, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """``boulder`` in this process."""
    monkeypatch.chdir(bare.cwd)
    monkeypatch.setenv("NEXUS_BACKEND", "local")

    def run(*words: str) -> Done:
        capfd.readouterr()
        status = cli_example.main(list(words))
        out, err = capfd.readouterr()
        return Done(status, out.encode(), err)

    return run


@pytest.fixture
def log(run: Run, bare: Boulder, home: Path) -> Iterator[Callable[[], int]]:
    """A daemon runs, on a thread of its own; how often it was connected to."""
    with a_daemon(bare.cwd, home) as visits:
        yield visits
        for name in ("a", "b"):
            run("ws", "destroy", name, "--force")


def same(one: Done, other: Done) -> None:
    """Both said the same, but for times and addresses that cannot be the same."""
    assert one.status == other.status, (one.err, other.err)
    assert _plain(one.out.decode()) == _plain(other.out.decode())
    assert _plain(one.err) == _plain(other.err)


def _plain(text: str) -> str:
    text = re.sub(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d[.\d]*(Z|\+00:00)?", "TIME", text)
    text = re.sub(r"\b\d+[smh](?= ago| unless)", "AWHILE", text)
    return re.sub(r"\d+ ms|[\d.]+ ?(KiB|MiB|GiB|%)|\b\d{5,}\b|[0-9a-f-]{36}|3\d{4}", "N", text)


@pytest.mark.slow
def test_the_same_words_with_and_without(run: Run, log: Callable[[], int]) -> None:
    before = log()
    same(run("ws", "list"), run("ws", "list", "--no-daemon"))
    assert log() == before + 1
    for name in ("a", "b"):
        assert run("ws", "create", name).status == 0
    for words in (
        ["ws", "list"],
        ["ws", "list", "--json"],
        ["ws", "show", "a"],
        ["ws", "ports", "a"],
        ["ws", "exec", "a", "sh", "-c", "echo out; echo err >&2; exit 3"],
        ["ws", "exec", "a", "--timeout", "200ms", "sleep", "60"],
        ["ws", "exec", "a", "no-such-program"],
        ["ws", "show", "missing"],
        ["ws", "show", "missing", "--json"],
        ["ws", "create", "a"],
        ["ws", "pause", "b"],
        ["ws", "resume", "b"],
        ["ws", "down", "b"],
        ["ws", "up", "b"],
        ["ws", "switch", "a"],
        ["ws", "sync", "a"],
        ["ws", "hold", "a", "--for", "1h"],
        ["ws", "rescues"],
        ["ws", "gc", "--dry-run"],
        ["prune", "--dry-run"],
    ):
        visited = log()
        through = run(*words)
        assert log() == visited + 1, words
        alone = run(*words, "--no-daemon") if "exec" not in words else run("--no-daemon", *words)
        assert log() == visited + 1, words
        same(through, alone)


def test_unsaved_work_is_refused_in_the_same_words(run: Run, log: Callable[[], int], bare: Boulder) -> None:
    assert run("ws", "create", "a").status == 0
    (bare.cwd / ".nexus" / "worktrees" / "a" / "README.md").write_text("changed\n")
    for more in ([], ["--json"]):
        same(run("ws", "destroy", "a", *more), run("ws", "destroy", "a", *more, "--no-daemon"))


def test_a_daemon_with_other_settings_is_not_used(run: Run, log: Callable[[], int], bare: Boulder) -> None:
    visited = log()
    for words in (["--set", "defaults.idle_timeout=1h", "ws", "list"], ["ws", "list", "--set", "env.B=c"]):
        assert run(*words).status == 0
    (bare.cwd / ".nexus").mkdir(exist_ok=True)
    (bare.cwd / ".nexus" / "config.yaml").write_text("env: {A: b}\n")
    assert run("ws", "list").status == 0
    assert log() == visited
    (bare.cwd / ".nexus" / "config.yaml").unlink()
    assert run("ws", "list").status == 0
    assert log() == visited + 1
