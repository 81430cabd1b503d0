"""The engine and the image that docker tests work with.

The first of these is taken: ``NEXUS_TEST_DOCKER_HOST``; an engine that answers at ``DOCKER_HOST`` or on the usual socket; one of
our own, started as root. Where there is none the tests are skipped with the reason, or fail when ``NEXUS_REQUIRE`` names
``docker``. An engine is never started beside another one that shares this machine's network.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from nexus.testing.engines import PrivateEngine, why_not
from nexus.testing.images import rootfs
from tests.engine.made_once import made_once
from tests.engine.raw import RawEngine
from tests.requiring import do_without

TEST_IMAGE = "nexus-test:latest"


def address_of_engine() -> str | None:
    """Return where an engine answers that tests may use; ``None`` where there is none."""
    named = os.environ.get("NEXUS_TEST_DOCKER_HOST")
    for address in (named,) if named else (os.environ.get("DOCKER_HOST"), "unix:///var/run/docker.sock"):
        if address and RawEngine(address).answers():
            return address
    return None


def _running_engine() -> str | None:
    address, named = address_of_engine(), os.environ.get("NEXUS_TEST_DOCKER_HOST")
    if named and address is None:
        do_without("docker", f"the engine at NEXUS_TEST_DOCKER_HOST={named} does not answer")
    return address


@pytest.fixture(scope="session")
def engine() -> Iterator[str]:
    """The address of a real container engine."""
    address = _running_engine()
    if address is not None:
        yield address
        return
    reason = why_not(own_network=False)
    if reason is not None:
        do_without("docker", f"there is no container engine, and none can be started: {reason}")
    own = PrivateEngine(in_memory=True)
    try:
        own.start()
        yield own.address
    finally:
        own.remove()


@pytest.fixture(scope="session")
def test_image(engine: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a small local image with a shell, users ``root`` and ``worker``, and the usual small programs."""

    def make(_: Path) -> str:
        RawEngine(engine).import_image(rootfs(), TEST_IMAGE)
        return TEST_IMAGE

    return made_once(tmp_path_factory, "test-image", make)
