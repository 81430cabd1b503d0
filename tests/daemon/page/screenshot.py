"""``python -m tests.daemon.page.screenshot``: the page as the documents show it, from a real repository in a real browser."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import anyio
from pydantic import JsonValue

import nexus
from tests.daemon.page.browser import running, tab
from tests.workbench import git

IMAGE = Path(__file__).parents[3] / "docs" / "images" / "daemon-page.png"
_PROMPT = {"PS1": r"\[\e[32m\]\W\[\e[0m\] $ ", "PROMPT_COMMAND": ""}
_FILES = {
    "README.md": "# learn\n",
    "src/app.py": "def app() -> None: ...\n",
    "tests/test_app.py": "def test_sum():\n    assert 6 * 7 == 42\n\n\ntest_sum()\n",
    "check.sh": "for each in tests/*.py; do\n  python3 -B $each && printf '\\033[32mpassed\\033[0m %s\\n' $each\ndone\n",
}


def _repository(folder: Path) -> Path:
    root = folder / "learn"
    for name, text in _FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    git(root, "init", "-q", "-b", "main")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "Begin")
    return root


async def _take(devtools: str, folder: Path, image: Path) -> None:
    flags: dict[str, JsonValue] = {
        "backend": "local",
        "ports": {"web": {"container": 3000}, "api": {"container": 8000}},
    }
    root = await anyio.to_thread.run_sync(_repository, folder)
    async with (
        nexus.open(root, flags=flags) as nx,
        nexus.Daemon(nx, page=True) as daemon,
        nx.create("fix-login", display_name="Fix the login form") as login,
        nx.create("search-index", display_name="Search index") as index,
        nx.create("upgrade-deps") as upgrade,
        tab(devtools) as page,
    ):
        await nx.switch("fix-login")
        await index.pause()
        await upgrade.stop()
        shell = await login.terminals.open("bash", "--norc", "--noprofile", env=_PROMPT, name="tests", keep_alive=60)
        await shell.detach()
        await page.do("Emulation.setDeviceMetricsOverride", width=1120, height=600, deviceScaleFactor=2, mobile=False)
        await page.go(daemon.page_url())
        await page.sees("upgrade-deps", at="#workspaces")
        await page.until(
            "document.getElementById('terminal-take').hidden && document.querySelector('.xterm-rows').textContent.includes('$')"
        )
        await page.click("#screen")
        await page.types()
        await page.type("git log --oneline --stat --no-decorate | tail -n 6\n")
        await page.reads("4 files changed")
        await page.type("sh check.sh\n")
        await page.reads("passed tests/test_app.py")
        image.write_bytes(await page.picture())


def main() -> None:
    """Write the image: the documents', or the file that is named."""
    image = Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGE
    program = shutil.which("chromium")
    if program is None:
        sys.exit("there is no chromium here")
    with tempfile.TemporaryDirectory() as name, running(program, Path(name) / "chromium") as devtools:
        anyio.run(_take, devtools, Path(name), image)


if __name__ == "__main__":
    main()
