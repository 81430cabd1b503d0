"""``boulder daemon`` as people use it."""

from __future__ import annotations

import json
import signal
import urllib.request
from collections.abc import Callable

import pytest

import cli_example
from tests.cli.conftest import ROOT, Boulder, Done
from tests.unused_ports import unused_port

Run = Callable[..., Done]


@pytest.fixture
def run(bare: Boulder, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """``boulder`` in this process, for what needs none of its own."""
    monkeypatch.chdir(bare.cwd)

    def run(*words: str) -> Done:
        capfd.readouterr()
        status = cli_example.main(list(words))
        out, err = capfd.readouterr()
        return Done(status, out.encode(), err)

    return run


@pytest.mark.slow
def test_start_status_stop(run: Run, bare: Boulder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    none = run("daemon", "status")
    assert none.status == 6
    assert "error[DAEMON_UNAVAILABLE]: no daemon runs for this repository" in none.err
    started = run("--backend", "local", "daemon", "start", "--json").json
    assert isinstance(started, dict)
    try:
        assert run("daemon", "status", "--json").json == started
        assert "token" not in started
        shown = run("daemon", "status").text
        for fact in (str(started["pid"]), str(bare.cwd), str(started["socket"]), str(started["log"])):
            assert fact in shown
        no_page = run("daemon", "token", "--page")
        assert no_page.status == 6
        assert "error[DAEMON_UNAVAILABLE]: the daemon that runs shows no page" in no_page.err
        second = run("daemon", "start", "--json")
        assert second.status == 5
        error = json.loads(second.err)["error"]
        assert (error["code"], error["details"]["pid"]) == ("BUSY", started["pid"])
    finally:
        assert run("daemon", "stop", "--json").json == {"stopped": started["pid"]}
    again = run("daemon", "stop")
    assert again.err == "note: no daemon ran for this repository\n"


@pytest.mark.slow
def test_a_page_for_browsers(run: Run, bare: Boulder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    port = unused_port()
    started = run("--backend", "local", "--set", f"daemon.port={port}", "daemon", "start", "--page", "--json").json
    assert isinstance(started, dict)
    try:
        assert started["page"] == f"http://127.0.0.1:{port}/"
        issued = run("daemon", "token", "--page")
        address, token = issued.text.strip().split("#token=")
        assert address == started["page"]
        assert token.count(".") == 2
        assert "holds until" in issued.err
        with urllib.request.urlopen(address) as answer:
            assert b"<title>Nexus</title>" in answer.read()
    finally:
        run("daemon", "stop")


def test_why_it_does_not_start_is_told(run: Run) -> None:
    wrong = run("daemon", "start", "--foreground", "--set", "daemon.host=0.0.0.0", "--set", "daemon.port=18080")
    assert wrong.status == 3
    assert "error[CONFIG_INVALID]: the daemon does not listen on 0.0.0.0 without encryption" in wrong.err
    assert "daemon.insecure" in wrong.err
    assert "Traceback" not in wrong.err


def test_tokens(run: Run) -> None:
    done = run("daemon", "token", "--scope", "exec", "--scope", "fs:read", "--workspace", "a", "--ttl", "5m")
    assert done.text.strip().count(".") == 2
    token_id = done.err.split()[1]
    issued = run("daemon", "token", "--json").json
    assert isinstance(issued, dict)
    assert "exec" in str(issued["scopes"])
    assert "admin" not in str(issued["scopes"])
    assert run("daemon", "revoke", token_id, "--json").json == {"revoked": token_id}
    assert run("daemon", "rotate").status == 0
    assert run("daemon", "revoke", "--all", "--json").json == {"revoked": "all"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["revoke"], "or --all"),
        (["revoke", "x", "--all"], "or --all"),
        (["token", "--scope", "root"], "there are: fs:read"),
        (["token", "--ttl", "2d"], "between 1s and 1d"),
    ],
)
def test_what_cannot_be_meant(run: Run, words: list[str], said: str) -> None:
    done = run("daemon", *words)

    assert done.status == 2
    assert said in done.err


@pytest.mark.slow
def test_a_daemon_in_the_foreground_ends_with_ctrl_c(bare: Boulder) -> None:
    process = bare.start("--backend", "local", "daemon", "start", "--foreground")
    try:
        assert process.stderr is not None
        while b" serving " not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert said.decode().rstrip().endswith("info stopped")
