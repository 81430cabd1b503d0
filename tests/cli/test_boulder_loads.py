"""What a command must not load: every module costs every run of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Boulder, a_daemon

_RUN = """
import sys, cli_example
status = cli_example.main(sys.argv[1:])
print("loaded", *sys.modules, file=sys.stderr)
sys.exit(status)
"""
_DRIVERS = ("aiodocker", "aiohttp", "cryptography", "dulwich.repo", "jwt", "keyring")


def loaded(boulder: Boulder, *words: str) -> frozenset[str]:
    """Run a command in an interpreter of its own and return the modules that it has loaded in the end."""
    command = [sys.executable, "-c", _RUN, *boulder.before, *words]
    ran = subprocess.run(
        command, cwd=boulder.cwd, env=boulder.environment(), capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    first, *modules = ran.stderr.splitlines()[-1].split()
    assert first == "loaded"
    return frozenset(modules)


def among(modules: frozenset[str], *names: str) -> list[str]:
    """Return which of these, or of what is below them, are there."""
    return sorted(module for module in modules if any(f"{module}.".startswith(f"{name}.") for name in names))


def test_help_loads_nothing_of_the_library(bare: Boulder) -> None:
    modules = loaded(bare, "--help")
    assert among(modules, "nexus") == ["nexus", "nexus.loading"]
    assert among(modules, "anyio", "asyncio", "pydantic", "rich", "yaml", *_DRIVERS) == []
    assert among(modules, "cli_example.commands") == ["cli_example.commands", "cli_example.commands.project"]


def test_a_list_loads_what_a_list_needs(bare: Boulder) -> None:
    modules = loaded(bare, "--no-daemon", "ws", "list")
    assert among(modules, "websockets", "filelock", "yaml", *_DRIVERS) == []
    assert among(modules, "nexus.client", "nexus.wire", "nexus.serving", "nexus.terminals", "nexus.testing") == []
    assert among(modules, "nexus.git.worktrees", "nexus.git.checkpoints", "nexus.git.repository") == []
    unused = ("creation", "destruction", "doctor", "checkpointing", "forking", "settling", "switching", "files")
    assert among(modules, *(f"nexus.workspace.{name}" for name in unused)) == []
    assert among(modules, "cli_example.commands.secrets", "cli_example.commands.daemon") == []


@pytest.fixture
def served(bare: Boulder, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Boulder]:
    """A repository whose daemon runs with the same settings, and a workspace that runs."""
    for name in [name for name in os.environ if name.startswith("NEXUS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NEXUS_BACKEND", "local")
    bare.env["NEXUS_BACKEND"] = "local"
    with a_daemon(bare.cwd, home):
        assert bare("ws", "up", "a").status == 0
        yield bare
        assert bare("ws", "destroy", "a", "--force").status == 0


@pytest.mark.slow
def test_a_client_of_the_daemon_is_thin(served: Boulder) -> None:
    modules = loaded(served, "ws", "exec", "a", "--", "true")
    assert among(modules, "nexus.client.service", "websockets.asyncio.client") == [
        "nexus.client.service",
        "websockets.asyncio.client",
    ]
    assert among(modules, "filelock", "sqlite3", "yaml", *_DRIVERS) == []
    assert among(modules, "nexus.workspace", "nexus.ports", "nexus.secrets", "nexus.terminals", "nexus.testing") == []
    assert among(modules, "nexus.providers") == []
    assert among(modules, "nexus.config.stack", "nexus.config.settings", "nexus.config.places") == []
    assert among(modules, "nexus.git.worktrees", "nexus.git.repository", "nexus.state.registry") == []
    assert among(modules, "nexus.wire.methods") == [
        "nexus.wire.methods",
        *(f"nexus.wire.methods.{name}" for name in ("execs", "session", "table")),
    ]
    assert among(modules, "nexus.wire.text_frames", "nexus.handles.workspace", "nexus.config.layers") == []
    # What passes through its hands, and no more: each other module makes a dozen models.
    assert among(modules, "nexus.models") == [
        "nexus.models",
        *(f"nexus.models.{name}" for name in ("base", "execution", "ids", "process_state", "repository", "units")),
    ]


@pytest.mark.slow
def test_a_client_of_the_daemon_looks_for_no_plugin(served: Boulder, tmp_path: Path) -> None:
    (tmp_path / "validating.py").write_text("def __getattr__(name): raise AttributeError(name)\n")
    (tmp_path / "validating-1.dist-info").mkdir()
    (tmp_path / "validating-1.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: validating\nVersion: 1\n"
    )
    (tmp_path / "validating-1.dist-info" / "entry_points.txt").write_text("[pydantic]\nwatch = validating:plugin\n")
    served.env["PYTHONPATH"] = str(tmp_path)
    assert among(loaded(served, "--no-daemon", "ws", "list"), "validating") == ["validating"]
    assert among(loaded(served, "ws", "exec", "a", "--", "true"), "validating") == []
