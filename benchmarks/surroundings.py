"""A home of its own for what is measured, so that nothing of the user's is read or written."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def isolated(folder: Path) -> Generator[None, None, None]:
    """Point HOME and the XDG folders into ``folder`` and drop every ``NEXUS_*`` setting.

    Processes that are started compile what they import once, as it is with a package that is installed.
    """
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("NEXUS_")]:
        del os.environ[name]
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    runtime = folder / "run"
    runtime.mkdir(mode=0o700)
    os.environ.update(
        HOME=str(folder),
        XDG_DATA_HOME=str(folder / "data"),
        XDG_STATE_HOME=str(folder / "state"),
        XDG_RUNTIME_DIR=str(runtime),
    )
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
