"""Files as projects have them: what they come to, what is listed, and the file of ours that means the same."""

from __future__ import annotations

import pytest

from nexus.config import project_template
from tests.config.adopting.adopted_corpus import COMPOSES, DEVCONTAINERS, Case, meaning
from tests.config.conftest import Site

ALL = {**DEVCONTAINERS, **COMPOSES}


def lay(site: Site, case: Case) -> None:
    for name, text in case.files.items():
        path = site.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("name", ALL)
def test_a_project_is_adopted(site: Site, name: str) -> None:
    case = ALL[name]
    lay(site, case)
    stack = site.load()
    assert {key: stack.get(key) for key in case.values} == case.values
    listed = stack.adopted.unsupported if stack.adopted is not None else ()
    assert {entry.key for entry in listed} == case.unsupported
    assert all(str(entry) in stack.warnings for entry in listed)
    assert all(entry.place.line is not None and entry.place.source.startswith(str(site.root)) for entry in listed)


@pytest.mark.parametrize("name", [name for name in ALL if name != "a name for each platform"])
def test_the_written_file_means_the_same(site: Site, name: str) -> None:
    case = ALL[name]
    lay(site, case)
    direct = site.load()
    text = project_template(site.root, adopted="devcontainer" if name in DEVCONTAINERS else "compose")
    site.project(text)
    written = site.load()
    assert written.adopted is None
    assert meaning(written.settings) == meaning(direct.settings)
    listed = direct.adopted.unsupported if direct.adopted is not None else ()
    assert len(written.warnings) == len(direct.warnings) - len(listed)
    assert all(entry.key in text for entry in listed)
