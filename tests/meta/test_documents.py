"""The documents tell the truth: generated parts are up to date, links lead somewhere, Python snippets run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from docs.generate import PAGES

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


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


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_python_snippets_compile(document: Path) -> None:
    for number, snippet in enumerate(re.findall(r"```python\n(.*?)```", document.read_text(), re.DOTALL)):
        body = "".join(f"    {line}\n" for line in snippet.splitlines())
        compile(f"async def snippet_{number}():\n{body}", document.name, "exec")


def run_snippets(document: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run every Python block of a document, in order, in one program inside a repository."""
    blocks = re.findall(r"```python\n(.*?)```", document.read_text(), re.DOTALL)
    body = "".join(f"    {line}\n" for block in blocks for line in block.splitlines() if line.strip() != "import nexus")
    program = f"import anyio\nimport nexus\n\nasync def main():\n{body}\nanyio.run(main)\n"
    return subprocess.run([sys.executable, "-c", program], cwd=cwd, capture_output=True, text=True, timeout=60)
