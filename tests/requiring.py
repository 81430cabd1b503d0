"""What a test needs of this machine and does not find there: a reason to skip it, and a failure where it is required."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def do_without(what: str, reason: str) -> NoReturn:
    """Skip, or fail where ``NEXUS_REQUIRE`` names it.

    Args:
        what: Its name there: ``docker``, ``docker-git-new``, ``chromium``.
        reason: Why it is not to be had, as a clause.
    """
    if what in os.environ.get("NEXUS_REQUIRE", "").replace(",", " ").split():
        pytest.fail(f"NEXUS_REQUIRE names {what}, but {reason}")
    pytest.skip(reason)
