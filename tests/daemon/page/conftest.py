"""A browser for the tests of the page."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from tests.daemon.page.browser import running

_NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def devtools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The DevTools of one browser for all tests, each of which opens a profile of its own in it."""
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        reason = f"there is no browser here: none of {', '.join(_NAMES)}"
        if "chromium" in os.environ.get("NEXUS_REQUIRE", "").replace(",", " ").split():
            pytest.fail(f"NEXUS_REQUIRE names chromium, but {reason}")
        pytest.skip(reason)
    with running(program, tmp_path_factory.mktemp("browser") / "chromium") as address:
        yield address
