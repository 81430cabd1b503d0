"""Every example does what it says, in a repository of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workbench import git

ROOT = Path(__file__).parents[2]
EXAMPLES = {
    "quickstart": ["branch   nexus/quickstart - status 3", "notes    found it", "left     []"],
    "parallel": ["best attempt-a with 3", "refs/nexus/rescue/attempt-b/"],
    "best_of_n": ["before 1 of 3 checks pass", "try-2 3 of 3 checks pass", "after try-2 3 of 3", "changed discount.sh"],
    "streaming": ["stdout@0: out", "stderr@0: err", "status 4", "line: one", "line: two", "ended"],
}


def run(module: str, *args: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", module, *args],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_prints_what_it_promises(name: str, repository: Path) -> None:
    printed = run(f"examples.{name}", str(repository), cwd=repository)
    for line in EXAMPLES[name]:
        assert line in printed
    assert git(repository, "branch", "--list", "nexus/*") == ""
    assert git(repository, "status", "--porcelain") == ""


@pytest.mark.slow
def test_the_demo_ends_well_on_processes(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-engine.sock")
    printed = run("examples.demo", cwd=tmp_path)
    assert "destroy refused              untracked: idea.txt" in printed
    assert "left out: " in printed
    assert printed.rstrip().endswith("all of it done and gone")


@pytest.mark.slow
@pytest.mark.docker
def test_the_demo_ends_well_on_docker(home: Path, tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", engine)
    while "left out: no answer within" in (printed := run("examples.demo", cwd=tmp_path)):
        pass  # it waits three seconds, for which an engine may be busy: this test's own limit ends it
    assert "\ndocker\n" in printed
    assert "left out" not in printed
    assert printed.count("left behind                  nothing") == 2


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat  # here: it takes longer than most tests
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook: nbformat.NotebookNode = nbformat.read(  # type: ignore[no-untyped-call]  # the library has no types here
        ROOT / "examples" / "notebook.ipynb", as_version=4
    )
    NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(repository)}}).execute()
    text = "\n".join(str(cell.get("outputs", "")) for cell in notebook.cells)
    assert "nexus/notebook" in text
    assert "<table>" in text
    assert "line 3" in text
    assert "UNSAVED_WORK" in text
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    shown = [output["data"].get("text/html", "") for output in outputs if "data" in output]
    assert any("make notebook: done in" in each for each in shown), "progress shows how it ended"
    assert any("tick 3" in each and "status 0 after" in each for each in shown), "live output shows how it ended"
    assert any("http://127.0.0.1:" in each for each in shown), "an opened port shows itself"
    assert "answered: it works" in text
