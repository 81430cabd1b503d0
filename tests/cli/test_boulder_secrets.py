"""``boulder secrets``: what is kept comes from anywhere but the command line, and is never shown."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Boulder

VALUE = "canary-value-81"


@pytest.fixture
def locked(bare: Boulder) -> Boulder:
    bare.env |= {
        "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
        "NEXUS_SECRETS_PASSPHRASE": "correct horse",
    }
    return bare


def test_kept_listed_used_and_forgotten(locked: Boulder, tmp_path: Path, home: Path) -> None:
    said = locked("secrets", "set", "A", feed=VALUE.encode() + b"\n")
    file = tmp_path / "token"
    file.write_text(VALUE + "-2\n")
    said_too = locked("--json", "secrets", "set", "B", "--from-file", str(file))
    listed = locked("--json", "secrets", "list")
    assert listed.names == ["A", "B"]
    assert "A " in locked("secrets", "list").text
    (home / ".nexus").mkdir()
    (home / ".nexus" / "config.yaml").write_text("secrets: {named: {TOKEN: {source: store, entry: B}}}\n")
    words = ("--backend", "local", "ws")
    locked(*words, "create", "a")
    try:
        run = locked(*words, "exec", "a", "--", "sh", "-c", 'printf %s "$TOKEN" | rev')
        assert run.text == (VALUE + "-2")[::-1]
        locked.env["NEXUS_SECRETS_PASSPHRASE"] = "wrong"
        refused = locked(*words, "exec", "a", "--", "true", ok=False)
        assert refused.status != 0
        assert "error[SECRETS_LOCKED]: this is not the passphrase" in refused.err
    finally:
        locked(*words, "destroy", "a", "--force")
    assert "removed" in locked("secrets", "rm", "A").text
    missing = locked("secrets", "rm", "A", ok=False)
    assert "error[SECRET_NOT_FOUND]: the encrypted store has no secret 'A'" in missing.err
    for done in (said, said_too, listed, run, refused, missing):
        assert VALUE not in done.text + done.err
    assert all(VALUE.encode() not in path.read_bytes() for path in home.rglob("*") if path.is_file())


def test_a_value_is_no_argument(locked: Boulder) -> None:
    done = locked("secrets", "set", "A", VALUE, ok=False)
    assert done.status == 2
    assert locked("--json", "secrets", "list").json == []
    nothing = locked("secrets", "set", "A", ok=False)
    assert "the value of secret A is empty" in nothing.err


def _answer(terminal: int) -> bytes:
    """Answer each prompt once it is there, and return everything that the terminal showed."""
    answers = [(b"Value of A", VALUE), (b"New passphrase", "one"), (b"Once more", "two")]
    answers += [(b"differ", ""), (b"New passphrase", "correct horse"), (b"Once more", "correct horse")]
    seen, at = b"", 0
    for prompt, answer in answers:
        while prompt not in seen[at:]:
            seen += os.read(terminal, 4096)
        at = seen.index(prompt, at) + len(prompt)
        if answer:
            os.write(terminal, answer.encode() + b"\n")
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # the other side is closed
            return seen
        if not piece:
            return seen
        seen += piece


def test_on_a_terminal_value_and_passphrase_are_asked_for_and_not_shown(locked: Boulder) -> None:
    del locked.env["NEXUS_SECRETS_PASSPHRASE"]
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        locked.argv("secrets", "set", "A"),
        cwd=locked.cwd,
        env=locked.environment(),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        seen = _answer(ours)
        assert process.wait(30) == 0, seen
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert VALUE.encode() not in seen
    assert b"horse" not in seen
    locked.env["NEXUS_SECRETS_PASSPHRASE"] = "correct horse"
    assert locked("--json", "secrets", "list").names == ["A"]
