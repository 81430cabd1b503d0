"""The documents tell the truth: generated parts are up to date, links lead somewhere, Python snippets run."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

import nexus
from docs.generate import PAGES
from tests import warm

ROOT = Path(__file__).parents[2]
EMBEDDING = ROOT / "docs/how-to/embed-the-daemon.md"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def snippets(document: Path) -> list[str]:
    """Return what a document shows in Python."""
    return re.findall(r"```python\n(.*?)```", document.read_text(), re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path)
def test_generated_pages_are_up_to_date(page: object) -> None:
    from docs.generate import Page

    assert isinstance(page, Page)
    assert (ROOT / page.path).read_text() == page.render((ROOT / page.path).read_text()), (
        f"run 'make docs': {page.path}"
    )


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", document.read_text()):
        assert (document.parent / target).exists(), f"{document.name} links to {target}"


@pytest.mark.parametrize("document", [path for path in DOCUMENTS if snippets(path)], ids=lambda path: path.name)
def test_python_snippets_compile(document: Path) -> None:
    for number, snippet in enumerate(snippets(document)):
        body = "".join(f"    {line}\n" for line in snippet.splitlines())
        compile(f"async def snippet_{number}():\n{body}", document.name, "exec")


@pytest.fixture
async def app(home: Path, repository: Path) -> AsyncGenerator[Path, None]:
    """The repository that the README speaks of: ``~/code/app``, for a user who prefers local processes."""
    target = home / "code" / "app"
    target.parent.mkdir()
    repository.rename(target)
    (home / ".nexus").mkdir()
    (home / ".nexus" / "config.yaml").write_text("defaults: {backend: local}\n")
    yield target
    async with nexus.open(target) as nx:
        for entry in await nx.list():
            await nx.destroy(entry.name, force=True)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_readmes_python_runs(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    run_each(snippets(ROOT / "README.md"), app)


@pytest.mark.slow
def test_the_python_about_the_daemon_runs(app: Path) -> None:
    run_each([block for block in snippets(EMBEDDING) if not block.startswith("# ")], app)


def run_each(blocks: list[str], app: Path) -> None:
    """Run what a page shows as a notebook would: with top-level await, each block by itself."""
    assert blocks
    for block in blocks:
        body = "".join(f"    {line}\n" for line in block.splitlines() if line.strip() != "import nexus")
        program = f"import anyio\nimport nexus\n\nasync def main():\n{body}\nanyio.run(main)\n"
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=app, env=environment(), capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_an_empty_folder_becomes_a_terminal(home: Path, tmp_path: Path) -> None:
    """The files of the page as they stand there, in the order of the page; only installing is left out."""
    text = EMBEDDING.read_text()
    folder = tmp_path / "empty"
    folder.mkdir()
    make = re.search(r"^\$ (git init .*)$", text, re.MULTILINE)
    assert make is not None
    identity = {f"GIT_{who}_{what}": "t@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    env = {**environment(), **identity}
    subprocess.run(["sh", "-c", make[1]], cwd=folder, env=env, check=True)
    for name, content in re.findall(r"```(?:python|javascript)\n(?:#|//) (\S+)\n(.*?)```", text, re.DOTALL):
        (folder / name).write_text(content)
    assert {path.name for path in folder.iterdir()} == {"app", "serve.py", "terminal.py", "terminal.mjs"}

    with serving(folder, env) as found:
        seen = subprocess.run(
            [sys.executable, "terminal.py"],
            cwd=folder,
            env={**env, **found},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "\nthis is try-1\n" in seen.stdout, seen.stderr
        assert seen.returncode == 0


@contextmanager
def serving(folder: Path, env: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Run ``serve.py`` as a person does: with what it prints handed on, and Ctrl-C at the end."""
    with subprocess.Popen(
        [sys.executable, "serve.py"], cwd=folder, env=env, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            export, *pairs = server.stdout.readline().split()
            assert export == "export"
            yield dict(pair.split("=", 1) for pair in pairs)
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(30)
    left = subprocess.run(["git", "branch", "--list", "nexus/*"], cwd=folder / "app", capture_output=True, text=True)
    assert left.stdout == ""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_readmes_commands_do_what_they_say(app: Path) -> None:
    tour = re.search(r"```console\n(\$ boulder init.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert tour is not None
    lines = [line.removeprefix("$ ") for line in tour[1].splitlines() if line.startswith("$ ")]
    assert len(lines) >= 8
    for line in lines:
        program, *words = shlex.split(line, comments=True)
        assert program == "boulder"
        done = warm.run(words, cwd=app, env=environment())
        assert (done.returncode == 0) is ("refuses" not in line), f"{line}: {done.stderr.decode()}"
        assert b"Traceback" not in done.stderr


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}
