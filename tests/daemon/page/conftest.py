"""A browser for the tests of the page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.daemon.page.browser import running
from tests.requiring import do_without

_NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def devtools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The DevTools of one browser for all tests, each of which opens a profile of its own in it."""
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        do_without("chromium", f"there is no browser here: none of {', '.join(_NAMES)}")
    with running(program, tmp_path_factory.mktemp("browser") / "chromium") as address:
        yield address
