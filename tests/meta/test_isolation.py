"""The suite's own promises: nothing reaches the user's home, and nothing that tests made is left."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import nexus
from nexus.models.instances import LABEL_REPOSITORY
from tests.engine.raw import RawEngine
from tests.sweeping import is_over, run_of

ROOT = Path(__file__).parents[2]


def files_about(word: str, *folders: Path) -> set[Path]:
    """Return files below folders with a word in their path or in what they hold."""
    found = set[Path]()
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and (word in str(path) or word.encode() in path.read_bytes()):
                found.add(path)
    return found


async def test_a_test_that_forgets_its_home_writes_nothing_into_the_users(
    tmp_path: Path, first_repository: Path, session_place: Path
) -> None:
    root = tmp_path / "app"
    shutil.copytree(first_repository, root, symlinks=True)
    async with nexus.open(root, flags={"backend": "local"}) as nx:
        ws = await nx.create("forgetful")
        assert (await ws.exec("sh", "-c", "cd && pwd")).stdout.strip() == str(session_place / "home")
        async with nexus.Daemon(nx):
            ours = files_about(ws.id, session_place)
        await ws.destroy()
    real = Path(pwd.getpwuid(os.getuid()).pw_dir)
    places = [real / name for name in (".nexus", ".config/nexus", ".local/share/nexus", ".local/state/nexus")]
    assert {path.name for path in ours} >= {"run.json", "workspaces.db-wal"}
    assert files_about(ws.id, *places) == set()
    assert not [path for path in places if path.is_relative_to(session_place)]


def test_the_session_has_a_short_runtime_folder_of_its_own(session_place: Path, home: Path) -> None:
    runtime = Path(os.environ["XDG_RUNTIME_DIR"])
    assert runtime.is_relative_to(session_place)
    assert runtime != session_place / "run"  # this test's own
    assert len(str(runtime)) < 40
    assert Path.home() == home


def test_a_run_that_is_over_is_told_from_one_that_goes_on(tmp_path: Path) -> None:
    run = tmp_path / "pytest-of-somebody" / "pytest-7"
    repository = run / "popen-gw0" / "test_x0" / "app"
    assert run_of(repository) == run
    assert run_of(Path("/home/somebody/pytest-7/app")) is None
    assert not is_over(None)
    assert is_over(run)
    run.mkdir(parents=True)
    (run / ".lock").write_text(str(os.getpid()))
    assert not is_over(run)
    with subprocess.Popen(["true"]) as ended:
        pass
    (run / ".lock").write_text(str(ended.pid))
    assert is_over(run)


LEAVING = """
import subprocess
from tests.engine.fixtures import address_of_engine
from tests.engine.raw import RawEngine

def test_process(tmp_path):
    assert subprocess.Popen(["sleep", "1000"], cwd=tmp_path).pid

def test_volume(tmp_path):
    labels = {LABEL: str(tmp_path / "app")}
    body = {"Name": "nexus-left-" + tmp_path.parent.name, "Labels": labels}
    assert RawEngine(address_of_engine()).call("POST", "/volumes/create", body=body)[0] == 201
"""
GUARDED = """
from tests.sweeping import Sweep

def pytest_configure(config):
    config.pluginmanager.register(Sweep(seconds=0.5))
"""


@pytest.mark.slow
@pytest.mark.docker
def test_a_run_whose_tests_pass_and_leave_something_fails(tmp_path: Path, engine: str) -> None:
    (tmp_path / "conftest.py").write_text(GUARDED)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_leaving.py").write_text(LEAVING.replace("LABEL", repr(LABEL_REPOSITORY)))
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", f"--basetemp={tmp_path / 'inner'}", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "NEXUS_TEST_DOCKER_HOST": engine},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2 passed" in ran.stdout, ran.stdout + ran.stderr
    assert ran.returncode == pytest.ExitCode.TESTS_FAILED
    said = ran.stdout.partition("left behind by these tests")[2]
    assert "sleep 1000" in said
    assert f"of {tmp_path / 'inner' / 'test_volume0' / 'app'}" in said
    # It was told, and then removed.
    assert not any(
        RawEngine(engine).labelled(f"{LABEL_REPOSITORY}={tmp_path / 'inner' / 'test_volume0' / 'app'}").values()
    )
